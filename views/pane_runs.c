/* The list of runs. */
#include <stdio.h>
#include <string.h>

#include "views/row_field.h"
#include "views/screen.h"
#include "views/widgets/number.h"
#include "views/widgets/spark.h"

/* ---- columns ---- */

typedef void draw_fn(hl_canvas c, int x, const hl_run_row *row, hl_style s);

enum { NAME_MIN = 12, NAME_MAX = 40, FIXED = 6 };

static void draw_number(hl_canvas c, int x_end, bool known, double v, hl_style s)
{
    char buf[HL_NUMBER_MAX];
    hl_put_right(c, x_end, 0, s, hl_format_known(buf, known, v, hl_is_utf8(&c)));
}

static void draw_variant(hl_canvas c, int x, const hl_run_row *row, hl_style s)
{
    hl_put_cut(c, x, 0, 11, s, row->variant);
}

static void draw_step(hl_canvas c, int x, const hl_run_row *row, hl_style s)
{
    char count[HL_NUMBER_MAX], text[40];
    if (row->step < 0)
        snprintf(text, sizeof text, "%s", hl_is_utf8(&c) ? "\xe2\x80\x93" : "-");
    else if (row->step_total > 0 && hl_state_is_live(row->state))
        snprintf(text, sizeof text, "%s %3.0f%%", hl_format_count(count, row->step),
                 100.0 * (double)row->step / (double)row->step_total);
    else
        snprintf(text, sizeof text, "%s", hl_format_count(count, row->step));
    hl_put_right(c, x + 10, 0, s, text);
}

static void draw_loss(hl_canvas c, int x, const hl_run_row *row, hl_style s)
{
    draw_number(c, x + 7, *row->loss_tag != 0, row->loss, s);
}

static void draw_eval(hl_canvas c, int x, const hl_run_row *row, hl_style s)
{
    draw_number(c, x + 7, *row->eval_tag != 0, row->eval, s);
}

static void draw_max(hl_canvas c, int x, const hl_run_row *row, hl_style s)
{
    draw_number(c, x + 7, row->has_max_inf_norm, row->max_inf_norm, s);
}

static void draw_kurtosis(hl_canvas c, int x, const hl_run_row *row, hl_style s)
{
    draw_number(c, x + 7, row->has_kurtosis, row->kurtosis, s);
}

static void draw_trace(hl_canvas c, int x, const hl_run_row *row, hl_style s)
{
    hl_spark_draw(hl_canvas_part(c, x, 0, 10, 1), s, row->trace, (size_t)row->n_trace);
}

static void draw_age(hl_canvas c, int x, const hl_run_row *row, hl_style s)
{
    char age[24];
    hl_put_right(c, x + 7, 0, s, row->t_start_us ? hl_ago(age, row->t_start_us) : "");
}

typedef struct column {
    const char *title, *sort; /* the column that a click on the title sorts by */
    int width;
    bool right;
    draw_fn *draw;
} column;

