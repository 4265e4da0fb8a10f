/* Broyden's "good" method on g(x) = f(x) - x, inverse form, limited memory (spec deq 11): the
 * inverse Jacobian is -I + sum of u v^T, each sample its own; a line search shares one step length.
 */
#include "engine/solve/solve_internal.h"

enum { SPARE = 7 };

typedef struct broyden {
    solve *s;
    state y;                             /* f at the newest point, lent by the problem */
    state x, g, d, x_new, g_new, dx, dg; /* point, g there, direction; the next ones */
    state u[HL_SOLVE_MEMORY], v[HL_SOLVE_MEMORY];
    int m, held, slot;
    double step;
    double *phi; /* [batch] ||g||^2 at the newest point */
} broyden;

static int memory(const hl_solve_options *o)
{
    const int m = o->memory < HL_SOLVE_MEMORY ? o->memory : HL_SOLVE_MEMORY;
    return m < o->max_iter ? m : o->max_iter;
}

size_t hl_broyden_bytes(const hl_problem *p, const hl_solve_options *o)
{
    return (size_t)(2 * memory(o) + SPARE) * hl_state_bytes(p) + (size_t)p->batch * sizeof(double) +
           64;
}

typedef struct term {
    double by;
    const state *x;
} term;

/* y = the sum of two terms */
static void mix2(const solve *s, term a, term c, int64_t b, const state *y)
{
    const double by[2] = {a.by, c.by};
    const state *const from[2] = {a.x, c.x};
    hl_rows_mix(s, 2, by, from, b, y);
}

static void move_samples(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const broyden *k = arg;
    for (int64_t b = begin; b < end; b++)
        mix2(k->s, (term){1, &k->x}, (term){is_done(k->s, b) ? 0 : k->step, &k->d}, b, &k->x_new);
}

static void residual_samples(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const broyden *k = arg;
    for (int64_t b = begin; b < end; b++) {
        mix2(k->s, (term){1, &k->y}, (term){-1, &k->x_new}, b, &k->g_new);
        k->phi[b] = hl_rows_dot(k->s, &k->g_new, &k->g_new, b);
    }
}

/* ||g||^2 at the newest point over the samples that still move: one that is done has stopped and,
 * if it diverged, must not decide on the others' step. */
static double sum_of(const broyden *k)
{
    double sum = 0;
    for (int64_t b = 0; b < k->s->p->batch; b++)
        sum += is_done(k->s, b) ? 0 : k->phi[b];
    return sum;
}

/* g at x + step d, and the sum of its squares over the batch; infinite where it is not finite. */
static hl_status try_step(broyden *k, double step, double *phi)
{
    k->step = step;
    hl_solve_each(k->s, 0, move_samples, k);
    hl_status st = hl_solve_eval(k->s, &k->x_new, &k->y);
    if (st != HL_OK)
        return st;
    hl_solve_each(k->s, 0, residual_samples, k);
    *phi = sum_of(k);
    *phi = isfinite(*phi) ? *phi : HUGE_VAL;
    return HL_OK;
}

/* Armijo with quadratic, then cubic interpolation; slope p = -phi(0). The accepted step is the
 * newest one tried, or 1 if none is accepted. */
static hl_status search(broyden *k, double phi0)
{
    hl_status st = HL_OK;
    double s0 = 1, f0, s1, f1, f2;
    const double p = -phi0;
    HL_TRY(try_step(k, s0, &f0));
    if (f0 <= phi0 + 1e-4 * s0 * p)
        return HL_OK;
    s1 = -p * s0 * s0 / (2 * (f0 - phi0 - p * s0));
    HL_TRY(try_step(k, s1, &f1));
    while (s1 > 0.01) {
        const double e0 = f0 - phi0 - p * s0, e1 = f1 - phi0 - p * s1;
        const double scale = s0 * s0 * s1 * s1 * (s1 - s0);
        const double a = (s0 * s0 * e1 - s1 * s1 * e0) / scale;
        const double c = (s1 * s1 * s1 * e0 - s0 * s0 * s0 * e1) / scale;
        double s2 = (-c + sqrt(fabs(c * c - 3 * a * p))) / (3 * a);
        HL_TRY(try_step(k, s2, &f2));
        if (f2 <= phi0 + 1e-4 * s2 * p)
            return HL_OK;
        if (s1 - s2 > s1 / 2 || 1 - s2 / s1 < 0.96)
            s2 = s1 / 2;
        s0 = s1;
        f0 = f1;
        s1 = s2;
        f1 = f2;
    }
    st = try_step(k, 1, &f0);
out:
    return st;
}

/* out = v^T B^-1 (transposed) or B^-1 v: -v + sum of (v . left_i) right_i */
static void apply(const broyden *k, const state *v, const state *left, const state *right,
                  int64_t b, const state *out)
{
    double by[HL_SOLVE_MEMORY + 1] = {-1};
    const state *from[HL_SOLVE_MEMORY + 1] = {v};
    for (int i = 0; i < k->held; i++) {
        by[i + 1] = hl_rows_dot(k->s, v, &left[i], b);
        from[i + 1] = &right[i];
    }
    hl_rows_mix(k->s, k->held + 1, by, from, b, out);
}

