/* Shared by the files of the training driver; never leaves app/exp. */
#ifndef HL_EXP_TRAIN_INTERNAL_H
#define HL_EXP_TRAIN_INTERNAL_H

#include "app/exp/forecast_record.h"
#include "app/exp/train.h"
#include "engine/base/mem.h"

/* One compiled step and where its leaves are bound. */
typedef struct step_program {
    hl_program *p;
    hl_train_graph tg; /* outputs and taps; the graph itself is freed after compiling */
    char **tap_names;
    int n_taps;
    bool bins;
    int input[HL_FEED_ARRAYS], lr, clip; /* binding numbers, -1: not read */
    const hl_exp_trace *trace;
} step_program;

/* State besides the parameters: optimiser moments and the update counter, by name. */
typedef struct extra_state {
    char *name;
    hl_storage *storage;
} extra_state;

typedef struct eval_result {
    bool valid;
    int64_t step;
    double loss, loss_token, ppl, bpb; /* spec: language-models 8.1 */
    double max_inf_norm, max_ffn_inf_norm, max_layer_inf_norm;
    double avg_kurtosis, max_kurtosis, max_kurtosis_layers;
    hl_outliers *taps; /* n_taps of the eval program */
    double *number;    /* the model's own, as eval.trace counts them */
    double seconds;
    int64_t n_sequences, n_labels;
} eval_result;

/* Values under the tags that they are logged and known to callbacks by. */
typedef struct tagged_values {
    const char **tag;
    char **owned; /* the tags that were made up */
    double *value;
    int *series;
    int n, n_owned;
} tagged_values;

/* Parts of a step's time (train_time.c). The first four are of single steps, the others means. */
typedef enum hl_train_time {
    HL_TIME_FORWARD,
    HL_TIME_BACKWARD,
    HL_TIME_WATCH,
    HL_TIME_UPDATE,
    HL_TIME_LOG,
    HL_TIME_EVAL,
    HL_TIME_SAVE,
    HL_TRAIN_TIMES
} hl_train_time;

typedef struct step_clock {
    int64_t start_ns, sampled_ns, at_ns; /* of the loop; the newest sample; the newest lap */
    int64_t n_steps;                     /* since the sample */
    double ms[HL_TRAIN_TIMES];
    bool samples; /* the step under way is measured in parts */
    struct {
        double ms;
        int64_t n;
    } steps[2]; /* plain, watched: since the cost of watching was told last */
    int probe_series;
    int series[HL_TRAIN_TIMES];
} step_clock;

enum { HL_TRAIN_KNOBS = 11, HL_TRAIN_QUANT = 6 };

/* A schedule that took the place of the run's own at step `from`; -1: none did. */
typedef struct other_schedule {
    hl_schedule s;
    double peak;
    int64_t from;
    char text[96]; /* as it was asked for; of a request */
} other_schedule;

struct hl_train {
    hl_train_setup s;
    hl_experiment *e;
    hl_sink sink;
    const char *ckpt_dir; /* NULL: none */
    step_program plain, watched, eval, eval_rest;
    step_program plain_rest, test_rest; /* for smaller last batches, as eval_rest */
    step_program gather; /* with accumulate > 1: a batch before the last of an update */
    HL_VEC(extra_state) extra;
    void *arena;
    size_t arena_bytes;
    hl_feed train_data, eval_data;
    /* on a device: the next batch, whose copy there was begun, and for which program */
    bool looks_ahead, has_ahead;
    hl_feed_batch ahead;
    step_program *ahead_for;
    hl_position next; /* where the next training batch starts */
    hl_train_plan plan;

    int64_t step;                 /* updates asked for so far */
    int64_t n_items;              /* tokens or samples seen in training */
    int64_t n_skipped;            /* updates masked because something was not finite */
    double hold[HL_TRAIN_KNOBS];  /* knobs held at a value; NAN: by schedule, or as configured */
    double start[HL_TRAIN_KNOBS]; /* what they were at the start of the run */
    other_schedule other;
    double lr_now;
    float lr_f32;
    double lr_f64;
    float clip_f32; /* e->max_grad_norm */
    double train_seconds;
    double best;
    bool has_best;
    int64_t best_step; /* of the checkpoint that has it; -1: not known */
    double best_eval;  /* of the evaluations so far, for patience; NAN: none */
    int64_t n_worse;   /* evaluations since */
    bool finished;

    step_clock clock;
    double loss, grad_norm; /* of the last step */
    double loss_scale;      /* likewise; 1 without fp16 */
    eval_result result;

    bool paused;
    int stop; /* 0, or 1 + hl_train_end */
    bool stop_checkpoint;
    char stop_why[160];

