/* The list of runs. */
#include <stdio.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"
#include "views/widgets/number.h"

enum { NAME_MIN = 12, GROUP_NAME_MIN = 20, NAME_MAX = 40, FIXED = 6, GROUP_WIDTH = 11 };

/* ---- which columns, and where ---- */

typedef struct plan {
    int x[HL_COLUMNS_MAX], w[HL_COLUMNS_MAX]; /* x -1: no room, or it is left out */
    int name;                                 /* columns of the name */
} plan;

static int width_of(const hl_screen *s, const hl_column *k)
{
    const bool grouped = s->look.group[0] && k->is_number && k->needs < GROUP_WIDTH;
    const bool spreads = grouped && strcmp(k->name, "age") != 0 && strcmp(k->name, "step") != 0;
    return k->width ? k->width : spreads ? GROUP_WIDTH : k->needs;
}

/* The next column to have room, of those without a place yet (x -2); -1: none. */
static int next_wanted(const hl_screen *s, const plan *p)
{
    int best = -1;
    for (int i = 0; i < s->n_columns; i++)
        if (p->x[i] == -2 && (best < 0 || hl_column_rank(&s->columns[i], i) <
                                              hl_column_rank(&s->columns[best], best)))
            best = i;
    return best;
}

static plan make_plan(hl_screen *s, int w)
{
    const bool differ = s->look.differ && hl_screen_differ(s)->rows.n > 1;
    plan p;
    const int least = s->look.group[0] && w >= 60 ? GROUP_NAME_MIN : NAME_MIN;
    int left = w - FIXED - least, at;
    for (int i = 0; i < s->n_columns; i++) {
        p.w[i] = width_of(s, &s->columns[i]);
        p.x[i] = differ && !s->columns[i].differs ? -1 : -2;
    }
    while ((at = next_wanted(s, &p)) >= 0 && left >= p.w[at] + 1) {
        left -= p.w[at] + 1;
        p.x[at] = 0;
    }
    p.name = least + (left > 0 ? left : 0);
    p.name = p.name > NAME_MAX ? NAME_MAX : p.name;
    for (int i = 0, x = FIXED + p.name; i < s->n_columns; i++) {
        const bool shown = p.x[i] == 0;
        p.x[i] = shown ? x + 1 : -1;
        x += shown ? p.w[i] + 1 : 0;
    }
    return p;
}

/* ---- drawing ---- */

static hl_canvas cell_of(hl_canvas c, const plan *p, int column)
{
    return hl_canvas_part(c, p->x[column], 0, p->w[column], 1);
}

static void title(hl_screen *s, char *buf, size_t n)
{
    static const char *const sets[HL_STATES_COUNT] = {"", "  running", "  done", "  broken"};
    const size_t all = s->model.rows ? s->model.rows->n : 0;
    hl_str b = {0};
    hl_str_addf(&b, "Runs  %zu", s->order.n);
    if (s->order.n != all)
        hl_str_addf(&b, " of %zu", all);
    if (s->look.n_hidden)
        hl_str_addf(&b, ", %d hidden", s->look.n_hidden);
    hl_str_addf(&b, "  by %s%s%s", s->look.sort, s->look.reverse ? " reversed" : "",
                sets[s->look.states]);
    if (s->look.group[0])
        hl_str_addf(&b, "  group %s", s->look.group);
    if (s->look.differ)
        hl_str_add(&b, "  what differs");
    if (s->look.filter[0])
        hl_str_addf(&b, "  /%s", s->look.filter);
    snprintf(buf, n, "%s", hl_str_text(&b));
    hl_str_done(&b);
}

static void draw_titles(const hl_screen *s, hl_canvas c, const plan *p)
{
    hl_put(c, FIXED, 0, HL_STYLE(DIM), "name");
    for (int i = 0; i < s->n_columns; i++) {
        const hl_column *k = &s->columns[i];
        const char *text = hl_column_title(k);
        const int w = hl_text_columns(c.grid, text);
        if (p->x[i] < 0)
            continue;
        hl_style style = i == s->column ? HL_STYLE(SELECT) : HL_STYLE(DIM);
        style.marks = strcmp(k->name, s->look.sort) == 0 ? HL_UNDERLINE : 0;
        const bool right = (k->is_number || !k->known) && strcmp(k->name, "trend") != 0;
        hl_put_cut(c, p->x[i] + (right && w < p->w[i] ? p->w[i] - w : 0), 0, p->w[i], style, text);
    }
}

