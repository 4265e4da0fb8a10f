/* Series: split, scaled, and given out in windows (stanhop.md 7.2). */
#include "data/series/series.h"

#include <math.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/thread.h"

struct hl_series {
    hl_series_facts info;
    hl_table table; /* its numbers are given up once they are scaled */
    double *scale;  /* mean and then std, [n_channels] each */
    float *at;      /* [rows of the parts, n_channels], scaled; 0: missing */
    uint8_t *seen;  /* likewise, 1: there is a value; NULL: all have one */
    hl_flag n_refs;
};

const char *hl_series_part_name(hl_series_part part)
{
    static const char *const names[HL_SERIES_PARTS] = {"training", "validation", "test"};
    return names[part];
}

hl_series_params hl_series_params_default(void)
{
    return (hl_series_params){.split = {0.7, 0.1, 0.2}, .in_len = 96, .out_len = 24};
}

hl_series *hl_series_ref(hl_series *s)
{
    hl_flag_add(&s->n_refs, 1);
    return s;
}

void hl_series_unref(hl_series *s)
{
    if (!s || hl_flag_add(&s->n_refs, -1) > 0)
        return;
    hl_table_done(&s->table);
    hl_free(s->scale);
    hl_free(s->at);
    hl_free(s->seen);
    hl_free(s);
}

const hl_series_facts *hl_series_get_facts(const hl_series *s)
{
    return &s->info;
}

double hl_series_unscale(const hl_series *s, int64_t c, double scaled)
{
    return scaled * s->info.std[c] + s->info.mean[c];
}

/* ---- split ----------------------------------------------------------------------------------- */

static hl_status split_by_count(const double split[HL_SERIES_PARTS], int64_t n_rows,
                                const char *label, int64_t n[HL_SERIES_PARTS])
{
    double sum = 0;
    for (int p = 0; p < HL_SERIES_PARTS; p++) {
        if (!(split[p] >= 1) || split[p] != floor(split[p]))
            return hl_err_set(HL_E_ARG,
                              "a split by rows needs three whole numbers above 0, not %g, %g, %g",
                              split[0], split[1], split[2]);
        sum += split[p];
    }
    if (sum > (double)n_rows)
        return hl_err_set(HL_E_ARG, "%s has %lld rows; the split %.0f, %.0f, %.0f asks for %.0f",
                          label, (long long)n_rows, split[0], split[1], split[2], sum);
    for (int p = 0; p < HL_SERIES_PARTS; p++)
        n[p] = (int64_t)split[p];
    return HL_OK;
}

static hl_status split_by_share(const double split[HL_SERIES_PARTS], int64_t n_rows,
                                int64_t n[HL_SERIES_PARTS])
{
    const double sum = split[0] + split[1] + split[2];
    bool is_fine = fabs(sum - 1) < 1e-6;
    for (int p = 0; p < HL_SERIES_PARTS; p++)
        is_fine = is_fine && split[p] > 0 && split[p] < 1;
    if (!is_fine)
        return hl_err_set(HL_E_ARG,
                          "a split by shares needs three numbers above 0 that add up to 1, not %g, "
                          "%g, %g; by rows, whole numbers",
                          split[0], split[1], split[2]);
    n[HL_SERIES_TRAIN] = (int64_t)((double)n_rows * split[HL_SERIES_TRAIN]);
    n[HL_SERIES_TEST] = (int64_t)((double)n_rows * split[HL_SERIES_TEST]);
    n[HL_SERIES_VAL] = n_rows - n[HL_SERIES_TRAIN] - n[HL_SERIES_TEST];
    return HL_OK;
}

static hl_status check_part(const hl_series_facts *i, hl_series_part part, int64_t own)
{
    if (i->part[part].first >= 0 && i->part[part].n_windows >= 1)
        return HL_OK;
    return hl_err_set(HL_E_ARG,
                      "%s: the %s part has %lld rows%s; a window needs %lld + %lld: make in_len or "
                      "out_len shorter, or the part longer (split)",
                      i->label, hl_series_part_name(part), (long long)own,
                      part == HL_SERIES_TRAIN ? "" : " and the history before it",
                      (long long)i->in_len, (long long)i->out_len);
}

