/* Equilibrium layers: which recorded batch is looked at, its residual by evaluation, and the keys
 * of the view. Its other panes are in pane_deq_more.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"
#include "views/widgets/number.h"

/* The y axis: below, single precision has nothing to say; more is shown where the data goes on. */
static const double y_lowest = 1e-8, y_highest = 1;

/* ---- what there is ---- */

static const char *split(const hl_screen *s)
{
    return s->look.solve_eval ? "eval" : "train";
}

hl_data *hl_solves_series(const hl_screen *s, const hl_watched *w, const char *layer,
                          const char *name)
{
    char tag[120];
    snprintf(tag, sizeof tag, "%s/%.*s%s%s", split(s), HL_SOLVE_LAYER_MAX, layer, *layer ? "/" : "",
             name);
    return w ? hl_watched_series(w, tag) : NULL;
}

const hl_solved *hl_solves_of_batch(const hl_screen *s, const hl_solve_shown *x, const char *name)
{
    const hl_data *d = hl_solves_series(s, x->of.run, x->layer, name);
    const int i = d ? hl_solves_find(&d->solves, x->at->step) : -1;
    return i >= 0 && d->solves.kept.at[i].step == x->at->step ? &d->solves.kept.at[i] : NULL;
}

static const char *curve(const hl_screen *s)
{
    const hl_solve_kind k = s->look.solve_kind;
    if (k.backward)
        return k.absolute ? "deq/backward_absolute" : "deq/backward";
    return k.absolute ? "deq/absolute" : "deq/movement";
}

static hl_solves *solves_of(const hl_screen *s, const hl_watched *w, const char *layer)
{
    hl_data *d = hl_solves_series(s, w, layer, curve(s));
    return d && d->solves.kept.n > 0 ? &d->solves : NULL;
}

/* The layers of a run with solves of the kind looked at, beginning with the one looked at. */
static int layers_of(const hl_screen *s, const hl_watched *w,
                     char out[HL_SOLVE_LAYERS_MAX][HL_SOLVE_LAYER_MAX])
{
    char all[HL_SOLVE_LAYERS_MAX][HL_SOLVE_LAYER_MAX];
    const size_t head = strlen(split(s)) + 1;
    int n = 0;
    for (size_t i = 0; w && i < w->series.n && n < HL_SOLVE_LAYERS_MAX; i++) {
        const hl_data *d = w->series.at[i];
        if (!d || !d->solves.kept.n || strncmp(d->tag, split(s), head - 1) != 0 ||
            !hl_str_ends(d->tag, curve(s)))
            continue;
        const size_t len = strlen(d->tag + head) - strlen(curve(s));
        if (len <= HL_SOLVE_LAYER_MAX)
            snprintf(all[n++], HL_SOLVE_LAYER_MAX, "%.*s", len ? (int)len - 1 : 0, d->tag + head);
    }
    for (int i = 0; i < n; i++)
        memcpy(out[i], all[(i + s->look.solve_layer) % n], HL_SOLVE_LAYER_MAX);
    return n;
}

hl_solves *hl_solves_looked_at(const hl_screen *s, const hl_watched *w)
{
    char layer[HL_SOLVE_LAYERS_MAX][HL_SOLVE_LAYER_MAX];
    return layers_of(s, w, layer) ? solves_of(s, w, layer[0]) : NULL;
}

/* The batch of a layer at this step; false: it has none. */
static bool add_layer(const hl_screen *s, const hl_shown *of, const char *layer, int64_t step,
                      hl_solve_shown *out)
{
    hl_solves *k = solves_of(s, of->run, layer);
    if (!k)
        return false;
    out->of = *of;
    snprintf(out->layer, sizeof out->layer, "%.*s", HL_SOLVE_LAYER_MAX - 1, layer);
    out->at = &k->kept.at[hl_solves_find(k, step)];
    out->tol =
        hl_solves_tolerance(of->run->config, of->run->knobs, s->look.solve_kind, &out->tol_known);
    return hl_solved_count(out->at, out->tol) != NULL;
}

