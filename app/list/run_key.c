#include "app/list/run_key.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/hl_app.h"
#include "engine/base/clock.h"
#include "engine/base/hash.h"
#include "engine/base/vec.h"

/* ---- fields ---- */

static const char *state_name(const hl_run_row *r)
{
    return hl_run_state_name(r->state);
}

static const char *name(const hl_run_row *r)
{
    return r->name;
}

static const char *id(const hl_run_row *r)
{
    return r->id;
}

static const char *tags(const hl_run_row *r)
{
    return r->tags;
}

static const char *note(const hl_run_row *r)
{
    return r->note;
}

static const char *variant(const hl_run_row *r)
{
    return r->variant;
}

static const char *host(const hl_run_row *r)
{
    return r->host;
}

static const char *project(const hl_run_row *r)
{
    return r->project;
}

static const char *leaf(const hl_run_row *r, const char *key)
{
    const hl_run_value *v = hl_run_row_value(r, key);
    return v ? v->text : "";
}

static const char *model(const hl_run_row *r)
{
    return leaf(r, "model.kind");
}

static const char *script(const hl_run_row *r)
{
    return leaf(r, "run.script");
}

/* Seconds since it began. */
static bool age(const hl_run_row *r, double *v)
{
    *v = (double)(hl_clock_wall_us() - r->t_start_us) / 1e6;
    return r->t_start_us != 0;
}

static bool state(const hl_run_row *r, double *v)
{
    *v = (double)r->state;
    return true;
}

static bool step(const hl_run_row *r, double *v)
{
    *v = (double)r->step;
    return r->step >= 0;
}

static bool loss(const hl_run_row *r, double *v)
{
    *v = r->loss;
    return *r->loss_tag != 0;
}

static bool eval(const hl_run_row *r, double *v)
{
    *v = r->eval;
    return *r->eval_tag != 0;
}

static bool inf_norm(const hl_run_row *r, double *v)
{
    *v = r->max_inf_norm;
    return r->has_max_inf_norm;
}

static bool kurtosis(const hl_run_row *r, double *v)
{
    *v = r->kurtosis;
    return r->has_kurtosis;
}

static bool bad_points(const hl_run_row *r, double *v)
{
    *v = (double)r->n_non_finite;
    return true;
}

static bool trend(const hl_run_row *r, double *v)
{
    *v = r->n_trace ? (double)r->trace[r->n_trace - 1] : 0;
    return r->n_trace > 0;
}

static bool has_diverged(const hl_run_row *r, double *v)
{
    *v = r->state == HL_RUN_DIVERGED;
    return true;
}

static bool is_mine(const hl_run_row *r, double *v)
{
    *v = r->mine;
    return true;
}

static bool is_archived(const hl_run_row *r, double *v)
{
    *v = r->archived;
    return true;
}

static bool is_pinned(const hl_run_row *r, double *v)
{
    *v = r->pinned;
    return true;
}

static bool is_touched(const hl_run_row *r, double *v)
{
    *v = r->n_turned > 0;
    return true;
}

