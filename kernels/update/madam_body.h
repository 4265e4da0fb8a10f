/* One element of Madam, the multiplicative Adam (arXiv 2006.14560); the bound on the normalised
 * gradient and the missing epsilon are as in the deep-equilibrium Hopfield runs (arXiv 2311.15673).
 */
#ifndef HL_MADAM_BODY_H
#define HL_MADAM_BODY_H

#include <math.h>

#include "kernels/hl_kernel.h"
#include "kernels/vec/math_body.h"

/* v is the mean of squared gradients. Where g^2 underflows, g / 0 is infinite and the bound speaks;
 * 0 / 0 moves nothing. A parameter keeps its sign for ever, and 0 stays 0. */
HL_HD void hl_madam_element(hl_madam_coefs k, float *p, float g, float *v)
{
    const float was = *p;
    g *= k.grad_scale;
    *v = k.beta * *v + (1.0f - k.beta) * g * g;
    float step = g / sqrtf(*v / k.correct);
    step = step == step ? step : 0.0f;
    step = step > k.g_bound ? k.g_bound : step;
    step = step < -k.g_bound ? -k.g_bound : step;
    step *= was > 0.0f ? 1.0f : was < 0.0f ? -1.0f : 0.0f;
    float now = was * hl_exp(-k.lr * step);
    now = now > k.p_max ? k.p_max : now;
    *p = now < -k.p_max ? -k.p_max : now;
}

#endif
