/* Runs, for those who look at them: lists, states, configuration, series, tables, log lines.
 * Everything here reads; nothing changes a run directory. A handle belongs to one thread at a time;
 * different handles are independent. Strings are UTF-8 as stored: whoever prints them on a terminal
 * must take out control characters. */
#ifndef HL_APP_H
#define HL_APP_H

#include "app/exp/sink.h"
#include "app/list/deep_key.h"
#include "app/project.h"
#include "app/store/forecast_table.h"
#include "app/store/spellings.h"
#include "engine/base/json.h"

/* ---- state ---- */

/* reason of a paused run whose process is gone by design (app/release.h) */
#define HL_REASON_RELEASED "released"

typedef enum hl_run_state {
    HL_RUN_UNKNOWN, /* a directory that says nothing about itself: another program's events */
    HL_RUN_QUEUED,
    HL_RUN_STARTING,
    HL_RUN_RUNNING,
    HL_RUN_PAUSED,
    HL_RUN_EVALUATING,
    HL_RUN_DONE,
    HL_RUN_STOPPED,     /* by request */
    HL_RUN_FAILED,      /* script or device error */
    HL_RUN_DIVERGED,    /* not finite, and the script said stop */
    HL_RUN_INTERRUPTED, /* signal; a checkpoint is written */
    HL_RUN_SILENT,      /* alive or maybe so, but later than it announced */
    HL_RUN_LOST,        /* the process went without a farewell */
    HL_RUN_STATE_COUNT
} hl_run_state;

const char *hl_run_state_name(hl_run_state s);    /* "running" */
hl_run_state hl_run_state_from(const char *name); /* UNKNOWN for anything else */
bool hl_run_state_is_final(hl_run_state s);       /* DONE to INTERRUPTED: said by the run itself */

/* ---- one run in a list ---- */

#define HL_TRACE_MAX 32

/* The newest quantization of a run by one recipe, as its summary has it (quantize/RECIPE). */
enum { HL_RUN_QUANTS = 6 };
typedef struct hl_run_quant {
    uint64_t key;    /* of the recipe: hl_quant_key of its tag */
    char recipe[80]; /* cut where it is longer */
    char metric[24]; /* what the values are: "perplexity" */
    int64_t step;
    double time;                          /* unix seconds */
    double in_float, quantized, executed; /* NAN: not known */
} hl_run_quant;
bool hl_quant_is_tag(const char *tag); /* "quantize/W8A8" */
uint64_t hl_quant_key(const char *tag);

/* One scalar series as the summary knows it; NAN and -1: not known. min, max and mean are over
 * finite values. */
typedef struct hl_run_scalar {
    const char *tag;
    int64_t n, n_non_finite;
    double last, min, max, mean;
    int64_t last_step, min_step, max_step;
    int64_t bad_step; /* first non-finite one, if n_non_finite > 0 */
} hl_run_scalar;

/* A leaf of config.json, "optim.lr", or of run.json, "run.script". */
typedef struct hl_run_value {
    const char *key, *text;
    double number; /* NAN: it is none */
} hl_run_value;

/* Sorted by key, and by tag. */
typedef struct hl_run_values {
    size_t n;
    const hl_run_value *at;
} hl_run_values;
typedef struct hl_run_metrics {
    size_t n;
    const hl_run_scalar *at;
} hl_run_metrics;

