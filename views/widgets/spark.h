/* Sparkline: a row of little bars. */
#ifndef HL_VIEWS_WIDGETS_SPARK_H
#define HL_VIEWS_WIDGETS_SPARK_H

#include "views/cell.h"

/* The n values (NULL if n is 0) in the first row of c, from its left, one column each or, where
 * they are too many, several by their maximum. Scaled to their finite minimum and maximum; '!'
 * where one is not finite. Gives the columns used. */
int hl_spark_draw(hl_canvas c, hl_style s, const float *v, size_t n);

/* Fills `level` eighths (0..8) of a cell from below; what the glyphs do not have is rounded, but
 * not to nothing. */
uint32_t hl_bar_char(const hl_grid *g, int level);

#endif