    /* series numbers */
    int s_loss, s_norm, s_lr, s_items, s_step_ms, s_per_s, s_share, s_wait, s_skipped, s_loss_scale;
    int s_eval_loss, s_eval_loss_token, s_eval_ppl, s_eval_bpb, s_eval_metric[6];
    int *s_inf, *s_kurtosis, *s_hist; /* per tap of the watched program */
    int *s_weight;                    /* per parameter; NULL: not asked for */
    struct hl_train_probe *probe;     /* NULL: none of it is asked for */
    int *s_backward, s_solve_ms, s_backward_ms; /* train_solve.c */

    /* what callbacks get: loss, norm, rate and the model's numbers; likewise of an evaluation */
    tagged_values train_values, eval_values;
    int *s_train_curve, *s_eval_curve;
    float *narrow; /* fp64: a curve as it is stored */
    bool is_quantized;
    double quant[HL_TRAIN_QUANT];               /* train_quant.c */
    hl_forecast *eval_forecast, *test_forecast; /* NULL: no series */
    hl_forecast_record *record;                 /* of the newest evaluation; NULL: none is kept */
    eval_result test; /* of the test part, not valid before the run is done */
    bool is_testing;
    int64_t part_batches; /* of the part that is_testing is about; 0: all */
    hl_trajectory *trajectory; /* of the newest evaluation; NULL: no equilibrium model */
};

/* train.c */
enum { HL_TRAIN_PROGRAMS = 7 };
/* All that may be there, the plain step first; p is NULL in those that are not. */
void hl_train_programs(hl_train *t, step_program *out[HL_TRAIN_PROGRAMS]);
HL_MUST_CHECK hl_status hl_train_state(hl_train *t); /* the optimiser's storages */
/* train_eval.c */
void hl_train_eval_series(hl_train *t);
HL_MUST_CHECK hl_status hl_train_eval_open(hl_train *t);
/* Evaluates without telling anybody: into t->result. */
HL_MUST_CHECK hl_status hl_train_measure(hl_train *t);
double hl_train_metric(const eval_result *r, int i); /* hl_train_metric_names[i] */
/* Measures another part with the weights as they are into *out, which the caller frees (taps,
 * number) also after a failure; the newest evaluation stays what it was. n_batches 0: all of it. */
HL_MUST_CHECK hl_status hl_train_measure_part(hl_train *t, hl_part part, int64_t n_batches,
                                              eval_result *out);
/* On "eval", "test" or "train"; result: what came of another part than the first, in words.
 * Errors also: ARG, STATE (there is none, or its batches do not fit). */
HL_MUST_CHECK hl_status hl_train_evaluate_set(hl_train *t, const char *set, hl_str *result);
/* train_forecast.c: measures of a series' evaluation, after hl_measure and then the batch loss */
enum { HL_TRAIN_FORECASTS = HL_MEASURE_COUNT + 1 };
extern const char *const hl_train_forecast_names[HL_TRAIN_FORECASTS + 1]; /* ends with NULL */
HL_MUST_CHECK hl_status hl_train_forecast_open(hl_train *t);
void hl_train_forecast_done(hl_train *t);
void hl_train_scale_report(hl_train *t); /* a series' scale.json; of others nothing */
HL_MUST_CHECK hl_status hl_train_forecast_begin(hl_train *t);
HL_MUST_CHECK hl_status hl_train_forecast_add(hl_train *t, const step_program *p,
                                              const hl_feed_batch *b);
HL_MUST_CHECK hl_status hl_train_forecast_end(hl_train *t);
double hl_train_forecast_value(const hl_train *t, int i);
/* The newest evaluation's forecasts as an event (forecast_record.h). */
void hl_train_forecast_report(hl_train *t);
/* Takes the best weights and evaluates them on the test part, if there is one. */
HL_MUST_CHECK hl_status hl_train_test(hl_train *t);
void hl_train_test_put(const hl_train *t, hl_str *json); /* "test/mse" and the others */
void hl_train_forecast_put(const hl_train *t, hl_str *json);
void hl_train_forecast_text(const hl_train *t, hl_str *b);
/* train_watch.c */
void hl_train_watch_series(hl_train *t);
void hl_train_report_taps(hl_train *t, double *max_abs, int64_t *n_bad);
void hl_train_report_weights(hl_train *t); /* cost: a look at each weight */
/* train_time.c: around each step begin, laps and end; what was measured is logged as sys/ series */
HL_MUST_CHECK hl_status hl_train_time_open(hl_train *t);
void hl_train_time_begin(hl_train *t);
void hl_train_time_lap(hl_train *t, hl_train_time what); /* since begin, or the lap before */
void hl_train_time_end(hl_train *t);
/* What a step took without waiting for data, and what was told of it if it was watched. */
void hl_train_time_step(hl_train *t, bool watched, double ms);
/* train_metric.c */
HL_MUST_CHECK hl_status hl_train_metrics_open(hl_train *t);
void hl_train_metrics_done(hl_train *t);
/* Reads the numbers of the step that was just run into train_values; log: also into their series.
 */
