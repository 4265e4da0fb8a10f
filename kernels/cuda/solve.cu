/* Fixed-point solvers: a block per sample does all that lies between two evaluations. Sums are of
 * doubles, the small systems of one thread. The stop test is one block's, behind it. */
#include "kernels/cuda/cuda_internal.h"
#include "kernels/solve/anderson_body.h"

enum { ENDED_MAX_ITER, ENDED_TOL, ENDED_DIVERGED };
#define DIVERGED 1e6 /* as engine/solve/solve.c */

/* Memory of a block beside its sums. */
typedef struct room {
    double sums[32];
    double by[2 * HL_GPU_MEMORY];
    int flag;
} room;

typedef hl_gpu_solve solve;

/* This thread's elements of sample b. */
#define EACH_ELEMENT(k, b, i, at)                                                                  \
    for (int i = 0; i < (k).n_parts; i++)                                                          \
        for (int64_t at = (b) * (k).width[i] + threadIdx.x; at < ((b) + 1) * (k).width[i];         \
             at += blockDim.x)

__device__ inline hl_gpu_parts slot_of(const solve &k, const hl_gpu_parts &ring, int slot)
{
    hl_gpu_parts s;
    for (int i = 0; i < k.n_parts; i++)
        s.part[i] = ring.part[i] + (int64_t)slot * k.batch * k.width[i];
    return s;
}

__device__ inline double dot(const solve &k, int64_t b, const hl_gpu_parts &x,
                             const hl_gpu_parts &y, room *m)
{
    double s = 0;
    EACH_ELEMENT(k, b, i, at) s += (double)x.part[i][at] * (double)y.part[i][at];
    return hl_block_sum(s, m->sums);
}

/* ||y - x||^2 */
__device__ inline double change(const solve &k, int64_t b, const hl_gpu_parts &x,
                                const hl_gpu_parts &y, room *m)
{
    double s = 0;
    EACH_ELEMENT(k, b, i, at)
    {
        const double d = (double)(y.part[i][at] - x.part[i][at]);
        s += d * d;
    }
    return hl_block_sum(s, m->sums);
}

__device__ inline void copy(const solve &k, int64_t b, const hl_gpu_parts &from,
                            const hl_gpu_parts &to)
{
    EACH_ELEMENT(k, b, i, at) to.part[i][at] = from.part[i][at];
}

/* to = a x + c y */
__device__ inline void mix2(const solve &k, int64_t b, float a, const hl_gpu_parts &x, float c,
                            const hl_gpu_parts &y, const hl_gpu_parts &to)
{
    EACH_ELEMENT(k, b, i, at) to.part[i][at] = a * x.part[i][at] + c * y.part[i][at];
}

__device__ inline double ratio(double a, double b)
{
    return a == 0 ? 0 : a / b;
}

__device__ inline bool is_finite(double x)
{
    return isfinite(x);
}

/* --- what all solvers share --- */

__global__ void solve_begin_kernel(solve k)
{
    HL_EACH(i, (int64_t)k.rows * k.batch)
    {
        k.residual[i] = k.abs[i] = k.movement[i] = NAN;
    }
    HL_EACH(b, k.batch)
    {
        k.lowest[b] = INFINITY;
        k.residual_now[b] = 0;
        k.done[b] = 0;
        k.fallback[b] = 0;
    }
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        k.at[HL_GPU_ROW] = 0;
        k.at[HL_GPU_AGAIN] = 1;
    }
}

/* By one thread. */
__device__ inline void finish(const solve &k, int64_t b, int row, int how)
{
    k.done[b] = 1 + how;
    k.iterations[b] = (float)(row + 1);
}

/* Records evaluation `row` of the sample; by all threads. Returns done[b]. */
__device__ inline int record(const solve &k, int64_t b, int row, double abs, double rel,
                             double movement)
{
    if (threadIdx.x == 0) {
        const int64_t at = row * k.batch + b;
        const double now = k.stops_abs ? abs : rel;
        k.residual[at] = (float)rel;
        k.abs[at] = (float)abs;
        k.movement[at] = (float)movement;
        k.residual_now[b] = now;
        if (row == 0)
            k.first[b] = abs;
        if (k.tol > 0 && !k.per_batch) {
            if (!is_finite(abs) || abs > DIVERGED * (k.first[b] + 1e-6))
                finish(k, b, row, ENDED_DIVERGED);
            else if (now < k.tol)
                finish(k, b, row, ENDED_TOL);
        }
    }
    __syncthreads();
    return k.done[b];
}

