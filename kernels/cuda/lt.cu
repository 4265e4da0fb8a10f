/* cuBLASLt, opened at run time so that the program starts where it is absent. Row-major C = A B is
 * its column-major C^T = B^T A^T. Algorithms are asked for once per shape and kept. */
#include "kernels/cuda/cuda_internal.h"

#if !defined(HL_CUDA_EMULATED) && __has_include(<cublasLt.h>)

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* The functions used, by name. */
#define LT_FUNCTIONS(X)                                                                            \
    X(cublasLtCreate)                                                                              \
    X(cublasLtDestroy)                                                                             \
    X(cublasLtMatmul)                                                                              \
    X(cublasLtMatmulAlgoGetHeuristic)                                                              \
    X(cublasLtMatmulDescCreate)                                                                    \
    X(cublasLtMatmulDescDestroy)                                                                   \
    X(cublasLtMatmulDescSetAttribute)                                                              \
    X(cublasLtMatrixLayoutCreate)                                                                  \
    X(cublasLtMatrixLayoutDestroy)                                                                 \
    X(cublasLtMatrixLayoutSetAttribute)                                                            \
    X(cublasLtMatmulPreferenceCreate)                                                              \
    X(cublasLtMatmulPreferenceDestroy)                                                             \
    X(cublasLtMatmulPreferenceSetAttribute)

/* What tells one product from another, compared as bytes. */
typedef struct shape {
    int64_t m, n, k, a_ld, b_ld, c_ld, batch, a_batch, b_batch, c_batch;
    int32_t a_turned, b_turned, type, adds, tf32;
    int32_t bias, act, pre; /* what is to follow */
} shape;

enum { OF_F32, OF_BF16, OF_F16, OF_INT8 };

typedef struct plan {
    shape of;
    bool works;
    int done; /* HL_LT_...: what it does behind the product */
    cublasLtMatmulDesc_t what;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algo;
    size_t workspace;
} plan;

enum { PLANS = 512, WORKSPACE = 64 << 20 };

typedef struct lt {
    void *library;
    cublasLtHandle_t handle;
    void *workspace;
    int n;
    plan plans[PLANS];
#define FIELD(name) decltype(&::name) name;
    LT_FUNCTIONS(FIELD)
#undef FIELD
} lt;

static bool load(lt *l)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0] && !l->library; i++)
        l->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!l->library)
        return false;
