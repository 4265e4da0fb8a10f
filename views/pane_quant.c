/* Quantizations: which one is looked at, and the methods that the list of runs comes to. Its
 * tensors are in pane_tensors.c, what else there is of it in pane_quant_more.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/screen.h"
#include "views/widgets/number.h"

/* ---- which one is looked at ---- */

static uint64_t newest_recipe(const hl_run_row *row)
{
    const hl_run_quant *newest = NULL;
    for (int i = 0; i < row->n_quant; i++)
        if (!newest || row->quant[i].time >= newest->time)
            newest = &row->quant[i];
    return newest ? newest->key : 0;
}

int hl_method_shown(hl_screen *s)
{
    const hl_run_row *row = hl_screen_row(s);
    const uint64_t newest = row ? newest_recipe(row) : 0;
    int best = -1, rank = 0;
    for (int i = 0; row && i < (int)s->methods.n; i++) {
        const hl_method *m = &s->methods.at[i];
        const int now = m->key == s->quant ? 3 : m->key == newest ? 2 : 1;
        if (m->method != hl_method_key(row) || now <= rank)
            continue;
        best = i;
        rank = now;
    }
    return best;
}

const hl_quantization *hl_quant_shown(hl_screen *s)
{
    const hl_watched *w = hl_screen_run(s);
    const int m = hl_method_shown(s);
    if (!w)
        return NULL;
    const hl_quantization *q =
        m >= 0 ? hl_quants_find(&w->quants, s->methods.at[m].key, NULL) : NULL;
    return q ? q : hl_quants_find(&w->quants, 0, NULL);
}

const hl_quantization *hl_quant_other(hl_screen *s)
{
    const hl_quantization *q = hl_quant_shown(s);
    const hl_run_row *row = s->other_run ? hl_model_row(&s->model, s->other_run) : NULL;
    const hl_watched *w =
        row && row != hl_screen_row(s) ? hl_model_watch(&s->model, row->dir) : NULL;
    const hl_quantization *other = w && q ? hl_quants_find(&w->quants, q->key, NULL) : NULL;
    return other || !w ? other : hl_quants_find(&w->quants, 0, NULL);
}

static bool is_quantized_so(const hl_run_row *row, const hl_method *m)
{
    bool has = m->key == 0;
    for (int i = 0; i < row->n_quant; i++)
        has |= row->quant[i].key == m->key;
    return has && hl_method_key(row) == m->method;
}

void hl_method_look_at(hl_screen *s, int to)
{
    const int n = (int)s->methods.n;
    to = to >= n ? n - 1 : to;
    to = to < 0 ? 0 : to;
    if (n == 0 || to == hl_method_shown(s))
        return;
    const hl_method *m = &s->methods.at[to];
    const hl_run_row *row = hl_screen_row(s);
    if (!row || !is_quantized_so(row, m))
        hl_screen_select(s, s->model.rows->at[m->first].dir);
    s->quant = m->key;
}

void hl_method_next_seed(hl_screen *s, int by)
{
    const int at = hl_screen_cursor(s), n = (int)s->order.n, m = hl_method_shown(s);
    for (int k = 1; at >= 0 && m >= 0 && k <= n; k++) {
        const hl_run_row *row = &s->model.rows->at[s->order.at[((at + by * k) % n + n) % n]];
        if (!is_quantized_so(row, &s->methods.at[m]))
            continue;
        if (k == n)
            break;
        hl_screen_select(s, row->dir);
        hl_screen_say(s, HL_ROLE_TEXT, "%s", row->name);
        return;
    }
    hl_screen_say(s, HL_ROLE_TEXT, "no other run of this method is quantized so");
}

/* ---- methods ---- */

enum { LABEL_MIN = 11, RECIPE_MAX = 10, N_COLUMNS = 9 };
enum { FLOAT, QUANTIZED, DELTA, RECIPE, SEEDS, STATE, PERCENT, MAX, KURTOSIS };

