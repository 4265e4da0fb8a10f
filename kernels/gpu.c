/* Which backend: the one that was built in, if any. */
#include "kernels/hl_gpu.h"

#ifdef HL_CUDA
extern const hl_gpu_backend hl_gpu_cuda;
static const hl_gpu_backend *chosen = &hl_gpu_cuda;
#else
static const hl_gpu_backend *chosen;
#endif

const hl_gpu_backend *hl_gpu_get(void)
{
    return chosen;
}

void hl_gpu_use(const hl_gpu_backend *b)
{
    chosen = b;
}
