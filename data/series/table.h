/* Tables of numbers from CSV files: a header, then a row for each time. */
#ifndef HL_DATA_TABLE_H
#define HL_DATA_TABLE_H

#include "engine/base/err.h"

#define HL_TABLE_BYTES_MAX   ((size_t)4 << 30)
#define HL_TABLE_COLUMNS_MAX 100000

/* Owned by the holder; hl_table_done. */
typedef struct hl_table {
    char *label;  /* "ETTh1.csv" */
    char **names; /* [n_columns], without that of the dates */
    int64_t n_rows, n_columns;
    double *at; /* [n_rows, n_columns]; NaN: missing */
    int64_t n_missing;
    char *first_date, *last_date; /* as they are written; NULL: there are none */
    double step_s; /* seconds from a row to the next, most often; 0: the dates could not be read */
    int64_t n_uneven; /* rows that are not so far behind the one before */
    bool is_cut;      /* the last line was damaged and left out */
    bool is_generated;
} hl_table;

/* A CSV file, plain or gzip: cells between commas (or semicolons or tabs, as in the header), line
 * ends LF or CRLF, a byte-order mark, quotes around cells, blank lines, and comments from '#' at
 * the start of a line. has_dates: the first column is the time, as text. Every other cell is a
 * finite number, or missing: empty, NA, NaN, null, none, in any case. Dates are read for the step
 * where they are year-month-day or month/day/year, with a time or without.
 * A last line that was cut off is left out (is_cut).
 * Errors, naming file, line, column and what was found: NOTFOUND, IO, FORMAT, NOMEM.
 * Cost: a pass over the text; memory: the text and 8 bytes for each cell. */
HL_MUST_CHECK hl_status hl_table_read(const char *path, bool has_dates, hl_table *out);

/* The same of n bytes in memory and the NUL behind them, which are written to. path: for messages.
 */
HL_MUST_CHECK hl_status hl_table_parse(const char *path, char *text, size_t n, bool has_dates,
                                       hl_table *out);

/* Start from hl_table_made_default. */
typedef struct hl_table_made {
    uint64_t seed;
    int64_t n_rows, n_columns; /* 4000, 7 */
    double gaps;               /* share of cells that are missing, in runs of some hours: 0 */
} hl_table_made;
hl_table_made hl_table_made_default(void);

/* Hourly values: a daily and a weekly cycle, a slow trend and noise with a memory in each column,
 * and a share of what the column before it was three hours ago. Rows and columns are those of a
 * longer and wider table of the same seed. Errors: ARG (sizes, share), NOMEM. */
HL_MUST_CHECK hl_status hl_table_make(const hl_table_made *how, hl_table *out);

/* Rows of the cycle that its step suggests: a day for steps within one, a week for days, a year for
 * weeks. 0: the step is not known, or another. */
int64_t hl_table_period(const hl_table *t);

void hl_table_done(hl_table *t);

/* Seconds since 1970 of a date as above, in UTC; false: it is none. */
bool hl_table_date(const char *text, double *seconds);

#endif
