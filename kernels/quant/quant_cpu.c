/* Loops over the quantization formulas (quant_body.h). Compiled without contraction. */
#include <math.h>

#include "kernels/quant/quant_body.h"
#include "kernels/row/row_body.h"
#include "kernels/vec/hl_isa.h"

enum { BLOCK = 2048 }; /* numbers and their steps stay in the nearest cache */

void HL_K(fake_quant)(hl_quant_grid g, int64_t n, const float *x, float *y)
{
    HL_ROW_EACH(i, n, y[i] = hl_quant_apply(g, x[i]));
}

void HL_K(fake_quant_vjp)(hl_quant_grid g, int64_t n, const float *gy, const float *x, float *gx,
                          double sums[2])
{
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t m = n - i < BLOCK ? n - i : BLOCK;
        float ds, dz;
        HL_ROW_SUM2(ds, dz, j, m, hl_quant_vjp(g, gy[i + j], x[i + j]).ds,
                    hl_quant_vjp(g, gy[i + j], x[i + j]).dz);
        sums[0] += (double)ds;
        sums[1] += (double)dz;
        HL_ROW_EACH(j, m, gx[i + j] = hl_quant_vjp(g, gy[i + j], x[i + j]).dx);
    }
}

/* One loop per code type: LOOP(type of the code, its name). */
#define EACH_CODE_TYPE(LOOP)                                                                       \
    switch (type) {                                                                                \
    case HL_CODE_U8:                                                                               \
        LOOP(uint8_t);                                                                             \
        break;                                                                                     \
    case HL_CODE_I8:                                                                               \
        LOOP(int8_t);                                                                              \
        break;                                                                                     \
    case HL_CODE_U16:                                                                              \
        LOOP(uint16_t);                                                                            \
        break;                                                                                     \
    case HL_CODE_I16:                                                                              \
        LOOP(int16_t);                                                                             \
        break;                                                                                     \
    default:                                                                                       \
        LOOP(int32_t);                                                                             \
        break;                                                                                     \
    }

void HL_K(quant_encode)(hl_quant_grid g, hl_code_type type, int64_t n, const float *x, void *codes)
{
#define ENCODE(code)                                                                               \
    {                                                                                              \
        code *q = codes;                                                                           \
        HL_ROW_EACH(i, n, q[i] = (code)hl_quant_encode(g, x[i]));                                  \
    }
    EACH_CODE_TYPE(ENCODE)
#undef ENCODE
}

void HL_K(quant_decode)(hl_quant_grid g, hl_code_type type, int64_t n, const void *codes, float *y)
{
#define DECODE(code)                                                                               \
    {                                                                                              \
        const code *q = codes;                                                                     \
        HL_ROW_EACH(i, n, y[i] = hl_quant_decode(g, q[i]));                                        \
    }
    EACH_CODE_TYPE(DECODE)
#undef DECODE
}

/* --- behind integer products --- */

enum { FINISH = 512 }; /* columns at once: sums and values in the nearest cache */

/* One loop for each combination of what there is: GIVE(the value before its activation). */
#define EACH_VALUE(GIVE)                                                                           \
    if (shift && bias)                                                                             \
        HL_ROW_EACH(i, n, GIVE((float)(acc[i] + shift[i] + of_row) * scale[i] + bias[i]))          \
    else if (shift)                                                                                \
        HL_ROW_EACH(i, n, GIVE((float)(acc[i] + shift[i] + of_row) * scale[i]))                    \
    else if (bias)                                                                                 \
        HL_ROW_EACH(i, n, GIVE((float)(acc[i] + of_row) * scale[i] + bias[i]))                     \
    else                                                                                           \
        HL_ROW_EACH(i, n, GIVE((float)(acc[i] + of_row) * scale[i]))

/* Columns [at, at + n) of a row: to values, or straight to codes where nothing comes between. */
static void finish_part(const hl_int8_finish *f, int64_t row, int64_t at, int64_t n, float *v)
{
    const int32_t *acc = f->acc + row * f->acc_row + at,
                  of_row = f->row_shift ? f->row_shift[row] : 0;
    const float *scale = f->scale + at, *bias = f->bias ? f->bias + at : NULL;
    const int32_t *shift = f->col_shift ? f->col_shift + at : NULL;
    if (v) {
#define TO_VALUE(x) v[i] = (x)
        EACH_VALUE(TO_VALUE)
#undef TO_VALUE
    } else {
        hl_quant_grid g = *f->grid;
        if (f->act == HL_ACT_RELU) /* what is negative gets the code of 0 */
            g.r_min = 0.0f;
        uint8_t *codes = f->codes + row * f->y_row + at;
#define TO_CODE(x) codes[i] = (uint8_t)hl_quant_encode(g, (x))
        EACH_VALUE(TO_CODE)
#undef TO_CODE
    }
}

