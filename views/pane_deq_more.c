/* Equilibrium layers: how many evaluations a recorded batch needed, its numbers beside those of
 * other runs, and the residual over training. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"
#include "views/widgets/number.h"
#include "views/widgets/tally.h"

/* ---- evaluations to the tolerance ---- */

static double percent(const hl_evaluations *e)
{
    return e->n_samples ? 100.0 * (double)e->n_not / (double)e->n_samples : 0;
}

static void evaluations_title(hl_screen *s, char *buf, size_t n)
{
    hl_solve_shown shown[HL_SHOWN_MAX];
    char tol[HL_NUMBER_MAX];
    if (hl_solves_shown(s, shown) > 0 && s->look.solve_inside)
        snprintf(buf, n, "state");
    else if (hl_solves_shown(s, shown) > 0)
        snprintf(buf, n, "evaluations to %s",
                 s->layout.pane[HL_PANE_EVALUATIONS].w >= 28 ? hl_format_value(tol, shown[0].tol)
                                                             : "tol");
}

/* What ended the samples, where it is recorded; rows used. */
static int put_endings(const hl_screen *s, hl_canvas c, int y, const hl_solve_shown *x)
{
    static const char *const names[] = {"max_iter", "tol", "diverged"};
    enum { N = sizeof names / sizeof names[0] };
    const hl_solved *e = s->look.solve_kind.backward ? NULL : hl_solves_of_batch(s, x, "deq/ended");
    size_t n[N] = {0};
    int at = 0;
    for (size_t i = 0; e && i < e->curve.rows * e->curve.cols; i++)
        for (int k = 0; k < N; k++)
            n[k] += e->curve.v[i] == (float)k;
    for (int k = 1; e && k <= N; k++)
        if (n[k % N])
            at += hl_putf(c, at, y, HL_STYLE(DIM), "%s%s %zu", at ? "  " : "ended by ",
                          names[k % N], n[k % N]);
    return e != NULL;
}

static void evaluations_draw(hl_screen *s, hl_canvas c, bool focused)
{
    hl_solve_shown shown[HL_SHOWN_MAX];
    (void)focused;
    if (hl_solves_shown(s, shown) == 0)
        return;
    if (s->look.solve_inside) {
        hl_solves_draw_state(s, c);
        return;
    }
    const hl_evaluations e = shown[0].at->evaluations;
    const hl_tally t = {.count = shown[0].at->count,
                        .n = shown[0].at->curve.rows,
                        .role = hl_color_style(shown[0].of.color).role};
    int head = c.r.h >= 4;
    if (head) {
        const int x = hl_putf(c, 0, 0, HL_STYLE(DIM), "n %zu  ", e.n_samples);
        hl_putf(c, x, 0, e.n_not ? HL_STYLE(BAD) : HL_STYLE(DIM), "not conv. %zu", e.n_not);
        head += c.r.h >= 7 ? put_endings(s, c, 1, &shown[0]) : 0;
    }
    hl_tally_draw(hl_canvas_part(c, 0, head, c.r.w, c.r.h - head), &t);
}

const hl_pane_class hl_pane_evaluations = {.framed = true,
                                           .focusable = true,
                                           .title = evaluations_title,
                                           .draw = evaluations_draw,
                                           .act = hl_solves_act};

/* ---- numbers ---- */

typedef struct column {
    const char *name, *series; /* NULL: of the recorded batch itself */
    int w;
} column;

enum { MEDIAN, P90, MAX, NOT_CONVERGED, AT_END, CALLS, FALLBACK, TIME, MS, RADIUS, N_COLUMNS };

static const column columns[N_COLUMNS] = {
    {"median", NULL, 7},
    {"p90", NULL, 5},
    {"max", NULL, 5},
    {"not conv", NULL, 9},
    {"residual", NULL, 10},
    {"calls", "deq/calls", 6},
    {"fallback", "deq/fallback", 9},
    {"time", "deq/time", 6},
    {"ms", "deq/solve_ms", 7},
    {"radius", "deq/spectral_radius", 8},
};

