/* The table of one instruction set; compiled once for each. */
#include "kernels/vec/hl_isa.h"

extern const hl_cpu_kernels HL_K(kernels);
const hl_cpu_kernels HL_K(kernels) = {
    .isa = HL_STR(HL_ISA),
#define HL_KERNEL(name, params)      .name = HL_K(name),
#define HL_KERNEL_SIZE(name, params) .name = HL_K(name),
#include "kernels/hl_kernel.def"
};
