/* Shared by the files of the training driver; never leaves app/exp. */
#ifndef HL_EXP_TRAIN_INTERNAL_H
#define HL_EXP_TRAIN_INTERNAL_H

#include "app/exp/train.h"
#include "engine/base/mem.h"

/* One compiled step and where its leaves are bound. */
typedef struct step_program {
    hl_program *p;
    hl_train_graph tg; /* outputs and taps; the graph itself is freed after compiling */
    char **tap_names;
    int n_taps;
    bool bins;
    int ids, labels, lr; /* binding numbers, -1: not read */
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
    double seconds;
} eval_result;

struct hl_train {
    hl_train_setup s;
    hl_experiment *e;
    hl_sink sink;
    const char *ckpt_dir; /* NULL: none */
    step_program plain, watched, eval;
    HL_VEC(extra_state) extra;
    void *arena;
    size_t arena_bytes;
    hl_loader *train_data, *eval_data;
    hl_loader_params train_params, eval_params;
    hl_position next; /* where the next training batch starts */
    hl_train_plan plan;

    int64_t step;      /* updates asked for so far */
    int64_t tokens;    /* seen in training */
    int64_t n_skipped; /* updates masked because something was not finite */
    double lr_hold;    /* NAN: by schedule; else held at this value (knob) */
    double lr_now;
    float lr_f32;
    double lr_f64;
    double train_seconds;
    double best;
    bool has_best;
    bool finished;

    double loss, grad_norm; /* of the last step */
    eval_result result;

    bool paused;
    int stop; /* 0, or 1 + hl_train_end */
    bool stop_checkpoint;
    char stop_why[160];

    /* series numbers */
    int s_loss, s_norm, s_lr, s_tokens, s_step_ms, s_tps, s_wait, s_skipped;
    int s_eval_loss, s_eval_loss_token, s_eval_ppl, s_eval_bpb, s_eval_metric[6];
    int *s_inf, *s_kurtosis, *s_hist; /* per tap of the watched program */
};

/* train.c */
HL_MUST_CHECK hl_status hl_train_state(hl_train *t);    /* the optimiser's storages */
/* train_eval.c */
void hl_train_eval_series(hl_train *t);
HL_MUST_CHECK hl_status hl_train_eval_open(hl_train *t);
/* train_watch.c */
void hl_train_watch_series(hl_train *t);
void hl_train_report_taps(hl_train *t, double *max_abs, int64_t *n_bad);
/* train_ckpt.c */
HL_MUST_CHECK hl_status hl_train_save(hl_train *t, const char *why);
/* train_hooks.c */
HL_MUST_CHECK hl_status hl_train_fire(hl_train *t, hl_hook hook, const char *text);
HL_MUST_CHECK hl_status hl_train_fire_metrics(hl_train *t, hl_hook hook, const char *const *tag,
                                              const double *value, int n);

double hl_train_output(const hl_train *t, const step_program *p, int i); /* scalar output */
hl_exec hl_train_exec(const hl_train *t, int64_t step);
HL_MUST_CHECK hl_status hl_train_run_batch(hl_train *t, step_program *p, const hl_batch *b,
                                           int64_t step);

/* printf shows the sign of a NaN, which means nothing. */
static inline double hl_unsigned_nan(double x)
{
    return x == x ? x : (double)__builtin_nanf("");
}

#endif