/* By all threads. */
__device__ inline void keep_best(const solve &k, int64_t b, const hl_gpu_parts &x)
{
    const bool lower = k.picks_best && k.residual_now[b] < k.lowest[b];
    __syncthreads();
    if (!lower)
        return;
    if (threadIdx.x == 0)
        k.lowest[b] = k.residual_now[b];
    copy(k, b, x, k.best);
}

/* One block: is there a further evaluation? */
__global__ void solve_turn_kernel(solve k)
{
    __shared__ double sums[32];
    if (!k.at[HL_GPU_AGAIN])
        return;
    double going = 0;
    for (int64_t b = threadIdx.x; b < k.batch; b += blockDim.x)
        going += k.per_batch ? !(k.residual_now[b] < k.tol) : k.done[b] == 0;
    going = hl_block_sum(going, sums);
    if (threadIdx.x == 0) {
        const int row = k.at[HL_GPU_ROW] + 1;
        k.at[HL_GPU_ROW] = row;
        k.at[HL_GPU_AGAIN] = row < k.max_iter && (k.tol <= 0 || going > 0);
    }
}

__global__ void solve_end_kernel(solve k)
{
    const int rows = k.at[HL_GPU_ROW];
    for (int64_t b = blockIdx.x; b < k.batch; b += gridDim.x) {
        const double now = k.residual_now[b];
        __syncthreads();
        if (threadIdx.x == 0 && k.done[b] == 0)
            finish(k, b, rows - 1,
                   !is_finite(now)            ? ENDED_DIVERGED
                   : k.tol > 0 && now < k.tol ? ENDED_TOL
                                              : ENDED_MAX_ITER);
        __syncthreads();
        const int how = k.done[b] - 1;
        if (threadIdx.x == 0)
            k.ended[b] = (float)how;
        if (k.picks_best && is_finite(k.lowest[b]))
            copy(k, b, k.best, k.z);
        else if (how == ENDED_DIVERGED && !k.keep)
            EACH_ELEMENT(k, b, i, at) k.z.part[i][at] = NAN;
    }
    if (blockIdx.x == 0 && threadIdx.x == 0)
        *k.calls = (float)rows;
}

/* --- Picard: z is x --- */

__device__ inline void picard_step(const solve &k, int64_t b, int row, room *m)
{
    const double abs = k.tau * sqrt(change(k, b, k.x, k.y, m));
    double norm = sqrt(dot(k, b, k.y, k.y, m));
    if (k.tau != 1 && (is_finite(abs) || !k.keep)) {
        mix2(k, b, (float)(1 - k.tau), k.x, (float)k.tau, k.y, k.x);
        norm = sqrt(dot(k, b, k.x, k.x, m));
    }
    const int done = record(k, b, row, abs, ratio(abs, norm), ratio(abs, norm));
    if (k.tau == 1 && !(k.keep && done == 1 + ENDED_DIVERGED))
        copy(k, b, k.y, k.x);
    keep_best(k, b, k.x);
}

/* --- Anderson --- */

/* Slot of the i-th of the n pairs held, oldest first. */
__device__ inline int slot_at(const solve &k, int row, int n, int i)
{
    return (row + 1 - n + i) % k.memory;
}

/* Weights into m->by, by one thread. */
__device__ inline bool weigh(const solve &k, int64_t b, int row, int n, room *m, double *a)
{
    const double *gram = k.gram + b * k.memory * k.memory;
    double sum;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            a[i * n + j] = gram[slot_at(k, row, n, i) * k.memory + slot_at(k, row, n, j)];
    return hl_anderson_body(n, a, k.ridge, k.relative, m->by, &sum);
}

/* The mixed state into x: tau g + (1 - tau) (g - f) of each pair by its weight. */
__device__ inline void mix_pairs(const solve &k, int64_t b, int row, int n, const room *m)
{
    EACH_ELEMENT(k, b, i, at)
    {
        const int64_t size = k.batch * k.width[i];
        float s = 0;
        for (int j = 0; j < n; j++)
            s += (float)m->by[j] * k.g.part[i][slot_at(k, row, n, j) * size + at];
        for (int j = 0; k.tau != 1 && j < n; j++)
            s += (float)(-(1 - k.tau) * m->by[j]) * k.f.part[i][slot_at(k, row, n, j) * size + at];
        k.x.part[i][at] = s;
    }
}

