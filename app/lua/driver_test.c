/* The training driver on an experiment from a script, with a host and a sink made of counters. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/exp/train.h"
#include "app/lua/experiment.h"
#include "app/store/spellings.h"
#include "engine/base/err.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/team.h"

/* Every allocation of the process, OpenBLAS and cJSON included, where no sanitizer owns malloc. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
#define COUNTS_MALLOC 1
static int64_t n_malloc;
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t each);
void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n);
void *calloc(size_t n, size_t each);
void *realloc(void *p, size_t n);
void *malloc(size_t n)
{
    __atomic_add_fetch(&n_malloc, 1, __ATOMIC_RELAXED);
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t each)
{
    __atomic_add_fetch(&n_malloc, 1, __ATOMIC_RELAXED);
    return __libc_calloc(n, each);
}
void *realloc(void *p, size_t n)
{
    __atomic_add_fetch(&n_malloc, 1, __ATOMIC_RELAXED);
    return __libc_realloc(p, n);
}
#else
#define COUNTS_MALLOC 0
static int64_t n_malloc;
#endif

enum { STEPS_MAX = 512, SERIES_MAX = 256 };

/* What arrived for one tag. */
typedef struct kept {
    char tag[128];
    hl_series_kind kind;
    int n;
    double last;
    int64_t rows, cols; /* of a curve, like: */
    int n_nan;
    double most; /* of its first row */
    double sum;  /* of all of it */
} kept;

typedef struct rig {
    hl_lua *lua;
    hl_team *team;
    hl_experiment *exp;
    hl_train *train;
    /* what the host saw */
    int n_reports, n_alerts, n_saved, n_scalars;
    double loss[STEPS_MAX];
    char alert[512];
    bool best; /* was the last checkpoint one? */
    kept series[SERIES_MAX];
    int n_series;
    char spelled[1 << 15]; /* events of content "tokens", below each other */
    float token[32];       /* ids of the newest curve of tokens */
    /* requests to hand out: when `step` is reached */
    struct {
        int64_t step;
        hl_request r;
    } ask[8];
    int n_ask, asked;
    hl_status answer[8];
    char said[9000], who[80]; /* of the last answer, and who asked */
    int64_t answer_step[8];
    int n_answers, n_waits;
    /* counters at the third report and at the last */
    int64_t calls[2], allocs[2], mallocs[2];
} rig;

/* --- host --- */

static bool take(void *self, hl_request *out)
{
    rig *r = self;
    if (r->asked == r->n_ask || hl_train_step(r->train) < r->ask[r->asked].step)
        return false;
    *out = r->ask[r->asked++].r;
    return true;
}

static void answer(void *self, const hl_request *c, hl_status st, int64_t step, const char *text)
{
    rig *r = self;
    snprintf(r->said, sizeof r->said, "%s", text);
    snprintf(r->who, sizeof r->who, "%s", c->who);
    r->answer[r->n_answers] = st;
    r->answer_step[r->n_answers++] = step;
}

static void wait(void *self, int64_t ms)
{
    (void)ms;
    ((rig *)self)->n_waits++;
}

static void report(void *self, const hl_train_report *now)
{
    rig *r = self;
    r->loss[now->step % STEPS_MAX] = now->loss;
    r->n_reports++;
    const int k = r->n_reports <= 3 ? 0 : 1;
    r->calls[k] = hl_lua_calls(r->lua);
    r->allocs[k] = hl_mem_get_stats().n_alloc;
    r->mallocs[k] = __atomic_load_n(&n_malloc, __ATOMIC_RELAXED);
}

static void notice(void *self, hl_notice kind, int64_t step, const char *text, const char *json)
{
    rig *r = self;
    (void)step, (void)json;
    if (kind != HL_NOTICE_ALERT)
        return;
    r->n_alerts++;
    snprintf(r->alert, sizeof r->alert, "%s", text);
}

static void saved(void *self, const char *name, int64_t step, bool best)
{
    (void)name, (void)step;
    ((rig *)self)->n_saved++;
    ((rig *)self)->best = best;
}

/* --- sink --- */

static int series(void *self, const char *tag, hl_series_kind kind, const char *content)
{
    rig *r = self;
    (void)content;
    for (int i = 0; i < r->n_series; i++)
        if (strcmp(r->series[i].tag, tag) == 0)
            return i;
    cr_assert_lt(r->n_series, SERIES_MAX);
    kept *k = &r->series[r->n_series];
    snprintf(k->tag, sizeof k->tag, "%s", tag);
    k->kind = kind;
    return r->n_series++;
}

static void scalar(void *self, int id, int64_t step, double value)
{
    rig *r = self;
    (void)step;
    r->n_scalars++;
    r->series[id].n++;
    r->series[id].last = value;
}

static void hist(void *self, int id, int64_t step, const hl_hist *h)
{
    (void)self, (void)id, (void)step, (void)h;
}

static void curve(void *self, int id, int64_t step, const float *v, int64_t rows, int64_t cols)
{
    kept *k = &((rig *)self)->series[id];
    (void)step;
    k->n++;
    k->rows = rows;
    k->cols = cols;
    k->n_nan = 0;
    k->most = k->sum = 0;
    for (int64_t i = 0; i < rows * cols; i++) {
        k->n_nan += isnan(v[i]) != 0;
        k->sum += (double)v[i];
    }
    for (int64_t i = 0; i < cols; i++)
        k->most = fmax(k->most, (double)v[i]);
    if (hl_spellings_is_tag(k->tag)) {
        cr_assert_eq(cols, 32);
        memcpy(((rig *)self)->token, v + cols, sizeof((rig *)self)->token);
    }
}

static void json(void *self, int id, int64_t step, const char *object)
{
    rig *r = self;
    (void)step;
    r->series[id].n++;
    if (strcmp(r->series[id].tag, "data/tokens") == 0) {
        const size_t n = strlen(r->spelled);
        cr_assert_lt(n + strlen(object) + 2, sizeof r->spelled);
        snprintf(r->spelled + n, sizeof r->spelled - n, "%s\n", object);
    }
}

static void flush(void *self)
{
    (void)self;
}

/* --- rig --- */

/* settings: "path=value" words, one per line. */
static void open_script(rig *r, const char *script, const char *settings, const char *ckpt_dir,
                        const char *resume)
{
    char path[512], text[512], *at = text, *line;
    hl_override o[8];
    int n = 0;
    *r = (rig){0};
    snprintf(path, sizeof path, "%s/tests/e2e/%s", getenv("HOPLAB_SOURCE"), script);
    snprintf(text, sizeof text, "%s", settings);
    while ((line = strsep(&at, "\n")) && line[0]) {
        char *eq = strchr(line, '=');
        *eq = '\0';
        o[n++] = (hl_override){.path = line, .text = eq + 1};
    }
    cr_assert_eq(hl_team_new(2, &r->team), HL_OK, "%s", hl_err_message());
    hl_lua_options lo = {.team = r->team};
    cr_assert_eq(hl_lua_new(&lo, &r->lua), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_lua_load_experiment(r->lua, path, o, n), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_lua_build_experiment(r->lua, &r->exp), HL_OK, "%s", hl_err_message());
    hl_train_setup s = {.exp = r->exp, .team = r->team, .peak_flops = 1e12, .host = hl_silent_host()};
    s.host.self = r;
    s.host.take = take;
    s.host.answer = answer;
    s.host.wait = wait;
    s.host.report = report;
    s.host.notice = notice;
    s.host.saved = saved;
    cr_assert_eq(hl_train_new(&s, &r->train), HL_OK, "%s", hl_err_message());
    if (resume)
        cr_assert_eq(hl_train_resume(r->train, resume), HL_OK, "%s", hl_err_message());
    hl_sink k = {.self = r,
                 .series = series,
                 .scalar = scalar,
                 .hist = hist,
                 .curve = curve,
                 .json = json,
                 .flush = flush};
    hl_lua_set_driver(r->exp, r->train);
    cr_assert_eq(hl_train_open(r->train, k, ckpt_dir), HL_OK, "%s", hl_err_message());
}