#define LOAD(name)                                                                                 \
    l->name = reinterpret_cast<decltype(&::name)>(dlsym(l->library, #name));                       \
    if (!l->name)                                                                                  \
        return false;
    LT_FUNCTIONS(LOAD)
#undef LOAD
    return true;
}

void hl_lt_open(hl_gpu *g)
{
    lt *l = static_cast<lt *>(calloc(1, sizeof *l));
    g->lt = l;
    if (!l)
        return;
    if (!load(l) || l->cublasLtCreate(&l->handle) != CUBLAS_STATUS_SUCCESS ||
        cudaMalloc(&l->workspace, WORKSPACE) != cudaSuccess)
        hl_lt_close(g);
    (void)cudaGetLastError();
}

static void forget(lt *l)
{
    for (int i = 0; i < l->n; i++) {
        plan *p = &l->plans[i];
        if (p->what)
            l->cublasLtMatmulDescDestroy(p->what);
        cublasLtMatrixLayout_t all[3] = {p->a, p->b, p->c};
        for (int k = 0; k < 3; k++)
            if (all[k])
                l->cublasLtMatrixLayoutDestroy(all[k]);
    }
    l->n = 0;
}

void hl_lt_close(hl_gpu *g)
{
    lt *l = static_cast<lt *>(g->lt);
    if (!l)
        return;
    forget(l);
    if (l->handle)
        l->cublasLtDestroy(l->handle);
    (void)cudaFree(l->workspace);
    if (l->library)
        dlclose(l->library);
    free(l);
    g->lt = NULL;
}

static cublasLtMatrixLayout_t layout(lt *l, cudaDataType_t type, int64_t rows, int64_t cols,
                                     int64_t ld, int64_t batch, int64_t stride)
{
    cublasLtMatrixLayout_t m = NULL;
    const int32_t n = (int32_t)batch;
    if (l->cublasLtMatrixLayoutCreate(&m, type, (uint64_t)rows, (uint64_t)cols, ld) !=
        CUBLAS_STATUS_SUCCESS)
        return NULL;
    if (batch > 1) {
        l->cublasLtMatrixLayoutSetAttribute(m, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &n, sizeof n);
        l->cublasLtMatrixLayoutSetAttribute(m, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride,
                                            sizeof stride);
    }
    return m;
}

static bool ask(lt *l, plan *p)
{
    cublasLtMatmulPreference_t want = NULL;
    cublasLtMatmulHeuristicResult_t found;
    const size_t room = WORKSPACE;
    int n = 0;
    if (l->cublasLtMatmulPreferenceCreate(&want) != CUBLAS_STATUS_SUCCESS)
        return false;
    l->cublasLtMatmulPreferenceSetAttribute(want, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room,
                                            sizeof room);
    const cublasStatus_t st = l->cublasLtMatmulAlgoGetHeuristic(l->handle, p->what, p->b, p->a,
                                                                p->c, p->c, want, 1, &found, &n);
    l->cublasLtMatmulPreferenceDestroy(want);
    if (st != CUBLAS_STATUS_SUCCESS || n == 0)
        return false;
    p->algo = found.algo;
    p->workspace = found.workspaceSize;
    return true;
}

/* The epilogue for as much of what follows as `most` allows; what that is in *done. GELU there is
 * the tanh form. */
static cublasLtEpilogue_t epilogue_of(const shape *s, int most, int *done)
{
    const bool bias = s->bias && (most & HL_LT_BIAS);
    const bool all = (bias || !s->bias) && (most & HL_LT_ACT);
    *done = bias ? HL_LT_BIAS : 0;
    if (all && s->act == HL_ACT_RELU && !s->pre) {
        *done |= HL_LT_ACT;
        return bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
    }
    if (all && s->act == HL_ACT_GELU_TANH) {
        *done |= HL_LT_ACT;
        if (s->pre)
            return bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
        return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    }
    return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

static void set(lt *l, plan *p, cublasLtMatmulDescAttributes_t what, const void *to, size_t bytes)
{
    (void)l->cublasLtMatmulDescSetAttribute(p->what, what, to, bytes);
}

static bool describe(lt *l, plan *p)
{
    const shape *s = &p->of;
    const cublasOperation_t turned = CUBLAS_OP_T;
    const cublasComputeType_t how = s->type == OF_INT8 ? CUBLAS_COMPUTE_32I
                                    : s->tf32          ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                       : CUBLAS_COMPUTE_32F;
    if (l->cublasLtMatmulDescCreate(&p->what, how, s->type == OF_INT8 ? CUDA_R_32I : CUDA_R_32F) !=
        CUBLAS_STATUS_SUCCESS)
        return false;
    /* its A is our B */
    if (s->b_turned)
        set(l, p, CUBLASLT_MATMUL_DESC_TRANSA, &turned, sizeof turned);
    if (s->a_turned)
        set(l, p, CUBLASLT_MATMUL_DESC_TRANSB, &turned, sizeof turned);
    return true;
}

/* With as much behind the product as there is an algorithm for. */
static bool make(lt *l, plan *p)
{
    static const int most[] = {HL_LT_BIAS | HL_LT_ACT, HL_LT_BIAS, 0};
    const shape *s = &p->of;
    const cudaDataType_t in = s->type == OF_INT8   ? CUDA_R_8I
                              : s->type == OF_BF16 ? CUDA_R_16BF
                              : s->type == OF_F16  ? CUDA_R_16F
                                                   : CUDA_R_32F;
    if (!describe(l, p))
        return false;
    p->b = layout(l, in, s->b_turned ? s->k : s->n, s->b_turned ? s->n : s->k, s->b_ld, s->batch,
                  s->b_batch);
    p->a = layout(l, in, s->a_turned ? s->m : s->k, s->a_turned ? s->k : s->m, s->a_ld, s->batch,
                  s->a_batch);
    p->c = layout(l, s->type == OF_INT8 ? CUDA_R_32I : CUDA_R_32F, s->n, s->m, s->c_ld, s->batch,
                  s->c_batch);
    if (!p->a || !p->b || !p->c)
        return false;
    for (int i = 0; i < 3; i++) {
        const cublasLtEpilogue_t epilogue = epilogue_of(s, most[i], &p->done);
        set(l, p, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
        if ((p->done & HL_LT_ACT) && s->pre)
            set(l, p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &s->c_ld, sizeof s->c_ld);
        if (ask(l, p))
            return true;
    }
    return false;
}

static plan *find(lt *l, const shape *s)
{
    for (int i = 0; i < l->n; i++)
        if (memcmp(&l->plans[i].of, s, sizeof *s) == 0)
            return &l->plans[i];
    if (l->n == PLANS)
        forget(l);
    plan *p = &l->plans[l->n++];
    memset(p, 0, sizeof *p);
    p->of = *s;
    p->works = make(l, p);
    return p;
}

static void shape_of(const hl_gpu *g, const hl_gpu_gemm *a, shape *s)
{
    const hl_gemm_args *p = &a->g;
    memset(s, 0, sizeof *s);
    s->m = p->m;
    s->n = p->n;
    s->k = p->k;
    s->a_turned = p->a_col != 1;
    s->b_turned = p->b_col != 1;
    s->a_ld = s->a_turned ? p->a_col : p->a_row;
    s->b_ld = s->b_turned ? p->b_col : p->b_row;
    s->c_ld = p->c_row;
    s->batch = a->batch;
    s->a_batch = a->a_batch;
    s->b_batch = a->b_batch;
    s->c_batch = a->c_batch;
    s->type = !p->a16 ? OF_F32 : g->f16 ? OF_F16 : OF_BF16;
    s->adds = p->add || p->addend;
    s->tf32 = g->tf32 && !p->a16;
    if (a->batch == 1) {
        s->bias = p->bias != NULL;
        s->act = p->act;
        s->pre = p->pre != NULL;
    }
    /* rows of vectors have no leading dimension to speak of */
    s->a_ld = s->a_ld < (s->a_turned ? s->m : s->k) ? (s->a_turned ? s->m : s->k) : s->a_ld;
    s->b_ld = s->b_ld < (s->b_turned ? s->k : s->n) ? (s->b_turned ? s->k : s->n) : s->b_ld;
}

bool hl_lt_gemm(hl_gpu *g, const hl_gpu_gemm *a, int *done)
{
    lt *l = static_cast<lt *>(g->lt);
    shape s;
    *done = 0;
    if (!l)
        return false;
    shape_of(g, a, &s);
    plan *p = find(l, &s);
    if (!p->works)
        return false;
    const hl_gemm_args *x = &a->g;
    const void *first = x->b16 ? (const void *)x->b16 : x->b,
               *second = x->a16 ? (const void *)x->a16 : x->a;
    const float one = 1, beta = s.adds ? 1 : 0;
    const float *addend = x->addend ? x->addend : x->c;
    if (p->done & HL_LT_BIAS)
        set(l, p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &x->bias, sizeof x->bias);
    if ((p->done & HL_LT_ACT) && s.pre)
        set(l, p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &x->pre, sizeof x->pre);
    *done = p->done;
    return l->cublasLtMatmul(l->handle, p->what, &one, first, p->b, second, p->a, &beta, addend,
                             p->c, x->c, p->c, &p->algo, l->workspace, p->workspace,
                             g->stream) == CUBLAS_STATUS_SUCCESS;
}

/* Rows of both operands run along k, as its integer products ask for; rows of w must lie at
 * multiples of 16 bytes. */
bool hl_lt_int8_gemm(hl_gpu *g, int64_t m, int64_t n, int64_t k, const int8_t *a, int64_t a_row,
                     const int8_t *w, int32_t *acc)
{
    lt *l = static_cast<lt *>(g->lt);
    shape s;
    if (!l || k % 16 || n % 4 || m == 0 || reinterpret_cast<uintptr_t>(w) % 16)
        return false;
    memset(&s, 0, sizeof s);
    s.m = m;
    s.n = n;
    s.k = k;
    s.a_ld = a_row;
    s.b_ld = k;
    s.c_ld = n;
    s.batch = 1;
    s.b_turned = 1;
    s.type = OF_INT8;
    plan *p = find(l, &s);
    const int32_t one = 1, zero = 0;
    return p->works && l->cublasLtMatmul(l->handle, p->what, &one, w, p->b, a, p->a, &zero, acc,
                                         p->c, acc, p->c, &p->algo, l->workspace, p->workspace,
                                         g->stream) == CUBLAS_STATUS_SUCCESS;
}

#else

void hl_lt_open(hl_gpu *g)
{
    g->lt = NULL;
}

void hl_lt_close(hl_gpu *g)
{
    (void)g;
}

bool hl_lt_gemm(hl_gpu *g, const hl_gpu_gemm *a, int *done)
{
    (void)g;
    (void)a;
    *done = 0;
    return false;
}

bool hl_lt_int8_gemm(hl_gpu *g, int64_t m, int64_t n, int64_t k, const int8_t *a, int64_t a_row,
                     const int8_t *w, int32_t *acc)
{
    (void)g, (void)m, (void)n, (void)k, (void)a, (void)a_row, (void)w, (void)acc;
    return false;
}

#endif
