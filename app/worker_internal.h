/* Shared by the files of the worker; never leaves app. */
#ifndef HL_APP_WORKER_INTERNAL_H
#define HL_APP_WORKER_INTERNAL_H

#include "app/bus/bus.h"
#include "app/hl_app.h"
#include "app/proc/system.h"
#include "app/progress.h"
#include "app/store/writer.h"
#include "app/worker.h"
#include "engine/base/vec.h"

/* A change of a knob, or a text that was evaluated, that another run met after this step. */
typedef struct hl_replayed {
    int64_t step;
    char knob[48];
    double value; /* NAN: back to what it was */
    char text[96];
    char *code; /* owned; NULL: it is a knob */
} hl_replayed;

enum { HL_ALERT_CALLS = 4 };

typedef struct worker {
    const hl_cli *cli;
    const hl_worker_options *o;
    hl_prepared *p;
    hl_train *train;
    hl_progress *progress;
    hl_writer *writer;
    hl_bus *bus;
    hl_system *system; /* NULL: not looked at */
    hl_str gpus;       /* the cards, as JSON for run.json; "" without any */
    int64_t t_system_ns;
    char *dir, *ckpt_dir; /* of the run */
    char *resume_from;    /* checkpoint directory, or NULL */
    int64_t resume_step;  /* of it; -1: not resuming; 0: from the start */
    hl_flag give_up;      /* the run ends: the store must not wait for a full disk */
    hl_bus_state state;
    bool told_interrupt;
    hl_flag stop_waits;    /* a request to stop was accepted, and not yet begun */
    int64_t holder_seen;   /* changes of the controls' holder that are recorded */
    int64_t alert_call[HL_ALERT_CALLS]; /* processes that tell of alerts; 0: none */
    int64_t trouble_since; /* of the store, as last told */
    int64_t t_heartbeat_ns;
    hl_run *replay_of; /* while it is read */
    HL_VEC(hl_replayed) replay;
    size_t replayed;
    bool replay_failed;
    char replay_id[48];   /* "": of no run */
    int failed;           /* exit status of a study that failed */
    char checkpoint[64]; /* last one, relative to the run directory */
    hl_str result_text, result_json;
} worker;

hl_train_host hl_worker_host(worker *w);                   /* worker_host.c */
void hl_worker_accepted(void *w, const hl_bus_request *r); /* on the net thread */
/* Runs the study; result_json and result_text become what it gives. */
HL_MUST_CHECK hl_status hl_worker_study(worker *w, hl_train_end *end); /* worker_study.c */

/* worker_replay.c: what was asked of another run and changed it, of which those before the resumed
 * step are over */
HL_MUST_CHECK hl_status hl_worker_replay_open(worker *w, const char *run);
bool hl_worker_replay_next(worker *w, hl_request *out); /* whose step has come */
void hl_worker_replay_done(worker *w);

/* worker_system.c: processor, memory, disk and cards as series sys/ of the run */
void hl_worker_system_open(worker *w); /* without them where it fails */
void hl_worker_system_log(worker *w, int64_t step);
/* The same, at most every ten seconds: for studies, which have no steps. */
void hl_worker_system_now_and_then(worker *w, int64_t step);
void hl_worker_system_close(worker *w);

/* worker_dir.c: finds or makes the run directory; sets dir, ckpt_dir, resume_* */
HL_MUST_CHECK hl_status hl_worker_find_resume(worker *w, bool *none);
/* Loads the checkpoint to resume from; where it is damaged and was not asked for by name, an older.
 */
HL_MUST_CHECK hl_status hl_worker_load(worker *w);
HL_MUST_CHECK hl_status hl_worker_make_dir(worker *w);
HL_MUST_CHECK hl_status hl_worker_put_scripts(worker *w);
void hl_worker_keep(worker *w, const char *name, int64_t step, bool best);

#endif