static void open_rig(rig *r, const char *settings, const char *ckpt_dir, const char *resume)
{
    open_script(r, "tiny.lua", settings, ckpt_dir, resume);
}

static void close_rig(rig *r)
{
    hl_lua_set_driver(r->exp, NULL);
    hl_train_free(r->train);
    hl_experiment_free(r->exp);
    hl_lua_free(r->lua);
    hl_team_free(r->team);
}

static hl_train_end run(rig *r, hl_status want)
{
    hl_train_end end;
    hl_status st = hl_train_run(r->train, &end);
    cr_assert_eq(st, want, "%s", hl_err_message());
    return end;
}

static bool same_weights(const rig *a, const rig *b)
{
    for (size_t i = 0; i < a->exp->n_params; i++)
        if (memcmp(a->exp->params[i].storage->data, b->exp->params[i].storage->data,
                   a->exp->params[i].storage->bytes) != 0)
            return false;
    return a->exp->n_params == b->exp->n_params;
}

/* --- what was logged --- */

/* NULL: no such series */
static const kept *find_series(const rig *r, const char *tag)
{
    for (int i = 0; i < r->n_series; i++)
        if (strcmp(r->series[i].tag, tag) == 0)
            return &r->series[i];
    return NULL;
}

static double last_of(const rig *r, const char *tag)
{
    const kept *k = find_series(r, tag);
    cr_assert(k && k->n > 0, "nothing for %s", tag);
    return k->last;
}

static int count_of(const rig *r, const char *tag)
{
    const kept *k = find_series(r, tag);
    return k ? k->n : 0;
}

/* --- tests --- */

/* Steps alone, plain and watched: no allocation, no call into Lua. */
static void steps_are_silent(rig *r, const char *what)
{
    const int n = getenv("HOPLAB_SANITIZED") ? 2 : 10; /* a second each there */
    double loss;
    cr_assert_eq(hl_train_steps(r->train, 3, true, &loss), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_train_steps(r->train, 3, false, &loss), HL_OK);
    const int64_t calls = hl_lua_calls(r->lua), allocs = hl_mem_get_stats().n_alloc;
    const int64_t mallocs = n_malloc;
    cr_assert_eq(hl_train_steps(r->train, n, true, &loss), HL_OK);
    cr_assert_eq(hl_train_steps(r->train, n, false, &loss), HL_OK);
    cr_assert_eq(hl_lua_calls(r->lua), calls, "%s", what);
    cr_assert_eq(hl_mem_get_stats().n_alloc, allocs, "%s", what);
    cr_assert_eq(n_malloc, mallocs, "%s", what);
    cr_assert(!COUNTS_MALLOC || n_malloc > 0, "malloc is not counted");
    cr_assert_gt(calls, 0);
}

/* However many iterations a solve takes: its step was recorded once. */
Test(driver, equilibrium_steps_allocate_nothing_and_call_no_lua, .timeout = 300)
{
    static const char *const settings[] = {
        "model.forward.solver=picard\nmodel.backward.method=ift\nmodel.record_energy=true\n"
        "model.record_states=4",
        "model.forward.solver=anderson\nmodel.kind=chn",
        "model.forward.solver=broyden\nmodel.backward.method=ift",
        "model.forward.solver=anderson\nmodel.update=one_matrix\nmodel.backward.method=full_"
        "adjoint",
        "model.forward.solver=picard\nmodel.backward.method=phantom\nmodel.small_world=0.05"};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        rig r;
        open_script(&r, "equilibrium.lua", settings[i], NULL, NULL);
        steps_are_silent(&r, settings[i]);
        close_rig(&r);
    }
}

/* Watching adds solves of its own (the spectral radius) and changes no bit of the training. */
Test(driver, watched_equilibrium_steps_train_alike)
{
    rig a, b;
    double loss;
    open_script(&a, "equilibrium.lua", "", NULL, NULL);
    open_script(&b, "equilibrium.lua", "", NULL, NULL);
    cr_assert_eq(hl_train_steps(a.train, 20, true, &loss), HL_OK);
    cr_assert_eq(hl_train_steps(b.train, 20, false, &loss), HL_OK);
    cr_assert(same_weights(&a, &b));
    cr_assert_lt(hl_train_get_plan(b.train).n_ops, 400);
    close_rig(&a);
    close_rig(&b);
}

