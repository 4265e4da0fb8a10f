/* Reporting of watched steps: outlier metrics and histograms of every tap. */
#include <math.h>
#include <string.h>

#include "app/exp/train_internal.h"

static int series_of(const hl_train *t, const char *group, const char *name, const char *what,
                     hl_series_kind kind)
{
    const hl_sink *k = &t->sink;
    hl_str tag = {0};
    hl_str_addf(&tag, "%s/%s/%s", group, name, what);
    int n = k->series(k->self, hl_str_text(&tag), kind, NULL);
    hl_str_done(&tag);
    return n;
}

static int tap_series(const hl_train *t, const char *tap, const char *what, hl_series_kind kind)
{
    return series_of(t, "outliers", tap, what, kind);
}

static void weight_series(hl_train *t)
{
    const hl_experiment *e = t->e;
    if (!e->probe_weights || e->probe_every == 0)
        return;
    t->s_weight = hl_alloc_zero(e->n_params, sizeof *t->s_weight);
    for (size_t i = 0; t->s_weight && i < e->n_params; i++)
        t->s_weight[i] = series_of(t, "weights", e->params[i].name, "inf_norm", HL_SERIES_SCALAR);
}

void hl_train_watch_series(hl_train *t)
{
    const int n = t->watched.n_taps;
    weight_series(t);
    if (n == 0)
        return;
    t->s_inf = hl_alloc_zero((size_t)n, sizeof *t->s_inf);
    t->s_kurtosis = hl_alloc_zero((size_t)n, sizeof *t->s_kurtosis);
    t->s_hist = hl_alloc_zero((size_t)n, sizeof *t->s_hist);
    for (int i = 0; i < n && t->s_inf && t->s_kurtosis && t->s_hist; i++) {
        const char *name = t->watched.tap_names[i];
        t->s_inf[i] = tap_series(t, name, "inf_norm", HL_SERIES_SCALAR);
        t->s_kurtosis[i] = tap_series(t, name, "kurtosis", HL_SERIES_SCALAR);
        t->s_hist[i] = t->watched.bins ? tap_series(t, name, "hist", HL_SERIES_HIST) : -1;
    }
}

static void report_hist(hl_train *t, int tap, const hl_outliers *o)
{
    const hl_moments *m = &o->all;
    hl_hist h = {.min = m->n > 0 ? m->min : 0,
                 .max = m->n > 0 ? m->max : 0,
                 .num = m->n,
                 .sum = m->mean * m->n,
                 .sum_squares = m->m2 + m->mean * m->mean * m->n,
                 .n_non_finite = m->n_bad};
    memcpy(h.bin, o->bins, sizeof h.bin);
    t->sink.hist(t->sink.self, t->s_hist[tap], t->step, &h);
    hl_train_probe_count(t, t->watched.tap_names[tap], &h);
}

void hl_train_report_taps(hl_train *t, double *max_abs, int64_t *n_bad)
{
    const step_program *p = &t->watched;
    const hl_sink *k = &t->sink;
    if (p->n_taps == 0 || !t->s_hist)
        return; /* nothing is known */
    *max_abs = 0;
    *n_bad = 0;
    for (int i = 0; i < p->n_taps; i++) {
        const int out = p->tg.first_tap + i * (p->bins ? 2 : 1);
        hl_outliers o = {0};
        hl_outliers_add(&o, hl_program_output(p->p, out), hl_program_output_type(p->p, out)->dim[0],
                        p->bins ? hl_program_output(p->p, out + 1) : NULL);
        k->scalar(k->self, t->s_inf[i], t->step, hl_outliers_inf_norm(&o));
        k->scalar(k->self, t->s_kurtosis[i], t->step, hl_outliers_kurtosis(&o));
        if (p->bins)
            report_hist(t, i, &o);
        *max_abs = fmax(*max_abs, hl_outlier_inf_norm(&o.all));
        *n_bad += (int64_t)o.all.n_bad;
    }
}

/* max |w|; NaN where there is one. As patterns of bits, of which the largest is wanted, floats need
 * no order among their NaNs, and compilers use vectors. */
static double inf_norm_of(const hl_storage *s)
{
    const int64_t n = hl_type_count(&s->type);
    if (s->stored == HL_DTYPE_F32) {
        const uint32_t *w = s->data;
        union {
            uint32_t bits;
            float value;
        } most = {0};
        for (int64_t i = 0; i < n; i++) {
            const uint32_t bits = w[i] & UINT32_C(0x7FFFFFFF);
            most.bits = bits > most.bits ? bits : most.bits;
        }
        return (double)most.value;
    }
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        const double x = fabs(hl_storage_get(s, i));
        most = x > most || isnan(x) ? x : most;
        if (isnan(most))
            break;
    }
    return most;
}

void hl_train_report_weights(hl_train *t)
{
    const hl_sink *k = &t->sink;
    for (size_t i = 0; t->s_weight && i < t->e->n_params; i++)
        k->scalar(k->self, t->s_weight[i], t->step, inf_norm_of(t->e->params[i].storage));
}
