/* Rows of floats rounded to bf16, as hl_to_bf16 does: by the instruction for 32 numbers where the
 * processor has a fast one. Included by sources compiled once per instruction set. */
#ifndef HL_ROUND_ROW_H
#define HL_ROUND_ROW_H

#include "kernels/hl_kernel.h"
#include "kernels/vec/bf16_body.h"

/* n numbers of each row. */
typedef struct hl_round_rows {
    int64_t rows, n;
    const float *x;
    int64_t x_row;
    hl_bf16 *y;
    int64_t y_row;
} hl_round_rows;

static inline void hl_round_numbers(int64_t n, const float *x, hl_bf16 *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = hl_to_bf16(x[i]);
}

#ifdef HL_DOT
#include <immintrin.h>

/* The instruction takes denormal numbers as zero: 32 with one among them go the other way. */
__attribute__((target("avx512bf16"))) static inline void hl_round_vectors(int64_t n, const float *x,
                                                                          hl_bf16 *y)
{
    enum { DENORMAL = 0x20 };
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m512 low = _mm512_loadu_ps(x + i), high = _mm512_loadu_ps(x + i + 16);
        if (_mm512_fpclass_ps_mask(low, DENORMAL) | _mm512_fpclass_ps_mask(high, DENORMAL))
            hl_round_numbers(32, x + i, y + i);
        else
            _mm512_storeu_si512(y + i, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    hl_round_numbers(n - i, x + i, y + i);
}

__attribute__((target("avx512bf16"))) static void hl_round_by_vectors(const hl_round_rows *r)
{
    if (r->n == 32) /* of a tile: too short for a loop of unknown length */
        for (int64_t i = 0; i < r->rows; i++)
            hl_round_vectors(32, r->x + i * r->x_row, r->y + i * r->y_row);
    else
        for (int64_t i = 0; i < r->rows; i++)
            hl_round_vectors(r->n, r->x + i * r->x_row, r->y + i * r->y_row);
}
#endif

static inline void hl_round(const hl_round_rows *r)
{
#ifdef HL_DOT
    if (hl_cpu_bf16() == HL_BF16_DOT) {
        hl_round_by_vectors(r);
        return;
    }
#endif
    for (int64_t i = 0; i < r->rows; i++)
        hl_round_numbers(r->n, r->x + i * r->x_row, r->y + i * r->y_row);
}

#endif
