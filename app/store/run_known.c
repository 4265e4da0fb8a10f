#include "app/store/run_known.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "app/flat.h"
#include "engine/base/thread.h"

enum { VALUES_MAX = 1024, TEXT_MAX = 240 };

/* ---- blocks ---- */

/* The count, what is shown of the block, its entries, their texts. */
typedef struct values_block {
    hl_flag refs;
    hl_run_values shown;
    hl_run_value at[];
} values_block;

typedef struct metrics_block {
    hl_flag refs;
    hl_run_metrics shown;
    hl_run_scalar at[];
} metrics_block;

static values_block *block_of_values(const hl_run_values *v)
{
    return (values_block *)(void *)((char *)(uintptr_t)v - offsetof(values_block, shown));
}

static metrics_block *block_of_metrics(const hl_run_metrics *m)
{
    return (metrics_block *)(void *)((char *)(uintptr_t)m - offsetof(metrics_block, shown));
}

const hl_run_values *hl_run_values_ref(const hl_run_values *v)
{
    if (v)
        (void)hl_flag_add(&block_of_values(v)->refs, 1);
    return v;
}

void hl_run_values_unref(const hl_run_values *v)
{
    if (v && hl_flag_add(&block_of_values(v)->refs, -1) == 0)
        hl_free(block_of_values(v));
}

const hl_run_metrics *hl_run_metrics_ref(const hl_run_metrics *m)
{
    if (m)
        (void)hl_flag_add(&block_of_metrics(m)->refs, 1);
    return m;
}

void hl_run_metrics_unref(const hl_run_metrics *m)
{
    if (m && hl_flag_add(&block_of_metrics(m)->refs, -1) == 0)
        hl_free(block_of_metrics(m));
}

static const char *put_text(char **to, const char *text)
{
    const size_t n = strlen(text) + 1;
    char *at = memcpy(*to, text, n);
    *to += n;
    return at;
}

const hl_run_values *hl_run_values_copy(const hl_run_value *at, size_t n)
{
    size_t n_bytes = sizeof(values_block) + n * sizeof *at;
    for (size_t i = 0; i < n; i++)
        n_bytes += strlen(at[i].key) + strlen(at[i].text) + 2;
    values_block *b = hl_alloc(n_bytes);
    if (!b)
        return NULL;
    char *to = (char *)(b->at + n);
    for (size_t i = 0; i < n; i++) {
        b->at[i] = at[i];
        b->at[i].key = put_text(&to, at[i].key);
        b->at[i].text = put_text(&to, at[i].text);
    }
    hl_flag_set(&b->refs, 1);
    b->shown = (hl_run_values){n, b->at};
    return &b->shown;
}

const hl_run_values *hl_run_values_with(const hl_run_values *v, const hl_run_value *more, size_t n)
{
    const hl_run_values *out = NULL;
    HL_VEC(hl_run_value) all = {0};
    const size_t n_old = v ? v->n : 0;
    if (hl_vec_reserve(&all, n_old + n + 1) != HL_OK)
        return NULL;
    for (size_t i = 0, k = 0; i < n_old || k < n;) {
        const int order = i == n_old ? 1 : k == n ? -1 : strcmp(v->at[i].key, more[k].key);
        if (order < 0)
            all.at[all.n++] = v->at[i];
        else if (more[k].text)
            all.at[all.n++] = more[k];
        i += order <= 0;
        k += order >= 0;
    }
    out = hl_run_values_copy(all.at, all.n);
    hl_vec_done(&all);
    return out;
}

const hl_run_metrics *hl_run_metrics_copy(const hl_run_scalar *at, size_t n)
{
    size_t n_bytes = sizeof(metrics_block) + n * sizeof *at;
    for (size_t i = 0; i < n; i++)
        n_bytes += strlen(at[i].tag) + 1;
    metrics_block *b = hl_alloc(n_bytes);
    if (!b)
        return NULL;
    char *to = (char *)(b->at + n);
    for (size_t i = 0; i < n; i++) {
        b->at[i] = at[i];
        b->at[i].tag = put_text(&to, at[i].tag);
    }
    hl_flag_set(&b->refs, 1);
    b->shown = (hl_run_metrics){n, b->at};
    return &b->shown;
}

/* ---- values ---- */