static hl_status split_rows(const hl_series_params *p, hl_series_facts *i)
{
    int64_t own[HL_SERIES_PARTS], at = 0;
    const bool by_count = p->split[0] > 1;
    if (p->in_len < 1 || p->out_len < 1 || p->period < 0)
        return hl_err_set(HL_E_ARG,
                          "in_len %lld and out_len %lld must be 1 or more, period %lld "
                          "0 or more",
                          (long long)p->in_len, (long long)p->out_len, (long long)p->period);
    hl_status st = by_count ? split_by_count(p->split, i->n_rows, i->label, own)
                            : split_by_share(p->split, i->n_rows, own);
    for (int k = 0; st == HL_OK && k < HL_SERIES_PARTS; k++) {
        i->part[k].first = k == HL_SERIES_TRAIN ? 0 : at - p->in_len;
        at += own[k];
        i->part[k].end = at;
        i->part[k].n_windows = at - i->part[k].first - p->in_len - p->out_len + 1;
        st = check_part(i, (hl_series_part)k, own[k]);
    }
    return st;
}

/* ---- scale ----------------------------------------------------------------------------------- */

typedef struct sums {
    int64_t n;
    double sum, min, max;
} sums;

static double squares_about(const hl_table *t, int64_t n_rows, int64_t c, double mean)
{
    double sum = 0;
    for (int64_t r = 0; r < n_rows; r++) {
        const double v = t->at[r * t->n_columns + c];
        sum += isnan(v) ? 0 : (v - mean) * (v - mean);
    }
    return sum;
}

static hl_status scale_channel(hl_series *s, int64_t c)
{
    const hl_table *t = &s->table;
    const int64_t n_rows = s->info.part[HL_SERIES_TRAIN].end;
    sums k = {.min = INFINITY, .max = -INFINITY};
    for (int64_t r = 0; r < n_rows; r++) {
        const double v = t->at[r * t->n_columns + c];
        if (isnan(v))
            continue;
        k.n++;
        k.sum += v;
        k.min = fmin(k.min, v);
        k.max = fmax(k.max, v);
    }
    if (k.n == 0)
        return hl_err_set(HL_E_ARG, "%s: channel '%.60s' has no value in the %lld training rows",
                          s->info.label, t->names[c], (long long)n_rows);
    const bool is_constant = k.min == k.max;
    double *mean = &s->scale[c], *std = &s->scale[t->n_columns + c];
    *mean = is_constant ? k.min : k.sum / (double)k.n;
    *std = is_constant ? 1 : sqrt(squares_about(t, n_rows, c, *mean) / (double)k.n);
    if (!isfinite(*mean) || !isfinite(*std) || !(*std > 0))
        return hl_err_set(HL_E_ARG,
                          "%s: channel '%.60s' reaches from %g to %g: too far for a scale",
                          s->info.label, t->names[c], k.min, k.max);
    if (is_constant) {
        s->info.n_constant++;
        hl_log(HL_LOG_WARN,
               "%s: channel '%.60s' is %g in all training rows; its deviation is "
               "taken as 1",
               s->info.label, t->names[c], k.min);
    }
    return HL_OK;
}

static hl_status missing(const hl_series *s, int64_t row, int64_t c)
{
    return hl_err_set(HL_E_ARG,
                      "%s: row %lld has no value of channel '%.60s', and %lld cells in all have "
                      "none; missing = \"mask\" trains on the others",
                      s->info.label, (long long)row + 1, s->table.names[c],
                      (long long)s->table.n_missing);
}

static hl_status scale_rows(hl_series *s, int64_t n_rows)
{
    const int64_t n = s->info.n_channels;
    const double *mean = s->scale, *std = s->scale + n;
    for (int64_t i = 0; i < n_rows * n; i++) {
        const int64_t c = i % n;
        const double v = s->table.at[i];
        if (isnan(v) && !s->info.masks)
            return missing(s, i / n, c);
        const float scaled = (float)((v - mean[c]) / std[c]);
        if (isinf(scaled))
            return hl_err_set(HL_E_ARG,
                              "%s: row %lld, channel '%.60s' is %g, too far from its mean of %g",
                              s->info.label, (long long)(i / n) + 1, s->table.names[c], v, mean[c]);
        s->at[i] = isnan(v) ? 0 : scaled;
        s->info.n_missing += isnan(v);
        if (s->seen)
            s->seen[i] = !isnan(v);
    }
    return HL_OK;
}

