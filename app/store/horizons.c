#include "app/store/horizons.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/vec.h"

enum { NAME_MAX = 64, CELL_MAX = 40, N_NAIVE = 3, N_MEASURES = 2 };

static const char *const naive_keys[N_NAIVE] = {"seasonal", "repeat_last", "mean"};
static const char *const naive_names[N_NAIVE] = {"season before", "last value", "mean"};
static const char *const measures[N_MEASURES] = {"mse", "mae"};

/* Mean and squares of distances to it, as they come (Welford). */
typedef struct spread {
    double mean, squares;
} spread;

typedef struct cell {
    size_t row, column;
    uint64_t method; /* hl_run_row.method */
    int64_t n;
    spread v[N_MEASURES];
} cell;

typedef struct row {
    char data[NAME_MAX];
    int64_t in_len, out_len;
    bool in_data_units;
    double naive[N_NAIVE][N_MEASURES]; /* NAN: not measured */
} row;

typedef struct named {
    char name[NAME_MAX];
} named;

typedef struct grid {
    HL_VEC(row) rows;
    HL_VEC(named) columns; /* the methods */
    HL_VEC(cell) cells;
    bool has_numbers; /* methods of one name in a row */
} grid;

static void grid_done(grid *g)
{
    hl_vec_done(&g->rows);
    hl_vec_done(&g->columns);
    hl_vec_done(&g->cells);
}

/* ---- a run ---- */

static const hl_json *test_of(const hl_run *run)
{
    return hl_json_get(hl_json_get(hl_run_tables(run), "result"), "test");
}

static const char *text_at(const hl_json *object, const char *key)
{
    return hl_json_str(hl_json_get(object, key), "");
}

/* "ETTh1", or the file's name */
static void data_name(const hl_json *data, char out[NAME_MAX])
{
    const char *file = text_at(data, "file"), *end = strrchr(file, '/');
    snprintf(out, NAME_MAX, "%s", *file ? end ? end + 1 : file : text_at(data, "set"));
}

/* "softmax1", "softmax gated", "dlinear" */
static void method_name(const hl_json *model, char out[NAME_MAX])
{
    const char *kind = text_at(model, "kind"), *mode = text_at(model, "mode"),
               *gate = text_at(model, "gate");
    snprintf(out, NAME_MAX, "%s%s",
             *mode                        ? mode
             : hl_str_starts(kind, "nn.") ? kind + 3
                                          : kind,
             *gate && strcmp(gate, "none") != 0 ? " gated" : "");
    if (!*out)
        snprintf(out, NAME_MAX, "model");
}

static hl_status find_row(grid *g, const hl_run *run, size_t *at)
{
    const hl_json *config = hl_run_config(run), *data = hl_json_get(config, "data"),
                  *naive = hl_json_get(test_of(run), "naive");
    row r = {.in_len = hl_json_int(hl_json_get(data, "in_len"), 0),
             .out_len = hl_json_int(hl_json_get(data, "out_len"), 0),
             .in_data_units =
                 hl_json_bool(hl_json_get(hl_json_get(config, "eval"), "inverse"), false)};
    data_name(data, r.data);
    for (*at = 0; *at < g->rows.n; (*at)++) {
        const row *k = &g->rows.at[*at];
        if (strcmp(k->data, r.data) == 0 && k->in_len == r.in_len && k->out_len == r.out_len &&
            k->in_data_units == r.in_data_units)
            return HL_OK;
    }
    for (int i = 0; i < N_NAIVE; i++)
        for (int m = 0; m < N_MEASURES; m++)
            r.naive[i][m] = hl_json_num_at(hl_json_get(naive, naive_keys[i]), measures[m]);
    return hl_vec_push(&g->rows, r);
}

static hl_status find_column(grid *g, const char *name, size_t *at)
{
    named c;
    for (*at = 0; *at < g->columns.n; (*at)++)
        if (strcmp(g->columns.at[*at].name, name) == 0)
            return HL_OK;
    snprintf(c.name, sizeof c.name, "%s", name);
    return hl_vec_push(&g->columns, c);
}

