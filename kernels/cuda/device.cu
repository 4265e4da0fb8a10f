/* The device: opening, memory, order of work. The table hl_gpu_cuda. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda_internal.h"

void hl_gpu_note(hl_gpu *g, cudaError_t e)
{
    if (e == cudaSuccess || g->error[0])
        return;
    snprintf(g->error, sizeof g->error, "%s", cudaGetErrorString(e));
}

static int device_count(char *why, size_t size)
{
    int n = 0;
    const cudaError_t e = cudaGetDeviceCount(&n);
    (void)cudaGetLastError(); /* told here, not at the next launch */
    if (e == cudaSuccess && n > 0)
        return n;
    snprintf(why, size, "%s", e == cudaSuccess ? "no GPU" : cudaGetErrorString(e));
    return 0;
}

static hl_status fail_open(hl_gpu *g, cudaError_t e, char *why, size_t size)
{
    snprintf(why, size, "%s", cudaGetErrorString(e));
    (void)cudaGetLastError();
    free(g);
    return HL_E_DEVICE;
}

static hl_status device_open(int index, hl_gpu **out, char *why, size_t size)
{
    cudaDeviceProp p;
    int shared = 0;
    hl_gpu *g = static_cast<hl_gpu *>(calloc(1, sizeof *g));
    if (!g) {
        snprintf(why, size, "no memory");
        return HL_E_NOMEM;
    }
    g->index = index;
    cudaError_t e = cudaSetDevice(index);
    if (e == cudaSuccess)
        e = cudaGetDeviceProperties(&p, index);
    if (e == cudaSuccess)
        e = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, index);
    if (e == cudaSuccess)
        e = cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking);
    if (e == cudaSuccess)
        e = cudaStreamCreateWithFlags(&g->inner, cudaStreamNonBlocking);
    if (e == cudaSuccess)
        e = cudaStreamCreateWithFlags(&g->ahead, cudaStreamNonBlocking);
    for (int i = 0; i < 2 && e == cudaSuccess; i++)
        e = cudaEventCreateWithFlags(&g->came[i], cudaEventDisableTiming);
    if (e == cudaSuccess)
        e = cudaMalloc(reinterpret_cast<void **>(&g->fault), sizeof *g->fault);
    if (e == cudaSuccess)
        e = cudaMallocHost(reinterpret_cast<void **>(&g->host_fault), sizeof *g->host_fault);
    if (e == cudaSuccess)
        e = cudaMemsetAsync(g->fault, 0, sizeof *g->fault, g->stream);
    if (e != cudaSuccess)
        return fail_open(g, e, why, size);
    g->n_sm = p.multiProcessorCount;
    g->shared_most = (size_t)shared;
    hl_lt_open(g);
    *out = g;
    return HL_OK;
}

static void device_close(hl_gpu *g)
{
    if (!g)
        return;
    hl_lt_close(g);
    cudaFree(g->fault);
    cudaFreeHost(g->host_fault);
    for (int i = 0; i < 2; i++)
        cudaEventDestroy(g->came[i]);
    cudaStreamDestroy(g->ahead);
    cudaStreamDestroy(g->inner);
    cudaStreamDestroy(g->stream);
    free(g);
}

static void device_info(hl_gpu *g, hl_gpu_info *out)
{
    cudaDeviceProp p;
    memset(out, 0, sizeof *out);
    if (cudaGetDeviceProperties(&p, g->index) == cudaSuccess) {
        snprintf(out->name, sizeof out->name, "%.79s", p.name);
        out->major = p.major;
        out->minor = p.minor;
        out->n_multiprocessors = p.multiProcessorCount;
    }
    out->index = g->index;
    (void)cudaMemGetInfo(&out->free_bytes, &out->total_bytes);
}

static void *device_alloc(hl_gpu *g, size_t bytes)
{
    void *p = NULL;
    (void)g;
    if (cudaMalloc(&p, bytes ? bytes : 1) == cudaSuccess)
        return p;
    (void)cudaGetLastError(); /* the caller tells it */
    return NULL;
}

static void *device_alloc_shared(hl_gpu *g, size_t bytes)
{
    void *p = NULL;
    (void)g;
    if (cudaMallocManaged(&p, bytes ? bytes : 1, cudaMemAttachGlobal) != cudaSuccess) {
        (void)cudaGetLastError();
        return NULL;
    }
    memset(p, 0, bytes);
    return p;
}

static void device_free(hl_gpu *g, void *p)
{
    if (!p)
        return;
    (void)cudaStreamSynchronize(g->stream);
    (void)cudaFree(p);
}

