/* Runs side by side: the table of metrics, and in what they differ. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"
#include "views/widgets/number.h"

enum { CELL = 11, NAME_MIN = 10, NAME_MAX = 34, TEXT_MAX = 48 };

static const char *name_of(const hl_comparison *c, size_t run)
{
    return hl_run_get_row(c->runs[run].run)->name;
}

static hl_style style_of(hl_screen *s, size_t run)
{
    const char *dir = hl_run_get_row(s->compare.now->runs[run].run)->dir;
    return hl_color_style(hl_screen_color(s, dir));
}

static char letter_of(hl_screen *s, size_t run)
{
    return hl_color_letter(hl_screen_color(s, hl_run_get_row(s->compare.now->runs[run].run)->dir));
}

/* ---- the table of metrics ---- */

/* What is said of a tag in so many columns: its end, where all of it has no room. */
static const char *short_tag(const hl_grid *g, const char *tag, int w)
{
    const char *slash = strchr(tag, '/');
    return hl_text_columns(g, tag) > w && slash ? slash + 1 : tag;
}

typedef struct columns {
    int name, n;       /* columns of names; how many metrics are shown, */
    size_t metric[32]; /* these, */
    double best[32];   /* and the best value of each; NAN: none */
} columns;

static columns plan(hl_screen *s, int w)
{
    const hl_comparison *c = s->compare.now;
    const size_t now = hl_compare_metric_shown(s);
    const hl_compare_value which = (hl_compare_value)s->look.compare.value;
    columns p = {.name = NAME_MIN};
    int n_all = 0, at = 0, first;
    for (size_t i = 0; i < c->n; i++) {
        const int k = hl_text_columns(&s->grid, name_of(c, i));
        p.name = k > p.name ? k : p.name;
    }
    p.name = p.name > NAME_MAX ? NAME_MAX : p.name;
    p.name = p.name > w / 2 - 4 ? w / 2 - 4 : p.name;
    p.name = p.name < 1 ? 1 : p.name;
    for (size_t i = 0; i < c->metrics.n; i++) {
        at = i == now ? n_all : at;
        n_all += hl_compare_takes(s, &c->metrics.at[i], true) || i == now;
    }
    int fit = (w - 5 - p.name) / (CELL + 2);
    fit = fit < 1 ? 1 : fit > 32 ? 32 : fit;
    first = at < fit ? 0 : at - fit + 1; /* the chosen one is in view */
    first = n_all - first < fit ? n_all - fit : first;
    first = first < 0 ? 0 : first;
    for (size_t i = 0; i < c->metrics.n && p.n < fit; i++)
        if ((hl_compare_takes(s, &c->metrics.at[i], true) || i == now) && first-- <= 0)
            p.metric[p.n++] = i;
    for (int i = 0; i < p.n; i++) {
        const int run = hl_compare_best(c, p.metric[i], which);
        if (run < 0 || !hl_compare_get(c, (size_t)run, p.metric[i], which, &p.best[i], NULL))
            p.best[i] = (double)NAN;
    }
    return p;
}

static int x_of(const columns *p, int column)
{
    return 5 + p->name + column * (CELL + 2);
}

/* The value itself, or how it stands to the reference's. */
static void put_value(hl_screen *s, hl_canvas c, const columns *p, int column, hl_style style,
                      size_t run)
{
    const size_t metric = p->metric[column];
    const int x = x_of(p, column);
    const hl_comparison *of = s->compare.now;
    const hl_compare_value which = (hl_compare_value)s->look.compare.value;
    const size_t ref = hl_compare_reference(s);
    char text[HL_NUMBER_MAX + 2];
    double v, r = (double)NAN;
    const bool known = hl_compare_get(of, run, metric, which, &v, NULL);
    const bool best = known && v == p->best[column];
    (void)hl_compare_get(of, ref, metric, which, &r, NULL);
    if (!known) {
        hl_put_right(c, x + CELL, 0, HL_STYLE(DIM), hl_unknown(&c));
        return;
    }
    const int relation = run == ref ? HL_RELATION_NONE : s->look.compare.relation;
    if (relation == HL_RELATION_DIFFERENCE)
        v -= r;
    else if (relation == HL_RELATION_RATIO)
        v /= r;
    hl_format_value(text + 1, v);
    text[0] = '+';
    style.marks |= best ? HL_BOLD : 0;
    hl_put_right(c, x + CELL, 0, style,
                 relation == HL_RELATION_DIFFERENCE && v > 0 ? text : text + 1);
    if (best)
        hl_put(c, x + CELL, 0, style, "*");
}

