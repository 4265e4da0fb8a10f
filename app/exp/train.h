/* The training driver: steps, evaluation, checkpoints, commands, for one experiment. It sees the
 * engine, the data and two tables of functions (sink, host), so it runs in a unit test. */
#ifndef HL_EXP_TRAIN_H
#define HL_EXP_TRAIN_H

#include "app/exp/control.h"
#include "app/exp/experiment.h"
#include "app/exp/sink.h"

typedef struct hl_train hl_train;

typedef struct hl_train_setup {
    hl_experiment *exp;   /* borrowed; outlives the driver */
    hl_team *team;        /* NULL: one thread */
    hl_train_host host;
    int64_t baseline_bytes; /* resident memory before anything of this driver; for the plan */
    double peak_flops;      /* FLOP/s that a step's are held against; 0: unknown */
    bool eval_only;         /* no training step: hl_train_load, open, evaluate, results */
    bool eval_on_test;  /* evaluate on the test part, which a series has */
    const char *pred_dir; /* forecasts of each evaluation are written there; NULL: nowhere */
    bool eval_on_train; /* evaluate on batches of the training part, which must be as large */
    int64_t eval_epoch; /* then: from this epoch's order */
} hl_train_setup;

typedef enum hl_train_end {
    HL_TRAIN_DONE,
    HL_TRAIN_STOPPED,     /* on request */
    HL_TRAIN_RELEASED,    /* paused on request: to be resumed by another process */
    HL_TRAIN_INTERRUPTED, /* by a signal */
    HL_TRAIN_DIVERGED,
    HL_TRAIN_FAILED
} hl_train_end;

/* Memory by what it is for. */
typedef struct hl_train_plan {
    int64_t weights, optimiser, activations, data, baseline, total;
    double flops_step;
    int n_ops;
} hl_train_plan;

/* Compiles the programs and plans the memory; allocates nothing large. */
HL_MUST_CHECK hl_status hl_train_new(const hl_train_setup *s, hl_train **out);
void hl_train_free(hl_train *t);
hl_train_plan hl_train_get_plan(const hl_train *t);
/* Counts memory that others of this process will need into the plan's baseline. */
void hl_train_plan_more(hl_train *t, int64_t bytes);
/* The ten largest tensors, as text for a message. */
void hl_train_largest(const hl_train *t, hl_str *out);

/* Is there memory for the plan? NOMEM with the ten largest tensors if not. */
HL_MUST_CHECK hl_status hl_train_fits(hl_train *t);

/* Takes weights, optimiser, position and callback state from a checkpoint directory. */
HL_MUST_CHECK hl_status hl_train_resume(hl_train *t, const char *checkpoint);
/* Takes the weights only, for evaluating them, and checks that the data speak the vocabulary that the
 * checkpoint was trained with. Any precision will do. Errors: as resume. */
HL_MUST_CHECK hl_status hl_train_load(hl_train *t, const char *checkpoint);
/* Do the data speak this vocabulary, as hl_tok_to_json wrote it? Yes, where it is no object.
 * Errors: FORMAT. */
HL_MUST_CHECK hl_status hl_train_check_vocabulary(const hl_source *s, const hl_json *saved);
int64_t hl_train_step(const hl_train *t); /* steps done */

/* Allocates all that is large and opens the series. ckpt_dir NULL: no checkpoints. */
HL_MUST_CHECK hl_status hl_train_open(hl_train *t, hl_sink sink, const char *ckpt_dir);

/* Runs to the end. *end says how it ended; the status is not HL_OK only with FAILED and DIVERGED. */
HL_MUST_CHECK hl_status hl_train_run(hl_train *t, hl_train_end *end);

/* For callbacks, at a safe point. */
HL_MUST_CHECK hl_status hl_train_request(hl_train *t, const hl_request *c);
double hl_train_knob(const hl_train *t, const char *name); /* NAN: no such knob */
void hl_train_log_scalar(hl_train *t, const char *tag, double value);
void hl_train_notice(hl_train *t, hl_notice kind, const char *text);
/* Of a series, said in the run's events. */
void hl_train_declare_unit(hl_train *t, const char *tag, const char *unit);

/* Evaluates now on the evaluation part; results are reported and, for the table, kept. */
HL_MUST_CHECK hl_status hl_train_evaluate(hl_train *t);

/* How much the last evaluation was made of: sequences (or samples), and labels counted. */
void hl_train_eval_counts(const hl_train *t, int64_t *n_sequences, int64_t *n_labels);

/* Of a series' last evaluation: its forecasts beside naive ones, as a table; else nothing. */
void hl_train_forecasts(const hl_train *t, hl_str *out);

/* Names of the outlier metrics in a result (spec: language-models 8.4). */
enum { HL_TRAIN_METRICS = 6 };
extern const char *const hl_train_metric_names[HL_TRAIN_METRICS];

/* Results of the last evaluation and of the run, as one JSON object and as lines for people. */
HL_MUST_CHECK hl_status hl_train_result_json(const hl_train *t, hl_str *out);
/* The first parsed; owned by the caller. */
HL_MUST_CHECK hl_status hl_train_result(const hl_train *t, hl_json **out);
HL_MUST_CHECK hl_status hl_train_result_text(const hl_train *t, hl_str *out);

/* Time of the parts of a step (eval_only: of an evaluation's batch) since the start, for the bench:
 * ms per step. */
void hl_train_profile(hl_train *t, bool on);
double hl_train_flops(const hl_train *t); /* of the last step */
/* Of the training step's program on a device: operations that run on the host, runs replayed. */
void hl_train_captures(const hl_train *t, int *n_host_steps, int64_t *n_replayed);
void hl_train_profile_text(const hl_train *t, hl_str *out);

/* For bench and tests: exactly n training steps on the next batches, without logging or hooks. */
HL_MUST_CHECK hl_status hl_train_steps(hl_train *t, int64_t n, bool watched, double *last_loss);

#endif
