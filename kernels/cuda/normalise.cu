/* Normalisers of scores: who owns a row follows from its length. The formulas are those of the row
 * bodies, which the CPU compiles too. This file has the rows of a warp. */
#define HL_ROW_NAME(name) name##_32
#include "kernels/cuda/normalise_rows.h"

enum {
    LONG = 1024,
    MOST_STAGED = 12000
}; /* above, a block; numbers of a row that fit beside its sums in 48 KB */

/* Threads that own a row of n. */
static int width_of(int64_t n)
{
    return n <= 8 ? 8 : n <= 16 ? 16 : n <= LONG ? 32 : HL_THREADS;
}

static unsigned blocks_for(const hl_gpu *g, const hl_normalise_call *c)
{
    return hl_gpu_blocks(g, c->rows * width_of(c->n), HL_THREADS);
}

static void run(hl_gpu *g, const hl_normalise_call *c)
{
    const int width = width_of(c->n);
    const size_t shared =
        c->n <= MOST_STAGED ? (size_t)(HL_THREADS / width) * (size_t)c->n * sizeof(float) : 0;
    const unsigned blocks = blocks_for(g, c);
    switch (width) {
    case 8:
        hl_normalise_rows_8(g, c, blocks, shared);
        break;
    case 16:
        hl_normalise_rows_16(g, c, blocks, shared);
        break;
    case 32:
        hl_normalise_rows_32(g, c, blocks, shared);
        break;
    default:
        hl_normalise_rows_block(g, c, blocks, shared);
        break;
    }
}

void hl_cu_normalise(hl_gpu *g, hl_normaliser f, const float *alpha, int64_t rows, int64_t n,
                     const float *x, float *y, float *stat)
{
    const hl_normalise_call c = {f, alpha, NULL, rows, n, x, y, stat, NULL, NULL};
    run(g, &c);
}

void hl_cu_masked_normalise(hl_gpu *g, hl_normaliser f, const float *alpha, const int64_t shape[4],
                            bool causal, const uint8_t *mask, const float *x, float *y)
{
    const hl_score_mask j = {shape[1] * shape[2], shape[2], shape[3], mask, causal};
    const hl_normalise_call c = {f,    alpha, &j,  shape[0] * shape[1] * shape[2], j.s, x, y,
                                 NULL, NULL,  NULL};
    run(g, &c);
}

void hl_cu_normalise_vjp(hl_gpu *g, hl_normaliser f, const float *alpha, int64_t rows, int64_t n,
                         const float *x, const float *stat, const float *gy, float *gx,
                         float *galpha, double *part)
{
    const hl_normalise_call c = {f,    alpha,
                                 NULL, rows,
                                 n,    x,
                                 gx,   const_cast<float *>(stat),
                                 gy,   galpha ? part : (double *)NULL};
    const unsigned blocks = blocks_for(g, &c);
    switch (width_of(n)) {
    case 8:
        hl_normalise_rows_vjp_8(g, &c, blocks);
        break;
    case 16:
        hl_normalise_rows_vjp_16(g, &c, blocks);
        break;
    case 32:
        hl_normalise_rows_vjp_32(g, &c, blocks);
        break;
    default:
        hl_normalise_rows_vjp_block(g, &c, blocks);
        break;
    }
    if (galpha)
        hl_cu_add_doubles(g, rows, part, galpha);
}