static void put_mean(hl_screen *s, hl_canvas c, int x, hl_style style, size_t group, size_t metric)
{
    const hl_compare_mean m = hl_compare_group_mean(s->compare.now, group, metric,
                                                    (hl_compare_value)s->look.compare.value);
    char mean[HL_NUMBER_MAX], sd[HL_NUMBER_MAX], text[2 * HL_NUMBER_MAX + 4];
    if (m.n == 0) {
        hl_put_right(c, x + CELL, 0, HL_STYLE(DIM), hl_unknown(&c));
        return;
    }
    hl_format_value(mean, m.mean);
    snprintf(sd, sizeof sd, "%.2g", m.sd);
    snprintf(text, sizeof text, "%s%s%s", mean, hl_has_signs(c.grid) ? "\xc2\xb1" : "~",
             sd[0] == '0' && sd[1] == '.' ? sd + 1 : sd);
    hl_put_right(c, x + CELL, 0, style,
                 m.n > 1 && isfinite(m.mean) && hl_text_columns(c.grid, text) <= CELL + 1 ? text
                                                                                          : mean);
}

static void put_line(hl_screen *s, hl_canvas c, const columns *p, const hl_compare_line *line,
                     bool now)
{
    const hl_comparison *of = s->compare.now;
    const size_t run = (size_t)(line->run < 0 ? of->groups.at[line->group].first : line->run);
    const bool mean = line->run < 0;
    const hl_style text = now ? HL_STYLE(SELECT) : mean ? HL_STYLE(TITLE) : HL_STYLE(TEXT);
    if (now) {
        hl_blank(c, 0, 0, c.r.w, 1, text);
        hl_put_sign(c, 0, 0, text, HL_SIGN_CURSOR);
    }
    if (mean) {
        char name[32];
        const char *const what = p->name < 13 ? (hl_has_signs(c.grid) ? "\xce\xa3" : "mean")
                                 : hl_has_signs(c.grid) ? "\xce\xa3 mean\xc2\xb1sd"
                                                        : "mean~sd";
        snprintf(name, sizeof name, "%s n=%d", what, of->groups.at[line->group].n);
        hl_put_cut(c, 4, 0, p->name, text, name);
    } else {
        hl_putf(c, 1, 0, now ? text : style_of(s, run), "%c", letter_of(s, run));
        if (run == hl_compare_reference(s))
            hl_put(c, 2, 0, text, "=");
        hl_put_cut(c, 4, 0, p->name, text, name_of(of, run));
    }
    for (int i = 0; i < p->n; i++)
        if (mean)
            put_mean(s, c, x_of(p, i), text, (size_t)line->group, p->metric[i]);
        else
            put_value(s, c, p, i, text, run);
}

static void put_titles(hl_screen *s, hl_canvas c, const columns *p)
{
    const size_t now = hl_compare_metric_shown(s);
    hl_put(c, 4, 0, HL_STYLE(DIM), "run");
    for (int i = 0; i < p->n; i++) {
        const bool is_now = p->metric[i] == now;
        const hl_style style = is_now ? HL_STYLE(KEY) : HL_STYLE(DIM);
        const char *tag =
            short_tag(c.grid, hl_series_title(s->compare.now->metrics.at[p->metric[i]].key), CELL);
        const int w = hl_text_columns(c.grid, tag), x = x_of(p, i);
        hl_put_cut(c, x + (w < CELL ? CELL - w : 0), 0, CELL, style, tag);
        if (is_now && !s->look.compare.as_marked)
            hl_put_sign(c, x + CELL, 0, style, s->look.compare.reverse ? HL_SIGN_DOWN : HL_SIGN_UP);
    }
}