/* "bert-oeh n=3 x1": how many runs, and how many of them failed. */
static void draw_group_name(hl_canvas c, const hl_run_group *g, int w, hl_style text)
{
    char count[24], failed[24] = "";
    snprintf(count, sizeof count, "n=%d", g->n);
    if (g->n_broken)
        snprintf(failed, sizeof failed, "%d", g->n_broken);
    const int need =
        hl_text_columns(c.grid, count) + (g->n_broken ? 2 + hl_text_columns(c.grid, failed) : 0);
    int x = FIXED;
    if (w - need - 1 > 3)
        x += hl_put_cut(c, x, 0, w - need - 1, text, g->label) + 1;
    x += hl_put_cut(c, x, 0, FIXED + w - x, text, count) + 1;
    if (g->n_broken && x < FIXED + w) {
        hl_put_sign(c, x, 0, HL_STYLE(BAD), HL_SIGN_FAILED);
        hl_put_cut(c, x + 1, 0, FIXED + w - x - 1, HL_STYLE(BAD), failed);
    }
}

static void draw_group(hl_screen *s, hl_canvas c, const hl_run_group *g, const plan *p,
                       hl_style text)
{
    hl_put_char(c, 2, 0, text, g->open ? '-' : '+');
    hl_put_sign(c, 4, 0, text, HL_SIGN_GROUP);
    draw_group_name(c, g, p->name, text);
    for (int i = 0; i < s->n_columns; i++)
        if (p->x[i] >= 0)
            hl_column_draw_group(s, &s->columns[i], cell_of(c, p, i), g, text);
}

static void draw_run(hl_screen *s, hl_canvas c, const hl_run_line *l, const plan *p, hl_style text)
{
    const hl_run_row *row = &s->model.rows->at[l->row];
    const int indent = l->group >= 0;
    if (hl_screen_is_marked(s, row->dir))
        hl_put_char(c, 2, 0, hl_color_style(hl_screen_color(s, row->dir)),
                    (uint32_t)hl_color_letter(hl_screen_color(s, row->dir)));
    else if (row->pinned)
        hl_put_char(c, 2, 0, HL_STYLE(DIM), '^');
    hl_style state = {.role = (uint8_t)hl_state_role(row->state)};
    hl_put_sign(c, 4, 0, state, hl_state_sign(row->state));
    if (row->n_turned)
        hl_put_char(c, FIXED - 1, 0, HL_STYLE(WARN), '~');
    hl_put_cut(c, FIXED + indent, 0, p->name - indent, row->archived ? HL_STYLE(DIM) : text,
               row->name);
    for (int i = 0; i < s->n_columns; i++)
        if (p->x[i] >= 0)
            hl_column_draw(&s->columns[i], cell_of(c, p, i), row, text);
}

static void draw_line(hl_screen *s, hl_canvas c, const hl_run_line *l, const plan *p, bool cursor)
{
    hl_style text = HL_STYLE(TEXT);
    if (cursor) {
        text = HL_STYLE(SELECT);
        hl_blank(c, 0, 0, c.r.w, 1, text);
        hl_put_sign(c, 0, 0, text, HL_SIGN_CURSOR);
    }
    if (l->is_group)
        draw_group(s, c, &s->groups.at[l->group], p, text);
    else
        draw_run(s, c, l, p, text);
}

static void draw_nothing(const hl_screen *s, hl_canvas c)
{
    const hl_style dim = HL_STYLE(DIM);
    if (s->model.message) {
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(BAD), s->model.message);
    } else if (!s->model.has_rows) {
        hl_put(c, 1, 0, dim, "looking ...");
    } else if (s->order.n) {
        hl_put_cut(c, 1, 0, c.r.w - 1, dim, "all runs that fit are hidden; :show shows them");
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
    const int n = (int)s->lines.n, cursor = hl_screen_line(s), head = c.r.h > 2;
    s->list_rows = c.r.h - head;
    if (n == 0) {
        draw_nothing(s, c);
        return;
    }
    const plan p = make_plan(s, c.r.w);
    if (head)
        draw_titles(s, c, &p);
    hl_list_scroll(&s->list_top, cursor, n, s->list_rows);
    for (int i = 0; i < s->list_rows && s->list_top + i < n; i++)
        draw_line(s, hl_canvas_part(c, 0, head + i, c.r.w, 1), &s->lines.at[s->list_top + i], &p,
                  s->list_top + i == cursor);
}

/* ---- sorting ---- */

static void sort_by(hl_screen *s, const char *key)
{
    const bool again = strcmp(key, s->look.sort) == 0;
    hl_screen_remember(s);
    if (again)
        s->look.reverse = !s->look.reverse;
    else
        snprintf(s->look.sort, sizeof s->look.sort, "%s", key);
    hl_screen_order(s);
}

/* Behind age, name and state the columns of the list. */
static const char *sort_at(const hl_screen *s, int i)
{
    static const char *const first[] = {"age", "name", "state"};
    for (int k = 0; k < 3; k++)
        if (i-- == 0)
            return first[k];
    for (int k = 0; k < s->n_columns; k++)
        if (strcmp(s->columns[k].name, "age") != 0 && i-- == 0)
            return s->columns[k].name;
    return NULL;
}