static const hl_run_field fields[] = {
    {.name = "age", .number = age, .help = "since it began; in a filter 30s, 5m, 2h, 3d, 1w"},
    {.name = "status", .text = state_name, .help = "done, running, lost, ..."},
    {.name = "name", .text = name, .help = "its name, or what it was renamed to"},
    {.name = "id", .text = id, .help = "its directory's name"},
    {.name = "tag", .text = tags, .help = "its tags"},
    {.name = "note", .text = note, .help = "what somebody wrote about it"},
    {.name = "state", .number = state, .help = "its state, by how far it is"},
    {.name = "attn", .text = variant, .help = "what attention normalises with"},
    {.name = "model", .text = model, .help = "model.kind of its configuration"},
    {.name = "host", .text = host, .help = "the machine"},
    {.name = "project", .text = project, .help = "its project"},
    {.name = "script", .text = script, .help = "the script's path"},
    {.name = "step", .number = step, .help = "last step"},
    {.name = "loss", .number = loss, .help = "last training loss"},
    {.name = "trend",
     .number = trend,
     .help = "training loss, mean of the newest thirty-second part or more of its points"},
    {.name = "eval", .number = eval, .help = "last value of its first evaluation metric"},
    {.name = "max", .number = inf_norm, .help = "last eval/max_inf_norm"},
    {.name = "kurt", .number = kurtosis, .help = "last eval/avg_kurtosis"},
    {.name = "nan", .number = bad_points, .help = "values that are not finite, in all series"},
    {.name = "diverged", .number = has_diverged, .is_flag = true, .help = "it diverged"},
    {.name = "mine", .number = is_mine, .is_flag = true, .help = "its directory is this user's"},
    {.name = "archived",
     .number = is_archived,
     .is_flag = true,
     .help = "archived: left out of lists that do not ask"},
    {.name = "touched",
     .number = is_touched,
     .is_flag = true,
     .help = "somebody changed a knob of it: ~ in the list"},
    {.name = "pinned", .number = is_pinned, .is_flag = true, .help = "pinned: first in lists"},
};
enum { N_FIELDS = sizeof fields / sizeof fields[0] };

const hl_run_field *hl_run_field_at(int i)
{
    return i >= 0 && i < N_FIELDS ? &fields[i] : NULL;
}

/* ---- aggregates ---- */

static const char *const aggregate_names[HL_AGG_COUNT] = {"last", "min", "max", "mean",
                                                          "best", "n",   "bad"};

static bool cut_tail(char *text, const char *tail)
{
    const size_t n = strlen(text), k = strlen(tail);
    if (n <= k + 1 || text[n - k - 1] != '.' || strcmp(text + n - k, tail) != 0)
        return false;
    text[n - k - 1] = 0;
    return true;
}

/* "eval/ppl.min.step" -> "eval/ppl", MIN, of_step; false: it ends in no aggregate. */
static bool split_metric(const char *text, hl_run_key *out)
{
    hl_run_key k = {.is_metric = true};
    snprintf(k.path, sizeof k.path, "%s", text);
    k.of_step = cut_tail(k.path, "step");
    for (int a = 0; a < HL_AGG_COUNT; a++)
        if (cut_tail(k.path, aggregate_names[a])) {
            k.aggregate = (hl_aggregate)a;
            *out = k;
            return true;
        }
    *out = k; /* "x.step": where its last value was */
    return k.of_step;
}

/* More of it is better, as the run's own choice of its best evaluation says, or its name. */
static bool more_is_better(const hl_run_row *row, const char *tag)
{
    static const char *const words[] = {"acc",    "f1",   "auc",  "bleu",   "r2",
                                        "recall", "prec", "corr", "reward", "hit"};
    const char *best = leaf(row, "save.best");
    const size_t n = strlen(tag);
    if (strncmp(best, tag, n) == 0 && (best[n] == ':' || !best[n]))
        return strcmp(best + n, ":max") == 0;
    const char *last = strrchr(tag, '/');
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strstr(last ? last : tag, words[i]))
            return true;
    return false;
}

static hl_run_answer number_answer(double v)
{
    return (hl_run_answer){.known = true, .is_number = true, .number = v};
}

static hl_run_answer step_answer(int64_t at)
{
    hl_run_answer a = number_answer((double)at);
    a.known = at >= 0;
    return a;
}

static hl_run_answer extreme_answer(double v, int64_t at, bool of_step)
{
    hl_run_answer a = of_step ? step_answer(at) : number_answer(v);
    a.known = a.known && !isnan(v); /* of values that are not finite there is none */
    return a;
}

