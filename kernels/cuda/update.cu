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

/* blockIdx.y: the group */
__global__ void adamw_kernel(hl_gpu_adamw a, hl_gpu_groups t, const hl_gpu_fault *fault)
{
    if (!may_write(a.ok, fault))
        return;
    const hl_adamw_coefs k = adamw_coefs(a);
    const int i = (int)blockIdx.y;
    float *p = t.p[i], *m = t.m[i], *v = t.v[i];
    const float *g = t.g[i];
    HL_EACH(e, t.count[i])
    hl_adamw_element(k, p + e, g[e], m + e, v + e);
}

/* Blocks across for the largest of the groups. */
static dim3 grid_of(const hl_gpu *g, const hl_gpu_groups *t)
{
    int64_t most = 1;
    for (int i = 0; i < t->n; i++)
        most = t->count[i] > most ? t->count[i] : most;
    return dim3(hl_gpu_blocks(g, most, HL_THREADS), (unsigned)t->n);
}

void hl_cu_adamw(hl_gpu *g, const hl_gpu_adamw *k, const hl_gpu_groups *t)
{
    HL_GO(g, adamw_kernel, grid_of(g, t), HL_THREADS, 0, *k, *t, g->fault);
}

typedef struct sgd_coefs {
    float momentum, decay;
    const float *lr, *scale, *ok;
} sgd_coefs;

__global__ void sgd_kernel(sgd_coefs k, hl_gpu_groups t, const hl_gpu_fault *fault)
{
    if (!may_write(k.ok, fault))
        return;
    const int i = (int)blockIdx.y;
    const float lr = *k.lr, scale = *k.scale;
    HL_EACH(e, t.count[i])
    {
        const float b = k.momentum * t.m[i][e] + (t.g[i][e] * scale + k.decay * t.p[i][e]);
        t.m[i][e] = b;
        t.p[i][e] -= lr * b;
    }
}

void hl_cu_sgd(hl_gpu *g, float momentum, float decay, const float *lr, const float *scale,
               const float *ok, const hl_gpu_groups *t)
{
    const sgd_coefs k = {momentum, decay, lr, scale, ok};
    HL_GO(g, sgd_kernel, grid_of(g, t), HL_THREADS, 0, k, *t, g->fault);
}

typedef struct madam_coefs {
    float p_scale, bound;
    double beta;
    const float *lr, *t, *scale, *ok;
} madam_coefs;

/* A block per group: the bound of parameters that have none yet. */
__global__ void madam_max_kernel(madam_coefs k, hl_gpu_groups t, const hl_gpu_fault *fault)
{
    __shared__ double room[32];
    const int i = (int)blockIdx.x;
    if (!may_write(k.ok, fault) || *t.m[i] != 0.0f || t.count[i] == 0)
        return;
    double s = 0;
    for (int64_t e = threadIdx.x; e < t.count[i]; e += blockDim.x)
        s += (double)t.p[i][e] * (double)t.p[i][e];
    s = hl_block_sum(s, room);
    if (threadIdx.x == 0)
        *t.m[i] = (float)((double)k.p_scale * sqrt(s / (double)t.count[i]));
}

__global__ void madam_kernel(madam_coefs c, hl_gpu_groups t, const hl_gpu_fault *fault)
{
    if (!may_write(c.ok, fault))
        return;
    const int i = (int)blockIdx.y;
    hl_madam_coefs k;
    k.lr = *c.lr;
    k.beta = (float)c.beta;
    k.g_bound = c.bound;
    k.correct = (float)(1 - pow(c.beta, (double)*c.t));
    k.p_max = *t.m[i];
    k.grad_scale = *c.scale;
    HL_EACH(e, t.count[i])
    hl_madam_element(k, t.p[i] + e, t.g[i][e], t.v[i] + e);
}

void hl_cu_madam(hl_gpu *g, float p_scale, float bound, double beta, const float *lr,
                 const float *t, const float *scale, const float *ok, const hl_gpu_groups *groups)
{
    const madam_coefs k = {p_scale, bound, beta, lr, t, scale, ok};
    HL_GO(g, madam_max_kernel, (unsigned)groups->n, HL_THREADS, 0, k, *groups, g->fault);
    HL_GO(g, madam_kernel, grid_of(g, groups), HL_THREADS, 0, k, *groups, g->fault);
}