static hl_run_value value_of(hl_flat_entry *e)
{
    if (strlen(e->text) > TEXT_MAX)
        e->text[TEXT_MAX] = 0;
    return (hl_run_value){e->path, e->text,
                          hl_json_is_number(e->value) ? hl_json_num(e->value, 0) : (double)NAN};
}

/* The path of run.json's entries begins with a word of their own. */
static hl_status mark_as_facts(hl_flat *f, size_t from)
{
    for (size_t i = from; i < f->n; i++) {
        hl_str b = {0};
        hl_str_addf(&b, "run.%s", f->at[i].path);
        if (hl_str_status(&b) != HL_OK) {
            hl_str_done(&b);
            return HL_E_NOMEM;
        }
        hl_free(f->at[i].path);
        f->at[i].path = b.s;
    }
    return HL_OK;
}

const hl_run_values *hl_run_values_new(const hl_json *config, const hl_json *facts)
{
    const hl_run_values *out = NULL;
    hl_flat flat = {0};
    HL_VEC(hl_run_value) values = {0};
    hl_status st = hl_flat_add(&flat, config);
    const size_t from = flat.n;
    if (st == HL_OK)
        st = hl_flat_add(&flat, facts);
    if (st == HL_OK)
        st = mark_as_facts(&flat, from);
    if (st == HL_OK)
        st = hl_vec_reserve(&values, flat.n + 1);
    if (st == HL_OK) {
        hl_flat_sort(&flat);
        for (size_t i = 0; i < flat.n && i < VALUES_MAX; i++)
            values.at[values.n++] = value_of(&flat.at[i]);
        out = hl_run_values_copy(values.at, values.n);
    }
    hl_vec_done(&values);
    hl_flat_done(&flat);
    return out;
}

static int by_key(const void *key, const void *value)
{
    return strcmp(key, ((const hl_run_value *)value)->key);
}

const hl_run_value *hl_run_row_value(const hl_run_row *row, const char *key)
{
    const hl_run_values *v = row->config;
    return v && v->n ? bsearch(key, v->at, v->n, sizeof *v->at, by_key) : NULL;
}

/* ---- metrics ---- */

void hl_run_scalar_read(const hl_json *v, hl_run_scalar *out)
{
    *out = (hl_run_scalar){
        .tag = hl_json_key(v),
        .n = hl_json_int(hl_json_get(v, "n"), 0),
        .n_non_finite = hl_json_int(hl_json_get(v, "non_finite"), 0),
        .last = hl_json_num_at(v, "last"),
        .min = hl_json_num_at(v, "min"),
        .max = hl_json_num_at(v, "max"),
        .mean = hl_json_num_at(v, "mean"),
        .last_step = hl_json_int(hl_json_get(v, "last_step"), -1),
        .min_step = hl_json_int(hl_json_get(v, "min_step"), -1),
        .max_step = hl_json_int(hl_json_get(v, "max_step"), -1),
        .bad_step = hl_json_int(hl_json_get(v, "non_finite_step"), -1),
    };
}

static int by_tag(const void *a, const void *b)
{
    return strcmp(((const hl_run_scalar *)a)->tag, ((const hl_run_scalar *)b)->tag);
}

const hl_run_metrics *hl_run_metrics_new(const hl_json *scalars)
{
    const hl_run_metrics *out = NULL;
    HL_VEC(hl_run_scalar) all = {0};
    hl_run_scalar m;
    for (const hl_json *v = hl_json_at(scalars, 0); v; v = hl_json_next(v)) {
        if (!hl_json_key(v) || !hl_json_is_object(v) || hl_str_starts(hl_json_key(v), "outliers/"))
            continue;
        hl_run_scalar_read(v, &m);
        if (hl_vec_push(&all, m) != HL_OK)
            goto out;
    }
    if (all.n)
        qsort(all.at, all.n, sizeof *all.at, by_tag);
    out = hl_run_metrics_copy(all.at, all.n);
out:
    hl_vec_done(&all);
    return out;
}

const hl_run_scalar *hl_run_row_metric(const hl_run_row *row, const char *tag)
{
    const hl_run_metrics *m = row->metrics;
    const hl_run_scalar key = {.tag = tag};
    return m && m->n ? bsearch(&key, m->at, m->n, sizeof *m->at, by_tag) : NULL;
}
