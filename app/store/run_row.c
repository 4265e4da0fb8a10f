#include "app/store/run_row.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/store/run_dir.h"
#include "app/store/run_known.h"
#include "app/store/summary.h"
#include "app/store/trace.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

#define WITHIN_DEFAULT_S 60.0
/* The store writes up to a second late, and clocks of two machines differ a little. */
#define SLACK_S 5.0
/* Another machine's process cannot be looked at: after this much more silence it counts as gone. */
#define LOST_AFTER_S 600.0

static const char *const state_names[HL_RUN_STATE_COUNT] = {
    "unknown", "queued", "starting", "running",     "paused", "evaluating", "done",
    "stopped", "failed", "diverged", "interrupted", "silent", "lost",
};

const char *hl_run_state_name(hl_run_state s)
{
    return (unsigned)s < HL_RUN_STATE_COUNT ? state_names[s] : state_names[HL_RUN_UNKNOWN];
}

hl_run_state hl_run_state_from(const char *name)
{
    for (int i = 0; i < HL_RUN_STATE_COUNT; i++)
        if (strcmp(name, state_names[i]) == 0)
            return (hl_run_state)i;
    return HL_RUN_UNKNOWN;
}

bool hl_run_state_is_final(hl_run_state s)
{
    return s >= HL_RUN_DONE && s <= HL_RUN_INTERRUPTED;
}

hl_run_state hl_state_judge(hl_run_state written, hl_tristate live, double age_s, double within_s,
                            double *late_s)
{
    *late_s = 0;
    if (written <= HL_RUN_QUEUED || hl_run_state_is_final(written))
        return written;
    if (live == HL_NO)
        return HL_RUN_LOST;
    if (!(within_s > 0))
        within_s = WITHIN_DEFAULT_S;
    double late = age_s - within_s - SLACK_S;
    if (!(late > 0))
        return written;
    *late_s = late;
    return live == HL_UNKNOWN && late > LOST_AFTER_S + 9 * within_s ? HL_RUN_LOST : HL_RUN_SILENT;
}

void hl_row_done(hl_row_store *r)
{
    for (int i = 0; i < HL_ROW_TEXTS; i++)
        hl_free(r->text[i]);
    hl_run_values_unref(r->row.config);
    hl_run_metrics_unref(r->row.metrics);
    *r = (hl_row_store){0};
}

/* What a screen shows of it: a second is worth a word in the first minutes only. */
static int64_t shown_late(double late_s)
{
    return (int64_t)(late_s < 300 ? late_s : 300 + late_s / 60);
}

bool hl_row_judge(hl_row_store *r, const char *dir)
{
    const hl_run_row was = r->row;
    hl_lock_view lock = {0};
    /* nobody writes a paused run that gave its device back, and it waits as long as it takes */
    const bool released = r->written == HL_RUN_PAUSED &&
                          strcmp(r->row.reason ? r->row.reason : "", HL_REASON_RELEASED) == 0;
    bool undecided =
        r->written > HL_RUN_QUEUED && !hl_run_state_is_final(r->written) && !released;
    hl_tristate live = HL_UNKNOWN;
    if (undecided) {
        hl_lock_look(dir, &lock);
        live = hl_lock_is_live(&lock);
    }
    double age = r->row.t_last_us ? (double)(hl_clock_wall_us() - r->row.t_last_us) / 1e6 : 0;
    r->row.late_s = 0;
    r->row.state = released ? HL_RUN_PAUSED
                            : hl_state_judge(r->written, live, age, r->within_s, &r->row.late_s);
    r->row.pid = lock.named ? lock.pid : 0;
    return r->row.state != was.state || r->row.pid != was.pid ||
           shown_late(r->row.late_s) != shown_late(was.late_s);
}

/* ---- reading ---- */

static bool has_scalar(const hl_json *scalars, const char *tag)
{
    return hl_json_get(scalars, tag) != NULL;
}

static const char *first_like(const hl_json *scalars, const char *head, const char *tail)
{
    for (const hl_json *v = hl_json_at(scalars, 0); v; v = hl_json_next(v)) {
        const char *tag = hl_json_key(v);
        if (tag && hl_str_starts(tag, head) && hl_str_ends(tag, tail))
            return tag;
    }
    return "";
}

static const char *loss_tag(const hl_json *scalars)
{
    const char *best = "";
    for (const hl_json *v = hl_json_at(scalars, 0); v; v = hl_json_next(v)) {
        const char *tag = hl_json_key(v);
        if (tag && hl_trace_rank(tag) > hl_trace_rank(best))
            best = tag;
    }
    return best;
}

