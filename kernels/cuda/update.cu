/* Updates of parameters. Nothing is written if *ok is 0, or once a kernel of the run has found a
 * fault in its data. */
#include "kernels/cuda/cuda_internal.h"
#include "kernels/update/adamw_body.h"
#include "kernels/update/madam_body.h"

__device__ inline bool may_write(const float *ok, const hl_gpu_fault *fault)
{
    return *ok != 0.0f && fault->kind == HL_FAULT_NONE;
}

__device__ inline hl_adamw_coefs adamw_coefs(const hl_gpu_adamw &a)
{
    const double t = (double)*a.t;
    hl_adamw_coefs k;
    k.lr = *a.lr;
    k.beta1 = (float)a.beta1;
    k.beta2 = (float)a.beta2;
    k.rest1 = (float)(1 - a.beta1);
    k.rest2 = (float)(1 - a.beta2);
    k.eps = a.eps;
    k.weight_decay = a.weight_decay;
    k.l2 = a.l2;
    k.correct1 = (float)(1 - pow(a.beta1, t));
    k.correct2 = (float)(1 - pow(a.beta2, t));
    k.grad_scale = *a.scale;
    return k;
}

/* --- one launch for all tensors --- */

typedef struct tensor_list {
    hl_gpu_tensor at[HL_GPU_TENSORS];
} tensor_list;

__global__ void put_tensors_kernel(int n, tensor_list from, hl_gpu_tensor *to)
{
    if ((int)threadIdx.x < n)
        to[threadIdx.x] = from.at[threadIdx.x];
}

void hl_cu_put_tensors(hl_gpu *g, int n, const hl_gpu_tensor *from, hl_gpu_tensor *to)
{
    tensor_list l;
    for (int i = 0; i < n; i++)
        l.at[i] = from[i];
    HL_GO(g, put_tensors_kernel, 1, (unsigned)HL_GPU_TENSORS, 0, n, l, to);
}

__global__ void adamw_kernel(hl_gpu_adamw a, hl_gpu_tensors t, const hl_gpu_fault *fault)
{
    if (!may_write(a.ok, fault))
        return;
    __shared__ hl_adamw_coefs shared; /* powers in double: once for a block */
    if (threadIdx.x == 0)
        shared = adamw_coefs(a);
    __syncthreads();
    const hl_adamw_coefs k = shared;
    int64_t begin, end;
    const hl_gpu_tensor x = hl_gpu_tensor_here(t, &begin, &end);
    if (hl_gpu_by_four(x)) {
        for (int64_t e = begin + 4 * threadIdx.x; e < end; e += 4 * blockDim.x) {
            float4 p = *reinterpret_cast<float4 *>(x.p + e),
                   m = *reinterpret_cast<float4 *>(x.m + e),
                   v = *reinterpret_cast<float4 *>(x.v + e);
            const float4 g = *reinterpret_cast<const float4 *>(x.g + e);
            hl_adamw_element(k, &p.x, g.x, &m.x, &v.x);
            hl_adamw_element(k, &p.y, g.y, &m.y, &v.y);
            hl_adamw_element(k, &p.z, g.z, &m.z, &v.z);
            hl_adamw_element(k, &p.w, g.w, &m.w, &v.w);
            *reinterpret_cast<float4 *>(x.p + e) = p;
            *reinterpret_cast<float4 *>(x.m + e) = m;
            *reinterpret_cast<float4 *>(x.v + e) = v;
        }
        return;
    }
    for (int64_t e = begin + threadIdx.x; e < end; e += blockDim.x)
        hl_adamw_element(k, x.p + e, x.g[e], x.m + e, x.v + e);
}

void hl_cu_adamw(hl_gpu *g, const hl_gpu_adamw *k, const hl_gpu_tensors *t)
{
    if (t->n_blocks)
        HL_GO(g, adamw_kernel, (unsigned)t->n_blocks, HL_THREADS, 0, *k, *t, g->fault);
}

typedef struct sgd_coefs {
    float momentum, decay;
    const float *lr, *scale, *ok;
} sgd_coefs;

__global__ void sgd_kernel(sgd_coefs k, hl_gpu_tensors t, const hl_gpu_fault *fault)
{
    if (!may_write(k.ok, fault))
        return;
    const float lr = *k.lr, scale = *k.scale;
    int64_t begin, end;
    const hl_gpu_tensor x = hl_gpu_tensor_here(t, &begin, &end);
    for (int64_t e = begin + threadIdx.x; e < end; e += blockDim.x) {
        const float b = k.momentum * x.m[e] + (x.g[e] * scale + k.decay * x.p[e]);
        x.m[e] = b;
        x.p[e] -= lr * b;
    }
}

void hl_cu_sgd(hl_gpu *g, float momentum, float decay, const float *lr, const float *scale,
               const float *ok, const hl_gpu_tensors *t)
{
    const sgd_coefs k = {momentum, decay, lr, scale, ok};
    if (t->n_blocks)
        HL_GO(g, sgd_kernel, (unsigned)t->n_blocks, HL_THREADS, 0, k, *t, g->fault);
}

typedef struct madam_coefs {
    float p_scale, bound;
    double beta;
    const float *lr, *t, *scale, *ok;
} madam_coefs;

/* A block per tensor: the bound of parameters that have none yet. */
__global__ void madam_max_kernel(madam_coefs k, hl_gpu_tensors t, const hl_gpu_fault *fault)
{
    __shared__ double room[32];
    const hl_gpu_tensor x = t.at[blockIdx.x];
    if (!may_write(k.ok, fault) || *x.v != 0.0f || x.count == 0)
        return;
    double s = 0;
    for (int64_t e = threadIdx.x; e < x.count; e += blockDim.x)
        s += (double)x.p[e] * (double)x.p[e];
    s = hl_block_sum(s, room);
    if (threadIdx.x == 0)
        *x.v = (float)((double)k.p_scale * sqrt(s / (double)x.count));
}

__global__ void madam_kernel(madam_coefs c, hl_gpu_tensors t, const hl_gpu_fault *fault)
{
    if (!may_write(c.ok, fault))
        return;
    int64_t begin, end;
    const hl_gpu_tensor x = hl_gpu_tensor_here(t, &begin, &end);
    __shared__ float correct;
    if (threadIdx.x == 0)
        correct = (float)(1 - pow(c.beta, (double)*c.t));
    __syncthreads();
    hl_madam_coefs k;
    k.lr = *c.lr;
    k.beta = (float)c.beta;
    k.g_bound = c.bound;
    k.correct = correct;
    k.p_max = *x.v;
    k.grad_scale = *c.scale;
    for (int64_t e = begin + threadIdx.x; e < end; e += blockDim.x)
        hl_madam_element(k, x.p + e, x.g[e], x.m + e);
}

void hl_cu_madam(hl_gpu *g, float p_scale, float bound, double beta, const float *lr,
                 const float *t, const float *scale, const float *ok, const hl_gpu_tensors *tensors)
{
    const madam_coefs k = {p_scale, bound, beta, lr, t, scale, ok};
    if (tensors->n_blocks == 0)
        return;
    HL_GO(g, madam_max_kernel, (unsigned)tensors->n, HL_THREADS, 0, k, *tensors, g->fault);
    HL_GO(g, madam_kernel, (unsigned)tensors->n_blocks, HL_THREADS, 0, k, *tensors, g->fault);
}
