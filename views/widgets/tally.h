/* Counts of whole numbers as bars, with a bin apart for what has no number: how many samples needed
 * 1, 2, 3 ... evaluations, and how many never got there. Linear; a single count is visible. Narrow
 * canvases merge bins, low ones lose the axis line, then the labels.
 *
 *    12┤    █▄
 *      │  ▂▄██▂        ▁
 *     0┤▁▄█████▄▂      █
 *      └────┴────┴──── ─
 *           5   10     x
 */
#ifndef HL_VIEWS_WIDGETS_TALLY_H
#define HL_VIEWS_WIDGETS_TALLY_H

#include "views/cell.h"

typedef struct hl_tally {
    const size_t *count; /* borrowed; [1 .. n], and [0] the bin apart */
    size_t n;
    uint8_t role;
} hl_tally;

void hl_tally_draw(hl_canvas c, const hl_tally *t);

#endif
