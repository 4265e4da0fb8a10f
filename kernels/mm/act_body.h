/* The activation behind a product, of one element. */
#ifndef HL_ACT_BODY_H
#define HL_ACT_BODY_H

#include "kernels/hl_kernel.h"
#include "kernels/vec/math_body.h"

HL_HD float hl_activate(hl_act act, float x)
{
    switch (act) {
    case HL_ACT_GELU:
        return hl_gelu(x);
    case HL_ACT_GELU_TANH:
        return hl_gelu_tanh(x);
    case HL_ACT_RELU:
        return x < 0.0f ? 0.0f : x;
    default:
        return x;
    }
}

#endif