static const char *eval_tag(const hl_json *scalars)
{
    static const char *const known[] = {"eval/ppl", "eval/accuracy", "eval/acc",
                                        "eval/mse", "eval/mae",      "eval/loss"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (has_scalar(scalars, known[i]))
            return known[i];
    return first_like(scalars, "eval/", "");
}

static double last_value(const hl_json *scalars, const char *tag)
{
    return hl_json_num(hl_json_get(hl_json_get(scalars, tag), "last"), 0);
}

static int64_t time_us(const hl_json *summary, const char *key)
{
    double t = hl_json_num(hl_json_get(summary, key), 0);
    return t > 0 && t < 9e12 ? (int64_t)(t * 1e6 + 0.5) : 0;
}

static bool last_known(const hl_json *scalars, const char *tag, double *out)
{
    const hl_json *last = hl_json_get(hl_json_get(scalars, tag), "last");
    *out = hl_json_num(last, 0);
    return hl_json_is_number(last);
}

/* ---- quantizations ---- */

static const char quant_head[] = "quantize/";

bool hl_quant_is_tag(const char *tag)
{
    return hl_str_starts(tag, quant_head);
}

uint64_t hl_quant_key(const char *tag)
{
    return hl_hash_str(HL_HASH_START, tag);
}

static hl_run_quant quant_of(const hl_json *table)
{
    const double nothing = (double)NAN,
                 simulated = hl_json_num(hl_json_get(table, "value_simulated"), nothing);
    hl_run_quant q = {.key = hl_quant_key(hl_json_key(table)),
                      .step = hl_json_int(hl_json_get(table, "step"), -1),
                      .time = hl_json_num(hl_json_get(table, "time"), 0),
                      .in_float = hl_json_num(hl_json_get(table, "value_float"), nothing),
                      .quantized = hl_json_num(hl_json_get(table, "value_mean"), simulated),
                      .executed = hl_json_num(hl_json_get(table, "value_executed"), nothing)};
    snprintf(q.recipe, sizeof q.recipe, "%s", hl_json_key(table) + sizeof quant_head - 1);
    snprintf(q.metric, sizeof q.metric, "%s", hl_json_str(hl_json_get(table, "metric"), ""));
    return q;
}

/* The newest ones; the oldest gives way. */
static void fill_quants(const hl_json *tables, hl_run_row *row)
{
    for (const hl_json *t = hl_json_at(tables, 0); t; t = hl_json_next(t)) {
        if (!hl_json_key(t) || !hl_quant_is_tag(hl_json_key(t)))
            continue;
        const hl_run_quant q = quant_of(t);
        if (row->n_quant == HL_RUN_QUANTS) {
            int oldest = 0;
            for (int i = 1; i < row->n_quant; i++)
                oldest = row->quant[i].time < row->quant[oldest].time ? i : oldest;
            if (q.time < row->quant[oldest].time)
                continue;
            row->n_quant--;
            memmove(&row->quant[oldest], &row->quant[oldest + 1],
                    (size_t)(row->n_quant - oldest) * sizeof q);
        }
        row->quant[row->n_quant++] = q;
    }
}

static void fill_numbers(const hl_json *summary, const hl_json *scalars, hl_run_row *row)
{
    row->step = hl_json_int(hl_json_get(summary, "step"), -1);
    row->step_total = hl_json_int(hl_json_get(summary, "step_total"), -1);
    row->n_turned = hl_json_int(hl_json_get(summary, "turned"), 0);
    row->t_start_us = time_us(summary, "time_first");
    row->t_last_us = time_us(summary, "time_last");
    row->loss = last_value(scalars, row->loss_tag);
    row->eval = last_value(scalars, row->eval_tag);
    row->has_max_inf_norm = last_known(scalars, "eval/max_inf_norm", &row->max_inf_norm);
    row->has_kurtosis = last_known(scalars, "eval/avg_kurtosis", &row->kurtosis);
    for (const hl_json *v = hl_json_at(scalars, 0); v; v = hl_json_next(v))
        row->n_non_finite += hl_json_int(hl_json_get(v, "non_finite"), 0);
    fill_quants(hl_json_get(summary, "tables"), row);
    const hl_json *trace = hl_json_get(summary, "trace");
    for (const hl_json *v = hl_json_at(trace, 0); v && row->n_trace < HL_TRACE_MAX;
         v = hl_json_next(v))
        row->trace[row->n_trace++] = (float)hl_json_num(v, (double)NAN);
}

void hl_row_slots(hl_run_row *row, const char **slot[HL_ROW_TEXTS])
{
    const char **const all[HL_ROW_TEXTS] = {
        &row->id,       &row->name,       &row->project, &row->tags,   &row->dir,
        &row->host,     &row->reason,     &row->message, &row->phase,  &row->loss_tag,
        &row->eval_tag, &row->checkpoint, &row->note,    &row->variant};
    memcpy(slot, all, sizeof all);
}

static bool is_mine(const char *dir)
{
    struct stat sb;
    return stat(dir, &sb) == 0 && sb.st_uid == geteuid();
}

/* notes: what somebody said of the run later, or NULL. */
static hl_status fill(const char *dir, const hl_json *summary, const hl_json *notes,
                      hl_row_store *r)
{
    const hl_json *scalars = hl_json_get(summary, "scalars");
    hl_run_row *row = &r->row;
    const char **slot[HL_ROW_TEXTS];
    hl_row_slots(row, slot);
    const char *const name = hl_json_str(hl_json_get(summary, "name"), hl_fs_base(dir));
    const char *const tags = hl_json_str(hl_json_get(summary, "tags"), "");
    const char *const text[HL_ROW_TEXTS] = {
        hl_json_str(hl_json_get(summary, "id"), hl_fs_base(dir)),
        hl_json_str(hl_json_get(notes, "name"), name),
        hl_json_str(hl_json_get(summary, "project"), ""),
        hl_json_str(hl_json_get(notes, "tags"), tags),
        dir,
        hl_json_str(hl_json_get(summary, "host"), ""),
        hl_json_str(hl_json_get(summary, "reason"), ""),
        hl_json_str(hl_json_get(summary, "message"), ""),
        hl_json_str(hl_json_get(summary, "phase"), ""),
        loss_tag(scalars),
        eval_tag(scalars),
        hl_json_str(hl_json_get(summary, "checkpoint"), ""),
        hl_json_str(hl_json_get(notes, "note"), ""),
        ""};
    for (int i = 0; i < HL_ROW_TEXTS; i++) {
        r->text[i] = hl_strdup(text[i]);
        if (!r->text[i])
            return HL_E_NOMEM;
        *slot[i] = r->text[i];
    }
    fill_numbers(summary, scalars, row);
    row->archived = hl_json_bool(hl_json_get(notes, "archived"), false);
    row->pinned = hl_json_bool(hl_json_get(notes, "pinned"), false);
    row->mine = is_mine(dir);
    row->metrics = hl_run_metrics_new(scalars);
    if (!row->metrics)
        return HL_E_NOMEM;
    r->written = hl_run_state_from(hl_json_str(hl_json_get(summary, "state"), ""));
    r->within_s = hl_json_num(hl_json_get(summary, "within_s"), 0);
    r->created = hl_json_num(hl_json_get(summary, "created"), 0);
    if (!(r->created > 0))
        r->created = (double)row->t_start_us / 1e6;
    return HL_OK;
}

static hl_status set_variant(hl_row_store *r, const char *text)
{
    char *copy = hl_strdup(text);
    if (!copy)
        return HL_E_NOMEM;
    hl_free(r->text[HL_ROW_TEXTS - 1]);
    r->text[HL_ROW_TEXTS - 1] = copy;
    r->row.variant = copy;
    return HL_OK;
}

/* What runs that differ in nothing but their seed have in common. */
static uint64_t method_of(const hl_json *config)
{
    static const char *const own[] = {"seed", "name", "tags"};
    hl_str b = {0};
    for (const hl_json *m = hl_json_at(config, 0); m; m = hl_json_next(m)) {
        bool is_own = false;
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
            is_own |= strcmp(hl_json_key(m), own[i]) == 0;
        if (is_own)
            continue;
        hl_str_addf(&b, "%s=", hl_json_key(m));
        hl_json_add_value(&b, m);
    }
    const uint64_t hash = hl_hash_str(HL_HASH_START, hl_str_text(&b));
    hl_str_done(&b);
    return hash ? hash : 1;
}

/* A JSON file of the run; NULL with OK: it is not there, or damaged. */
static hl_status optional_json(const char *dir, const char *name, hl_json **out)
{
    *out = NULL;
    const hl_status st = hl_run_dir_read_json(dir, name, out);
    return st == HL_E_NOMEM ? st : HL_OK;
}

static hl_status variant_of(const hl_json *config, hl_row_store *r)
{
    hl_str text = {0};
    const hl_json *attention = hl_json_get(hl_json_get(config, "model"), "attention");
    hl_str_add(&text, hl_json_str(hl_json_get(attention, "softmax"), ""));
    if (strcmp(hl_json_str(hl_json_get(attention, "gate"), "none"), "none") != 0)
        hl_str_add(&text, "+gate");
    hl_status st = hl_str_status(&text);
    if (st == HL_OK)
        st = set_variant(r, hl_str_text(&text));
    hl_str_done(&text);
    return st;
}

/* What the run's configuration and run.json say about it, and whether there is a configuration. */
static hl_status fill_config(const char *dir, hl_row_store *r)
{
    hl_json *config = NULL, *facts = NULL;
    hl_status st = HL_OK;
    HL_TRY(optional_json(dir, "config.json", &config));
    HL_TRY(optional_json(dir, "run.json", &facts));
    r->row.config = hl_run_values_new(config, facts);
    if (!r->row.config)
        st = HL_E_NOMEM;
    if (st == HL_OK && config)
        st = variant_of(config, r);
    r->has_config = st == HL_OK && config;
    if (config)
        r->row.method = method_of(config);
out:
    hl_json_free(config);
    hl_json_free(facts);
    return st;
}

/* What is known of the configuration, which does not change, from the row before. */
static hl_status take_config(hl_row_store *r, const hl_row_store *was)
{
    r->row.method = was->row.method;
    r->row.config = hl_run_values_ref(was->row.config);
    r->has_config = true;
    return set_variant(r, was->row.variant);
}

/* From what a summary would say: the text of a JSON object. */
static hl_status row_from(const char *dir, const hl_str *text, hl_row_store *out)
{
    hl_row_store r = {0};
    hl_json *v = NULL;
    hl_status st = hl_str_status(text);
    if (st == HL_OK)
        st = hl_json_parse(text->s, text->n, &v);
    if (st == HL_OK)
        st = fill(dir, v, NULL, &r);
    hl_json_free(v);
    if (st != HL_OK) {
        hl_row_done(&r);
        return st;
    }
    hl_row_done(out);
    *out = r;
    return HL_OK;
}

hl_status hl_row_blank(const char *dir, const char *message, hl_row_store *out)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "message", message);
    hl_json_end(&b, '}');
    hl_status st = row_from(dir, &b, out);
    hl_str_done(&b);
    return st;
}

