/* Parts of a captured step that the device does or leaves out, or repeats, by a number in its own
 * memory: conditional nodes of the graph. What is queued in between is captured on a stream of its
 * own, into the node's body. */
#include "kernels/cuda/cuda_internal.h"

#if defined(HL_CUDA_EMULATED) || CUDART_VERSION >= 13000

bool hl_cu_decides(hl_gpu *g)
{
    return g->inner != NULL;
}

__global__ void set_when_kernel(cudaGraphConditionalHandle h, const float *count, int64_t at)
{
    cudaGraphSetConditional(h, *count > (float)at);
}

__global__ void set_again_kernel(cudaGraphConditionalHandle h, const int32_t *again)
{
    cudaGraphSetConditional(h, *again != 0);
}

typedef struct place {
    cudaGraph_t graph;
    const cudaGraphNode_t *after;
    const cudaGraphEdgeData *edges;
    size_t n;
} place;

/* Where the next node of the capture would be; false: nothing is being captured. */
static bool find_place(hl_gpu *g, place *out)
{
    cudaStreamCaptureStatus is = cudaStreamCaptureStatusNone;
    const cudaError_t e = cudaStreamGetCaptureInfo(g->stream, &is, NULL, &out->graph, &out->after,
                                                   &out->edges, &out->n);
    return e == cudaSuccess && is == cudaStreamCaptureStatusActive;
}

/* From a failure on, the capture is worth nothing. */
static bool went_well(hl_gpu *g, cudaError_t e)
{
    g->spoiled = g->spoiled || e != cudaSuccess;
    return e == cudaSuccess;
}

static bool enter(hl_gpu *g, cudaGraphConditionalHandle h, cudaGraphConditionalNodeType how)
{
    place at;
    cudaGraphNode_t node;
    cudaGraphNodeParams p = {};
    p.type = cudaGraphNodeTypeConditional;
    p.conditional.handle = h;
    p.conditional.type = how;
    p.conditional.size = 1;
    if (!find_place(g, &at))
        return went_well(g, cudaErrorUnknown);
    if (!went_well(g, cudaGraphAddNode(&node, at.graph, at.after, at.edges, at.n, &p)) ||
        !went_well(g, cudaStreamUpdateCaptureDependencies(g->stream, &node, NULL, 1,
                                                          cudaStreamSetCaptureDependencies)) ||
        !went_well(g, cudaStreamBeginCaptureToGraph(g->inner, p.conditional.phGraph_out[0], NULL,
                                                    NULL, 0, cudaStreamCaptureModeThreadLocal)))
        return false;
    g->outer = g->stream;
    g->stream = g->inner;
    return true;
}

static void leave(hl_gpu *g)
{
    cudaGraph_t body;
    (void)went_well(g, cudaStreamEndCapture(g->stream, &body));
    g->stream = g->outer;
    g->outer = NULL;
}

static bool new_handle(hl_gpu *g, unsigned first, cudaGraphConditionalHandle *out)
{
    place at;
    if (!hl_cu_decides(g) || g->outer || !find_place(g, &at))
        return false;
    return went_well(
        g, cudaGraphConditionalHandleCreate(out, at.graph, first, cudaGraphCondAssignDefault));
}

bool hl_cu_when_begin(hl_gpu *g, const float *count, int64_t at)
{
    cudaGraphConditionalHandle h;
    if (!new_handle(g, 0, &h))
        return false;
    HL_GO(g, set_when_kernel, 1, 1, 0, h, count, at);
    return enter(g, h, cudaGraphCondTypeIf);
}

bool hl_cu_loop_begin(hl_gpu *g)
{
    return new_handle(g, 1, &g->looping) && enter(g, g->looping, cudaGraphCondTypeWhile);
}

void hl_cu_when_end(hl_gpu *g)
{
    leave(g);
}

void hl_cu_loop_end(hl_gpu *g, const int32_t *again)
{
    HL_GO(g, set_again_kernel, 1, 1, 0, g->looping, again);
    leave(g);
}

#else /* an older toolkit */

bool hl_cu_decides(hl_gpu *g)
{
    (void)g;
    return false;
}

bool hl_cu_when_begin(hl_gpu *g, const float *count, int64_t at)
{
    (void)g;
    (void)count;
    (void)at;
    return false;
}

bool hl_cu_loop_begin(hl_gpu *g)
{
    (void)g;
    return false;
}

void hl_cu_when_end(hl_gpu *g)
{
    (void)g;
}

void hl_cu_loop_end(hl_gpu *g, const int32_t *again)
{
    (void)g;
    (void)again;
}

#endif