static void clear_nan(const solve *s, const state *x, int64_t b)
{
    double sums[2] = {0, 0};
    hl_rows_change(s, x, x, b, sums);
    if (isfinite(sums[1]))
        return;
    for (int i = 0; i < s->p->n_parts; i++)
        for (int64_t j = 0; j < s->p->width[i]; j++) {
            void *row = hl_row(s, x, i, b);
            if (isnan(hl_solve_get(s, row, j)))
                hl_solve_put(s, row, j, 0);
        }
}

/* The newest pair u, v of a sample, from dx and dg. Slot `slot` may hold the oldest one, which
 * counts until it is replaced. */
static void learn(const broyden *k, int64_t b)
{
    const solve *s = k->s;
    state *v = (state *)&k->v[k->slot], *u = (state *)&k->u[k->slot];
    apply(k, &k->dg, k->v, k->u, b, &k->x_new); /* B^-1 dg; x_new is free by now */
    apply(k, &k->dx, k->u, k->v, b, &k->g_new); /* dx^T B^-1 */
    const double by = 1 / hl_rows_dot(s, &k->g_new, &k->dg, b);
    mix2(s, (term){by, &k->dx}, (term){-by, &k->x_new}, b, u);
    hl_rows_copy(s, &k->g_new, b, v);
    clear_nan(s, v, b);
    clear_nan(s, u, b);
}

static void learn_samples(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const broyden *k = arg;
    for (int64_t b = begin; b < end; b++)
        if (!is_done(k->s, b))
            learn(k, b);
}

static void turn_samples(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const broyden *k = arg;
    const double minus = -1;
    const state *const d[1] = {&k->d};
    for (int64_t b = begin; b < end; b++) {
        if (is_done(k->s, b))
            continue;
        apply(k, &k->g, k->v, k->u, b, &k->d);
        hl_rows_mix(k->s, 1, &minus, d, b, &k->d);
    }
}

/* Records the newest point and makes it the current one; dx and dg are its differences. */
static void arrive_samples(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const broyden *k = arg;
    solve *s = k->s;
    state z;
    memcpy(z.part, s->r->z, sizeof z.part);
    for (int64_t b = begin; b < end; b++) {
        if (is_done(s, b))
            continue;
        mix2(s, (term){1, &k->x_new}, (term){-1, &k->x}, b, &k->dx);
        mix2(s, (term){1, &k->g_new}, (term){-1, &k->g}, b, &k->dg);
        double sums[2] = {0, 0};
        hl_rows_change(s, &k->x_new, &k->y, b, sums);
        const double abs = sqrt(k->phi[b]), norm = sqrt(sums[1]);
        /* f moves by dx + dg; the first time by all of g */
        const double moved = s->row == 0 ? abs
                                         : sqrt(fmax(0, hl_rows_dot(s, &k->dx, &k->dx, b) +
                                                            2 * hl_rows_dot(s, &k->dx, &k->dg, b) +
                                                            hl_rows_dot(s, &k->dg, &k->dg, b)));
        hl_solve_record(s, b, abs, ratio(abs, norm), ratio(moved, norm));
        if (s->o->keep && is_diverged(s, b))
            continue;
        hl_rows_copy(s, &k->x_new, b, &k->x);
        hl_rows_copy(s, &k->g_new, b, &k->g);
        hl_rows_copy(s, &k->x_new, b, &z);
        hl_solve_keep_best(s, &k->x, b);
    }
}

hl_status hl_broyden(solve *s)
{
    hl_status st = HL_OK;
    double phi;
    broyden k = {.s = s, .m = memory(s->o)};
    state *const spare[SPARE] = {&k.x, &k.g, &k.d, &k.x_new, &k.g_new, &k.dx, &k.dg}, z;
    for (int i = 0; i < SPARE; i++)
        *spare[i] = hl_state_carve(s);
    for (int i = 0; i < k.m; i++) {
        k.u[i] = hl_state_carve(s);
        k.v[i] = hl_state_carve(s);
    }
    k.phi = hl_solve_carve(s, (size_t)s->p->batch * sizeof *k.phi);
    memcpy(z.part, s->r->z, sizeof z.part);
    for (int64_t b = 0; b < s->p->batch; b++) {
        hl_rows_copy(s, &z, b, &k.x);
        hl_rows_copy(s, &z, b, &k.d);
        hl_rows_copy(s, &z, b, &k.g);
    }
    HL_TRY(try_step(&k, 0, &phi));
    hl_solve_each(s, 0, arrive_samples, &k);
    while (!hl_solve_over(s)) {
        hl_solve_each(s, 0, turn_samples, &k);
        if (s->o->line_search)
            HL_TRY(search(&k, sum_of(&k)));
        else
            HL_TRY(try_step(&k, 1, &phi));
        hl_solve_each(s, 0, arrive_samples, &k);
        k.slot = (s->row - 1) % k.m;
        hl_solve_each(s, 0, learn_samples, &k);
        k.held = k.held < k.m ? k.held + 1 : k.m;
    }
out:
    return st;
}
