/* Anderson mixing, each sample by itself: the next state is the combination of the newest `memory`
 * values of f whose residuals cancel best (Walker & Ni 2011; spec deq 2.3). The small systems are
 * accumulated and solved in double; where one is singular the sample takes a plain step. */
#include "engine/solve/solve_internal.h"
#include "kernels/solve/anderson_body.h"

bool hl_solve_dense(int q, double *a, double *b, double *x)
{
    return hl_dense_body(q, a, b, x);
}

bool hl_anderson_weights(int q, double *a, double ridge, bool relative, double *alpha,
                         double *b_sum)
{
    double both[2 * HL_SOLVE_MEMORY], sum;
    const bool ok = hl_anderson_body(q, a, ridge, relative, both, &sum);
    if (ok)
        memcpy(alpha, both, (size_t)q * sizeof *alpha);
    if (ok && b_sum)
        *b_sum = sum;
    return ok;
}

typedef struct mixer {
    solve *s;
    state x, y;                                   /* y = f(x), lent by the problem */
    state f[HL_SOLVE_MEMORY], g[HL_SOLVE_MEMORY]; /* residuals and values of f, a ring */
    double *gram;                                 /* [batch, m, m] of the residuals, by slot */
    int m, slot, previous, n;                     /* newest slot, the one before, pairs held */
    int at[HL_SOLVE_MEMORY];                      /* slots of the pairs held, oldest first */
    bool last;                                    /* no further evaluation will follow */
} mixer;

static int window(const hl_solve_options *o)
{
    return o->memory < HL_SOLVE_MEMORY ? o->memory : HL_SOLVE_MEMORY;
}

size_t hl_anderson_bytes(const hl_problem *p, const hl_solve_options *o)
{
    const size_t m = (size_t)window(o);
    return (2 * m + 1) * hl_state_bytes(p) + (size_t)p->batch * m * m * sizeof(double) + 64;
}

static void turn_ring(mixer *k, int row)
{
    k->slot = row % k->m;
    k->previous = (row + k->m - 1) % k->m;
    k->n = row + 1 < k->m ? row + 1 : k->m;
    for (int i = 0; i < k->n; i++)
        k->at[i] = (row + 1 - k->n + i) % k->m;
}

static void fill_gram(const mixer *k, int64_t b)
{
    double *gram = k->gram + b * k->m * k->m;
    for (int i = 0; i < k->n; i++) {
        const int t = k->at[i];
        gram[k->slot * k->m + t] = gram[t * k->m + k->slot] =
            hl_rows_dot(k->s, &k->f[k->slot], &k->f[t], b);
    }
}

/* The mixed state into x, or false. */
static bool mix(const mixer *k, int64_t b)
{
    const hl_solve_options *o = k->s->o;
    double a[HL_SOLVE_MEMORY * HL_SOLVE_MEMORY], by[2 * HL_SOLVE_MEMORY];
    const state *from[2 * HL_SOLVE_MEMORY];
    const double *gram = k->gram + b * k->m * k->m;
    for (int i = 0; i < k->n; i++)
        for (int j = 0; j < k->n; j++)
            a[i * k->n + j] = gram[k->at[i] * k->m + k->at[j]];
    if (!hl_anderson_weights(k->n, a, o->ridge, o->relative, by, NULL))
        return false;
    int n = k->n;
    for (int i = 0; i < k->n; i++) {
        from[i] = &k->g[k->at[i]];
        from[k->n + i] = &k->f[k->at[i]];
        by[k->n + i] = -(1 - o->tau) * by[i]; /* tau g + (1 - tau) x, x = g - f */
    }
    if (o->tau != 1)
        n *= 2;
    hl_rows_mix(k->s, n, by, from, b, &k->x);
    return true;
}

/* The next x of a sample: mixed, or the newest value of f. x_norm: of the state just evaluated. */
static void next_state(const mixer *k, int64_t b, double x_norm)
{
    solve *s = k->s;
    const state *newest = &k->g[k->slot];
    bool mixed = k->n > 1 && mix(k, b);
    if (mixed && s->o->safeguard) {
        double sums[2] = {0, 0};
        hl_rows_change(s, newest, &k->x, b, sums);
        const double plain = sqrt(k->gram[(b * k->m + k->slot) * k->m + k->slot]) / x_norm;
        mixed = sqrt(sums[0]) / sqrt(sums[1]) < plain;
    }
    if (mixed)
        return;
    hl_rows_copy(s, newest, b, &k->x);
    if (k->n > 1)
        hl_solve_put(s, s->r->fallback, b, hl_solve_get(s, s->r->fallback, b) + 1);
}

static void mix_samples(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const mixer *k = arg;
    solve *s = k->s;
    const double difference[2] = {1, -1};
    const state *const pair[2] = {&k->y, &k->x};
    state z;
    memcpy(z.part, s->r->z, sizeof z.part);
    for (int64_t b = begin; b < end; b++) {
        if (is_done(s, b))
            continue;
        double move[2] = {0, 0};
        /* the value before this one; before the first: the start */
        hl_rows_change(s, s->row ? &k->g[k->previous] : &k->x, &k->y, b, move);
        const double x_norm = sqrt(hl_rows_dot(s, &k->x, &k->x, b)), norm = sqrt(move[1]);
        const double moved = ratio(sqrt(move[0]), norm);
        hl_rows_mix(s, 2, difference, pair, b, &k->f[k->slot]);
        const double abs = sqrt(hl_rows_dot(s, &k->f[k->slot], &k->f[k->slot], b));
        hl_solve_record(s, b, abs, ratio(abs, norm), moved);
        if (!(s->o->keep && is_diverged(s, b)))
            hl_rows_copy(s, &k->y, b, &z);
        hl_rows_copy(s, &k->y, b, &k->g[k->slot]);
        hl_solve_keep_best(s, &k->y, b);
        if (is_done(s, b) || k->last)
            continue;
        fill_gram(k, b);
        next_state(k, b, x_norm);
    }
}

hl_status hl_anderson(solve *s)
{
    mixer k = {.s = s, .m = window(s->o)};
    const int64_t small = 100 * (int64_t)k.m * k.m; /* weights: m = 5 takes half a microsecond */
    const hl_solve_options *const given = s->o;
    hl_solve_options two = *given;
    two.max_iter = hl_solve_rows(s->o);
    s->o = &two;
    k.x = hl_state_carve(s);
    for (int i = 0; i < k.m; i++) {
        k.f[i] = hl_state_carve(s);
        k.g[i] = hl_state_carve(s);
    }
    k.gram = hl_solve_carve(s, (size_t)(s->p->batch * k.m * k.m) * sizeof *k.gram);
    state z;
    memcpy(z.part, s->r->z, sizeof z.part);
    for (int64_t b = 0; b < s->p->batch; b++)
        hl_rows_copy(s, &z, b, &k.x);
    hl_status st;
    do {
        turn_ring(&k, s->row);
        k.last = s->row + 1 >= two.max_iter;
        st = hl_solve_eval(s, &k.x, &k.y);
        if (st == HL_OK)
            hl_solve_each(s, small, mix_samples, &k);
    } while (st == HL_OK && !hl_solve_over(s));
    s->o = given;
    return st;
}
