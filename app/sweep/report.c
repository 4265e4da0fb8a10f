/* The results of a sweep: what the runs' result tables say, seeds folded. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/store/horizons.h"
#include "app/sweep/sweep.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

enum { METRICS_MAX = 64, CELL_MAX = 40 };

/* Numbers of a result that tell about the run, not about the model; and details that a table for
 * people leaves out unless they are asked for. */
static const char *const bookkeeping[] = {"step",      "tokens",        "train_seconds",
                                          "skipped",   "planned_bytes", "peak_bytes",
                                          "eval_step", "samples",       "windows"};
static const char *const details[] = {"eval_loss_token",     "max_ffn_inf_norm",
                                      "max_layer_inf_norm",  "max_kurtosis",
                                      "max_kurtosis_layers", "step_seconds",
                                      "eval/rmse",           "eval/mape",
                                      "eval/mspe",           "eval/batch_loss",
                                      "test/rmse",           "test/mape",
                                      "test/mspe",           "test/batch_loss"};

typedef struct row {
    const hl_trial *first; /* its values are the row's, but for the seed */
    char *key;
    size_t n; /* finished trials */
} row;

typedef struct fold {
    HL_VEC(row) rows;
    size_t *row_of; /* per trial */
    const char *metrics[METRICS_MAX];
    size_t n_metrics;
} fold;

static bool is_among(const char *word, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, list[i]) == 0)
            return true;
    return false;
}

#define IS_AMONG(word, list) is_among((word), (list), sizeof(list) / sizeof *(list))

static const hl_json *result_of(const hl_trial *t)
{
    return t->state == HL_TRIAL_DONE && t->run ? hl_json_get(hl_run_tables(t->run), "result")
                                               : NULL;
}

static bool is_metric(const hl_json *member)
{
    return hl_json_key(member) && hl_json_is_number(member) &&
           !IS_AMONG(hl_json_key(member), bookkeeping);
}

/* Numbers that a model gives beside its loss lie one level deeper. */
static const hl_json *model_numbers(const hl_json *result)
{
    return hl_json_get(result, "metrics");
}

static const hl_json *number_of(const hl_json *result, const char *metric)
{
    const hl_json *v = hl_json_get(result, metric);
    return v ? v : hl_json_get(model_numbers(result), metric);
}

/* Shown unless columns are asked for by name. */
static bool is_main(const char *metric)
{
    return !IS_AMONG(metric, details) && strncmp(metric, "train/", 6) != 0;
}

static bool is_seed(const hl_json *value)
{
    return strcmp(hl_json_str(hl_json_at(value, 0), ""), "seed") == 0;
}

/* ---- folding ---- */

static char *row_key(const hl_trial *t)
{
    hl_str b = {0};
    for (const hl_json *v = hl_json_at(t->values, 0); v; v = hl_json_next(v))
        if (!is_seed(v))
            hl_str_addf(&b, "%s=%s\n", hl_json_str(hl_json_at(v, 0), ""),
                        hl_json_str(hl_json_at(v, 1), ""));
    char *key = hl_str_status(&b) == HL_OK ? hl_strdup(hl_str_text(&b)) : NULL;
    hl_str_done(&b);
    return key;
}

static hl_status put_trial(fold *f, const hl_trial *t, size_t *at)
{
    char *key = row_key(t);
    if (!key)
        return HL_E_NOMEM;
    size_t i = 0;
    while (i < f->rows.n && strcmp(f->rows.at[i].key, key) != 0)
        i++;
    if (i == f->rows.n) {
        const row r = {.first = t, .key = key};
        if (hl_vec_push(&f->rows, r) != HL_OK) {
            hl_free(key);
            return HL_E_NOMEM;
        }
    } else {
        hl_free(key);
    }
    f->rows.at[i].n += t->state == HL_TRIAL_DONE;
    *at = i;
    return HL_OK;
}

static void put_metrics(fold *f, const hl_json *numbers)
{
    for (const hl_json *m = hl_json_at(numbers, 0); m; m = hl_json_next(m))
        if (is_metric(m) && f->n_metrics < METRICS_MAX &&
            !is_among(hl_json_key(m), f->metrics, f->n_metrics))
            f->metrics[f->n_metrics++] = hl_json_key(m);
}

static void fold_done(fold *f)
{
    for (size_t i = 0; i < f->rows.n; i++)
        hl_free(f->rows.at[i].key);
    hl_vec_done(&f->rows);
    hl_free(f->row_of);
}

static hl_status fold_init(fold *f, const hl_sweep *s)
{
    *f = (fold){.row_of = hl_alloc_zero(s->n + 1, sizeof *f->row_of)};
    hl_status st = f->row_of ? HL_OK : HL_E_NOMEM;
    for (size_t i = 0; i < s->n && st == HL_OK; i++) {
        st = put_trial(f, &s->trials[i], &f->row_of[i]);
        put_metrics(f, result_of(&s->trials[i]));
        put_metrics(f, model_numbers(result_of(&s->trials[i])));
    }
    return st;
}