static hl_run_answer ask_metric(const hl_run_key *k, const hl_run_row *row)
{
    const hl_run_scalar *m = hl_run_row_metric(row, k->path);
    if (!m || (k->is_deep && m->n == 0))
        return (hl_run_answer){0};
    switch (k->aggregate) {
    case HL_AGG_MIN:
        return extreme_answer(m->min, m->min_step, k->of_step);
    case HL_AGG_MAX:
        return extreme_answer(m->max, m->max_step, k->of_step);
    case HL_AGG_BEST:
        return more_is_better(row, k->path) ? extreme_answer(m->max, m->max_step, k->of_step)
                                            : extreme_answer(m->min, m->min_step, k->of_step);
    case HL_AGG_MEAN:
        return extreme_answer(m->mean, m->last_step, k->of_step);
    case HL_AGG_N:
        return number_answer((double)m->n);
    case HL_AGG_BAD:
        return k->of_step ? step_answer(m->n_non_finite ? m->bad_step : -1)
                          : number_answer((double)m->n_non_finite);
    default:
        return k->of_step ? step_answer(m->last_step) : number_answer(m->last);
    }
}

hl_run_answer hl_run_key_ask(const hl_run_key *k, const hl_run_row *row)
{
    hl_run_answer a = {0};
    if (k->is_metric)
        return ask_metric(k, row);
    if (k->field && k->field->number) {
        a.is_number = true;
        a.known = k->field->number(row, &a.number);
    } else if (k->field) {
        a.text = k->field->text(row);
        a.known = *a.text != 0;
    } else {
        const hl_run_value *v = hl_run_row_value(row, k->path);
        if (v)
            a = (hl_run_answer){true, !isnan(v->number), v->number, v->text};
    }
    return a;
}

hl_run_answer hl_run_key_order(const hl_run_key *k, const hl_run_row *row)
{
    hl_run_answer a = hl_run_key_ask(k, row);
    if (k->field && k->field->number == age)
        a.number = -(double)row->t_start_us;
    return a;
}

bool hl_run_key_is_number(const hl_run_key *k, const hl_run_rows *rows)
{
    if (k->is_metric || k->field)
        return k->is_metric || k->field->number;
    for (size_t i = 0; rows && i < rows->n; i++) {
        const hl_run_answer a = hl_run_key_ask(k, &rows->at[i]);
        if (a.known && !a.is_number)
            return false;
    }
    return true;
}

/* ---- all keys ---- */

/* Keys met already, by hash; open addressing, never more than half full. */
typedef struct seen {
    HL_VEC(uint64_t) slot;
    size_t n;
} seen;

static bool grow_seen(seen *s)
{
    const size_t n = s->slot.n ? 2 * s->slot.n : 512;
    seen fresh = {0};
    if (hl_vec_reserve(&fresh.slot, n) != HL_OK)
        return false;
    memset(fresh.slot.at, 0, n * sizeof *fresh.slot.at);
    fresh.slot.n = n;
    for (size_t i = 0; i < s->slot.n; i++) {
        const uint64_t h = s->slot.at[i];
        size_t at = h % n;
        while (h && fresh.slot.at[at])
            at = (at + 1) % n;
        if (h)
            fresh.slot.at[at] = h;
    }
    fresh.n = s->n;
    hl_vec_done(&s->slot);
    *s = fresh;
    return true;
}

/* true: it is new. */
static bool meet(seen *s, const char *key)
{
    uint64_t h = hl_hash_str(HL_HASH_START, key);
    h = h ? h : 1;
    if (2 * s->n >= s->slot.n && !grow_seen(s))
        return false;
    for (size_t at = h % s->slot.n;; at = (at + 1) % s->slot.n) {
        if (s->slot.at[at] == h)
            return false;
        if (s->slot.at[at] == 0) {
            s->slot.at[at] = h;
            s->n++;
            return true;
        }
    }
}

