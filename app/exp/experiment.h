/* An experiment as the drivers see it: resolved, traced, without Lua. Made by app/lua from a
 * script, or by a test by hand. */
#ifndef HL_EXP_EXPERIMENT_H
#define HL_EXP_EXPERIMENT_H

#include "app/exp/feed.h"
#include "app/exp/study.h"
#include "engine/hl_engine.h"

typedef struct hl_exp_param {
    char *name;
    hl_storage *storage; /* counted */
} hl_exp_param;

/* A quantity that the model gives beside its loss. */
typedef struct hl_exp_metric {
    char *name;  /* "accuracy"; its series is train/accuracy or eval/accuracy */
    hl_id value; /* of the trace's graph */
    int rank;    /* 0: a number, logged at every log step; 1, 2: a curve, of watched steps */
} hl_exp_metric;

/* The loss as recorded for one batch size. Inputs have the names of the source's buffers; STATE
 * leaves carry storages. */
typedef struct hl_exp_trace {
    hl_graph *g; /* NULL: none */
    hl_id loss;
    hl_exp_metric *metric; /* numbers first, then curves, then the prediction, if there is one */
    int n_metrics, n_numbers;
    bool has_prediction; /* {B, out_len, C}, of an evaluation on a series */
} hl_exp_trace;

typedef enum hl_on_nan { HL_ON_NAN_STOP, HL_ON_NAN_SKIP, HL_ON_NAN_IGNORE } hl_on_nan;

/* Hooks a script may want. */
typedef enum hl_hook {
    HL_HOOK_START,
    HL_HOOK_STEP,
    HL_HOOK_LOG,
    HL_HOOK_EVAL,
    HL_HOOK_SAVE,
    HL_HOOK_EPOCH,
    HL_HOOK_CONTROL,
    HL_HOOK_NAN,
    HL_HOOK_STOP,
    HL_HOOK_ERROR,
    HL_HOOK_COUNT
} hl_hook;

typedef struct hl_hook_event {
    hl_hook hook;
    int64_t step, epoch;
    /* metrics of the newest finished step, evaluation or log: pairs of tag and value */
    const char *const *tag;
    const double *value;
    int n;
    const char *text; /* STOP: reason; CONTROL: request; ERROR: message; else NULL */
} hl_hook_event;

/* How the trained model is quantized. */
typedef struct hl_quant_plan {
    bool is_known; /* the model says what of it may be quantized */
    hl_quant_rules rules;
    hl_quant_recipe recipe;
    char **in_float, **also, **tables, **skip; /* behind both; owned */
    char *json;                                /* the recipe as the script's options; owned */
    int64_t n_batches;                         /* of calibration, >= 1 */
    int64_t n_subsets; /* a run that is done is quantized with so many of them; 0: not at all */
    bool on_eval;      /* they are from the evaluation part */
} hl_quant_plan;
void hl_quant_plan_done(hl_quant_plan *p);

/* Callbacks of the script. All NULL-safe: a missing function means nobody listens. */
typedef struct hl_hooks {
    void *self;
    /* Does anybody listen at this step? Asked before anything is prepared; costs no Lua call. */
    bool (*wants)(void *self, hl_hook hook, int64_t step);
    hl_status (*fire)(void *self, const hl_hook_event *ev);
    /* State to keep in checkpoints, as one JSON value, and back. */
    hl_status (*save)(void *self, hl_str *out);
    hl_status (*load)(void *self, const hl_json *state);
    /* The plan with options changed, each "quantize.PATH=VALUE"; *out is hl_quant_plan_done's, also
     * after a failure. Errors: ARG, NOTFOUND (no such option), UNSUPPORTED. */
    hl_status (*quant_plan)(void *self, const hl_json *sets, hl_quant_plan *out);
    /* Evaluates text in the script's language, within a limit, between two steps: what it prints
     * and its values, HL_ANSWER_MAX bytes and a word about what is left out. who: for the record,
     * of what the text does to the run. Errors: FORMAT (it cannot be compiled, nothing was run);
     * ARG (it raised or took too long, after whatever it had done). */
    hl_status (*evaluate)(void *self, const char *code, const char *who, hl_str *out);
} hl_hooks;

/* A knob that the script lets be turned while the run goes on. */
typedef struct hl_exp_knob {
    char *name;
    double least, most; /* NAN: its own */
} hl_exp_knob;

typedef struct hl_experiment {
    char *name, *project;
    char *tags_json;         /* JSON array */
    char *config_json;       /* resolved configuration */
    uint64_t seed, identity; /* identity: hash of configuration and script text */
    bool fp64;
    bool fp16; /* likewise, of a device, with a scaled loss (engine/optim/loss_scale.h) */
    bool bf16; /* products of training steps; evaluation is fp32 */

    hl_exp_param *params;
    size_t n_params;
    hl_exp_trace train, eval;
    hl_exp_trace eval_rest; /* for the last batch of an evaluation, where it is smaller */
    hl_exp_trace test_rest, train_rest; /* likewise of the test part and of a training epoch */
    hl_storage **constants; /* storages that further inputs of the graphs are bound to; counted */
    size_t n_constants;

    hl_source source;
    int64_t batch_size, eval_batch_size;

    hl_optim optim;
    char **no_decay; /* behind optim.no_decay */
    double lr;
    hl_schedule schedule;
    double max_grad_norm;
    bool inf_norm;
    int accumulate;   /* batches per update, 1 or more */
    int64_t patience; /* evaluations without a new best before the run ends; 0: it does not */
    bool tie_is_best; /* a value as good as the best is a new best */

    int64_t max_steps;
    bool eval_by_epoch, save_by_epoch; /* eval_every and save_every count epochs, not steps */
    int64_t log_every, eval_every, eval_batches, save_every, save_keep, probe_every;
    int64_t kurtosis_batches; /* of an evaluation, that count for kurtosis; 0: all */
    char *best_metric;        /* tag of an evaluation's value: "eval/loss"; NULL: none */
    bool best_is_max;
    bool save_pred, inverse; /* forecasts of the test part as files; measured in the data's units */
    bool probe_bins, probe_weights, probe_channels;
    int64_t probe_attention; /* tokens a side of maps; 0: none */
    hl_on_nan on_nan;

    /* Which taps count for which summary metric: Lua patterns resolved to flags per tap of eval. */
    unsigned char *tap_groups; /* HL_TAP_ALL | … per tap, of the eval graph after extraction */
    char **tap_names;
    size_t n_taps;

    hl_quant_plan quant;
    hl_exp_knob *knobs;
    size_t n_knobs; /* 0: all that there are */

    hl_study study; /* with a function run: then this is what the run does, and nothing is trained:
                       no parameters, data and traces */
    hl_hooks hooks;
    void (*free_hooks)(void *self);
} hl_experiment;

enum {
    HL_TAP_ALL = 1,
    HL_TAP_FFN = 2,
    HL_TAP_LAYER = 4,
    HL_TAP_KURTOSIS = 8,
    HL_TAP_NORM_IN = 16 /* what goes into a layer's last norm: a metric of BERT's table */
};

void hl_experiment_free(hl_experiment *e);                   /* NULL is fine */
const char *hl_experiment_precision(const hl_experiment *e); /* as --precision has it */
const char *hl_experiment_isa(const hl_experiment *e); /* what its bits depend on: "avx512+amx" */
unsigned hl_experiment_groups(const hl_experiment *e, const char *tap);

#endif
