/* The run list: which rows, in which order, which one has the cursor, which are marked. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "views/filter.h"
#include "views/row_field.h"
#include "views/screen.h"

/* ---- sorting ---- */

/* Unknown values come last in either direction; runs that are equal keep the newest first. */
static int compare(const hl_run_row *a, const hl_run_row *b, int column, bool reverse)
{
    const hl_row_field *k = hl_row_sort_field(column);
    int order = 0;
    if (k->text) {
        const char *x = k->text(a), *y = k->text(b);
        if (!*x != !*y)
            return *x ? -1 : 1;
        order = strcmp(x, y);
    } else {
        double x, y;
        const bool known_x = k->number(a, &x) && !isnan(x), known_y = k->number(b, &y) && !isnan(y);
        if (known_x != known_y)
            return known_x ? -1 : 1;
        order = !known_x ? 0 : x < y ? -1 : x > y;
    }
    return reverse ? -order : order;
}

static bool is_in_set(hl_run_state st, int set)
{
    switch (set) {
    case HL_STATES_LIVE:
        return hl_state_is_live(st) || st == HL_RUN_QUEUED;
    case HL_STATES_DONE:
        return st == HL_RUN_DONE;
    case HL_STATES_BROKEN:
        return st >= HL_RUN_STOPPED;
    default:
        return true;
    }
}

/* The rows as sort keys: the C library's sort takes no context. */
typedef struct sort_key {
    const hl_run_row *row;
    int index, column;
    bool reverse;
} sort_key;

static int by_key(const void *a, const void *b)
{
    const sort_key *x = a, *y = b;
    const int order = compare(x->row, y->row, x->column, x->reverse);
    return order ? order : y->index - x->index;
}

void hl_screen_order(hl_screen *s)
{
    const hl_run_rows *rows = s->model.rows;
    HL_VEC(sort_key) keys = {0};
    s->order.n = s->methods.n = 0;
    if (!rows || hl_vec_reserve(&keys, rows->n + 1) != HL_OK ||
        hl_vec_reserve(&s->order, rows->n + 1) != HL_OK) {
        hl_vec_done(&keys);
        return;
    }
    for (size_t i = 0; i < rows->n; i++)
        if (is_in_set(rows->at[i].state, s->look.states) &&
            hl_filter_fits(s->look.filter, &rows->at[i], NULL))
            keys.at[keys.n++] = (sort_key){&rows->at[i], (int)i, s->look.sort, s->look.reverse};
    if (keys.n)
        qsort(keys.at, keys.n, sizeof *keys.at, by_key);
    for (size_t i = 0; i < keys.n; i++)
        s->order.at[i] = keys.at[i].index;
    s->order.n = keys.n;
    hl_vec_done(&keys);
    hl_methods_of(rows->at, s->order.at, s->order.n, &s->methods);
    if (!s->selected && s->order.n)
        hl_screen_select(s, rows->at[s->order.at[0]].dir);
    if (s->selected && s->order.n && !hl_screen_row(s) && rows->n)
        hl_screen_stay(s); /* it was deleted */
    const int at = hl_screen_cursor(s);
    s->cursor_was = at >= 0 ? at : s->cursor_was;
}

void hl_screen_stay(hl_screen *s)
{
    const int last = (int)s->order.n - 1, to = s->cursor_was < last ? s->cursor_was : last;
    if (hl_screen_cursor(s) < 0 && to >= 0)
        hl_screen_select(s, s->model.rows->at[s->order.at[to]].dir);
}

/* ---- the cursor: on a run, not on a row number ---- */

int hl_screen_cursor(const hl_screen *s)
{
    for (size_t i = 0; s->selected && i < s->order.n; i++)
        if (strcmp(s->model.rows->at[s->order.at[i]].dir, s->selected) == 0)
            return (int)i;
    return -1;
}

const hl_run_row *hl_screen_row(const hl_screen *s)
{
    const bool nothing_fits = s->look.view == HL_VIEW_RUNS && s->order.n == 0;
    return s->selected && !nothing_fits ? hl_model_row(&s->model, s->selected) : NULL;
}

