/* What the .cu files are written in: the CUDA runtime, or its emulation on the host
 * (tests/cuda/emulation.h), and the few words that differ between them. */
#ifndef HL_CUDA_RT_H
#define HL_CUDA_RT_H

#ifdef HL_CUDA_EMULATED
#include HL_CUDA_EMULATED /* the header, named by the build */
#else
#include <cuda_runtime.h>
#if CUDART_VERSION < 12040
typedef unsigned long long cudaGraphConditionalHandle;
#endif
/* Memory of a block, as many bytes as the launch says. */
#define HL_SHARED(type, name)                                                                      \
    extern __shared__ __align__(16) unsigned char hl_shared_bytes[];                               \
    type *name = reinterpret_cast<type *>(hl_shared_bytes)
#define HL_LAUNCH(kernel, blocks, threads, shared, stream, ...)                                    \
    kernel<<<(blocks), (threads), (shared), (stream)>>>(__VA_ARGS__)
#endif

#include "kernels/hl_gpu.h"

struct hl_gpu {
    int index, n_sm;
    size_t shared_most; /* bytes a block may have */
    cudaStream_t stream;
    hl_gpu_fault *fault;      /* device */
    hl_gpu_fault *host_fault; /* pinned */
    int32_t tag;
    bool tf32, f16;
    char error[256];
    void *lt; /* kernels/cuda/lt.cu */

    cudaStream_t ahead; /* of copies beside the kernels, and when they have come */
    cudaEvent_t came[2];

    /* kernels/cuda/decide.cu */
    cudaStream_t inner;                 /* bodies are captured on it */
    cudaStream_t outer;                 /* while a body is being captured: the stream, else NULL */
    cudaGraphConditionalHandle looping; /* of the loop whose body that is */
    bool capturing, spoiled;            /* spoiled: the capture has failed */
};

/* Keeps the first failure of a launch; sync reports it. */
void hl_gpu_note(hl_gpu *g, cudaError_t e);

/* Blocks of `threads` for n items, each thread striding: enough to fill the device, no more. */
inline unsigned hl_gpu_blocks(const hl_gpu *g, int64_t n, int threads)
{
    const int64_t all = (n + threads - 1) / threads, most = (int64_t)g->n_sm * 16;
    return (unsigned)(all < 1 ? 1 : all < most ? all : most);
}

/* Threads of a block that goes through n numbers: few for few. */
inline int hl_gpu_threads(int64_t n)
{
    int t = 32;
    while (t < 256 && 4 * t < n)
        t *= 2;
    return t;
}

#define HL_GO(g, kernel, blocks, threads, shared, ...)                                             \
    do {                                                                                           \
        HL_LAUNCH(kernel, blocks, threads, shared, (g)->stream, __VA_ARGS__);                      \
        hl_gpu_note((g), cudaGetLastError());                                                      \
    } while (0)

/* This thread's items of n. */
#define HL_EACH(i, n)                                                                              \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n);                      \
         i += (int64_t)gridDim.x * blockDim.x)

/* Rows that warps own: a warp's index among all, and how many there are. */
#define HL_WARPS_EACH(r, n)                                                                        \
    for (int64_t r = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / 32; r < (n);               \
         r += (int64_t)gridDim.x * blockDim.x / 32)

enum { HL_THREADS = 256 };

__device__ inline void hl_gpu_found(hl_gpu_fault *f, int32_t tag, int32_t kind, int64_t position,
                                    int32_t value, int32_t limit)
{
    if (atomicCAS(&f->kind, 0, kind) == 0) {
        f->tag = tag;
        f->position = position;
        f->value = value;
        f->limit = limit;
    }
}

__device__ inline hl_philox_key hl_gpu_key_of(const hl_gpu_key *key, uint32_t stream)
{
    hl_philox_key k;
    k.k0 = key->k0;
    k.k1 = key->k1;
    k.stream = key->stream_base + stream;
    k.step = key->step;
    return k;
}

/* Sum over the threads of a block, in every thread; `room`: 32 values of shared memory. */
template <typename T> __device__ inline T hl_block_sum(T v, T *room)
{
    for (int o = 16; o; o >>= 1)
        v += __shfl_xor_sync(0xffffffffu, v, o);
    __syncthreads();
    if ((threadIdx.x & 31) == 0)
        room[threadIdx.x / 32] = v;
    __syncthreads();
    T s = 0;
    for (unsigned w = 0; w < (blockDim.x + 31) / 32; w++)
        s += room[w];
    return s;
}

/* The tensor that this block works on, and which of its numbers: [begin, end). */
__device__ inline hl_gpu_tensor hl_gpu_tensor_here(const hl_gpu_tensors &t, int64_t *begin,
                                                   int64_t *end)
{
    int low = 0, high = t.n - 1; /* the last one that begins here or before, and has numbers */
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (t.at[middle].first <= (int64_t)blockIdx.x)
            low = middle;
        else
            high = middle - 1;
    }
    const hl_gpu_tensor x = t.at[low];
    *begin = ((int64_t)blockIdx.x - x.first) * HL_GPU_CHUNK;
    *end = *begin + HL_GPU_CHUNK < x.count ? *begin + HL_GPU_CHUNK : x.count;
    return x;
}

__device__ inline bool hl_gpu_is_aligned(const void *p)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

/* May all its numbers be read four at once? */
__device__ inline bool hl_gpu_by_four(const hl_gpu_tensor &x)
{
    return x.count % 4 == 0 && hl_gpu_is_aligned(x.p) && hl_gpu_is_aligned(x.g) &&
           hl_gpu_is_aligned(x.m) && hl_gpu_is_aligned(x.v);
}

#endif