int hl_solves_shown(hl_screen *s, hl_solve_shown out[HL_SHOWN_MAX])
{
    hl_shown shown[HL_SHOWN_MAX];
    char layer[HL_SOLVE_LAYERS_MAX][HL_SOLVE_LAYER_MAX];
    const int n_runs = hl_screen_shown(s, shown);
    int64_t step = s->solve_step;
    int n = 0;
    for (int i = 0; i < n_runs; i++) {
        const int n_layers = layers_of(s, shown[i].run, layer);
        const int used = i == 0 && s->look.overlay ? n_layers : n_layers > 0;
        if (i == 0 && n_layers == 0)
            return 0;
        for (int l = 0; l < used && n < HL_SHOWN_MAX; l++) {
            shown[i].color += l > 0;
            if (!add_layer(s, &shown[i], layer[l], step, &out[n]))
                return n;
            n++;
        }
        if (i == 0 && step >= 0) /* the others: what they had by then */
            step = out[0].at->step;
    }
    return n;
}

/* ---- title ---- */

enum { MEAN_OF = 16 }; /* recorded batches in a mean */

static void title(hl_screen *s, char *buf, size_t n)
{
    hl_solve_shown shown[HL_SHOWN_MAX];
    char step[HL_NUMBER_MAX];
    if (hl_solves_shown(s, shown) == 0) {
        snprintf(buf, n, "DEQ");
        return;
    }
    const hl_solves *k = hl_solves_looked_at(s, shown[0].of.run);
    const bool wide = s->layout.pane[HL_PANE_RESIDUAL].w >= 64;
    const int place = hl_solves_find(k, shown[0].at->step) + 1;
    const char *band = s->look.solve_extremes ? "min-max" : "p10-p90";
    char what[80];
    if (s->look.solve_inside) {
        snprintf(buf, n, "energy by evaluation  %s @%s", split(s),
                 hl_format_count(step, shown[0].at->step));
        return;
    }
    snprintf(what, sizeof what, "%s%sresidual%s%s%s",
             s->look.solve_kind.backward ? "backward " : "",
             s->look.solve_kind.absolute ? "absolute " : "", wide ? " by evaluation" : "",
             shown[0].layer[0] ? " of " : "", shown[0].layer);
    if (s->look.solve_mean)
        snprintf(buf, n, "%s  %s @%s  mean of %d  median, %s", what, split(s),
                 hl_format_count(step, shown[0].at->step), place < MEAN_OF ? place : MEAN_OF, band);
    else
        snprintf(buf, n, "%s  %s @%s  %d/%zu  median, %s", what, split(s),
                 hl_format_count(step, shown[0].at->step), place, k->kept.n, band);
}

/* ---- a run without solves ---- */

static bool has_any(const hl_watched *w, bool curves)
{
    for (size_t i = 0; w && i < w->series.n; i++) {
        const hl_data *d = w->series.at[i];
        if (d && (curves ? hl_solves_is_tag(d->tag) : strstr(d->tag, "/deq/") != NULL))
            return true;
    }
    return false;
}

static void draw_nothing(hl_screen *s, hl_canvas c)
{
    const hl_run_row *row = hl_screen_row(s);
    const hl_watched *w = hl_screen_run(s);
    char text[120];
    if (hl_screen_put_trouble(s, c))
        return;
    const bool over = w && w->caught_up && !hl_state_is_live(row->state);
    if (s->look.solve_kind.backward && has_any(w, true))
        snprintf(text, sizeof text, "no such solve of gradients is recorded; d shows forward ones");
    else if (has_any(w, true))
        snprintf(text, sizeof text, "no solve of %s is recorded%s; e shows %s",
                 s->look.solve_eval ? "evaluation" : "training", over ? "" : " yet",
                 s->look.solve_eval ? "training" : "evaluation");
    else if (has_any(w, false))
        snprintf(text, sizeof text, "no solve is recorded%s",
                 over ? " (probe.every = 0?): its numbers are charts of view 2" : " yet");
    else
        snprintf(text, sizeof text, "%s",
                 over ? "this run solved no equilibrium layer (no deq.metrics in its loss)"
                      : "no solve of an equilibrium layer yet");
    hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), text);
}