/* Borrowed from the list or run it came from, until its next refresh. Texts are never NULL. */
typedef struct hl_run_row {
    const char *id, *name, *project, *tags; /* tags: separated by blanks */
    const char *dir;
    const char *reason;  /* "script", "diverged", "store", "device", "signal", "request" or "" */
    const char *message; /* the reason in words, or "" */
    const char *phase;   /* what it announced to be doing: "compiling", "evaluating", or "" */
    const char *host;    /* where it runs or ran, or "" */
    int64_t pid;         /* 0: unknown */
    hl_run_state state;
    int64_t step, step_total;        /* -1: unknown */
    int64_t t_start_us, t_last_us;   /* first and last event, unix time; 0: none yet */
    double late_s;                   /* past its own announced next sign of life; 0: in time */
    const char *loss_tag, *eval_tag; /* the series that `loss` and `eval` come from; "": none */
    double loss, eval;               /* last values */
    const char *checkpoint;          /* path of the last one within dir, or "" */
    const char *variant; /* what the attention normalises with: "softmax1", "clipped+gate", or "" */
    bool has_max_inf_norm, has_kurtosis;
    double max_inf_norm, kurtosis; /* last eval/max_inf_norm and eval/avg_kurtosis */
    int64_t n_non_finite;          /* points of all scalar series that are NaN or infinite */
    uint64_t method; /* hash of config.json without seed, name and tags; 0: it is not there */
    hl_run_quant quant[HL_RUN_QUANTS]; /* the newest ones, in the order of the summary */
    int n_quant;
    float trace[HL_TRACE_MAX]; /* the series loss_tag from its first point to its last, as means */
    int n_trace;               /* of equally many points; NaN where one of them is not finite */
    const char *note;          /* what somebody wrote about it, or "" */
    int64_t n_turned;          /* changes of knobs and evaluations from outside */
    bool archived, pinned;     /* as somebody said (notes.json) */
    bool mine;                 /* its directory belongs to this user */
    bool waits; /* a sweep is going to make it: there is no directory yet */
    const hl_run_values *config;   /* NULL: not known */
    const hl_run_metrics *metrics; /* without those of single activations; NULL: not known */
} hl_run_row;
const hl_run_value *hl_run_row_value(const hl_run_row *row, const char *key);   /* NULL: none */
const hl_run_scalar *hl_run_row_metric(const hl_run_row *row, const char *tag); /* NULL: none */

/* Runs of a store directory, oldest first. Reads one small file per run; a run without it (deleted,
 * or another program's) is read from its events, which takes longer. */
typedef struct hl_run_list hl_run_list;
/* A missing directory is an empty list. Errors: IO, NOMEM. */
HL_MUST_CHECK hl_status hl_run_list_open(const char *runs_dir, hl_run_list **out);
/* With the runs that sweeps have not started yet: queued, and their directories are not there. */
HL_MUST_CHECK hl_status hl_run_list_open_all(const char *runs_dir, hl_run_list **out);
/* Looks again, reading only what changed. */
HL_MUST_CHECK hl_status hl_run_list_refresh(hl_run_list *list);
/* Grows by a refresh that changed a row, added one or took one away. */
int64_t hl_run_list_changes(const hl_run_list *list);
size_t hl_run_list_n(const hl_run_list *list);
const hl_run_row *hl_run_list_at(const hl_run_list *list, size_t i);
/* From now on the rows have these among their metrics, each with its text as its tag: n 0 until its
 * value has been read from the run's events. */
void hl_run_list_want(hl_run_list *list, const hl_deep_keys *keys);
/* Reads what hl_run_list_want asked for, for about so long (0: all of it); true: there is more. */
bool hl_run_list_dig(hl_run_list *list, int64_t budget_ns);
void hl_run_list_close(hl_run_list *list);

/* The directory (owned by the caller) of the run a user means: a path, an id, a name, a unique head
 * or tail of an id, or "last". Errors: NOTFOUND (the message lists near or several candidates). */
HL_MUST_CHECK hl_status hl_run_find(const char *runs_dir, const char *run, char **dir);

/* ---- one run ---- */

typedef struct hl_run hl_run;

HL_MUST_CHECK hl_status hl_run_open(const char *dir, hl_run **out);
void hl_run_close(hl_run *run);
/* Reads state and summary again. */
HL_MUST_CHECK hl_status hl_run_refresh(hl_run *run);

const hl_run_row *hl_run_get_row(const hl_run *run);
/* Parsed files; NULL when missing or unreadable. summary is replaced by hl_run_refresh. */
const hl_json *hl_run_facts(const hl_run *run);   /* run.json */
const hl_json *hl_run_config(const hl_run *run);  /* config.json */
const hl_json *hl_run_summary(const hl_run *run); /* summary.json, or the same from the events */
const hl_json *hl_run_tables(const hl_run *run);  /* final tables in it: {tag: object} */

size_t hl_run_scalar_n(const hl_run *run);
bool hl_run_scalar_at(const hl_run *run, size_t i, hl_run_scalar *out);
bool hl_run_scalar_find(const hl_run *run, const char *tag, hl_run_scalar *out);

/* ---- what happened in it ---- */

typedef struct hl_series_info {
    const char *tag;
    hl_series_kind kind;
    const char *content; /* JSON: "table", "log", "control", "alert", "artifact", "state",
                            "heartbeat", "text"; else "" */
} hl_series_info;