Test(driver, equilibrium_resumed_ends_the_same)
{
    char dir[] = "/tmp/hoplab-driver-XXXXXX", from[80];
    rig a, b;
    cr_assert(mkdtemp(dir));
    open_script(&a, "equilibrium.lua", "train.max_steps=30\nsave.every=13", dir, NULL);
    cr_assert_eq(run(&a, HL_OK), HL_TRAIN_DONE);
    snprintf(from, sizeof from, "%s/step-%010d", dir, 13);
    open_script(&b, "equilibrium.lua", "train.max_steps=30\nsave.every=13", NULL, from);
    cr_assert_eq(run(&b, HL_OK), HL_TRAIN_DONE);
    cr_assert(same_weights(&a, &b));
    cr_assert_eq(last_of(&a, "eval/deq/residual"), last_of(&b, "eval/deq/residual"));
    cr_assert_eq(count_of(&a, "train/deq/movement"), 5); /* steps 1, 7, 14, 21, 28 */
    close_rig(&a);
    close_rig(&b);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

static void turn(rig *r, const char *knob, double value)
{
    hl_request c = {.kind = HL_REQUEST_SET, .value = value};
    snprintf(c.name, sizeof c.name, "%s", knob);
    cr_assert_eq(hl_train_request(r->train, &c), HL_OK, "%s", hl_err_message());
}

static double calls_of_a_solve(rig *r)
{
    double loss;
    cr_assert_eq(hl_train_steps(r->train, 1, false, &loss), HL_OK);
    cr_assert_eq(hl_train_evaluate(r->train), HL_OK);
    return last_of(r, "eval/deq/calls");
}

Test(driver, solves_are_tuned_while_they_go_on)
{
    char dir[] = "/tmp/hoplab-driver-XXXXXX", from[80];
    rig r, text;
    cr_assert(mkdtemp(dir));
    open_script(&r, "equilibrium.lua", "train.max_steps=4", dir, NULL);
    cr_assert_gt(calls_of_a_solve(&r), 6);
    turn(&r, "deq.max_iter", 5);
    cr_assert_eq(calls_of_a_solve(&r), 5);
    turn(&r, "deq.max_iter", 26); /* refused: the run has room for 25 */
    turn(&r, "deq.max_iter", 2.5);
    cr_assert_eq(hl_train_knob(r.train, "deq.max_iter"), 5);
    turn(&r, "deq.max_iter", (double)NAN);
    cr_assert_eq(hl_train_knob(r.train, "deq.max_iter"), 25);
    turn(&r, "deq.tol", 0.5);
    cr_assert_lt(calls_of_a_solve(&r), 6);
    turn(&r, "deq.memory", 2);
    cr_assert_eq(run(&r, HL_OK), HL_TRAIN_DONE);
    close_rig(&r);
    /* held across a resume; and where nothing is solved there is no such knob */
    snprintf(from, sizeof from, "%s/step-%010d", dir, 4);
    open_script(&r, "equilibrium.lua", "train.max_steps=4", NULL, from);
    cr_assert_eq(hl_train_knob(r.train, "deq.tol"), 0.5);
    cr_assert_eq(hl_train_knob(r.train, "deq.memory"), 2);
    close_rig(&r);
    open_rig(&text, "train.max_steps=4", NULL, NULL);
    cr_assert(isnan(hl_train_knob(text.train, "deq.tol")));
    close_rig(&text);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

static hl_status ask_knob(rig *r, const char *knob, double value)
{
    hl_request c = {.kind = HL_REQUEST_SET, .value = value};
    snprintf(c.name, sizeof c.name, "%s", knob);
    r->n_answers = 0;
    cr_assert_eq(hl_train_request(r->train, &c), HL_OK);
    return r->answer[0];
}

/* Damping is a knob of forward and backward solves alike; both are recorded, and timed. */
Test(driver, solves_are_damped_while_they_go_on)
{
    static const char set[] = "train.max_steps=40\nmodel.backward.method=ift\nprobe.every=2\n"
                              "model.forward.solver=picard\nmodel.forward.max_iter=60\n"
                              "model.record_energy=true\n"
                              "model.record_states=3\nlog.every=2";
    rig r;
    double loss, before;
    open_script(&r, "equilibrium.lua", set, NULL, NULL);
    cr_assert_eq(hl_train_knob(r.train, "deq.damping"), 0);
    cr_assert_eq(ask_knob(&r, "deq.damping", 1), HL_E_ARG);
    cr_assert_eq(ask_knob(&r, "deq.damping", -0.1), HL_E_ARG);
    cr_assert_eq(hl_train_steps(r.train, 3, false, &loss), HL_OK);
    before = calls_of_a_solve(&r);
    cr_assert_eq(ask_knob(&r, "deq.damping", 0.5), HL_OK);
    cr_assert_eq(hl_train_knob(r.train, "deq.damping"), 0.5);
    cr_assert_gt(calls_of_a_solve(&r), before, "half a step takes more of them");
    cr_assert_eq(run(&r, HL_OK), HL_TRAIN_DONE);
    const kept *back = find_series(&r, "train/deq/backward"),
               *state = find_series(&r, "train/deq/state");
    cr_assert(back && state && find_series(&r, "train/deq/energy"));
    cr_assert_eq(back->rows, 6);
    cr_assert_eq(back->cols, 64);
    cr_assert_eq(back->n_nan, 0);
    cr_assert_eq(find_series(&r, "train/deq/backward_absolute")->n, back->n);
    cr_assert_eq(state->rows, 3);
    cr_assert_eq(state->cols, 30 + 10); /* what an even-odd solve iterates */
    cr_assert_eq(find_series(&r, "train/deq/absolute")->rows, 60);
    cr_assert_eq(find_series(&r, "train/deq/ended")->cols, 64);
    cr_assert_gt(last_of(&r, "train/deq/solve_ms"), 0);
    cr_assert_gt(last_of(&r, "train/deq/backward_ms"), 0);
    close_rig(&r);
}

/* To be damped by a knob is to be damped as recorded, whatever the recorded damping is. */
Test(driver, a_damped_solve_is_that_of_a_damped_step)
{
    static const char *const damping[] = {"0", "0.2", "0.5"};
    double calls[3], loss[3], time[3];
    for (int i = 0; i < 3; i++) {
        rig r;
        char set[160];
        snprintf(set, sizeof set,
                 "train.max_steps=4\nmodel.forward.solver=picard\nmodel.forward.max_iter=40\n"
                 "model.damping=%s",
                 damping[i]);
        open_script(&r, "equilibrium.lua", set, NULL, NULL);
        cr_assert_eq(ask_knob(&r, "deq.damping", 0.2), HL_OK);
        cr_assert_eq(hl_train_evaluate(r.train), HL_OK);
        calls[i] = last_of(&r, "eval/deq/iterations");
        loss[i] = last_of(&r, "eval/loss");
        time[i] = last_of(&r, "eval/deq/time");
        close_rig(&r);
    }
    for (int i = 0; i < 3; i++) {
        cr_assert_float_eq(calls[i], calls[1], 0.05, "%g and %g", calls[i], calls[1]);
        cr_assert_float_eq(loss[i], loss[1], 1e-5);
        cr_assert_float_eq(time[i], 0.8 * calls[i], 1e-4);
    }
}

/* What may be turned is what there is, within its own ends and those of the script. */
Test(driver, knobs_are_what_the_script_declares)
{
    static const char settings[] = "train.max_steps=12\ntrain.max_grad_norm=1\nprobe.every=4";
    rig r;
    double loss;
    open_rig(&r, settings, NULL, NULL);
    cr_assert_eq(ask_knob(&r, "train.max_grad_norm", 1e-9), HL_OK);
    cr_assert_eq(hl_train_steps(r.train, 1, false, &loss), HL_OK);
    const double before = *(const float *)r.exp->params[0].storage->data;
    cr_assert_eq(ask_knob(&r, "lr.scale", 0), HL_OK);
    cr_assert_eq(hl_train_knob(r.train, "lr"), 0);
    cr_assert_eq(hl_train_steps(r.train, 2, false, &loss), HL_OK);
    cr_assert_eq(*(const float *)r.exp->params[0].storage->data, (float)before, "a rate of 0");
    cr_assert_eq(ask_knob(&r, "lr", 0.25), HL_OK);
    cr_assert_eq(ask_knob(&r, "lr.scale", 2), HL_OK); /* of the schedule, so it is that again */
    cr_assert_neq(hl_train_knob(r.train, "lr"), 0.25);
    cr_assert_eq(ask_knob(&r, "log.every", 0), HL_E_ARG);
    cr_assert_eq(ask_knob(&r, "log.every", 2.5), HL_E_ARG);
    cr_assert_eq(ask_knob(&r, "lr", -1), HL_E_ARG);
    cr_assert_eq(ask_knob(&r, "deq.tol", 1), HL_E_ARG);
    cr_assert_eq(ask_knob(&r, "probe.every", 3), HL_OK);
    cr_assert_eq(hl_train_knob(r.train, "probe.every"), 3);
    cr_assert_eq(ask_knob(&r, "probe.every", (double)NAN), HL_OK);
    cr_assert_eq(hl_train_knob(r.train, "probe.every"), 4);
    /* as a script says it */
    hl_free(r.exp->knobs);
    r.exp->knobs = hl_alloc_zero(1, sizeof *r.exp->knobs);
    r.exp->n_knobs = 1;
    r.exp->knobs[0] = (hl_exp_knob){.name = hl_strdup("lr"), .least = (double)NAN, .most = 0.5};
    cr_assert_eq(ask_knob(&r, "lr", 0.5), HL_OK);
    cr_assert_eq(ask_knob(&r, "lr", 0.6), HL_E_ARG);
    cr_assert_eq(ask_knob(&r, "probe.every", 3), HL_E_ARG);
    close_rig(&r);
}

static hl_status ask_text(rig *r, hl_request_kind kind, const char *name, const char *text)
{
    hl_request c = {.kind = kind, .value = (double)NAN};
    snprintf(c.name, sizeof c.name, "%s", name);
    snprintf(c.text, sizeof c.text, "%s", text);
    r->n_answers = 0;
    cr_assert_eq(hl_train_request(r->train, &c), HL_OK);
    return r->answer[0];
}

/* From the step that it is asked for at, over what is left, from the rate that is; a run that is
 * resumed goes on with it. */
Test(driver, another_schedule_takes_the_place_of_the_runs)
{
    static const char set[] = "train.max_steps=12\noptim.lr=0.5\nsave.every=0";
    char dir[] = "/tmp/hoplab-driver-XXXXXX", from[80];
    rig r, again;
    double loss;
    cr_assert(mkdtemp(dir));
    open_rig(&r, set, dir, NULL);
    cr_assert_eq(hl_train_steps(r.train, 2, false, &loss), HL_OK);
    const double own = hl_train_knob(r.train, "lr");
    cr_assert_eq(ask_text(&r, HL_REQUEST_SET, "lr", "linaer"), HL_E_ARG);
    cr_assert_eq(ask_text(&r, HL_REQUEST_SET, "lr", "linear:warmpu=3"), HL_E_ARG);
    cr_assert_eq(ask_text(&r, HL_REQUEST_SET, "log.every", "linear"), HL_E_ARG);
    cr_assert_eq(hl_train_knob(r.train, "lr"), own);
    cr_assert_eq(ask_text(&r, HL_REQUEST_SET, "lr", "linear:peak=0.25"), HL_OK);
    cr_assert_eq(hl_train_knob(r.train, "lr"), 0.25);
    cr_assert_eq(hl_train_steps(r.train, 5, false, &loss), HL_OK);
    cr_assert_float_eq(hl_train_knob(r.train, "lr"), 0.125, 1e-12);
    cr_assert_eq(ask_knob(&r, "lr.scale", 0.5), HL_OK); /* of the schedule that is */
    cr_assert_float_eq(hl_train_knob(r.train, "lr"), 0.0625, 1e-12);
    cr_assert_eq(ask_text(&r, HL_REQUEST_CHECKPOINT, "", "half-way"), HL_OK);
    snprintf(from, sizeof from, "%s/half-way", dir);
    open_rig(&again, set, NULL, from);
    cr_assert_float_eq(hl_train_knob(again.train, "lr"), 0.0625, 1e-12);
    close_rig(&again);
    cr_assert_eq(ask_knob(&r, "lr", (double)NAN), HL_OK);
    cr_assert_eq(ask_knob(&r, "lr.scale", (double)NAN), HL_OK);
    cr_assert_neq(hl_train_knob(r.train, "lr"), 0.0625);
    cr_assert_eq(ask_text(&r, HL_REQUEST_SET, "lr", "constant_with_warmup:warmup=4"), HL_OK);
    cr_assert_eq(hl_train_knob(r.train, "lr"), 0);
    close_rig(&r);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

static hl_status ask_lua(rig *r, const char *code)
{
    const hl_request c = {.kind = HL_REQUEST_LUA, .name = "lua", .code = code, .who = "a test"};
    r->n_answers = 0;
    cr_assert_eq(hl_train_request(r->train, &c), HL_OK, "%s: the run ends", code);
    return r->answer[r->n_answers - 1];
}

/* A text is evaluated in the script's interpreter; what it raises, and how long it would take, is
 * no matter of the run. */
Test(driver, a_text_is_evaluated_between_steps)
{
    static const struct {
        const char *code, *said;
        hl_status st;
    } cases[] = {
        {"6 * 7", "42", HL_OK},
        {"hop.global('n', 40)", "", HL_OK},
        {"n = n + 1 print('n', n, nil)", "n\t41\tnil", HL_OK},
        {"print 'one' return n, { 'x' }", "one\n41\t{ \"x\" }", HL_OK},
        {"mine = 5", "", HL_OK}, /* the next text has it, the script does not */
        {"mine, rawget(_G, 'mine')", "5\tnil", HL_OK},
        {"print '\\27[1m\\0\\t.'", "?[1m?\t.", HL_OK},
        {"1 +", "console:1: unexpected symbol near <eof>", HL_E_FORMAT},
        {"print 'lost' error 'by hand'", "console:1: by hand", HL_E_ARG},
        {"nothing.at.all", "console:1: the global 'nothing' does not exist", HL_E_ARG},
        {"hop.exit(3)", "hop.exit ends a script; run:stop() ends a run", HL_E_ARG},
        {"run:set('lr', 0.25) return run:get 'lr'", "0.25", HL_OK},
    };
    rig r, plain;
    double loss[2];
    char code[200];
    open_rig(&r, "train.max_steps=6", NULL, NULL);
    open_rig(&plain, "train.max_steps=6", NULL, NULL);
    cr_assert_eq(hl_train_steps(r.train, 2, false, &loss[0]), HL_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(ask_lua(&r, cases[i].code), cases[i].st, "%s: %s", cases[i].code, r.said);
        cr_expect(cases[i].st == HL_OK ? strcmp(r.said, cases[i].said) == 0
                                       : strstr(r.said, cases[i].said) != NULL,
                  "%s: %s", cases[i].code, r.said);
    }
    cr_assert_eq(ask_lua(&r, "run:set('lr.scale', 2) run:set('lr', 0/0) run:stop"), HL_E_FORMAT);
    cr_assert_eq(r.n_answers, 1, "nothing was run");
    snprintf(code, sizeof code, "for i = 1, 2 * %d do print 'x' end", HL_ANSWER_MAX);
    cr_assert_eq(ask_lua(&r, code), HL_OK);
    cr_assert(strlen(r.said) < HL_ANSWER_MAX + 60 && strstr(r.said, "longer than 8192 bytes"));
    /* the same training as that of a run that nobody asked, but for the knob */
    cr_assert_eq(hl_train_steps(plain.train, 2, false, &loss[1]), HL_OK);
    cr_assert_eq(ask_knob(&plain, "lr", 0.25), HL_OK);
    cr_assert_eq(hl_train_steps(r.train, 2, false, &loss[0]), HL_OK);
    cr_assert_eq(hl_train_steps(plain.train, 2, false, &loss[1]), HL_OK);
    cr_assert(same_weights(&r, &plain));
    r.exp->hooks.evaluate = NULL; /* a driver without an interpreter */
    cr_assert_eq(ask_lua(&r, "1"), HL_E_UNSUPPORTED);
    close_rig(&plain);
    close_rig(&r);
}

/* Whatever it catches, in coroutines old and new, and when it is over nothing of the limit is left.
 */
Test(driver, a_text_that_never_ends_is_stopped)
{
    static const char *const loops[] = {
        "while true do pcall(function() while true do end end) end",
        "resume()", /* a coroutine from before */
        "local t = setmetatable({}, { __close = function() error 'no' end }) "
        "while true do pcall(function() local x <close> = t while true do end end) end",
    };
    rig r;
    open_rig(&r, "train.max_steps=6", NULL, NULL);
    cr_assert_eq(ask_lua(&r, "hop.global('resume', coroutine.wrap(function() coroutine.yield() "
                             "while true do end end)) resume()"),
                 HL_OK, "%s", r.said);
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
        cr_expect_eq(ask_lua(&r, loops[i]), HL_E_ARG, "%s", loops[i]);
        cr_expect(strstr(r.said, "stopped: more than"), "%s: %s", loops[i], r.said);
    }
    cr_assert_eq(ask_lua(&r, "local n = 0 for i = 1, 1000000 do n = n + i end return n"), HL_OK);
    cr_assert_str_eq(r.said, "500000500000");
    cr_assert_eq(run(&r, HL_OK), HL_TRAIN_DONE);
    close_rig(&r);
}

/* They have names that nobody else uses, are never the best and never in the way. */
Test(driver, checkpoints_of_a_name)
{
    char dir[] = "/tmp/hoplab-driver-XXXXXX";
    rig r;
    double loss;
    cr_assert(mkdtemp(dir));
    open_rig(&r, "train.max_steps=12\nsave.best=eval/loss:min", dir, NULL);
    cr_assert_eq(hl_train_steps(r.train, 1, false, &loss), HL_OK);
    static const char *const bad[] = {"..", "last", "best", "step-7", "a/b", ".tmp", "-x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(ask_text(&r, HL_REQUEST_CHECKPOINT, "", bad[i]), HL_E_ARG, "%s", bad[i]);
    cr_assert_eq(ask_text(&r, HL_REQUEST_CHECKPOINT, "", "before-9.x"), HL_OK);
    cr_assert_eq(ask_text(&r, HL_REQUEST_CHECKPOINT, "", "before-9.x"), HL_E_STATE);
    cr_assert_eq(r.n_saved, 1);
    cr_assert(!r.best);
    close_rig(&r);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

/* An evaluation on another part is an answer; the run's own evaluations stay what they are. */
Test(driver, another_part_is_evaluated)
{
    static const char set[] = "train.max_steps=6\neval.every=3\ndata.batch_size=4\n"
                              "data.eval_batch_size=4";
    rig a, b;
    open_rig(&a, set, NULL, NULL);
    open_rig(&b, set, NULL, NULL);
    static const char *const parts[] = {"train", "test", "tset"};
    static const hl_status want[] = {HL_OK, HL_E_STATE, HL_E_ARG};
    b.n_ask = 3;
    for (int i = 0; i < 3; i++) {
        b.ask[i].step = 4;
        b.ask[i].r.kind = HL_REQUEST_EVAL;
        snprintf(b.ask[i].r.text, sizeof b.ask[i].r.text, "%s", parts[i]);
    }
    run(&a, HL_OK);
    run(&b, HL_OK);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(b.answer[i], want[i], "%s: %s", parts[i], hl_status_name(b.answer[i]));
    cr_expect_eq(count_of(&b, "eval/train_loss"), 1);
    cr_expect_eq(count_of(&b, "eval/loss"), count_of(&a, "eval/loss"));
    cr_expect_eq(last_of(&b, "eval/loss"), last_of(&a, "eval/loss"));
    cr_expect(same_weights(&a, &b));
    close_rig(&a);
    close_rig(&b);
}

Test(driver, a_step_allocates_nothing_and_calls_no_lua)
{
    rig r;
    open_rig(&r,
             "train.max_steps=60\neval.every=0\nsave.every=0\nlog.every=5\nprobe.every=7\n"
             "probe.channels=true\nprobe.attention=16",
             NULL, NULL);
    r.exp->eval_every = 0;
    hl_train_end end;
    steps_are_silent(&r, "text");
    /* the whole loop, with logging and probing, from the third step to the last */
    const int left = 60 - (int)hl_train_step(r.train);
    cr_assert_geq(left, 34);
    cr_assert_eq(hl_train_run(r.train, &end), HL_OK, "%s", hl_err_message());
    cr_assert_eq(r.n_reports, left);
    cr_assert_gt(r.n_scalars, left);
    cr_assert_eq(r.calls[1], r.calls[0]);
    cr_assert_eq(r.allocs[1], r.allocs[0]);
    cr_assert_eq(r.mallocs[1], r.mallocs[0]);
    close_rig(&r);
}

Test(driver, the_same_seed_gives_the_same_weights_and_another_does_not)
{
    rig a, b, c;
    open_rig(&a, "train.max_steps=20", NULL, NULL);
    open_rig(&b, "train.max_steps=20", NULL, NULL);
    open_rig(&c, "train.max_steps=20\nseed=8", NULL, NULL);
    cr_assert_eq(run(&a, HL_OK), HL_TRAIN_DONE);
    run(&b, HL_OK);
    run(&c, HL_OK);
    cr_assert(same_weights(&a, &b));
    cr_assert(!same_weights(&a, &c));
    cr_assert_lt(a.loss[20], a.loss[1]);
    close_rig(&a);
    close_rig(&b);
    close_rig(&c);
}

Test(driver, resumed_in_the_middle_it_ends_the_same)
{
    char dir[] = "/tmp/hoplab-driver-XXXXXX", from[80];
    rig a, b;
    cr_assert(mkdtemp(dir));
    open_rig(&a, "train.max_steps=30\nsave.every=10", dir, NULL);
    cr_assert_eq(run(&a, HL_OK), HL_TRAIN_DONE);
    cr_assert_eq(a.n_saved, 3);
    snprintf(from, sizeof from, "%s/step-0000000010", dir);
    open_rig(&b, "train.max_steps=30\nsave.every=10", NULL, from);
    cr_assert_eq(hl_train_step(b.train), 10);
    cr_assert_eq(run(&b, HL_OK), HL_TRAIN_DONE);
    cr_assert(same_weights(&a, &b));
    for (int i = 11; i <= 30; i++)
        cr_assert_eq(a.loss[i], b.loss[i], "step %d", i);
    close_rig(&a);
    close_rig(&b);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

/* The largest difference between the weights of two runs. */
static double weights_differ(const rig *a, const rig *b)
{
    double most = 0;
    cr_assert_eq(a->exp->n_params, b->exp->n_params);
    for (size_t i = 0; i < a->exp->n_params; i++) {
        const float *x = a->exp->params[i].storage->data, *y = b->exp->params[i].storage->data;
        for (size_t k = 0; k < a->exp->params[i].storage->bytes / sizeof *x; k++)
            most = fmax(most, fabs((double)x[k] - (double)y[k]));
    }
    return most;
}

Test(driver, batches_are_gathered_for_an_update)
{
    rig whole, parts;
    static const char *const common = "train.max_steps=12\nmodel.dropout=0\nprobe.every=3\n";
    char a[160], b[160];
    snprintf(a, sizeof a, "%sdata.batch_size=8", common);
    snprintf(b, sizeof b, "%sdata.batch_size=2\ntrain.accumulate=4", common);
    open_rig(&whole, a, NULL, NULL);
    open_rig(&parts, b, NULL, NULL);
    run(&whole, HL_OK);
    run(&parts, HL_OK);
    for (int i = 1; i <= 12; i++)
        cr_assert_float_eq(whole.loss[i], parts.loss[i], 1e-4, "step %d: %.6f and %.6f", i,
                           whole.loss[i], parts.loss[i]);
    cr_assert_lt(weights_differ(&whole, &parts), 2e-3); /* Adam amplifies the last bits of 1e-8 */
    cr_assert_float_eq(last_of(&whole, "train/tokens"), last_of(&parts, "train/tokens"), 0);
    close_rig(&whole);
    close_rig(&parts);
}

Test(driver, watched_steps_tell_weights_and_gates)
{
    rig r;
    open_rig(&r,
             "train.max_steps=6\nprobe.every=3\nprobe.weights=true\n"
             "model.attention.gate=conditional_per_token",
             NULL, NULL);
    run(&r, HL_OK);
    for (size_t i = 0; i < r.exp->n_params; i++) {
        const hl_storage *s = r.exp->params[i].storage;
        char tag[200];
        double most = 0;
        for (int64_t k = 0; k < hl_type_count(&s->type); k++)
            most = fmax(most, fabs(hl_storage_get(s, k)));
        snprintf(tag, sizeof tag, "weights/%s/inf_norm", r.exp->params[i].name);
        cr_expect_float_eq(last_of(&r, tag), most, 0, "%s: %g, not %g", tag, last_of(&r, tag),
                           most);
    }
    const double gate = last_of(&r, "outliers/layer.0/attn.gate/inf_norm");
    cr_assert(gate > 0 && gate < 1, "%g", gate);
    close_rig(&r);
}

/* Channels, tokens, heads and how the first sequence attends; none of it changes the training. */
Test(driver, watched_steps_tell_channels_tokens_heads_and_attention)
{
    rig r, plain;
    static const char *const set =
        "train.max_steps=4\nprobe.every=2\nmodel.attention.softmax=vanilla\n";
    char more[160];
    snprintf(more, sizeof more, "%sprobe.channels=true\nprobe.attention=64", set);
    open_rig(&r, more, NULL, NULL);
    open_rig(&plain, set, NULL, NULL);
    run(&r, HL_OK);
    run(&plain, HL_OK);
    cr_assert(same_weights(&r, &plain));
    const kept *channels = find_series(&r, "outliers/layer.0/out/channels"),
               *tokens = find_series(&r, "outliers/layer.0/out/tokens"),
               *map = find_series(&r, "attention/layer.0");
    cr_assert(channels && tokens && map);
    cr_assert_eq(channels->rows, 1);
    cr_assert_eq(tokens->rows, 2);
    cr_assert_eq(tokens->n_nan, 0);
    /* the largest number of all is that of some channel and of some token */
    cr_assert_float_eq(channels->most, tokens->most, 0);
    const double count = last_of(&r, "outliers/layer.0/out/n_channels");
    cr_assert(count >= 1 && count <= (double)channels->cols, "%g", count);
    cr_assert_gt(last_of(&r, "outliers/layer.0.0/attn.head/inf_norm"), 0);
    cr_assert_geq(last_of(&r, "sys/probe_ms"), 0);
    /* a row for each of 32 tokens under each of two heads, of probabilities without dropout */
    cr_assert_eq(map->cols, 32);
    cr_assert_eq(map->rows, 64);
    cr_assert_float_eq(map->sum, 64, 1e-4);
    cr_assert_float_eq(map->most, 1, 1e-6); /* the first token sees itself alone */
    close_rig(&r);
    close_rig(&plain);
}

/* Each token that had a largest number is spelled once, whatever the vocabulary, and steps that do
 * so allocate nothing. */
Test(driver, tokens_of_watched_steps_are_spelled_once)
{
    static const struct {
        const char *file, *some; /* "": bytes */
    } rows[] = {{"", " "}, {"wordpiece.json", "##"}, {"bpe.json", "the"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig r;
        char set[400];
        hl_spellings words = {0};
        size_t n_told = 0, n_words = 0;
        bool some = false;
        snprintf(set, sizeof set,
                 "train.max_steps=8\nprobe.every=1\nprobe.channels=true\neval.every=0\n"
                 "save.every=0%s%s%s%s",
                 *rows[i].file ? "\ndata.tokens=" : "",
                 *rows[i].file ? getenv("HOPLAB_SOURCE") : "",
                 *rows[i].file ? "/tests/golden/tokenizers/" : "", rows[i].file);
        open_rig(&r, set, NULL, NULL);
        run(&r, HL_OK);
        cr_expect_eq(r.allocs[0], r.allocs[1], "%s", rows[i].file);
        for (char *at = r.spelled, *line; (line = strsep(&at, "\n")) && line[0];) {
            for (const char *c = strstr(line, "\":\""); c; c = strstr(c + 1, "\":\""))
                n_told++;
            hl_spellings_read(&words, "tokens", line, strlen(line));
        }
        for (double id = 0; id < (double)words.at.n; id++) {
            const char *text = hl_spellings_get(&words, id);
            n_words += text != NULL;
            some = some || (text && hl_str_starts(text, rows[i].some));
        }
        cr_expect_eq(n_told, n_words, "%s: %zu spellings of %zu tokens", rows[i].file, n_told,
                     n_words);
        cr_expect(some, "%s: none begins with '%s'", rows[i].file, rows[i].some);
        for (int k = 0; k < 32; k++)
            cr_expect(hl_spellings_get(&words, (double)r.token[k]), "%s: token %g", rows[i].file,
                      (double)r.token[k]);
        hl_spellings_done(&words);
        close_rig(&r);
    }
}

Test(driver, gathering_allocates_nothing_and_resumes_bit_for_bit)
{
    char dir[] = "/tmp/hoplab-driver-XXXXXX", from[80];
    static const char *const set =
        "train.max_steps=20\nsave.every=10\ntrain.accumulate=3\nmodel.dropout=0.1";
    rig a, b;
    cr_assert(mkdtemp(dir));
    open_rig(&a, set, dir, NULL);
    run(&a, HL_OK);
    snprintf(from, sizeof from, "%s/step-0000000010", dir);
    open_rig(&b, set, NULL, from);
    run(&b, HL_OK);
    cr_assert(same_weights(&a, &b));
    close_rig(&b);
    open_rig(&b, "train.max_steps=60\ntrain.accumulate=3\neval.every=0\nprobe.every=0", NULL, NULL);
    steps_are_silent(&b, "accumulating");
    close_rig(&a);
    close_rig(&b);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

Test(driver, evaluations_and_checkpoints_by_epochs)
{
    char dir[] = "/tmp/hoplab-driver-XXXXXX";
    rig r;
    cr_assert(mkdtemp(dir));
    /* 200 images in batches of 20: 10 steps an epoch */
    open_script(&r, "digits.lua",
                "data.generated=200\ndata.batch_size=20\ntrain.max_steps=40\neval.every=1\n"
                "eval.per=epoch\nsave.every=2\nsave.per=epoch\nsave.keep=9",
                dir, NULL);
    cr_assert_eq(run(&r, HL_OK), HL_TRAIN_DONE);
    cr_assert_eq(count_of(&r, "eval/loss"), 4);
    cr_assert_eq(r.n_saved, 2);
    close_rig(&r);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

Test(driver, patience_ends_a_run_and_is_kept_across_a_resume)
{
    char dir[] = "/tmp/hoplab-driver-XXXXXX", from[80];
    /* a rate of zero: no evaluation is better than the first */
    static const char *const set = "train.max_steps=100\neval.every=4\noptim.lr=0\nsave.every=8\n"
                                   "save.keep=9\nsave.best=eval/loss:min\ntrain.patience=3";
    rig a, b;
    cr_assert(mkdtemp(dir));
    open_rig(&a, set, dir, NULL);
    cr_assert_eq(run(&a, HL_OK), HL_TRAIN_DONE);
    cr_assert_eq(hl_train_step(a.train), 16);
    snprintf(from, sizeof from, "%s/step-0000000008", dir);
    open_rig(&b, set, NULL, from);
    run(&b, HL_OK);
    cr_assert_eq(hl_train_step(b.train), 16);
    close_rig(&a);
    close_rig(&b);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

Test(driver, requests_are_obeyed_or_refused_between_steps)
{
    rig r;
    open_rig(&r, "train.max_steps=100", NULL, NULL);
    const hl_request ask[] = {
        {.kind = HL_REQUEST_SET, .name = "lr", .value = 0.25},
        {.kind = HL_REQUEST_SET, .name = "lr", .value = -1},
        {.kind = HL_REQUEST_SET, .name = "gamma", .value = 1},
        {.kind = HL_REQUEST_PAUSE},
        {.kind = HL_REQUEST_RESUME},
        {.kind = HL_REQUEST_CHECKPOINT},
        {.kind = HL_REQUEST_STOP},
    };
    const hl_status want[] = {HL_OK, HL_E_ARG, HL_E_ARG, HL_OK, HL_OK, HL_E_STATE, HL_OK};
    enum { N = sizeof ask / sizeof ask[0] };
    for (int i = 0; i < N; i++) {
        r.ask[i].step = 4 + i;
        r.ask[i].r = ask[i];
    }
    r.ask[4].step = 7; /* a paused run stands still: the next request must not wait for a step */
    r.n_ask = N;
    cr_assert_eq(run(&r, HL_OK), HL_TRAIN_STOPPED);
    cr_assert_eq(r.n_answers, N);
    for (int i = 0; i < N; i++)
        cr_assert_eq(r.answer[i], want[i], "request %d: %s", i, hl_status_name(r.answer[i]));
    cr_assert_eq(r.answer_step[0], 4);
    cr_assert_eq(hl_train_knob(r.train, "lr"), 0.25);
    cr_assert_eq(hl_train_step(r.train), 10);
    close_rig(&r);
}

Test(driver, quantizing_a_run_leaves_its_training_alone)
{
    static const char settings[] = "train.max_steps=24\nsave.every=8\nquantize.batches=2\n"
                                   "eval.every=10\ndata.generated_bytes=20000";
    char dir[] = "/tmp/hoplab-driver-XXXXXX";
    rig a, b;
    cr_assert(mkdtemp(dir));
    open_rig(&a, settings, NULL, NULL);
    open_rig(&b, settings, dir, NULL);
    static const char *const args[] = {
        NULL,
        NULL, /* the second one right behind an evaluation */
        "{\"set\":[\"quantize.percentile=99\",\"quantize.skip={x}\"],\"limit\":2}",
        "{\"set\":[\"quantize.percentile=99\"],\"sensitivity\":1,\"limit\":2}",
        "{\"set\":[\"quantize.percentil=99\"]}",
        "{\"set\":[\"optim.lr=1\"]}",
        "{\"limit\":0}"};
    static const hl_status want[] = {HL_OK,         HL_OK,    HL_E_ARG, HL_OK,
                                     HL_E_NOTFOUND, HL_E_ARG, HL_E_ARG};
    enum { N = sizeof want / sizeof want[0] };
    hl_json *parsed[N] = {NULL};
    b.n_ask = N;
    for (int i = 0; i < N; i++) {
        b.ask[i].step = i < 3 ? 5 * (i + 1) : 16;
        b.ask[i].r.kind = HL_REQUEST_QUANTIZE;
        if (args[i])
            cr_assert_eq(hl_json_parse(args[i], strlen(args[i]), &parsed[i]), HL_OK);
        b.ask[i].r.args = parsed[i];
    }
    run(&a, HL_OK);
    cr_assert_eq(run(&b, HL_OK), HL_TRAIN_DONE);
    cr_expect(same_weights(&a, &b));
    for (int i = 1; i <= 24; i++)
        cr_expect_eq(a.loss[i], b.loss[i], "step %d", i);
    cr_expect_eq(b.n_answers, N);
    for (int i = 0; i < N; i++) {
        cr_expect(b.answer[i] == want[i] && b.answer_step[i] == b.ask[i].step, "request %d: %s", i,
                  hl_status_name(b.answer[i]));
        hl_json_free(parsed[i]);
    }
    cr_expect_eq(count_of(&b, "eval/quant_ppl"), 2, "curves are of the run's own recipe");
    cr_expect_eq(count_of(&b, "quantize/W8A8 percentile 99, 2 batches"), 1);
    cr_expect_eq(count_of(&b, "eval/ppl"), count_of(&a, "eval/ppl"));
    cr_expect_eq(count_of(&b, "quantize/W8A8, 4 batches"), 2, "an event for each");
    cr_expect_eq(last_of(&b, "eval/ppl"), last_of(&a, "eval/ppl"));
    close_rig(&a);
    close_rig(&b);
    open_rig(&a, "train.max_steps=6\ndata.eval_batch_size=2", NULL, NULL);
    a.n_ask = 1;
    a.ask[0].r.kind = HL_REQUEST_QUANTIZE;
    cr_assert_eq(run(&a, HL_OK), HL_TRAIN_DONE, "refused, the run goes on");
    cr_expect_eq(a.answer[0], HL_E_ARG);
    close_rig(&a);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

static bool weights_are_finite(const rig *r)
{
    for (size_t i = 0; i < r->exp->n_params; i++)
        for (int64_t k = 0; k < hl_type_count(&r->exp->params[i].storage->type); k++)
            if (!isfinite(hl_storage_get(r->exp->params[i].storage, k)))
                return false;
    return true;
}

/* A step whose loss is not finite leaves the weights alone; then the policy decides. */
Test(driver, on_nan)
{
    static const struct {
        const char *policy;
        hl_train_end end;
        hl_status st;
        bool alerts;
    } c[] = {{"stop", HL_TRAIN_DIVERGED, HL_E_NUMERIC, true},
             {"skip", HL_TRAIN_DONE, HL_OK, true},
             {"ignore", HL_TRAIN_DONE, HL_OK, false}};
    for (int i = 0; i < 3; i++) {
        rig r;
        char settings[160];
        snprintf(settings, sizeof settings,
                 "train.max_steps=20\noptim.lr=1e30\nschedule.warmup=1\non_nan=%s", c[i].policy);
        open_rig(&r, settings, NULL, NULL);
        cr_assert_eq(run(&r, c[i].st), c[i].end, "%s", c[i].policy);
        cr_assert_eq(r.n_alerts > 0, c[i].alerts, "%s", c[i].policy);
        cr_assert(weights_are_finite(&r), "%s", c[i].policy);
        cr_assert_eq(hl_train_step(r.train) == 20, c[i].end == HL_TRAIN_DONE, "%s", c[i].policy);
        close_rig(&r);
    }
}

/* Only the last checkpoint is worth failing for. */
Test(driver, a_checkpoint_that_cannot_be_written)
{
    rig r;
    open_rig(&r, "train.max_steps=30\nsave.every=10", "/proc/nowhere", NULL);
    cr_assert_eq(run(&r, HL_E_IO), HL_TRAIN_FAILED);
    cr_assert_eq(hl_train_step(r.train), 30);
    cr_assert_eq(r.n_alerts, 2);
    cr_assert(strstr(r.alert, "/proc/nowhere") && strstr(r.alert, "goes on"), "%s", r.alert);
    close_rig(&r);
}

Test(driver, what_does_not_fit_is_said_before_the_first_step)
{
    rig r;
    open_rig(&r, "data.batch_size=2", NULL, NULL);
    const hl_train_plan p = hl_train_get_plan(r.train);
    cr_assert_gt(p.activations, 0);
    cr_assert_eq(p.total, p.baseline + p.optimiser + p.activations + p.data);
    cr_assert_eq(hl_train_fits(r.train), HL_OK);
    close_rig(&r);
}

/* --- images, and what a model gives beside its loss --- */

Test(driver, images_are_learnt_and_their_metrics_arrive)
{
    char dir[] = "/tmp/hoplab-driver-XXXXXX";
    rig r;
    hl_str text = {0};
    cr_assert(mkdtemp(dir));
    open_script(&r, "digits.lua", "", dir, NULL);
    cr_assert_eq(run(&r, HL_OK), HL_TRAIN_DONE);
    cr_assert_gt(last_of(&r, "eval/accuracy"), 0.8);
    cr_assert_eq(last_of(&r, "mine/accuracy"), last_of(&r, "eval/accuracy"));
    cr_assert(r.best, "by eval/accuracy:max");
    cr_assert_eq(count_of(&r, "train/accuracy"), 31); /* the first step and every tenth */
    cr_assert_eq(last_of(&r, "train/samples"), 300 * 64);
    /* the second step in parts: the first sample of where time goes */
    static const char *const parts[] = {"sys/forward_ms", "sys/backward_ms", "sys/update_ms"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        cr_assert(last_of(&r, parts[i]) > 0, "%s", parts[i]);
    cr_assert_geq(last_of(&r, "sys/eval_ms"), 0);
    const double ms = last_of(&r, "sys/step_ms");
    cr_assert_float_eq(last_of(&r, "sys/samples_per_s"), 64 * 1000 / ms, 1e-6 * 64 * 1000 / ms);
    const double share = hl_train_flops(r.train) / (ms * 1e-3) / 1e12 * 100;
    cr_assert_gt(share, 0);
    cr_assert_float_eq(last_of(&r, "sys/peak_share_percent"), share, 1e-6 * share);
    static const char *const of_text[] = {"train/tokens", "sys/tokens_per_s", "eval/ppl",
                                          "eval/bpb", "eval/loss_token"};
    for (size_t i = 0; i < sizeof of_text / sizeof of_text[0]; i++)
        cr_assert_null(find_series(&r, of_text[i]), "%s", of_text[i]);
    /* curves: of step 1, 100, 200, 300 and of the evaluation's first batch */
    const kept *mean = find_series(&r, "train/hidden/mean"),
               *spread = find_series(&r, "eval/spread");
    cr_assert(mean && mean->kind == HL_SERIES_CURVE && mean->n == 4);
    cr_assert(mean->rows == 1 && mean->cols == 96 && mean->n_nan == 0);
    cr_assert(spread && spread->n == 1 && spread->rows == 4 && spread->cols == 10);
    cr_assert(spread->n_nan > 0 && spread->n_nan < 40);
    cr_assert_eq(hl_train_result_text(r.train, &text), HL_OK);
    cr_assert(strstr(text.s, "eval/accuracy") && strstr(text.s, "19200 samples") &&
                  !strstr(text.s, "perplexity"),
              "%s", text.s);
    hl_str_clear(&text);
    cr_assert_eq(hl_train_result_json(r.train, &text), HL_OK);
    cr_assert(strstr(text.s, "\"metrics\":{\"train/accuracy\":") && !strstr(text.s, "tokens"), "%s",
              text.s);
    hl_str_done(&text);
    close_rig(&r);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

/* In the middle of an epoch, which has 39 steps. */
Test(driver, images_resumed_end_the_same)
{
    char dir[] = "/tmp/hoplab-driver-XXXXXX", from[80];
    rig a, b;
    cr_assert(mkdtemp(dir));
    static const char options[] = "train.max_steps=80\nsave.every=33\nsave.keep=5\ndata.flip=true\n"
                                  "data.crop=2\ndata.mean=0.1\ndata.std=0.3";
    open_script(&a, "digits.lua", options, dir, NULL);
    cr_assert_eq(run(&a, HL_OK), HL_TRAIN_DONE);
    for (int step = 33; step <= 66; step += 33) {
        snprintf(from, sizeof from, "%s/step-%010d", dir, step);
        open_script(&b, "digits.lua", options, NULL, from);
        cr_assert_eq(hl_train_step(b.train), step);
        cr_assert_eq(hl_train_knob(b.train, "lr"), 0.03 * (0.1 + 0.9 * (1 - step / 39 / 2.0)));
        cr_assert_eq(run(&b, HL_OK), HL_TRAIN_DONE);
        cr_assert(same_weights(&a, &b));
        for (int i = step + 1; i <= 80; i++)
            cr_assert_eq(a.loss[i], b.loss[i], "step %d", i);
        cr_assert_eq(last_of(&a, "eval/loss"), last_of(&b, "eval/loss"));
        cr_assert_eq(last_of(&a, "train/samples"), last_of(&b, "train/samples"));
        close_rig(&b);
    }
    close_rig(&a);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

/* 500 images in batches of 64 and a rest of 52, at once, and as many as there are. */
Test(driver, an_evaluation_counts_every_image_once)
{
    static const char *const size[] = {"", "data.eval_batch_size=100", "data.eval_batch_size=9999"};
    double loss[3], right[3];
    for (int i = 0; i < 3; i++) {
        rig r;
        open_script(&r, "digits.lua", size[i], NULL, NULL);
        double last;
        cr_assert_eq(hl_train_steps(r.train, 50, false, &last), HL_OK);
        cr_assert_eq(hl_train_evaluate(r.train), HL_OK, "%s", hl_err_message());
        /* the loss is per row of its batch, so batches weigh by their rows */
        loss[i] = last_of(&r, "eval/loss");
        right[i] = last_of(&r, "eval/accuracy") * 500;
        cr_assert_float_eq(right[i], round(right[i]), 1e-4);
        cr_assert_float_eq(loss[i], loss[0], 1e-6 * loss[0]);
        cr_assert_float_eq(right[i], right[0], 1e-4);
        close_rig(&r);
    }
}

/* A step that nobody watches has no more to do for curves; a watched one differs in nothing else.
 */
Test(driver, curves_cost_nothing_where_nobody_watches)
{
    rig a, b;
    double loss;
    open_script(&a, "digits.lua", "", NULL, NULL);
    open_script(&b, "digits.lua", "model.curves=false", NULL, NULL);
    cr_assert_eq(hl_train_get_plan(a.train).n_ops, hl_train_get_plan(b.train).n_ops);
    cr_assert_eq(hl_train_steps(a.train, 20, true, &loss), HL_OK);
    cr_assert_eq(hl_train_steps(b.train, 20, false, &loss), HL_OK);
    cr_assert(same_weights(&a, &b));
    close_rig(&a);
    close_rig(&b);
}
