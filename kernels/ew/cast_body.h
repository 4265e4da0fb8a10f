/* One element in another type: towards zero, saturating; NaN becomes 0. From f32, f64, i32, i8 and
 * bool to f32, f64, i32 and bool. */
#ifndef HL_CAST_BODY_H
#define HL_CAST_BODY_H

#include "kernels/hl_types.h"

HL_HD double hl_cast_read(const void *p, hl_dtype d, int64_t i)
{
    switch (d) {
    case HL_DTYPE_F32:
        return (double)((const float *)p)[i];
    case HL_DTYPE_F64:
        return ((const double *)p)[i];
    case HL_DTYPE_I32:
        return ((const int32_t *)p)[i];
    case HL_DTYPE_I8:
        return ((const int8_t *)p)[i];
    default:
        return ((const uint8_t *)p)[i] ? 1 : 0;
    }
}

HL_HD void hl_cast_element(const void *x, hl_dtype from, void *y, hl_dtype to, int64_t i)
{
    const double v = hl_cast_read(x, from, i);
    if (to == HL_DTYPE_F32)
        ((float *)y)[i] = (float)v;
    else if (to == HL_DTYPE_F64)
        ((double *)y)[i] = v;
    else if (to == HL_DTYPE_I32)
        ((int32_t *)y)[i] = v >= 2147483647.0    ? INT32_MAX
                            : v <= -2147483648.0 ? INT32_MIN
                            : v == v             ? (int32_t)v
                                                 : 0;
    else
        ((uint8_t *)y)[i] = v != 0;
}

#endif
