/* Uniform quantizers (arXiv 1806.08342; arXiv 2306.12929): scale and zero point from a range, and
 * what they make of numbers. Asymmetric: codes 0 .. 2^bits - 1 with a zero point. Symmetric: zero
 * point 0, codes signed, or unsigned (and twice as fine) if no range reaches below zero.
 *
 * DESIGN. A range is float or double: minima and maxima are float, and then so is every step from
 * range to scale; percentiles are double, and only the scale that elements meet is rounded to float
 * (docs/architecture.md, "Quantizers"). Elements are always float. Applying reads the quantizer
 * only, so threads may share it; setting a range needs it alone. */
#ifndef HL_QUANT_QUANTIZER_H
#define HL_QUANT_QUANTIZER_H

#include "kernels/hl_kernel.h"
#include "kernels/quant/range_body.h"

typedef enum hl_quant_scheme { HL_QUANT_SYMMETRIC, HL_QUANT_ASYMMETRIC } hl_quant_scheme;

typedef struct hl_quant_options {
    hl_quant_scheme scheme;
    int bits;           /* 2 .. 16 */
    int64_t n_channels; /* 1: one scale for the tensor; C: one per index of its first axis */
    bool log_scale;     /* delta holds ln(delta): scale = exp(delta), without a floor */
} hl_quant_options;

/* Ends of ranges, borrowed. Float ones hold float values. */
typedef struct hl_quant_range {
    int64_t n; /* 1 or n_channels */
    bool is_f64;
    const double *lo, *hi;
} hl_quant_range;

/* Fields are read-only outside quantizer.c. delta and zero_float are what range learning trains. */
typedef struct hl_quantizer {
    hl_quant_options o;
    bool has_range;
    bool is_floored; /* some scale is the least one: the range was (nearly) empty */
    int32_t int_min, int_max;
    double *delta, *zero_float; /* [n_channels], owned; float values if the range was float */
    float *scale, *zero_point;  /* [n_channels], what elements meet */
} hl_quantizer;

/* Errors: ARG (bits, channels), NOMEM. Free with hl_quantizer_done, also after a failure. */
HL_MUST_CHECK hl_status hl_quantizer_init(hl_quantizer *q, const hl_quant_options *o);
void hl_quantizer_done(hl_quantizer *q);

/* Errors: ARG (bits, channels, scheme) with a message. */
HL_MUST_CHECK hl_status hl_quant_options_check(const hl_quant_options *o);

/* Ends are widened to contain 0 and EPS. One range for several channels counts for each.
 * Errors: SHAPE (number of ranges), NUMERIC (an end is NaN or infinite, or their distance is);
 * the former range stays. */
HL_MUST_CHECK hl_status hl_quantizer_set_range(hl_quantizer *q, const hl_quant_range *r);

/* A symmetric one by its scales, one for each channel, instead of a range. Errors: NUMERIC (a scale
 * that is no positive number). */
HL_MUST_CHECK hl_status hl_quantizer_set_scales(hl_quantizer *q, bool is_signed,
                                                const float *scales);

/* Where elements of a channel land; for kernels that run over ranges of elements (fake_quant,
 * quant_encode, quant_decode of hl_cpu()). Needs a range. */
hl_quant_grid hl_quantizer_grid(const hl_quantizer *q, int64_t channel);

/* The same of the only channel with codes counted from 0, for those of at most 8 bits: signed ones
 * become unsigned, and the zero point moves along. */
hl_quant_grid hl_quantizer_bytes(const hl_quantizer *q);

/* Elements [begin, end) of a tensor of n in all, a multiple of n_channels. A caller with threads
 * gives each a part. */
typedef struct hl_quant_part {
    int64_t n, begin, end;
} hl_quant_part;

/* x, y and codes point to element 0 of the tensor; y may be x. NaN stays NaN, and has the code
 * int_min. All at the speed of memory. */
void hl_quantizer_apply(const hl_quantizer *q, hl_quant_part part, const float *x, float *y);
void hl_quantizer_encode(const hl_quantizer *q, hl_quant_part part, const float *x,
                         hl_code_type type, void *codes);
void hl_quantizer_decode(const hl_quantizer *q, hl_quant_part part, hl_code_type type,
                         const void *codes, float *y);

hl_code_type hl_quantizer_code_type(const hl_quantizer *q); /* the smallest that holds its codes */
size_t hl_code_bytes(hl_code_type type);

typedef struct hl_quantizer_grads {
    float *x;                   /* [n], may be the cotangent or x itself */
    double *delta, *zero_float; /* [n_channels], or NULL */
} hl_quantizer_grads;

/* Gradients from the cotangent gy [n] of x_q, rounding being the identity to them and clamping
 * passing its bounds (arXiv 1902.08153 eq. 3; zero point: arXiv 2004.09576). None reaches delta
 * where the scale is the least one, nor zero_float where the zero point was clamped or the scheme
 * is symmetric. lsq: those of delta and zero_float times 1 / sqrt(int_max * n / n_channels). */
void hl_quantizer_vjp(const hl_quantizer *q, bool lsq, int64_t n, const float *gy, const float *x,
                      const hl_quantizer_grads *out);

#endif
