/* OpenBLAS, opened at run time. Two reasons: the program also starts where the library is absent, and
 * the library's choice of kernels can be set right first. It goes by the processor's model number;
 * on one it does not know (most virtual machines) release 0.3.21 falls back to SSE3 code, four times
 * slower than what the feature bits allow. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

#include "kernels/hl_kernel.h"

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 }; /* CBLAS constants */

typedef void (*sgemm_fn)(int, int, int, int, int, int, float, const float *, int, const float *,
                         int, float, float *, int);

static sgemm_fn open_library(void)
{
#ifdef HL_X86
    __builtin_cpu_init();
    if (!getenv("OPENBLAS_CORETYPE")) {
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
            setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
        else if (__builtin_cpu_supports("avx2"))
            setenv("OPENBLAS_CORETYPE", "Haswell", 1);
    }
#endif
    void *lib = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return NULL;
    void (*set_threads)(int);
    sgemm_fn sgemm;
    *(void **)&set_threads = dlsym(lib, "openblas_set_num_threads");
    *(void **)&sgemm = dlsym(lib, "cblas_sgemm");
    if (set_threads)
        set_threads(1);
    return sgemm;
}

/* The stride along a single row or column is free here, but the library checks it. */
static int at_least(int64_t stride, int64_t width)
{
    return (int)(stride > width ? stride : width > 1 ? width : 1);
}

bool hl_openblas_gemm(const hl_gemm_args *g)
{
    static sgemm_fn sgemm;
    static bool tried;
    if (!tried) {
        sgemm = open_library();
        tried = true;
    }
    if (!sgemm)
        return false;
    const bool ta = g->a_row == 1 && g->a_col != 1, tb = g->b_row == 1 && g->b_col != 1;
    const int64_t lda = ta ? g->a_col : g->a_row, ldb = tb ? g->b_col : g->b_row;
    sgemm(ROW_MAJOR, ta ? TRANS : NO_TRANS, tb ? TRANS : NO_TRANS, (int)g->m, (int)g->n, (int)g->k,
          1.0f, g->a, at_least(lda, ta ? g->m : g->k), g->b, at_least(ldb, tb ? g->k : g->n),
          g->add ? 1.0f : 0.0f, g->c, at_least(g->c_row, g->n));
    return true;
}
