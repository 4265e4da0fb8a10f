#include "app/compare/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/hl_app.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

const char *hl_compare_value_name(hl_compare_value v)
{
    static const char *const names[HL_COMPARE_VALUES] = {"last", "best", "at"};
    return names[v];
}

/* ---- rows ---- */

/* What a run makes of its options by itself is no option. */
static bool is_derived(const char *path)
{
    return strcmp(path, "name") == 0 || hl_str_starts(path, "tags[") ||
           hl_str_starts(path, "model.normaliser.");
}

/* What every run has differently is no surrounding. */
static bool is_of_this_run(const char *path)
{
    static const char *const own[] = {"format",  "id",      "identity", "name", "tags",
                                      "created", "command", "parent",   "seed"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (hl_str_starts(path, own[i]))
            return true;
    return false;
}

/* Timings and series of single activations are left out unless asked for. */
static bool is_main_metric(const char *tag)
{
    return hl_str_starts(tag, "train/") || hl_str_starts(tag, "eval/") ||
           hl_str_starts(tag, "test/") || strcmp(tag, "sys/step_ms") == 0;
}

static const hl_flat *part_of(const hl_compared *r, bool facts)
{
    return facts ? &r->facts : &r->config;
}

const char *hl_compare_text(const hl_flat *of, const char *key)
{
    const hl_flat_entry *e = hl_flat_find(of, key);
    return e ? e->text : "-";
}

static bool differs(const hl_comparison *c, bool facts, const char *path)
{
    const hl_flat_entry *first = hl_flat_find(part_of(&c->runs[0], facts), path);
    for (size_t i = 1; i < c->n; i++) {
        const hl_flat_entry *other = hl_flat_find(part_of(&c->runs[i], facts), path);
        if (!first != !other || (first && strcmp(first->text, other->text) != 0))
            return true;
    }
    return false;
}

static bool is_known(const hl_compare_rows *rows, const char *key)
{
    for (size_t i = 0; i < rows->n; i++)
        if (strcmp(rows->at[i].key, key) == 0)
            return true;
    return false;
}

static hl_status collect(const hl_comparison *c, bool facts, hl_compare_rows *out)
{
    for (size_t i = 0; i < c->n; i++) {
        const hl_flat *f = part_of(&c->runs[i], facts);
        for (size_t k = 0; k < f->n; k++) {
            const char *path = f->at[k].path;
            if (is_known(out, path) || (facts && is_of_this_run(path)))
                continue;
            const hl_compare_row row = {path, differs(c, facts, path), facts || !is_derived(path)};
            if (hl_vec_push(out, row) != HL_OK)
                return HL_E_NOMEM;
        }
    }
    return HL_OK;
}

static hl_status collect_metrics(hl_comparison *c)
{
    hl_run_scalar s;
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < hl_run_scalar_n(c->runs[i].run); k++) {
            if (!hl_run_scalar_at(c->runs[i].run, k, &s) || is_known(&c->metrics, s.tag))
                continue;
            if (hl_vec_push(&c->metrics, ((hl_compare_row){s.tag, true, is_main_metric(s.tag)})) !=
                HL_OK)
                return HL_E_NOMEM;
        }
    return HL_OK;
}

size_t hl_compare_metric(const hl_comparison *c, const char *tag)
{
    for (size_t i = 0; i < c->metrics.n; i++)
        if (strcmp(c->metrics.at[i].key, tag) == 0)
            return i;
    return SIZE_MAX;
}

/* ---- groups ---- */

static hl_status group(hl_comparison *c)
{
    for (size_t i = 0; i < c->n; i++) {
        const uint64_t method = hl_run_get_row(c->runs[i].run)->method;
        size_t g = 0;
        while (g < c->groups.n &&
               (!method || hl_run_get_row(c->runs[c->groups.at[g].first].run)->method != method))
            g++;
        if (g == c->groups.n &&
            hl_vec_push(&c->groups, ((hl_compare_group){.first = (int)i})) != HL_OK)
            return HL_E_NOMEM;
        c->groups.at[g].n++;
        c->runs[i].group = (int)g;
    }
    return HL_OK;
}

/* ---- values at a step ---- */

typedef struct looking {
    const hl_comparison *c;
    hl_compared *r;
    int64_t at;
    HL_VEC(size_t) metric_of; /* by series; SIZE_MAX: none of ours */
    HL_VEC(int64_t) step;     /* by metric: of the value */
    bool no_memory;
} looking;