static void sort_next(hl_screen *s)
{
    const char *key;
    if (s->column >= 0) {
        sort_by(s, s->columns[s->column].name);
        return;
    }
    for (int i = 0; (key = sort_at(s, i)); i++)
        if (strcmp(key, s->look.sort) == 0)
            break;
    const char *next = NULL;
    for (int i = 0; key && (key = sort_at(s, i)); i++)
        if (strcmp(key, s->look.sort) == 0) {
            next = sort_at(s, i + 1);
            break;
        }
    sort_by(s, next ? next : "age");
}

/* ---- what is done to lines ---- */

static const hl_run_line *line_now(const hl_screen *s)
{
    const int at = hl_screen_line(s);
    return at >= 0 ? &s->lines.at[at] : NULL;
}

static void open_line(hl_screen *s)
{
    const hl_run_line *l = line_now(s);
    if (l && l->is_group)
        hl_run_group_toggle(s, s->groups.at[l->group].key);
    else if (hl_screen_row(s))
        hl_screen_set_view(s, HL_VIEW_RUN);
}

/* From the run marked last, or the first line, to here. */
static void mark_range(hl_screen *s)
{
    const int to = hl_screen_line(s);
    int from = 0;
    for (size_t i = 0; s->marks.n && i < s->lines.n; i++)
        if (!s->lines.at[i].is_group &&
            strcmp(s->model.rows->at[s->lines.at[i].row].dir, s->marks.at[s->marks.n - 1].dir) == 0)
            from = (int)i;
    for (int i = from < to ? from : to; to >= 0 && i <= (from < to ? to : from); i++)
        if (!s->lines.at[i].is_group)
            hl_screen_mark(s, s->model.rows->at[s->lines.at[i].row].dir, true);
}

static void hide_run(hl_screen *s, const char *dir)
{
    if (s->look.n_hidden < HL_HIDDEN_MAX)
        s->look.hidden_runs[s->look.n_hidden++] = hl_hash_str(HL_HASH_START, dir);
    else
        hl_screen_say(s, HL_ROLE_WARN, "%d runs are hidden; a filter hides more", HL_HIDDEN_MAX);
}

void hl_screen_hide(hl_screen *s)
{
    const hl_run_line *l = line_now(s);
    if (!l)
        return;
    hl_screen_remember(s);
    const hl_run_group *g = l->is_group ? &s->groups.at[l->group] : NULL;
    for (int i = 0; i < (g ? g->n : 1); i++)
        hide_run(s, s->model.rows->at[g ? s->order.at[g->first + i] : l->row].dir);
    hl_screen_order(s);
    hl_screen_stay(s);
}

static void toggle_group(hl_screen *s)
{
    hl_screen_remember(s);
    snprintf(s->look.group, sizeof s->look.group, "%s", s->look.group[0] ? "" : "seeds");
    hl_screen_order(s);
}

static void toggle_differ(hl_screen *s)
{
    if (!s->look.differ && hl_screen_differ(s)->rows.n < 2) {
        hl_screen_say(s, HL_ROLE_WARN, "mark runs with Space: D shows in what they differ");
        return;
    }
    hl_screen_remember(s);
    s->look.differ = !s->look.differ;
}

static void edit_columns(hl_screen *s)
{
    char text[HL_COLUMNS_TEXT + 16] = "columns ";
    hl_columns_text(s, text + strlen(text), sizeof text - strlen(text));
    hl_screen_act(s, HL_ACTION_COMMAND);
    hl_line_set(&s->line, text);
}

static bool act_on_columns(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_LEFT:
        s->column = s->column > 0 ? s->column - 1 : s->column < 0 ? s->n_columns - 1 : 0;
        return true;
    case HL_ACTION_RIGHT:
        s->column = s->column + 1 < s->n_columns ? s->column + 1 : s->n_columns - 1;
        return true;
    case HL_ACTION_BACK:
        if (s->column < 0)
            return false;
        s->column = -1;
        return true;
    case HL_ACTION_COLUMN_LEFT:
        hl_column_move(s, -1, false);
        return true;
    case HL_ACTION_COLUMN_RIGHT:
        hl_column_move(s, 1, false);
        return true;
    case HL_ACTION_COLUMN_NARROWER:
        hl_column_resize(s, -1, false);
        return true;
    case HL_ACTION_COLUMN_WIDER:
        hl_column_resize(s, 1, false);
        return true;
    case HL_ACTION_COLUMNS:
        edit_columns(s);
        return true;
    default:
        return false;
    }
}