static void hash_series(hl_series *s, int64_t n_rows)
{
    hl_series_facts *i = &s->info;
    const int64_t sizes[] = {n_rows,         i->n_channels,  i->in_len, i->out_len,
                             i->part[0].end, i->part[1].end, i->masks};
    const size_t n = (size_t)(n_rows * i->n_channels);
    i->hash = hl_hash_bytes(HL_HASH_START, sizes, sizeof sizes);
    i->hash = hl_hash_bytes(i->hash, s->at, n * sizeof *s->at);
    if (s->seen)
        i->hash = hl_hash_bytes(i->hash, s->seen, n);
}

/* ---- making ---------------------------------------------------------------------------------- */

static hl_status scale_all(hl_series *s)
{
    hl_status st = HL_OK;
    hl_series_facts *i = &s->info;
    const int64_t n_rows = i->part[HL_SERIES_TEST].end;
    const size_t n = (size_t)(n_rows * i->n_channels);
    s->scale = hl_alloc_zero((size_t)i->n_channels, 2 * sizeof *s->scale);
    s->at = hl_alloc_zero(n, sizeof *s->at);
    s->seen = i->masks ? hl_alloc_zero(n, 1) : NULL;
    if (!s->scale || !s->at || (i->masks && !s->seen))
        return HL_E_NOMEM;
    for (int64_t c = 0; c < i->n_channels; c++)
        HL_TRY(scale_channel(s, c));
    HL_TRY(scale_rows(s, n_rows));
    i->mean = s->scale;
    i->std = s->scale + i->n_channels;
    i->mem_bytes = (int64_t)(n * (sizeof *s->at + (s->seen != NULL)));
    hash_series(s, n_rows);
    hl_free(s->table.at);
    s->table.at = NULL;
out:
    return st;
}

hl_status hl_series_new(hl_table *table, const hl_series_params *p, hl_series **out)
{
    hl_status st = HL_OK;
    hl_series *s = hl_alloc_zero(1, sizeof *s);
    if (!s) {
        hl_table_done(table);
        return HL_E_NOMEM;
    }
    hl_flag_set(&s->n_refs, 1);
    s->table = *table;
    *table = (hl_table){0};
    s->info = (hl_series_facts){.label = s->table.label,
                                .is_generated = s->table.is_generated,
                                .masks = p->masks,
                                .n_rows = s->table.n_rows,
                                .n_channels = s->table.n_columns,
                                .names = (const char *const *)s->table.names,
                                .in_len = p->in_len,
                                .out_len = p->out_len,
                                .period = p->period};
    HL_TRY(split_rows(p, &s->info));
    HL_TRY(scale_all(s));
    *out = s;
    s = NULL;
out:
    hl_series_unref(s);
    return st;
}

/* ---- windows --------------------------------------------------------------------------------- */

hl_status hl_series_gather(const hl_series *s, hl_series_part part, const int64_t *windows,
                           int64_t batch_size, const hl_series_batch *to)
{
    const hl_series_facts *i = &s->info;
    const int64_t n_x = i->in_len * i->n_channels, n_y = i->out_len * i->n_channels;
    for (int64_t b = 0; b < batch_size; b++)
        if (windows[b] < 0 || windows[b] >= i->part[part].n_windows)
            return hl_err_set(HL_E_ARG,
                              "%s: window %lld is out of range; the %s part has %lld, from 0",
                              i->label, (long long)windows[b], hl_series_part_name(part),
                              (long long)i->part[part].n_windows);
    for (int64_t b = 0; b < batch_size; b++) {
        const int64_t from = (i->part[part].first + windows[b]) * i->n_channels;
        memcpy(to->x + b * n_x, s->at + from, (size_t)n_x * sizeof *s->at);
        memcpy(to->y + b * n_y, s->at + from + n_x, (size_t)n_y * sizeof *s->at);
        for (int64_t k = 0; to->seen && k < n_y; k++)
            to->seen[b * n_y + k] = s->seen ? (float)s->seen[from + n_x + k] : 1.0f;
    }
    return HL_OK;
}

/* Stream 2: 0 orders the blocks of texts, 1 images. */
void hl_series_shuffle(const hl_series *s, uint64_t seed, int64_t epoch, uint32_t *order)
{
    hl_rng rng = hl_rng_make(seed, HL_RNG_SHUFFLE, 2, (uint32_t)epoch);
    hl_rng_permute(&rng, (uint32_t)s->info.part[HL_SERIES_TRAIN].n_windows, order);
}