hl_status hl_row_waiting(const hl_waiting_run *w, hl_row_store *out)
{
    hl_str b = {0}, words = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "name", w->name);
    hl_str_addf(&words, "sweep:%s", w->sweep);
    hl_json_put_str(&b, "tags", hl_str_text(&words));
    hl_str_clear(&words);
    hl_str_addf(&words, "waits in the sweep %s%s%s", w->sweep, *w->job ? ", job " : "", w->job);
    hl_json_put_str(&b, "phase", hl_str_text(&words));
    hl_json_put_str(&b, "host", w->host);
    hl_json_put_str(&b, "state", hl_run_state_name(HL_RUN_QUEUED));
    hl_json_put_num(&b, "created", w->since);
    hl_json_put_num(&b, "time_first", w->since);
    hl_json_end(&b, '}');
    hl_status st = row_from(w->dir, &b, out);
    if (st == HL_OK) {
        out->row.state = HL_RUN_QUEUED;
        out->row.mine = out->row.waits = true;
    }
    hl_str_done(&b);
    hl_str_done(&words);
    return st;
}

static hl_status rebuilt_summary(const char *dir, hl_json **out)
{
    hl_summary *s = NULL;
    hl_str text = {0};
    hl_status st = HL_OK;
    HL_TRY(hl_summary_rebuild(dir, NULL, &s));
    HL_TRY(hl_summary_write(s, &text));
    HL_TRY(hl_json_parse(text.s, text.n, out));
out:
    hl_str_done(&text);
    hl_summary_free(s);
    return st;
}

