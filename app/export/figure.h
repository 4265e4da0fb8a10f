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

/* Shades of heat maps, 0 (light) to 1. */
uint32_t hl_figure_colour(double level);
/* A bar of these shades from lo to hi, with ticks and what they are of at its right (some 80
 * wide). */
void hl_figure_bar(hl_paper *paper, hl_box b, double lo, double hi, bool log, const char *text);

#endif
