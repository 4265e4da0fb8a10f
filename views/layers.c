#include "views/layers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- statistics of histograms ---- */

const char *hl_statistic_name(int statistic)
{
    static const char *const names[HL_STATISTICS_SHOWN] = {
        [HL_STAT_INF_NORM] = "infinity norm",
        [HL_STAT_KURTOSIS] = "kurtosis",
        [HL_STAT_P999] = "99.9 % of |x|",
        [HL_STAT_BEYOND] = "share beyond 6 sd",
        [HL_STAT_CLIPPED] = "share clipped by the quantizer",
        [HL_STAT_CHANNELS] = "channels with the top 0.01 %",
    };
    return names[statistic];
}

/* How many numbers of the histogram are at most v. */
static double count_below(const hl_hist *h, double v)
{
    double sum = 0;
    if (v >= h->max)
        return h->num;
    if (v < h->min)
        return 0;
    for (int i = 0; i < HL_HIST_BINS; i++) {
        const double from = fmax(i ? hl_hist_edge(i - 1) : -HUGE_VAL, h->min),
                     to = fmin(hl_hist_edge(i), h->max);
        if (v >= to || !(to > from)) {
            sum += v >= from ? h->bin[i] : 0;
            continue;
        }
        return v > from ? sum + h->bin[i] * (v - from) / (to - from) : sum;
    }
    return sum;
}

static double share_outside(const hl_hist *h, double lo, double hi)
{
    const double inside = count_below(h, hi) - count_below(h, lo);
    return fmax(1 - inside / h->num, 0);
}

/* By halving: numbers further from 0 than it are 0.1 %. */
static double p999(const hl_hist *h)
{
    double lo = 0, hi = fmax(fabs(h->min), fabs(h->max));
    for (int i = 0; i < 60; i++) {
        const double middle = (lo + hi) / 2;
        if (count_below(h, middle) - count_below(h, -middle) < 0.999 * h->num)
            lo = middle;
        else
            hi = middle;
    }
    return hi;
}

double hl_hist_statistic(const hl_hist *h, int statistic, double lo, double hi)
{
    if (!(h->num > 0))
        return (double)NAN;
    const double mean = h->sum / h->num, sd = sqrt(fmax(h->sum_squares / h->num - mean * mean, 0));
    switch (statistic) {
    case HL_STAT_P999:
        return p999(h);
    case HL_STAT_BEYOND:
        return share_outside(h, mean - 6 * sd, mean + 6 * sd);
    default:
        return lo < hi ? share_outside(h, lo, hi) : (double)NAN;
    }
}

/* Made anew when histograms came, or something else is asked for. NULL without memory. */
static const hl_pyramid *hl_data_derived(hl_data *d, int statistic, double lo, double hi)
{
    hl_of_hists *c = &d->of_hists;
    const bool same_grid = c->lo == lo || (isnan(c->lo) && isnan(lo));
    if (c->points && c->statistic == statistic && c->n_hists == d->n_hists && same_grid &&
        (c->hi == hi || isnan(hi)))
        return c->points;
    if (!c->points)
        c->points = hl_pyramid_new();
    if (!c->points)
        return NULL;
    hl_pyramid_clear(c->points);
    c->statistic = statistic;
    c->n_hists = d->n_hists;
    c->lo = lo;
    c->hi = hi;
    for (size_t i = 0; i < d->hists.n; i++)
        if (hl_pyramid_push(c->points, (double)d->hists.at[i].step,
                            hl_hist_statistic(d->hists.at[i].hist, statistic, lo, hi)) != HL_OK)
            break;
    return c->points;
}

/* ---- what there is ---- */

const char *hl_layer_place(const hl_layer *l, char buf[128])
{
    static const char head[] = "outliers/";
    const char *tag = l->data->tag, *end = strrchr(tag, '/');
    const size_t skip = hl_str_starts(tag, head) ? strlen(head) : 0;
    snprintf(buf, 128, "%.*s", end ? (int)(end - tag - (int)skip) : 0, tag + skip);
    return buf;
}

