/* Progress bar in one row. */
#ifndef HL_VIEWS_WIDGETS_GAUGE_H
#define HL_VIEWS_WIDGETS_GAUGE_H

#include "views/cell.h"

/* Bar over the first row of c, `text` (NULL: none) at its right. A fraction that is NaN is unknown:
 * only the text is drawn, from the left. Others are taken into 0..1. */
void hl_gauge_draw(hl_canvas c, hl_style s, double fraction, const char *text);

#endif