/* ---- the chart ---- */

/* Of the last recorded batches up to the one at `last`, in the row: the geometric mean, as the axis
 * is logarithmic. NAN: none made it. */
static double mean_row(const hl_solves *k, int last, hl_quantile q, size_t row)
{
    double sum = 0;
    int n = 0;
    for (int i = last; i >= 0 && i > last - MEAN_OF; i--) {
        const hl_solved *x = &k->kept.at[i];
        const double v =
            row < x->n_made ? (double)x->quantile[(size_t)q * x->curve.rows + row] : (double)NAN;
        if (v > 0 && isfinite(v)) {
            sum += log(v);
            n++;
        }
    }
    return n ? exp(sum / n) : (double)NAN;
}

/* One line of the batch, or of the last ones: a quantile by evaluation, from 1. NULL without
 * memory.
 */
static hl_pyramid *make_line(const hl_screen *s, const hl_solve_shown *shown, hl_quantile q)
{
    const hl_solved *x = shown->at;
    const hl_solves *k = s->look.solve_mean ? solves_of(s, shown->of.run, shown->layer) : NULL;
    const float *v = x->quantile + (size_t)q * x->curve.rows;
    hl_pyramid *p = hl_pyramid_new();
    for (size_t row = 0; p && row < x->n_made; row++) {
        const double y = k ? mean_row(k, (int)(x - k->kept.at), q, row) : (double)v[row];
        if (hl_pyramid_push(p, (double)(row + 1), y) != HL_OK)
            break;
    }
    return p;
}

typedef struct drawing {
    hl_solve_shown shown[HL_SHOWN_MAX];
    hl_pyramid *median[HL_SHOWN_MAX], *lo, *hi;
    hl_chart_line line[HL_SHOWN_MAX];
    hl_chart_mark mark[HL_SHOWN_MAX];
    int n, n_lines, n_marks;
} drawing;

/* The lines of all runs, the band of the first, one mark for each tolerance. */
static void collect(const hl_screen *s, drawing *d)
{
    d->lo = make_line(s, &d->shown[0], s->look.solve_extremes ? HL_QUANTILE_MIN : HL_QUANTILE_LOW);
    d->hi = make_line(s, &d->shown[0], s->look.solve_extremes ? HL_QUANTILE_MAX : HL_QUANTILE_HIGH);
    for (int i = 0; i < d->n; i++) {
        const hl_solve_shown *x = &d->shown[i];
        bool is_known = false;
        d->median[i] = make_line(s, x, HL_QUANTILE_MEDIAN);
        for (int k = 0; k < d->n_marks; k++)
            is_known |= d->mark[k].at == x->tol;
        if (!is_known)
            d->mark[d->n_marks++] =
                (hl_chart_mark){.at = x->tol, .role = HL_ROLE_WARN, .horizontal = true};
        if (!d->median[i])
            continue;
        hl_chart_line *l = &d->line[d->n_lines++];
        const bool other_layer = i > 0 && x->of.row == d->shown[0].of.row;
        *l = (hl_chart_line){.data = d->median[i],
                             .name = other_layer ? x->layer : x->of.row->name,
                             .role = hl_color_style(x->of.color).role,
                             .letter = hl_color_letter(x->of.color),
                             .focused = i == 0};
        if (i == 0 && d->lo && d->hi) {
            l->lo = d->lo;
            l->hi = d->hi;
        }
    }
}

static void drop(drawing *d)
{
    hl_pyramid_free(d->lo);
    hl_pyramid_free(d->hi);
    for (int i = 0; i < d->n; i++)
        hl_pyramid_free(d->median[i]);
}