static void scores_title(hl_screen *s, char *buf, size_t n)
{
    static const char *const relations[] = {"", "  less the reference", "  over the reference"};
    const hl_comparison *c = hl_compare_shown(s);
    const hl_compare_look *look = &s->look.compare;
    char at[32] = "";
    if (!c) {
        snprintf(buf, n, "metrics");
        return;
    }
    if (look->value == HL_COMPARE_AT && c->at >= 0)
        snprintf(at, sizeof at, " step %lld", (long long)c->at);
    snprintf(buf, n, "metrics  %zu runs  %s%s%s", c->n,
             hl_compare_value_name((hl_compare_value)look->value), at, relations[look->relation]);
    if (c->n_failed)
        snprintf(buf + strlen(buf), n - strlen(buf), "  (%zu cannot be read)", c->n_failed);
}

static void scores_draw(hl_screen *s, hl_canvas c, bool focused)
{
    hl_compare_lines lines = {0};
    const int head = c.r.h > 2;
    int cursor = -1;
    (void)focused;
    if (!hl_compare_shown(s)) {
        hl_compare_put_nothing(s, c);
        return;
    }
    hl_compare_list(s, &lines);
    const columns p = plan(s, c.r.w);
    const int row = (int)hl_compare_row_shown(s), n = (int)lines.n, visible = c.r.h - head;
    for (int i = 0; i < n; i++)
        cursor = lines.at[i].run == row ? i : cursor;
    if (head)
        put_titles(s, c, &p);
    const int top = hl_list_scroll(&s->compare.top, cursor, n, visible);
    for (int i = 0; i < visible && top + i < n; i++)
        put_line(s, hl_canvas_part(c, 0, head + i, c.r.w, 1), &p, &lines.at[top + i],
                 top + i == cursor);
    hl_vec_done(&lines);
}

static void choose_row(hl_screen *s, int line)
{
    hl_compare_lines lines = {0};
    hl_compare_list(s, &lines);
    if (line >= 0 && line < (int)lines.n && lines.at[line].run >= 0) {
        char *dir = hl_strdup(hl_run_get_row(s->compare.now->runs[lines.at[line].run].run)->dir);
        if (dir) {
            hl_free(s->compare.row);
            s->compare.row = dir;
        }
    }
    hl_vec_done(&lines);
}

static void scores_click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    const hl_rect r = s->layout.pane[HL_PANE_SCORES];
    const int edges = 2 * s->layout.frames, head = r.h - edges > 2;
    if (!hl_compare_shown(s))
        return;
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN) {
        hl_compare_act(s, what == HL_MOUSE_WHEEL_UP ? HL_ACTION_UP : HL_ACTION_DOWN);
        return;
    }
    if (what != HL_MOUSE_PRESS && what != HL_MOUSE_DOUBLE)
        return;
    const columns p = plan(s, r.w - edges);
    for (int i = 0; y < head && i < p.n; i++)
        if (x >= x_of(&p, i) && x <= x_of(&p, i) + CELL) {
            const char *tag = s->compare.now->metrics.at[p.metric[i]].key;
            const bool same = p.metric[i] == hl_compare_metric_shown(s);
            snprintf(s->look.compare.metric, sizeof s->look.compare.metric, "%s", tag);
            if (same)
                hl_compare_act(s, HL_ACTION_SCORE_REVERSE);
        }
    if (y < head)
        return;
    choose_row(s, s->compare.top + y - head);
    if (what == HL_MOUSE_DOUBLE)
        hl_compare_act(s, HL_ACTION_OPEN);
}

const hl_pane_class hl_pane_scores = {.framed = true,
                                      .focusable = true,
                                      .title = scores_title,
                                      .draw = scores_draw,
                                      .act = hl_compare_act,
                                      .click = scores_click};

/* ---- in what they differ ---- */

static const hl_watched *watched(hl_screen *s, size_t run)
{
    return hl_model_watch(&s->model, hl_run_get_row(s->compare.now->runs[run].run)->dir);
}

