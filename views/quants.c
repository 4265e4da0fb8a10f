#include "views/quants.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"

/* ---- of one run ---- */

static void forget(hl_quants *q, size_t i)
{
    hl_free(q->kept.at[i].recipe);
    hl_json_free(q->kept.at[i].event);
    q->kept.n--;
    memmove(&q->kept.at[i], &q->kept.at[i + 1], (q->kept.n - i) * sizeof *q->kept.at);
}

bool hl_quants_add(hl_quants *q, const char *tag, int64_t step, int64_t t_us, const char *text)
{
    hl_quantization x = {.key = hl_quant_key(tag), .step = step, .t_us = t_us};
    const hl_status st = hl_json_parse(text, strlen(text), &x.event);
    if (st != HL_OK || !hl_json_is_array(hl_json_get(x.event, "tensors"))) {
        q->n_damaged += st != HL_E_NOMEM;
        if (st == HL_OK)
            hl_json_free(x.event);
        return st != HL_E_NOMEM;
    }
    /* of weights of one step by one recipe the newest says all that the ones before said, or more
     */
    for (size_t i = q->kept.n; i-- > 0;)
        if (q->kept.at[i].key == x.key && q->kept.at[i].step == step &&
            !(hl_json_get(q->kept.at[i].event, "sensitivity") &&
              !hl_json_get(x.event, "sensitivity")))
            forget(q, i);
    x.recipe = hl_strdup(strchr(tag, '/') + 1);
    if (!x.recipe || hl_vec_push(&q->kept, x) != HL_OK) {
        hl_free(x.recipe);
        hl_json_free(x.event);
        return false;
    }
    if (q->kept.n > HL_QUANTS_KEPT)
        forget(q, 0);
    return true;
}

void hl_quants_cut(hl_quants *q, int64_t from)
{
    for (size_t i = q->kept.n; i-- > 0;)
        if (q->kept.at[i].step >= from)
            forget(q, i);
}

void hl_quants_done(hl_quants *q)
{
    hl_quants_cut(q, INT64_MIN);
    hl_vec_done(&q->kept);
    *q = (hl_quants){0};
}

const hl_quantization *hl_quants_find(const hl_quants *q, uint64_t key, const char *member)
{
    for (size_t i = q->kept.n; i-- > 0;) {
        const hl_quantization *x = &q->kept.at[i];
        if ((!key || x->key == key) && (!member || hl_json_get(x->event, member)))
            return x;
    }
    return NULL;
}

bool hl_quants_grid(const hl_quants *q, const char *tap, double *least, double *most)
{
    const hl_quantization *x = hl_quants_find(q, 0, NULL);
    const hl_json *list = x ? hl_json_get(x->event, "tensors") : NULL;
    for (const hl_json *t = hl_json_at(list, 0); t; t = hl_json_next(t)) {
        if (strcmp(hl_json_str(hl_json_get(t, "tap"), ""), tap) != 0)
            continue;
        *least = hl_json_num(hl_json_get(t, "least"), (double)NAN);
        *most = hl_json_num(hl_json_get(t, "most"), (double)NAN);
        return *least < *most;
    }
    return false;
}

/* ---- its tensors ---- */

static const char *const keys[HL_TENSOR_N] = {
#define HL_TENSOR_KEY(upper, key, title, w, rank) key,
    HL_TENSOR_COLUMNS(HL_TENSOR_KEY)
#undef HL_TENSOR_KEY
};

static hl_tensor tensor_of(const hl_json *site, int place)
{
    hl_tensor t = {.name = hl_json_str(hl_json_get(site, "name"), "?"),
                   .tap = hl_json_str(hl_json_get(site, "tap"), ""),
                   .is_weight = strcmp(hl_json_str(hl_json_get(site, "role"), ""), "weight") == 0,
                   .is_float = hl_json_bool(hl_json_get(site, "float"), false),
                   .place = place};
    for (int i = 0; i < HL_TENSOR_N; i++)
        t.v[i] = hl_json_num(hl_json_get(site, keys[i]), (double)NAN);
    t.v[HL_TENSOR_ROLE] = t.is_weight;
    return t;
}

