/* One element of AdamW, decoupled weight decay: arXiv 1711.05101, algorithm 2; with l2 instead of it,
 * Adam with weight decay (algorithm 1). */
#ifndef HL_ADAMW_BODY_H
#define HL_ADAMW_BODY_H

#include <math.h>

#include "kernels/hl_kernel.h"

HL_HD void hl_adamw_element(hl_adamw_coefs k, float *p, float g, float *m, float *v)
{
    g = g * k.grad_scale + k.l2 * *p;
    *p *= 1.0f - k.lr * k.weight_decay;
    *m = k.beta1 * *m + k.rest1 * g;
    *v = k.beta2 * *v + k.rest2 * g * g;
    *p -= k.lr / k.correct1 * *m / (sqrtf(*v) / sqrtf(k.correct2) + k.eps);
}

#endif
