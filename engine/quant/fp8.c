#include "engine/quant/fp8.h"

#include <float.h>

#include "kernels/quant/float_body.h"

static hl_small_float kind_of(hl_fp8 format)
{
    return format == HL_FP8_E4M3 ? hl_float_e4m3() : hl_float_e5m2();
}

float hl_fp8_max(hl_fp8 format)
{
    return kind_of(format).max;
}

float hl_fp8_scale(hl_fp8 format, float amax)
{
    const float s = amax / kind_of(format).max;
    return s < FLT_MIN ? FLT_MIN : s;
}

void hl_fp8_apply(hl_fp8 format, float scale, int64_t n, const float *x, float *y)
{
    const hl_small_float f = kind_of(format);
    for (int64_t i = 0; i < n; i++)
        y[i] = hl_float_round(f, x[i] / scale) * scale;
}

float hl_amax(int64_t n, const float *x)
{
    float lo = 0, hi = 0;
    if (n > 0)
        hl_cpu()->min_max(n, x, &lo, &hi);
    return hi > -lo ? hi : -lo; /* both NaN, or neither */
}
