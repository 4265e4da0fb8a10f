/* Columns and words of the filter from scripts: a function is asked about every run.
 *
 * DESIGN. What it says stands beside the configuration of the row, under "lua.NAME", so columns,
 * sorting, groups and filters know it like any other key. Rows come anew with every list: what is
 * known is put into them at once, and what has changed is asked for, a bounded number of runs in an
 * order. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen_lua.h"

enum { RUNS_AT_ONCE = 64, VALUES_MAX = 32, TEXT_MAX = 120 };

static const char *text_of(const hl_json *v, const char *key)
{
    return hl_json_str(hl_json_get(v, key), "");
}

void hl_scripted_values_done(hl_scripted_values *p)
{
    for (size_t i = 0; i < p->at.n; i++)
        hl_free(p->at.at[i].help);
    for (size_t i = 0; i < p->rows.n; i++)
        hl_json_free(p->rows.at[i].values);
    hl_vec_done(&p->at);
    hl_vec_done(&p->rows);
    *p = (hl_scripted_values){0};
}

/* ---- definitions ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const hl_scripted_value *)a)->name, ((const hl_scripted_value *)b)->name);
}

/* { name, help, filter }; one of that name is replaced. */
void hl_scripted_add_value(hl_screen *s, const hl_json *v)
{
    hl_scripted_values *p = &s->scripted.values;
    hl_scripted_value fresh = {.is_filter = hl_json_bool(hl_json_get(v, "filter"), false)};
    snprintf(fresh.name, sizeof fresh.name, "%s", text_of(v, "name"));
    for (size_t i = 0; i < p->at.n; i++)
        if (strcmp(p->at.at[i].name, fresh.name) == 0) {
            hl_free(p->at.at[i].help);
            p->at.at[i] = p->at.at[--p->at.n];
            break;
        }
    fresh.help = hl_strdup(text_of(v, "help"));
    if (p->at.n == VALUES_MAX) {
        hl_scripted_complain(s, text_of(v, "where"), "so many columns and filters");
        hl_free(fresh.help);
        return;
    }
    if (!fresh.help || hl_vec_push(&p->at, fresh) != HL_OK) {
        hl_free(fresh.help);
        return;
    }
    qsort(p->at.at, p->at.n, sizeof *p->at.at, by_name);
    for (size_t i = 0; i < p->rows.n; i++)
        p->rows.at[i].seen = 0;
    p->broken = false;
    p->news++;
    hl_screen_order(s);
}

void hl_scripted_values_complete(hl_screen *s, const char *word)
{
    for (size_t i = 0; i < s->scripted.values.at.n; i++)
        hl_screen_add_completion(s, s->scripted.values.at.at[i].name, word);
}

/* ---- what is known of a run ---- */

static uint64_t hash_of(const hl_run_row *row)
{
    return hl_hash_str(HL_HASH_START, row->dir);
}

