/* Products. cuBLASLt where it is there and takes the product (lt.cu); else, and in the tests, this:
 * tiles of 64 x 64 in shared memory, 4 x 4 results per thread. The order of a sum depends on k
 * alone. */
#include "kernels/cuda/cuda_internal.h"
#include "kernels/mm/act_body.h"
#include "kernels/vec/bf16_body.h"
#include "kernels/vec/f16_body.h"

enum { TILE = 64, DEPTH = 16, EACH = 4 };

__device__ inline float operand(const float *f, const hl_bf16 *h, bool f16, int64_t at)
{
    return !h ? f[at] : f16 ? hl_from_f16(h[at]) : hl_from_bf16(h[at]);
}

__global__ void gemm_kernel(hl_gpu_gemm p, bool f16)
{
    __shared__ float a[DEPTH][TILE + 1], b[DEPTH][TILE + 1];
    const hl_gemm_args g = p.g;
    const int64_t across = (g.n + TILE - 1) / TILE, down = (g.m + TILE - 1) / TILE;
    const int tx = (int)(threadIdx.x % 16), ty = (int)(threadIdx.x / 16);
    for (int64_t t = blockIdx.x; t < p.batch * across * down; t += gridDim.x) {
        const int64_t i = t / (across * down), m0 = t / across % down * TILE,
                      n0 = t % across * TILE;
        float sum[EACH][EACH] = {{0}};
        for (int64_t k0 = 0; k0 < g.k; k0 += DEPTH) {
            for (int e = (int)threadIdx.x; e < TILE * DEPTH; e += 256) {
                /* along the stride of 1, so that neighbours read neighbours */
                const int am = g.a_col == 1 ? e / DEPTH : e % TILE;
                const int ak = g.a_col == 1 ? e % DEPTH : e / TILE;
                const int bn = g.b_col == 1 ? e % TILE : e / DEPTH;
                const int bk = g.b_col == 1 ? e / TILE : e % DEPTH;
                a[ak][am] = m0 + am < g.m && k0 + ak < g.k
                                ? operand(g.a, g.a16, f16,
                                          i * p.a_batch + (m0 + am) * g.a_row + (k0 + ak) * g.a_col)
                                : 0.0f;
                b[bk][bn] = n0 + bn < g.n && k0 + bk < g.k
                                ? operand(g.b, g.b16, f16,
                                          i * p.b_batch + (k0 + bk) * g.b_row + (n0 + bn) * g.b_col)
                                : 0.0f;
            }
            __syncthreads();
            for (int k = 0; k < DEPTH; k++) {
                float x[EACH], y[EACH];
                for (int e = 0; e < EACH; e++) {
                    x[e] = a[k][ty + 16 * e];
                    y[e] = b[k][tx + 16 * e];
                }
                for (int r = 0; r < EACH; r++)
                    for (int c = 0; c < EACH; c++)
                        sum[r][c] += x[r] * y[c];
            }
            __syncthreads();
        }
        for (int r = 0; r < EACH; r++)
            for (int c = 0; c < EACH; c++) {
                const int64_t m = m0 + ty + 16 * r, n = n0 + tx + 16 * c;
                if (m >= g.m || n >= g.n)
                    continue;
                const int64_t at = i * p.c_batch + m * g.c_row + n;
                float v = sum[r][c];
                if (g.addend)
                    v += g.addend[at];
                else if (g.add)
                    v += g.c[at];
                if (g.bias)
                    v += g.bias[n];
                if (g.pre)
                    g.pre[at] = v;
                g.c[at] = hl_activate(g.act, v);
            }
    }
}

static void gemm_own(hl_gpu *g, const hl_gpu_gemm *a)
{
    const int64_t tiles = a->batch * ((a->g.n + TILE - 1) / TILE) * ((a->g.m + TILE - 1) / TILE);
    HL_GO(g, gemm_kernel, (unsigned)(tiles < 1 << 20 ? tiles : 1 << 20), 256, 0, *a, g->f16);
}

/* --- what cuBLASLt does not do at the end of a product --- */

__global__ void epilogue_kernel(int64_t m, int64_t n, int64_t row, const float *bias, hl_act act,
                                float *pre, float *c)
{
    HL_EACH(i, m * n)
    {
        const int64_t at = i / n * row + i % n;
        float v = c[at];
        if (bias)
            v += bias[i % n];
        if (pre)
            pre[at] = v;
        c[at] = hl_activate(act, v);
    }
}

void hl_cu_gemm(hl_gpu *g, const hl_gpu_gemm *a)
{
    if (a->g.m == 0 || a->g.n == 0 || a->batch == 0)
        return;
    const hl_gemm_args *p = &a->g;
    int done;
    if (p->k == 0 || !hl_lt_gemm(g, a, &done)) {
        gemm_own(g, a);
        return;
    }
    const float *bias = done & HL_LT_BIAS ? NULL : p->bias;
    if (!(done & HL_LT_ACT) && (bias || p->pre || p->act != HL_ACT_NONE))
        HL_GO(g, epilogue_kernel, hl_gpu_blocks(g, p->m * p->n, HL_THREADS), HL_THREADS, 0, p->m,
              p->n, p->c_row, bias, p->act, p->pre, p->c);
}
