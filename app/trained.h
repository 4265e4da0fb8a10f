/* A trained model made again for a command: a run's checkpoint with the script and options it was
 * trained with, a directory of another program, or a quantized checkpoint of either. */
#ifndef HL_APP_TRAINED_H
#define HL_APP_TRAINED_H

#include "app/model_place.h"
#include "app/prepare.h"
#include "engine/base/json.h"

/* Options that such commands have beside HL_PREPARE_OPTIONS. */
#define HL_TRAINED_OPTIONS                                                                         \
    {.name = "checkpoint",                                                                         \
     .type = HL_OPTION_STRING,                                                                     \
     .value = "NAME",                                                                              \
     .help = "of the run: best, last or a step's name; default the last"},                         \
        {.name = "data",                                                                           \
         .type = HL_OPTION_STRING,                                                                 \
         .value = "FILE",                                                                          \
         .help = "text to evaluate on instead of the run's; not with words as tokens"},            \
        {.name = "part",                                                                           \
         .type = HL_OPTION_STRING,                                                                 \
         .value = "NAME",                                                                          \
         .help = "of the data: eval (default), or test where a series has one"},                   \
        {.name = "limit",                                                                          \
         .type = HL_OPTION_INT,                                                                    \
         .value = "N",                                                                             \
         .help = "the first N batches only; default all"},                                         \
    {                                                                                              \
        .name = "other-model", .type = HL_OPTION_FLAG,                                             \
        .help = "let -s change what the model was trained with"                                    \
    }

/* Which model, and what of it is asked; strings are borrowed. */
typedef struct hl_trained_ask {
    const char *name;       /* RUN, CHECKPOINT or DIR */
    const char *checkpoint; /* NULL: the last */
    const char *data;       /* text to evaluate on, or NULL */
    const char *part;       /* "eval" (NULL too) or "test" */
    const char *pred_dir;   /* forecasts are written there; NULL: nowhere */
    int64_t limit;          /* batches of an evaluation; 0: all */
    bool other_model;       /* -s may change what it was trained with */
    bool same_batches;      /* training batches as large as those of evaluation */
    bool may_be_quantized;  /* else a quantized checkpoint is refused */
} hl_trained_ask;

/* As the first argument and HL_TRAINED_OPTIONS of a command line say. */
hl_trained_ask hl_trained_ask_of(const hl_cli *cli);

typedef struct hl_trained {
    hl_trained_ask ask;
    hl_model_place place;
    char *script; /* of the run */
    hl_json *config;
    hl_json *quantized; /* quantization.json of a quantized checkpoint, else NULL */
    hl_prepared p;
} hl_trained;

/* To an experiment with its data open. cli: where runs are, and HL_PREPARE_OPTIONS. *usage: the
 * error is one of the command line. Done with hl_trained_done in any case. */
HL_MUST_CHECK hl_status hl_trained_open(const hl_cli *cli, const hl_trained_ask *ask,
                                        hl_trained *out, bool *usage);
/* What a driver needs to evaluate it. */
hl_train_setup hl_trained_setup(const hl_trained *t);
/* In float: loads the weights, evaluates, and gives the driver (the caller's, also after a failure)
 * and the result as hl_train_result_json gives it. *seconds: of the evaluation alone. */
HL_MUST_CHECK hl_status hl_trained_evaluate(const hl_trained *t, hl_train **driver,
                                            hl_json **result, double *seconds);
/* The checkpoint's weights into the experiment's parameters. */
HL_MUST_CHECK hl_status hl_trained_load(const hl_trained *t, hl_train *driver);
void hl_trained_done(hl_trained *t);

#endif
