#include "engine/quant/quantizer.h"

#include <math.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"
#include "engine/quant/range_state.h"

hl_status hl_quant_options_check(const hl_quant_options *o)
{
    if (o->scheme != HL_QUANT_SYMMETRIC && o->scheme != HL_QUANT_ASYMMETRIC)
        return hl_err_set(HL_E_ARG, "no quantization scheme %d", (int)o->scheme);
    if (o->bits < 2 || o->bits > 16)
        return hl_err_set(HL_E_ARG, "quantization to %d bits: 2 to 16 are possible", o->bits);
    if (o->n_channels < 1)
        return hl_err_set(HL_E_ARG, "a quantizer of %lld channels: at least 1",
                          (long long)o->n_channels);
    return HL_OK;
}

hl_status hl_quantizer_init(hl_quantizer *q, const hl_quant_options *o)
{
    hl_status st = HL_OK;
    *q = (hl_quantizer){.o = *o};
    HL_TRY(hl_quant_options_check(o));
    const size_t n = (size_t)o->n_channels;
    q->delta = hl_alloc_zero(n, 2 * sizeof(double) + 2 * sizeof(float));
    if (!q->delta)
        return HL_E_NOMEM;
    q->zero_float = q->delta + n;
    q->scale = (float *)(q->zero_float + n);
    q->zero_point = q->scale + n;
out:
    return st;
}

void hl_quantizer_done(hl_quantizer *q)
{
    hl_free(q->delta);
    *q = (hl_quantizer){0};
}

/* --- from range to scale --- */

typedef struct channel {
    double delta, zero_float, zero_point, scale;
    bool is_floored;
} channel;

static hl_code_ends codes_of(const hl_quantizer *q)
{
    return (hl_code_ends){q->int_min, q->int_max};
}

/* lo <= 0 < hi. Every step is rounded to float. */
static channel channel_f32(const hl_quantizer *q, float lo, float hi)
{
    const float eps = (float)HL_QUANT_EPS;
    float zero_float,
        delta = hl_quant_delta_f32(q->o.scheme == HL_QUANT_ASYMMETRIC, q->int_max, lo, hi,
                                   &zero_float);
    if (q->o.log_scale)
        delta = logf(delta);
    const float scale = q->o.log_scale ? expf(delta) : delta > eps ? delta : eps;
    return (channel){.delta = (double)delta,
                     .zero_float = (double)zero_float,
                     .zero_point = hl_quant_zero_point(codes_of(q), (double)zero_float),
                     .scale = (double)scale,
                     .is_floored = !q->o.log_scale && !(delta > eps)};
}

static channel channel_f64(const hl_quantizer *q, double lo, double hi)
{
    double zero_float, delta = hl_quant_delta_f64(q->o.scheme == HL_QUANT_ASYMMETRIC, q->int_max,
                                                  lo, hi, &zero_float);
    if (q->o.log_scale)
        delta = log(delta);
    return (channel){.delta = delta,
                     .zero_float = zero_float,
                     .zero_point = hl_quant_zero_point(codes_of(q), zero_float),
                     .scale = q->o.log_scale ? exp(delta) : fmax(delta, HL_QUANT_EPS),
                     .is_floored = !q->o.log_scale && !(delta > HL_QUANT_EPS)};
}

static channel channel_of(const hl_quantizer *q, const hl_quant_range *r, int64_t c)
{
    const int64_t i = r->n == 1 ? 0 : c;
    if (r->is_f64)
        return channel_f64(q, fmin(r->lo[i], 0), fmax(r->hi[i], HL_QUANT_EPS));
    return channel_f32(q, fminf((float)r->lo[i], 0), fmaxf((float)r->hi[i], (float)HL_QUANT_EPS));
}

static hl_status check_range(const hl_quantizer *q, const hl_quant_range *r)
{
    if (r->n != 1 && r->n != q->o.n_channels)
        return hl_err_set(HL_E_SHAPE, "%lld ranges for a quantizer of %lld channels",
                          (long long)r->n, (long long)q->o.n_channels);
    for (int64_t i = 0; i < r->n; i++) {
        if (!hl_quant_is_range(r->lo[i], r->hi[i]))
            return hl_err_set(HL_E_NUMERIC, "a range from %g to %g cannot be quantized", r->lo[i],
                              r->hi[i]);
    }
    return HL_OK;
}

static void set_codes(hl_quantizer *q, bool is_signed)
{
    const hl_code_ends c = hl_code_ends_of(q->o.bits, is_signed);
    q->int_min = c.min;
    q->int_max = c.max;
}

static bool is_negative(const hl_quant_range *r)
{
    bool is = false;
    for (int64_t i = 0; i < r->n; i++)
        is |= r->lo[i] < 0;
    return is;
}

hl_status hl_quantizer_set_range(hl_quantizer *q, const hl_quant_range *r)
{
    hl_status st = HL_OK;
    HL_TRY(check_range(q, r));
    set_codes(q, q->o.scheme == HL_QUANT_SYMMETRIC && is_negative(r));
    q->is_floored = false;
    for (int64_t c = 0; c < q->o.n_channels; c++) {
        const channel k = channel_of(q, r, c);
        q->delta[c] = k.delta;
        q->zero_float[c] = k.zero_float;
        q->scale[c] = (float)k.scale;
        q->zero_point[c] = (float)k.zero_point;
        q->is_floored |= k.is_floored;
    }
    q->has_range = true;
out:
    return st;
}

