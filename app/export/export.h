/* What leaves the store: scalars of runs as CSV, as charts, as a page. Everything here reads; equal
 * runs give equal bytes. */
#ifndef HL_EXPORT_H
#define HL_EXPORT_H

#include "app/export/paper.h"
#include "app/hl_app.h"

typedef struct hl_export_figure {
    const char *title, *svg;
} hl_export_figure;

typedef struct hl_export {
    hl_run *const *runs;
    size_t n_runs;
    const char *const *tags; /* patterns with * and ?; none: every one, or the loss for a chart */
    size_t n_tags;
    const char *title; /* NULL: the tag */
    bool log;          /* logarithmic values */
    size_t window;     /* of a forecast's recorded windows, from 1 on; 0: the first */
    const hl_export_figure *figures; /* more of a page, as they are */
    size_t n_figures;
} hl_export;

/* tag,step,wall_time,value of all scalars, with a first column run for several runs. RFC 4180;
 * floats as %.9g, wide numbers as %.17g, nan, inf, -inf. Errors: NOTFOUND (no series fits), IO,
 * NOMEM. */
HL_MUST_CHECK hl_status hl_export_csv(const hl_export *e, hl_str *out);

/* Every tensor of every recorded quantization (tables "quantize/RECIPE"), a row each, with the
 * run, the recipe and what the quantization came to. Errors: NOTFOUND (none is recorded), IO,
 * NOMEM. */
HL_MUST_CHECK hl_status hl_export_quant_csv(const hl_export *e, hl_str *out);

/* The token positions of every watched step (curves "outliers/PLACE/tokens"), a row each: run,
 * place, step, position, max_abs, token, text. The text is as it was recorded (hl_tok_spell), empty
 * where it was not. Errors as above. */
HL_MUST_CHECK hl_status hl_export_tokens_csv(const hl_export *e, hl_str *out);

/* One chart per tag, the runs laid over each other; below each other, or in two columns where there
 * are many. Size 0: as large as is good. Errors as above. */
typedef enum hl_picture { HL_PICTURE_SVG, HL_PICTURE_PNG } hl_picture;
typedef struct hl_picture_size {
    double w, h;
} hl_picture_size;
HL_MUST_CHECK hl_status hl_export_charts(const hl_export *e, hl_picture kind, hl_picture_size size,
                                         hl_str *out);

/* The trajectory figure (figure.h) of one to four runs. NOTFOUND: a run has no trajectory.json. */
HL_MUST_CHECK hl_status hl_export_trajectories(const hl_export *e, hl_picture kind,
                                               hl_picture_size size, hl_str *out);

/* Recorded forecasts (forecast.c), the newest of the test part, else of validation: history, truth
 * and forecasts of one window and the residuals, a row for each channel; and all numbers as CSV
 * (hl_forecast_table_csv). Several runs are laid over each other. Errors:
 * NOTFOUND (a run has none), ARG (their windows are not the same; no such window). */
HL_MUST_CHECK hl_status hl_export_forecasts(const hl_export *e, hl_picture kind,
                                            hl_picture_size size, hl_str *out);
HL_MUST_CHECK hl_status hl_export_forecast_csv(const hl_export *e, hl_str *out);
bool hl_export_has_forecast(const hl_run *run);

/* A page that needs no other file: charts of the main series (or of the tags), final results,
 * configurations. */
HL_MUST_CHECK hl_status hl_export_page(const hl_export *e, hl_str *out);

/* ---- shared by the files of this folder ---- */

/* Tags of the runs that fit, in the order in which they were met; owned by the caller. */
typedef struct hl_tag_set {
    char **tag;
    size_t n;
} hl_tag_set;
HL_MUST_CHECK hl_status hl_tag_set_init(hl_tag_set *t, const hl_export *e);
void hl_tag_set_done(hl_tag_set *t);
bool hl_export_wants(const hl_export *e, const char *tag);
/* Name of run i that no other one has: its own, or with the end of its id. Owned. */
char *hl_export_run_name(const hl_export *e, size_t i);
/* One chart of the tag over all runs that have it. */
HL_MUST_CHECK hl_status hl_export_chart(const hl_export *e, const char *tag, hl_paper *paper,
                                        hl_box box);

#endif
