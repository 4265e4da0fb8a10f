/* The normalisers' kernels for one kind of owner of a row (kernels/row/row_body.h). A .cu file says
 * which, HL_ROW_WIDTH lanes or HL_ROW_BLOCK, and gives its launchers their names with
 * HL_ROW_NAME(name). */
#include "kernels/cuda/normalise.h"
#include "kernels/row/normalise_body.h"
#include "kernels/row/score_mask_body.h"

#ifdef HL_ROW_BLOCK
#define OWNERS(r, rows) for (int64_t r = blockIdx.x; r < (rows); r += gridDim.x)
#define OWN_ROW         0
#define IS_FIRST        (threadIdx.x == 0)
#else
#ifndef HL_ROW_WIDTH
#define HL_ROW_WIDTH 32
#endif
#define OWNERS(r, rows)                                                                            \
    for (int64_t r = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / HL_ROW_WIDTH; r < (rows);  \
         r += (int64_t)gridDim.x * blockDim.x / HL_ROW_WIDTH)
#define OWN_ROW  (threadIdx.x / HL_ROW_WIDTH)
#define IS_FIRST ((threadIdx.x & (HL_ROW_WIDTH - 1)) == 0)
#endif

static __device__ inline hl_normaliser with_alpha(hl_normaliser f, const float *alpha)
{
    f.alpha = alpha ? (double)*alpha : 0;
    return f;
}

/* A row is worked on in shared memory where there is room for it; what a thread writes there, only
 * that thread reads. */
static __global__ void normalise_kernel(hl_normaliser f, const float *alpha, hl_score_mask mask,
                                        bool masked, bool staged, int64_t rows, int64_t n,
                                        const float *x, float *y, float *stat)
{
    HL_SHARED(float, room);
    f = with_alpha(f, alpha);
    OWNERS(r, rows)
    {
        const float *from = x + r * n;
        float s[2], *to = y + r * n, *work = staged ? room + OWN_ROW * n : to;
        if (masked || staged)
            HL_ROW_EACH(j, n, work[j] = !masked || hl_may_see(&mask, r, j) ? from[j] : -INFINITY);
        hl_normalise_row(f, n, masked || staged ? work : from, work, s);
        if (staged)
            HL_ROW_EACH(j, n, to[j] = work[j]);
        if (stat && IS_FIRST) {
            stat[2 * r] = s[0];
            stat[2 * r + 1] = s[1];
        }
    }
}

/* What a cotangent g of the weight p is multiplied with in the sums of a row, and in the end. */
static __device__ inline float slope_weight(hl_normaliser f, float p)
{
    return f.base == HL_NORM_SPARSEMAX ? (p > 0.0f ? 1.0f : 0.0f) : p;
}

static __device__ inline float clipped_slope(hl_normaliser f, float p, float g)
{
    return hl_normaliser_clips(f) ? hl_clip_slope(f, f.base == HL_NORM_ENTMAX15 ? p * p : p, g) : g;
}

/* hl_normalise_row_slope from the scores: the weights are computed twice and kept nowhere. */
static __device__ inline void row_vjp(hl_normaliser f, int64_t n, const float *x, const float *stat,
                                      const float *gy, float *gx, double *galpha)
{
    if (f.base == HL_NORM_ENTMAX) {
        const hl_entmax_row row = {n, x, stat};
        hl_normalise_entmax_slope(f, &row, gy, gx, galpha);
        return;
    }
#define WEIGHT(j) hl_normaliser_weight(f.base, x[j], stat[0], stat[1])
    float dot, total = 1.0f;
    HL_ROW_SUM(dot, j, n, slope_weight(f, WEIGHT(j)) * clipped_slope(f, WEIGHT(j), gy[j]));
    if (f.base == HL_NORM_ENTMAX15 || f.base == HL_NORM_SPARSEMAX)
        HL_ROW_SUM(total, j, n, slope_weight(f, WEIGHT(j)));
    const float mean = total == 0.0f ? 0.0f : dot / total;
    HL_ROW_EACH(j, n,
                gx[j] = slope_weight(f, WEIGHT(j)) * (clipped_slope(f, WEIGHT(j), gy[j]) - mean));
#undef WEIGHT
}

static __global__ void normalise_vjp_kernel(hl_normaliser f, const float *alpha, int64_t rows,
                                            int64_t n, const float *x, const float *stat,
                                            const float *gy, float *gx, double *galpha)
{
    f = with_alpha(f, alpha);
    OWNERS(r, rows)
    {
        double ga = 0;
        row_vjp(f, n, x + r * n, stat + 2 * r, gy + r * n, gx + r * n, galpha ? &ga : NULL);
        if (galpha && IS_FIRST)
            galpha[r] = ga;
    }
}

void HL_ROW_NAME(hl_normalise_rows)(hl_gpu *g, const hl_normalise_call *c, unsigned blocks,
                                    size_t shared)
{
    const hl_score_mask mask = c->mask ? *c->mask : hl_score_mask();
    HL_GO(g, normalise_kernel, blocks, HL_THREADS, shared, c->f, c->alpha, mask, c->mask != NULL,
          shared != 0, c->rows, c->n, c->x, c->y, c->stat);
}

void HL_ROW_NAME(hl_normalise_rows_vjp)(hl_gpu *g, const hl_normalise_call *c, unsigned blocks)
{
    HL_GO(g, normalise_vjp_kernel, blocks, HL_THREADS, 0, c->f, c->alpha, c->rows, c->n, c->x,
          (const float *)c->stat, c->gy, c->y, c->galpha);
}