typedef struct stat {
    size_t n;
    double mean, std; /* std: of the sample; NAN for fewer than two */
} stat;

static stat stat_of(const fold *f, const hl_sweep *s, size_t row_index, const char *metric)
{
    stat a = {.mean = (double)NAN, .std = (double)NAN};
    double mean = 0, squares = 0;
    for (size_t i = 0; i < s->n; i++) {
        const hl_json *v = number_of(result_of(&s->trials[i]), metric);
        if (f->row_of[i] != row_index || !hl_json_is_number(v))
            continue;
        const double x = hl_json_num(v, 0), d = x - mean; /* Welford */
        a.n++;
        mean += d / (double)a.n;
        squares += d * (x - mean);
    }
    if (a.n)
        a.mean = mean;
    if (a.n > 1)
        a.std = sqrt(squares / (double)(a.n - 1));
    return a;
}

/* ---- by horizon ---- */

/* The finished runs, NULL for other trials. Owned; the runs are not. */
static const hl_run **finished(const hl_sweep *s)
{
    const hl_run **runs = hl_alloc_zero(s->n + 1, sizeof *runs);
    for (size_t i = 0; runs && i < s->n; i++)
        runs[i] = s->trials[i].state == HL_TRIAL_DONE ? s->trials[i].run : NULL;
    return runs;
}

static hl_status add_horizons(const hl_sweep *s, bool as_json, hl_str *out)
{
    const hl_run **runs = finished(s);
    hl_str table = {0};
    hl_status st = !runs     ? HL_E_NOMEM
                   : as_json ? hl_horizons_put(runs, s->n, out)
                             : hl_horizons_text(runs, s->n, &table);
    if (st == HL_OK && table.n)
        hl_str_addf(out, "\n%s", hl_str_text(&table));
    hl_str_done(&table);
    hl_free(runs);
    return st;
}

/* ---- JSON ---- */

static void add_values(hl_str *b, const hl_trial *t, bool with_seed)
{
    hl_json_begin(b, '{');
    for (const hl_json *v = hl_json_at(t->values, 0); v; v = hl_json_next(v)) {
        const char *text = hl_json_str(hl_json_at(v, 1), "");
        double number;
        if (is_seed(v) && !with_seed)
            continue;
        hl_json_add_key(b, hl_json_str(hl_json_at(v, 0), ""));
        if (hl_parse_f64(text, &number) == HL_OK)
            hl_json_add_num(b, number);
        else
            hl_json_add_str(b, text);
    }
    hl_json_end(b, '}');
}

static void add_trial(hl_str *b, const hl_trial *t)
{
    hl_json_begin(b, '{');
    hl_json_put_str(b, "name", t->name);
    hl_json_add_key(b, "run");
    if (t->dir)
        hl_json_add_str(b, hl_fs_base(t->dir));
    else
        hl_json_add_null(b);
    hl_json_put_str(b, "state", hl_trial_state_name(t->state));
    if (t->message[0])
        hl_json_put_str(b, "message", t->message);
    if (t->job[0])
        hl_json_put_str(b, "job", t->job);
    hl_json_add_key(b, "values");
    add_values(b, t, true);
    if (result_of(t)) {
        hl_json_add_key(b, "result");
        hl_json_add_value(b, result_of(t));
    }
    hl_json_end(b, '}');
}

static void add_row(hl_str *b, const fold *f, const hl_sweep *s, size_t i)
{
    hl_json_begin(b, '{');
    hl_json_add_key(b, "values");
    add_values(b, f->rows.at[i].first, false);
    hl_json_put_int(b, "n", (int64_t)f->rows.at[i].n);
    hl_json_add_key(b, "metrics");
    hl_json_begin(b, '{');
    for (size_t m = 0; m < f->n_metrics; m++) {
        const stat a = stat_of(f, s, i, f->metrics[m]);
        if (a.n == 0)
            continue;
        hl_json_add_key(b, f->metrics[m]);
        hl_json_begin(b, '{');
        hl_json_put_num(b, "mean", a.mean);
        hl_json_add_key(b, "std");
        if (a.n > 1)
            hl_json_add_num(b, a.std);
        else
            hl_json_add_null(b);
        hl_json_put_int(b, "n", (int64_t)a.n);
        hl_json_end(b, '}');
    }
    hl_json_end(b, '}');
    hl_json_end(b, '}');
}

hl_status hl_sweep_to_json(const hl_sweep *s, hl_str *out)
{
    fold f;
    hl_status st = fold_init(&f, s);
    if (st == HL_OK) {
        hl_json_begin(out, '{');
        hl_json_put_str(out, "sweep", s->name);
        hl_json_add_key(out, "trials");
        hl_json_begin(out, '[');
        for (size_t i = 0; i < s->n; i++)
            add_trial(out, &s->trials[i]);
        hl_json_end(out, ']');
        hl_json_add_key(out, "rows");
        hl_json_begin(out, '[');
        for (size_t i = 0; i < f.rows.n; i++)
            add_row(out, &f, s, i);
        hl_json_end(out, ']');
        st = add_horizons(s, true, out);
        hl_json_end(out, '}');
        st = st == HL_OK ? hl_str_status(out) : st;
    }
    fold_done(&f);
    return st;
}