/* In the order in which they give way, the last first. */
static const column columns[] = {
    {"loss", "loss", 7, true, draw_loss},     {"attention", "attn", 11, false, draw_variant},
    {"eval", "eval", 7, true, draw_eval},     {"max|x|", "max", 7, true, draw_max},
    {"kurt", "kurt", 7, true, draw_kurtosis}, {"trend", "loss", 10, false, draw_trace},
    {"step", "step", 10, true, draw_step},    {"age", "age", 7, true, draw_age},
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

/* Where they are shown, from the left. */
static const uint8_t places[N_COLUMNS] = {1, 6, 0, 2, 3, 4, 5, 7};

typedef struct plan {
    int x[N_COLUMNS]; /* -1: no room */
    int name;         /* columns of the name */
} plan;

static plan make_plan(int w)
{
    plan p;
    int n = 0, left = w - FIXED - NAME_MIN;
    while (n < N_COLUMNS && left >= columns[n].width + 1)
        left -= columns[n++].width + 1;
    p.name = NAME_MIN + (left > 0 ? left : 0);
    p.name = p.name > NAME_MAX ? NAME_MAX : p.name;
    for (int i = 0, x = FIXED + p.name; i < N_COLUMNS; i++) {
        const int c = places[i];
        p.x[c] = c < n ? x + 1 : -1;
        x += c < n ? columns[c].width + 1 : 0;
    }
    return p;
}

/* ---- drawing ---- */

static void title(hl_screen *s, char *buf, size_t n)
{
    static const char *const sets[HL_STATES_COUNT] = {"", "  running", "  done", "  broken"};
    const size_t all = s->model.rows ? s->model.rows->n : 0;
    int used = snprintf(buf, n, "Runs  %zu", s->order.n);
    if (s->order.n != all)
        used += snprintf(buf + used, n - (size_t)used, " of %zu", all);
    used +=
        snprintf(buf + used, n - (size_t)used, "  by %s%s%s", hl_row_sort_field(s->look.sort)->name,
                 s->look.reverse ? " reversed" : "", sets[s->look.states]);
    if (s->look.filter[0] && (size_t)used < n)
        snprintf(buf + used, n - (size_t)used, "  /%s", s->look.filter);
}

static void draw_titles(hl_canvas c, const plan *p)
{
    const hl_style dim = HL_STYLE(DIM);
    hl_put(c, FIXED, 0, dim, "name");
    for (int i = 0; i < N_COLUMNS; i++)
        if (p->x[i] >= 0 && columns[i].right)
            hl_put_right(c, p->x[i] + columns[i].width, 0, dim, columns[i].title);
        else if (p->x[i] >= 0)
            hl_put(c, p->x[i], 0, dim, columns[i].title);
}

static void draw_row(hl_screen *s, hl_canvas c, const hl_run_row *row, const plan *p, bool cursor)
{
    const bool marked = hl_screen_is_marked(s, row->dir);
    hl_style text = HL_STYLE(TEXT);
    if (cursor) {
        text = HL_STYLE(SELECT);
        hl_blank(c, 0, 0, c.r.w, 1, text);
        hl_put_sign(c, 0, 0, text, HL_SIGN_CURSOR);
    }
    if (marked)
        hl_put_char(c, 2, 0, hl_color_style(hl_screen_color(s, row->dir)),
                    (uint32_t)hl_color_letter(hl_screen_color(s, row->dir)));
    hl_style state = {.role = (uint8_t)hl_state_role(row->state)};
    hl_put_sign(c, 4, 0, state, hl_state_sign(row->state));
    hl_put_cut(c, FIXED, 0, p->name, text, row->name);
    for (int i = 0; i < N_COLUMNS; i++)
        if (p->x[i] >= 0)
            columns[i].draw(c, p->x[i], row, text);
}

static void draw_nothing(const hl_screen *s, hl_canvas c)
{
    const hl_style dim = HL_STYLE(DIM);
    if (s->model.message) {
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(BAD), s->model.message);
    } else if (!s->model.has_rows) {
        hl_put(c, 1, 0, dim, "looking ...");
    } else if (s->model.rows && s->model.rows->n) {
        hl_put_cut(c, 1, 0, c.r.w - 1, dim, "no run fits the filter; / changes it, s the states");
    } else {
        char text[400];
        snprintf(text, sizeof text, "no runs in %s yet", s->model.runs_dir);
        hl_put_cut(c, 1, 0, c.r.w - 1, dim, text);
        hl_put_cut(c, 1, 1, c.r.w - 1, dim, ":run SCRIPT starts one; hoplab demo shows two");
    }
}