static size_t metric_of_series(looking *l, size_t series)
{
    while (l->metric_of.n <= series) {
        const hl_series_info info = hl_run_series_at(l->r->run, l->metric_of.n);
        if (hl_vec_push(&l->metric_of, hl_compare_metric(l->c, info.tag)) != HL_OK) {
            l->no_memory = true;
            return SIZE_MAX;
        }
    }
    return l->metric_of.at[series];
}

static void see_point(void *self, size_t series, int64_t step, int64_t t_us, double value)
{
    looking *l = self;
    (void)t_us;
    const size_t m = step <= l->at ? metric_of_series(l, series) : SIZE_MAX;
    if (m == SIZE_MAX || step < l->step.at[m])
        return;
    l->step.at[m] = step;
    l->r->at.at[m] = value;
}

/* A series that has not gone on from the step has its last value there. */
static bool ends_before(const hl_comparison *c, const hl_compared *r, int64_t at)
{
    hl_run_scalar s;
    for (size_t m = 0; m < c->metrics.n; m++)
        if (hl_run_scalar_find(r->run, c->metrics.at[m].key, &s) && s.last_step > at)
            return false;
    return true;
}

static hl_status look_at_step(const hl_comparison *c, hl_compared *r, int64_t at)
{
    hl_status st = HL_OK;
    hl_run_scalar s;
    looking l = {.c = c, .r = r, .at = at};
    const hl_run_visitor v = {.self = &l, .point = see_point};
    for (size_t m = 0; m < c->metrics.n; m++) {
        const bool has = hl_run_scalar_find(r->run, c->metrics.at[m].key, &s);
        HL_TRY(hl_vec_push(&r->at, has && s.last_step <= at ? s.last : (double)NAN));
        HL_TRY(hl_vec_push(&l.step, INT64_MIN));
    }
    if (!ends_before(c, r, at))
        HL_TRY(hl_run_scan(r->run, &v, false));
    st = l.no_memory ? HL_E_NOMEM : HL_OK;
out:
    hl_vec_done(&l.metric_of);
    hl_vec_done(&l.step);
    return st;
}

/* ---- scripts ---- */

/* The stored Lua files, one behind the other; those of the run itself, not of the library. */
static hl_status read_script(hl_compared *r)
{
    enum { SCRIPT_MAX = 4 << 20 };
    char *folder = hl_fs_join(hl_run_get_row(r->run)->dir, "script");
    hl_fs_list names = {0};
    hl_str b = {0};
    hl_status st = folder ? HL_OK : HL_E_NOMEM;
    if (st == HL_OK && hl_fs_is_dir(folder) && hl_fs_list_dir(folder, &names) == HL_OK)
        for (size_t i = 0; i < names.n && st == HL_OK; i++) {
            char *path = hl_fs_join(folder, names.name[i]), *text = NULL;
            size_t n;
            if (path && !hl_fs_is_dir(path) && hl_fs_read(path, SCRIPT_MAX, &text, &n) == HL_OK) {
                if (names.n > 1)
                    hl_str_addf(&b, "-- %s\n", names.name[i]);
                hl_str_add(&b, text);
            }
            hl_free(text);
            hl_free(path);
        }
    if (st == HL_OK && b.n) {
        st = hl_str_status(&b);
        r->script = st == HL_OK ? hl_strdup(hl_str_text(&b)) : NULL;
        st = st == HL_OK && !r->script ? HL_E_NOMEM : st;
    }
    hl_fs_list_free(&names);
    hl_free(folder);
    hl_str_done(&b);
    return st;
}

/* ---- making it ---- */

static hl_status open_run(hl_comparison *c, const char *dir, bool script)
{
    hl_compared *r = &c->runs[c->n];
    const hl_status st = hl_run_open(dir, &r->run);
    if (st == HL_E_NOMEM)
        return st;
    if (st != HL_OK) {
        if (c->n_failed++ == 0)
            snprintf(c->failed, sizeof c->failed, "%s", hl_err_message());
        return HL_OK;
    }
    c->n++;
    if (hl_flat_add(&r->config, hl_run_config(r->run)) != HL_OK ||
        hl_flat_add(&r->facts, hl_run_facts(r->run)) != HL_OK)
        return HL_E_NOMEM;
    return script ? read_script(r) : HL_OK;
}