static bool act_on_lines(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_OPEN:
        open_line(s);
        return true;
    case HL_ACTION_GROUP:
        toggle_group(s);
        return true;
    case HL_ACTION_DIFFER:
        toggle_differ(s);
        return true;
    case HL_ACTION_HIDE:
        hl_screen_hide(s);
        return true;
    case HL_ACTION_MARK_RANGE:
        mark_range(s);
        return true;
    case HL_ACTION_CYCLE_STATE:
        hl_screen_remember(s);
        s->look.states = (s->look.states + 1) % HL_STATES_COUNT;
        hl_screen_order(s);
        hl_screen_stay(s);
        return true;
    case HL_ACTION_SORT:
        sort_next(s);
        return true;
    case HL_ACTION_REVERSE:
        sort_by(s, s->look.sort);
        return true;
    default:
        return false;
    }
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
        hl_screen_move(s, -(int)s->lines.n);
        return true;
    case HL_ACTION_BOTTOM:
        hl_screen_move(s, (int)s->lines.n);
        return true;
    case HL_ACTION_COPY:
        if (row) {
            hl_screen_copy(s, row->id);
        }
        return true;
    default:
        return act_on_columns(s, a) || act_on_lines(s, a);
    }
}

/* ---- the mouse ---- */

/* The column whose title or left edge is at x; -1: none. */
static int column_at(const hl_screen *s, const plan *p, int x, bool *edge)
{
    for (int i = 0; i < s->n_columns; i++)
        if (p->x[i] >= 0 && x >= p->x[i] - 1 && x < p->x[i] + p->w[i]) {
            *edge = x < p->x[i];
            return i;
        }
    return -1;
}

/* While the name has room to give, columns grow to the left; else the one before grows to the
 * right. Either way the edge follows the pointer. */
static void hold_column(hl_screen *s, const plan *p, int x)
{
    bool edge = false;
    int i = column_at(s, p, x, &edge);
    s->held_column.on = i >= 0;
    if (i < 0)
        return;
    s->held_column.moved = false;
    s->held_column.edge = edge;
    s->held_column.x = x;
    s->held_column.column = i;
    s->held_column.width = p->w[i];
}

static void drag_column(hl_screen *s, const plan *p, int x)
{
    const int was = s->column, held = s->held_column.column;
    bool edge = false;
    s->column = held;
    if (s->held_column.edge) {
        const int by = s->held_column.width - (x - s->held_column.x) - p->w[held];
        if (by) {
            hl_column_resize(s, by, s->held_column.moved);
            s->held_column.moved = true;
        }
    } else {
        const int to = column_at(s, p, x, &edge);
        if (to >= 0 && to != held) {
            hl_column_move(s, to - held, s->held_column.moved);
            s->held_column.moved = true;
            s->held_column.column = s->column;
        }
    }
    s->column = was < 0 ? -1 : s->held_column.column;
}

/* Titles: a click sorts, a drag moves the column, a drag of its left edge makes it wider. */
static bool click_titles(hl_screen *s, int x, int y, int head, hl_mouse_what what)
{
    const hl_rect r = s->layout.pane[HL_PANE_RUNS];
    const plan p = make_plan(s, r.w - 2 * s->layout.frames);
    const bool press = what == HL_MOUSE_PRESS || what == HL_MOUSE_DOUBLE;
    if (s->held_column.on && what == HL_MOUSE_DRAG) {
        drag_column(s, &p, x);
    } else if (s->held_column.on && what == HL_MOUSE_RELEASE) {
        s->held_column.on = false;
        if (!s->held_column.moved && !s->held_column.edge)
            sort_by(s, s->columns[s->held_column.column].name);
    } else if (press && y < head && x >= FIXED && x < FIXED + p.name) {
        sort_by(s, "name");
    } else if (press && y < head) {
        hold_column(s, &p, x);
    } else {
        return y < head;
    }
    return true;
}

static void click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    const hl_rect r = s->layout.pane[HL_PANE_RUNS];
    const int edges = 2 * s->layout.frames, head = s->list_rows < r.h - edges;
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN) {
        hl_screen_move(s, what == HL_MOUSE_WHEEL_UP ? -3 : 3);
        return;
    }
    if (click_titles(s, x, y, head, what) || (what != HL_MOUSE_PRESS && what != HL_MOUSE_DOUBLE))
        return;
    const int at = s->list_top + y - head;
    if (at < 0 || at >= (int)s->lines.n)
        return;
    hl_screen_to_line(s, at);
    if (what == HL_MOUSE_DOUBLE)
        act(s, HL_ACTION_OPEN);
    else if (x >= 1 && x <= 3 && !s->on_group)
        hl_screen_mark(s, s->selected, !hl_screen_is_marked(s, s->selected));
    else if (x >= 1 && x <= 3)
        open_line(s);
}

const hl_pane_class hl_pane_runs = {
    .framed = true, .focusable = true, .title = title, .draw = draw, .act = act, .click = click};