/* The C library's sort takes no context. */
typedef struct sort_key {
    hl_tensor t;
    int by;
    bool reverse;
} sort_key;

static int by_key(const void *a, const void *b)
{
    const sort_key *x = a, *y = b;
    int order = 0;
    if (x->by == HL_TENSOR_BY_NAME) {
        order = strcmp(x->t.name, y->t.name);
    } else {
        const double u = x->t.v[x->by], v = y->t.v[x->by];
        if (isnan(u) != isnan(v))
            return isnan(u) ? 1 : -1;
        order = isnan(u) ? 0 : (u > v) - (u < v);
    }
    order = x->reverse ? -order : order;
    return order ? order : x->t.place - y->t.place;
}

/* Of the entry with this name in a list of objects. */
static double value_in(const hl_json *list, const char *name, const char *key)
{
    for (const hl_json *t = hl_json_at(list, 0); t; t = hl_json_next(t))
        if (strcmp(hl_json_str(hl_json_get(t, "name"), ""), name) == 0)
            return hl_json_num(hl_json_get(t, key), (double)NAN);
    return (double)NAN;
}

void hl_tensors_of(const hl_tensors_wish *wish, hl_tensors *out)
{
    HL_VEC(sort_key) all = {0};
    int place = 0;
    out->n = 0;
    const hl_json *list = wish->of ? hl_json_get(wish->of->event, "tensors") : NULL;
    const hl_json *ranks = wish->ranked ? hl_json_get(wish->ranked->event, "sensitivity") : NULL,
                  *others = wish->other ? hl_json_get(wish->other->event, "tensors") : NULL;
    for (const hl_json *s = hl_json_at(list, 0); s; s = hl_json_next(s)) {
        sort_key k = {tensor_of(s, place++), wish->by, wish->reverse};
        k.t.v[HL_TENSOR_GROWTH] = value_in(ranks, k.t.name, "growth");
        k.t.v[HL_TENSOR_OTHER] = k.t.v[HL_TENSOR_SQNR] - value_in(others, k.t.name, "sqnr");
        if (hl_vec_push(&all, k) != HL_OK)
            break;
    }
    if (all.n)
        qsort(all.at, all.n, sizeof *all.at, by_key);
    if (hl_vec_reserve(out, all.n + 1) == HL_OK)
        for (size_t i = 0; i < all.n; i++)
            out->at[out->n++] = all.at[i].t;
    hl_vec_done(&all);
}

/* The first part of a name that is a number: where it begins, and its value; NULL: there is none.
 */
static const char *layer_in(const char *name, int *number)
{
    for (const char *at = name; at;) {
        const size_t digits = strspn(at, "0123456789");
        if (digits > 0 && digits < 6 && (at[digits] == '.' || !at[digits]) && at > name) {
            *number = (int)strtol(at, NULL, 10);
            return at;
        }
        at = strchr(at, '.');
        at = at ? at + 1 : NULL;
    }
    return NULL;
}

const char *hl_tensor_short(const char *name, char buf[HL_TENSOR_NAME_MAX])
{
    int number;
    const char *at = layer_in(name, &number);
    snprintf(buf, HL_TENSOR_NAME_MAX, "%s%s", at ? "L" : "", at ? at : name);
    return buf;
}

int hl_sqnr_by_layer(const hl_tensors *t, float *out, int n)
{
    int n_layers = 0, layer;
    for (int i = 0; i < n; i++)
        out[i] = NAN;
    for (size_t i = 0; i < t->n; i++) {
        const double v = t->at[i].v[HL_TENSOR_SQNR];
        if (!layer_in(t->at[i].name, &layer) || layer >= n || isnan(v))
            continue;
        n_layers = layer >= n_layers ? layer + 1 : n_layers;
        out[layer] = isnan(out[layer]) ? (float)v : fminf(out[layer], (float)v);
    }
    return n_layers;
}

