/* The scheduler of fibers and the runtime's functions on the host's memory. */
#include "tests/cuda/emulation.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#include <deque>
#include <map>
#include <memory>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define SWITCHES 1
#endif

emu_uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace
{

enum state { READY, AT_BLOCK, AT_WARP, DONE };
enum { STACK = 64 << 10, MOST_THREADS = 1024 };

/* Where a fiber stands. swapcontext asks the system for the signal mask at each change; on x86-64
 * the change is made here, a hundred times as fast. */
#ifdef __x86_64__
struct context {
    void *top; /* of its stack, callee-saved registers on it */
};
extern "C" void emu_switch(context *from, const context *to);
asm(R"(
    .text
    .type emu_switch, @function
emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq (%rsi), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emu_switch, .-emu_switch
)");
void begin(context *c, unsigned char *stack, size_t size, void (*entry)(void))
{
    void **top = reinterpret_cast<void **>(stack + size);
    *--top = nullptr; /* so that entry finds the stack as a call leaves it */
    *--top = reinterpret_cast<void *>(entry);
    c->top = top - 6;
}
#else
struct context {
    ucontext_t u;
};
void emu_switch(context *from, const context *to)
{
    swapcontext(&from->u, &to->u);
}
void begin(context *c, unsigned char *stack, size_t size, void (*entry)(void))
{
    getcontext(&c->u);
    c->u.uc_stack.ss_sp = stack;
    c->u.uc_stack.ss_size = size;
    c->u.uc_link = nullptr;
    makecontext(&c->u, entry, 0);
}
#endif

struct fiber {
    context at;
    state is;
    void *fake; /* of the sanitizer */
};

fiber fibers[MOST_THREADS];
context scheduler;
unsigned char *stacks;
const std::function<void()> *kernel;
unsigned n_threads, current;
uint64_t slots[MOST_THREADS];
unsigned char *shared_bytes;
size_t shared_size;

[[noreturn]] void die(const char *what)
{
    fprintf(stderr, "emulated CUDA, block %u,%u,%u: %s\n", blockIdx.x, blockIdx.y, blockIdx.z,
            what);
    abort();
}

#ifdef SWITCHES
void *scheduler_fake;
const void *scheduler_stack;
size_t scheduler_size;
#endif

unsigned char *stack_of(unsigned t)
{
    return stacks + (size_t)t * STACK;
}

void to_scheduler([[maybe_unused]] bool ends)
{
#ifdef SWITCHES
    __sanitizer_start_switch_fiber(ends ? nullptr : &fibers[current].fake, scheduler_stack,
                                   scheduler_size);
#endif
    const unsigned me = current;
    emu_switch(&fibers[me].at, &scheduler);
#ifdef SWITCHES
    __sanitizer_finish_switch_fiber(fibers[me].fake, nullptr, nullptr);
#endif
}

void entry(void)
{
#ifdef SWITCHES
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size);
#endif
    (*kernel)();
    fibers[current].is = DONE;
    to_scheduler(true);
}

void set_thread(unsigned t)
{
    threadIdx.x = t % blockDim.x;
    threadIdx.y = t / blockDim.x % blockDim.y;
    threadIdx.z = t / (blockDim.x * blockDim.y);
    current = t;
}

void resume(unsigned t)
{
    set_thread(t);
#ifdef SWITCHES
    __sanitizer_start_switch_fiber(&scheduler_fake, stack_of(t), STACK);
#endif
    emu_switch(&scheduler, &fibers[t].at);
#ifdef SWITCHES
    __sanitizer_finish_switch_fiber(scheduler_fake, nullptr, nullptr);
#endif
}

/* Runs the threads of a warp until all wait for the block or are done. */
void run_warp(unsigned first, unsigned end)
{
    for (;;) {
        unsigned at_warp = 0, at_block = 0;
        for (unsigned t = first; t < end; t++)
            if (fibers[t].is == READY)
                resume(t);
        for (unsigned t = first; t < end; t++) {
            at_warp += fibers[t].is == AT_WARP;
            at_block += fibers[t].is == AT_BLOCK;
        }
        if (at_warp == 0)
            return;
        if (at_block)
            die("some lanes of a warp are at a shuffle, others at __syncthreads");
        for (unsigned t = first; t < end; t++)
            if (fibers[t].is == AT_WARP)
                fibers[t].is = READY;
    }
}

void run_block(void)
{
    memset(shared_bytes, 0xA5, shared_size);
    for (unsigned t = 0; t < n_threads; t++) {
        begin(&fibers[t].at, stack_of(t), STACK, entry);
        fibers[t].is = READY;
    }
    for (;;) {
        unsigned waiting = 0, done = 0;
        for (unsigned w = 0; w < n_threads; w += 32)
            run_warp(w, w + 32 < n_threads ? w + 32 : n_threads);
        for (unsigned t = 0; t < n_threads; t++) {
            waiting += fibers[t].is == AT_BLOCK;
            done += fibers[t].is == DONE;
        }
        if (done == n_threads) {
            emu_copy_end_of_block();
            return;
        }
        if (done)
            die("some threads wait at __syncthreads, others have ended");
        for (unsigned t = 0; t < n_threads && waiting; t++)
            fibers[t].is = READY;
    }
}

} // namespace

