/* The lines that the log pane moves through: the newest ones, which are kept, with the window of
 * older ones before them where the two meet, or that window alone. */
#ifndef HL_VIEWS_LOG_LIST_H
#define HL_VIEWS_LOG_LIST_H

#include "views/model.h"

typedef struct hl_log_sight {
    const char *levels, *words; /* of lines that are shown; levels "": all */
    int64_t place;              /* of the line under the cursor; -1: the newest */
    int rows;                   /* of the pane */
} hl_log_sight;

typedef struct hl_log_list {
    const hl_log_line *at[2 * HL_LOG_MAX]; /* that fit; borrowed until the model is updated */
    int n, cursor, bottom;                 /* under the cursor, shown last; -1: none */
    bool is_from_first, is_to_last;        /* nothing is before them, behind them */
    bool is_windowed;                      /* the window alone */
    int64_t below; /* lines behind the one shown last; -1: not known how many */
} hl_log_list;

/* Makes the list, and asks for what is missing around the cursor: when it has come, the list is
 * another one. */
void hl_log_list_make(hl_log_list *l, hl_model *m, hl_watched *w, const hl_log_sight *sight);

#endif