__device__ inline void anderson_next(const solve &k, int64_t b, int row, double x_norm, room *m,
                                     double *a)
{
    const int n = row + 1 < k.memory ? row + 1 : k.memory, slot = row % k.memory;
    const hl_gpu_parts newest = slot_of(k, k.g, slot), f = slot_of(k, k.f, slot);
    double *gram = k.gram + b * k.memory * k.memory, own = 0;
    for (int i = 0; i < n; i++) {
        const int t = slot_at(k, row, n, i);
        const double d = dot(k, b, f, slot_of(k, k.f, t), m);
        own = t == slot ? d : own;
        if (threadIdx.x == 0)
            gram[slot * k.memory + t] = gram[t * k.memory + slot] = d;
    }
    if (threadIdx.x == 0)
        m->flag = n > 1 && weigh(k, b, row, n, m, a);
    __syncthreads();
    bool mixed = m->flag;
    if (mixed) {
        mix_pairs(k, b, row, n, m);
        if (k.safeguard) {
            const double moved = sqrt(change(k, b, newest, k.x, m));
            mixed = moved / sqrt(dot(k, b, k.x, k.x, m)) < sqrt(own) / x_norm;
        }
    }
    if (mixed)
        return;
    copy(k, b, newest, k.x);
    if (n > 1 && threadIdx.x == 0)
        k.fallback[b] += 1;
}

__device__ inline void anderson_step(const solve &k, int64_t b, int row, room *m, double *a)
{
    const int slot = row % k.memory, previous = (row + k.memory - 1) % k.memory;
    const hl_gpu_parts f = slot_of(k, k.f, slot), g = slot_of(k, k.g, slot);
    const double move = sqrt(change(k, b, row ? slot_of(k, k.g, previous) : k.x, k.y, m));
    const double x_norm = sqrt(dot(k, b, k.x, k.x, m)), norm = sqrt(dot(k, b, k.y, k.y, m));
    mix2(k, b, 1, k.y, -1, k.x, f);
    const double abs = sqrt(dot(k, b, f, f, m));
    const int done = record(k, b, row, abs, ratio(abs, norm), ratio(move, norm));
    if (!(k.keep && done == 1 + ENDED_DIVERGED))
        copy(k, b, k.y, k.z);
    copy(k, b, k.y, g);
    keep_best(k, b, k.y);
    if (!done && row + 1 < k.max_iter)
        anderson_next(k, b, row, x_norm, m, a);
}

/* --- Broyden, without a line search: B^-1 = -I + sum of u v^T --- */

/* out = -v + sum of (v . left_i) right_i */
__device__ inline void apply(const solve &k, int64_t b, const hl_gpu_parts &v,
                             const hl_gpu_parts &left, const hl_gpu_parts &right, int held,
                             const hl_gpu_parts &out, room *m)
{
    for (int i = 0; i < held; i++) {
        const double d = dot(k, b, v, slot_of(k, left, i), m);
        if (threadIdx.x == 0)
            m->by[i] = d;
    }
    __syncthreads();
    EACH_ELEMENT(k, b, i, at)
    {
        float s = -v.part[i][at];
        for (int j = 0; j < held; j++)
            s += (float)m->by[j] * right.part[i][j * k.batch * k.width[i] + at];
        out.part[i][at] = s;
    }
    __syncthreads();
}

/* NaN becomes 0 in a row that is not finite. */
__device__ inline void clear_nan(const solve &k, int64_t b, const hl_gpu_parts &x, room *m)
{
    if (is_finite(dot(k, b, x, x, m)))
        return;
    EACH_ELEMENT(k, b, i, at) x.part[i][at] = isnan(x.part[i][at]) ? 0.0f : x.part[i][at];
}

__device__ inline void learn(const solve &k, int64_t b, int row, room *m)
{
    const int slot = (row - 1) % k.memory, held = row - 1 < k.memory ? row - 1 : k.memory;
    const hl_gpu_parts u = slot_of(k, k.u, slot), v = slot_of(k, k.v, slot);
    apply(k, b, k.dr, k.v, k.u, held, k.spare, m); /* B^-1 dr */
    apply(k, b, k.dx, k.u, k.v, held, k.new_r, m); /* dx^T B^-1 */
    const float by = (float)(1 / dot(k, b, k.new_r, k.dr, m));
    mix2(k, b, by, k.dx, -by, k.spare, u);
    copy(k, b, k.new_r, v);
    clear_nan(k, b, v, m);
    clear_nan(k, b, u, m);
}