/* Of a series at the step of the batch, or the newest value when that is the newest batch. */
static bool value_at(const hl_screen *s, const hl_solve_shown *x, const char *series, double *v)
{
    const hl_data *d = hl_solves_series(s, x->of.run, x->layer, series);
    double step;
    if (!d || !d->points || hl_pyramid_n(d->points) == 0)
        return false;
    if (s->solve_step < 0)
        return hl_pyramid_last(d->points, &step, v);
    *v = hl_pyramid_y(d->points, hl_pyramid_nearest(d->points, (double)x->at->step));
    return true;
}

static double last_median(const hl_solved *x)
{
    return x->n_made ? (double)x->quantile[HL_QUANTILE_MEDIAN * x->curve.rows + x->n_made - 1]
                     : (double)NAN;
}

/* The text of a column; false: it is not known. */
static bool number_of(const hl_screen *s, const hl_solve_shown *x, int which,
                      char text[HL_NUMBER_MAX])
{
    const hl_evaluations *e = &x->at->evaluations;
    double v = 0;
    switch (which) {
    case MEDIAN:
        snprintf(text, HL_NUMBER_MAX, "%zu", e->median);
        return true;
    case P90:
        snprintf(text, HL_NUMBER_MAX, "%zu", e->p90);
        return true;
    case MAX:
        snprintf(text, HL_NUMBER_MAX, "%zu", e->max);
        return true;
    case NOT_CONVERGED:
        snprintf(text, HL_NUMBER_MAX, "%.1f %%", percent(e));
        return true;
    case AT_END:
        v = last_median(x->at);
        hl_format_value(text, v);
        return !isnan(v);
    default:
        break;
    }
    const bool backward = s->look.solve_kind.backward;
    if (which == RADIUS) {
        const hl_solved *r = hl_solves_of_batch(s, x, columns[which].series);
        v = r ? last_median(r) : (double)NAN;
        hl_format_value(text, v);
        return !isnan(v);
    }
    if (backward && which != MS) /* these are of forward solves */
        return false;
    bool known = value_at(s, x, backward ? "deq/backward_ms" : columns[which].series, &v);
    if (!known && which == TIME && value_at(s, x, "deq/iterations", &v)) {
        v *= 1 - hl_solves_damping(x->of.run->config, x->of.run->knobs);
        known = true;
    }
    hl_format_value(text, v);
    return known;
}

/* Columns for which there is room beside a name. */
static int columns_in(int w)
{
    enum { NAME_W = 12 };
    int n = 0, used = NAME_W;
    while (n < N_COLUMNS && (n <= TIME || used + columns[n].w < w))
        used += columns[n++].w;
    return n;
}

static void put_row(const hl_screen *s, hl_canvas c, int y, int name_w, const hl_solve_shown *x,
                    bool layer)
{
    const hl_style color = hl_color_style(x->of.color);
    const int n_columns = columns_in(c.r.w);
    int at = name_w;
    hl_put_char(c, 1, y, color, (unsigned char)hl_color_letter(x->of.color));
    hl_put_cut(c, 3, y, name_w - 4, color, layer && x->layer[0] ? x->layer : x->of.row->name);
    for (int k = 0; k < n_columns; k++) {
        char text[HL_NUMBER_MAX];
        const bool known = number_of(s, x, k, text);
        at += columns[k].w;
        hl_put_right(c, at, y,
                     k == NOT_CONVERGED && x->at->evaluations.n_not ? HL_STYLE(BAD)
                                                                    : HL_STYLE(TEXT),
                     known                  ? text
                     : hl_has_signs(c.grid) ? "\xe2\x80\x93"
                                            : "-");
    }
}