/* In the order in which they give way, the last first. */
static const struct {
    const char *title, *ascii;
    int w;
} columns[N_COLUMNS] = {
    [FLOAT] = {"float", NULL, 10},         [QUANTIZED] = {"quantized", NULL, 10},
    [DELTA] = {"\xce\x94", "diff", 8},     [RECIPE] = {"recipe", NULL, 6},
    [SEEDS] = {"runs", NULL, 4},           [STATE] = {"state", NULL, 5},
    [PERCENT] = {"\xce\x94%", "diff%", 7}, [MAX] = {"max|x|", NULL, 6},
    [KURTOSIS] = {"kurt", NULL, 6},
};
/* Where they are shown, from the left. */
static const uint8_t places[N_COLUMNS] = {RECIPE, FLOAT,    QUANTIZED, DELTA, PERCENT,
                                          MAX,    KURTOSIS, SEEDS,     STATE};

typedef struct plan {
    int x[N_COLUMNS]; /* -1: no room */
    int label, recipe;
} plan;

/* What room is left over goes to the recipe, then to the label. */
static plan make_plan(const hl_grid *g, const hl_methods *m, int w)
{
    plan p = {0};
    const int label = w < 40 ? LABEL_MIN / 2 : LABEL_MIN;
    int n = 0, left = w - 2 - label, widest = columns[RECIPE].w;
    for (size_t i = 0; i < m->n; i++) {
        const int k = hl_text_columns(g, m->at[i].recipe);
        widest = k > widest ? k : widest;
    }
    p.recipe = widest < RECIPE_MAX ? widest : RECIPE_MAX;
    for (int need; n < N_COLUMNS; n++) {
        need = 1 + (n == RECIPE ? p.recipe : columns[n].w);
        if (left < need)
            break;
        left -= need;
    }
    left = left > 0 ? left : 0;
    int more = widest > p.recipe ? widest - p.recipe : 0;
    more = more > left / 2 ? left / 2 : more;
    p.recipe += more;
    p.label = label + left - more;
    p.label = p.label > 40 ? 40 : p.label;
    for (int i = 0, x = 2 + p.label; i < N_COLUMNS; i++) {
        const int c = places[i];
        p.x[c] = c < n ? x + 1 : -1;
        x += c < n ? (c == RECIPE ? p.recipe : columns[c].w) + 1 : 0;
    }
    return p;
}

/* "21.53±.42"; with fewer digits, or without its deviation, where there is no room. */
static void spread_text(const hl_canvas *c, int w, const hl_spread *v, char *text, size_t n)
{
    char mean[HL_NUMBER_MAX], sd[HL_NUMBER_MAX];
    snprintf(sd, sizeof sd, "%.2g", v->sd);
    for (int digits = 4; digits >= 3; digits--) {
        snprintf(mean, sizeof mean, "%.3g", v->mean);
        if (digits == 4)
            hl_format_value(mean, v->mean);
        snprintf(text, n, "%s%s%s", mean, hl_has_signs(c->grid) ? "\xc2\xb1" : "~",
                 sd[0] == '0' && sd[1] == '.' ? sd + 1 : sd);
        if (hl_text_columns(c->grid, text) <= w)
            return;
    }
    hl_format_value(mean, v->mean);
    snprintf(text, n, "%s", mean);
}

static void put_spread(hl_canvas c, int x, int w, hl_style style, const hl_spread *v, bool sign)
{
    char number[HL_NUMBER_MAX], text[64];
    if (v->n == 0 || isnan(v->mean)) {
        hl_put_right(c, x + w, 0, HL_STYLE(DIM), hl_unknown(&c));
        return;
    }
    if (sign && fabs(v->mean) < 100)
        snprintf(text, sizeof text, "%+.*g", fabs(v->mean) < 0.1 ? 2 : 3, v->mean);
    else
        snprintf(text, sizeof text, "%s%s", sign && v->mean >= 0 ? "+" : "",
                 hl_format_value(number, v->mean));
    if (!sign && w >= 8 && !isnan(v->sd))
        spread_text(&c, w, v, text, sizeof text);
    hl_put_right(c, x + w, 0, style, text);
}

static void put_state(hl_canvas c, int x, const hl_method *m)
{
    if (m->n_live) {
        hl_put_sign(c, x, 0, HL_STYLE(LIVE), HL_SIGN_RUNNING);
        hl_putf(c, x + 1, 0, HL_STYLE(LIVE), "%.0f%%", 100 * m->progress);
    } else if (m->n_broken) {
        hl_put_sign(c, x, 0, HL_STYLE(BAD), HL_SIGN_FAILED);
        hl_putf(c, x + 1, 0, HL_STYLE(BAD), "%d", m->n_broken);
    } else {
        hl_put_sign(c, x, 0, HL_STYLE(GOOD), HL_SIGN_DONE);
    }
}

