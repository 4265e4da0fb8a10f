/* What the Compare view knows and what its user chose. Part of the screen (screen.h). */
#ifndef HL_VIEWS_COMPARISON_H
#define HL_VIEWS_COMPARISON_H

#include "app/hl_app.h"
#include "views/bands.h"
#include "views/derived.h"
#include "views/widgets/chart.h"

typedef enum hl_differences {
    HL_DIFFERENCES_OPTIONS,
    HL_DIFFERENCES_FACTS, /* of the surroundings */
    HL_DIFFERENCES_SCRIPT,
    HL_DIFFERENCES_KNOBS,  /* changes of knobs while they went on */
    HL_DIFFERENCES_CAUSES, /* which option explains the metric */
    HL_DIFFERENCES_KINDS
} hl_differences;

typedef enum hl_alignment {
    HL_ALIGN_STEP,
    HL_ALIGN_TOKENS,   /* or samples: what the run counts */
    HL_ALIGN_TIME,     /* in seconds since its first step */
    HL_ALIGN_CROSSING, /* steps since hl_charts_look.align */
    HL_ALIGNMENTS
} hl_alignment;

enum { HL_COMPARE_BANDS_MAX = 8 };

/* Chosen by the user; part of the look. {0}: as at first. */
typedef struct hl_compare_look {
    uint8_t differences, relation, value, alignment;
    bool all;       /* what does not differ, and every series */
    bool alone;     /* no means over runs that differ in their seed */
    bool as_marked; /* order of the marks, not of the metric */
    bool reverse;
    char metric[96]; /* "": the first */
} hl_compare_look;

typedef struct hl_compare_state {
    hl_compare_reader *reader; /* NULL until the view was first shown */
    hl_comparison *now;        /* NULL: nothing is read yet */
    uint64_t asked;            /* hash of what was */
    char *row, *reference;     /* directories: under the cursor; compared with. NULL: the first */
    int64_t at;                /* step of values at a step; -1: the crosshair's, else the last */
    int form;          /* of the table that is to be written, 1 + hl_compare_form; 0: none */
    char path[512];    /* where */
    char message[200]; /* why nothing can be compared, or which run is left out; or "" */
    int top, differences_top, differences_left;
    hl_str script;      /* the difference shown, */
    uint64_t script_of; /* and of what */
    hl_compare_causes causes;
    hl_chart chart;    /* its axes, */
    uint64_t chart_of; /* and what they were made for */
    hl_band band[HL_COMPARE_BANDS_MAX];
    hl_compare_rows knobs; /* names, borrowed from the runs' changes; of the last picture */
} hl_compare_state;

#endif
