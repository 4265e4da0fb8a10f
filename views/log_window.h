/* Lines of a run's log that are not kept: those around the place that somebody looks at, read from
 * the run's files when they are asked for. All of them fit the levels and words it is made for. */
#ifndef HL_VIEWS_LOG_WINDOW_H
#define HL_VIEWS_LOG_WINDOW_H

#include "app/hl_app.h"

typedef enum hl_log_ask {
    HL_LOG_ASK_NOTHING,
    HL_LOG_ASK_BACK, /* a new window: the lines before a place */
    HL_LOG_ASK_ON,   /* a new window: the lines from a place on */
    HL_LOG_ASK_BEFORE,
    HL_LOG_ASK_BEHIND, /* more of it, at its begin or its end */
    HL_LOG_ASK_EARLIER,
    HL_LOG_ASK_LATER,   /* the next warning or error from a place: `found` */
    HL_LOG_ASK_NUMBER,  /* the line of a number: `found` */
    HL_LOG_ASK_PERCENT, /* the first line so far into the files: `found` */
} hl_log_ask;

enum { HL_LOG_MAX = 20000 }; /* lines in memory, of either kind */

typedef struct hl_log_window {
    HL_VEC(hl_log_line) lines;
    bool is_set;
    int64_t begin, end;     /* what fits between these places is here */
    bool is_first, is_last; /* nothing is before begin; nothing was behind end */
    bool has_met;           /* it has reached the kept lines; of those the oldest go as more come */
    char levels[8], words[HL_LOG_WORDS_MAX];
    hl_log_ask asking;
    bool is_new;           /* what comes makes a new window */
    bool is_refused;       /* the last question got no answer, or was stopped */
    int serial;            /* of the last question */
    int64_t bytes;         /* of the run's files, then */
    int percent;           /* where the answer is; -1: nothing has come */
    bool has_found;        /* until somebody takes it: */
    int64_t found;         /* a place */
    hl_log_ask found_none; /* what had no answer, until somebody takes it */
} hl_log_window;

void hl_log_window_clear(hl_log_window *w); /* all but what it is for; no question is open */
/* From now on for lines of these levels ("" all) that have these words; what does not fit goes. */
void hl_log_window_fit(hl_log_window *w, const char *levels, const char *words);
/* The question to be asked; an open one is forgotten. from: a place, a number, a percentage. */
hl_log_want hl_log_window_ask(hl_log_window *w, hl_log_ask what, int64_t from);
void hl_log_window_take(hl_log_window *w, hl_log_page *p); /* borrows p, takes its lines */
void hl_log_window_refuse(hl_log_window *w);               /* no answer will come */

#endif