/* The knobs that somebody turned in one of the runs. */
static void make_knobs(hl_screen *s)
{
    hl_compare_rows *rows = &s->compare.knobs;
    rows->n = 0;
    for (size_t r = 0; r < s->compare.now->n && r < HL_SHOWN_MAX; r++) {
        const hl_watched *w = watched(s, r);
        for (size_t i = 0; w && i < w->changes.n; i++) {
            const char *name = w->changes.at[i].name;
            bool known = false;
            for (size_t k = 0; k < rows->n; k++)
                known |= strcmp(rows->at[k].key, name) == 0;
            if (!known)
                HL_IGNORE(hl_vec_push(rows, ((hl_compare_row){name, true, true})));
        }
    }
}

/* "0.0005 @120, 0.0001 @300": the newest ones, as many as there is room for. */
static const char *knob_text(hl_screen *s, size_t run, const char *name, char text[TEXT_MAX + 1])
{
    const hl_watched *w = run < HL_SHOWN_MAX ? watched(s, run) : NULL;
    char one[64], value[HL_NUMBER_MAX];
    snprintf(text, TEXT_MAX + 1, "-");
    for (size_t i = w ? w->changes.n : 0, n = 0; i-- > 0;) {
        const hl_knob_change *k = &w->changes.at[i];
        if (strcmp(k->name, name) != 0)
            continue;
        snprintf(one, sizeof one, "%s @%lld",
                 isnan(k->value) ? "back" : hl_format_value(value, k->value), (long long)k->step);
        const size_t used = n ? strlen(text) : 0;
        if (n && used + strlen(one) + 2 > TEXT_MAX)
            break;
        memmove(text + strlen(one) + (n ? 2 : 0), text, used + 1);
        memcpy(text, one, strlen(one));
        if (n++)
            memcpy(text + strlen(one), ", ", 2);
        else
            text[strlen(one)] = 0;
    }
    return text;
}

static const hl_compare_rows *rows_of(const hl_screen *s)
{
    const hl_comparison *c = s->compare.now;
    if (s->look.compare.differences == HL_DIFFERENCES_KNOBS)
        return &s->compare.knobs;
    return s->look.compare.differences == HL_DIFFERENCES_FACTS ? &c->facts : &c->options;
}

/* What a run has in a row of them. */
static const char *text_of(hl_screen *s, size_t run, const char *key, char text[TEXT_MAX + 1])
{
    const hl_compared *r = &s->compare.now->runs[run];
    const hl_compare_rows *rows = rows_of(s);
    if (rows == &s->compare.knobs)
        return knob_text(s, run, key, text);
    return hl_compare_text(rows == &s->compare.now->facts ? &r->facts : &r->config, key);
}

static size_t n_lines(const hl_str *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->n; i++)
        n += text->s[i] == '\n';
    return n;
}

/* Of the reference's script and that of the run under the cursor. */
static void make_script(hl_screen *s)
{
    enum { CONTEXT = 2 };
    hl_compare_state *v = &s->compare;
    const size_t pair[2] = {hl_compare_reference(s), hl_compare_row_shown(s)};
    const uint64_t of = hl_hash_bytes(HL_HASH_START, pair, sizeof pair);
    const char *a = v->now->runs[pair[0]].script, *b = v->now->runs[pair[1]].script;
    if (v->script_of == of)
        return;
    hl_str_clear(&v->script);
    v->script_of = of;
    if (a && b && hl_text_diff(a, b, CONTEXT, &v->script) != HL_OK)
        hl_str_clear(&v->script);
}

static void make_causes(hl_screen *s)
{
    if (hl_compare_explain(s->compare.now, hl_compare_metric_shown(s),
                           (hl_compare_value)s->look.compare.value, &s->compare.causes) != HL_OK)
        s->compare.causes.n = 0;
}

int hl_differences_n(hl_screen *s)
{
    size_t n = 0;
    if (!hl_compare_shown(s))
        return 0;
    if (s->look.compare.differences == HL_DIFFERENCES_SCRIPT) {
        make_script(s);
        return (int)n_lines(&s->compare.script);
    }
    if (s->look.compare.differences == HL_DIFFERENCES_CAUSES) {
        make_causes(s);
        return (int)s->compare.causes.n;
    }
    if (s->look.compare.differences == HL_DIFFERENCES_KNOBS)
        make_knobs(s);
    for (size_t i = 0; i < rows_of(s)->n; i++)
        n += hl_compare_takes(s, &rows_of(s)->at[i], false);
    return (int)n;
}