/* That of the run's method in the row; a further method of a name gets a column "NAME 2". */
static hl_status find_cell(grid *g, const hl_run *run, size_t at_row, cell **out)
{
    hl_status st = HL_OK;
    char base[NAME_MAX - 12], name[NAME_MAX];
    const uint64_t method = hl_run_get_row(run)->method;
    method_name(hl_json_get(hl_run_config(run), "model"), name);
    snprintf(base, sizeof base, "%.*s", (int)sizeof base - 1, name);
    for (int nth = 2;; nth++) {
        size_t at_column, i = 0;
        HL_TRY(find_column(g, name, &at_column));
        while (i < g->cells.n &&
               (g->cells.at[i].row != at_row || g->cells.at[i].column != at_column))
            i++;
        if (i == g->cells.n)
            HL_TRY(hl_vec_push(&g->cells,
                               ((cell){.row = at_row, .column = at_column, .method = method})));
        *out = &g->cells.at[i];
        if (g->cells.at[i].method == method)
            return HL_OK;
        snprintf(name, sizeof name, "%s %d", base, nth);
        g->has_numbers = true;
    }
out:
    return st;
}

static void add(spread *s, double v, int64_t n)
{
    const double d = v - s->mean;
    s->mean += d / (double)n;
    s->squares += d * (v - s->mean);
}

static double deviation(const cell *c, int m)
{
    return c->n > 1 ? sqrt(c->v[m].squares / (double)(c->n - 1)) : (double)NAN;
}

static hl_status grid_init(grid *g, const hl_run *const *runs, size_t n)
{
    hl_status st = HL_OK;
    *g = (grid){0};
    for (size_t i = 0; i < n; i++) {
        const hl_json *test = runs[i] ? test_of(runs[i]) : NULL;
        size_t at_row;
        cell *c;
        if (isnan(hl_json_num_at(test, measures[0])))
            continue;
        HL_TRY(find_row(g, runs[i], &at_row));
        HL_TRY(find_cell(g, runs[i], at_row, &c));
        c->n++;
        for (int m = 0; m < N_MEASURES; m++)
            add(&c->v[m], hl_json_num_at(test, measures[m]), c->n);
    }
out:
    return st;
}

static const cell *cell_at(const grid *g, size_t at_row, size_t at_column)
{
    for (size_t i = 0; i < g->cells.n; i++)
        if (g->cells.at[i].row == at_row && g->cells.at[i].column == at_column)
            return &g->cells.at[i];
    return NULL;
}

/* ---- text ---- */

enum { DATA, HORIZON, MEASURE, HEAD_COLUMNS };

static const char *head_text(size_t column)
{
    static const char *const names[HEAD_COLUMNS] = {"data", "steps", ""};
    return names[column];
}

/* Line 0 is the head; then two of each row. */
static void cell_text(const grid *g, size_t line, size_t k, char buf[CELL_MAX])
{
    const size_t at_row = line ? (line - 1) / N_MEASURES : 0, n = g->columns.n;
    const int m = line ? (int)((line - 1) % N_MEASURES) : 0;
    const row *r = &g->rows.at[at_row];
    const bool is_method = k >= HEAD_COLUMNS && k < HEAD_COLUMNS + n;
    buf[0] = 0;
    if (!line) {
        snprintf(buf, CELL_MAX, "%.39s",
                 k < HEAD_COLUMNS ? head_text(k)
                 : is_method      ? g->columns.at[k - HEAD_COLUMNS].name
                                  : naive_names[k - HEAD_COLUMNS - n]);
    } else if (k == DATA && m == 0) {
        snprintf(buf, CELL_MAX, "%.29s%s", r->data, r->in_data_units ? " (units)" : "");
    } else if (k == HORIZON && m == 0) {
        snprintf(buf, CELL_MAX, "%lld to %lld", (long long)r->in_len, (long long)r->out_len);
    } else if (k == MEASURE) {
        snprintf(buf, CELL_MAX, "%s", m ? "MAE" : "MSE");
    } else if (is_method) {
        const cell *c = cell_at(g, at_row, k - HEAD_COLUMNS);
        if (!c)
            snprintf(buf, CELL_MAX, "-");
        else if (c->n == 1)
            snprintf(buf, CELL_MAX, "%.4g", c->v[m].mean);
        else
            snprintf(buf, CELL_MAX, "%.4g (%.2g, n %lld)", c->v[m].mean, deviation(c, m),
                     (long long)c->n);
    } else if (k >= HEAD_COLUMNS + n) {
        const double v = r->naive[k - HEAD_COLUMNS - n][m];
        snprintf(buf, CELL_MAX, isnan(v) ? "-" : "%.4g", v);
    }
}

