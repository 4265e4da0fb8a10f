/* What all solvers share, and the simplest of them. */
#include "engine/solve/solve_internal.h"

static size_t real_bytes(const hl_problem *p)
{
    return p->doubles ? sizeof(double) : sizeof(float);
}

size_t hl_state_bytes(const hl_problem *p)
{
    size_t n = 0;
    for (int i = 0; i < p->n_parts; i++)
        n += hl_align64((size_t)(p->batch * p->width[i]) * real_bytes(p));
    return n;
}

void *hl_solve_carve(solve *s, size_t bytes)
{
    void *at = s->work;
    s->work += hl_align64(bytes);
    return at;
}

state hl_state_carve(solve *s)
{
    state x = {0};
    for (int i = 0; i < s->p->n_parts; i++)
        x.part[i] = hl_solve_carve(s, (size_t)(s->p->batch * s->p->width[i]) * real_bytes(s->p));
    return x;
}

int hl_solve_rows(const hl_solve_options *o)
{
    return o->max_iter > 2 ? o->max_iter : 2; /* Anderson starts with two evaluations */
}

size_t hl_solve_bytes(const hl_problem *p, const hl_solve_options *o)
{
    size_t n =
        3 * hl_align64((size_t)p->batch * sizeof(double)) + hl_align64((size_t)p->batch) + 64;
    if (o->pick == HL_PICK_BEST)
        n += hl_state_bytes(p);
    if (o->solver == HL_SOLVER_PICARD && p->n_parts > 1)
        n += hl_state_bytes(p);
    if (o->solver == HL_SOLVER_ANDERSON)
        n += hl_anderson_bytes(p, o);
    if (o->solver == HL_SOLVER_BROYDEN)
        n += hl_broyden_bytes(p, o);
    return n;
}

/* --- one sample --- */

void *hl_row(const solve *s, const state *x, int part, int64_t b)
{
    return (unsigned char *)x->part[part] + (size_t)(b * s->p->width[part]) * real_bytes(s->p);
}

void hl_rows_change(const solve *s, const state *x, const state *y, int64_t b, double sums[2])
{
    for (int i = 0; i < s->p->n_parts; i++) {
        const void *xr = hl_row(s, x, i, b), *yr = hl_row(s, y, i, b);
        if (!s->p->doubles) {
            hl_cpu()->row_change(s->p->width[i], xr, yr, sums);
            continue;
        }
        for (int64_t k = 0; k < s->p->width[i]; k++) {
            const double v = ((const double *)yr)[k], d = v - ((const double *)xr)[k];
            sums[0] += d * d;
            sums[1] += v * v;
        }
    }
}

double hl_rows_dot(const solve *s, const state *x, const state *y, int64_t b)
{
    double sum = 0;
    for (int i = 0; i < s->p->n_parts; i++) {
        const void *xr = hl_row(s, x, i, b), *yr = hl_row(s, y, i, b);
        if (!s->p->doubles)
            hl_cpu()->row_dot(s->p->width[i], xr, yr, &sum);
        for (int64_t k = 0; s->p->doubles && k < s->p->width[i]; k++)
            sum += ((const double *)xr)[k] * ((const double *)yr)[k];
    }
    return sum;
}

static void mix_doubles(int64_t n, int n_rows, const double *by, const double *const *x, double *y)
{
    for (int64_t k = 0; k < n; k++) {
        double sum = 0;
        for (int r = 0; r < n_rows; r++)
            sum += by[r] * x[r][k];
        y[k] = sum;
    }
}

void hl_rows_mix(const solve *s, int n, const double *by, const state *const *x, int64_t b,
                 const state *y)
{
    float small[2 * HL_SOLVE_MEMORY + 2];
    const void *rows[2 * HL_SOLVE_MEMORY + 2];
    for (int r = 0; r < n; r++)
        small[r] = (float)by[r];
    for (int i = 0; i < s->p->n_parts; i++) {
        for (int r = 0; r < n; r++)
            rows[r] = hl_row(s, x[r], i, b);
        if (s->p->doubles)
            mix_doubles(s->p->width[i], n, by, (const double *const *)rows, hl_row(s, y, i, b));
        else
            hl_cpu()->row_mix(s->p->width[i], n, small, (const float *const *)rows,
                              hl_row(s, y, i, b));
    }
}

void hl_rows_copy(const solve *s, const state *from, int64_t b, const state *to)
{
    for (int i = 0; i < s->p->n_parts; i++)
        memcpy(hl_row(s, to, i, b), hl_row(s, from, i, b),
               (size_t)s->p->width[i] * real_bytes(s->p));
}

