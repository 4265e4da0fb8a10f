/* Parts of a run's log, as they are asked for and handed over. app/hl_app.h includes this file.
 *
 * A place says where in the event files a line stands: it grows along the log, and stays what it is
 * while the run grows. 0 is before the first line, HL_LOG_END behind the last. */
#ifndef HL_STORE_LOG_PAGE_H
#define HL_STORE_LOG_PAGE_H

#include "engine/base/vec.h"

#define HL_LOG_END INT64_MAX

typedef struct hl_log_line {
    int64_t place, step, t_us;
    int64_t number; /* from 0; -1: not known (yet) */
    char level;     /* I info, W warning, E error, C control, S state */
    char *text;     /* owned, one line */
} hl_log_line;

enum { HL_LOG_WORDS_MAX = 256, HL_LOG_PAGE_LINES = 4096 };

typedef struct hl_log_want {
    int64_t from;   /* a place */
    bool back;      /* the newest lines before it, else the first ones at it or behind it */
    int n;          /* of lines that fit; at most HL_LOG_PAGE_LINES; 0: nothing more is wanted */
    int64_t number; /* instead of `from`: the line of this number; -1: no */
    int percent;    /* instead of `from`: so far into the files; -1: no */
    char levels[8]; /* letters of lines that fit; "": all do */
    char words[HL_LOG_WORDS_MAX]; /* hl_filter_fits_text; "": all do */
    int serial;                   /* the asker's */
} hl_log_want;

/* An answer, or a part of it: a search says every now and then how far it is. */
typedef struct hl_log_page {
    hl_log_want want;
    HL_VEC(hl_log_line) lines; /* as they stand in the log */
    int64_t begin, end;        /* all that fit between these places are here */
    bool is_first, is_last;    /* nothing is before begin, behind end */
    bool is_done;
    int percent; /* of the files, where it is */
} hl_log_page;
void hl_log_page_free(hl_log_page *p); /* NULL is fine */

#endif
