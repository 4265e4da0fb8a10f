#include "engine/probe/outliers.h"

#include <math.h>

enum { FIELDS = 8 };

double hl_outlier_kurtosis(const hl_moments *m)
{
    if (m->n_bad > 0)
        return nan("");
    if (m->n < 2)
        return 0;
    double variance = m->m2 / (m->n - 1);
    return m->m4 / m->n / (variance * variance + 1e-6);
}

double hl_outlier_inf_norm(const hl_moments *m)
{
    if (m->n_bad > 0)
        return nan("");
    return m->n > 0 ? fmax(-m->min, m->max) : 0;
}

void hl_outliers_add(hl_outliers *o, const double *rows, int64_t n_rows, const double *bins)
{
    if (!o->any) {
        o->all.min = HUGE_VAL;
        o->all.max = -HUGE_VAL;
        o->any = true;
    }
    for (int64_t i = 0; i < n_rows; i++) {
        const double *r = rows + i * FIELDS;
        hl_moments m = {.n = r[0], .n_bad = r[1], .mean = r[2], .m2 = r[3], .m3 = r[4], .m4 = r[5],
                        .min = r[6], .max = r[7]};
        o->n_rows++;
        o->sum_inf += hl_outlier_inf_norm(&m);
        if (!o->has_kurtosis) {
            o->n_kurtosis++;
            o->sum_kurtosis += hl_outlier_kurtosis(&m);
        }
        hl_moments_add(&o->all, &m);
    }
    for (int b = 0; bins && b < HL_MOMENT_BINS; b++)
        o->bins[b] += bins[b];
}

double hl_outliers_inf_norm(const hl_outliers *o)
{
    return o->n_rows > 0 ? o->sum_inf / o->n_rows : nan("");
}

double hl_outliers_kurtosis(const hl_outliers *o)
{
    return o->n_kurtosis > 0 ? o->sum_kurtosis / o->n_kurtosis : nan("");
}
