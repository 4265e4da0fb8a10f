/* One run as a list shows it, from summary.json and the lock. */
#ifndef HL_STORE_RUN_ROW_H
#define HL_STORE_RUN_ROW_H

#include "app/hl_app.h"
#include "app/store/lock.h"
#include "app/store/waiting.h"

enum { HL_ROW_TEXTS = 14 };

typedef struct hl_row_store {
    hl_run_row row;
    char *text[HL_ROW_TEXTS]; /* what the row's strings point to */
    hl_run_state written;     /* the state as the run last said it */
    double created, within_s;
    bool has_config; /* config.json was there and has been read */
} hl_row_store;      /* {0} is empty */

/* summary: NULL, or where to put the parsed summary (owned by the caller). `out` is replaced; what
 * a row in it knows from config.json is kept. */
HL_MUST_CHECK hl_status hl_row_read(const char *dir, hl_row_store *out, hl_json **summary);
/* A row for a run that cannot be read, with the message why. */
HL_MUST_CHECK hl_status hl_row_blank(const char *dir, const char *message, hl_row_store *out);
/* A row for a run that waits to be made. */
HL_MUST_CHECK hl_status hl_row_waiting(const hl_waiting_run *w, hl_row_store *out);
/* Judges the state anew; the summary has not changed. true: the row shows something else now. */
bool hl_row_judge(hl_row_store *r, const char *dir);
void hl_row_done(hl_row_store *r);
/* Where the texts of a row stand, in the order of hl_row_store.text. */
void hl_row_slots(hl_run_row *row, const char **slot[HL_ROW_TEXTS]);

/* The state to show: `written` as the run said it, `live` whether somebody writes it, age_s since
 * its last event, within_s in which it announced to be heard of again (0: nothing announced). */
hl_run_state hl_state_judge(hl_run_state written, hl_tristate live, double age_s, double within_s,
                            double *late_s);

#endif
