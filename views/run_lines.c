/* From the rows that fit to the lines of the list: groups of runs, open and closed ones. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"

enum { KEYS_MAX = 6 };

/* What groups: the keys, or with none of them everything but the seed. */
typedef struct grouping {
    hl_run_key key[KEYS_MAX];
    int n;
} grouping;

static grouping read_grouping(const hl_screen *s)
{
    grouping g = {0};
    const char *text = s->look.group;
    char word[HL_RUN_KEY_MAX];
    if (strcmp(text, "seeds") == 0)
        return g;
    for (text += strspn(text, " "); *text && g.n < KEYS_MAX; text += strspn(text, " ")) {
        const int k = (int)strcspn(text, " ");
        snprintf(word, sizeof word, "%.*s", k, text);
        if (hl_run_key_find(word, s->model.rows, &g.key[g.n]) == HL_OK)
            g.n++;
        text += k;
    }
    hl_err_clear();
    return g;
}

static const char *answer_text(const hl_run_answer *a, char buf[32])
{
    if (a->known && !a->text)
        snprintf(buf, 32, "%.6g", a->number);
    return !a->known ? "" : a->text ? a->text : buf;
}

static uint64_t group_key(const grouping *g, const hl_run_row *row)
{
    char buf[32];
    uint64_t h = HL_HASH_START;
    if (g->n == 0)
        return hl_method_key(row);
    for (int i = 0; i < g->n; i++) {
        const hl_run_answer a = hl_run_key_ask(&g->key[i], row);
        h = hl_hash_str(h, answer_text(&a, buf));
    }
    return h ? h : 1;
}

static void put_label(const grouping *g, const hl_run_row *row, char *out, size_t n)
{
    char buf[32];
    size_t used = 0;
    out[0] = 0;
    if (g->n == 0)
        hl_run_label(row->name, out, n);
    for (int i = 0; i < g->n && used < n; i++) {
        const hl_run_answer a = hl_run_key_ask(&g->key[i], row);
        used += (size_t)snprintf(out + used, n - used, "%s%s", i ? ", " : "",
                                 a.known ? answer_text(&a, buf) : "-");
    }
}

static int place_of_open(const hl_screen *s, uint64_t key)
{
    for (size_t i = 0; i < s->open_groups.n; i++)
        if (s->open_groups.at[i] == key)
            return (int)i;
    return -1;
}

void hl_run_group_toggle(hl_screen *s, uint64_t key)
{
    const int at = place_of_open(s, key);
    if (at >= 0)
        s->open_groups.at[at] = s->open_groups.at[--s->open_groups.n];
    else
        HL_IGNORE(hl_vec_push(&s->open_groups, key)); /* without memory it stays closed */
    hl_screen_order(s);
}

/* ---- groups ---- */

/* A row with its group and its place in the order so far. */
typedef struct member {
    uint64_t key;
    int row, place;
} member;

static int by_key(const void *a, const void *b)
{
    const member *x = a, *y = b;
    return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : x->place - y->place;
}

/* A group as it is sorted: by the mean over its runs, or the text of its first. */
typedef struct sort_key {
    hl_run_group group;
    hl_run_answer mean;
    bool pinned, reverse;
    int place; /* of its first run */
} sort_key;

static int compare(const sort_key *x, const sort_key *y)
{
    const hl_run_answer *a = &x->mean, *b = &y->mean;
    const bool known_a = a->known && !(a->is_number && isnan(a->number));
    const bool known_b = b->known && !(b->is_number && isnan(b->number));
    if (known_a != known_b)
        return known_a ? -1 : 1;
    int order = 0;
    if (known_a && a->is_number && b->is_number)
        order = (a->number > b->number) - (a->number < b->number);
    else if (known_a && a->text && b->text)
        order = strcmp(a->text, b->text);
    return x->reverse ? -order : order;
}

static int by_mean(const void *a, const void *b)
{
    const sort_key *x = a, *y = b;
    if (x->pinned != y->pinned)
        return x->pinned ? -1 : 1;
    const int order = compare(x, y);
    return order ? order : x->place - y->place;
}

static hl_run_answer mean_of(const hl_run_rows *rows, const member *m, int n, const hl_run_key *key)
{
    const hl_run_answer first = hl_run_key_order(key, &rows->at[m[0].row]);
    hl_run_answer mean = {.is_number = true};
    int k = 0;
    for (int i = 0; i < n; i++) {
        const hl_run_answer a = hl_run_key_order(key, &rows->at[m[i].row]);
        if (a.known && !a.is_number)
            return first;
        if (a.known) {
            mean.number += a.number;
            k++;
        }
    }
    mean.known = k > 0;
    mean.number = k ? mean.number / k : 0;
    return mean;
}