hl_status hl_comparison_new(const hl_compare_wanted *w, hl_comparison **out)
{
    hl_status st = HL_OK;
    hl_comparison *c = hl_alloc_zero(1, sizeof *c);
    if (!c)
        return HL_E_NOMEM;
    c->at = w->at;
    c->runs = hl_alloc_zero(w->n + 1, sizeof *c->runs);
    if (!c->runs)
        HL_TRY(HL_E_NOMEM);
    for (size_t i = 0; i < w->n; i++)
        HL_TRY(open_run(c, w->dirs[i], w->scripts));
    HL_TRY(collect(c, false, &c->options));
    HL_TRY(collect(c, true, &c->facts));
    HL_TRY(collect_metrics(c));
    HL_TRY(group(c));
    for (size_t i = 0; w->at >= 0 && i < c->n; i++)
        HL_TRY(look_at_step(c, &c->runs[i], w->at));
    *out = c;
    return HL_OK;
out:
    hl_comparison_free(c);
    return st;
}

void hl_comparison_free(hl_comparison *c)
{
    if (!c)
        return;
    for (size_t i = 0; c->runs && i < c->n; i++) {
        hl_flat_done(&c->runs[i].config);
        hl_flat_done(&c->runs[i].facts);
        hl_vec_done(&c->runs[i].at);
        hl_free(c->runs[i].script);
        hl_run_close(c->runs[i].run);
    }
    hl_free(c->runs);
    hl_vec_done(&c->options);
    hl_vec_done(&c->facts);
    hl_vec_done(&c->metrics);
    hl_vec_done(&c->groups);
    hl_free(c);
}

/* ---- values ---- */

bool hl_compare_more_is_better(const hl_comparison *c, const char *metric)
{
    static const char *const more[] = {"acc",  "_per_s", "auc",       "f1",
                                       "sqnr", "recall", "precision", "r2"};
    const size_t n = strlen(metric);
    for (size_t i = 0; i < c->n; i++) {
        const hl_flat_entry *e = hl_flat_find(&c->runs[i].config, "save.best");
        if (e && strncmp(e->text, metric, n) == 0 && e->text[n] == ':')
            return strcmp(e->text + n + 1, "max") == 0;
    }
    const char *name = strrchr(metric, '/') ? strrchr(metric, '/') : metric;
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        if (strstr(name, more[i]))
            return true;
    return false;
}

bool hl_compare_get(const hl_comparison *c, size_t run, size_t metric, hl_compare_value which,
                    double *v, int64_t *step)
{
    hl_run_scalar s;
    const hl_compared *r = &c->runs[run];
    int64_t at = c->at;
    if (metric >= c->metrics.n || !hl_run_scalar_find(r->run, c->metrics.at[metric].key, &s))
        return false;
    if (which == HL_COMPARE_AT) {
        if (metric >= r->at.n || isnan(r->at.at[metric]))
            return false;
        *v = r->at.at[metric];
    } else if (which == HL_COMPARE_BEST) {
        const bool more = hl_compare_more_is_better(c, c->metrics.at[metric].key);
        *v = more ? s.max : s.min;
        at = more ? s.max_step : s.min_step;
    } else {
        *v = s.last;
        at = s.last_step;
    }
    if (step)
        *step = at;
    return true;
}

static bool is_better(double a, double b, bool more)
{
    return more ? a > b : a < b;
}

/* A schedule or a count has no best. */
static bool has_goal(const char *metric)
{
    return !hl_str_ends(metric, "/lr") && !hl_str_ends(metric, "/tokens") &&
           !hl_str_ends(metric, "/samples");
}

int hl_compare_best(const hl_comparison *c, size_t metric, hl_compare_value which)
{
    if (!has_goal(c->metrics.at[metric].key))
        return -1;
    const bool more = hl_compare_more_is_better(c, c->metrics.at[metric].key);
    int best = -1;
    double most = 0, v;
    bool differ = false;
    for (size_t i = 0; i < c->n; i++) {
        if (!hl_compare_get(c, i, metric, which, &v, NULL) || !isfinite(v))
            continue;
        differ |= best >= 0 && v != most;
        if (best < 0 || is_better(v, most, more)) {
            best = (int)i;
            most = v;
        }
    }
    return differ ? best : -1;
}

bool hl_compare_is_best(const hl_comparison *c, size_t run, size_t metric, hl_compare_value which)
{
    const int best = hl_compare_best(c, metric, which);
    double v, most;
    return best >= 0 && hl_compare_get(c, (size_t)best, metric, which, &most, NULL) &&
           hl_compare_get(c, run, metric, which, &v, NULL) && v == most;
}

/* Mean and squares of distances to it, as values come (Welford); .sd holds the squares. */
static void add_value(hl_compare_mean *s, double v)
{
    if (s->n++ == 0)
        s->mean = s->sd = 0;
    const double before = s->mean;
    s->mean += (v - s->mean) / s->n;
    s->sd += (v - before) * (v - s->mean);
}