void hl_solve_each(solve *s, int64_t small, hl_part_fn body, void *arg)
{
    hl_parallel(s->p->exec, s->p->batch, 1, HL_GRAIN / (2 * s->total + small + 1) + 1, body, arg);
}

/* --- bookkeeping --- */

void hl_solve_put(const solve *s, void *array, int64_t i, double v)
{
    if (s->p->doubles)
        ((double *)array)[i] = v;
    else
        ((float *)array)[i] = (float)v;
}

double hl_solve_get(const solve *s, const void *array, int64_t i)
{
    return s->p->doubles ? ((const double *)array)[i] : (double)((const float *)array)[i];
}

/* The values of samples that are still going. Where a line search tries several, the last one. */
static void keep_on_path(const solve *s, const state *y)
{
    const size_t each = real_bytes(s->p);
    for (int64_t b = 0; b < s->p->batch; b++) {
        unsigned char *at =
            (unsigned char *)s->r->path + (size_t)((s->row * s->p->batch + b) * s->total) * each;
        for (int i = 0; i < s->p->n_parts && !is_done(s, b); i++) {
            const size_t n = (size_t)s->p->width[i] * each;
            memcpy(at, hl_row(s, y, i, b), n);
            at += n;
        }
    }
}

hl_status hl_solve_eval(solve *s, const state *x, state *y)
{
    const void *made[HL_SOLVE_PARTS];
    hl_status st =
        s->p->eval(s->p->self, x->part, s->o->solver == HL_SOLVER_BROYDEN ? NULL : s->done, made);
    for (int i = 0; i < s->p->n_parts && st == HL_OK; i++)
        y->part[i] = (void *)(uintptr_t)made[i];
    s->n_calls++;
    if (st == HL_OK && s->r->path && s->row < s->r->rows)
        keep_on_path(s, y);
    return st;
}

/* Growth of the residual from which nothing comes back. */
#define DIVERGED 1e6

static void finish(solve *s, int64_t b, hl_solve_end how)
{
    s->done[b] = (unsigned char)(1 + how);
    hl_solve_put(s, s->r->iterations, b, s->row + 1);
}

void hl_solve_record(solve *s, int64_t b, double abs, double rel, double movement)
{
    const int64_t at = (int64_t)s->row * s->p->batch + b;
    hl_solve_put(s, s->r->residual, at, rel);
    hl_solve_put(s, s->r->abs, at, abs);
    hl_solve_put(s, s->r->movement, at, movement);
    s->now[b] = s->o->stop == HL_STOP_REL ? rel : abs;
    if (s->row == 0)
        s->first[b] = abs;
    if (s->o->tol <= 0 || s->o->per == HL_PER_BATCH)
        return;
    if (!isfinite(abs) || abs > DIVERGED * (s->first[b] + 1e-6))
        finish(s, b, HL_ENDED_DIVERGED);
    else if (s->now[b] < s->o->tol)
        finish(s, b, HL_ENDED_TOL);
}

void hl_solve_keep_best(solve *s, const state *x, int64_t b)
{
    if (s->o->pick != HL_PICK_BEST || !(s->now[b] < s->lowest[b]))
        return;
    s->lowest[b] = s->now[b];
    hl_rows_copy(s, x, b, &s->best);
}

bool hl_solve_over(solve *s)
{
    s->row++;
    bool all = true;
    for (int64_t b = 0; b < s->p->batch && all; b++)
        all = s->o->tol > 0 && (s->o->per == HL_PER_BATCH ? s->now[b] < s->o->tol : is_done(s, b));
    return all || s->row >= s->o->max_iter;
}

/* --- Picard: z <- f(z) --- */

typedef struct picard {
    solve *s;
    state x, y;
    state aside; /* of several parts: values that lie where x will be written */
} picard;

/* A step may hand back one part of the state as another: that value is x itself. */
static void set_aside(picard *k)
{
    const hl_problem *p = k->s->p;
    for (int i = 0; i < p->n_parts; i++)
        for (int j = 0; j < p->n_parts; j++) {
            if (i == j || k->y.part[i] != k->x.part[j])
                continue;
            memcpy(k->aside.part[i], k->y.part[i],
                   (size_t)(p->batch * p->width[i]) * real_bytes(p));
            k->y.part[i] = k->aside.part[i];
        }
}

