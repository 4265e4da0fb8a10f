/* Which instruction set to use: asked of the feature bits, never of the model number (virtual
 * machines hide it, and libraries that trust it fall back to decades-old code). */
#define _GNU_SOURCE /* syscall */
#include <stdlib.h>
#include <string.h>
#ifdef HL_X86
#include <cpuid.h>
#endif
#if defined(HL_AMX) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

#if defined(HL_AMX) && defined(__linux__)
/* The system gives a process the 8 KB of tiles per thread when it asks for them (arch_prctl
 * ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), not before. */
static bool ask_for_tiles(void)
{
    enum { REQUEST = 0x1023, TILE_DATA = 18, BF16 = 1 << 22, TILE = 1 << 24, OSXSAVE = 1 << 27 };
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE) || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    return (d & BF16) && (d & TILE) && syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}
#else
static bool ask_for_tiles(void)
{
    return false;
}
#endif

/* The maker, not the model, tells whether dot products of pairs pay: Intel's take four times as long
 * as fused multiply-adds, AMD's as long. */
#if defined(HL_DOT)
static bool dots_are_fast(void)
{
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx512bf16") && __get_cpuid(0, &a, &b, &c, &d) &&
           b == signature_AMD_ebx && c == signature_AMD_ecx && d == signature_AMD_edx;
}
#else
static bool dots_are_fast(void)
{
    return false;
}
#endif

hl_bf16_way hl_cpu_bf16(void)
{
    static _Atomic int known; /* 0: not asked, else 1 + the answer; asking twice does no harm */
    if (known == 0) {
        const bool may = strcmp(hl_cpu()->isa, "avx512") == 0 && !getenv("HOPLAB_ISA");
        known = 1 + (may && ask_for_tiles()   ? HL_BF16_TILES
                     : may && dots_are_fast() ? HL_BF16_DOT
                                              : HL_BF16_WIDENED);
    }
    return (hl_bf16_way)(known - 1);
}