static bool device_reaches(hl_gpu *g, const void *p)
{
    cudaPointerAttributes a;
    (void)g;
    if (cudaPointerGetAttributes(&a, p) != cudaSuccess) {
        (void)cudaGetLastError();
        return false;
    }
    return a.type == cudaMemoryTypeDevice || a.type == cudaMemoryTypeManaged;
}

static void device_copy(hl_gpu *g, void *to, const void *from, size_t bytes)
{
    if (bytes)
        hl_gpu_note(g, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, g->stream));
}

static void device_zero(hl_gpu *g, void *p, size_t bytes)
{
    if (bytes)
        hl_gpu_note(g, cudaMemsetAsync(p, 0, bytes, g->stream));
}

static void *device_alloc_pinned(hl_gpu *g, size_t bytes)
{
    void *p = NULL;
    (void)g;
    if (cudaMallocHost(&p, bytes ? bytes : 1) == cudaSuccess)
        return p;
    (void)cudaGetLastError();
    return NULL;
}

static void device_free_pinned(hl_gpu *g, void *p)
{
    if (!p)
        return;
    (void)cudaStreamSynchronize(g->ahead);
    (void)cudaFreeHost(p);
}

static void device_copy_ahead(hl_gpu *g, int slot, void *to, const void *from, size_t bytes)
{
    if (bytes)
        hl_gpu_note(g, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, g->ahead));
    hl_gpu_note(g, cudaEventRecord(g->came[slot], g->ahead));
}

static void device_await_ahead(hl_gpu *g, int slot)
{
    hl_gpu_note(g, cudaStreamWaitEvent(g->stream, g->came[slot], 0));
}

static hl_status device_wait(hl_gpu *g)
{
    if (g->capturing) { /* nothing runs that could be waited for */
        g->spoiled = true;
        return HL_OK;
    }
    hl_gpu_note(g, cudaStreamSynchronize(g->stream));
    return g->error[0] ? HL_E_DEVICE : HL_OK;
}

static hl_status device_sync(hl_gpu *g, hl_gpu_fault *fault)
{
    device_copy(g, g->host_fault, g->fault, sizeof *g->fault);
    if (device_wait(g) != HL_OK)
        return HL_E_DEVICE;
    *fault = *g->host_fault;
    if (fault->kind != HL_FAULT_NONE)
        device_zero(g, g->fault, sizeof *g->fault);
    return HL_OK;
}

static const char *device_error(hl_gpu *g)
{
    return g->error;
}

static void device_tag(hl_gpu *g, int32_t tag)
{
    g->tag = tag;
}

static void device_allow_tf32(hl_gpu *g, bool yes)
{
    g->tf32 = yes;
}

static void device_use_f16(hl_gpu *g, bool yes)
{
    g->f16 = yes;
}

static hl_status capture_begin(hl_gpu *g)
{
    g->spoiled = false;
    g->capturing =
        cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess;
    (void)cudaGetLastError();
    return g->capturing ? HL_OK : HL_E_DEVICE;
}

static void *capture_end(hl_gpu *g)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t run = NULL;
    g->capturing = false;
    if (cudaStreamEndCapture(g->stream, &graph) == cudaSuccess && graph && !g->spoiled &&
        cudaGraphInstantiate(&run, graph, 0) != cudaSuccess)
        run = NULL;
    if (graph)
        (void)cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    g->error[0] = '\0'; /* what could not be captured is queued in the ordinary way */
    return run;
}

static void replay(hl_gpu *g, void *captured)
{
    hl_gpu_note(g, cudaGraphLaunch(static_cast<cudaGraphExec_t>(captured), g->stream));
}

static void capture_free(hl_gpu *g, void *captured)
{
    (void)g;
    if (captured)
        (void)cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(captured));
}

#ifdef HL_CUDA_EMULATED
#define NAME "emulated"
#else
#define NAME "cuda"
#endif

extern "C" const hl_gpu_backend hl_gpu_cuda = {
    NAME,
    device_count,
    device_open,
    device_close,
    device_info,
    device_alloc,
    device_alloc_shared,
    device_free,
    device_reaches,
    device_copy,
    device_zero,
    device_alloc_pinned,
    device_free_pinned,
    device_copy_ahead,
    device_await_ahead,
    device_sync,
    device_wait,
    device_error,
    device_tag,
    device_allow_tf32,
    device_use_f16,
    capture_begin,
    capture_end,
    replay,
    capture_free,
    hl_cu_decides,
    hl_cu_when_begin,
    hl_cu_when_end,
    hl_cu_loop_begin,
    hl_cu_loop_end,
    hl_cu_attention_scratch,
#define HL_GPU_KERNEL(name, params) hl_cu_##name,
#include "kernels/hl_gpu_kernel.def"
};
