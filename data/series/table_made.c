/* Generated tables: what a forecast can find in them is known. */
#include "data/series/table.h"

#include <math.h>
#include <stdio.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"

#define ROWS_MAX    10000000
#define COLUMNS_MAX 1000
#define LAG         3 /* hours until a column shows in the next */

hl_table_made hl_table_made_default(void)
{
    return (hl_table_made){.n_rows = 4000, .n_columns = 7};
}

/* A column's own; streams of a seed are its columns. */
typedef struct column {
    double level, day, day_phase, week, week_phase, trend, noise, memory, share;
} column;

static column column_of(uint64_t seed, int64_t c)
{
    hl_rng r = hl_rng_make(seed, HL_RNG_SYNTH, 1, (uint32_t)c);
    column k = {.level = 20 * hl_rng_unit(&r) - 5};
    k.day = 1 + 2 * hl_rng_unit(&r);
    k.day_phase = hl_rng_unit(&r);
    k.week = 0.3 + hl_rng_unit(&r);
    k.week_phase = hl_rng_unit(&r);
    k.trend = (hl_rng_unit(&r) - 0.5) * 1e-3; /* an hour */
    k.noise = 0.2 + 0.3 * hl_rng_unit(&r);
    k.memory = 0.5 + 0.4 * hl_rng_unit(&r);
    k.share = c > 0 ? 0.6 * hl_rng_unit(&r) : 0;
    return k;
}

static void fill_column(const hl_table_made *how, int64_t c, double *at)
{
    const double turn = 6.283185307179586;
    const column k = column_of(how->seed, c), before = c > 0 ? column_of(how->seed, c - 1) : k;
    const int64_t n = how->n_columns;
    hl_rng r = hl_rng_make(how->seed, HL_RNG_SYNTH, 2, (uint32_t)c);
    double noise = 0;
    for (int64_t i = 0; i < how->n_rows; i++) {
        const double t = (double)i;
        const int64_t then = i > LAG ? i - LAG : 0;
        const double other = c > 0 ? at[then * n + c - 1] - before.level : 0;
        noise = k.memory * noise + k.noise * hl_rng_normal(&r);
        at[i * n + c] = k.level + k.day * sin(turn * (t / 24 + k.day_phase)) +
                        k.week * sin(turn * (t / 168 + k.week_phase)) + k.trend * t +
                        k.share * other + noise;
    }
}

/* Runs of 1 to 12 missing hours, so that about `gaps` of the cells are. */
static int64_t tear_column(const hl_table_made *how, int64_t c, double *at)
{
    hl_rng r = hl_rng_make(how->seed, HL_RNG_SYNTH, 3, (uint32_t)c);
    int64_t left = 0, n_missing = 0;
    for (int64_t i = 0; i < how->n_rows; i++) {
        if (left == 0 && hl_rng_unit(&r) < how->gaps / 6.5 / (1 - how->gaps))
            left = 1 + hl_rng_below(&r, 12);
        if (left == 0)
            continue;
        left--;
        n_missing++;
        at[i * how->n_columns + c] = nan("");
    }
    return n_missing;
}

static hl_status name_columns(hl_table *t)
{
    t->label = hl_strdup("generated series");
    t->names = hl_alloc_zero((size_t)t->n_columns, sizeof *t->names);
    for (int64_t c = 0; t->names && c < t->n_columns; c++) {
        char name[24];
        snprintf(name, sizeof name, "c%lld", (long long)c);
        t->names[c] = hl_strdup(name);
        if (!t->names[c])
            return HL_E_NOMEM;
    }
    return t->label && t->names ? HL_OK : HL_E_NOMEM;
}

hl_status hl_table_make(const hl_table_made *how, hl_table *out)
{
    hl_status st = HL_OK;
    hl_table t = {
        .n_rows = how->n_rows, .n_columns = how->n_columns, .step_s = 3600, .is_generated = true};
    if (how->n_rows < 1 || how->n_rows > ROWS_MAX || how->n_columns < 1 ||
        how->n_columns > COLUMNS_MAX || !(how->gaps >= 0 && how->gaps <= 0.5))
        return hl_err_set(HL_E_ARG,
                          "a generated series of %lld rows and %lld channels with gaps of %g is "
                          "out of range: up to %d, up to %d, 0 to 0.5",
                          (long long)how->n_rows, (long long)how->n_columns, how->gaps, ROWS_MAX,
                          COLUMNS_MAX);
    HL_TRY(name_columns(&t));
    t.at = hl_alloc_zero((size_t)(t.n_rows * t.n_columns), sizeof *t.at);
    if (!t.at) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (int64_t c = 0; c < t.n_columns; c++)
        fill_column(how, c, t.at);
    for (int64_t c = 0; how->gaps > 0 && c < t.n_columns; c++)
        t.n_missing += tear_column(how, c, t.at);
    *out = t;
    t = (hl_table){0};
out:
    hl_table_done(&t);
    return st;
}
