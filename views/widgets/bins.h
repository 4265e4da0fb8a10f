/* Counts of values in bins of one width as bars: residuals of a forecast. Linear; a single count is
 * visible. Empty bins at the ends are left out as long as zero stays in the middle; the outermost
 * ones of all, which are open, stand out when they hold something. Narrow canvases merge bins, low
 * ones lose the axis line, then the labels.
 *
 *   812┤      ▃█▆
 *      │    ▂▅███▄▁
 *     0┤ ▁▂▄███████▅▃▂▁
 *      └┴──────┴──────┴
 *       -1     0      1
 */
#ifndef HL_VIEWS_WIDGETS_BINS_H
#define HL_VIEWS_WIDGETS_BINS_H

#include "views/cell.h"

typedef struct hl_bins {
    const double *count; /* borrowed; n of them, n even: zero is between the two in the middle */
    int n;
    double width; /* > 0 */
    uint8_t role;
} hl_bins;

void hl_bins_draw(hl_canvas c, const hl_bins *b);

#endif