static void differences_title(hl_screen *s, char *buf, size_t n)
{
    const hl_compare_look *look = &s->look.compare;
    const hl_comparison *c = hl_compare_shown(s);
    const int rows = hl_differences_n(s);
    if (!c)
        snprintf(buf, n, "differences");
    else if (look->differences == HL_DIFFERENCES_SCRIPT)
        snprintf(buf, n, "script  %s (-)  %s (+)", name_of(c, hl_compare_reference(s)),
                 name_of(c, hl_compare_row_shown(s)));
    else if (look->differences == HL_DIFFERENCES_CAUSES)
        snprintf(buf, n, "what explains %s",
                 c->metrics.n ? c->metrics.at[hl_compare_metric_shown(s)].key : "a metric");
    else if (look->differences == HL_DIFFERENCES_KNOBS)
        snprintf(buf, n, "knobs that were turned  %d", rows);
    else
        snprintf(buf, n, "%s  %d %s",
                 look->differences == HL_DIFFERENCES_FACTS ? "surroundings" : "options", rows,
                 look->all   ? "in all"
                 : rows == 1 ? "differs"
                             : "differ");
}

/* The first row shown, of so many: the user scrolls, there is no cursor. */
static int first_row(hl_screen *s, int n, int visible)
{
    int *top = &s->compare.differences_top;
    *top = *top > n - visible ? n - visible : *top;
    return *top = *top < 0 ? 0 : *top;
}

static void put_script(hl_screen *s, hl_canvas c)
{
    const hl_str *b = &s->compare.script;
    const size_t a = hl_compare_reference(s), other = hl_compare_row_shown(s);
    const char *line = hl_str_text(b);
    const int n = hl_differences_n(s), top = first_row(s, n, c.r.h);
    if (n == 0) {
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM),
                   a == other ? "the reference itself: move to another run"
                   : s->compare.now->runs[a].script && s->compare.now->runs[other].script
                       ? "the scripts are the same"
                       : "no script is stored with one of them");
        return;
    }
    for (int i = 0; i < n && *line; i++) {
        const size_t k = strcspn(line, "\n");
        char text[256];
        snprintf(text, sizeof text, "%.*s", (int)(k < sizeof text ? k : sizeof text - 1), line);
        for (char *p = text; *p; p++) /* a tabulator is no character of a screen */
            *p = *p == '\t' ? ' ' : *p;
        const hl_style style = *line == '+'   ? HL_STYLE(GOOD)
                               : *line == '-' ? HL_STYLE(BAD)
                                              : HL_STYLE(DIM);
        if (i >= top && i - top < c.r.h)
            hl_put_cut(c, 1, i - top, c.r.w - 1, style, text);
        line += k + 1;
    }
}

static void put_causes(hl_screen *s, hl_canvas c)
{
    const hl_comparison *of = s->compare.now;
    const int n = hl_differences_n(s), top = first_row(s, n, c.r.h);
    char mean[HL_NUMBER_MAX];
    if (n == 0)
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), "no option differs");
    for (int i = 0; i < c.r.h && top + i < n; i++) {
        const hl_compare_cause *k = &s->compare.causes.at[top + i];
        int x = 1 + hl_putf(c, 1, i, HL_STYLE(TEXT), "%5.1f %%  ", 100 * k->share);
        x += hl_put(c, x, i, HL_STYLE(KEY), of->options.at[k->option].key) + 2;
        hl_putf(c, x, i, HL_STYLE(TEXT), "%d values, best mean %s with %s", k->n_values,
                hl_format_value(mean, k->best_mean), k->best);
    }
}

