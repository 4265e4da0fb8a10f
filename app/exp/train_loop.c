/* The loop: safe point, batch, step, report. Lua is called only where a hook asked to be. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/exp/train_internal.h"
#include "engine/base/clock.h"

/* --- hooks --- */

hl_status hl_train_fire_metrics(hl_train *t, hl_hook hook, const tagged_values *v)
{
    const hl_hooks *h = &t->e->hooks;
    if (!h->fire || !h->wants || !h->wants(h->self, hook, t->step))
        return HL_OK;
    hl_hook_event ev = {.hook = hook,
                        .step = t->step,
                        .epoch = t->next.epoch,
                        .tag = v->tag,
                        .value = v->value,
                        .n = v->n};
    return h->fire(h->self, &ev);
}

hl_status hl_train_fire(hl_train *t, hl_hook hook, const char *text)
{
    const hl_hooks *h = &t->e->hooks;
    if (!h->fire || !h->wants || !h->wants(h->self, hook, t->step))
        return HL_OK;
    hl_hook_event ev = {.hook = hook, .step = t->step, .epoch = t->next.epoch, .text = text};
    return h->fire(h->self, &ev);
}

void hl_train_log_scalar(hl_train *t, const char *tag, double value)
{
    const hl_sink *k = &t->sink;
    k->scalar(k->self, k->series(k->self, tag, HL_SERIES_SCALAR, NULL), t->step, value);
}

void hl_train_notice(hl_train *t, hl_notice kind, const char *text)
{
    t->s.host.notice(t->s.host.self, kind, t->step, text, NULL);
}

void hl_train_declare_unit(hl_train *t, const char *tag, const char *unit)
{
    const hl_sink *k = &t->sink;
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, tag, unit);
    hl_json_end(&b, '}');
    if (hl_str_status(&b) == HL_OK)
        k->json(k->self, k->series(k->self, "units", HL_SERIES_JSON, "units"), t->step, b.s);
    hl_str_done(&b);
}

/* From which rows of which epoch a step's batches are follows from this. */
static void tell_order(hl_train *t)
{
    const hl_sink *k = &t->sink;
    hl_str b = {0};
    if (t->train_data.n_rows < 1)
        return;
    hl_json_begin(&b, '{');
    hl_json_put_int(&b, "rows", t->train_data.n_rows);
    hl_json_put_bool(&b, "carries", t->train_data.carries);
    hl_json_put_int(&b, "batch", t->e->batch_size);
    hl_json_put_int(&b, "accumulate", t->e->accumulate);
    hl_json_end(&b, '}');
    if (hl_str_status(&b) == HL_OK)
        k->json(k->self, k->series(k->self, "data/order", HL_SERIES_JSON, "order"), t->step, b.s);
    hl_str_done(&b);
}

/* --- commands --- */

void hl_train_go_on(hl_train *t)
{
    t->s.host.phase(t->s.host.self, t->paused ? HL_PHASE_PAUSED : HL_PHASE_TRAINING, t->step);
}

static void ask_stop(hl_train *t, hl_train_end how, bool checkpoint, const char *why)
{
    if (t->stop)
        return;
    t->stop = 1 + (int)how;
    t->stop_checkpoint = checkpoint;
    snprintf(t->stop_why, sizeof t->stop_why, "%s", why);
}

/* Nothing that a process could do gives all of a device back but its end. */
static hl_status release(hl_train *t, const char *who)
{
    if (!t->ckpt_dir)
        return hl_err_set(HL_E_STATE, "this run keeps no checkpoints: it can be paused, but not let "
                                      "go of its device");
    ask_stop(t, HL_TRAIN_RELEASED, true, who);
    return HL_OK;
}

static hl_status evaluate(hl_train *t, const hl_request *c, hl_str *result)
{
    const hl_hooks *h = &t->e->hooks;
    if (!h->evaluate)
        return hl_err_set(HL_E_UNSUPPORTED, "this run has no Lua");
    return h->evaluate(h->self, c->code, c->who, result);
}