hl_status hl_quantizer_set_scales(hl_quantizer *q, bool is_signed, const float *scales)
{
    for (int64_t c = 0; c < q->o.n_channels; c++)
        if (!isfinite(scales[c]) || !(scales[c] > 0))
            return hl_err_set(HL_E_NUMERIC, "scale %lld is %g, and must be a positive number",
                              (long long)c, (double)scales[c]);
    set_codes(q, is_signed);
    q->is_floored = false;
    for (int64_t c = 0; c < q->o.n_channels; c++) {
        q->scale[c] = scales[c];
        q->delta[c] = (double)scales[c];
        q->zero_float[c] = 0;
        q->zero_point[c] = 0;
        q->is_floored |= !(scales[c] > (float)HL_QUANT_EPS);
    }
    q->has_range = true;
    return HL_OK;
}

/* --- elements --- */

hl_quant_grid hl_quantizer_grid(const hl_quantizer *q, int64_t c)
{
    return hl_quant_make_grid(codes_of(q), q->scale[c], q->zero_point[c]);
}

hl_quant_grid hl_quantizer_bytes(const hl_quantizer *q)
{
    hl_quant_grid g = hl_quantizer_grid(q, 0);
    g.zero -= (float)q->int_min;
    return g;
}

/* How much of [i, end) lies in the channel of i, *c. */
static int64_t run_of(const hl_quantizer *q, const hl_quant_part *p, int64_t i, int64_t *c)
{
    HL_ASSERT(q->has_range && p->n % q->o.n_channels == 0);
    const int64_t each = p->n / q->o.n_channels;
    *c = i / each;
    const int64_t stop = (*c + 1) * each;
    return (stop < p->end ? stop : p->end) - i;
}

void hl_quantizer_apply(const hl_quantizer *q, hl_quant_part part, const float *x, float *y)
{
    int64_t c, run;
    for (int64_t i = part.begin; i < part.end; i += run) {
        run = run_of(q, &part, i, &c);
        hl_cpu()->fake_quant(hl_quantizer_grid(q, c), run, x + i, y + i);
    }
}

void hl_quantizer_encode(const hl_quantizer *q, hl_quant_part part, const float *x,
                         hl_code_type type, void *codes)
{
    int64_t c, run;
    for (int64_t i = part.begin; i < part.end; i += run) {
        run = run_of(q, &part, i, &c);
        hl_cpu()->quant_encode(hl_quantizer_grid(q, c), type, run, x + i,
                               (char *)codes + (size_t)i * hl_code_bytes(type));
    }
}

void hl_quantizer_decode(const hl_quantizer *q, hl_quant_part part, hl_code_type type,
                         const void *codes, float *y)
{
    int64_t c, run;
    for (int64_t i = part.begin; i < part.end; i += run) {
        run = run_of(q, &part, i, &c);
        hl_cpu()->quant_decode(hl_quantizer_grid(q, c), type, run,
                               (const char *)codes + (size_t)i * hl_code_bytes(type), y + i);
    }
}

hl_code_type hl_quantizer_code_type(const hl_quantizer *q)
{
    if (q->o.bits <= 8)
        return q->int_min < 0 ? HL_CODE_I8 : HL_CODE_U8;
    return q->int_min < 0 ? HL_CODE_I16 : HL_CODE_U16;
}

size_t hl_code_bytes(hl_code_type type)
{
    return type <= HL_CODE_I8 ? 1 : type <= HL_CODE_I16 ? 2 : 4;
}

/* --- gradients --- */

/* d scale / d delta, and d zero_point / d zero_float */
static double scale_slope(const hl_quantizer *q, int64_t c)
{
    if (q->o.log_scale)
        return (double)q->scale[c];
    return q->delta[c] > HL_QUANT_EPS ? 1 : 0;
}

static double zero_slope(const hl_quantizer *q, int64_t c)
{
    const double rounded = rint(q->zero_float[c]);
    return q->o.scheme == HL_QUANT_ASYMMETRIC && rounded >= q->int_min && rounded <= q->int_max;
}

void hl_quantizer_vjp(const hl_quantizer *q, bool lsq, int64_t n, const float *gy, const float *x,
                      const hl_quantizer_grads *out)
{
    HL_ASSERT(q->has_range && n % q->o.n_channels == 0);
    const int64_t each = n / q->o.n_channels;
    const double factor = lsq && each > 0 ? 1 / sqrt((double)q->int_max * (double)each) : 1;
    for (int64_t c = 0; c < q->o.n_channels; c++) {
        const int64_t at = c * each;
        double sums[2] = {0, 0};
        hl_cpu()->fake_quant_vjp(hl_quantizer_grid(q, c), each, gy + at, x + at, out->x + at, sums);
        if (out->delta)
            out->delta[c] = sums[0] * factor * scale_slope(q, c);
        if (out->zero_float)
            out->zero_float[c] = sums[1] * factor * zero_slope(q, c);
    }
}

hl_status hl_quantizer_take_state(hl_quantizer *q, const double *range, bool is_f64)
{
    const hl_quant_range known = {1, is_f64, range + HL_QUANT_LO, range + HL_QUANT_HI};
    if (range[HL_QUANT_SEEN] == 0)
        return hl_err_set(HL_E_STATE, "a quantizer has no range yet; observe a batch first");
    return hl_quantizer_set_range(q, &known);
}
