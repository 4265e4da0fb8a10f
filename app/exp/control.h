/* Requests to a run, and what the driver tells about it, as tables of functions: the driver knows
 * neither socket nor screen. */
#ifndef HL_EXP_CONTROL_H
#define HL_EXP_CONTROL_H

#include "engine/base/json.h"

typedef enum hl_request_kind {
    HL_REQUEST_PAUSE,
    HL_REQUEST_RESUME,
    HL_REQUEST_STOP,
    HL_REQUEST_CHECKPOINT,
    HL_REQUEST_EVAL,
    HL_REQUEST_QUANTIZE,
    HL_REQUEST_SET,
    HL_REQUEST_KNOBS,
    HL_REQUEST_LUA,
    HL_REQUEST_STATUS_LINE,
    HL_REQUEST_OTHER /* known to the socket, not to this driver */
} hl_request_kind;

typedef struct hl_request {
    hl_request_kind kind;
    int64_t id;
    char name[48];       /* SET: knob; OTHER: the command */
    double value;        /* SET; NAN: back to what it was */
    char text[96];       /* SET lr: a schedule (hl_schedule_read) from here on; CHECKPOINT: its name;
                          * EVAL: "eval", "test" or "train"; PAUSE: "release". "": none of it */
    const hl_json *args; /* QUANTIZE: "set" (a list of "quantize.PATH=VALUE"), "sensitivity" and
                          * "limit" (batches). NULL: none; borrowed until it is answered */
    const char *code;    /* LUA: what to evaluate; borrowed likewise */
    bool checkpoint;     /* STOP: write one first */
    char who[64];        /* for the record: "uid 1000 pid 42", "callback spike_guard" */
} hl_request;

enum { HL_ANSWER_MAX = 8192 }; /* bytes of what an evaluation (LUA) gives */

typedef enum hl_train_phase {
    HL_PHASE_COMPILING,
    HL_PHASE_TRAINING,
    HL_PHASE_PAUSED,
    HL_PHASE_EVALUATING,
    HL_PHASE_QUANTIZING,
    HL_PHASE_SAVING,
    HL_PHASE_COUNT
} hl_train_phase;

/* What just happened in a step; fields that do not apply are NAN or -1. */
typedef struct hl_train_report {
    int64_t step, max_steps, epoch;
    double loss, grad_norm, lr, step_ms, max_abs;
    int64_t n_items, n_bad; /* tokens or samples, values that are not finite; in this step */
    bool samples; /* now and then: time to look at the machine */
} hl_train_report;

typedef enum hl_notice {
    HL_NOTICE_EVAL,
    HL_NOTICE_SAVE,
    HL_NOTICE_CONTROL,
    HL_NOTICE_ALERT,
    HL_NOTICE_INFO
} hl_notice;

/* All called by the driver's thread. Every function must be there. */
typedef struct hl_train_host {
    void *self;
    /* The next request, if there is one: a look at a flag. */
    bool (*take)(void *self, hl_request *out);
    /* Outcome of request `id`: HL_OK applied at `step`, the text says what came of it (of KNOBS: a
     * JSON object) or is empty; else refused with the text. */
    void (*answer)(void *self, const hl_request *c, hl_status st, int64_t step, const char *text);
    /* Sleeps until something may have come, at most ms. */
    void (*wait)(void *self, int64_t ms);
    /* 0, or the signal that asks the run to end after this step with a checkpoint. */
    int (*stop_signal)(void *self);
    /* Does a request to stop wait for this one to end? A look at a flag. */
    bool (*stop_waits)(void *self);
    /* What goes on within a phase: "quantizing, 12 of 47 tensors". */
    void (*doing)(void *self, const char *text);
    void (*phase)(void *self, hl_train_phase phase, int64_t step);
    void (*report)(void *self, const hl_train_report *r); /* every step */
    void (*notice)(void *self, hl_notice kind, int64_t step, const char *text, const char *json);
    /* A checkpoint directory is complete: pointers and retention are the host's. */
    void (*saved)(void *self, const char *name, int64_t step, bool best);
    /* A file of this name in the run directory, replaced as a whole; failing is not the run's
     * matter. */
    void (*artifact)(void *self, const char *name, const char *text);
} hl_train_host;

/* A host that takes no requests and tells nobody anything: for drivers that only measure. */
hl_train_host hl_silent_host(void);

#endif
