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
    int32_t a_turned, b_turned, half, f16, adds, epilogue, tf32;
} shape;

typedef struct plan {
    shape of;
    bool works;
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

static bool make(lt *l, plan *p)
{
    const shape *s = &p->of;
    const cudaDataType_t in = !s->half ? CUDA_R_32F : s->f16 ? CUDA_R_16F : CUDA_R_16BF;
    const cublasOperation_t turned = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = (cublasLtEpilogue_t)s->epilogue;
    if (l->cublasLtMatmulDescCreate(&p->what,
                                    s->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                                    CUDA_R_32F) != CUBLAS_STATUS_SUCCESS)
        return false;
    /* its A is our B */
    if (s->b_turned)
        l->cublasLtMatmulDescSetAttribute(p->what, CUBLASLT_MATMUL_DESC_TRANSA, &turned,
                                          sizeof turned);
    if (s->a_turned)
        l->cublasLtMatmulDescSetAttribute(p->what, CUBLASLT_MATMUL_DESC_TRANSB, &turned,
                                          sizeof turned);
    l->cublasLtMatmulDescSetAttribute(p->what, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                      sizeof epilogue);
    p->b = layout(l, in, s->b_turned ? s->k : s->n, s->b_turned ? s->n : s->k, s->b_ld, s->batch,
                  s->b_batch);
    p->a = layout(l, in, s->a_turned ? s->m : s->k, s->a_turned ? s->k : s->m, s->a_ld, s->batch,
                  s->a_batch);
    p->c = layout(l, CUDA_R_32F, s->n, s->m, s->c_ld, s->batch, s->c_batch);
    return p->a && p->b && p->c && ask(l, p);
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

static bool shape_of(const hl_gpu *g, const hl_gpu_gemm *a, shape *s)
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
    s->half = p->a16 != NULL;
    s->f16 = s->half && g->f16;
    s->adds = p->add || p->addend;
    s->tf32 = g->tf32 && !s->half;
    s->epilogue = p->bias && !p->pre && p->act == HL_ACT_NONE && !s->adds && a->batch == 1
                      ? CUBLASLT_EPILOGUE_BIAS
                      : CUBLASLT_EPILOGUE_DEFAULT;
    /* rows of vectors have no leading dimension to speak of */
    s->a_ld = s->a_ld < (s->a_turned ? s->m : s->k) ? (s->a_turned ? s->m : s->k) : s->a_ld;
    s->b_ld = s->b_ld < (s->b_turned ? s->k : s->n) ? (s->b_turned ? s->k : s->n) : s->b_ld;
    return true;
}

bool hl_lt_gemm(hl_gpu *g, const hl_gpu_gemm *a, bool *biased)
{
    lt *l = static_cast<lt *>(g->lt);
    shape s;
    *biased = false;
    if (!l || !shape_of(g, a, &s))
        return false;
    plan *p = find(l, &s);
    if (!p->works)
        return false;
    const hl_gemm_args *x = &a->g;
    const void *first = s.half ? (const void *)x->b16 : x->b,
               *second = s.half ? (const void *)x->a16 : x->a;
    const float one = 1, beta = s.adds ? 1 : 0;
    const float *addend = x->addend ? x->addend : x->c;
    if (s.epilogue == CUBLASLT_EPILOGUE_BIAS) {
        l->cublasLtMatmulDescSetAttribute(p->what, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &x->bias,
                                          sizeof x->bias);
        *biased = true;
    }
    return l->cublasLtMatmul(l->handle, p->what, &one, first, p->b, second, p->a, &beta, addend,
                             p->c, x->c, p->c, &p->algo, l->workspace, p->workspace,
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

bool hl_lt_gemm(hl_gpu *g, const hl_gpu_gemm *a, bool *biased)
{
    (void)g;
    (void)a;
    *biased = false;
    return false;
}

#endif
