/* Axes: a range of values onto a range of pixels, with ticks at round values. */
#ifndef HL_EXPORT_RULER_H
#define HL_EXPORT_RULER_H

#include <stdbool.h>

enum { HL_TICKS_MAX = 24, HL_TICK_TEXT = 24 };

typedef struct hl_ruler {
    double from, to; /* values at both ends; from < to */
    bool log;        /* then both are positive */
    double linear;   /* > 0: logarithmic on both sides of [-linear, linear], which is linear and as
                        high as a decade; not with log */
    double at_from, at_to;
    int n_ticks;
    double tick[HL_TICKS_MAX];
    char text[HL_TICKS_MAX][HL_TICK_TEXT];
} hl_ruler;

/* Chooses the ends so that min and max lie inside and the ticks, about n_want, are round numbers.
 * Takes any finite min <= max; with log only positive ones. */
void hl_ruler_fit(hl_ruler *a, double min, double max, bool log, int n_want);
/* From min to max, logarithmic on both sides of a linear band (> 0). */
void hl_ruler_symmetric(hl_ruler *a, double min, double max, double linear, int n_want);
/* The same with fixed ends. */
void hl_ruler_fix(hl_ruler *a, double from, double to, bool log, int n_want);
double hl_ruler_at(const hl_ruler *a, double value); /* where it lies, in pixels */

#endif
