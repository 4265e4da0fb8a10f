/* What the screen knows: the rows of the run list, and the events of the runs that somebody looks
 * at. Fed with the items of hl_watch; draws nothing, reads no file, knows no terminal. */
#ifndef HL_VIEWS_MODEL_H
#define HL_VIEWS_MODEL_H

#include "app/hl_app.h"
#include "engine/base/vec.h"
#include "views/derived.h"
#include "views/forecasts.h"
#include "views/log_window.h"
#include "views/quants.h"
#include "views/solves.h"
#include "views/widgets/pyramid.h"
#include "views/widgets/smooth.h"

typedef struct hl_hist_at {
    int64_t step;
    hl_hist *hist; /* owned */
} hl_hist_at;

/* Histograms kept of one series; when there are more, every second one goes and from then on only
 * every second one is kept, so they stay spread over the run. The newest is always there. */
enum { HL_HISTS_KEPT = 64 };

/* A statistic of the histograms kept, as layers.c made it last. */
typedef struct hl_of_hists {
    hl_pyramid *points;
    int statistic;
    int64_t n_hists;
    double lo, hi;
} hl_of_hists;

typedef struct hl_data {
    char *tag;
    hl_series_kind kind;
    char content[16];
    hl_pyramid *points; /* SCALAR and WIDE: step against value */
    hl_smooth *smooth;  /* made when first asked for */
    hl_derived over, versus; /* over another x than steps; relative to another run: of the view
                                that is shown */
    hl_pyramid *replaced;    /* points that a resumed run wrote anew, parts ended by NaN; or NULL */
    HL_VEC(hl_hist_at) hists;
    int64_t n_hists; /* ever met */
    int hist_stride;
    hl_of_hists of_hists;
    hl_solves solves;                         /* CURVE with such a tag; other curves are not kept */
    int statistic;                            /* hl_statistic of an activation, or -1 */
    int64_t last_step, t_first_us, t_last_us; /* of its points */
} hl_data;

/* What the outliers of all watched activations come to, made here as points come in. */
typedef enum hl_statistic { HL_STAT_INF_NORM, HL_STAT_KURTOSIS, HL_STATISTICS } hl_statistic;

typedef struct hl_gathered {
    hl_data *data; /* complete steps: the maximum, or the mean */
    int64_t step;  /* the one that is coming in */
    double sum;    /* so far, or maximum */
    int n;
    bool shown; /* that is in `data` already */
} hl_gathered;

/* When which step was reached, spread over the run: every stride-th new step. */
enum { HL_PACE_KEPT = 128 };
typedef struct hl_pace {
    int64_t step[HL_PACE_KEPT], t_us[HL_PACE_KEPT];
    int n, stride;
    int64_t n_met, last_step;
} hl_pace;
/* Seconds per step over the newest tenth of the steps, pauses included, and how far the halves of
 * it are apart; false: too little is known. */
bool hl_pace_get(const hl_pace *p, double *seconds, double *spread);

/* A series that is computed: its tag is "= " and the formula. */
typedef struct hl_computed {
    hl_data *data;
    hl_formula formula;
    bool is_parsed; /* all its series were there */
    size_t n_taken;
    uint64_t edits; /* of its series */
} hl_computed;
/* A place that somebody flagged (app/flag.h). */
typedef struct hl_flagged {
    char place[128], text[160];
    int64_t step;
} hl_flagged;

/* A change of a knob that was applied. */
typedef struct hl_knob_change {
    char name[48];
    double value; /* NaN: back to what it was */
    int64_t step;
} hl_knob_change;

/* From which rows of the data steps are made. */
typedef struct hl_data_order {
    int64_t rows, batch, accumulate; /* rows an epoch; 0: not known */
    bool carries;                    /* batches go on across the ends of epochs */
} hl_data_order;
/* The first row of a step's batches (step >= 1) in its epoch's order, and how many it takes; false:
 * not known. *n may reach into the next epoch. */
bool hl_data_order_at(const hl_data_order *o, int64_t step, int64_t *epoch, int64_t *row,
                      int64_t *n);

