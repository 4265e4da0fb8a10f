/* Minimum of a function on an interval by golden section and parabolas: R. P. Brent, Algorithms for
 * Minimization without Derivatives, 1973, chapter 5, with the tolerances of scipy's fminbound. */
#ifndef HL_QUANT_BRENT_H
#define HL_QUANT_BRENT_H

#include "kernels/hl_types.h"

typedef float (*hl_brent_fn)(void *arg, double x);

/* The best x seen in [a, b] and f there; finds one local minimum, to 1e-5, in at most 500 values of
 * f. The values are float and so are their differences; the rest is double. */
void hl_brent_minimum(hl_brent_fn f, void *arg, double a, double b, double *x, float *fx);

#endif