/* The unit of a series that the program itself logs ("sys/step_ms": "ms"), "" where it has none.
 * What a script declares is in the events (content "units") and goes first. */
const char *hl_series_unit(const char *tag);

/* rows x cols floats, row-major; a vector has one row. */
typedef struct hl_curve {
    const float *v;
    size_t rows, cols;
} hl_curve;

/* Called while events are read, in the order of the file. `series` is an index for
 * hl_run_series_at, which knows it from the first call on. Members that are NULL are skipped;
 * pointers are borrowed for the call. */
typedef struct hl_run_visitor {
    void *self;
    void (*point)(void *self, size_t series, int64_t step, int64_t t_us, double value);
    void (*hist)(void *self, size_t series, int64_t step, int64_t t_us, const hl_hist *h);
    void (*curve)(void *self, size_t series, int64_t step, int64_t t_us, const hl_curve *c);
    /* text: n bytes of JSON, NUL-terminated */
    void (*json)(void *self, size_t series, int64_t step, int64_t t_us, const char *text, size_t n);
    /* The run was resumed: points, histograms, curves and tables with step >= from that were given
     * before no longer count. Log lines, states and control history stay. */
    void (*superseded)(void *self, int64_t from);
} hl_run_visitor;

/* Gives the events since the last call, at most about max_bytes of file (0: all there is).
 * *more: there was more to read right now. */
HL_MUST_CHECK hl_status hl_run_poll(hl_run *run, const hl_run_visitor *v, int64_t max_bytes,
                                    bool *more);
/* Bytes of event files read by hl_run_poll, and in all: "reading 31 % of 2.1 GB". */
void hl_run_progress(const hl_run *run, int64_t *done, int64_t *total);
/* Places in them that hl_run_poll skipped because they were damaged. */
int64_t hl_run_damages(const hl_run *run);
/* The line of the log that a JSON event of this content makes; gives its level (I, W, E, C for a
 * control, S for a state), 0 for none. */
char hl_event_line(const char *content, const hl_json *event, char *text, size_t n);
/* The same for a flag (app/flag.h), a table of its own. */
char hl_flag_line(const hl_json *flag, char *text, size_t n);
/* Is this event of content "control" a change of a knob that was made, by somebody from outside or
 * by a replay of one? */
bool hl_control_turns_knob(const hl_json *event);
/* ... that evaluated a text in the run, which may have changed anything, also where it failed */
bool hl_control_evaluates(const hl_json *event);
#define HL_CONTROL_FAILED "failed" /* status of an evaluation that raised or took too long */
/* One pass over all events from the first one; leaves hl_run_poll where it is. with_superseded:
 * also what a later resume replaced. */
HL_MUST_CHECK hl_status hl_run_scan(hl_run *run, const hl_run_visitor *v, bool with_superseded);

/* Series met so far by hl_run_poll or hl_run_scan; indices stay. */
size_t hl_run_series_n(const hl_run *run);
hl_series_info hl_run_series_at(const hl_run *run, size_t i);
int64_t hl_run_series_find(const hl_run *run, const char *tag, hl_series_kind kind); /* -1: none */

/* All points of one scalar series, in file order. Errors: NOTFOUND, IO, NOMEM. */
typedef struct hl_run_points {
    int64_t *step, *t_us;
    double *value;
    size_t n;
} hl_run_points;
HL_MUST_CHECK hl_status hl_run_read_points(hl_run *run, const char *tag, hl_run_points *out);
void hl_run_points_done(hl_run_points *p);

/* Right edge of bin i of an hl_hist; DBL_MAX for the last. */
double hl_hist_edge(int i);

/* ---- which runs ---- */

#include "app/list/filter.h"
#include "app/list/run_key.h"

#include "app/store/run_edit.h"

/* ---- all of it, from a thread that must not wait ---- */

#include "app/store/log_page.h"
#include "app/watch/watch.h"

/* ---- files that others read: figures and fields of CSV ---- */

#include "app/export/bars_figure.h"
#include "app/export/heat_figure.h"
#include "app/export/line_chart.h"
#include "app/export/paper.h"
#include "app/formula.h"
/* ---- several of them ---- */

#include "app/compare/compare.h"

/* ---- doing something to runs, and the screen itself ---- */

#include "app/bus/client.h"
#include "app/proc/editor.h"
#include "app/proc/job.h"
#include "app/proc/launch.h"
#include "app/scripting.h"
#include "app/workbench.h"

#endif