hl_compare_mean hl_compare_group_mean(const hl_comparison *c, size_t group, size_t metric,
                                      hl_compare_value which)
{
    hl_compare_mean s = {.mean = (double)NAN};
    double v;
    for (size_t i = 0; i < c->n; i++)
        if (c->runs[i].group == (int)group && hl_compare_get(c, i, metric, which, &v, NULL))
            add_value(&s, v);
    s.sd = s.n > 1 ? sqrt(s.sd / (s.n - 1)) : (double)NAN;
    return s;
}

/* The C library's sort takes no context. */
typedef struct sort_key {
    double v;
    int run;
    bool known, more, reverse;
} sort_key;

static int by_value(const void *a, const void *b)
{
    const sort_key *x = a, *y = b;
    if (x->known != y->known)
        return x->known ? -1 : 1;
    if (!x->known || x->v == y->v)
        return x->run - y->run;
    const int order = is_better(x->v, y->v, x->more) ? -1 : 1;
    return x->reverse ? -order : order;
}

void hl_compare_order(const hl_comparison *c, size_t metric, hl_compare_value which, bool reverse,
                      int *order)
{
    sort_key *keys = metric < c->metrics.n ? hl_alloc_zero(c->n + 1, sizeof *keys) : NULL;
    const bool more = keys && hl_compare_more_is_better(c, c->metrics.at[metric].key);
    for (size_t i = 0; i < c->n; i++) {
        order[i] = reverse ? (int)(c->n - 1 - i) : (int)i;
        if (!keys)
            continue;
        keys[i] = (sort_key){.run = (int)i, .more = more, .reverse = reverse};
        keys[i].known = hl_compare_get(c, i, metric, which, &keys[i].v, NULL) && !isnan(keys[i].v);
    }
    if (!keys)
        return;
    qsort(keys, c->n, sizeof *keys, by_value);
    for (size_t i = 0; i < c->n; i++)
        order[i] = keys[i].run;
    hl_free(keys);
}

/* ---- causes ---- */

/* One option: the runs with a finite value, grouped by its text. */
static hl_compare_cause explain_one(const hl_comparison *c, size_t option, size_t metric,
                                    hl_compare_value which)
{
    hl_compare_cause out = {.option = option, .best_mean = (double)NAN};
    const char *key = c->options.at[option].key;
    const bool more = hl_compare_more_is_better(c, c->metrics.at[metric].key);
    hl_compare_mean all = {0};
    double v, between = 0;
    for (size_t i = 0; i < c->n; i++)
        if (hl_compare_get(c, i, metric, which, &v, NULL) && isfinite(v))
            add_value(&all, v);
    for (size_t i = 0; i < c->n; i++) {
        const char *text = hl_compare_text(&c->runs[i].config, key);
        hl_compare_mean some = {0};
        bool first = true;
        for (size_t k = 0; k < c->n; k++) {
            if (strcmp(hl_compare_text(&c->runs[k].config, key), text) != 0)
                continue;
            first &= k >= i;
            if (hl_compare_get(c, k, metric, which, &v, NULL) && isfinite(v))
                add_value(&some, v);
        }
        if (!first || some.n == 0)
            continue;
        out.n_values++;
        between += some.n * (some.mean - all.mean) * (some.mean - all.mean);
        if (!out.best || is_better(some.mean, out.best_mean, more)) {
            out.best = text;
            out.best_mean = some.mean;
        }
    }
    out.share = all.sd > 0 ? fmin(between / all.sd, 1) : 0;
    return out;
}

static int by_share(const void *a, const void *b)
{
    const hl_compare_cause *x = a, *y = b;
    if (x->share != y->share)
        return x->share < y->share ? 1 : -1;
    if (x->n_values != y->n_values) /* the same with fewer values says more */
        return x->n_values - y->n_values;
    return x->option < y->option ? -1 : 1;
}

hl_status hl_compare_explain(const hl_comparison *c, size_t metric, hl_compare_value which,
                             hl_compare_causes *out)
{
    out->n = 0;
    for (size_t i = 0; metric < c->metrics.n && i < c->options.n; i++) {
        if (!c->options.at[i].differs || !c->options.at[i].is_main)
            continue;
        const hl_compare_cause one = explain_one(c, i, metric, which);
        if (one.n_values > 1 && hl_vec_push(out, one) != HL_OK)
            return HL_E_NOMEM;
    }
    if (out->n)
        qsort(out->at, out->n, sizeof *out->at, by_share);
    return HL_OK;
}
