/* Exponential mean of points that may stand at irregular distances: a point that stands for a
 * stretch dx counts 1 - f^(dx/unit), what was before it f^(dx/unit), and the sum of weights is
 * divided out, so the first value does not dominate. A repeated x counts like a distance of one
 * unit without forgetting. A constant stays exactly constant. */
#ifndef HL_BASE_EMA_H
#define HL_BASE_EMA_H

#include <stdbool.h>
#include <stddef.h>

enum { HL_EMA_DISTANCES = 32 }; /* of which the median is the unit */

typedef struct hl_ema {
    double factor, unit;
    bool log;               /* the logarithm is averaged */
    size_t n;               /* points so far */
    double x, mean, weight; /* mean: of y, or of log(y / first) */
    double first;
    double dx_before, decay_before; /* the last power taken */
} hl_ema;

/* 0 < factor < 1; unit > 0. */
void hl_ema_init(hl_ema *e, double factor, double unit, bool log);
/* The mean with this point; y is finite, and above 0 with log. */
double hl_ema_add(hl_ema *e, double x, double y);
/* The unit for points with these distances: the median of those above 0, or 1. Sorts them. */
double hl_ema_unit(double *distance, size_t n);

#endif
