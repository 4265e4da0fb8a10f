/* The summary of a run: what a list of runs shows of it, kept up to date by the store thread and
 * written to summary.json. Everything in it follows from run.json and the events, so it can be
 * thrown away and made again. */
#ifndef HL_STORE_SUMMARY_H
#define HL_STORE_SUMMARY_H

#include "app/hl_app.h"

#define HL_RUN_FORMAT 1 /* version of run.json and summary.json */

typedef struct hl_summary hl_summary;

/* From the events in dir. limit: NULL, or leave out what a resume at that step replaces. */
HL_MUST_CHECK hl_status hl_summary_rebuild(const char *dir, const int64_t *limit, hl_summary **out);
void hl_summary_free(hl_summary *s);

/* The place of a scalar series; it is there from its first point on. */
HL_MUST_CHECK hl_status hl_summary_scalar(hl_summary *s, const char *tag, size_t *slot);
void hl_summary_point(hl_summary *s, size_t slot, int64_t step, int64_t t_us, double value);
/* A histogram or a curve was stored. */
void hl_summary_mark(hl_summary *s, int64_t step, int64_t t_us);

typedef struct hl_summary_note {
    const char *tag, *content;
    int64_t step, t_us;
    const char *text; /* n bytes of JSON */
    size_t n;
} hl_summary_note;
HL_MUST_CHECK hl_status hl_summary_json(hl_summary *s, const hl_summary_note *note);
/* A segment was opened. */
void hl_summary_segment(hl_summary *s);

hl_run_state hl_summary_state(const hl_summary *s);

/* The JSON text of summary.json. */
HL_MUST_CHECK hl_status hl_summary_write(const hl_summary *s, hl_str *out);
HL_MUST_CHECK hl_status hl_summary_save(const hl_summary *s, const char *dir);

#endif
