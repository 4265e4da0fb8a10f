/* CUDA on the host, as much of it as the kernels use: enough to run the .cu sources under the
 * sanitizers on a machine without a GPU. One launch runs at once, block after block; the threads of
 * a block are fibers that change places at barriers and shuffles (emulation.cc). A barrier that not
 * all threads reach, or a shuffle that not all lanes of a warp reach, ends the program with a
 * message: on a GPU it would hang or compute rubbish.
 *
 * Not emulated: the order of threads, caches, memory models. What passes here has right logic; it
 * has not been shown to run on hardware. */
#ifndef HL_CUDA_EMULATION_H
#define HL_CUDA_EMULATION_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <functional>

#define __CUDA_ARCH__ 900 /* the device side of shared bodies */

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __shared__   static /* blocks run one after another */
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

struct emu_uint3 {
    unsigned x, y, z;
};
struct float4 {
    float x, y, z, w;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
extern emu_uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

/* --- execution --- */

/* More than 48 KiB of shared memory must have been allowed for the function (its address). */
void emu_launch(const void *function, dim3 grid, dim3 block, size_t shared,
                std::function<void()> kernel);
void *emu_shared(void); /* of the launch's size, filled with rubbish at the start of a block */
void emu_sync_block(void);
void emu_sync_warp(void);
/* Gives `mine` to the lanes of the warp and takes that of lane `from`. */
uint64_t emu_exchange(uint64_t mine, int from);
unsigned emu_lane(void);

#define HL_SHARED(type, name) type *name = static_cast<type *>(emu_shared())
#define HL_LAUNCH(kernel, blocks, threads, shared, stream, ...)                                    \
    emu_go(kernel, dim3(blocks), dim3(threads), shared, __VA_ARGS__)
template <typename... P, typename... A>
void emu_go(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, A... args)
{
    emu_launch(reinterpret_cast<const void *>(kernel), grid, block, shared,
               [=]() { kernel(static_cast<P>(args)...); });
}

inline void __syncthreads(void)
{
    emu_sync_block();
}
inline void __syncwarp(unsigned = 0xffffffffu)
{
    emu_sync_warp();
}
template <typename T> T __shfl_sync(unsigned, T v, int from)
{
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof v);
    bits = emu_exchange(bits, from & 31);
    memcpy(&v, &bits, sizeof v);
    return v;
}
template <typename T> T __shfl_xor_sync(unsigned m, T v, int mask)
{
    return __shfl_sync(m, v, (int)emu_lane() ^ mask);
}
template <typename T> T __shfl_down_sync(unsigned m, T v, int by)
{
    const int from = (int)emu_lane() + by;
    return __shfl_sync(m, v, from > 31 ? (int)emu_lane() : from);
}
inline unsigned __ballot_sync(unsigned m, int yes)
{
    unsigned all = 0;
    for (int l = 0; l < 32; l++)
        all |= (unsigned)(__shfl_sync(m, yes != 0, l) ? 1u << l : 0u);
    return all;
}
inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}

/* --- atomics: one thread runs at once --- */

template <typename T> T atomicAdd(T *p, T v)
{
    const T was = *p;
    *p = was + v;
    return was;
}
template <typename T> T atomicCAS(T *p, T want, T v)
{
    const T was = *p;
    if (was == want)
        *p = v;
    return was;
}

template <typename T> T atomicMax(T *p, T v)
{
    const T was = *p;
    *p = was > v ? was : v;
    return was;
}

/* --- arithmetic --- */

/* four products of bytes, added to c */
inline int __dp4a(int a, int b, int c)
{
    uint32_t sum = (uint32_t)c; /* wraps as there */
    for (int i = 0; i < 32; i += 8)
        sum += (uint32_t)((int8_t)((uint32_t)a >> i) * (int8_t)((uint32_t)b >> i));
    return (int)sum;
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned c)
{
    for (int i = 0; i < 32; i += 8)
        c += (a >> i & 0xFF) * (b >> i & 0xFF);
    return c;
}

inline float __int_as_float(int32_t i)
{
    float f;
    memcpy(&f, &i, 4);
    return f;
}
inline int32_t __float_as_int(float f)
{
    int32_t i;
    memcpy(&i, &f, 4);
    return i;
}
/* each rounded by itself: this is compiled without contraction */
inline float __fmul_rn(float a, float b)
{
    return a * b;
}
inline float __fadd_rn(float a, float b)
{
    return a + b;
}
inline float __fsub_rn(float a, float b)
{
    return a - b;
}
inline float __fdiv_rn(float a, float b)
{
    return a / b;
}
inline void sincospi(double x, double *s, double *c)
{
    *s = sin(3.14159265358979323846 * x);
    *c = cos(3.14159265358979323846 * x);
}