static void put_table(const grid *g, hl_str *out)
{
    const size_t n_columns = HEAD_COLUMNS + g->columns.n + N_NAIVE,
                 n_lines = 1 + N_MEASURES * g->rows.n;
    char buf[CELL_MAX];
    size_t width[CELL_MAX] = {0}, shown = n_columns < CELL_MAX ? n_columns : CELL_MAX;
    for (size_t i = 0; i < n_lines; i++)
        for (size_t k = 0; k < shown; k++) {
            cell_text(g, i, k, buf);
            width[k] = strlen(buf) > width[k] ? strlen(buf) : width[k];
        }
    hl_str_add(out, "test part by horizon: mean over seeds (standard deviation)\n");
    for (size_t i = 0; i < n_lines; i++) {
        for (size_t k = 0; k < shown; k++) { /* words to the left, numbers to the right */
            const int w = (int)width[k];
            cell_text(g, i, k, buf);
            hl_str_addf(out, "%s%*s", k ? "  " : "", k < HEAD_COLUMNS ? -w : w, buf);
        }
        hl_str_addc(out, '\n');
    }
    if (g->has_numbers)
        hl_str_add(out,
                   "numbers tell configurations of one name apart, in the order of the runs\n");
}

hl_status hl_horizons_text(const hl_run *const *runs, size_t n, hl_str *out)
{
    grid g;
    hl_status st = grid_init(&g, runs, n);
    if (st == HL_OK && g.rows.n) {
        put_table(&g, out);
        st = hl_str_status(out);
    }
    grid_done(&g);
    return st;
}

/* ---- JSON ---- */

static void put_methods(const grid *g, size_t at_row, hl_str *b)
{
    hl_json_add_key(b, "methods");
    hl_json_begin(b, '{');
    for (size_t k = 0; k < g->columns.n; k++) {
        const cell *c = cell_at(g, at_row, k);
        if (!c)
            continue;
        hl_json_add_key(b, g->columns.at[k].name);
        hl_json_begin(b, '{');
        hl_json_put_int(b, "n", c->n);
        for (int m = 0; m < N_MEASURES; m++) {
            hl_json_add_key(b, measures[m]);
            hl_json_begin(b, '{');
            hl_json_put_num(b, "mean", c->v[m].mean);
            hl_json_add_key(b, "std");
            if (c->n > 1)
                hl_json_add_num(b, deviation(c, m));
            else
                hl_json_add_null(b);
            hl_json_end(b, '}');
        }
        hl_json_end(b, '}');
    }
    hl_json_end(b, '}');
}

static void put_naive(const row *r, hl_str *b)
{
    hl_json_add_key(b, "naive");
    hl_json_begin(b, '{');
    for (int i = 0; i < N_NAIVE; i++) {
        if (isnan(r->naive[i][0]))
            continue;
        hl_json_add_key(b, naive_keys[i]);
        hl_json_begin(b, '{');
        for (int m = 0; m < N_MEASURES; m++)
            hl_json_put_num(b, measures[m], r->naive[i][m]);
        hl_json_end(b, '}');
    }
    hl_json_end(b, '}');
}

hl_status hl_horizons_put(const hl_run *const *runs, size_t n, hl_str *b)
{
    grid g;
    hl_status st = grid_init(&g, runs, n);
    if (st == HL_OK && g.rows.n) {
        hl_json_add_key(b, "horizons");
        hl_json_begin(b, '[');
        for (size_t i = 0; i < g.rows.n; i++) {
            const row *r = &g.rows.at[i];
            hl_json_begin(b, '{');
            hl_json_put_str(b, "data", r->data);
            hl_json_put_int(b, "in_len", r->in_len);
            hl_json_put_int(b, "out_len", r->out_len);
            hl_json_put_str(b, "units", r->in_data_units ? "data" : "standardised");
            put_methods(&g, i, b);
            put_naive(r, b);
            hl_json_end(b, '}');
        }
        hl_json_end(b, ']');
        st = hl_str_status(b);
    }
    grid_done(&g);
    return st;
}