void HL_K(int8_finish)(const hl_int8_finish *f)
{
    static const hl_ew1_id act[] = {[HL_ACT_GELU] = HL_EW1_gelu,
                                    [HL_ACT_GELU_TANH] = HL_EW1_gelu_tanh,
                                    [HL_ACT_RELU] = HL_EW1_relu};
    for (int64_t row = 0; row < f->m; row++)
        for (int64_t at = 0; at < f->n; at += FINISH) {
            float own[FINISH], *v = f->y ? f->y + row * f->y_row + at : own;
            const int64_t n = f->n - at < FINISH ? f->n - at : FINISH;
            if (!f->y && (f->act == HL_ACT_NONE || f->act == HL_ACT_RELU)) {
                finish_part(f, row, at, n, NULL);
                continue;
            }
            finish_part(f, row, at, n, v);
            if (f->act != HL_ACT_NONE)
                HL_K(ew1)(act[f->act], n, v, v);
            if (f->grid && f->y)
                HL_K(fake_quant)(*f->grid, n, v, v);
            else if (f->grid)
                HL_K(quant_encode)(*f->grid, HL_CODE_U8, n, v, f->codes + row * f->y_row + at);
        }
}

/* r of one block, and its smallest and largest */
static void steps_of(float scale, int64_t n, const float *x, float *r, float *lo, float *hi)
{
    HL_ROW_EACH(j, n, r[j] = hl_quant_steps_open(scale, x[j]));
    HL_ROW_MAX(*hi, -INFINITY, j, n, r[j]);
    HL_ROW_MAX(*lo, -INFINITY, j, n, -r[j]);
    *lo = -*lo;
}

/* Bounds beyond a block's own steps do nothing to it: replaced by those steps, they tell which
 * grids give the same sum without computing it again. */
static hl_quant_bounds felt_bounds(hl_quant_bounds b, float lo, float hi)
{
    hl_quant_bounds felt = {b.r_min < lo ? lo : b.r_min, b.r_max > hi ? hi : b.r_max};
    return felt.r_min > felt.r_max ? b : felt; /* the block lies outside, on one side */
}

/* Of one block, to each of several grids. */
static void add_errors(float scale, int64_t n, const float *x, int64_t n_grids,
                       const hl_quant_bounds *grids, double *sums)
{
    float r[BLOCK], lo, hi, sum = 0;
    steps_of(scale, n, x, r, &lo, &hi);
    hl_quant_bounds last = {1, -1}; /* no grid's */
    for (int64_t k = 0; k < n_grids; k++) {
        const hl_quant_bounds b = felt_bounds(grids[k], lo, hi);
        if (b.r_min != last.r_min || b.r_max != last.r_max)
            HL_ROW_SUM(sum, j, n, hl_quant_error(scale, b.r_min, b.r_max, x[j], r[j]));
        last = b;
        sums[k] += (double)sum;
    }
}

void HL_K(quant_errors)(float scale, int64_t n, const float *x, int64_t n_grids,
                        const hl_quant_bounds *grids, double *sums)
{
    const hl_quant_bounds b = grids[0];
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t m = n - i < BLOCK ? n - i : BLOCK;
        const float *p = x + i;
        if (n_grids > 1) {
            add_errors(scale, m, p, n_grids, grids, sums);
            continue;
        }
        float sum;
        HL_ROW_SUM(sum, j, m,
                   hl_quant_error(scale, b.r_min, b.r_max, p[j], hl_quant_steps_open(scale, p[j])));
        sums[0] += (double)sum;
    }
}

void HL_K(rescale)(int64_t n, float s_x, const float *scales, bool per_column, const float *bias,
                   float *y)
{
    const float s = s_x * scales[0];
    if (per_column) {
        HL_ROW_EACH(i, n, y[i] *= s_x * scales[i]);
    } else {
        HL_ROW_EACH(i, n, y[i] *= s);
    }
    if (bias) {
        HL_ROW_EACH(i, n, y[i] += bias[i]);
    }
}

void HL_K(min_max)(int64_t n, const float *x, float *min, float *max)
{
    float lo = -INFINITY, hi = -INFINITY, n_nan = 0;
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t m = n - i < BLOCK ? n - i : BLOCK;
        const float *p = x + i;
        float block_lo, block_hi, block_nan;
        HL_ROW_MAX(block_hi, -INFINITY, j, m, p[j]);
        HL_ROW_MAX(block_lo, -INFINITY, j, m, -p[j]);
        HL_ROW_SUM(block_nan, j, m, p[j] != p[j] ? 1.0f : 0.0f);
        hi = block_hi > hi ? block_hi : hi;
        lo = block_lo > lo ? block_lo : lo;
        n_nan += block_nan;
    }
    *min = n_nan > 0 ? NAN : -lo;
    *max = n_nan > 0 ? NAN : hi;
}
