/* Follows a store of runs for somebody who must never wait for a disk: a thread of its own reads
 * the list of runs and the events of followed runs, and hands over what it learns as items.
 *
 * Every function belongs to one thread, that of the owner; none of them touches a file or waits,
 * except open and close. app/hl_app.h includes this file.
 *
 *     poll() on hl_watch_fd(w)
 *     while (hl_watch_take(w, &item)) { use it; hl_watch_item_done(&item); }
 */
#ifndef HL_WATCH_H
#define HL_WATCH_H

#include "app/exp/sink.h"
#include "app/list/deep_key.h"
#include "app/store/log_page.h"

typedef struct hl_run_row hl_run_row; /* app/hl_app.h */
typedef struct hl_run_value hl_run_value;

/* A copy of all rows of a list, oldest run first. Nothing in it changes; free with
 * hl_run_rows_free, from any thread. */
typedef struct hl_run_rows {
    const hl_run_row *at;
    size_t n;
    const uint32_t
        *slot; /* by directory, for hl_run_rows_find; NULL in rows that somebody borrows */
    size_t n_slots;
} hl_run_rows;
void hl_run_rows_free(hl_run_rows *rows); /* NULL is fine */
/* Copies rows and what they point to; their lists of values are shared. NULL: no memory. */
hl_run_rows *hl_run_rows_copy(const hl_run_row *const *from, size_t n);
/* The row of that directory, in constant time; NULL: none, or rows that are no copy. */
const hl_run_row *hl_run_rows_find(const hl_run_rows *rows, const char *dir);
/* What their owner knows of row i besides: the values, sorted by key, stand beside those of its
 * configuration; one without text takes its key away. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_run_rows_add(hl_run_rows *rows, size_t i, const hl_run_value *more,
                                        size_t n);

typedef enum hl_watch_kind {
    HL_WATCH_LIST,     /* the list as it is now, at the start and whenever a row changed */
    HL_WATCH_FOLLOWED, /* a run can be read. Comes again when it has to be read anew, from its
                          beginning: what came for the slot before no longer counts */
    HL_WATCH_FACTS,    /* a run followed from its first moment has got its config.json */
    HL_WATCH_SERIES,   /* a series, before its first value; `series` counts up from 0 */
    HL_WATCH_POINT,    /* of a scalar or wide series */
    HL_WATCH_HIST,
    HL_WATCH_CURVE,
    HL_WATCH_JSON, /* but of lines of the log, which are: */
    HL_WATCH_LINE, /* of the log: made by an event, whose own item, if it has one, came before */
    HL_WATCH_PAGE, /* of the log: what hl_watch_log asked for, or a part of it */
    HL_WATCH_SUPERSEDED, /* resumed: points, histograms, curves and tables that came before and have
                            step >= `step` no longer count; log lines and states do */
    HL_WATCH_PROGRESS,   /* how much is read: every 4 MiB, when all is, and when damage is met */
    HL_WATCH_FAILED,     /* cannot be read (any more); tried again every second. Over when anything
                            else comes for the slot, also when it is the first. Slot -1: the list */
    HL_WATCH_EDITED,     /* slot -1: an edit is done, or part of it */
    HL_WATCH_DUG,        /* slot -1: what the last `step` calls of hl_watch_want asked for is in the
                            list that came before */
    HL_WATCH_UNFOLLOWED, /* last item of a follow, whatever came before: one for each that ended */
    HL_WATCH_KIND_COUNT
} hl_watch_kind;

/* One piece of news. What it points to is its own, until hl_watch_item_done; a taker may keep a
 * pointer by setting it to NULL before. Texts are UTF-8 as stored: control characters included. */
typedef struct hl_watch_item {
    hl_watch_kind kind;
    int slot;           /* -1: the list */
    size_t series;      /* of SERIES and of values */
    int64_t step, t_us; /* of values; step: of SUPERSEDED too */
    union {
        hl_run_rows *rows; /* LIST */
        struct {
            char *config, *run; /* JSON texts of config.json and run.json; NULL: not there (yet) */
        } facts;                /* FOLLOWED, FACTS */
        struct {
            char *tag;           /* owned */
            const char *content; /* "" or what hl_series_info says; lives in the same block */
            hl_series_kind kind;
        } info;       /* SERIES */
        double value; /* POINT */
        hl_hist *hist;
        struct {
            float *v; /* rows x cols, row-major; a vector has one row */
            size_t rows, cols;
        } curve;
        struct {
            char *text; /* NUL-terminated */
            size_t n;
        } json;
        struct {
            int64_t place, number; /* hl_log_line */
            char *text;
            char level;
        } line;            /* LINE */
        hl_log_page *page; /* PAGE; for hl_log_page_free */
        struct {
            int64_t done, total; /* bytes of event files */
            int64_t damages;     /* places skipped because they were damaged */
            bool caught_up;      /* everything there was has been handed over */
        } progress;
        struct {
            int what, n_done; /* hl_run_edit; runs */
            char *message;    /* what went wrong with the first one where it did; NULL: nothing */
        } edited;
        char *message; /* FAILED */
    } u;
} hl_watch_item;

void hl_watch_item_done(hl_watch_item *item);

typedef struct hl_watch hl_watch;

/* A missing directory is an empty list, which fills when the directory appears. The first item is
 * the list. Errors: NOMEM, IO (no descriptors, no thread). */
HL_MUST_CHECK hl_status hl_watch_open(const char *runs_dir, hl_watch **out);
void hl_watch_close(hl_watch *w); /* joins the thread; NULL is fine */

/* For poll(): readable when hl_watch_take may have something. Take until it says false, or come
 * back later: it stays readable. */
int hl_watch_fd(const hl_watch *w);
bool hl_watch_take(hl_watch *w, hl_watch_item *out); /* false: nothing now */

#define HL_WATCH_SLOTS 256

/* Reads a run from its first event on and stays with it. slot: the caller's number for it, below
 * HL_WATCH_SLOTS; one that is taken is unfollowed first. A directory that is not there (any more)
 * is a FAILED item and is looked for again. Errors: ARG, NOMEM, STATE (hundreds of orders wait). */
HL_MUST_CHECK hl_status hl_watch_follow(hl_watch *w, int slot, const char *dir);
/* Items that are on their way may still come; UNFOLLOWED is the last. A free slot: nothing. */
void hl_watch_unfollow(hl_watch *w, int slot);
void hl_watch_look(hl_watch *w); /* reads the list now */

/* Does something to runs, one after the other, and tells: an EDITED item. what: hl_run_edit; text,
 * dirs: copied, text may be NULL. Errors: NOMEM, STATE (hundreds of orders wait). */
HL_MUST_CHECK hl_status hl_watch_edit(hl_watch *w, int what, const char *text,
                                      const char *const *dirs, int n);

/* From now on the rows of the list have these values from the events of runs, as they are read
 * (hl_run_list_want); what is followed is read first. A DUG item says that the first lot is there.
 * Errors: NOMEM, STATE (hundreds of orders wait). */
HL_MUST_CHECK hl_status hl_watch_want(hl_watch *w, const hl_deep_keys *keys);

/* Reads lines of the log of a followed run: PAGE items, the last of which is done, with the serial
 * that `want` has. An older question for the same slot that is still being answered is dropped; so
 * is any when the run has to be read anew or cannot be read. Errors: ARG (nothing is followed
 * there), NOMEM, STATE (hundreds of orders wait). */
HL_MUST_CHECK hl_status hl_watch_log(hl_watch *w, int slot, const hl_log_want *want);

/* How often the thread has waited and gone on, since the start. */
int64_t hl_watch_wakeups(const hl_watch *w);

#endif