/* --- tiles --- */

#include "tests/cuda/emulation_tile.h"

/* --- the runtime --- */

typedef enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorNoDevice = 100,
    cudaErrorUnknown = 999,
    cudaErrorIllegalAddress = 700
} cudaError_t;
typedef struct emu_stream *cudaStream_t;
typedef struct emu_graph *cudaGraph_t;
typedef struct emu_graph *cudaGraphExec_t;
typedef enum cudaMemcpyKind { cudaMemcpyDefault } cudaMemcpyKind;
typedef enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal } cudaStreamCaptureMode;
typedef enum cudaMemoryType {
    cudaMemoryTypeUnregistered,
    cudaMemoryTypeDevice = 2,
    cudaMemoryTypeManaged
} cudaMemoryType;
typedef struct cudaPointerAttributes {
    cudaMemoryType type;
} cudaPointerAttributes;
typedef struct cudaDeviceProp {
    char name[80];
    int major, minor, multiProcessorCount;
} cudaDeviceProp;
enum { cudaStreamNonBlocking = 1, cudaMemAttachGlobal = 1 };
typedef enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin = 97 } cudaDeviceAttr;
typedef enum cudaFuncAttribute {
    cudaFuncAttributeMaxDynamicSharedMemorySize = 8
} cudaFuncAttribute;

/* conditional nodes: a body runs if, or as long as, its handle's value is not 0 */
typedef uint64_t cudaGraphConditionalHandle;
typedef struct emu_node *cudaGraphNode_t;
typedef struct cudaGraphEdgeData {
    char none;
} cudaGraphEdgeData;
typedef enum cudaStreamCaptureStatus {
    cudaStreamCaptureStatusNone,
    cudaStreamCaptureStatusActive
} cudaStreamCaptureStatus;
typedef enum cudaGraphConditionalNodeType {
    cudaGraphCondTypeIf,
    cudaGraphCondTypeWhile
} cudaGraphConditionalNodeType;
enum {
    cudaGraphNodeTypeConditional = 13,
    cudaGraphCondAssignDefault = 1,
    cudaStreamSetCaptureDependencies = 1
};
typedef struct cudaGraphNodeParams {
    int type;
    struct {
        cudaGraphConditionalHandle handle;
        cudaGraphConditionalNodeType type;
        unsigned size;
        cudaGraph_t *phGraph_out;
    } conditional;
} cudaGraphNodeParams;
void cudaGraphSetConditional(cudaGraphConditionalHandle h, unsigned value); /* of kernels */
cudaError_t cudaGraphConditionalHandleCreate(cudaGraphConditionalHandle *h, cudaGraph_t g,
                                             unsigned first, unsigned flags);
cudaError_t cudaGraphAddNode(cudaGraphNode_t *n, cudaGraph_t g, const cudaGraphNode_t *after,
                             const cudaGraphEdgeData *edges, size_t n_after,
                             cudaGraphNodeParams *p);
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, cudaStreamCaptureStatus *is,
                                     unsigned long long *id, cudaGraph_t *g,
                                     const cudaGraphNode_t **after, const cudaGraphEdgeData **edges,
                                     size_t *n_after);
cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t s, cudaGraphNode_t *after,
                                                const cudaGraphEdgeData *edges, size_t n,
                                                unsigned flags);
cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t s, cudaGraph_t g,
                                          const cudaGraphNode_t *after,
                                          const cudaGraphEdgeData *edges, size_t n,
                                          cudaStreamCaptureMode m);

const char *cudaGetErrorString(cudaError_t e);
cudaError_t cudaGetLastError(void);
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr which, int i);
cudaError_t emu_allow_shared(const void *kernel, int bytes);
template <typename... P>
cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute, int bytes)
{
    return emu_allow_shared(reinterpret_cast<const void *>(kernel), bytes);
}
cudaError_t cudaSetDevice(int i);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int i);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
typedef struct emu_event *cudaEvent_t;
enum { cudaEventDisableTiming = 2 };
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags);
cudaError_t cudaMalloc(void **p, size_t n);
cudaError_t cudaMallocManaged(void **p, size_t n, unsigned flags);
cudaError_t cudaMallocHost(void **p, size_t n);
cudaError_t cudaFree(void *p);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind k, cudaStream_t s);
cudaError_t cudaMemsetAsync(void *p, int byte, size_t n, cudaStream_t s);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *a, const void *p);
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode m);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *x, cudaGraph_t g, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x);
cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s);

#endif