/* Place of the run, or where it belongs. */
static size_t place_of(const hl_scripted_values *p, uint64_t run)
{
    size_t lo = 0, hi = p->rows.n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (p->rows.at[mid].run < run)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* NULL: no memory for it. */
static hl_scripted_row *row_of(hl_scripted_values *p, uint64_t run)
{
    const size_t at = place_of(p, run);
    if (at < p->rows.n && p->rows.at[at].run == run)
        return &p->rows.at[at];
    if (hl_vec_push(&p->rows, (hl_scripted_row){0}) != HL_OK)
        return NULL;
    memmove(&p->rows.at[at + 1], &p->rows.at[at], (p->rows.n - 1 - at) * sizeof *p->rows.at);
    p->rows.at[at] = (hl_scripted_row){.run = run};
    return &p->rows.at[at];
}

/* What a function may have looked at, as far as a row tells. */
static uint64_t look_of(const hl_run_row *row)
{
    char text[160];
    snprintf(text, sizeof text, "%d %lld %.17g %.17g", (int)row->state, (long long)row->step,
             row->loss, row->eval);
    uint64_t h = hl_hash_str(HL_HASH_START, text);
    h = hl_hash_str(hl_hash_str(hl_hash_str(h, row->name), row->tags), row->note);
    return h ? h : 1;
}

static void put_into_row(hl_screen *s, size_t i, const hl_json *values)
{
    const hl_scripted_values *p = &s->scripted.values;
    hl_run_value more[VALUES_MAX];
    char key[VALUES_MAX][40], text[VALUES_MAX][TEXT_MAX];
    size_t n = 0;
    for (; n < p->at.n && n < VALUES_MAX; n++) {
        const hl_json *v = hl_json_get(values, p->at.at[n].name);
        const bool is_number = hl_json_is_number(v), is_bool = v && hl_json_is_bool(v);
        const double x = is_number ? hl_json_num(v, 0) : (double)NAN;
        const bool on = is_bool && hl_json_bool(v, false);
        snprintf(key[n], sizeof key[n], "lua.%s", p->at.at[n].name);
        if (is_number)
            snprintf(text[n], TEXT_MAX, "%.6g", x);
        else
            snprintf(text[n], TEXT_MAX, "%s", is_bool ? on ? "true" : "false" : hl_json_str(v, ""));
        more[n] = (hl_run_value){key[n], v && *text[n] ? text[n] : NULL, is_bool ? on : x};
    }
    HL_IGNORE(hl_run_rows_add(s->model.rows, i, more, n)); /* without memory it is unknown */
}

/* ---- asking ---- */

static void ask(hl_screen *s)
{
    hl_scripted_values *p = &s->scripted.values;
    hl_str b = {0};
    int n = 0;
    hl_json_begin(&b, '{');
    hl_json_add_key(&b, "runs");
    hl_json_begin(&b, '[');
    for (size_t i = s->model.rows->n; i-- > 0 && n < RUNS_AT_ONCE;) { /* the newest first */
        const hl_run_row *row = &s->model.rows->at[i];
        hl_scripted_row *k = row->waits ? NULL : row_of(p, hash_of(row));
        if (!k || k->seen == look_of(row))
            continue;
        k->seen = look_of(row);
        hl_json_add_str(&b, row->dir);
        n++;
    }
    hl_json_end(&b, ']');
    hl_json_end(&b, '}');
    if (n && hl_str_status(&b) == HL_OK)
        p->ticket = hl_console_order(s, "values", hl_str_text(&b), HL_SCRIPTED_LIMIT_MS);
    p->ticket = p->ticket > 0 ? p->ticket : 0;
    hl_str_done(&b);
}

void hl_scripted_values_update(hl_screen *s)
{
    hl_scripted_values *p = &s->scripted.values;
    if (p->at.n == 0 || !s->model.rows)
        return;
    const int64_t lists = (int64_t)s->model.n_lists;
    if (p->lists != lists || p->put != p->news)
        for (size_t i = 0; i < s->model.rows->n; i++) {
            const uint64_t run = hash_of(&s->model.rows->at[i]);
            const size_t at = place_of(p, run);
            if (at < p->rows.n && p->rows.at[at].run == run && p->rows.at[at].values)
                put_into_row(s, i, p->rows.at[at].values);
        }
    p->lists = lists;
    p->put = p->news;
    if (!p->ticket && !p->broken)
        ask(s);
}

/* { rows: [{ run, values }], trouble } */
bool hl_scripted_values_take(hl_screen *s, const hl_script_reply *r)
{
    hl_scripted_values *p = &s->scripted.values;
    if (strcmp(r->kind, "values") != 0)
        return false;
    if (r->ticket != p->ticket)
        return true;
    p->ticket = 0;
    if (r->failed) {
        p->broken = true;
        hl_scripted_complain(s, "columns and filters from scripts", text_of(r->value, "message"));
        return true;
    }
    for (const hl_json *v = hl_json_at(hl_json_get(r->value, "rows"), 0); v; v = hl_json_next(v)) {
        hl_scripted_row *k = row_of(p, hl_hash_str(HL_HASH_START, text_of(v, "run")));
        hl_str text = {0};
        hl_json *values = NULL;
        hl_json_add_value(&text, hl_json_get(v, "values"));
        if (k && hl_str_status(&text) == HL_OK && hl_json_parse(text.s, text.n, &values) == HL_OK) {
            hl_json_free(k->values);
            k->values = values;
        }
        hl_str_done(&text);
    }
    if (*text_of(r->value, "trouble"))
        hl_scripted_complain(s, "", text_of(r->value, "trouble"));
    p->news++;
    hl_screen_order(s);
    return true;
}