int hl_sites_list(const hl_watched *w, char out[HL_SITES_MAX][64])
{
    int n = 0;
    for (size_t i = 0; i < w->series.n; i++) {
        hl_tap_name tap;
        bool known = false;
        if (!w->series.at[i] || w->series.at[i]->statistic < 0 ||
            !hl_tap_name_from(w->series.at[i]->tag, &tap))
            continue;
        for (int k = 0; k < n; k++)
            known |= strcmp(out[k], tap.site) == 0;
        if (!known && n < HL_SITES_MAX)
            memcpy(out[n++], tap.site, sizeof tap.site);
    }
    return n;
}

bool hl_site_shown(const hl_screen *s, const hl_watched *w, char out[64])
{
    char sites[HL_SITES_MAX][64];
    const int n = hl_sites_list(w, sites);
    int best = 0;
    for (int i = 0; i < n; i++)
        if (strcmp(sites[i], s->look.site) == 0)
            best = i;
        else if (!s->look.site[0] && strcmp(sites[i], "out") == 0)
            best = i;
    if (n)
        memcpy(out, sites[best], 64);
    return n > 0;
}

/* The number in "layer.12"; -1: there is none. */
static int64_t number_in(const char *text)
{
    char digits[20];
    int64_t number;
    text += strcspn(text, "0123456789");
    snprintf(digits, sizeof digits, "%.*s", (int)strspn(text, "0123456789"), text);
    return hl_parse_i64(digits, &number) == HL_OK ? number : -1;
}

/* The second one in "layer.12.7"; -1: there is none. */
static int64_t head_in(const char *text)
{
    text += strcspn(text, "0123456789");
    text += strspn(text, "0123456789");
    return *text == '.' ? number_in(text) : -1;
}

static int by_number(const void *a, const void *b)
{
    const hl_layer *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->head != y->head ? (x->head < y->head ? -1 : 1) : strcmp(x->label, y->label);
}

/* Of a tap's histogram; NULL: none is recorded. */
static const hl_pyramid *derived(const hl_watched *w, const char *tag, int statistic)
{
    hl_layer l = {.data = &(hl_data){.tag = (char *)tag}};
    char place[128], name[160];
    double lo = (double)NAN, hi = (double)NAN;
    snprintf(name, sizeof name, "outliers/%s/%s", hl_layer_place(&l, place),
             statistic == HL_STAT_CHANNELS ? "n_channels" : "hist");
    hl_data *d = hl_watched_series(w, name);
    if (statistic == HL_STAT_CHANNELS)
        return d ? d->points : NULL;
    if (statistic == HL_STAT_CLIPPED && !hl_quants_grid(&w->quants, place, &lo, &hi))
        return NULL;
    return d ? hl_data_derived(d, statistic, lo, hi) : NULL;
}

void hl_layers_list(const hl_watched *w, const char *site, int statistic, hl_layers *out)
{
    const int recorded = statistic < HL_STATISTICS ? statistic : HL_STAT_INF_NORM;
    char place[128];
    out->n = 0;
    for (size_t i = 0; i < w->series.n && out->n < HL_LAYERS_MAX; i++) {
        const hl_data *d = w->series.at[i];
        hl_tap_name tap;
        if (!d || d->statistic != recorded || !hl_tap_name_from(d->tag, &tap) ||
            strcmp(tap.site, site) != 0)
            continue;
        hl_layer *l = &out->at[out->n++];
        *l = (hl_layer){.data = d, .number = number_in(tap.layer), .head = head_in(tap.layer)};
        l->points = statistic == recorded ? d->points : derived(w, d->tag, statistic);
        l->flag = hl_watched_flag(w, hl_layer_place(l, place));
        if (l->head >= 0)
            snprintf(l->label, sizeof l->label, "L%lld.%lld", (long long)l->number,
                     (long long)l->head);
        else if (l->number >= 0)
            snprintf(l->label, sizeof l->label, "L%lld", (long long)l->number);
        else
            snprintf(l->label, sizeof l->label, "%s", *tap.layer ? tap.layer : "-");
    }
    qsort(out->at, (size_t)out->n, sizeof *out->at, by_number);
}

bool hl_layers_shown(hl_screen *s, char site[64], hl_layers *l)
{
    const hl_watched *w = hl_screen_run(s);
    if (!w || !hl_site_shown(s, w, site))
        return false;
    hl_layers_list(w, site, s->look.statistic, l);
    s->layer = s->layer >= l->n ? l->n - 1 : s->layer;
    s->layer = s->layer < 0 ? 0 : s->layer;
    return l->n > 0;
}