__device__ inline void broyden_step(const solve &k, int64_t b, int row, room *m)
{
    mix2(k, b, 1, k.y, -1, k.x, k.new_r);
    mix2(k, b, 1, k.x, -1, k.p, k.dx);
    mix2(k, b, 1, k.new_r, -1, k.r, k.dr);
    const double abs = sqrt(dot(k, b, k.new_r, k.new_r, m)), norm = sqrt(dot(k, b, k.y, k.y, m));
    double moved = abs; /* f moves by dx + dr; the first time by all of the residual */
    if (row)
        moved = sqrt(fmax(0.0, dot(k, b, k.dx, k.dx, m) + 2 * dot(k, b, k.dx, k.dr, m) +
                                   dot(k, b, k.dr, k.dr, m)));
    const int done = record(k, b, row, abs, ratio(abs, norm), ratio(moved, norm));
    if (!(k.keep && done == 1 + ENDED_DIVERGED)) {
        copy(k, b, k.x, k.p);
        copy(k, b, k.new_r, k.r);
        copy(k, b, k.x, k.z);
        keep_best(k, b, k.p);
    }
    if (done)
        return;
    if (row)
        learn(k, b, row, m);
    apply(k, b, k.r, k.v, k.u, row < k.memory ? row : k.memory, k.d, m);
    mix2(k, b, 1, k.p, -1, k.d, k.x);
}

/* --- launches --- */

__global__ void solve_step_kernel(solve k)
{
    HL_SHARED(double, a);
    __shared__ room m;
    const int row = k.at[HL_GPU_ROW];
    if (!k.at[HL_GPU_AGAIN])
        return;
    for (int64_t b = blockIdx.x; b < k.batch; b += gridDim.x) {
        if (k.done[b])
            continue;
        if (k.solver == HL_GPU_ANDERSON)
            anderson_step(k, b, row, &m, a);
        else if (k.solver == HL_GPU_BROYDEN)
            broyden_step(k, b, row, &m);
        else
            picard_step(k, b, row, &m);
    }
}

static int threads_of(const solve *k)
{
    int64_t n = 0;
    for (int i = 0; i < k->n_parts; i++)
        n += k->width[i];
    return hl_gpu_threads(n);
}

void hl_cu_solve_begin(hl_gpu *g, const hl_gpu_solve *k)
{
    for (int i = 0; i < k->n_parts; i++)
        if (k->x.part[i] != k->z.part[i])
            hl_gpu_note(g, cudaMemcpyAsync(k->x.part[i], k->z.part[i],
                                           (size_t)(k->batch * k->width[i]) * sizeof(float),
                                           cudaMemcpyDefault, g->stream));
    for (int i = 0; k->solver == HL_GPU_BROYDEN && i < k->n_parts; i++) {
        const size_t bytes = (size_t)(k->batch * k->width[i]) * sizeof(float);
        hl_gpu_note(
            g, cudaMemcpyAsync(k->p.part[i], k->z.part[i], bytes, cudaMemcpyDefault, g->stream));
        hl_gpu_note(g, cudaMemsetAsync(k->r.part[i], 0, bytes, g->stream));
    }
    HL_GO(g, solve_begin_kernel, hl_gpu_blocks(g, k->rows * k->batch, HL_THREADS), HL_THREADS, 0,
          *k);
}

void hl_cu_solve_step(hl_gpu *g, const hl_gpu_solve *k)
{
    const size_t shared =
        k->solver == HL_GPU_ANDERSON ? (size_t)k->memory * (size_t)k->memory * sizeof(double) : 16;
    HL_GO(g, solve_step_kernel, hl_gpu_blocks(g, k->batch, 1), threads_of(k), shared, *k);
    HL_GO(g, solve_turn_kernel, 1, hl_gpu_threads(k->batch), 0, *k);
}

void hl_cu_solve_end(hl_gpu *g, const hl_gpu_solve *k)
{
    HL_GO(g, solve_end_kernel, hl_gpu_blocks(g, k->batch, 1), threads_of(k), 0, *k);
}
