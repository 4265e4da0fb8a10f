/* Which instruction set to use: asked of the feature bits, never of the model number (virtual
 * machines hide it, and libraries that trust it fall back to decades-old code). */
#include <stdlib.h>
#include <string.h>

#include "kernels/hl_kernel.h"

extern const hl_cpu_kernels hl_kernels_generic;
#ifdef HL_X86
extern const hl_cpu_kernels hl_kernels_avx2, hl_kernels_avx512;
#endif

int hl_cpu_all(const hl_cpu_kernels *out[3])
{
    int n = 0;
    out[n++] = &hl_kernels_generic;
#ifdef HL_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        out[n++] = &hl_kernels_avx2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
            out[n++] = &hl_kernels_avx512;
    }
#endif
    return n;
}

const hl_cpu_kernels *hl_cpu(void)
{
    /* Racing threads compute the same value; the store is one aligned pointer. */
    static const hl_cpu_kernels *_Atomic chosen;
    const hl_cpu_kernels *k = chosen;
    if (k)
        return k;
    const hl_cpu_kernels *all[3];
    int n = hl_cpu_all(all);
    const char *want = getenv("HOPLAB_ISA");
    k = all[n - 1];
    for (int i = 0; i < n; i++)
        if (want && strcmp(all[i]->isa, want) == 0)
            k = all[i];
    chosen = k;
    return k;
}
