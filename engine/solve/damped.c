#include "engine/solve/solve_internal.h"

size_t hl_solve_damped_bytes(const hl_problem *p)
{
    return hl_state_bytes(p);
}

typedef struct mixing {
    const hl_solve_damped *d;
    const unsigned char *done;
    void *const *x;
    const void *const *y;
} mixing;

static void mix_doubles(int64_t n, double step, const double *x, const double *y, double *out)
{
    for (int64_t k = 0; k < n; k++)
        out[k] = (1 - step) * x[k] + step * y[k];
}

static void mix_samples(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const mixing *m = arg;
    const hl_problem *p = &m->d->of;
    const float by[2] = {(float)(1 - m->d->step), (float)m->d->step};
    for (int64_t b = begin; b < end; b++)
        for (int i = 0; i < p->n_parts && !(m->done && m->done[b]); i++) {
            const int64_t w = p->width[i], at = b * w;
            const float *rows[2] = {(const float *)m->x[i] + at, (const float *)m->y[i] + at};
            if (p->doubles)
                mix_doubles(w, m->d->step, (const double *)m->x[i] + at,
                            (const double *)m->y[i] + at, (double *)m->d->y[i] + at);
            else
                hl_cpu()->row_mix(w, 2, by, rows, (float *)m->d->y[i] + at);
        }
}

static hl_status eval_damped(void *self, void *const *x, const unsigned char *done, const void **y)
{
    hl_solve_damped *d = self;
    int64_t total = 1;
    hl_status st = d->of.eval(d->of.self, x, done, y);
    if (st != HL_OK)
        return st;
    if (d->on_device) {
        for (int i = 0; i < d->of.n_parts; i++) {
            hl_gpu_get()->blend(d->of.exec->gpu, d->of.batch * d->of.width[i], (float)d->step, x[i],
                                y[i], d->y[i]);
            y[i] = d->y[i];
        }
        return HL_OK;
    }
    mixing m = {.d = d, .done = done, .x = x, .y = y};
    for (int i = 0; i < d->of.n_parts; i++)
        total += d->of.width[i];
    hl_parallel(d->of.exec, d->of.batch, 1, HL_GRAIN / (2 * total) + 1, mix_samples, &m);
    for (int i = 0; i < d->of.n_parts; i++)
        y[i] = d->y[i];
    return HL_OK;
}

void hl_solve_damp(hl_solve_damped *d, hl_problem *out, unsigned char **work)
{
    const size_t each = d->of.doubles ? sizeof(double) : sizeof(float);
    for (int i = 0; i < d->of.n_parts; i++) {
        d->y[i] = *work;
        *work += hl_align64((size_t)(d->of.batch * d->of.width[i]) * each);
    }
    *out = d->of;
    out->eval = eval_damped;
    out->self = d;
}