/* In whole decades. */
static hl_scale y_range(const hl_screen *s, const drawing *d)
{
    double lo = s->look.solve_fitted ? HUGE_VAL : y_lowest, hi = y_highest;
    for (int i = 0; i < d->n_lines + 2; i++) {
        const hl_pyramid *p = i < d->n_lines ? d->line[i].data : i == d->n_lines ? d->lo : d->hi;
        const hl_bucket *b = p ? hl_pyramid_total(p) : NULL;
        if (b && b->min_positive > 0)
            lo = fmin(lo, b->min_positive);
        if (b && b->max > 0)
            hi = fmax(hi, b->max);
    }
    for (int i = 0; i < d->n_marks; i++)
        lo = fmin(lo, d->mark[i].at);
    return (hl_scale){
        .lo = pow(10, floor(log10(lo) + 1e-6)), .hi = pow(10, ceil(log10(hi) - 1e-6)), .log = true};
}

/* In the rightmost piece of a dashed line that has room for it. */
static void put_in_dashes(hl_canvas c, int y, const char *text)
{
    const uint32_t dash = hl_sign_char(c.grid, HL_SIGN_DASH_H);
    const hl_cell *row = c.grid->cell + (size_t)(c.r.y + y) * (size_t)c.grid->cols + c.r.x;
    const int w = hl_text_columns(c.grid, text) + 2; /* and a dash at either side */
    int n_free = 0;
    for (int x = c.r.w - 1; x >= 0; x--) {
        n_free = row[x].ch == dash ? n_free + 1 : 0;
        if (n_free < w)
            continue;
        hl_put(c, x + 1, y, HL_STYLE(WARN), text);
        return;
    }
}

/* "tol 1e-04" in each dashed line. */
static void put_tolerances(const hl_screen *s, hl_canvas c, const drawing *d)
{
    for (int i = 0; i < d->n_marks; i++) {
        char value[HL_NUMBER_MAX], text[40];
        bool is_known = true;
        const int up = hl_scale_cell(&s->residual.y_range, d->mark[i].at, c.r.h);
        for (int k = 0; k < d->n; k++)
            is_known &= d->shown[k].tol != d->mark[i].at || d->shown[k].tol_known;
        snprintf(text, sizeof text, " %stol %s ", is_known ? "" : "usual ",
                 hl_format_value(value, d->mark[i].at));
        if (up >= 0 && up < c.r.h)
            put_in_dashes(c, c.r.h - 1 - up, text);
    }
}

/* Axes remember what they have shown; other runs, or the other split, begin anew. */
static void forget_axes(hl_screen *s, const drawing *d)
{
    uint64_t now = hl_hash_str(hl_hash_str(HL_HASH_START, split(s)), curve(s));
    now = hl_hash_str(now, d->shown[0].layer);
    for (int i = 0; i < d->n; i++)
        now = hl_hash_str(now, d->shown[i].of.row->dir);
    if (now != s->residual_of)
        s->residual = (hl_chart){0};
    s->residual_of = now;
}

static void draw(hl_screen *s, hl_canvas c, bool focused)
{
    drawing d = {0};
    hl_chart *chart = &s->residual;
    (void)focused;
    d.n = hl_solves_shown(s, d.shown);
    if (d.n == 0) {
        draw_nothing(s, c);
        return;
    }
    if (s->look.solve_inside) {
        hl_solves_draw_energy(s, c);
        return;
    }
    forget_axes(s, &d);
    collect(s, &d);
    chart->line = d.line;
    chart->n_lines = d.n_lines;
    chart->mark = d.mark;
    chart->n_marks = d.n_marks;
    chart->log_y = chart->fixed_y = true;
    chart->y_range = y_range(s, &d);
    hl_chart_draw(c, chart);
    put_tolerances(s, hl_canvas_part(c, chart->plot.x, chart->plot.y, chart->plot.w, chart->plot.h),
                   &d);
    chart->line = NULL;
    chart->mark = NULL;
    drop(&d);
}