/* The newest values with their histories, two or three in a line. */
static void put_traces(hl_screen *s, hl_canvas c, const char *layer)
{
    static const struct {
        const char *name, *series;
    } traces[] = {{"iterations", "deq/iterations"}, {"not conv", "deq/not_converged"},
                  {"residual", "deq/residual"},     {"calls", "deq/calls"},
                  {"fallback", "deq/fallback"},     {"time", "deq/time"}};
    enum { N = sizeof traces / sizeof traces[0], EACH_W = 39 };
    const hl_watched *w = hl_screen_run(s);
    const int each = c.r.w / EACH_W > 0 ? c.r.w / EACH_W : 1;
    for (int i = 0; i < N; i++) {
        const int x = i % each * (c.r.w / each), y = i / each;
        hl_screen_put_trace(hl_canvas_part(c, x, y, c.r.w / each, 1), 1, traces[i].name,
                            hl_solves_series(s, w, layer, traces[i].series));
    }
}

/* One number per line, for the smallest terminals. */
static void put_lines(const hl_screen *s, hl_canvas c, const hl_solve_shown *x)
{
    static const int order[N_COLUMNS] = {MEDIAN, NOT_CONVERGED, AT_END,   P90, MAX,
                                         CALLS,  TIME,          FALLBACK, MS,  RADIUS};
    for (int i = 0; i < N_COLUMNS && i < c.r.h; i++) {
        char text[HL_NUMBER_MAX];
        const bool known = number_of(s, x, order[i], text);
        const int used = hl_put(c, 0, i, HL_STYLE(DIM), columns[order[i]].name) + 1;
        hl_put(c, used, i, HL_STYLE(TEXT),
               known                  ? text
               : hl_has_signs(c.grid) ? "\xe2\x80\x93"
                                      : "-");
    }
}

static void solves_draw(hl_screen *s, hl_canvas c, bool focused)
{
    hl_solve_shown shown[HL_SHOWN_MAX];
    int columns_w = 0, y = 0;
    (void)focused;
    const int n = hl_solves_shown(s, shown);
    if (n == 0)
        return;
    const int n_columns = columns_in(c.r.w);
    for (int k = 0; k < n_columns; k++)
        columns_w += columns[k].w;
    int name_w = c.r.w - columns_w - 1;
    if (name_w < 4 || s->layout.size == HL_SIZE_MINIMAL) {
        put_lines(s, c, &shown[0]);
        return;
    }
    name_w = name_w > 30 ? 30 : name_w;
    int at = name_w;
    for (int k = 0; k < n_columns; k++) {
        at += columns[k].w;
        hl_put_right(c, at, y, HL_STYLE(DIM), columns[k].name);
    }
    for (y = 1; y <= n; y++)
        put_row(s, c, y, name_w, &shown[y - 1], y > 1 && shown[y - 1].of.row == shown[0].of.row);
    put_traces(s, hl_canvas_part(c, 0, y, c.r.w, c.r.h - y), shown[0].layer);
}

static void solves_title(hl_screen *s, char *buf, size_t n)
{
    hl_solve_shown shown[HL_SHOWN_MAX];
    if (hl_solves_shown(s, shown) == 0)
        return;
    const hl_evaluations e = shown[0].at->evaluations;
    char rule[HL_SOLVES_RULE_MAX];
    if (s->layout.frames && s->layout.pane[HL_PANE_SOLVES].h > 1)
        snprintf(buf, n, "%s solves: evaluations of the batch  %s",
                 s->look.solve_eval ? "eval" : "train",
                 hl_solves_rule(shown[0].of.run->config, shown[0].of.run->knobs, rule));
    else
        snprintf(buf, n, "median %zu  p90 %zu  not conv %.1f %%", e.median, e.p90, percent(&e));
}

const hl_pane_class hl_pane_solves = {.framed = true,
                                      .focusable = true,
                                      .title = solves_title,
                                      .draw = solves_draw,
                                      .act = hl_solves_act};

/* ---- over training ---- */

enum { HEAT_ROWS_MAX = 64 };

