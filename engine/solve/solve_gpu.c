/* The solvers on a device: what happens per sample is kernels/cuda/solve.cu. When the solve is over
 * is decided there too. A captured step repeats the evaluation by itself; where steps are queued,
 * the host looks every HL_SOLVE_ASK evaluations. What is queued behind the end changes nothing, so
 * both give the same numbers. */
#include <assert.h>

#include "engine/solve/solve_internal.h"

static_assert(HL_GPU_PARTS == HL_SOLVE_PARTS && HL_GPU_MEMORY == HL_SOLVE_MEMORY, "one limit");
static_assert((int)HL_GPU_BROYDEN == HL_SOLVER_BROYDEN &&
                  (int)HL_GPU_ANDERSON == HL_SOLVER_ANDERSON,
              "one numbering");

/* Memory of a solve, laid out from `at`; NULL: only measured. */
typedef struct room {
    unsigned char *base;
    size_t at;
} room;

static void *carve(room *r, size_t bytes)
{
    void *p = r->base ? r->base + r->at : NULL;
    r->at += (bytes + 255) & ~(size_t)255;
    return p;
}

static hl_gpu_parts carve_states(room *r, const hl_problem *p, int n)
{
    hl_gpu_parts s = {{NULL}};
    for (int i = 0; i < p->n_parts; i++)
        s.part[i] = carve(r, (size_t)(n * p->batch * p->width[i]) * sizeof(float));
    return s;
}

static int window(const hl_solve_options *o)
{
    const int m = o->memory < HL_SOLVE_MEMORY ? o->memory : HL_SOLVE_MEMORY;
    return o->solver == HL_SOLVER_BROYDEN && m > o->max_iter ? o->max_iter : m;
}

static void lay_out_solver(room *r, const hl_problem *p, hl_gpu_solve *k)
{
    const size_t gram = (size_t)(p->batch * k->memory * k->memory) * sizeof(double);
    if (k->solver == HL_GPU_PICARD) {
        k->x = k->z;
        return;
    }
    k->x = carve_states(r, p, 1);
    if (k->solver == HL_GPU_ANDERSON) {
        k->f = carve_states(r, p, k->memory);
        k->g = carve_states(r, p, k->memory);
        k->gram = carve(r, gram);
        return;
    }
    hl_gpu_parts *const single[] = {&k->p, &k->r, &k->d, &k->new_r, &k->dx, &k->dr, &k->spare};
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++)
        *single[i] = carve_states(r, p, 1);
    k->u = carve_states(r, p, k->memory);
    k->v = carve_states(r, p, k->memory);
}

/* `aside`: Picard's place for values that lie where the state is written. */
static void lay_out(room *r, const hl_problem *p, const hl_solve_options *o, hl_gpu_solve *k,
                    hl_gpu_parts *aside)
{
    const size_t numbers = (size_t)p->batch * sizeof(double);
    k->solver = (hl_gpu_solver)o->solver;
    k->memory = window(o);
    k->n_parts = p->n_parts;
    k->batch = p->batch;
    memcpy(k->width, p->width, sizeof k->width);
    k->lowest = carve(r, numbers);
    k->first = carve(r, numbers);
    k->residual_now = carve(r, numbers);
    k->done = carve(r, (size_t)p->batch * sizeof *k->done);
    k->at = carve(r, HL_GPU_AT * sizeof *k->at);
    if (o->pick == HL_PICK_BEST)
        k->best = carve_states(r, p, 1);
    lay_out_solver(r, p, k);
    if (o->solver == HL_SOLVER_PICARD && p->n_parts > 1)
        *aside = carve_states(r, p, 1);
}

size_t hl_solve_gpu_bytes(const hl_problem *p, const hl_solve_options *o)
{
    room r = {0};
    hl_gpu_solve k = {0};
    hl_gpu_parts aside;
    lay_out(&r, p, o, &k, &aside);
    return r.at;
}

static void take_options(const hl_solve_options *o, hl_gpu_solve *k)
{
    k->max_iter = o->solver == HL_SOLVER_ANDERSON ? hl_solve_rows(o) : o->max_iter;
    k->tol = o->tol;
    k->tau = o->tau;
    k->ridge = o->ridge;
    k->stops_abs = o->stop == HL_STOP_ABS;
    k->per_batch = o->per == HL_PER_BATCH;
    k->picks_best = o->pick == HL_PICK_BEST;
    k->relative = o->relative;
    k->safeguard = o->safeguard;
    k->keep = o->keep;
}

static void take_report(const hl_problem *p, const hl_solve_report *r, hl_gpu_solve *k)
{
    for (int i = 0; i < p->n_parts; i++)
        k->z.part[i] = r->z[i];
    k->rows = r->rows;
    k->residual = r->residual;
    k->abs = r->abs;
    k->movement = r->movement;
    k->iterations = r->iterations;
    k->ended = r->ended;
    k->fallback = r->fallback;
    k->calls = r->calls;
}

static hl_status iterate(const hl_problem *p, hl_gpu_solve *k, const hl_gpu_parts *aside)
{
    const hl_gpu_backend *d = hl_gpu_get();
    hl_gpu *gpu = p->exec->gpu;
    void *x[HL_SOLVE_PARTS];
    const void *y[HL_SOLVE_PARTS];
    for (int i = 0; i < p->n_parts; i++)
        x[i] = k->x.part[i];
    hl_status st = p->eval(p->self, x, NULL, y);
    if (st != HL_OK)
        return st;
    for (int i = 0; i < p->n_parts; i++) {
        k->y.part[i] = (float *)(uintptr_t)y[i];
        bool taken = false; /* a step may hand back one part of the state as another */
        for (int j = 0; j < p->n_parts; j++)
            taken = taken || (i != j && k->x.part[i] == k->z.part[i] && y[i] == x[j]);
        if (!taken)
            continue;
        d->copy(gpu, aside->part[i], y[i], (size_t)(p->batch * p->width[i]) * sizeof(float));
        k->y.part[i] = aside->part[i];
    }
    d->solve_step(gpu, k);
    return HL_OK;
}

hl_status hl_solve_gpu(const hl_problem *p, const hl_solve_options *o, const hl_solve_report *r,
                       void *work)
{
    const hl_gpu_backend *d = hl_gpu_get();
    hl_gpu *gpu = p->exec->gpu;
    hl_status st = HL_OK;
    room m = {.base = work};
    hl_gpu_solve k = {0};
    hl_gpu_parts aside = {{NULL}};
    int32_t again = 1;
    take_report(p, r, &k);
    take_options(o, &k);
    lay_out(&m, p, o, &k, &aside);
    d->solve_begin(gpu, &k);
    const bool repeats = d->loop_begin(gpu);
    for (int i = 0; i < k.max_iter && again && st == HL_OK; i++) {
        st = iterate(p, &k, &aside);
        if (repeats)
            break;
        if (st != HL_OK || o->tol <= 0 || (i + 1) % HL_SOLVE_ASK)
            continue;
        d->copy(gpu, &again, k.at + HL_GPU_AGAIN, sizeof again);
        st = d->wait(gpu);
        if (st != HL_OK)
            st = hl_err_set(st, "%s", d->error(gpu));
    }
    if (repeats)
        d->loop_end(gpu, k.at + HL_GPU_AGAIN);
    d->solve_end(gpu, &k);
    return st;
}
