/* Runs for scripts: the list of a store, and one run's configuration, summary, series, histograms
 * and log. Reads only. hop/runs.lua gives these to users.
 *
 * A series that was read is kept until the run's event files grow, so a picture that asks again
 * costs nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/hl_app.h"
#include "app/lua/host_internal.h"
#include "app/lua/lua_json.h"
#include "engine/base/ema.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"
#include "engine/base/vec.h"

#define RUN_META  "hop.run_files"
#define LIST_META "hop.run_list"

enum { SERIES_KEPT = 16, LOG_TEXT_MAX = 4096 };

typedef struct kept_series {
    char *tag; /* NULL: free */
    hl_run_points p;
    int64_t bytes; /* of the event files when it was read */
    int64_t used;
} kept_series;

typedef struct run_files {
    hl_run *run; /* NULL: closed */
    char *dir;
    kept_series series[SERIES_KEPT];
    int64_t clock;
} run_files;

/* ---- handles ---- */

static void forget_series(kept_series *k)
{
    hl_run_points_done(&k->p);
    hl_free(k->tag);
    *k = (kept_series){0};
}

static int run_gc(lua_State *L)
{
    run_files *h = luaL_checkudata(L, 1, RUN_META);
    for (int i = 0; i < SERIES_KEPT; i++)
        forget_series(&h->series[i]);
    hl_run_close(h->run);
    hl_free(h->dir);
    *h = (run_files){0};
    return 0;
}