/* ---- keys ---- */

void hl_solves_look_at(hl_screen *s, int place)
{
    const hl_solves *k = hl_solves_looked_at(s, hl_screen_run(s));
    const int n = k ? (int)k->kept.n : 0;
    if (n == 0)
        return;
    if (place < 0)
        hl_screen_say(s, HL_ROLE_TEXT, "this is the oldest batch that is kept");
    place = place < 0 ? 0 : place;
    s->solve_step = place >= n - 1 ? -1 : k->kept.at[place].step;
}

static void step_by(hl_screen *s, int by)
{
    const hl_solves *k = hl_solves_looked_at(s, hl_screen_run(s));
    if (k)
        hl_solves_look_at(s, hl_solves_find(k, s->solve_step) + by);
}

static void turn(hl_screen *s, bool *what, const char *on, const char *off)
{
    hl_screen_remember(s);
    *what = !*what;
    hl_screen_say(s, HL_ROLE_TEXT, "%s", *what ? on : off);
}

static void next_layer(hl_screen *s)
{
    char layer[HL_SOLVE_LAYERS_MAX][HL_SOLVE_LAYER_MAX];
    const int n = layers_of(s, hl_screen_run(s), layer);
    if (n < 2) {
        hl_screen_say(s, HL_ROLE_TEXT, "this run records the solves of one layer");
        return;
    }
    hl_screen_remember(s);
    s->look.solve_layer = (s->look.solve_layer + 1) % n;
    hl_screen_say(s, HL_ROLE_TEXT, "layer %s", layer[1][0] ? layer[1] : "(without a name)");
}

bool hl_solves_act(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_LEFT:
    case HL_ACTION_OLDER_SOLVE:
        step_by(s, -1);
        return true;
    case HL_ACTION_RIGHT:
    case HL_ACTION_NEWER_SOLVE:
        step_by(s, 1);
        return true;
    case HL_ACTION_TOP:
        hl_solves_look_at(s, 0);
        return true;
    case HL_ACTION_BOTTOM:
        s->solve_step = -1;
        return true;
    case HL_ACTION_SOLVE_SPLIT:
        turn(s, &s->look.solve_eval, "solves of evaluation", "solves of training");
        return true;
    case HL_ACTION_SOLVE_BAND:
        turn(s, &s->look.solve_extremes, "band: all samples, from the least to the largest",
             "band: from 10 to 90 % of the samples");
        return true;
    case HL_ACTION_SOLVE_MEAN:
        turn(s, &s->look.solve_mean, "lines: means over the last 16 recorded batches",
             "lines: of one recorded batch");
        return true;
    case HL_ACTION_SOLVE_SCALE:
        turn(s, &s->look.solve_fitted, "y axis: what the lines need", "y axis: from 1e-8 to 1");
        return true;
    case HL_ACTION_SOLVE_OVERLAY:
        turn(s, &s->look.overlay, "marked runs and other layers are laid over this one",
             "this run alone");
        return true;
    case HL_ACTION_SOLVE_BACKWARD:
        turn(s, &s->look.solve_kind.backward, "solves that gradients take", "forward solves");
        return true;
    case HL_ACTION_SOLVE_ABSOLUTE:
        turn(s, &s->look.solve_kind.absolute, "absolute residuals", "relative residuals");
        return true;
    case HL_ACTION_SOLVE_LAYER:
        next_layer(s);
        return true;
    case HL_ACTION_OPEN:
    case HL_ACTION_SOLVE_INSIDE:
        turn(s, &s->look.solve_inside, "energy along the iterations, and the state",
             "residuals by evaluation");
        return true;
    default:
        return false;
    }
}

const hl_pane_class hl_pane_residual = {
    .framed = true, .focusable = true, .title = title, .draw = draw, .act = hl_solves_act};
