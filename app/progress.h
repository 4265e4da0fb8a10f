/* The progress display of a run without a screen. On a terminal one line is rewritten in place, at
 * most 5 times a second and never wider than the window; elsewhere full lines, at most one every
 * 30 s and one per event, without escapes; with `json` one object per line on standard output:
 *   {"v":1,"t":<unix
 * seconds>,"ev":"step","step":..,"steps":..,"loss":..,"loss_z":..,"grad_norm":..,
 *    "grad_norm_z":..,"lr":..,"step_ms":..,"items_per_s":..,"unit":"tok","eta_s":..,"max_abs":..,
 *    "n_non_finite":..}      unknown members are absent
 *   {"v":1,"t":..,"ev":"eval","step":..,"text":"..",<the event's own members>}
 *   {"v":1,"t":..,"ev":"phase","phase":"..","fraction":..}
 *   {"v":1,"t":..,"ev":"end","step":..,<members given to finish>}
 *
 * For one thread (control). Output never blocks: what a reader does not take waits, step lines are
 * left out meanwhile. A reader that is gone ends the printing, not the run; SIGPIPE must be
 * ignored. When the terminal hangs up and the stream is redirected, plain lines go on there. */
#ifndef HL_APP_PROGRESS_H
#define HL_APP_PROGRESS_H

#include "engine/base/err.h"

#define HL_PROGRESS_VERSION 1

typedef struct hl_progress hl_progress;

/* 0 in the last four means: ask the environment (locale, NO_COLOR and TERM) or the system. */
typedef struct hl_progress_options {
    bool json;
    bool quiet;          /* errors only */
    int64_t every_steps; /* a line each N steps instead of by time (JSON: 10/s); 0: by time */
    const char *unit;    /* of n_items, "tok"; NULL: no rate. Borrowed, as long as the display */
    int err_fd, out_fd;  /* 0: 2 (progress, events) and 1 (JSON, final table) */
    int utf8, color;     /* 1 yes, -1 no */
    int64_t (*clock_ns)(void);
} hl_progress_options;

typedef struct hl_progress_step_info {
    int64_t step, steps;           /* done so far, in all; steps <= 0: unknown */
    double loss;                   /* may be NaN: shown as such */
    double grad_norm, lr, max_abs; /* negative: unknown */
    int64_t n_non_finite;          /* values in the watched tensors; negative: unknown */
    int64_t n_items;               /* of this step */
} hl_progress_step_info;

typedef enum hl_progress_kind {
    HL_PROGRESS_INFO,
    HL_PROGRESS_EVAL,
    HL_PROGRESS_CHECKPOINT,
    HL_PROGRESS_CONTROL,
    HL_PROGRESS_ALERT,
    HL_PROGRESS_ERROR, /* printed even when quiet */
    HL_PROGRESS_KIND_COUNT
} hl_progress_kind;

HL_MUST_CHECK hl_status hl_progress_new(const hl_progress_options *options, hl_progress **out);
void hl_progress_free(hl_progress *p);

/* What happens before the first step; fraction of it done, negative: unknown. */
void hl_progress_phase(hl_progress *p, const char *name, double fraction);
/* Call after every step; cheap unless a line is due, no allocation once warm. */
void hl_progress_step(hl_progress *p, const hl_progress_step_info *info);
/* A full line now (SIGUSR2), also when quiet. */
void hl_progress_show(hl_progress *p);
/* json: an object whose members join the line, or NULL. text may have several lines. */
void hl_progress_event(hl_progress *p, hl_progress_kind kind, const char *text, const char *json);
/* The last line, then the final table and the "end" object (either may be NULL). The table goes to
 * standard output, with `json` to standard error. Waits up to 2 s for a slow reader. */
void hl_progress_finish(hl_progress *p, const char *table, const char *json);

#endif
