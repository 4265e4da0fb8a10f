/* Time series as windows of history and future.
 *
 *   CSV file or generated table --> hl_series (scaled, split) --> windows, gathered by number
 *
 * Rows are times, channels are columns. Training rows come first, then those of validation and of
 * test; the latter two begin with in_len rows of what is before them, as history. */
#ifndef HL_DATA_SERIES_H
#define HL_DATA_SERIES_H

#include "data/series/table.h"

/* Numbered as hl_part, with a third. */
typedef enum hl_series_part {
    HL_SERIES_TRAIN,
    HL_SERIES_VAL,
    HL_SERIES_TEST,
    HL_SERIES_PARTS
} hl_series_part;

const char *hl_series_part_name(hl_series_part part); /* "training", "validation", "test" */

/* A known data set: its file, and where its parts end. */
typedef struct hl_series_set {
    const char *name, *file, *other_file; /* other_file: the name it also goes by, or NULL */
    double split[HL_SERIES_PARTS];        /* rows, or shares */
} hl_series_set;

/* In the order of showing; NULL: i is past the last. Source: stanhop.md 7.1. */
const hl_series_set *hl_series_set_at(size_t i);
/* By name, upper and lower case alike. Errors: ARG, which names the nearest ones. */
HL_MUST_CHECK hl_status hl_series_set_find(const char *name, const hl_series_set **out);
/* Its file in the places of data/places.h, there or in their folder timeseries, plain or .gz.
 * Owned. Errors: NOTFOUND, with how to get it. */
HL_MUST_CHECK hl_status hl_series_set_path(const hl_series_set *set, char **out);

/* Start from hl_series_params_default. */
typedef struct hl_series_params {
    double split[HL_SERIES_PARTS]; /* counts of rows if the first is above 1, else shares of all:
                                      training and test are rounded down, validation is the rest.
                                      0.7, 0.1, 0.2 */
    int64_t in_len, out_len;       /* 96, 24 */
    int64_t period;                /* rows of the cycle that a naive forecast repeats; 0: none */
    bool masks;                    /* missing values are allowed, and marked; false: refused */
} hl_series_params;
hl_series_params hl_series_params_default(void);

typedef struct hl_series_facts {
    const char *label;
    bool is_generated, masks;
    int64_t n_rows, n_channels, n_missing; /* of the table; missing: of the parts */
    const char *const *names;              /* [n_channels] */
    int64_t in_len, out_len, period;
    struct {
        int64_t first, end; /* rows, with the history */
        int64_t n_windows;  /* end - first - in_len - out_len + 1, at least 1 */
    } part[HL_SERIES_PARTS];
    const double *mean, *std; /* [n_channels] of the training rows, ÷ n; 1 for a constant one */
    int64_t n_constant;
    int64_t mem_bytes;
    uint64_t hash; /* of values, lengths and split: a resumed run compares it */
} hl_series_facts;

typedef struct hl_series hl_series; /* immutable, counted, free to share between threads */

/* Takes the table, also when it fails. Values become (v - mean) / std in double, rounded once to
 * float. A channel without change in the training rows has std 1, with a warning.
 * Source: stanhop.md 7.2. Errors: ARG (lengths, split; a part shorter than a window; a missing
 * value, with its row and channel, unless masks; a channel without a value to learn the scale of),
 * NOMEM. */
HL_MUST_CHECK hl_status hl_series_new(hl_table *table, const hl_series_params *params,
                                      hl_series **out);
hl_series *hl_series_ref(hl_series *s);
void hl_series_unref(hl_series *s);                             /* NULL is fine */
const hl_series_facts *hl_series_get_facts(const hl_series *s); /* lives as long as s */

/* Where windows go: x [B, in_len, C], y [B, out_len, C] f32, missing values 0 (the mean); seen
 * [B, out_len, C], 1 where y has a value, else 0; it may be NULL. */
typedef struct hl_series_batch {
    float *x, *y, *seen;
} hl_series_batch;

/* Windows by number, 0 .. n_windows-1, in any order and as often as you like; nothing is allocated:
 * a window is where it stands in the series, and a batch copies stretches of memory.
 * Errors: ARG (a number outside; nothing is written then). */
HL_MUST_CHECK hl_status hl_series_gather(const hl_series *s, hl_series_part part,
                                         const int64_t *windows, int64_t batch_size,
                                         const hl_series_batch *to);

/* The order of a training epoch: a permutation of the training windows, a function of the seed and
 * the epoch alone. */
void hl_series_shuffle(const hl_series *s, uint64_t seed, int64_t epoch, uint32_t *order);

/* The value that a scaled number of channel c stands for. */
double hl_series_unscale(const hl_series *s, int64_t c, double scaled);

#endif