/* ---- methods ---- */

uint64_t hl_method_key(const hl_run_row *row)
{
    return row->method ? row->method : hl_hash_str(HL_HASH_START, row->dir);
}

/* "bert-oeh-s1000", "table1:base=bert,method=vanilla,seed=2" without what says the seed. */
void hl_run_label(const char *name, char *out, size_t n)
{
    static const char *const words[] = {"seed=", "seed", "s"};
    size_t end = strlen(name), digits = 0;
    while (digits < end && name[end - 1 - digits] >= '0' && name[end - 1 - digits] <= '9')
        digits++;
    const size_t before = end - digits;
    for (size_t i = 0; digits && i < sizeof words / sizeof words[0]; i++) {
        const size_t k = strlen(words[i]);
        if (before > k && strncmp(name + before - k, words[i], k) == 0 &&
            strchr("-_.,: ", name[before - k - 1])) {
            end = before - k - 1;
            break;
        }
    }
    snprintf(out, n, "%.*s", (int)end, name);
}

/* Mean and squares of distances to it, as they come (Welford); hl_spread.sd holds the squares. */
static void add(hl_spread *s, double v)
{
    if (isnan(v))
        return;
    if (s->n++ == 0)
        s->mean = s->sd = 0;
    const double before = s->mean;
    s->mean += (v - s->mean) / s->n;
    s->sd += (v - before) * (v - s->mean);
}

static void close_spread(hl_spread *s)
{
    s->sd = s->n > 1 ? sqrt(s->sd / (s->n - 1)) : (double)NAN;
}

static const hl_run_quant *quant_in(const hl_run_row *row, uint64_t key)
{
    for (int i = 0; i < row->n_quant; i++)
        if (row->quant[i].key == key)
            return &row->quant[i];
    return NULL;
}

/* "W8A8 skip model.decoder.layers.1.fc2" as "W8A8 skip L1.fc2" */
static void short_recipe(const char *recipe, char *out, size_t n)
{
    static const char skip[] = " skip ";
    char name[HL_TENSOR_NAME_MAX];
    const char *at = strstr(recipe, skip);
    const int head = at ? (int)(at - recipe) + (int)sizeof skip - 1 : (int)strlen(recipe);
    snprintf(out, n, "%.*s", head, recipe);
    if (at && (size_t)head < n)
        snprintf(out + head, n - (size_t)head, "%.70s", hl_tensor_short(recipe + head, name));
}

static bool open_method(hl_methods *m, const hl_run_row *row, int place, const hl_run_quant *q)
{
    hl_method x = {
        .method = hl_method_key(row), .key = q ? q->key : 0, .place = place, .nth = (int)m->n};
    hl_run_label(row->name, x.label, sizeof x.label);
    if (q) {
        short_recipe(q->recipe, x.recipe, sizeof x.recipe);
        snprintf(x.metric, sizeof x.metric, "%s", q->metric);
    }
    return hl_vec_push(m, x) == HL_OK;
}

static void add_run(hl_method *m, const hl_run_row *row)
{
    const hl_run_quant *q = quant_in(row, m->key);
    const bool live = row->state >= HL_RUN_STARTING && row->state <= HL_RUN_EVALUATING;
    m->n_runs++;
    m->n_live += live;
    m->n_broken += row->state >= HL_RUN_FAILED && row->state <= HL_RUN_LOST;
    if (live && row->step >= 0 && row->step_total > 0)
        m->progress += (double)row->step / (double)row->step_total;
    if (m->key && !q)
        return;
    m->n_quantized += q != NULL;
    add(&m->in_float, q ? q->in_float : *row->eval_tag ? row->eval : (double)NAN);
    add(&m->max_inf_norm, row->has_max_inf_norm ? row->max_inf_norm : (double)NAN);
    add(&m->kurtosis, row->has_kurtosis ? row->kurtosis : (double)NAN);
    if (!q)
        return;
    add(&m->quantized, q->quantized);
    add(&m->delta, q->quantized - q->in_float);
    add(&m->percent, 100 * (q->quantized - q->in_float) / q->in_float);
}