static void put_method(hl_canvas c, const plan *p, const hl_method *m, bool now)
{
    const hl_style text = now ? HL_STYLE(SELECT) : HL_STYLE(TEXT);
    if (now) {
        hl_blank(c, 0, 0, c.r.w, 1, text);
        hl_put_sign(c, 0, 0, text, HL_SIGN_CURSOR);
    }
    hl_put_cut(c, 2, 0, p->label, text, *m->label ? m->label : "-");
    const struct {
        int column;
        const hl_spread *v;
        bool sign;
    } numbers[] = {{FLOAT, &m->in_float, false},   {QUANTIZED, &m->quantized, false},
                   {DELTA, &m->delta, true},       {PERCENT, &m->percent, true},
                   {MAX, &m->max_inf_norm, false}, {KURTOSIS, &m->kurtosis, false}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (p->x[numbers[i].column] >= 0)
            put_spread(c, p->x[numbers[i].column], columns[numbers[i].column].w, text, numbers[i].v,
                       numbers[i].sign);
    if (p->x[RECIPE] >= 0)
        hl_put_cut(c, p->x[RECIPE], 0, p->recipe, text, m->key ? m->recipe : hl_unknown(&c));
    if (p->x[SEEDS] >= 0) {
        char runs[24];
        snprintf(runs, sizeof runs, "%d/%d", m->n_quantized, m->n_runs);
        hl_put_right(c, p->x[SEEDS] + columns[SEEDS].w, 0, text, runs);
    }
    if (p->x[STATE] >= 0)
        put_state(c, p->x[STATE], m);
}

static void put_titles(hl_canvas c, const plan *p)
{
    const hl_style dim = HL_STYLE(DIM);
    hl_put(c, 2, 0, dim, "method");
    for (int i = 0; i < N_COLUMNS; i++) {
        const char *title =
            hl_has_signs(c.grid) || !columns[i].ascii ? columns[i].title : columns[i].ascii;
        if (p->x[i] < 0)
            continue;
        if (i == RECIPE || i == STATE)
            hl_put(c, p->x[i], 0, dim, title);
        else
            hl_put_right(c, p->x[i] + columns[i].w, 0, dim, title);
    }
}

static void methods_title(hl_screen *s, char *buf, size_t n)
{
    const int m = hl_method_shown(s);
    const char *metric = m >= 0 ? s->methods.at[m].metric : "";
    snprintf(buf, n, "methods  %zu%s%s", s->methods.n, *metric ? "  " : "", metric);
}

static void methods_draw(hl_screen *s, hl_canvas c, bool focused)
{
    const int n = (int)s->methods.n, cursor = hl_method_shown(s), head = c.r.h > 2;
    (void)focused;
    if (n == 0) {
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM),
                   s->model.rows && s->model.rows->n ? "no run fits the filter" : "no runs");
        return;
    }
    const plan p = make_plan(c.grid, &s->methods, c.r.w);
    if (head)
        put_titles(c, &p);
    const int visible = c.r.h - head, top = hl_list_scroll(&s->method_top, cursor, n, visible);
    for (int i = 0; i < visible && top + i < n; i++)
        put_method(hl_canvas_part(c, 0, head + i, c.r.w, 1), &p, &s->methods.at[top + i],
                   top + i == cursor);
}

static void methods_click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    const hl_rect r = s->layout.pane[HL_PANE_METHODS];
    const int head = r.h - 2 * s->layout.frames > 2;
    (void)x;
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN)
        hl_method_look_at(s, hl_method_shown(s) + (what == HL_MOUSE_WHEEL_UP ? -1 : 1));
    else if (what == HL_MOUSE_PRESS && y >= head && s->method_top + y - head < (int)s->methods.n)
        hl_method_look_at(s, s->method_top + y - head);
}

const hl_pane_class hl_pane_methods = {.framed = true,
                                       .focusable = true,
                                       .title = methods_title,
                                       .draw = methods_draw,
                                       .act = hl_quant_act,
                                       .click = methods_click};