static sort_key make_group(const hl_screen *s, const grouping *by, const hl_run_key *key,
                           const member *m, int n)
{
    const hl_run_rows *rows = s->model.rows;
    sort_key g = {.reverse = s->look.reverse,
                  .place = m[0].place,
                  .mean = mean_of(rows, m, n, key),
                  .group = {.key = m[0].key, .n = n, .open = place_of_open(s, m[0].key) >= 0}};
    for (int i = 0; i < n; i++) {
        const hl_run_row *r = &rows->at[m[i].row];
        g.pinned |= r->pinned;
        g.group.n_live += hl_state_is_live(r->state);
        g.group.n_broken += r->state >= HL_RUN_FAILED && r->state <= HL_RUN_LOST &&
                            r->state != HL_RUN_SILENT && r->state != HL_RUN_INTERRUPTED;
    }
    put_label(by, &rows->at[m[0].row], g.group.label, sizeof g.group.label);
    return g;
}

static bool add_line(hl_screen *s, int row, int group, bool is_group)
{
    return hl_vec_push(&s->lines, ((hl_run_line){row, group, is_group})) == HL_OK;
}

/* The order anew, group by group, and their lines. `m`: all members, sorted by key; `first`: of
 * each group its first one there. false: no memory. */
static bool lay_groups(hl_screen *s, const sort_key *g, size_t n, const member *m, const int *first)
{
    int at = 0;
    for (size_t i = 0; i < n; i++) {
        hl_run_group group = g[i].group;
        const member *own = m + first[group.first];
        const int place = group.n > 1 ? (int)i : -1;
        group.first = at;
        group.line = -1;
        for (int k = 0; k < group.n; k++)
            s->order.at[at++] = own[k].row;
        if (hl_vec_push(&s->groups, group) != HL_OK ||
            (group.n > 1 && !add_line(s, own[0].row, place, true)))
            return false;
        for (int k = 0; k < group.n && (group.open || group.n == 1); k++)
            if (!add_line(s, own[k].row, place, false))
                return false;
    }
    return true;
}

static bool make_groups(hl_screen *s, const hl_run_key *key)
{
    HL_VEC(member) m = {0};
    HL_VEC(sort_key) g = {0};
    HL_VEC(int) first = {0};
    const grouping by = read_grouping(s);
    bool done = hl_vec_reserve(&m, s->order.n + 1) == HL_OK;
    for (size_t i = 0; done && i < s->order.n; i++)
        m.at[m.n++] =
            (member){group_key(&by, &s->model.rows->at[s->order.at[i]]), s->order.at[i], (int)i};
    if (m.n)
        qsort(m.at, m.n, sizeof *m.at, by_key);
    for (size_t i = 0, end; done && i < m.n; i = end) {
        for (end = i + 1; end < m.n && m.at[end].key == m.at[i].key;)
            end++;
        sort_key group = make_group(s, &by, key, m.at + i, (int)(end - i));
        group.group.first = (int)first.n;
        done = hl_vec_push(&first, (int)i) == HL_OK && hl_vec_push(&g, group) == HL_OK;
    }
    if (g.n)
        qsort(g.at, g.n, sizeof *g.at, by_mean);
    done = done && lay_groups(s, g.at, g.n, m.at, first.at);
    hl_vec_done(&m);
    hl_vec_done(&g);
    hl_vec_done(&first);
    return done;
}

static bool is_hidden(const hl_screen *s, const hl_run_row *row)
{
    const uint64_t h = s->look.n_hidden ? hl_hash_str(HL_HASH_START, row->dir) : 0;
    for (int i = 0; i < s->look.n_hidden; i++)
        if (s->look.hidden_runs[i] == h)
            return true;
    return false;
}

/* Hidden runs have no line; they count in their group all the same. */
static void drop_hidden(hl_screen *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->lines.n; i++)
        if (s->lines.at[i].is_group || !is_hidden(s, &s->model.rows->at[s->lines.at[i].row]))
            s->lines.at[n++] = s->lines.at[i];
    s->lines.n = n;
}

/* Which line a run is on; hidden ones and those of closed groups are on their group's. */
static void find_lines(hl_screen *s)
{
    const size_t n = s->model.rows->n;
    s->line_of.n = 0;
    if (hl_vec_reserve(&s->line_of, n) != HL_OK)
        return;
    s->line_of.n = n;
    for (size_t i = 0; i < n; i++)
        s->line_of.at[i] = -1;
    for (size_t i = 0; i < s->lines.n; i++) {
        const hl_run_line *l = &s->lines.at[i];
        hl_run_group *g = l->is_group ? &s->groups.at[l->group] : NULL;
        if (g)
            g->line = (int)i;
        for (int k = 0; g && k < g->n; k++)
            s->line_of.at[s->order.at[g->first + k]] = (int)i;
        if (!g)
            s->line_of.at[l->row] = (int)i;
    }
}

void hl_run_lines_make(hl_screen *s, const hl_run_key *key)
{
    s->lines.n = s->groups.n = 0;
    if (!s->look.group[0] || !make_groups(s, key)) {
        s->lines.n = s->groups.n = 0;
        for (size_t i = 0; i < s->order.n; i++)
            if (!add_line(s, s->order.at[i], -1, false))
                break;
    }
    if (s->look.n_hidden)
        drop_hidden(s);
    find_lines(s);
}