/* run_open(dir) */
static int run_open(lua_State *L)
{
    const char *dir = luaL_checkstring(L, 1);
    run_files *h = lua_newuserdatauv(L, sizeof *h, 0);
    *h = (run_files){0};
    luaL_setmetatable(L, RUN_META);
    h->dir = hl_strdup(dir);
    hl_status st = h->dir ? hl_run_open(dir, &h->run) : HL_E_NOMEM;
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

/* A run may be deleted while somebody holds it. */
static run_files *check_run(lua_State *L)
{
    run_files *h = luaL_checkudata(L, 1, RUN_META);
    if (!h->run || !hl_fs_is_dir(h->dir)) {
        (void)hl_err_set(HL_E_NOTFOUND, "run %s was deleted", h->dir ? hl_fs_base(h->dir) : "");
        hl_lua_raise(L, HL_E_NOTFOUND);
    }
    return h;
}

static void set_text(lua_State *L, const char *key, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, bool known, double v)
{
    if (!known)
        return;
    lua_pushnumber(L, v);
    lua_setfield(L, -2, key);
}

static void set_count(lua_State *L, const char *key, int64_t v)
{
    if (v < 0)
        return;
    lua_pushinteger(L, v);
    lua_setfield(L, -2, key);
}

static void push_row(lua_State *L, const hl_run_row *r)
{
    lua_createtable(L, 0, 20);
    set_text(L, "id", r->id);
    set_text(L, "name", r->name);
    set_text(L, "project", r->project);
    set_text(L, "tag_words", r->tags);
    set_text(L, "dir", r->dir);
    set_text(L, "host", r->host);
    set_text(L, "state", hl_run_state_name(r->state));
    set_text(L, "message", r->message);
    set_text(L, "variant", r->variant);
    set_text(L, "checkpoint", r->checkpoint);
    set_count(L, "step", r->step);
    set_count(L, "step_total", r->step_total);
    set_number(L, "loss", *r->loss_tag != 0, r->loss);
    set_number(L, "eval", *r->eval_tag != 0, r->eval);
    set_number(L, "max_inf_norm", r->has_max_inf_norm, r->max_inf_norm);
    set_number(L, "kurtosis", r->has_kurtosis, r->kurtosis);
    set_number(L, "started", r->t_start_us > 0, (double)r->t_start_us * 1e-6);
    set_count(L, "non_finite", r->n_non_finite);
}

/* run_row(run): as it is now */
static int run_row(lua_State *L)
{
    run_files *h = check_run(L);
    hl_status st = hl_run_refresh(h->run);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    push_row(L, hl_run_get_row(h->run));
    return 1;
}

/* run_json(run, "facts"|"config"|"summary") */
static int run_json(lua_State *L)
{
    run_files *h = check_run(L);
    static const char *const names[] = {"facts", "config", "summary", NULL};
    const int which = luaL_checkoption(L, 2, NULL, names);
    hl_status st = which == 2 ? hl_run_refresh(h->run) : HL_OK;
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    hl_lua_push_json(L, which == 0   ? hl_run_facts(h->run)
                        : which == 1 ? hl_run_config(h->run)
                                     : hl_run_summary(h->run));
    return 1;
}

/* ---- lists ---- */

static int list_gc(lua_State *L)
{
    hl_run_list **list = luaL_checkudata(L, 1, LIST_META);
    hl_run_list_close(*list);
    *list = NULL;
    return 0;
}

/* run_list(dir): a handle that reads only what changed when it is asked again */
static int run_list(lua_State *L)
{
    const char *dir = luaL_checkstring(L, 1);
    hl_run_list **list = lua_newuserdatauv(L, sizeof *list, 0);
    *list = NULL;
    luaL_setmetatable(L, LIST_META);
    hl_status st = hl_run_list_open(dir, list);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

/* Marks the rows that the filter takes; the list is of run_rows. */
static hl_status choose(const hl_run_list *list, const char *text, bool *fits)
{
    hl_status st = HL_OK;
    const size_t n = hl_run_list_n(list);
    hl_filter *f = NULL;
    hl_run_row *rows = hl_alloc(sizeof *rows * (n + 1));
    if (!rows)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n; i++)
        rows[i] = *hl_run_list_at(list, i);
    HL_TRY(hl_filter_new_open(text, &(hl_run_rows){.at = rows, .n = n}, &f));
    const hl_filter_bad *bad = hl_filter_trouble(f);
    if (bad)
        HL_FAIL(HL_E_ARG, "hop.runs: filter: %s (at: %.*s)", bad->message, (int)bad->n,
                text + bad->at);
    for (size_t i = 0; i < n; i++)
        fits[i] = hl_filter_fits(f, &rows[i]);
out:
    hl_filter_free(f);
    hl_free(rows);
    return st;
}

/* run_rows(list, filter): those that fit, newest first; filter: text, or nil for all */
static int run_rows(lua_State *L)
{
    hl_run_list *list = *(hl_run_list **)luaL_checkudata(L, 1, LIST_META);
    const char *filter = luaL_optstring(L, 2, NULL);
    hl_status st = list ? hl_run_list_refresh(list) : HL_E_STATE;
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    const size_t n = hl_run_list_n(list);
    bool *fits = lua_newuserdatauv(L, n + 1, 0);
    memset(fits, 1, n + 1);
    st = filter ? choose(list, filter, fits) : HL_OK;
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    lua_Integer at = 0;
    lua_createtable(L, filter ? 0 : (int)n, 0);
    for (size_t i = n; i-- > 0;) {
        if (!fits[i])
            continue;
        push_row(L, hl_run_list_at(list, i));
        lua_rawseti(L, -2, ++at);
    }
    return 1;
}

/* run_find(runs_dir, word): the directory of the run that is meant */
static int run_find(lua_State *L)
{
    char *dir = NULL;
    hl_status st = hl_run_find(luaL_checkstring(L, 1), luaL_checkstring(L, 2), &dir);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    lua_pushstring(L, dir);
    hl_free(dir);
    return 1;
}

/* ---- series ---- */

static int64_t event_bytes(const char *dir)
{
    hl_fs_list names;
    int64_t sum = 0;
    if (hl_fs_list_dir(dir, &names) != HL_OK)
        return -1;
    for (size_t i = 0; i < names.n; i++) {
        if (!strstr(names.name[i], "tfevents"))
            continue;
        char *path = hl_fs_join(dir, names.name[i]);
        sum += path ? hl_fs_size(path) : 0;
        hl_free(path);
    }
    hl_fs_list_free(&names);
    return sum;
}

/* ---- formulas ---- */

static bool is_scalar(void *self, const char *tag)
{
    hl_run_scalar s;
    return hl_run_scalar_find(self, tag, &s);
}

/* The value at a step, on a straight line between the points around it, of which *at is the first;
 * false: outside, or not finite. */
static bool value_at(const hl_run_points *p, int64_t step, size_t *at, double *v)
{
    while (*at + 1 < p->n && p->step[*at + 1] <= step)
        ++*at;
    if (p->n == 0 || p->step[*at] > step || (*at + 1 == p->n && p->step[*at] < step))
        return false;
    *v = p->value[*at];
    if (p->step[*at] < step) {
        const double part =
            (double)(step - p->step[*at]) / (double)(p->step[*at + 1] - p->step[*at]);
        *v += part * (p->value[*at + 1] - *v);
    }
    return isfinite(*v);
}

/* As charts have it: at the steps of the first series, where all the others are known. */
static hl_status read_formula(hl_run *run, const char *text, hl_run_points *out)
{
    hl_status st = HL_OK;
    hl_formula f;
    hl_run_points p[HL_FORMULA_NAMES] = {{0}};
    size_t at[HL_FORMULA_NAMES] = {0}, n = 0;
    double v[HL_FORMULA_NAMES];
    HL_TRY(hl_formula_parse(text, is_scalar, run, &f));
    for (int i = 0; i < f.n_names; i++)
        HL_TRY(hl_run_read_points(run, f.name[i], &p[i]));
    for (size_t k = 0; k < p[0].n; k++) {
        bool known = true;
        v[0] = p[0].value[k];
        for (int i = 1; i < f.n_names; i++)
            known = value_at(&p[i], p[0].step[k], &at[i], &v[i]) && known;
        if (!known)
            continue;
        p[0].step[n] = p[0].step[k];
        p[0].t_us[n] = p[0].t_us[k];
        p[0].value[n++] = hl_formula_value(&f, v);
    }
    *out = p[0];
    out->n = n;
    p[0] = (hl_run_points){0};
out:
    for (int i = 0; i < HL_FORMULA_NAMES; i++)
        hl_run_points_done(&p[i]);
    return st;
}

/* The points of a series or of "= FORMULA", kept by the handle; raises. */
static const hl_run_points *points_of(lua_State *L, run_files *h, const char *tag)
{
    const int64_t bytes = event_bytes(h->dir);
    kept_series *k = &h->series[0];
    for (int i = 0; i < SERIES_KEPT; i++) {
        kept_series *c = &h->series[i];
        if (c->tag && strcmp(c->tag, tag) == 0) {
            k = c;
            break;
        }
        if (k->tag && (!c->tag || c->used < k->used))
            k = c;
    }
    if (!k->tag || strcmp(k->tag, tag) != 0 || k->bytes != bytes) {
        forget_series(k);
        hl_status st = *tag == '=' ? read_formula(h->run, tag + strspn(tag, "= "), &k->p)
                                   : hl_run_read_points(h->run, tag, &k->p);
        if (st == HL_OK && !(k->tag = hl_strdup(tag)))
            st = HL_E_NOMEM;
        if (st != HL_OK) {
            forget_series(k);
            hl_lua_raise(L, st);
        }
        k->bytes = bytes;
    }
    k->used = ++h->clock;
    return &k->p;
}

/* What run_points is asked for. */
typedef struct wanted {
    double from, to; /* of x */
    int64_t n;       /* at most about so many points; 0: all */
    double ema;      /* factor; 0: none */
    bool time;       /* x: seconds since the first point, else steps */
    double scale;    /* of x */
} wanted;

/* A stretch of points that becomes its extremes, in the order they came, and a gap where one of
 * them is not finite. */
typedef struct stretch {
    size_t n;
    double x_lo, lo, x_hi, hi, x_bad;
    bool has, bad;
} stretch;

static void push_point(lua_State *L, lua_Integer *at, double x, double y)
{
    lua_Integer whole;
    if (lua_numbertointeger(x, &whole) && (lua_Number)whole == x)
        lua_pushinteger(L, whole);
    else
        lua_pushnumber(L, x);
    lua_rawseti(L, -3, ++*at);
    lua_pushnumber(L, y);
    lua_rawseti(L, -2, *at);
}

static void end_stretch(lua_State *L, lua_Integer *at, stretch *s)
{
    const bool lo_first = s->x_lo <= s->x_hi;
    if (s->has)
        push_point(L, at, lo_first ? s->x_lo : s->x_hi, lo_first ? s->lo : s->hi);
    if (s->has && s->x_lo != s->x_hi)
        push_point(L, at, lo_first ? s->x_hi : s->x_lo, lo_first ? s->hi : s->lo);
    if (s->bad)
        push_point(L, at, s->x_bad, NAN);
    *s = (stretch){0};
}

static void add_to_stretch(stretch *s, double x, double y)
{
    s->n++;
    if (!isfinite(y)) {
        s->bad = true;
        s->x_bad = x;
        return;
    }
    if (!s->has || y < s->lo) {
        s->lo = y;
        s->x_lo = x;
    }
    if (!s->has || y > s->hi) {
        s->hi = y;
        s->x_hi = x;
    }
    s->has = true;
}

static double x_of(const hl_run_points *p, const wanted *w, size_t i)
{
    return w->time ? (double)(p->t_us[i] - p->t_us[0]) * 1e-6 : (double)p->step[i] * w->scale;
}

/* Two tables are on the stack: x and y. */
static void push_points(lua_State *L, const hl_run_points *p, const wanted *w)
{
    size_t inside = 0;
    for (size_t i = 0; i < p->n; i++)
        inside += x_of(p, w, i) >= w->from && x_of(p, w, i) <= w->to;
    const size_t each =
        w->n > 0 && inside > (size_t)w->n ? (2 * inside + (size_t)w->n - 1) / (size_t)w->n : 1;
    hl_ema ema;
    hl_ema_init(&ema, w->ema, 1, false);
    lua_Integer at = 0;
    stretch s = {0};
    for (size_t i = 0; i < p->n; i++) {
        const double x = x_of(p, w, i);
        double y = p->value[i];
        if (w->ema > 0 && isfinite(y)) /* each counts alike, whatever lies between them */
            y = hl_ema_add(&ema, (double)ema.n, y);
        if (!(x >= w->from && x <= w->to))
            continue;
        add_to_stretch(&s, x, y);
        if (s.n == each)
            end_stretch(L, &at, &s);
    }
    end_stretch(L, &at, &s);
}

/* run_time(run, tag, step): unix seconds of the point there, of several the last; nil: there is none */
static int run_time(lua_State *L)
{
    const hl_run_points *p = points_of(L, check_run(L), luaL_checkstring(L, 2));
    const lua_Integer step = luaL_checkinteger(L, 3);
    for (size_t i = p->n; i-- > 0;)
        if (p->step[i] == step) {
            lua_pushnumber(L, (double)p->t_us[i] * 1e-6);
            return 1;
        }
    return 0;
}

/* run_points(run, tag, time, scale, from, to, n, ema): x, y */
static int run_points(lua_State *L)
{
    run_files *h = check_run(L);
    const char *tag = luaL_checkstring(L, 2);
    const wanted w = {.time = lua_toboolean(L, 3),
                      .scale = luaL_checknumber(L, 4),
                      .from = luaL_checknumber(L, 5),
                      .to = luaL_checknumber(L, 6),
                      .n = luaL_checkinteger(L, 7),
                      .ema = luaL_checknumber(L, 8)};
    const hl_run_points *p = points_of(L, h, tag);
    lua_newtable(L);
    lua_newtable(L);
    push_points(L, p, &w);
    return 2;
}

/* ---- histograms and the log: one pass over the events ---- */

typedef struct search {
    hl_run *run;
    const char *tag; /* of the histogram */
    int64_t step;    /* the newest one up to here; < 0: the newest */
    hl_hist hist;
    int64_t found;       /* its step; -1: none */
    char **slots;        /* log: a ring of lines, owned by whoever searches */
    lua_Integer n, most; /* lines so far; slots */
} search;

static void visit_hist(void *self, size_t series, int64_t step, int64_t t_us, const hl_hist *h)
{
    search *s = self;
    (void)t_us;
    if ((s->step >= 0 && step > s->step) ||
        strcmp(hl_run_series_at(s->run, series).tag, s->tag) != 0)
        return;
    s->hist = *h;
    s->found = step;
}

/* run_hist(run, tag, step): table, or nil if there is none */
static int run_hist(lua_State *L)
{
    run_files *h = check_run(L);
    search s = {.run = h->run, .tag = luaL_checkstring(L, 2), .found = -1};
    s.step = luaL_optinteger(L, 3, -1);
    const hl_run_visitor v = {.self = &s, .hist = visit_hist};
    hl_status st = hl_run_scan(h->run, &v, false);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    if (s.found < 0)
        return 0;
    lua_createtable(L, 0, 8);
    set_count(L, "step", s.found);
    set_number(L, "min", true, s.hist.min);
    set_number(L, "max", true, s.hist.max);
    set_number(L, "n", true, s.hist.num);
    set_number(L, "sum", true, s.hist.sum);
    set_number(L, "sum_squares", true, s.hist.sum_squares);
    set_number(L, "non_finite", true, s.hist.n_non_finite);
    lua_createtable(L, HL_HIST_BINS, 0);
    lua_createtable(L, HL_HIST_BINS, 0);
    for (int i = 0; i < HL_HIST_BINS; i++) {
        lua_pushnumber(L, s.hist.bin[i]);
        lua_rawseti(L, -3, i + 1);
        lua_pushnumber(L, hl_hist_edge(i));
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -3, "edges");
    lua_setfield(L, -2, "bins");
    return 1;
}

/* ---- curves: the newest of each name, in one pass ---- */

typedef struct curve {
    char *tag;
    float *v;
    size_t rows, cols;
    int64_t step;
} curve;

typedef struct curve_search {
    hl_run *run;
    const char *prefix;
    int64_t step; /* the newest ones up to here; < 0: the newest */
    HL_VEC(curve) found;
    hl_spellings spellings;
    hl_status st;
} curve_search;

static curve *slot_of(curve_search *s, const char *tag)
{
    for (size_t i = 0; i < s->found.n; i++)
        if (strcmp(s->found.at[i].tag, tag) == 0)
            return &s->found.at[i];
    char *own = hl_strdup(tag);
    if (own && hl_vec_push(&s->found, (curve){.tag = own}) == HL_OK)
        return &s->found.at[s->found.n - 1];
    hl_free(own);
    return NULL;
}

/* No Lua in here: an error must not jump over the reader. */
static void visit_curve(void *self, size_t series, int64_t step, int64_t t_us, const hl_curve *c)
{
    curve_search *s = self;
    const char *tag = hl_run_series_at(s->run, series).tag;
    const size_t n = c->rows * c->cols;
    (void)t_us;
    if ((s->step >= 0 && step > s->step) || !hl_str_starts(tag, s->prefix) || s->st != HL_OK)
        return;
    curve *to = slot_of(s, tag);
    float *v = to ? hl_alloc(n * sizeof *v) : NULL;
    if (!v) {
        s->st = HL_E_NOMEM;
        return;
    }
    memcpy(v, c->v, n * sizeof *v);
    hl_free(to->v);
    *to = (curve){to->tag, v, c->rows, c->cols, step};
}

static void visit_spellings(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                            size_t n)
{
    curve_search *s = self;
    (void)step, (void)t_us;
    hl_spellings_read(&s->spellings, hl_run_series_at(s->run, series).content, text, n);
}

/* The field `text` of a curve of tokens: from its ids to their spellings, where there are any. */
static void push_spellings(lua_State *L, const curve *c, const hl_spellings *spellings)
{
    bool any = false;
    for (size_t i = 0; c->rows == 2 && i < c->cols; i++) {
        const float id = c->v[c->cols + i];
        const char *text = hl_spellings_get(spellings, (double)id);
        if (text && !any)
            lua_newtable(L);
        any = any || text;
        if (text) {
            lua_pushstring(L, text);
            lua_rawseti(L, -2, (lua_Integer)id);
        }
    }
    if (any)
        lua_setfield(L, -2, "text");
}

static void push_curve(lua_State *L, const curve *c)
{
    lua_createtable(L, 0, 4);
    set_count(L, "step", c->step);
    set_count(L, "rows", (int64_t)c->rows);
    set_count(L, "cols", (int64_t)c->cols);
    lua_createtable(L, (int)(c->rows * c->cols), 0);
    for (size_t i = 0; i < c->rows * c->cols; i++) {
        lua_pushnumber(L, (lua_Number)c->v[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "values");
}

/* run_curves(run, prefix, step): table from names to { step, rows, cols, values (row by row), text
 * (of tokens, by id) } */
static int run_curves(lua_State *L)
{
    run_files *h = check_run(L);
    curve_search s = {.run = h->run, .prefix = luaL_checkstring(L, 2)};
    s.step = luaL_optinteger(L, 3, -1);
    const hl_run_visitor v = {.self = &s, .curve = visit_curve, .json = visit_spellings};
    hl_status st = hl_run_scan(h->run, &v, false);
    st = st == HL_OK ? s.st : st;
    lua_createtable(L, 0, (int)s.found.n);
    for (size_t i = 0; i < s.found.n; i++) {
        curve *c = &s.found.at[i];
        if (st == HL_OK && c->v) {
            push_curve(L, c);
            if (hl_spellings_is_tag(c->tag))
                push_spellings(L, c, &s.spellings);
            lua_setfield(L, -2, c->tag);
        }
        hl_free(c->v);
        hl_free(c->tag);
    }
    hl_vec_done(&s.found);
    hl_spellings_done(&s.spellings);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

/* No Lua in here: an error must not jump over the reader. */
static void visit_log(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                      size_t n)
{
    search *s = self;
    if (strcmp(hl_run_series_at(s->run, series).content, "log") != 0 || n > LOG_TEXT_MAX)
        return;
    hl_json *v;
    if (hl_json_parse(text, n, &v) != HL_OK)
        return;
    hl_str line = {0};
    hl_str_addf(&line, "%lld %.3f %s", (long long)step, (double)t_us * 1e-6,
                hl_json_str(hl_json_get(v, "text"), hl_json_str(hl_json_get(v, "message"), "")));
    hl_json_free(v);
    char **place = &s->slots[s->n++ % s->most];
    hl_free(*place);
    *place = hl_strdup(hl_str_text(&line));
    hl_str_done(&line);
}

/* run_log(run, most): lines "step time text", oldest first */
static int run_log(lua_State *L)
{
    run_files *h = check_run(L);
    const lua_Integer most = luaL_checkinteger(L, 2);
    luaL_argcheck(L, most >= 1 && most <= 10000, 2, "1 to 10000 lines");
    char **slots = lua_newuserdatauv(L, (size_t)most * sizeof *slots, 0);
    memset(slots, 0, (size_t)most * sizeof *slots);
    search s = {.run = h->run, .slots = slots, .most = most};
    const hl_run_visitor v = {.self = &s, .json = visit_log};
    hl_status st = hl_run_scan(h->run, &v, false);
    lua_newtable(L);
    lua_Integer n = s.n < most ? s.n : most;
    for (lua_Integer i = 0; i < n; i++) {
        char *text = slots[(s.n - n + i) % most];
        lua_pushstring(L, text ? text : "");
        lua_rawseti(L, -2, i + 1);
    }
    for (lua_Integer i = 0; i < most; i++)
        hl_free(slots[i]);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

/* ---- scripts ---- */

/* Pushes the text of a script; nil if it cannot be read. */
static void push_script(lua_State *L, char *path)
{
    char *text = NULL;
    size_t n = 0;
    if (path && hl_fs_read(path, HL_LUA_SCRIPT_MAX, &text, &n) == HL_OK)
        lua_pushlstring(L, text, n);
    else
        lua_pushnil(L);
    hl_free(text);
    hl_free(path);
}

/* run_script(run): the script's name, the text that was executed, and the text that the file it
 * came from has now; nil where it cannot be read */
static int run_script(lua_State *L)
{
    run_files *h = check_run(L);
    char folder[1100];
    const char *script = hl_json_str(hl_json_get(hl_run_facts(h->run), "script"), "");
    const char *from = hl_json_str(hl_json_get(hl_run_facts(h->run), "directory"), "");
    snprintf(folder, sizeof folder, "%.1000s/script", h->dir);
    lua_pushstring(L, script);
    push_script(L, *script ? hl_fs_join(folder, hl_fs_base(script)) : NULL);
    push_script(L, *script && *from ? hl_fs_join(from, script) : NULL);
    return 3;
}

/* ---- registration ---- */

static int handle_text(lua_State *L)
{
    const run_files *h = luaL_checkudata(L, 1, RUN_META);
    lua_pushfstring(L, "files of %s", h->dir ? h->dir : "a closed run");
    return 1;
}

static void lock(lua_State *L, const char *name, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__close");
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__metatable");
}

void hl_lua_open_runs(lua_State *L)
{
    static const luaL_Reg functions[] = {{"run_open", run_open},
                                         {"run_row", run_row},
                                         {"run_json", run_json},
                                         {"run_list", run_list},
                                         {"run_rows", run_rows},
                                         {"run_find", run_find},
                                         {"run_points", run_points},
                                         {"run_time", run_time},
                                         {"run_hist", run_hist},
                                         {"run_curves", run_curves},
                                         {"run_log", run_log},
                                         {"run_script", run_script},
                                         {NULL, NULL}};
    lock(L, RUN_META, run_gc);
    lua_pushcfunction(L, handle_text);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
    lock(L, LIST_META, list_gc);
    lua_pop(L, 1);
    luaL_setfuncs(L, functions, 0);
}