hl_watched *hl_screen_run(hl_screen *s)
{
    return hl_screen_row(s) ? hl_model_watch(&s->model, s->selected) : NULL;
}

void hl_screen_select(hl_screen *s, const char *dir)
{
    char *copy = hl_strdup(dir);
    if (!copy)
        return;
    hl_free(s->selected);
    s->selected = copy;
    s->log_last = -1;
    s->has_crosshair = false;
    s->has_anchor = false;
    s->solve_step = -1;
}

void hl_screen_move(hl_screen *s, int rows)
{
    const int n = (int)s->order.n, at = hl_screen_cursor(s);
    if (n == 0)
        return;
    int to = at < 0 ? 0 : at + rows;
    to = to < 0 ? 0 : to >= n ? n - 1 : to;
    if (to != at)
        hl_screen_select(s, s->model.rows->at[s->order.at[to]].dir);
    s->cursor_was = to;
}

const char *hl_screen_open_run(hl_screen *s, const char *run)
{
    const hl_run_rows *rows = s->model.rows;
    const char *found = NULL;
    const size_t n = strlen(run);
    for (size_t i = rows ? rows->n : 0; i-- > 0;) { /* newest first */
        const hl_run_row *r = &rows->at[i];
        const size_t id = strlen(r->id);
        if (strcmp(run, "last") == 0 || strcmp(r->id, run) == 0 || strcmp(r->dir, run) == 0)
            return r->dir;
        if (!found && (strcmp(r->name, run) == 0 || hl_str_starts(r->id, run) ||
                       (id > n && strcmp(r->id + id - n, run) == 0)))
            found = r->dir;
    }
    return found;
}

/* ---- marks and colours ---- */

static hl_mark *find_mark(const hl_screen *s, const char *dir)
{
    for (size_t i = 0; i < s->marks.n; i++)
        if (strcmp(s->marks.at[i].dir, dir) == 0)
            return &s->marks.at[i];
    return NULL;
}

/* The first colour that no marked run has. */
static int free_color(const hl_screen *s)
{
    for (int color = 0;; color++) {
        bool taken = false;
        for (size_t i = 0; i < s->marks.n; i++)
            taken |= s->marks.at[i].color == color;
        if (!taken)
            return color;
    }
}

bool hl_screen_is_marked(const hl_screen *s, const char *dir)
{
    return find_mark(s, dir) != NULL;
}

void hl_screen_mark(hl_screen *s, const char *dir, bool on)
{
    hl_mark *m = find_mark(s, dir);
    if (m && !on) {
        hl_free(m->dir);
        s->marks.n--;
        memmove(m, m + 1, (size_t)(s->marks.at + s->marks.n - m) * sizeof *m);
    } else if (!m && on) {
        hl_mark fresh = {.dir = hl_strdup(dir), .color = free_color(s)};
        if (!fresh.dir || hl_vec_push(&s->marks, fresh) != HL_OK)
            hl_free(fresh.dir);
    }
}

/* A run that is not marked has the colour that marking would give it. */
int hl_screen_color(const hl_screen *s, const char *dir)
{
    const hl_mark *m = find_mark(s, dir);
    return m ? m->color : free_color(s);
}

hl_style hl_color_style(int color)
{
    return (hl_style){.role = (uint8_t)(HL_ROLE_SERIES + color % HL_SERIES_ROLES)};
}

char hl_color_letter(int color)
{
    return (char)('a' + color % 26);
}

int hl_screen_shown(hl_screen *s, hl_shown out[HL_SHOWN_MAX])
{
    const hl_run_row *row = hl_screen_row(s);
    int n = 0;
    if (row)
        out[n++] =
            (hl_shown){row, hl_model_watch(&s->model, row->dir), hl_screen_color(s, row->dir)};
    for (size_t i = 0; s->look.overlay && i < s->marks.n && n < HL_SHOWN_MAX; i++) {
        const hl_mark *m = &s->marks.at[i];
        const hl_run_row *other = hl_model_row(&s->model, m->dir);
        if (other && other != row)
            out[n++] = (hl_shown){other, hl_model_watch(&s->model, m->dir), m->color};
    }
    return n;
}
