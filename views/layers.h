/* Layers of a run as the outlier strip shows them: rows of one site, by one statistic. */
#ifndef HL_VIEWS_LAYERS_H
#define HL_VIEWS_LAYERS_H

#include "views/screen.h"

/* Statistics that a run records, and those that its histograms come to. */
enum {
    HL_STAT_P999 = HL_STATISTICS, /* 99.9 % of the numbers are at most so far from 0 */
    HL_STAT_BEYOND,               /* share more than 6 standard deviations from the mean */
    HL_STAT_CLIPPED,              /* share outside of the newest quantizer's grid */
    HL_STAT_CHANNELS,             /* recorded (probe.channels): channels with the top 0.01 % */
    HL_STATISTICS_SHOWN
};
const char *hl_statistic_name(int statistic);

/* Of one histogram: within a bin numbers are taken as spread evenly; least and most are exact.
 * NAN: there are no numbers, or (CLIPPED) lo < hi does not hold. */
double hl_hist_statistic(const hl_hist *h, int statistic, double lo, double hi);

typedef struct hl_layer {
    const hl_data *data;      /* of the recorded statistic; its tag says the place */
    const hl_pyramid *points; /* of the one that is shown; NULL: none are known */
    const hl_flagged *flag;   /* NULL: it has none */
    int64_t number, head;     /* -1: it has none */
    char label[40];
} hl_layer;

enum { HL_LAYERS_MAX = 256, HL_SITES_MAX = 64 };
typedef struct hl_layers {
    hl_layer at[HL_LAYERS_MAX];
    int n;
} hl_layers;

int hl_sites_list(const hl_watched *w, char out[HL_SITES_MAX][64]); /* in order of arrival */
/* The one looked at: what was chosen if this run has it, else the layers' outputs; false: none. */
bool hl_site_shown(const hl_screen *s, const hl_watched *w, char out[64]);
void hl_layers_list(const hl_watched *w, const char *site, int statistic, hl_layers *out);
/* The run's layers under the look of now, s->layer among them; false: nothing is watched. */
bool hl_layers_shown(hl_screen *s, char site[64], hl_layers *out);
/* "layer.10/attn.out" of a layer */
const char *hl_layer_place(const hl_layer *l, char buf[128]);

/* What the outlier strip's pane shows: this run, and the one beside it. */
typedef struct hl_strip {
    const hl_watched *run;
    char name[64];
    hl_layers layers;
    hl_heat_row row[HL_LAYERS_MAX];
    hl_heat heat; /* its rows and range; axis and cursor are the pane's */
} hl_strip;
typedef struct hl_strips {
    hl_strip at[2];
    int n;
    char site[64];
} hl_strips;
/* false: the run under the cursor has none. The range of shades is one for both and all runs that
 * are shown, unless heat.scale is auto. */
bool hl_strips_make(hl_screen *s, hl_strips *out, bool utf8);
/* The histogram of the layer under the cursor, and what it is of; false: there is none. */
typedef struct hl_histogram hl_histogram;
bool hl_hist_shown(hl_screen *s, hl_histogram *out, char *title, size_t n);
/* Both as figures (figures.c), in SVG or PNG. Errors: NOTFOUND (nothing is there), UNSUPPORTED (PNG
 * without cairo), NOMEM. */
HL_MUST_CHECK hl_status hl_strip_figure(hl_screen *s, bool is_png, hl_str *out);
HL_MUST_CHECK hl_status hl_histogram_figure(hl_screen *s, bool is_png, hl_str *out);

#endif
