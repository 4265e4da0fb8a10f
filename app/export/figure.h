/* The figure of fixed-point convergence (Figures 3 and 4 of the even-odd Hopfield DEQ paper): one
 * or up to four panels, each a heat map of relative residuals over iterations, with the mean index
 * of convergence per tolerance. */
#ifndef HL_EXPORT_FIGURE_H
#define HL_EXPORT_FIGURE_H

#include "app/export/paper.h"
#include "engine/hl_engine.h"

enum { HL_FIGURE_PANELS_MAX = 4 };

typedef struct hl_figure_panel {
    const char *title;
    const hl_trajectory *trajectory;
} hl_figure_panel;

/* Panels in reading order; the colours of all are those of the first. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_figure_draw(const hl_figure_panel *panels, size_t n, hl_paper *paper,
                                       hl_box box);

#endif
