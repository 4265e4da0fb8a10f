/* One step of Anderson mixing and its derivative, a block per sample: to differentiate through; and
 * the mixing of a damped step. */
#include "kernels/cuda/cuda_internal.h"
#include "kernels/solve/anderson_body.h"

typedef struct mixing {
    double a[HL_GPU_PAIRS * HL_GPU_PAIRS], copy[HL_GPU_PAIRS * HL_GPU_PAIRS];
    double alpha[2 * HL_GPU_PAIRS], l[HL_GPU_PAIRS], beta[HL_GPU_PAIRS];
    double sum, sums[32];
    int ok;
} mixing;

__device__ inline double residual_at(const hl_gpu_pairs &k, int i, int64_t at)
{
    return (double)k.g[i][at] - (double)k.x[i][at];
}

__device__ inline double mixed_at(const hl_gpu_pairs &k, const mixing *m, int64_t at)
{
    double v = 0;
    for (int i = 0; i < k.n; i++)
        v += m->alpha[i] * (double)k.g[i][at];
    return v;
}

/* Does mixing lower the relative residual? */
__device__ inline bool is_better(const hl_gpu_pairs &k, int64_t b, mixing *m)
{
    double change = 0, size = 0, plain = 0, x = 0;
    for (int64_t at = b * k.d + threadIdx.x; at < (b + 1) * k.d; at += blockDim.x) {
        const double v = mixed_at(k, m, at), g = (double)k.g[k.n - 1][at],
                     xj = (double)k.x[k.n - 1][at];
        change += (g - v) * (g - v);
        size += v * v;
        plain += (g - xj) * (g - xj);
        x += xj * xj;
    }
    change = hl_block_sum(change, m->sums);
    size = hl_block_sum(size, m->sums);
    plain = hl_block_sum(plain, m->sums);
    x = hl_block_sum(x, m->sums);
    return sqrt(change) / sqrt(size) < sqrt(plain) / sqrt(x);
}

/* Weights of sample b; false: it takes the plain step. */
__device__ inline bool weigh_pairs(const hl_gpu_pairs &k, int64_t b, mixing *m)
{
    for (int i = 0; i < k.n; i++)
        for (int j = 0; j <= i; j++) {
            double s = 0;
            for (int64_t at = b * k.d + threadIdx.x; at < (b + 1) * k.d; at += blockDim.x)
                s += residual_at(k, i, at) * residual_at(k, j, at);
            s = hl_block_sum(s, m->sums);
            if (threadIdx.x == 0)
                m->a[i * k.n + j] = m->a[j * k.n + i] = m->copy[i * k.n + j] =
                    m->copy[j * k.n + i] = s;
        }
    __syncthreads();
    if (threadIdx.x == 0)
        m->ok = k.n > 1 && hl_anderson_body(k.n, m->copy, k.ridge, false, m->alpha, &m->sum);
    __syncthreads();
    const bool ok = m->ok;
    return ok && (!k.safeguard || is_better(k, b, m));
}

__global__ void anderson_mix_kernel(hl_gpu_pairs k, float *y)
{
    __shared__ mixing m;
    for (int64_t b = blockIdx.x; b < k.batch; b += gridDim.x) {
        const bool ok = weigh_pairs(k, b, &m);
        for (int64_t at = b * k.d + threadIdx.x; at < (b + 1) * k.d; at += blockDim.x)
            y[at] = ok ? (float)mixed_at(k, &m, at) : k.g[k.n - 1][at];
        __syncthreads();
    }
}

void hl_cu_anderson_mix(hl_gpu *g, const hl_gpu_pairs *k, float *y)
{
    HL_GO(g, anderson_mix_kernel, hl_gpu_blocks(g, k->batch, 1), hl_gpu_threads(k->d), 0, *k, y);
}

/* l and beta of engine/solve/mix_op.c; by one thread, which knows the means. */
__device__ inline void back_weights(const hl_gpu_pairs &k, double *right, mixing *m)
{
    double mean = 0;
    for (int i = 0; i < k.n; i++)
        mean += right[i] * m->alpha[i];
    for (int i = 0; i < k.n; i++) {
        right[i] = (right[i] - mean) / m->sum;
        m->beta[i] = m->alpha[i] * m->sum;
        m->a[i * k.n + i] += k.ridge;
    }
    if (!hl_dense_body(k.n, m->a, right, m->l))
        for (int i = 0; i < k.n; i++)
            m->l[i] = 0;
}

__device__ inline void back(const hl_gpu_pairs &k, int64_t b, const float *cotangent, mixing *m)
{
    double right[HL_GPU_PAIRS];
    for (int i = 0; i < k.n; i++) {
        double s = 0;
        for (int64_t at = b * k.d + threadIdx.x; at < (b + 1) * k.d; at += blockDim.x)
            s += (double)k.g[i][at] * (double)cotangent[at];
        right[i] = hl_block_sum(s, m->sums);
    }
    __syncthreads();
    if (threadIdx.x == 0)
        back_weights(k, right, m);
    __syncthreads();
    for (int i = 0; i < k.n; i++)
        for (int64_t at = b * k.d + threadIdx.x; at < (b + 1) * k.d; at += blockDim.x) {
            double f = 0;
            for (int j = 0; j < k.n; j++)
                f -= residual_at(k, j, at) * (m->l[j] * m->beta[i] + m->beta[j] * m->l[i]);
            k.gx[i][at] = (float)-f;
            k.gg[i][at] = (float)(m->alpha[i] * (double)cotangent[at] + f);
        }
}

__global__ void anderson_mix_vjp_kernel(hl_gpu_pairs k, const float *cotangent)
{
    __shared__ mixing m;
    for (int64_t b = blockIdx.x; b < k.batch; b += gridDim.x) {
        if (weigh_pairs(k, b, &m)) {
            back(k, b, cotangent, &m);
        } else {
            for (int i = 0; i < k.n; i++)
                for (int64_t at = b * k.d + threadIdx.x; at < (b + 1) * k.d; at += blockDim.x) {
                    k.gx[i][at] = 0;
                    k.gg[i][at] = i == k.n - 1 ? cotangent[at] : 0.0f;
                }
        }
        __syncthreads();
    }
}

void hl_cu_anderson_mix_vjp(hl_gpu *g, const hl_gpu_pairs *k, const float *cotangent)
{
    HL_GO(g, anderson_mix_vjp_kernel, hl_gpu_blocks(g, k->batch, 1), hl_gpu_threads(k->d), 0, *k,
          cotangent);
}

__global__ void blend_kernel(int64_t n, float step, const float *x, const float *y, float *out)
{
    HL_EACH(i, n)
    out[i] = (1 - step) * x[i] + step * y[i];
}

void hl_cu_blend(hl_gpu *g, int64_t n, float step, const float *x, const float *y, float *out)
{
    HL_GO(g, blend_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, n, step, x, y, out);
}
