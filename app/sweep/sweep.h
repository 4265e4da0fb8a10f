/* The trials of a sweep: which there are, what became of each, running those that are missing, and
 * the final table. A trial is an ordinary run, made by a worker process of its own; what was done
 * is read from the run directories, so nothing is kept anywhere else, and starting a sweep again
 * means looking at them again. One thread uses a sweep. */
#ifndef HL_SWEEP_H
#define HL_SWEEP_H

#include "app/hl_app.h"

typedef enum hl_trial_state {
    HL_TRIAL_NEW,
    HL_TRIAL_INTERRUPTED, /* by a signal, or killed: it can be resumed */
    HL_TRIAL_QUEUED,      /* a task of Slurm has it, whose worker is not there yet or not any more */
    HL_TRIAL_LIVE,        /* a worker that is not ours is at it: an earlier sweep's, say */
    HL_TRIAL_RUNNING,     /* our worker is */
    HL_TRIAL_DONE,
    HL_TRIAL_STOPPED, /* by request: taken as meant */
    HL_TRIAL_FAILED,
    HL_TRIAL_STATE_COUNT
} hl_trial_state;

const char *hl_trial_state_name(hl_trial_state s);

typedef struct hl_trial {
    char *name;            /* of its run: "opt:lr=0.001,seed=2" */
    const hl_json *values; /* [[path, text, key], ...], borrowed from the plan */
    hl_trial_state state;
    bool wanted;                      /* it is to be run in this session */
    uint64_t key;                     /* hl_lua_sweep_key */
    char *dir;                        /* of its run; NULL: none yet */
    hl_run *run;                      /* opened when it is over, for its results; else NULL */
    char message[HL_ERR_MESSAGE_MAX]; /* why it failed */
    char job[80];                     /* the task that has it, "123_4"; "": none (slurm.h) */
    char *task_log;                   /* of the last task that had it; NULL: none had */
    /* while it runs */
    hl_launch *launch;
    int64_t pid, t_start_ns, t_end_ns;
    bool told_to_stop;
} hl_trial;

typedef struct hl_sweep {
    const char *name; /* borrowed from the plan, as values are */
    hl_json *plan;
    hl_trial *trials;
    size_t n;
} hl_sweep; /* {0} is empty */

/* From the plan of hl_lua_plan_sweep, which it takes over. */
HL_MUST_CHECK hl_status hl_sweep_init(hl_sweep *s, hl_json *plan);
void hl_sweep_done(hl_sweep *s);
/* Takes a point out again: `where` does not want it. */
void hl_sweep_drop(hl_sweep *s, size_t i);

/* What the store knows of each trial. A run belongs to a trial if name and identity are equal;
 * `identify` is asked for the identity only where a run has the name. Of several runs a finished
 * one counts, else the newest. Called again, it finds what was made or finished since. */
typedef hl_status hl_trial_identify(void *arg, const hl_trial *t, uint64_t *identity);
HL_MUST_CHECK hl_status hl_sweep_look(hl_sweep *s, const char *runs_dir,
                                      hl_trial_identify *identify, void *arg);

/* ---- running (queue.c) ---- */

typedef struct hl_sweep_queue {
    hl_sweep *sweep;
    int jobs;
    const char *runs_dir;
    void *arg;
    /* The command line of a worker for the trial; resume: id of the run to go on with, or NULL.
     * Words are borrowed until the next call. NULL: NOMEM set. */
    char **(*worker_line)(void *arg, const hl_trial *t, const char *resume);
    int (*stop_signal)(void *arg);                 /* 0, or SIGINT or SIGTERM */
    void (*changed)(void *arg, const hl_trial *t); /* it was started, or it is over */
} hl_sweep_queue;

/* Runs the wanted trials, at most `jobs` at once; trials that live count among them and are waited
 * for. After a stop signal all of them are sent SIGTERM and waited for. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_sweep_run(const hl_sweep_queue *q);

/* ---- reporting (report.c) ---- */

/* One JSON object: {"sweep", "trials": [{name, run, state, values, result}], "rows": [{values, n,
 * metrics: {name: {mean, std, n}}}], "horizons" (app/store/horizons.h)}; a row is a point, its
 * seeds folded. */
HL_MUST_CHECK hl_status hl_sweep_to_json(const hl_sweep *s, hl_str *out);
/* The same as a table for people: mean (standard deviation). metrics: which columns; n 0: the main
 * ones that the results have, and of series a table by horizon behind it. */
HL_MUST_CHECK hl_status hl_sweep_to_text(const hl_sweep *s, const char *const *metrics, size_t n,
                                         hl_str *out);
/* "eval_loss 2.05  perplexity 7.8" of a finished trial. */
HL_MUST_CHECK hl_status hl_trial_result_text(const hl_trial *t, hl_str *out);

#endif