/* Columns of a run's values, and of the keys before them. */
static void plan_values(hl_screen *s, int w, int *key, int *cell)
{
    const hl_comparison *c = s->compare.now;
    *key = *cell = 1;
    for (size_t i = 0; i < rows_of(s)->n; i++) {
        const hl_compare_row *row = &rows_of(s)->at[i];
        if (!hl_compare_takes(s, row, false))
            continue;
        const int k = hl_text_columns(&s->grid, row->key);
        *key = k > *key ? k : *key;
        for (size_t r = 0; r < c->n; r++) {
            char text[TEXT_MAX + 1];
            const int n = hl_text_columns(&s->grid, text_of(s, r, row->key, text));
            *cell = n > *cell ? n : *cell;
        }
    }
    for (size_t r = 0; r < c->n; r++) {
        const int n = hl_text_columns(&s->grid, name_of(c, r)) + 2;
        *cell = n > *cell ? n : *cell;
    }
    const int rest = w - 2 > 0 ? w - 2 : 1, n_cells = (int)(c->n < 4 ? c->n : 4);
    *key = *key > rest * 2 / 5 ? rest * 2 / 5 : *key;
    const int fair = (rest - *key) / n_cells - 2;
    *cell = *cell > fair && fair >= 8 ? fair : *cell > TEXT_MAX ? TEXT_MAX : *cell;
    *cell = *cell > rest - *key ? rest - *key : *cell;
    *cell = *cell < 4 ? 4 : *cell;
}

static void put_values(hl_screen *s, hl_canvas c)
{
    const hl_comparison *of = s->compare.now;
    const char *const nothing = rows_of(s) == &of->facts     ? "they ran in the same surroundings"
                                : rows_of(s) == &of->options ? "no option differs"
                                                             : "nobody turned a knob of theirs";
    char text[TEXT_MAX + 1];
    const int head = c.r.h > 1, n = hl_differences_n(s), top = first_row(s, n, c.r.h - head);
    int key, cell, nth = 0, *left = &s->compare.differences_left;
    if (n == 0) {
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), nothing);
        return;
    }
    plan_values(s, c.r.w, &key, &cell);
    const int fit = (c.r.w - 2 - key) / (cell + 2) > 0 ? (c.r.w - 2 - key) / (cell + 2) : 1;
    *left = *left > (int)of->n - fit ? (int)of->n - fit : *left;
    *left = *left < 0 ? 0 : *left;
    for (size_t i = 0; i < rows_of(s)->n; i++) {
        const hl_compare_row *row = &rows_of(s)->at[i];
        if (!hl_compare_takes(s, row, false) || nth++ < top)
            continue;
        const int y = head + nth - 1 - top;
        if (y >= c.r.h)
            break;
        hl_put_cut(c, 1, y, key, row->differs ? HL_STYLE(KEY) : HL_STYLE(DIM), row->key);
        for (int r = *left, x = 3 + key; r < (int)of->n && r < *left + fit; r++, x += cell + 2)
            hl_put_cut(c, x, y, cell, row->differs ? HL_STYLE(TEXT) : HL_STYLE(DIM),
                       text_of(s, (size_t)r, row->key, text));
    }
    for (int r = *left, x = 3 + key; head && r < (int)of->n && r < *left + fit;
         r++, x += cell + 2) {
        hl_putf(c, x, 0, style_of(s, (size_t)r), "%c", letter_of(s, (size_t)r));
        hl_put_cut(c, x + 2, 0, cell - 2, HL_STYLE(DIM), name_of(of, (size_t)r));
    }
    if (*left + fit < (int)of->n && head)
        hl_putf(hl_canvas_part(c, 1, 0, key, 1), 0, 0, HL_STYLE(DIM), "l: %d more",
                (int)of->n - *left - fit);
}

static void differences_draw(hl_screen *s, hl_canvas c, bool focused)
{
    (void)focused;
    if (!hl_compare_shown(s))
        return;
    if (s->look.compare.differences == HL_DIFFERENCES_SCRIPT)
        put_script(s, c);
    else if (s->look.compare.differences == HL_DIFFERENCES_CAUSES)
        put_causes(s, c);
    else
        put_values(s, c);
}

static void differences_click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    (void)x;
    (void)y;
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN)
        hl_compare_act(s, what == HL_MOUSE_WHEEL_UP ? HL_ACTION_UP : HL_ACTION_DOWN);
}

const hl_pane_class hl_pane_differences = {.framed = true,
                                           .focusable = true,
                                           .title = differences_title,
                                           .draw = differences_draw,
                                           .act = hl_compare_act,
                                           .click = differences_click};
