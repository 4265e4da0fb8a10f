/* From a range to the grid of a quantizer (quantizer.h), and how ranges are kept. A range of minima
 * and maxima is float, and so is every step from it; one of percentiles is double. Each operation is
 * rounded by itself, so that a grid is the same wherever it is made. */
#ifndef HL_QUANT_RANGE_BODY_H
#define HL_QUANT_RANGE_BODY_H

#include <math.h>
#include <string.h>

#include "kernels/quant/quant_body.h"

#define HL_QUANT_EPS 1e-8 /* least scale, and least upper end of a range */

/* What the op `observe` keeps of a quantizer, f64{7}: batches seen, lower and upper end of the
 * range; and what `fake_quant` measures: numbers, sums of their squares and of their errors'
 * squares, numbers beyond the grid. */
enum {
    HL_QUANT_SEEN,
    HL_QUANT_LO,
    HL_QUANT_HI,
    HL_QUANT_NUMBERS,
    HL_QUANT_SIGNAL,
    HL_QUANT_NOISE,
    HL_QUANT_CLIPPED,
    HL_QUANT_RANGE_FIELDS
};

/* Codes of so many bits: the least and the largest. */
typedef struct hl_code_ends {
    int32_t min, max;
} hl_code_ends;

HL_HD hl_code_ends hl_code_ends_of(int bits, bool is_signed)
{
    hl_code_ends c;
    c.min = is_signed ? -(1 << (bits - 1)) : 0;
    c.max = (1 << (is_signed ? bits - 1 : bits)) - 1;
    return c;
}

/* lo <= 0 < hi. The scale before its floor, and the zero point before rounding. */
HL_HD float hl_quant_delta_f32(bool is_asymmetric, int32_t int_max, float lo, float hi,
                               float *zero)
{
    const float delta = is_asymmetric ? HL_QUANT_DIV(HL_QUANT_SUB(hi, lo), (float)int_max)
                                      : HL_QUANT_DIV(-lo > hi ? -lo : hi, (float)int_max);
    *zero = is_asymmetric ? HL_QUANT_DIV(-lo, delta) : 0.0f;
    return delta;
}

HL_HD double hl_quant_delta_f64(bool is_asymmetric, int32_t int_max, double lo, double hi,
                                double *zero)
{
    const double delta = is_asymmetric ? (hi - lo) / int_max : (-lo > hi ? -lo : hi) / int_max;
    *zero = is_asymmetric ? -lo / delta : 0.0;
    return delta;
}

/* Rounded, and one of the codes. */
HL_HD double hl_quant_zero_point(hl_code_ends c, double zero)
{
    const double z = rint(zero);
    return z < c.min ? c.min : z > c.max ? c.max : z;
}

HL_HD hl_quant_grid hl_quant_make_grid(hl_code_ends c, float scale, float zero)
{
    hl_quant_grid g;
    g.scale = scale;
    g.zero = zero;
    g.r_min = (float)c.min - zero;
    g.r_max = (float)c.max - zero;
    return g;
}

/* Can ends be those of a range? */
HL_HD bool hl_quant_is_range(double lo, double hi)
{
    const float width = (float)(fmax(hi, HL_QUANT_EPS) - fmin(lo, 0.0));
    return lo - lo == 0.0 && hi - hi == 0.0 && width - width == 0.0f;
}

/* A quantizer of one channel by what its grid depends on beside the range. */
typedef struct hl_quant_form {
    bool is_asymmetric;
    bool is_f64;    /* ends are double up to the scale */
    bool from_zero; /* codes count from 0 */
    int bits;
} hl_quant_form;

/* Needs hl_quant_is_range. */
HL_HD hl_quant_grid hl_quant_grid_from(hl_quant_form f, double lo, double hi)
{
    const hl_code_ends c = hl_code_ends_of(f.bits, !f.is_asymmetric && lo < 0);
    double zero = 0;
    float scale;
    if (f.is_f64) {
        const double delta = hl_quant_delta_f64(f.is_asymmetric, c.max, fmin(lo, 0.0),
                                                fmax(hi, HL_QUANT_EPS), &zero);
        scale = (float)fmax(delta, HL_QUANT_EPS);
    } else {
        const float eps = (float)HL_QUANT_EPS;
        float zero_f32;
        const float delta = hl_quant_delta_f32(f.is_asymmetric, c.max, fminf((float)lo, 0.0f),
                                               fmaxf((float)hi, eps), &zero_f32);
        zero = (double)zero_f32;
        scale = delta > eps ? delta : eps;
    }
    hl_quant_grid g = hl_quant_make_grid(c, scale, (float)hl_quant_zero_point(c, zero));
    g.zero -= f.from_zero ? (float)c.min : 0.0f;
    return g;
}

/* Order of the keys = order of the floats. */
HL_HD uint32_t hl_float_key(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

#endif