static void draw(hl_screen *s, hl_canvas c, bool focused)
{
    (void)focused;
    const int n = (int)s->order.n, cursor = hl_screen_cursor(s), head = c.r.h > 2;
    s->list_rows = c.r.h - head;
    if (n == 0) {
        draw_nothing(s, c);
        return;
    }
    const plan p = make_plan(c.r.w);
    if (head)
        draw_titles(c, &p);
    if (cursor >= 0 && cursor < s->list_top)
        s->list_top = cursor;
    if (cursor >= 0 && cursor >= s->list_top + s->list_rows)
        s->list_top = cursor - s->list_rows + 1;
    if (s->list_top > n - s->list_rows)
        s->list_top = n - s->list_rows;
    if (s->list_top < 0)
        s->list_top = 0;
    for (int i = 0; i < s->list_rows && s->list_top + i < n; i++)
        draw_row(s, hl_canvas_part(c, 0, head + i, c.r.w, 1),
                 &s->model.rows->at[s->order.at[s->list_top + i]], &p, s->list_top + i == cursor);
}

/* ---- actions ---- */

static void sort_by(hl_screen *s, int by)
{
    hl_screen_remember(s);
    if (by == s->look.sort)
        s->look.reverse = !s->look.reverse;
    s->look.sort = by;
    hl_screen_order(s);
}

static bool act(hl_screen *s, hl_action a)
{
    const hl_run_row *row = hl_screen_row(s);
    const int page = s->list_rows / 2 > 0 ? s->list_rows / 2 : 1;
    switch (a) {
    case HL_ACTION_UP:
        hl_screen_move(s, -1);
        return true;
    case HL_ACTION_DOWN:
        hl_screen_move(s, 1);
        return true;
    case HL_ACTION_PAGE_UP:
        hl_screen_move(s, -page);
        return true;
    case HL_ACTION_PAGE_DOWN:
        hl_screen_move(s, page);
        return true;
    case HL_ACTION_TOP:
        hl_screen_move(s, -(int)s->order.n);
        return true;
    case HL_ACTION_BOTTOM:
        hl_screen_move(s, (int)s->order.n);
        return true;
    case HL_ACTION_OPEN:
        if (row)
            hl_screen_set_view(s, HL_VIEW_RUN);
        return true;
    case HL_ACTION_CYCLE_STATE:
        hl_screen_remember(s);
        s->look.states = (s->look.states + 1) % HL_STATES_COUNT;
        hl_screen_order(s);
        hl_screen_stay(s);
        return true;
    case HL_ACTION_SORT:
        sort_by(s, hl_row_sort_field(s->look.sort + 1) ? s->look.sort + 1 : 0);
        return true;
    case HL_ACTION_REVERSE:
        sort_by(s, s->look.sort);
        return true;
    case HL_ACTION_COPY:
        if (row) {
            hl_screen_copy(s, row->id);
        }
        return true;
    default:
        return false;
    }
}

static void click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    const hl_rect r = s->layout.pane[HL_PANE_RUNS];
    const int edges = 2 * s->layout.frames, head = s->list_rows < r.h - edges;
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN) {
        hl_screen_move(s, what == HL_MOUSE_WHEEL_UP ? -3 : 3);
        return;
    }
    if (what != HL_MOUSE_PRESS && what != HL_MOUSE_DOUBLE)
        return;
    if (y < head) {
        const hl_row_field *field;
        const plan p = make_plan(r.w - edges);
        for (int i = 0; i < N_COLUMNS; i++)
            if (p.x[i] >= 0 && x >= p.x[i] && x < p.x[i] + columns[i].width)
                for (int k = 0; (field = hl_row_sort_field(k)); k++)
                    if (strcmp(field->name, columns[i].sort) == 0)
                        sort_by(s, k);
        return;
    }
    const int at = s->list_top + y - head;
    if (at < 0 || at >= (int)s->order.n)
        return;
    hl_screen_select(s, s->model.rows->at[s->order.at[at]].dir);
    if (what == HL_MOUSE_DOUBLE)
        act(s, HL_ACTION_OPEN);
    else if (x >= 1 && x <= 3)
        hl_screen_mark(s, s->selected, !hl_screen_is_marked(s, s->selected));
}

const hl_pane_class hl_pane_runs = {
    .framed = true, .focusable = true, .title = title, .draw = draw, .act = act, .click = click};
