/* In what the marked runs differ: columns of the list, and keys of their configurations. Found anew
 * when runs or marks have changed, not for every picture: there may be thousands of both. */
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"

static const char *text_of(const hl_run_row *row, const char *key)
{
    const hl_run_value *v = hl_run_row_value(row, key);
    return v ? v->text : NULL;
}

static bool is_same(const hl_differ *d, const char *key)
{
    const char *first = text_of(d->rows.at[0], key);
    for (size_t i = 1; i < d->rows.n; i++) {
        const char *text = text_of(d->rows.at[i], key);
        if (!text != !first || (text && strcmp(text, first) != 0))
            return false;
    }
    return true;
}

/* Where a run was started is no setting; another script is. */
static bool is_setting(const char *key)
{
    return !hl_str_starts(key, "run.") || strcmp(key, "run.script") == 0;
}

static bool is_listed(const hl_differ *d, const char *key)
{
    for (size_t i = 0; i < d->keys.n; i++)
        if (strcmp(d->keys.at[i], key) == 0)
            return true;
    return false;
}

/* What the first run has is compared; what only others have differs. */
static void find_keys(hl_differ *d)
{
    d->keys.n = 0;
    for (size_t i = 0; i < d->rows.n && d->rows.n > 1; i++) {
        const hl_run_values *v = d->rows.at[i]->config;
        for (size_t k = 0; v && k < v->n; k++) {
            const char *key = v->at[k].key;
            const bool differs =
                i == 0 ? !is_same(d, key) : !text_of(d->rows.at[0], key) && !is_listed(d, key);
            if (differs && is_setting(key) && hl_vec_push(&d->keys, key) != HL_OK)
                return; /* without memory the rest is not shown */
        }
    }
}

static bool is_same_answer(const hl_run_answer *a, const hl_run_answer *b)
{
    if (a->known != b->known || !a->known)
        return a->known == b->known;
    if (a->text && b->text)
        return strcmp(a->text, b->text) == 0;
    return a->is_number == b->is_number &&
           (a->number == b->number || (a->number != a->number && b->number != b->number));
}

/* The runs have not all the same in it. */
static bool column_differs(const hl_differ *d, const hl_column *k)
{
    if (!k->known || d->rows.n < 2)
        return false;
    const hl_run_answer first = hl_run_key_ask(&k->key, d->rows.at[0]);
    for (size_t i = 1; i < d->rows.n; i++) {
        const hl_run_answer a = hl_run_key_ask(&k->key, d->rows.at[i]);
        if (!is_same_answer(&first, &a))
            return true;
    }
    return false;
}

/* The marked runs that are in the list, with the one under the cursor if it is not marked. */
static void find_rows(const hl_screen *s, hl_differ *d)
{
    const hl_run_row *now = hl_screen_row(s);
    d->rows.n = 0;
    if (hl_vec_reserve(&d->rows, s->marks.n + 1) != HL_OK)
        return;
    if (now && !hl_screen_is_marked(s, now->dir))
        d->rows.at[d->rows.n++] = now;
    for (size_t i = 0; i < s->marks.n; i++) {
        const hl_run_row *row = hl_model_row(&s->model, s->marks.at[i].dir);
        if (row)
            d->rows.at[d->rows.n++] = row;
    }
}

/* Of what it follows from. */
static uint64_t state_of(const hl_screen *s)
{
    const uint64_t numbers[] = {1 + s->model.n_lists, s->n_marked, (uint64_t)s->n_column_changes,
                                s->order.n};
    const uint64_t h = hl_hash_bytes(HL_HASH_START, numbers, sizeof numbers);
    return s->selected ? hl_hash_str(h, s->selected) : h;
}

const hl_differ *hl_screen_differ(hl_screen *s)
{
    hl_differ *d = &s->differ;
    const uint64_t now = state_of(s);
    if (d->of == now)
        return d;
    d->of = now;
    find_rows(s, d);
    find_keys(d);
    for (int i = 0; i < s->n_columns; i++)
        s->columns[i].differs = column_differs(d, &s->columns[i]);
    return d;
}

void hl_differ_done(hl_differ *d)
{
    hl_vec_done(&d->rows);
    hl_vec_done(&d->keys);
}
