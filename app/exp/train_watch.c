/* Reporting of watched steps: outlier metrics and histograms of every tap. */
#include <math.h>
#include <string.h>

#include "app/exp/train_internal.h"

static int tap_series(const hl_train *t, const char *tap, const char *what, hl_series_kind kind)
{
    const hl_sink *k = &t->sink;
    hl_str tag = {0};
    hl_str_addf(&tag, "outliers/%s/%s", tap, what);
    int n = k->series(k->self, hl_str_text(&tag), kind, NULL);
    hl_str_done(&tag);
    return n;
}

void hl_train_watch_series(hl_train *t)
{
    const int n = t->watched.n_taps;
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

static void report_hist(const hl_train *t, int series, const hl_outliers *o)
{
    const hl_moments *m = &o->all;
    hl_hist h = {.min = m->n > 0 ? m->min : 0,
                 .max = m->n > 0 ? m->max : 0,
                 .num = m->n,
                 .sum = m->mean * m->n,
                 .sum_squares = m->m2 + m->mean * m->mean * m->n,
                 .n_non_finite = m->n_bad};
    memcpy(h.bin, o->bins, sizeof h.bin);
    t->sink.hist(t->sink.self, series, t->step, &h);
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
            report_hist(t, t->s_hist[i], &o);
        *max_abs = fmax(*max_abs, hl_outlier_inf_norm(&o.all));
        *n_bad += (int64_t)o.all.n_bad;
    }
}