/* A run that is followed. */
typedef struct hl_watched {
    char *dir; /* NULL: free */
    int slot;
    HL_VEC(hl_data *) series;            /* by the number the watcher gave */
    HL_VEC(hl_computed) computed;        /* by hl_watched_compute */
    hl_gathered gathered[HL_STATISTICS]; /* over all watched activations, per step */
    hl_pace pace;
    hl_step_clock clock;
    hl_quants quants;
    hl_forecasts forecasts;
    HL_VEC(hl_flagged) flags;
    HL_VEC(hl_knob_change) changes;
    hl_data_order order;
    hl_json *units; /* of series, as declared; NULL: none was */
    hl_spellings spellings;
    HL_VEC(hl_log_line) log; /* its newest lines */
    int64_t log_first;       /* number of the oldest of them: how many are gone */
    hl_log_window window;    /* of the others, those that somebody looks at */
    hl_run_state state;  /* its own word, up to a second fresher than the list's; or UNKNOWN */
    hl_json *config, *facts;
    hl_json *knobs;  /* what can be changed: name to value, min, max, held; NULL: it did not say */
    char holder[64]; /* who has the controls, by its own word; "": nobody */
    int64_t bytes_done, bytes_total, damages;
    int farewells; /* UNFOLLOWED items still to come of runs that had this slot before */
    int64_t n_alerts; /* warnings and errors since it caught up: the ones that are news */
    bool caught_up;
    char *message; /* why it cannot be read, or NULL */
    uint64_t used; /* for choosing whom to let go */
} hl_watched;

enum { HL_WATCHED_MAX = 16 };

typedef struct hl_model {
    char *runs_dir;
    hl_watch *watch; /* owned */
    hl_run_rows *rows;
    bool has_rows; /* a first list has come */
    char *message; /* why the list cannot be read, or NULL */
    hl_watched watched[HL_WATCHED_MAX];
    uint64_t clock;
    bool has_edited;  /* news of an edit that was asked for, until somebody takes them */
    int edited, n_edited;
    int n_edits; /* asked for and not heard of yet */
    char edit_trouble[300]; /* "": none */
    hl_deep_keys wanted;    /* from the events of all runs */
    int n_wants;            /* asked for and not heard of yet */
    uint64_t n_lists; /* lists that have come: rows are others when it grows */
} hl_model;

HL_MUST_CHECK hl_status hl_model_open(hl_model *m, const char *runs_dir);
void hl_model_close(hl_model *m);

/* Takes what the watcher has, at most for so long; true: something came. Memory that runs out costs
 * points, which is told in the run's log. */
bool hl_model_update(hl_model *m, int64_t limit_ns);

/* The state of a run of the list, from what is newest. */
hl_run_state hl_model_state(hl_model *m, const hl_run_row *row);
const hl_run_row *hl_model_row(const hl_model *m, const char *dir); /* NULL: not in the list */

/* The run's events, followed from now on if they were not; the run used longest ago is let go.
 * NULL: it cannot be followed (hl_err_message). */
hl_watched *hl_model_watch(hl_model *m, const char *dir);
/* Everything that is followed, and the list, has been read to its end. */
bool hl_model_is_settled(const hl_model *m);

/* The log of the run: is what is kept of it its newest part, as far as one can see? While much of
 * its files is still to be read, it is not. */
bool hl_watched_has_end(const hl_watched *w);
/* Asks for lines of it: w->window has them when they have come. */
void hl_model_ask_log(hl_model *m, hl_watched *w, hl_log_ask what, int64_t from);
void hl_model_stop_log(hl_model *m, hl_watched *w); /* the question is dropped */

/* A series by its tag; also those that are gathered here. */
#define HL_TAG_INF_NORM "outliers/max_inf_norm"
#define HL_TAG_KURTOSIS "outliers/mean_kurtosis"
hl_data *hl_watched_series(const hl_watched *w, const char *tag);
/* Brings the series "= FORMULA" up to date, makes it when it is new. ARG: the formula is wrong, or
 * a series of it is not there (yet). */
HL_MUST_CHECK hl_status hl_watched_compute(hl_watched *w, const char *tag);
/* A JSON event of such content, if it declares something (declared.c); and the way back. */
void hl_watched_declare(hl_watched *w, const char *content, int64_t step, const hl_json *v);
void hl_watched_forget_declared(hl_watched *w);
/* What its values are in: as declared, or known by its name; "": nothing. */
const char *hl_watched_unit(const hl_watched *w, const char *tag);
/* Last value; false: none. */
bool hl_watched_last(const hl_watched *w, const char *tag, double *value);
const hl_flagged *hl_watched_flag(const hl_watched *w, const char *place); /* NULL: none */
/* The histogram of the newest step <= step (step < 0: the newest), or NULL. */
const hl_hist *hl_data_hist(const hl_data *d, int64_t step, int64_t *at);

/* "outliers/layer.3/ffn.out/inf_norm": layer "layer.3", site "ffn.out", statistic "inf_norm".
 * "outliers/final.norm/kurtosis": layer "". false: another kind of tag. */
typedef struct hl_tap_name {
    char layer[40], site[64], statistic[32];
} hl_tap_name;
#define HL_HEAD_SITE "/attn.head/" /* a place of single heads: docs/run-format.md */
bool hl_tap_name_from(const char *tag, hl_tap_name *out);

#endif
