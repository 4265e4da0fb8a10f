/* For sources compiled once per instruction set: HL_K(name) gives hl_name_<isa>, and hl_vf is the
 * widest float vector of that set. */
#ifndef HL_ISA_H
#define HL_ISA_H

#include <string.h>

#include "kernels/hl_kernel.h"
#include "kernels/vec/math_body.h"

#ifndef HL_ISA
#error "compile with -DHL_ISA=<name> (kernels/CMakeLists.txt)"
#endif

#define HL_PASTE_(a, b) hl_##a##_##b
#define HL_PASTE(a, b)  HL_PASTE_(a, b)
#define HL_K(name)      HL_PASTE(name, HL_ISA)
#define HL_STR_(a)      #a
#define HL_STR(a)       HL_STR_(a)

#if defined(__AVX512F__) || defined(HL_AMX_EMULATED)
#define HL_VW 16
#elif defined(__AVX2__)
#define HL_VW 8
#else
#define HL_VW 4
#endif

typedef float hl_vf __attribute__((vector_size(4 * HL_VW), aligned(4), may_alias));

#if defined(__clang__)
#define HL_UNROLL _Pragma("clang loop unroll(full)")
#else
#define HL_UNROLL _Pragma("GCC unroll 16")
#endif

static inline hl_vf hl_vload(const float *p)
{
    return *(const hl_vf *)p;
}
static inline void hl_vstore(float *p, hl_vf v)
{
    *(hl_vf *)p = v;
}

#define HL_KERNEL(name, params)      void HL_K(name) params;
#define HL_KERNEL_SIZE(name, params) size_t HL_K(name) params;
#include "kernels/hl_kernel.def"

#endif