/* ---- text ---- */

/* Columns: values by their keys, how many runs, metrics. */
typedef struct columns {
    const char *keys[METRICS_MAX], *metrics[METRICS_MAX];
    size_t n_keys, n_metrics;
} columns;

static void choose_columns(columns *c, const fold *f, const char *const *metrics, size_t n)
{
    *c = (columns){0};
    for (size_t i = 0; i < f->rows.n; i++)
        for (const hl_json *v = hl_json_at(f->rows.at[i].first->values, 0); v;
             v = hl_json_next(v)) {
            const char *key = hl_json_str(hl_json_at(v, 2), "");
            if (!is_seed(v) && c->n_keys < METRICS_MAX && !is_among(key, c->keys, c->n_keys))
                c->keys[c->n_keys++] = key;
        }
    for (size_t i = 0; i < (n ? n : f->n_metrics) && c->n_metrics < METRICS_MAX; i++) {
        const char *metric = n ? metrics[i] : f->metrics[i];
        if (n || is_main(metric))
            c->metrics[c->n_metrics++] = metric;
    }
}

static const char *value_of(const hl_trial *t, const char *key)
{
    for (const hl_json *v = hl_json_at(t->values, 0); v; v = hl_json_next(v))
        if (strcmp(hl_json_str(hl_json_at(v, 2), ""), key) == 0)
            return hl_json_str(hl_json_at(v, 1), "");
    return "-";
}

static void format_stat(char cell[CELL_MAX], stat a)
{
    if (a.n == 0)
        snprintf(cell, CELL_MAX, "-");
    else if (a.n == 1)
        snprintf(cell, CELL_MAX, "%.5g", a.mean);
    else
        snprintf(cell, CELL_MAX, "%.5g (%.2g)", a.mean, a.std);
}

/* Cell of a line; line 0 is the head. */
static const char *cell_at(const columns *c, const fold *f, const hl_sweep *s, size_t line,
                           size_t column, char buf[CELL_MAX])
{
    const row *r = line ? &f->rows.at[line - 1] : NULL;
    if (column < c->n_keys)
        return r ? value_of(r->first, c->keys[column]) : c->keys[column];
    column -= c->n_keys;
    if (column == 0) {
        snprintf(buf, CELL_MAX, "%zu", r ? r->n : 0);
        return r ? buf : "runs";
    }
    if (!r)
        return c->metrics[column - 1];
    format_stat(buf, stat_of(f, s, line - 1, c->metrics[column - 1]));
    return buf;
}

static void put_table(const columns *c, const fold *f, const hl_sweep *s, hl_str *out)
{
    const size_t n_columns = c->n_keys + 1 + c->n_metrics;
    size_t width[2 * METRICS_MAX + 1] = {0};
    char buf[CELL_MAX];
    for (size_t i = 0; i <= f->rows.n; i++)
        for (size_t k = 0; k < n_columns; k++) {
            const size_t n = strlen(cell_at(c, f, s, i, k, buf));
            width[k] = n > width[k] ? n : width[k];
        }
    for (size_t i = 0; i <= f->rows.n; i++) {
        for (size_t k = 0; k < n_columns; k++) { /* words to the left, numbers to the right */
            const int w = (int)width[k];
            hl_str_addf(out, "%s%*s", k ? "  " : "", k < c->n_keys ? -w : w,
                        cell_at(c, f, s, i, k, buf));
        }
        hl_str_addc(out, '\n');
    }
}

hl_status hl_sweep_to_text(const hl_sweep *s, const char *const *metrics, size_t n, hl_str *out)
{
    fold f;
    columns c;
    hl_status st = fold_init(&f, s);
    if (st == HL_OK) {
        choose_columns(&c, &f, metrics, n);
        put_table(&c, &f, s, out);
        st = n ? HL_OK : add_horizons(s, false, out);
        st = st == HL_OK ? hl_str_status(out) : st;
    }
    fold_done(&f);
    return st;
}

hl_status hl_trial_result_text(const hl_trial *t, hl_str *out)
{
    const hl_json *lists[2] = {result_of(t), model_numbers(result_of(t))};
    for (int k = 0; k < 2; k++)
        for (const hl_json *m = hl_json_at(lists[k], 0); m; m = hl_json_next(m))
            if (is_metric(m) && is_main(hl_json_key(m)))
                hl_str_addf(out, "%s%s %.5g", out->n ? "  " : "", hl_json_key(m),
                            hl_json_num(m, 0));
    return hl_str_status(out);
}