void hl_train_numbers_read(hl_train *t, const step_program *p);
void hl_train_numbers_log(hl_train *t);
/* The curve at this output as floats, and its type; until the next call. */
const float *hl_train_curve(hl_train *t, const step_program *p, int out, const hl_type **type);
void hl_train_curves_report(hl_train *t, const step_program *p);
void hl_train_eval_numbers_add(hl_train *t, const step_program *p, double weight);
void hl_train_eval_numbers_end(hl_train *t, double weights);
/* train_probe.c */
HL_MUST_CHECK hl_status hl_train_probe_open(hl_train *t);
void hl_train_probe_done(hl_train *t);
void hl_train_probe_batch(hl_train *t, const hl_feed_batch *b); /* of a watched step */
void hl_train_probe_report(hl_train *t);
/* Of a tap, by its histogram: in how many channels the largest 0.01 % lie. */
void hl_train_probe_count(hl_train *t, const char *tap, const hl_hist *h);
/* train_solve.c */
HL_MUST_CHECK hl_status hl_train_solve_open(hl_train *t);
int64_t hl_train_solve_largest(const hl_train *t);           /* elements of a curve */
void hl_train_solve_report(hl_train *t);                     /* after a watched step */
void hl_train_solve_log(hl_train *t, const step_program *p); /* of the program that was just run */
/* train_trajectory.c */
#define HL_METRIC_MOVEMENT "deq/movement" /* scripts_lua/hop/deq_tools.lua: {evaluations, batch}   \
                                           */
HL_MUST_CHECK hl_status hl_train_trajectory_begin(hl_train *t);
HL_MUST_CHECK hl_status hl_train_trajectory_add(hl_train *t, const step_program *p, int64_t n_real);
void hl_train_trajectory_end(hl_train *t);
/* train_knob.c */
HL_MUST_CHECK hl_status hl_train_set_knob(hl_train *t, const char *name, double value);
/* lr by another schedule from this step on: over the steps that are left and from the rate that is,
 * where the text says nothing else. ARG: another knob, no schedule, a peak out of range. */
HL_MUST_CHECK hl_status hl_train_set_schedule(hl_train *t, const char *name, const char *text);
void hl_train_knobs_open(hl_train *t);
/* Its programs are compiled: what they are set to now. ARG: a declared one is not known. */
HL_MUST_CHECK hl_status hl_train_knobs_begin(hl_train *t);
/* {"lr": {"value", "held", "min", "max" unless there is none, "whole"}, ...} */
void hl_train_knobs_json(const hl_train *t, hl_str *b);
void hl_train_knobs_tell(hl_train *t); /* as an event, for those who look at the run */
void hl_train_knobs_put(const hl_train *t, hl_str *json);
HL_MUST_CHECK hl_status hl_train_knobs_take(hl_train *t, const hl_json *state);
/* train_quant.c */
/* Errors: those of hl_quantized_*; STATE (nothing to evaluate on), CANCELLED (a signal, or a stop
 * that waits). */
HL_MUST_CHECK hl_status hl_train_quantize_end(hl_train *t);
/* As a request asks (app/bus/bus.h); result: what came of it, in words. Errors also: ARG. */
HL_MUST_CHECK hl_status hl_train_quantize_now(hl_train *t, const hl_json *args, hl_str *result);
void hl_train_quant_put(const hl_train *t, hl_str *json); /* nothing if it was not quantized */
/* train_ckpt.c */
double hl_train_best_metric(const hl_train *t); /* of the newest evaluation; NAN: there is none */
bool hl_train_is_better(const hl_experiment *e, double v, double best);
bool hl_train_is_new_best(const hl_train *t); /* would a checkpoint now be the best? */
/* name NULL: step-N, one of those that come and go; else one that stays. ARG: no such name may be;
 * STATE: it is there. */
HL_MUST_CHECK hl_status hl_train_save(hl_train *t, const char *name, const char *why);
/* train_hooks.c */
HL_MUST_CHECK hl_status hl_train_fire(hl_train *t, hl_hook hook, const char *text);
HL_MUST_CHECK hl_status hl_train_fire_metrics(hl_train *t, hl_hook hook, const tagged_values *v);

/* What was asked for between two steps is done: the run trains again, or is still paused. */
void hl_train_go_on(hl_train *t);
double hl_train_output(const hl_train *t, const step_program *p, int i); /* scalar output */
hl_exec hl_train_exec(const hl_train *t, int64_t step);
HL_MUST_CHECK hl_status hl_train_run_batch(hl_train *t, step_program *p, const hl_feed_batch *b,
                                           int64_t step);

/* printf shows the sign of a NaN, which means nothing. */
static inline double hl_unsigned_nan(double x)
{
    return x == x ? x : (double)__builtin_nanf("");
}

#endif
