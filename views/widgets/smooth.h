/* A smoothed copy of a pyramid that follows it as it grows. The owner of the raw pyramid owns this
 * too, calls hl_smooth_follow before drawing and hands hl_smooth_data to the chart.
 *
 * Exponential mean of the raw points, weighted by the distance in x: a point that stands for a
 * stretch dx counts 1 - f^(dx/u), what was before it f^(dx/u), and the sum of weights is divided
 * out, so the first value does not dominate. u is the median distance of the first points, hence
 * f is the usual factor per point for a metric written regularly. A repeated x counts like a
 * distance u without forgetting. Non-finite y (and y <= 0 with log) are gaps. One or two finite
 * points stay as they are; a constant stays exactly constant. With log the logarithm is averaged.
 */
#ifndef HL_VIEWS_WIDGETS_SMOOTH_H
#define HL_VIEWS_WIDGETS_SMOOTH_H

#include "views/widgets/pyramid.h"

typedef struct hl_smooth hl_smooth;

hl_smooth *hl_smooth_new(void); /* NULL without memory */
void hl_smooth_free(hl_smooth *s);

/* Takes in what raw got since the last call; starts again when raw, factor or log is another or raw
 * was cut. 0 < factor < 1. On NOMEM it has taken in less. */
HL_MUST_CHECK hl_status hl_smooth_follow(hl_smooth *s, const hl_pyramid *raw, double factor,
                                         bool log);
/* The mean or the median of the newest n finite points (fewer at the beginning), of values as they
 * are; 2 <= n <= HL_SMOOTH_WINDOW_MAX. Otherwise as above. */
enum { HL_SMOOTH_WINDOW_MAX = 1000 };
HL_MUST_CHECK hl_status hl_smooth_window(hl_smooth *s, const hl_pyramid *raw, int n,
                                         bool is_median);
/* One point for each raw one, same x; borrowed, stays the same object. */
const hl_pyramid *hl_smooth_data(const hl_smooth *s);

#endif