/* result: what the answer has besides, if anything */
static hl_status obey(hl_train *t, const hl_request *c, hl_str *result)
{
    switch (c->kind) {
    case HL_REQUEST_PAUSE:
        if (strcmp(c->text, "release") == 0)
            return release(t, c->who);
        t->paused = true;
        return HL_OK;
    case HL_REQUEST_RESUME:
        t->paused = false;
        return HL_OK;
    case HL_REQUEST_STOP:
        ask_stop(t, HL_TRAIN_STOPPED, c->checkpoint, c->who);
        return HL_OK;
    case HL_REQUEST_CHECKPOINT:
        return hl_train_save(t, c->text[0] ? c->text : NULL, c->who);
    case HL_REQUEST_EVAL:
        return hl_train_evaluate_set(t, c->text[0] ? c->text : "eval", result);
    case HL_REQUEST_QUANTIZE:
        return hl_train_quantize_now(t, c->args, result);
    case HL_REQUEST_SET:
        return c->text[0] ? hl_train_set_schedule(t, c->name, c->text)
                          : hl_train_set_knob(t, c->name, c->value);
    case HL_REQUEST_KNOBS:
        hl_train_knobs_json(t, result);
        return hl_str_status(result);
    case HL_REQUEST_LUA:
        return evaluate(t, c, result);
    case HL_REQUEST_STATUS_LINE:
        return HL_OK;
    default:
        return hl_err_set(HL_E_UNSUPPORTED, "'%s' is not known to this run", c->name);
    }
}

hl_status hl_train_request(hl_train *t, const hl_request *c)
{
    hl_str result = {0};
    hl_status st = obey(t, c, &result);
    t->s.host.answer(t->s.host.self, c, st, t->step,
                     st == HL_OK ? hl_str_text(&result) : hl_err_message());
    hl_str_done(&result);
    if (st == HL_OK && c->kind == HL_REQUEST_SET)
        hl_train_knobs_tell(t);
    if (c->kind == HL_REQUEST_KNOBS)
        return HL_OK;
    /* a refused request is the asker's matter; only a hook's failure ends the run */
    hl_status hook = hl_train_fire(t, HL_HOOK_CONTROL, c->name);
    return hook;
}

static hl_status safe_point(hl_train *t)
{
    const hl_train_host *h = &t->s.host;
    bool was_paused = false;
    hl_request c;
    do {
        while (h->take(h->self, &c)) {
            hl_status st = hl_train_request(t, &c);
            if (st != HL_OK)
                return st;
        }
        if (h->stop_signal(h->self))
            ask_stop(t, HL_TRAIN_INTERRUPTED, true, "signal");
        if (!t->paused || t->stop)
            break;
        if (!was_paused)
            h->phase(h->self, HL_PHASE_PAUSED, t->step);
        was_paused = true;
        h->wait(h->self, 1000);
    } while (true);
    if (was_paused)
        h->phase(h->self, HL_PHASE_TRAINING, t->step);
    return HL_OK;
}

/* --- one step --- */

typedef struct step_times {
    double step_ms, wait_ms;
    int64_t n_items;
    bool watched;
} step_times;

static void set_lr(hl_train *t)
{
    t->lr_now = hl_train_knob(t, "lr");
    t->lr_f32 = (float)t->lr_now;
    t->lr_f64 = t->lr_now;
    t->clip_f32 = (float)t->e->max_grad_norm;
}

/* The k-th batch of an update through program *p, or through that of an epoch's smaller last one.
 */
