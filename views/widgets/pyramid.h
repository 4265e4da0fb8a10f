/* The points behind a line of a chart, with summaries of 2^k neighbours each, so that a picture
 * costs what its width costs, however long the run is, and no reduction loses an extreme value.
 *
 * DESIGN: level 0 are the points in the order they came (x may go back: an older step was logged
 * late). Level k are buckets of 2^k points, aligned; the last one may be incomplete. Buckets of
 * level HL_PYRAMID_STORED and up are kept, smaller ones are computed from the points. A point takes
 * about 6 bytes while every y is a float and x are equally far apart over long stretches, which
 * cost next to nothing to keep; 8 more for x that are not, 4 more for y that are none.
 * Points whose y is not finite are counted and have no part in min, max and mean. A point whose x
 * is not finite has no place: it is kept as a non-finite y at the x of the point before. One thread
 * at a time. */
#ifndef HL_VIEWS_WIDGETS_PYRAMID_H
#define HL_VIEWS_WIDGETS_PYRAMID_H

#include "engine/base/err.h"

enum { HL_PYRAMID_STORED = 7, HL_PYRAMID_LEVELS = 48 };

typedef struct hl_bucket {
    double x_min, x_max; /* of all its points */
    double first, last;  /* y of the outer points, finite or not */
    double min, max;     /* of the finite y; NaN without any */
    double mean;
    double x_of_min, x_of_max; /* where they were seen first */
    double min_positive;       /* smallest y > 0; NaN without any */
    size_t n;                  /* points */
    size_t n_non_finite;
    size_t n_not_positive; /* finite y <= 0 */
} hl_bucket;

typedef struct hl_pyramid hl_pyramid;

/* NULL without memory (HL_E_NOMEM set). */
hl_pyramid *hl_pyramid_new(void);
void hl_pyramid_free(hl_pyramid *p); /* NULL is fine */
void hl_pyramid_clear(hl_pyramid *p);
/* By how much x may be kept wrong, so that times that pass almost evenly are stretches too: what
 * they are known to. 0 at first: exactly as they came. Only while it is empty. */
void hl_pyramid_set_x_error(hl_pyramid *p, double error);
double hl_pyramid_x_error(const hl_pyramid *p);
bool hl_pyramid_is_wide(const hl_pyramid *p); /* some y is no float */

/* Amortised O(log n). On NOMEM the pyramid is as before. */
HL_MUST_CHECK hl_status hl_pyramid_push(hl_pyramid *p, double x, double y);
/* Takes out all points with x >= from: a resumed run writes them again. */
void hl_pyramid_cut(hl_pyramid *p, double from);

size_t hl_pyramid_n(const hl_pyramid *p);
size_t hl_pyramid_bytes(const hl_pyramid *p);       /* of memory, growth reserve left out */
double hl_pyramid_x(const hl_pyramid *p, size_t i); /* i < n */
double hl_pyramid_y(const hl_pyramid *p, size_t i);
/* Everything at once, O(1); borrowed until the next change. n is 0 for an empty one. */
const hl_bucket *hl_pyramid_total(const hl_pyramid *p);
bool hl_pyramid_last(const hl_pyramid *p, double *x, double *y); /* newest point; false: none */
/* Newest point with a finite y. */
bool hl_pyramid_last_finite(const hl_pyramid *p, double *x, double *y);
/* The smallest (lower) or largest finite y and where; false: none. */
bool hl_pyramid_best(const hl_pyramid *p, bool lower, double *x, double *y);
/* Index of the point nearest to x, the later one of two; SIZE_MAX if empty. O(log n) while x never
 * went back, else O(n). */
size_t hl_pyramid_nearest(const hl_pyramid *p, double x);
/* Changes with every clear and with every cut that took something: who follows must start again. */
uint64_t hl_pyramid_edits(const hl_pyramid *p);

/* Coarsest level that still has at least so many buckets; 0 when even the points are fewer. */
int hl_pyramid_level(const hl_pyramid *p, size_t n_wanted_buckets);
size_t hl_pyramid_n_buckets(const hl_pyramid *p, int level); /* the incomplete one included */
/* Bucket i of a level; i < n_buckets, 0 <= level < HL_PYRAMID_LEVELS. O(level), small levels
 * O(2^level). */
void hl_pyramid_bucket(const hl_pyramid *p, int level, size_t i, hl_bucket *out);
/* A complete stored bucket, without a copy; NULL if it is incomplete or of a level not stored.
 * first and last are those of hl_pyramid_y. */
const hl_bucket *hl_pyramid_stored(const hl_pyramid *p, int level, size_t i);
/* Summary of the points with x_lo <= x < x_hi; false if there is none. O(log^2 n) for x that is
 * mostly in order. */
bool hl_pyramid_range(const hl_pyramid *p, double x_lo, double x_hi, hl_bucket *out);
/* Finite points with x[0] <= x < x[1] whose y is above y[1], and below y[0]. Costs the buckets that
 * are partly outside. */
void hl_pyramid_outside(const hl_pyramid *p, const double x[2], const double y[2], size_t *n_above,
                        size_t *n_below);
/* Index of the first point from i on whose y is not finite; SIZE_MAX: none. */
size_t hl_pyramid_next_bad(const hl_pyramid *p, size_t i);
/* Index of the first point whose y is finite and below a value, or above it; SIZE_MAX: none. */
size_t hl_pyramid_next_beyond(const hl_pyramid *p, double y, bool above);

#endif