static void picard_samples(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const picard *k = arg;
    solve *s = k->s;
    const double tau = s->o->tau, by[2] = {1 - tau, tau};
    const state *const both[2] = {&k->x, &k->y};
    for (int64_t b = begin; b < end; b++) {
        if (is_done(s, b))
            continue;
        double sums[2] = {0, 0};
        hl_rows_change(s, &k->x, &k->y, b, sums);
        double norm = sqrt(sums[1]);
        const double abs = tau * sqrt(sums[0]);
        if (tau != 1 && (isfinite(abs) || !s->o->keep)) {
            hl_rows_mix(s, 2, by, both, b, &k->x);
            norm = sqrt(hl_rows_dot(s, &k->x, &k->x, b));
        }
        hl_solve_record(s, b, abs, ratio(abs, norm), ratio(abs, norm));
        if (tau == 1 && !(s->o->keep && is_diverged(s, b)))
            hl_rows_copy(s, &k->y, b, &k->x);
        hl_solve_keep_best(s, &k->x, b);
    }
}

static hl_status solve_picard(solve *s)
{
    picard k = {.s = s};
    memcpy(k.x.part, s->r->z, sizeof k.x.part);
    if (s->p->n_parts > 1)
        k.aside = hl_state_carve(s);
    do {
        hl_status st = hl_solve_eval(s, &k.x, &k.y);
        if (st != HL_OK)
            return st;
        set_aside(&k);
        hl_solve_each(s, 0, picard_samples, &k);
    } while (!hl_solve_over(s));
    return HL_OK;
}

/* --- any --- */

static void begin(solve *s)
{
    const int64_t batch = s->p->batch, n = s->r->rows * batch;
    for (int64_t i = 0; i < n; i++) {
        hl_solve_put(s, s->r->residual, i, (double)NAN);
        hl_solve_put(s, s->r->abs, i, (double)NAN);
        hl_solve_put(s, s->r->movement, i, (double)NAN);
    }
    for (int64_t i = 0; s->r->path && i < n * s->total; i++)
        hl_solve_put(s, s->r->path, i, (double)NAN);
    for (int64_t b = 0; b < batch; b++) {
        s->lowest[b] = HUGE_VAL;
        s->done[b] = 0;
        hl_solve_put(s, s->r->fallback, b, 0);
    }
}

/* A large state on its way to infinity must not pass for a solution. */
static void spoil(const solve *s, int64_t b, const state *z)
{
    for (int i = 0; i < s->p->n_parts; i++)
        for (int64_t k = 0; k < s->p->width[i]; k++)
            hl_solve_put(s, hl_row(s, z, i, b), k, (double)NAN);
}

static void end(solve *s)
{
    state z;
    memcpy(z.part, s->r->z, sizeof z.part);
    for (int64_t b = 0; b < s->p->batch; b++) {
        if (!is_done(s, b)) {
            s->row--;
            finish(s, b,
                   !isfinite(s->now[b])                     ? HL_ENDED_DIVERGED
                   : s->o->tol > 0 && s->now[b] < s->o->tol ? HL_ENDED_TOL
                                                            : HL_ENDED_MAX_ITER);
            s->row++;
        }
        hl_solve_put(s, s->r->ended, b, s->done[b] - 1);
        if (s->o->pick == HL_PICK_BEST && isfinite(s->lowest[b]))
            hl_rows_copy(s, &s->best, b, &z);
        else if (is_diverged(s, b) && !s->o->keep)
            spoil(s, b, &z);
    }
    hl_solve_put(s, s->r->calls, 0, s->n_calls);
}

hl_status hl_solve(const hl_problem *p, const hl_solve_options *o, hl_solve_report *r, void *work)
{
    solve s = {.p = p, .o = o, .r = r, .work = work};
    for (int i = 0; i < p->n_parts; i++)
        s.total += p->width[i];
    s.lowest = hl_solve_carve(&s, (size_t)p->batch * sizeof(double));
    s.first = hl_solve_carve(&s, (size_t)p->batch * sizeof(double));
    s.now = hl_solve_carve(&s, (size_t)p->batch * sizeof(double));
    s.done = hl_solve_carve(&s, (size_t)p->batch);
    if (o->pick == HL_PICK_BEST)
        s.best = hl_state_carve(&s);
    begin(&s);
    hl_status st = o->solver == HL_SOLVER_ANDERSON  ? hl_anderson(&s)
                   : o->solver == HL_SOLVER_BROYDEN ? hl_broyden(&s)
                                                    : solve_picard(&s);
    if (st == HL_OK)
        end(&s);
    return st;
}
