/* The run list: which rows, in which order, which one has the cursor, which are marked. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "views/screen_lua.h"

/* ---- sorting ---- */

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
    hl_run_answer answer;
    int index;
    bool pinned, reverse;
} sort_key;

/* Unknown values come last in either direction. */
static int compare(const sort_key *x, const sort_key *y)
{
    const hl_run_answer *a = &x->answer, *b = &y->answer;
    const bool known_a = a->known && !(a->is_number && isnan(a->number));
    const bool known_b = b->known && !(b->is_number && isnan(b->number));
    int order = 0;
    if (known_a != known_b)
        return known_a ? -1 : 1;
    if (known_a && a->is_number != b->is_number)
        order = a->is_number ? -1 : 1; /* numbers before words */
    else if (known_a && a->is_number)
        order = (a->number > b->number) - (a->number < b->number);
    else if (known_a)
        order = strcmp(a->text, b->text);
    return x->reverse ? -order : order;
}

/* Pinned runs first; runs that are equal keep the newest first. */
static int by_key(const void *a, const void *b)
{
    const sort_key *x = a, *y = b;
    if (x->pinned != y->pinned)
        return x->pinned ? -1 : 1;
    const int order = compare(x, y);
    return order ? order : y->index - x->index;
}

/* What look.sort means among these runs; none of them has it: by age. */
static hl_run_key sort_key_of(const hl_screen *s)
{
    hl_run_key k = {.field = hl_run_field_at(0)};
    if (hl_run_key_find(s->look.sort, s->model.rows, &k) != HL_OK)
        hl_err_clear();
    return k;
}

static void make_filter(hl_screen *s)
{
    hl_filter_free(s->filter);
    s->filter = NULL;
    hl_lua_filter_ask(s);
    if (hl_lua_filter_is(s->look.filter))
        return;
    if (s->look.filter[0] && hl_filter_new(s->look.filter, s->model.rows, &s->filter) != HL_OK)
        hl_screen_say_error(s);
}

/* The rows that fit, sorted. false: no memory. */
static bool sort_rows(hl_screen *s, const hl_run_key *key)
{
    const hl_run_rows *rows = s->model.rows;
    const bool archived = hl_filter_asks_archived(s->filter);
    HL_VEC(sort_key) keys = {0};
    if (hl_vec_reserve(&keys, rows->n + 1) != HL_OK ||
        hl_vec_reserve(&s->order, rows->n + 1) != HL_OK) {
        hl_vec_done(&keys);
        return false;
    }
    for (size_t i = 0; i < rows->n; i++) {
        const hl_run_row *r = &rows->at[i];
        if ((archived || !r->archived) && is_in_set(r->state, s->look.states) &&
            hl_filter_fits(s->filter, r) && hl_lua_filter_fits(s, r))
            keys.at[keys.n++] =
                (sort_key){hl_run_key_order(key, r), (int)i, r->pinned, s->look.reverse};
    }
    if (keys.n)
        qsort(keys.at, keys.n, sizeof *keys.at, by_key);
    for (size_t i = 0; i < keys.n; i++)
        s->order.at[i] = keys.at[i].index;
    s->order.n = keys.n;
    hl_vec_done(&keys);
    return true;
}

/* Values that are read from events for columns, order, groups and filter. */
static void want_deep(hl_screen *s, const hl_run_key *order)
{
    hl_deep_keys keys = {0};
    char word[HL_RUN_KEY_MAX];
    for (int i = 0; i < s->n_columns; i++)
        hl_deep_keys_add(&keys, s->columns[i].name);
    if (order->is_deep)
        hl_deep_keys_add(&keys, order->path);
    for (const char *at = s->look.group; *at; at += strspn(at, " ")) {
        const size_t n = strcspn(at, " ");
        snprintf(word, sizeof word, "%.*s", (int)n, at);
        hl_deep_keys_add(&keys, word);
        at += n;
    }
    hl_filter_deep_keys(s->filter, &keys);
    if (hl_deep_keys_equal(&s->model.wanted, &keys))
        return;
    if (hl_watch_want(s->model.watch, &keys) != HL_OK) {
        hl_err_clear(); /* asked again with the next list */
        return;
    }
    s->model.wanted = keys;
    s->model.n_wants++;
}

