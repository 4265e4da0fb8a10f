/* The charts of the Run view: what can be chosen about them, and what their files share.
 * chart_x.c says what x is, chart_lines.c makes the lines, pane_chart.c draws them, chart_keys.c
 * answers keys, popup_chart.c has the menus. screen.h includes this file. */
#ifndef HL_VIEWS_CHARTS_H
#define HL_VIEWS_CHARTS_H

#include "views/bands.h"
#include "views/derived.h"
#include "views/widgets/chart.h"

typedef struct hl_screen hl_screen;
typedef struct hl_watched hl_watched;
typedef struct hl_data hl_data;

typedef enum hl_y_scale { HL_Y_LINEAR, HL_Y_LOG, HL_Y_SYMLOG, HL_Y_SCALES } hl_y_scale;
/* Everything; without the outermost hundredths at both ends; what was asked for. */
typedef enum hl_y_range { HL_Y_FULL, HL_Y_ROBUST, HL_Y_FIXED, HL_Y_RANGES } hl_y_range;

/* Exponential by a factor; over a number of points. */
typedef enum hl_smooth_kind {
    HL_SMOOTH_EMA,
    HL_SMOOTH_MEAN,
    HL_SMOOTH_MEDIAN,
    HL_SMOOTH_KINDS
} hl_smooth_kind;

enum { HL_CHARTS_MAX = 256, HL_PICK_MAX = 160, HL_FOLDS_MAX = 8 };

typedef struct hl_chart_look {
    uint8_t scale, range; /* hl_y_scale, hl_y_range */
    double lo, hi;        /* of FIXED */
} hl_chart_look;

/* Part of the look: undo brings it back. */
typedef struct hl_charts_look {
    uint8_t x;      /* hl_x_axis */
    char x_tag[64]; /* of METRIC */
    hl_crossing align; /* x is 0 there, in every run */
    bool log_x;
    bool zoomed; /* to x_lo .. x_hi, in the units of x */
    double x_lo, x_hi;
    double tail;            /* only the newest stretch of this width; 0: everything */
    uint8_t band;           /* hl_band_kind */
    uint8_t versus;         /* hl_relation: to the run under the cursor */
    uint8_t smooth_by;      /* hl_smooth_kind: what hl_look.smooth is */
    bool superseded;        /* also what a resumed run wrote anew */
    bool large;             /* the focused chart alone */
    char fold[HL_FOLDS_MAX][32]; /* heads of names ("sys/") whose charts are one; "": free */
    char pick[HL_PICK_MAX]; /* patterns of the series that have a chart; "": all */
    hl_chart_look y[HL_CHARTS_MAX];
} hl_charts_look;

typedef struct hl_chart_state {
    char *tag;
    hl_chart chart; /* its axes */
    int place;      /* in the order, moved by hand; 0: where it belongs by its name */
    bool pinned;
    uint64_t edits; /* of the points in the last picture */
    bool reading;   /* not all runs had been read then */
    hl_band *bands; /* of HL_GROUPS_MAX groups; NULL: none were needed yet */
    /* the robust range and what is outside, of the data that `robust_of` is a hash of */
    uint64_t robust_of;
    double robust_lo, robust_hi;
} hl_chart_state;

/* Something worth remembering at a step of a run; kept until the screen is left. */
typedef struct hl_chart_note {
    char *dir, *text; /* owned */
    int64_t step;
} hl_chart_note;

enum { HL_GROUPS_MAX = 8, HL_CHART_LINES_MAX = 32, HL_CHART_MARKS_MAX = 40 };

/* ---- which charts (pane_chart.c) ---- */

/* The charts of the run and the place of the focused one: the first until one was chosen. */
bool hl_charts_list(hl_screen *s, int charts[HL_CHARTS_MAX], int *n, int *place);
/* The place of the head of its name among those that are folded; -1: it is not. */
int hl_chart_fold_of(const hl_screen *s, int chart);
/* The focused chart's group becomes one, or many again. */
void hl_chart_fold(hl_screen *s);
/* The focused chart; -1: there is none. */
int hl_charts_focused(hl_screen *s);
/* A chart of a series that is computed ("= FORMULA"), pinned and focused. false: no room. */
bool hl_charts_add(hl_screen *s, const char *tag);
int hl_charts_per_page(const hl_screen *s);
void hl_charts_free(hl_screen *s);
/* -1: smaller is better, 1: larger is, 0: neither. */
int hl_chart_goal(const char *tag);

/* ---- what they show (chart_lines.c, chart_x.c) ---- */

/* A line with what it was made of. */
typedef struct hl_chart_source {
    const hl_pyramid *raw;    /* over steps; NULL: of a group */
    const hl_pyramid *counts; /* of a group: its members at each x */
    const hl_watched *run;    /* NULL: of a group */
    char name[64];
} hl_chart_source;

typedef struct hl_chart_lines {
    int n;
    hl_chart_line line[HL_CHART_LINES_MAX];
    hl_chart_source of[HL_CHART_LINES_MAX];
} hl_chart_lines;
void hl_chart_lines_make(hl_screen *s, int chart, hl_chart_lines *out);
/* How a run counts x; align NULL: from its start. */
typedef struct hl_x_wanted {
    hl_x_axis kind;
    const char *tag; /* of METRIC */
    const hl_crossing *align;
} hl_x_wanted;
hl_x_map hl_x_map_of(const hl_screen *s, const hl_watched *w, const hl_x_wanted *want);
/* The points of a series of the run over the charts' x; NULL: no memory. */
const hl_pyramid *hl_chart_over_x(const hl_screen *s, const hl_watched *w, hl_data *d);
/* How the run of this line counts x. */
hl_x_map hl_chart_x_map(const hl_screen *s, const hl_watched *w);
/* "step", "time", "train/tokens": what x is. Why it cannot be shown, or NULL. */
const char *hl_chart_x_name(const hl_screen *s);
const char *hl_chart_x_missing(hl_screen *s);
/* The crosshair's place on this run's x axis; false: nowhere. */
bool hl_chart_crosshair(const hl_screen *s, const hl_watched *w, double *x);
/* The step of the run at x, among the samples of the focused chart; false: it has none. */
bool hl_chart_step_at(hl_screen *s, double x, double *step);
/* How many deviations of the 100 points before point i it is away from their mean; false: fewer
 * than 8, or all alike. */
bool hl_chart_z_score(const hl_pyramid *p, size_t i, double *z);

/* What its values are in, "" where nothing is known: the run under the cursor says it. */
const char *hl_chart_unit(hl_screen *s, int chart);
/* A chart with its ranges, marks and lines (which it borrows), ready to be drawn. */
void hl_chart_prepare(hl_screen *s, int chart, const hl_chart_lines *lines,
                      hl_chart_mark marks[HL_CHART_MARKS_MAX]);
/* "log y  ema .90  robust 3 above 2 below  tail 1000": how its picture was made. */
void hl_chart_made(hl_screen *s, int chart, char *buf, size_t n);

#endif