void *emu_shared(void)
{
    return shared_bytes;
}

unsigned emu_lane(void)
{
    return current & 31;
}

void emu_sync_block(void)
{
    const unsigned me = current;
    fibers[me].is = AT_BLOCK;
    to_scheduler(false);
    set_thread(me);
}

void emu_sync_warp(void)
{
    const unsigned me = current;
    fibers[me].is = AT_WARP;
    to_scheduler(false);
    set_thread(me);
}

uint64_t emu_exchange(uint64_t mine, int from)
{
    const unsigned warp = current & ~31u;
    slots[current] = mine;
    emu_sync_warp();
    if (warp + (unsigned)from >= n_threads || fibers[warp + (unsigned)from].is == DONE)
        die("a shuffle reads a lane that has ended");
    const uint64_t taken = slots[warp + (unsigned)from];
    emu_sync_warp();
    return taken;
}

/* --- streams and graphs --- */

/* Work of the first stream is done at once, that of others as late as it may be: when something
 * waits for it. */
struct emu_stream {
    bool is_late;
    size_t n_done;
    std::deque<std::function<void()>> late;
};
struct emu_event {
    emu_stream *of;
    size_t upto;
};

struct emu_graph {
    std::vector<std::function<void()>> work;
    std::vector<std::shared_ptr<emu_graph>> bodies;
};

namespace
{
emu_graph *capturing;
std::vector<emu_graph *> interrupted; /* captures that a body's capture stands in */

/* Conditional handles: the value at each launch, and the value now. */
std::vector<std::pair<unsigned, unsigned>> handles;

int n_streams;

void catch_up(emu_stream *s, size_t upto)
{
    for (; s->n_done < upto && !s->late.empty(); s->n_done++) {
        s->late.front()();
        s->late.pop_front();
    }
}

void run_all(const emu_graph &g)
{
    for (auto &w : g.work)
        w();
}

void queue(std::function<void()> work)
{
    if (capturing)
        capturing->work.push_back(std::move(work));
    else
        work();
}

void launch(dim3 grid, dim3 block, size_t shared, const std::function<void()> &f)
{
    if (!stacks)
        stacks = static_cast<unsigned char *>(
            mmap(nullptr, (size_t)STACK * MOST_THREADS, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    kernel = &f;
    gridDim = grid;
    blockDim = block;
    n_threads = block.x * block.y * block.z;
    if (n_threads == 0 || n_threads > MOST_THREADS || grid.x * grid.y * grid.z == 0)
        die("a launch that no GPU takes");
    shared_size = shared;
    shared_bytes = static_cast<unsigned char *>(aligned_alloc(64, (shared + 64) & ~(size_t)63));
    for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++)
                run_block();
    free(shared_bytes);
}

std::map<const unsigned char *, size_t> blocks;
std::map<const void *, size_t> allowed; /* bytes of shared memory, by kernel */

/* What tests ask for by environment: a number, or `otherwise`. */
long long asked(const char *name, long long otherwise)
{
    const char *text = getenv(name);
    return text ? atoll(text) : otherwise;
}

cudaError_t allocate(void **p, size_t n, int fill)
{
    if ((long long)n > asked("HOPLAB_EMULATED_BYTES", (long long)n)) /* of one allocation */
        return cudaErrorMemoryAllocation;
    *p = aligned_alloc(256, (n + 256) & ~(size_t)255);
    if (!*p)
        return cudaErrorMemoryAllocation;
    memset(*p, fill, n);
    blocks[static_cast<unsigned char *>(*p)] = n;
    return cudaSuccess;
}
} // namespace

enum { SHARED_MOST = 227 << 10, SHARED_ALWAYS = 48 << 10 };

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int)
{
    *value = SHARED_MOST;
    return cudaSuccess;
}

cudaError_t emu_allow_shared(const void *kernel, int bytes)
{
    if (bytes > SHARED_MOST)
        return cudaErrorInvalidValue;
    allowed[kernel] = (size_t)bytes;
    return cudaSuccess;
}

void emu_launch(const void *function, dim3 grid, dim3 block, size_t shared, std::function<void()> f)
{
    const auto more = allowed.find(function);
    if (shared > (more == allowed.end() ? (size_t)SHARED_ALWAYS : more->second))
        die("a launch with more shared memory than was allowed");
    queue([=]() { launch(grid, block, shared, f); });
}

