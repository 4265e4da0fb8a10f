/* Linked into a program, this makes the emulated device its device. */
#include "kernels/hl_gpu.h"

extern const hl_gpu_backend hl_gpu_cuda;

__attribute__((constructor)) static void use_emulation(void)
{
    hl_gpu_use(&hl_gpu_cuda);
}