void hl_run_keys_each(const hl_run_rows *rows, bool (*each)(void *self, const char *key),
                      void *self)
{
    seen met = {0};
    bool go_on = true;
    for (int i = 0; i < N_FIELDS && go_on; i++)
        go_on = !meet(&met, fields[i].name) || each(self, fields[i].name);
    for (size_t i = 0; rows && i < rows->n && go_on; i++) {
        const hl_run_row *r = &rows->at[i];
        for (size_t k = 0; r->metrics && k < r->metrics->n && go_on; k++)
            go_on = strchr(r->metrics->at[k].tag, '@') || !meet(&met, r->metrics->at[k].tag) ||
                    each(self, r->metrics->at[k].tag);
        for (size_t k = 0; r->config && k < r->config->n && go_on; k++)
            go_on = !meet(&met, r->config->at[k].key) || each(self, r->config->at[k].key);
    }
    hl_vec_done(&met.slot);
}

/* ---- from text ---- */

static bool any_metric(const hl_run_rows *rows, const char *tag)
{
    for (size_t i = 0; i < rows->n; i++)
        if (hl_run_row_metric(&rows->at[i], tag))
            return true;
    return false;
}

static bool any_value(const hl_run_rows *rows, const char *key)
{
    for (size_t i = 0; i < rows->n; i++)
        if (hl_run_row_value(&rows->at[i], key))
            return true;
    return false;
}

typedef struct search {
    const char *tail; /* "lr" */
    const char *one;  /* the leaf that ends so */
    int n;            /* how many do */
    HL_VEC(const char *) keys;
} search;

static bool look_at(void *self, const char *key)
{
    search *s = self;
    const size_t n = strlen(key), k = strlen(s->tail);
    if (n > k && key[n - k - 1] == '.' && strcmp(key + n - k, s->tail) == 0) {
        s->one = key;
        s->n++;
    }
    return hl_vec_push(&s->keys, key) == HL_OK;
}

/* What scripts of the screen say of runs stands beside their configuration. */
static bool find_of_script(const char *text, const hl_run_rows *rows, hl_run_key *out)
{
    hl_run_key k = {0};
    if (snprintf(k.path, sizeof k.path, "lua.%s", text) >= (int)sizeof k.path ||
        !any_value(rows, k.path))
        return false;
    *out = k;
    return true;
}

/* The only leaf that ends so, or what might have been meant. */
static hl_status find_by_tail(const char *text, const hl_run_rows *rows, hl_run_key *out)
{
    search s = {.tail = text};
    hl_status st = HL_OK;
    hl_run_keys_each(rows, look_at, &s);
    const int near = s.n ? -1 : hl_str_nearest(text, s.keys.at, (int)s.keys.n);
    if (s.n == 1)
        snprintf(out->path, sizeof out->path, "%s", s.one);
    else if (s.n > 1)
        st = hl_err_set(HL_E_NOTFOUND, "%d keys end in '%s', as %s; write more of it", s.n, text,
                        s.one);
    else
        st = hl_err_set(HL_E_NOTFOUND, "no run has '%s'%s%s", text,
                        near >= 0 ? "; did you mean " : "", near >= 0 ? s.keys.at[near] : "");
    hl_vec_done(&s.keys);
    return st;
}

hl_status hl_run_key_find(const char *text, const hl_run_rows *rows, hl_run_key *out)
{
    hl_run_key k = {0}, metric;
    hl_deep_key deep;
    if (!*text || strlen(text) >= sizeof k.path)
        return hl_err_set(HL_E_ARG, "a key of 1 to %d letters is wanted", HL_RUN_KEY_MAX - 1);
    snprintf(k.path, sizeof k.path, "%s", text);
    for (int i = 0; i < N_FIELDS && !k.field; i++)
        if (strcmp(fields[i].name, text) == 0)
            k.field = &fields[i];
    if (!k.field && rows && rows->n) {
        if (hl_deep_key_from(text, &deep) && any_metric(rows, deep.tag)) {
            k.is_metric = k.is_deep = true;
        } else if (any_metric(rows, text)) {
            k.is_metric = true;
        } else if (split_metric(text, &metric) && any_metric(rows, metric.path)) {
            k = metric;
        } else if (!any_value(rows, text) && !find_of_script(text, rows, &k)) {
            hl_status st = find_by_tail(text, rows, &k);
            if (st != HL_OK)
                return st;
        }
    }
    *out = k;
    return HL_OK;
}