const char *cudaGetErrorString(cudaError_t e)
{
    return e == cudaSuccess                 ? "no error"
           : e == cudaErrorMemoryAllocation ? "out of memory"
           : e == cudaErrorIllegalAddress   ? "an illegal memory access was encountered"
                                            : "no device";
}
cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}
/* HOPLAB_EMULATED=0: as on a machine without a GPU */
cudaError_t cudaGetDeviceCount(int *n)
{
    *n = (int)asked("HOPLAB_EMULATED", 1);
    return *n ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int)
{
    *p = cudaDeviceProp();
    snprintf(p->name, sizeof p->name, "emulation on the host");
    p->major = 9;
    p->multiProcessorCount = 1;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *free_bytes = *total = (size_t)4 << 30;
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    *s = new emu_stream{n_streams++ > 0, 0, {}};
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = new emu_event{nullptr, 0};
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    delete e;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    *e = {s, s->n_done + s->late.size()};
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t e, unsigned)
{
    if (e->of)
        catch_up(e->of, e->upto);
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    n_streams--;
    delete s;
    return cudaSuccess;
}
/* HOPLAB_EMULATED_FAULT=PATTERN: once there is such a file, as after a kernel that went wrong */
cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    if (s) /* the stream that everything shares has nothing late */
        catch_up(s, s->n_done + s->late.size());
    const char *pattern = getenv("HOPLAB_EMULATED_FAULT");
    glob_t found;
    if (!pattern || glob(pattern, GLOB_NOSORT, nullptr, &found) != 0)
        return cudaSuccess;
    globfree(&found);
    return cudaErrorIllegalAddress;
}
cudaError_t cudaMalloc(void **p, size_t n)
{
    return allocate(p, n, 0xA5); /* rubbish, as there */
}
cudaError_t cudaMallocManaged(void **p, size_t n, unsigned)
{
    return allocate(p, n, 0);
}
cudaError_t cudaMallocHost(void **p, size_t n)
{
    *p = calloc(1, n);
    return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void *p)
{
    blocks.erase(static_cast<unsigned char *>(p));
    free(p);
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void *p)
{
    free(p);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind, cudaStream_t s)
{
    if (s->is_late && !capturing)
        s->late.push_back([=]() { memmove(to, from, n); });
    else
        queue([=]() { memmove(to, from, n); });
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *p, int byte, size_t n, cudaStream_t)
{
    queue([=]() { memset(p, byte, n); });
    return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *a, const void *p)
{
    const unsigned char *at = static_cast<const unsigned char *>(p);
    auto next = blocks.upper_bound(at);
    a->type = cudaMemoryTypeUnregistered;
    if (next != blocks.begin() && at < (--next)->first + next->second)
        a->type = cudaMemoryTypeDevice;
    return cudaSuccess;
}
/* HOPLAB_EMULATED_CAPTURE=0: a driver that captures nothing */
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode)
{
    if (!asked("HOPLAB_EMULATED_CAPTURE", 1))
        return cudaErrorUnknown;
    capturing = new emu_graph;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *g)
{
    *g = capturing;
    capturing = nullptr;
    if (!interrupted.empty()) {
        capturing = interrupted.back();
        interrupted.pop_back();
    }
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *x, cudaGraph_t g, unsigned long long)
{
    *x = new emu_graph(*g);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    delete g;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x)
{
    delete x;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t)
{
    for (auto &h : handles)
        h.second = h.first;
    run_all(*x);
    return cudaSuccess;
}
void cudaGraphSetConditional(cudaGraphConditionalHandle h, unsigned value)
{
    handles[h].second = value;
}
cudaError_t cudaGraphConditionalHandleCreate(cudaGraphConditionalHandle *h, cudaGraph_t,
                                             unsigned first, unsigned)
{
    *h = handles.size();
    handles.push_back({first, first});
    return cudaSuccess;
}
cudaError_t cudaGraphAddNode(cudaGraphNode_t *n, cudaGraph_t g, const cudaGraphNode_t *,
                             const cudaGraphEdgeData *, size_t, cudaGraphNodeParams *p)
{
    static cudaGraph_t made;
    auto body = std::make_shared<emu_graph>();
    const auto h = p->conditional.handle;
    if (p->conditional.type == cudaGraphCondTypeIf)
        g->work.push_back([=]() {
            if (handles[h].second)
                run_all(*body);
        });
    else
        g->work.push_back([=]() {
            while (handles[h].second)
                run_all(*body);
        });
    g->bodies.push_back(body);
    made = body.get();
    p->conditional.phGraph_out = &made;
    *n = nullptr;
    return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t, cudaStreamCaptureStatus *is,
                                     unsigned long long *, cudaGraph_t *g,
                                     const cudaGraphNode_t **after, const cudaGraphEdgeData **edges,
                                     size_t *n_after)
{
    *is = capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    *g = capturing;
    *after = nullptr;
    *edges = nullptr;
    *n_after = 0;
    return cudaSuccess;
}
cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t, cudaGraphNode_t *,
                                                const cudaGraphEdgeData *, size_t, unsigned)
{
    return cudaSuccess;
}
cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t, cudaGraph_t g, const cudaGraphNode_t *,
                                          const cudaGraphEdgeData *, size_t, cudaStreamCaptureMode)
{
    interrupted.push_back(capturing);
    capturing = g;
    return cudaSuccess;
}