static hl_status read_once(const char *dir, hl_row_store *out, hl_json **summary)
{
    hl_row_store r = {0};
    hl_json *json = NULL, *notes = NULL;
    hl_status st = hl_run_dir_read_json(dir, "summary.json", &json);
    if (st == HL_E_NOTFOUND || st == HL_E_FORMAT)
        st = rebuilt_summary(dir, &json);
    if (st == HL_OK)
        st = optional_json(dir, "notes.json", &notes);
    if (st == HL_OK)
        st = fill(dir, json, notes, &r);
    hl_json_free(notes);
    if (st == HL_OK)
        st = out->has_config ? take_config(&r, out) : fill_config(dir, &r);
    if (st != HL_OK) {
        hl_row_done(&r);
        hl_json_free(json);
        return st;
    }
    (void)hl_row_judge(&r, dir);
    hl_row_done(out);
    *out = r;
    if (summary)
        *summary = json;
    else
        hl_json_free(json);
    return HL_OK;
}

hl_status hl_row_read(const char *dir, hl_row_store *out, hl_json **summary)
{
    hl_status st = read_once(dir, out, summary);
    if (st != HL_OK || out->row.state != HL_RUN_LOST)
        return st;
    /* It may have ended, properly, between our look at the summary and our look at the lock. */
    if (summary)
        hl_json_free(*summary);
    return read_once(dir, out, summary);
}