static hl_status one_batch(hl_train *t, step_program **p, int k, step_times *times)
{
    hl_status st = HL_OK;
    hl_feed_batch b = {0};
    HL_TRY(t->train_data.next(t->train_data.self, &b));
    if (b.n_rows != t->e->batch_size && t->plain_rest.p)
        *p = &t->plain_rest;
    HL_TRY_CTX(hl_train_run_batch(t, *p, &b, t->step * t->e->accumulate + k), "step %lld",
               (long long)t->step + 1);
    if (*p == &t->watched)
        hl_train_probe_batch(t, &b);
    t->next = b.next;
    times->n_items += b.n_items;
    times->wait_ms += (double)b.wait_ns * 1e-6;
out:
    t->train_data.give_back(t->train_data.self, &b);
    return st;
}

static bool due(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

/* Takes the next batch and begins to copy it for program p, or for that of a smaller last one. */
static hl_status look_ahead(hl_train *t, step_program *p)
{
    hl_status st = HL_OK;
    hl_feed_batch *b = &t->ahead;
    HL_TRY(t->train_data.next(t->train_data.self, b));
    t->ahead_for = b->n_rows != t->e->batch_size && t->plain_rest.p ? &t->plain_rest : p;
    for (int k = 0; k < HL_FEED_ARRAYS && st == HL_OK; k++)
        if (t->ahead_for->input[k] >= 0)
            st = hl_program_ahead(t->ahead_for->p, t->ahead_for->input[k], b->data[k]);
    t->train_data.give_back(t->train_data.self, b);
    t->has_ahead = st == HL_OK;
out:
    return st;
}

/* The program of the batch behind the k-th one of this update, through p; NULL: there is none. */
static step_program *program_behind(hl_train *t, const step_program *p, int k)
{
    const int last = t->e->accumulate - 1;
    const int64_t next = t->step + 2;
    if (k + 1 < last)
        return &t->gather;
    if (k < last)
        return p == &t->watched ? &t->watched : &t->plain;
    if (next > t->e->max_steps)
        return NULL;
    return last > 0                                       ? &t->gather
           : t->watched.p && due(next, t->e->probe_every) ? &t->watched
                                                          : &t->plain;
}

/* one_batch on a device, with the next batch on its way while this one is computed. aim: the
 * program that the update ends with. */
static hl_status one_batch_ahead(hl_train *t, step_program **p, int k, const step_program *aim,
                                 step_times *times)
{
    hl_status st = HL_OK;
    const hl_exec x = hl_train_exec(t, t->step * t->e->accumulate + k);
    if (!t->has_ahead)
        HL_TRY(look_ahead(t, *p));
    const hl_feed_batch b = t->ahead;
    step_program *const from = t->ahead_for;
    t->has_ahead = false;
    if (from == &t->plain_rest)
        *p = from;
    for (int i = 0; i < HL_FEED_ARRAYS && from != *p; i++) /* it was foreseen for another one */
        if (from->input[i] >= 0)
            hl_program_bind((*p)->p, (*p)->input[i],
                            (void *)(uintptr_t)hl_program_ahead_drop(from->p, from->input[i]));
    step_program *behind = program_behind(t, aim, k);
    if (behind)
        HL_TRY(look_ahead(t, behind));
    HL_TRY_CTX(hl_program_run((*p)->p, &x), "step %lld", (long long)t->step + 1);
    t->next = b.next;
    times->n_items += b.n_items;
    times->wait_ms += (double)b.wait_ns * 1e-6;
out:
    return st;
}

/* Batches, programs, outputs. Afterwards t->step counts the step. */
static hl_status one_step(hl_train *t, bool watched, step_times *times)
{
    hl_status st = HL_OK;
    step_program *p = watched ? &t->watched : &t->plain, *gather = &t->gather;
    const int64_t start = hl_clock_mono_ns();
    const int last = t->e->accumulate - 1;
    *times = (step_times){.watched = watched};
    set_lr(t);
    const step_program *const aim = p;
    for (int k = 0; k < last; k++)
        HL_TRY(t->looks_ahead ? one_batch_ahead(t, &gather, k, aim, times)
                              : one_batch(t, &gather, k, times));
    HL_TRY(t->looks_ahead ? one_batch_ahead(t, &p, last, aim, times)
                          : one_batch(t, &p, last, times));
    times->watched = p == &t->watched;
    t->step++;
    t->n_items += times->n_items;
    t->loss = hl_unsigned_nan(hl_train_output(t, p, HL_TRAIN_LOSS));
    t->grad_norm = hl_unsigned_nan(hl_train_output(t, p, HL_TRAIN_GRAD_NORM));
    t->loss_scale = hl_train_output(t, p, HL_TRAIN_LOSS_SCALE);
    hl_train_numbers_read(t, p);
    times->step_ms = (double)(hl_clock_mono_ns() - start) * 1e-6;
    t->train_seconds += times->step_ms * 1e-3;
    if (hl_train_output(t, p, HL_TRAIN_OK) == 0)
        t->n_skipped++;
out:
    return st;
}

hl_status hl_train_steps(hl_train *t, int64_t n, bool watched, double *last_loss)
{
    hl_status st = HL_OK;
    step_times times;
    for (int64_t i = 0; i < n; i++)
        HL_TRY(one_step(t, watched && t->watched.p, &times));
    *last_loss = t->loss;
out:
    return st;
}

static void log_step(hl_train *t, const step_times *times)
{
    const hl_sink *k = &t->sink;
    k->scalar(k->self, t->s_loss, t->step, t->loss);
    k->scalar(k->self, t->s_norm, t->step, t->grad_norm);
    k->scalar(k->self, t->s_lr, t->step, t->lr_now);
    k->scalar(k->self, t->s_items, t->step, (double)t->n_items);
    k->scalar(k->self, t->s_step_ms, t->step, times->step_ms);
    k->scalar(k->self, t->s_per_s, t->step, (double)times->n_items / times->step_ms * 1000);
    if (t->s.peak_flops > 0)
        k->scalar(k->self, t->s_share, t->step,
                  t->plan.flops_step / (times->step_ms * 1e-3) / t->s.peak_flops * 100);
    k->scalar(k->self, t->s_wait, t->step, times->wait_ms);
    if (t->n_skipped)
        k->scalar(k->self, t->s_skipped, t->step, (double)t->n_skipped);
    if (t->e->fp16)
        k->scalar(k->self, t->s_loss_scale, t->step, t->loss_scale);
    hl_train_numbers_log(t);
    hl_train_solve_log(t, times->watched ? &t->watched : &t->plain);
}

/* A gradient that was not finite although the loss is: too large for half floats, which is how a
 * scale is found, not a failure. false: there is no smaller scale. */
static bool has_overflowed(hl_train *t)
{
    char text[160];
    if (!t->e->fp16 || !isfinite(t->loss) || t->loss_scale <= HL_LOSS_SCALE_LEAST)
        return false;
    snprintf(
        text, sizeof text,
        "step %lld: gradients too large for fp16 at the loss scale %g; the update was left out, "
        "the scale is %g now",
        (long long)t->step, t->loss_scale, t->loss_scale / 2);
    hl_train_notice(t, HL_NOTICE_INFO, text);
    return true;
}

/* Loss or gradient norm was not finite: the update was masked, now the policy speaks. */
static hl_status not_finite(hl_train *t)
{
    char text[160];
    snprintf(text, sizeof text, "step %lld: loss %g, gradient norm %g; the update was left out",
             (long long)t->step, t->loss, t->grad_norm);
    hl_status st = hl_train_fire(t, HL_HOOK_NAN, text);
    if (st != HL_OK || t->e->on_nan == HL_ON_NAN_IGNORE)
        return st;
    hl_train_notice(t, HL_NOTICE_ALERT, text);
    if (t->e->on_nan == HL_ON_NAN_STOP)
        ask_stop(t, HL_TRAIN_DIVERGED, true, text);
    return HL_OK;
}

static hl_status after_step(hl_train *t, const step_times *times, bool masked, int64_t epoch)
{
    hl_status st = HL_OK;
    const hl_train_host *h = &t->s.host;
    hl_train_report r = {.step = t->step,
                         .max_steps = t->e->max_steps,
                         .epoch = t->next.epoch,
                         .loss = t->loss,
                         .grad_norm = t->grad_norm,
                         .lr = t->lr_now,
                         .step_ms = times->step_ms,
                         .max_abs = nan(""),
                         .n_bad = -1,
                         .n_items = times->n_items,
                         .samples = t->clock.samples};
    const int64_t start_ns = hl_clock_mono_ns();
    if (times->watched) {
        hl_train_report_taps(t, &r.max_abs, &r.n_bad);
        hl_train_report_weights(t);
        hl_train_curves_report(t, &t->watched);
        hl_train_solve_report(t);
        hl_train_probe_report(t);
    }
    hl_train_time_step(t, times->watched,
                       times->step_ms - times->wait_ms +
                           (double)(hl_clock_mono_ns() - start_ns) * 1e-6);
    const bool logs = due(t->step, t->e->log_every) || t->step == 1 || t->step == t->e->max_steps;
    if (logs)
        log_step(t, times);
    else if (masked) /* at its step, so that updates can be told from steps */
        t->sink.scalar(t->sink.self, t->s_skipped, t->step, (double)t->n_skipped);
    h->report(h->self, &r);
    if (masked && !has_overflowed(t))
        HL_TRY(not_finite(t));
    HL_TRY(hl_train_fire_metrics(t, HL_HOOK_STEP, &t->train_values));
    if (logs)
        HL_TRY(hl_train_fire_metrics(t, HL_HOOK_LOG, &t->train_values));
    if (t->next.epoch != epoch)
        HL_TRY(hl_train_fire_metrics(t, HL_HOOK_EPOCH, &t->train_values));
out:
    return st;
}

/* A disk that is full now may not be at the next one: only the last checkpoint is worth failing
 * for. */
static hl_status save_on_schedule(hl_train *t)
{
    char text[HL_ERR_MESSAGE_MAX + 64];
    hl_status st = hl_train_save(t, NULL, "schedule");
    if (st != HL_E_IO)
        return st;
    snprintf(text, sizeof text, "no checkpoint at step %lld: %s; the run goes on",
             (long long)t->step, hl_err_message());
    hl_train_notice(t, HL_NOTICE_ALERT, text);
    return HL_OK;
}

/* Also of a run that is resumed from where it was about to end. */
static void stop_without_patience(hl_train *t)
{
    char text[160];
    if (t->e->patience == 0 || t->n_worse < t->e->patience)
        return;
    snprintf(text, sizeof text, "early stop: %s no better than %g for %lld evaluations",
             t->e->best_metric, t->best_eval, (long long)t->n_worse);
    hl_train_notice(t, HL_NOTICE_INFO, text);
    ask_stop(t, HL_TRAIN_DONE, true, text);
}

/* After an evaluation: has nothing got better for too long? */
static void lose_patience(hl_train *t)
{
    const double v = hl_train_best_metric(t);
    if (t->e->patience == 0 || isnan(v))
        return;
    const bool better = isnan(t->best_eval) || hl_train_is_better(t->e, v, t->best_eval);
    t->n_worse = better ? 0 : t->n_worse + 1;
    if (better)
        t->best_eval = v;
    stop_without_patience(t);
}

/* By steps, or by epochs where this step, begun in `epoch`, has ended one. */
static bool due_now(const hl_train *t, bool by_epoch, int64_t every, int64_t epoch)
{
    return by_epoch ? t->next.epoch != epoch && due(t->next.epoch, every) : due(t->step, every);
}

static hl_status eval_and_save(hl_train *t, int64_t epoch)
{
    hl_status st = HL_OK;
    const hl_experiment *e = t->e;
    const bool last = t->step >= e->max_steps;
    if (t->eval.p && (due_now(t, e->eval_by_epoch, e->eval_every, epoch) || last)) {
        HL_TRY(hl_train_evaluate(t));
        lose_patience(t);
        hl_train_time_lap(t, HL_TIME_EVAL);
    }
    /* the weights that a test will be of are worth keeping, whatever the schedule */
    const bool for_test = e->source.n_items[HL_PART_TEST] > 0 && hl_train_is_new_best(t);
    if (t->ckpt_dir && !last && !t->stop &&
        (due_now(t, e->save_by_epoch, e->save_every, epoch) || for_test))
        HL_TRY(save_on_schedule(t));
out:
    return st;
}

static hl_status loop(hl_train *t)
{
    hl_status st = HL_OK;
    while (t->step < t->e->max_steps) {
        HL_TRY(safe_point(t));
        if (t->stop)
            break;
        step_times times;
        const int64_t skipped = t->n_skipped, epoch = t->next.epoch;
        const bool watch = t->watched.p && (due(t->step + 1, t->e->probe_every) || t->step == 0);
        hl_train_time_begin(t);
        HL_TRY(one_step(t, watch, &times));
        t->clock.at_ns = hl_clock_mono_ns();
        HL_TRY(after_step(t, &times, t->n_skipped != skipped, epoch));
        hl_train_time_lap(t, HL_TIME_LOG);
        if (!t->stop)
            HL_TRY(eval_and_save(t, epoch));
        hl_train_time_lap(t, HL_TIME_SAVE);
        hl_train_time_end(t);
    }
out:
    return st;
}

/* An error of a script or the engine: the weights are still those of the last step, keep them. Not
 * where the device is lost: nobody knows how far the step has come. */
static hl_status rescue(hl_train *t, hl_status st)
{
    char message[HL_ERR_MESSAGE_MAX];
    snprintf(message, sizeof message, "%s", hl_err_message());
    HL_IGNORE(hl_train_fire(t, HL_HOOK_ERROR, message));
    if (t->ckpt_dir && t->step > 0 && st != HL_E_IO && st != HL_E_DEVICE)
        HL_IGNORE(hl_train_save(t, NULL, "error"));
    return hl_err_set(st, "%s", message);
}

hl_status hl_train_run(hl_train *t, hl_train_end *end)
{
    hl_status st = HL_OK;
    *end = HL_TRAIN_FAILED;
    t->s.host.phase(t->s.host.self, HL_PHASE_TRAINING, t->step);
    hl_train_scale_report(t);
    hl_train_knobs_tell(t);
    tell_order(t);
    HL_TRY(hl_train_fire(t, HL_HOOK_START, ""));
    stop_without_patience(t);
    st = loop(t);
    if (st == HL_E_CANCELLED && t->s.host.stop_signal(t->s.host.self)) {
        /* the script was interrupted inside a callback; the step before it is whole */
        ask_stop(t, HL_TRAIN_INTERRUPTED, true, "signal");
        st = HL_OK;
    }
    if (st != HL_OK) {
        st = rescue(t, st);
        goto out;
    }
    const hl_train_end how = t->stop ? (hl_train_end)(t->stop - 1) : HL_TRAIN_DONE;
    if (t->ckpt_dir && (!t->stop || t->stop_checkpoint) && t->step > 0)
        HL_TRY(hl_train_save(t, NULL, t->stop ? t->stop_why : "end"));
    if (how == HL_TRAIN_DONE && t->eval.p && t->e->quant.n_subsets > 0 &&
        hl_train_quantize_end(t) != HL_OK) /* the run is done all the same */
        hl_train_notice(t, HL_NOTICE_ALERT, hl_err_message());
    if (how == HL_TRAIN_DONE && hl_train_test(t) != HL_OK) /* likewise */
        hl_train_notice(t, HL_NOTICE_ALERT, hl_err_message());
    HL_TRY(hl_train_fire(t, HL_HOOK_STOP, t->stop ? t->stop_why : "done"));
    *end = how;
    if (how == HL_TRAIN_DIVERGED)
        st = hl_err_set(HL_E_NUMERIC, "%s", t->stop_why);
out:
    return st;
}