static void close_method(hl_method *m)
{
    hl_spread *const all[] = {&m->in_float, &m->quantized,    &m->delta,
                              &m->percent,  &m->max_inf_norm, &m->kurtosis};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        close_spread(all[i]);
    m->progress = m->n_live ? m->progress / m->n_live : 0;
}

/* Of a label only the values of its words: "bert,vanilla" of "base=bert,method=vanilla". */
static void drop_keys(char *label)
{
    char *to = label, *word = label;
    for (const char *from = label; *from; from++) {
        if (*from == '=') {
            to = word;
            continue;
        }
        *to++ = *from;
        if (strchr(",: ", *from))
            word = to;
    }
    *to = 0;
}

/* What all labels begin with says nothing. */
static void shorten(hl_methods *m)
{
    size_t n = m->n ? strlen(m->at[0].label) : 0;
    for (size_t i = 1; i < m->n; i++)
        for (size_t k = 0; k < n; k++)
            if (m->at[i].label[k] != m->at[0].label[k])
                n = k;
    while (n > 0 && !strchr(",:= ", m->at[0].label[n - 1]))
        n--;
    for (size_t i = 0; i < m->n; i++) {
        char *label = m->at[i].label;
        if (m->at[i].label[n])
            memmove(label, label + n, strlen(label + n) + 1);
        drop_keys(label);
    }
}

/* A run's place in the order, by what groups it. */
typedef struct member {
    uint64_t method;
    int place;
} member;

static int by_method(const void *a, const void *b)
{
    const member *x = a, *y = b;
    return x->method != y->method ? (x->method > y->method) - (x->method < y->method)
                                  : x->place - y->place;
}

static int by_place(const void *a, const void *b)
{
    const hl_method *x = a, *y = b;
    if (!x->key != !y->key)
        return x->key ? -1 : 1;
    return x->place != y->place ? x->place - y->place : x->nth - y->nth;
}

/* The methods of runs that differ in their seed alone: one for each recipe, or one without. */
static bool add_group(const hl_run_row *rows, const int *order, const member *g, size_t n,
                      hl_methods *out)
{
    const size_t from = out->n;
    for (size_t i = 0; i < n; i++) {
        const hl_run_row *row = &rows[order[g[i].place]];
        for (int k = 0; k < row->n_quant; k++) {
            bool known = false;
            for (size_t m = from; m < out->n; m++)
                known |= out->at[m].key == row->quant[k].key;
            if (!known && !open_method(out, row, g[i].place, &row->quant[k]))
                return false;
        }
    }
    if (out->n == from && !open_method(out, &rows[order[g[0].place]], g[0].place, NULL))
        return false;
    for (size_t m = from; m < out->n; m++) {
        out->at[m].first = order[out->at[m].place];
        for (size_t i = 0; i < n; i++)
            add_run(&out->at[m], &rows[order[g[i].place]]);
        close_method(&out->at[m]);
    }
    return true;
}

void hl_methods_of(const hl_run_row *rows, const int *order, size_t n, hl_methods *out)
{
    HL_VEC(member) all = {0};
    out->n = 0;
    for (size_t i = 0; i < n; i++)
        if (hl_vec_push(&all, ((member){hl_method_key(&rows[order[i]]), (int)i})) != HL_OK)
            break;
    if (all.n)
        qsort(all.at, all.n, sizeof *all.at, by_method);
    for (size_t i = 0, end; i < all.n; i = end) {
        for (end = i + 1; end < all.n && all.at[end].method == all.at[i].method;)
            end++;
        if (!add_group(rows, order, &all.at[i], end - i, out))
            break;
    }
    if (out->n)
        qsort(out->at, out->n, sizeof *out->at, by_place);
    hl_vec_done(&all);
    shorten(out);
}