typedef struct strip {
    hl_heat_row row[HEAT_ROWS_MAX];
    hl_pyramid *points[HEAT_ROWS_MAX];
    char label[HEAT_ROWS_MAX][24];
    int n;
} strip;

static const hl_solves *strip_solves(hl_screen *s)
{
    const hl_solves *k = hl_solves_looked_at(s, hl_screen_run(s));
    return k && k->medians.n > 0 ? k : NULL;
}

/* The evaluations in so many rows at most, each the largest median of several. */
static void make_strip(const hl_solves *k, int rows, strip *out)
{
    size_t n = 1;
    for (size_t i = 0; i < k->medians.n; i++) {
        const hl_solve_medians *m = &k->medians.at[i];
        n = m->n * m->each > n ? m->n * m->each : n;
    }
    rows = rows < 1 ? 1 : rows > HEAT_ROWS_MAX ? HEAT_ROWS_MAX : rows;
    const size_t each = (n + (size_t)rows - 1) / (size_t)rows;
    out->n = (int)((n + each - 1) / each);
    for (int r = 0; r < out->n; r++) {
        const size_t first = (size_t)r * each + 1, last = first + each - 1;
        if (each > 1)
            snprintf(out->label[r], sizeof out->label[r], "%zu-%zu", first, last < n ? last : n);
        else
            snprintf(out->label[r], sizeof out->label[r], "%zu", first);
        out->points[r] = hl_pyramid_new();
        out->row[r] = (hl_heat_row){.label = out->label[r], .data = out->points[r]};
    }
    for (size_t i = 0; i < k->medians.n; i++) {
        const hl_solve_medians *m = &k->medians.at[i];
        for (size_t e = 0; e < m->n;) {
            const size_t r = e * m->each / each;
            float v = m->v[e];
            for (; e < m->n && e * m->each / each == r; e++)
                v = fmaxf(v, m->v[e]);
            if (out->points[r])
                HL_IGNORE(hl_pyramid_push(out->points[r], (double)m->step, (double)v));
        }
    }
}

static void heat_title(hl_screen *s, char *buf, size_t n)
{
    const hl_solves *k = strip_solves(s);
    if (k)
        snprintf(buf, n, "median residual: evaluation by step  %s  shade: log10  %zu batches%s",
                 s->look.solve_eval ? "eval" : "train", k->medians.n,
                 k->stride > 1 ? " of more" : "");
}

static void heat_draw(hl_screen *s, hl_canvas c, bool focused)
{
    enum { AROUND = 2 };
    strip t = {.n = 0};
    hl_heat *h = &s->solve_heat;
    const hl_solves *k = strip_solves(s);
    (void)focused;
    if (!k)
        return;
    make_strip(k, c.r.h - AROUND, &t);
    const uint64_t of = hl_hash_str(HL_HASH_START + s->look.solve_eval, s->selected);
    if (of != s->solve_heat_of)
        *h = (hl_heat){0};
    s->solve_heat_of = of;
    h->row = t.row;
    h->n_rows = t.n;
    h->cursor_row = -1;
    h->has_cursor_x = s->solve_step >= 0;
    h->cursor_x = (double)s->solve_step;
    hl_heat_draw(c, h);
    h->row = NULL;
    for (int r = 0; r < t.n; r++)
        hl_pyramid_free(t.points[r]);
}

static void heat_click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    (void)y;
    const double step = hl_heat_x_at(&s->solve_heat, x);
    const hl_solves *k = hl_solves_looked_at(s, hl_screen_run(s));
    if (what == HL_MOUSE_PRESS && isfinite(step) && k)
        hl_solves_look_at(s, hl_solves_find(k, (int64_t)fmax(step, 0)));
}

const hl_pane_class hl_pane_solve_heat = {.framed = true,
                                          .focusable = true,
                                          .title = heat_title,
                                          .draw = heat_draw,
                                          .act = hl_solves_act,
                                          .click = heat_click};