void hl_screen_order(hl_screen *s)
{
    const hl_run_rows *rows = s->model.rows;
    s->order.n = s->methods.n = s->lines.n = s->groups.n = s->line_of.n = 0;
    hl_scripted_values_update(s);
    make_filter(s);
    const hl_run_key key = sort_key_of(s);
    if (!rows || !sort_rows(s, &key))
        return;
    hl_run_lines_make(s, &key);
    hl_columns_make(s);
    want_deep(s, &key);
    hl_methods_of(rows->at, s->order.at, s->order.n, &s->methods);
    if (!s->selected && s->lines.n)
        hl_screen_to_line(s, 0);
    if (s->selected && s->lines.n && !hl_screen_row(s) && rows->n)
        hl_screen_stay(s); /* it was deleted */
    const int at = hl_screen_line(s);
    s->cursor_was = at >= 0 ? at : s->cursor_was;
}

void hl_screen_stay(hl_screen *s)
{
    const int last = (int)s->lines.n - 1, to = s->cursor_was < last ? s->cursor_was : last;
    if (hl_screen_line(s) < 0 && to >= 0)
        hl_screen_to_line(s, to);
}

/* ---- the cursor: on a run, not on a row number ---- */

int hl_screen_cursor(const hl_screen *s)
{
    const hl_run_row *row = s->selected ? hl_model_row(&s->model, s->selected) : NULL;
    for (size_t i = 0; row && i < s->order.n; i++)
        if (&s->model.rows->at[s->order.at[i]] == row)
            return (int)i;
    return -1;
}

/* Of a run in a closed group the group's line. */
int hl_screen_line(const hl_screen *s)
{
    const hl_run_row *row = s->selected ? hl_model_row(&s->model, s->selected) : NULL;
    const size_t place = row ? (size_t)(row - s->model.rows->at) : SIZE_MAX;
    const int line = place < s->line_of.n ? s->line_of.at[place] : -1;
    const int group = line >= 0 && s->on_group ? s->lines.at[line].group : -1;
    return group >= 0 ? s->groups.at[group].line : line;
}

void hl_screen_to_line(hl_screen *s, int line)
{
    const hl_run_line *l = &s->lines.at[line];
    hl_screen_select(s, s->model.rows->at[l->row].dir);
    s->on_group = l->is_group;
    s->cursor_was = line;
}

const hl_run_row *hl_screen_row(const hl_screen *s)
{
    const bool nothing_fits = s->look.view == HL_VIEW_RUNS && s->order.n == 0;
    return s->selected && !nothing_fits ? hl_model_row(&s->model, s->selected) : NULL;
}

hl_watched *hl_screen_run(hl_screen *s)
{
    const hl_run_row *row = hl_screen_row(s);
    return row && !row->waits ? hl_model_watch(&s->model, s->selected) : NULL;
}

void hl_screen_select(hl_screen *s, const char *dir)
{
    char *copy = hl_strdup(dir);
    if (!copy)
        return;
    hl_free(s->selected);
    s->selected = copy;
    s->on_group = false;
    s->log_last = -1;
    s->has_crosshair = false;
    s->has_anchor = false;
    s->solve_step = -1;
    s->forecast_step = -1;
}

void hl_screen_move(hl_screen *s, int rows)
{
    const int n = (int)s->lines.n, at = hl_screen_line(s);
    if (n == 0)
        return;
    int to = at < 0 ? s->cursor_was : at + rows; /* it left the list: what took its place */
    to = to < 0 ? 0 : to >= n ? n - 1 : to;
    if (to != at)
        hl_screen_to_line(s, to);
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
        if ((strcmp(run, "last") == 0 && !r->waits) || strcmp(r->id, run) == 0 || strcmp(r->dir, run) == 0)
            return r->dir;
        if (!found && (strcmp(r->name, run) == 0 || hl_str_starts(r->id, run) ||
                       (id > n && strcmp(r->id + id - n, run) == 0)))
            found = r->dir;
    }
    return found;
}

int hl_screen_shown(hl_screen *s, hl_shown out[HL_SHOWN_MAX])
{
    const hl_run_row *row = hl_screen_row(s);
    int n = 0;
    if (row)
        out[n++] = (hl_shown){row, hl_screen_run(s), hl_screen_color(s, row->dir)};
    for (size_t i = 0; s->look.overlay && i < s->marks.n && n < HL_SHOWN_MAX; i++) {
        const hl_mark *m = &s->marks.at[i];
        const hl_run_row *other = hl_model_row(&s->model, m->dir);
        if (other && other != row && !other->waits)
            out[n++] = (hl_shown){other, hl_model_watch(&s->model, m->dir), m->color};
    }
    return n;
}
