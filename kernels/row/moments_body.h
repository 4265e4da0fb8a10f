/* Combination of central moments of two sets: Chan, Golub and LeVeque 1979, extended to the third
 * and fourth by Pebay, Sandia report SAND2008-6212, equations 2.1 to 2.4. */
#ifndef HL_MOMENTS_BODY_H
#define HL_MOMENTS_BODY_H

#include "kernels/hl_types.h"

/* Statistics of one row of numbers; combined over rows by hl_moments_add. */
typedef struct hl_moments {
    double n;          /* finite values */
    double n_bad;      /* NaN and infinities, excluded from all else */
    double mean, m2, m3, m4; /* central sums: sum (x-mean)^k */
    double min, max;
} hl_moments;

HL_HD void hl_moments_add(hl_moments *a, const hl_moments *b)
{
    a->n_bad += b->n_bad;
    if (b->n == 0)
        return;
    const double na = a->n, nb = b->n, n = na + nb;
    const double d = b->mean - a->mean, e = d / n;
    const double m2 = a->m2 + b->m2 + d * e * na * nb;
    const double m3 = a->m3 + b->m3 + d * e * e * na * nb * (na - nb) +
                      3 * e * (na * b->m2 - nb * a->m2);
    const double m4 = a->m4 + b->m4 + d * e * e * e * na * nb * (na * na - na * nb + nb * nb) +
                      6 * e * e * (na * na * b->m2 + nb * nb * a->m2) +
                      4 * e * (na * b->m3 - nb * a->m3);
    a->mean += e * nb;
    a->m2 = m2;
    a->m3 = m3;
    a->m4 = m4;
    a->n = n;
    a->min = b->min < a->min ? b->min : a->min;
    a->max = b->max > a->max ? b->max : a->max;
}

#endif
