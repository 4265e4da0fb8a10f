/* Elementwise loops, one per function of hl_ew.def and form. */
#include <math.h>

#include "kernels/vec/hl_isa.h"
#include "kernels/vec/round_row.h"

#define HL_EW1(name, f32, f64, doc, lo, hi, abs)                                                        \
    static void ew1_##name(int64_t n, const float *px, float *py)                                  \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const float x = px[i];                                                                 \
            py[i] = f32;                                                                           \
        }                                                                                          \
    }
#define HL_EW2(name, f32, f64, doc, lo, hi, abs)                                                        \
    static void ew2_##name(hl_ew2_form form, int64_t n, const float *pa, const float *pb,          \
                           float *py)                                                              \
    {                                                                                              \
        if (form == HL_EW2_VV) {                                                                   \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const float a = pa[i], b = pb[i];                                                  \
                py[i] = f32;                                                                       \
            }                                                                                      \
        } else if (form == HL_EW2_VS) {                                                            \
            const float b = pb[0];                                                                 \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const float a = pa[i];                                                             \
                py[i] = f32;                                                                       \
            }                                                                                      \
        } else {                                                                                   \
            const float a = pa[0];                                                                 \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const float b = pb[i];                                                             \
                py[i] = f32;                                                                       \
            }                                                                                      \
        }                                                                                          \
    }
#include "kernels/ew/hl_ew.def"

void HL_K(ew1)(hl_ew1_id op, int64_t n, const float *x, float *y)
{
    static void (*const loop[])(int64_t, const float *, float *) = {
#define HL_EW1(name, f32, f64, doc, lo, hi, abs) ew1_##name,
#define HL_EW2(name, f32, f64, doc, lo, hi, abs)
#include "kernels/ew/hl_ew.def"
    };
    loop[op](n, x, y);
}

void HL_K(ew2)(hl_ew2_id op, hl_ew2_form form, int64_t n, const float *a, const float *b, float *y)
{
    static void (*const loop[])(hl_ew2_form, int64_t, const float *, const float *, float *) = {
#define HL_EW1(name, f32, f64, doc, lo, hi, abs)
#define HL_EW2(name, f32, f64, doc, lo, hi, abs) ew2_##name,
#include "kernels/ew/hl_ew.def"
    };
    loop[op](form, n, a, b, y);
}

void HL_K(select)(int64_t n, const float *c, const float *a, const float *b, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = c[i] != 0.0f ? a[i] : b[i];
}

void HL_K(to_bf16)(int64_t n, const float *x, hl_bf16 *y)
{
    hl_round(&(hl_round_rows){.rows = 1, .n = n, .x = x, .y = y});
}

void HL_K(from_bf16)(int64_t n, const hl_bf16 *x, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = hl_from_bf16(x[i]);
}
