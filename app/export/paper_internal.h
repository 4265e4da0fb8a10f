/* What a paper is made of; never leaves app/export. */
#ifndef HL_EXPORT_PAPER_INTERNAL_H
#define HL_EXPORT_PAPER_INTERNAL_H

#include "app/export/paper.h"

typedef struct hl_paper_class {
    void (*clip)(hl_paper *c, hl_box box);
    void (*unclip)(hl_paper *c);
    void (*boxes)(hl_paper *c, const hl_box *boxes, size_t n, uint32_t rgb);
    void (*line)(hl_paper *c, const hl_point *p, size_t n, hl_pen pen);
    void (*area)(hl_paper *c, const hl_point *p, size_t n, uint32_t rgb, double alpha);
    void (*ring)(hl_paper *c, hl_point centre, double radius, hl_pen pen);
    void (*text)(hl_paper *c, hl_label at, const char *text);
    hl_status (*finish)(hl_paper *c, hl_str *out);
    void (*free)(hl_paper *c);
} hl_paper_class;

struct hl_paper {
    const hl_paper_class *class;
};

/* Lengths of strokes and gaps in widths of the pen; *n 0: a solid line. */
const double *hl_dash_lengths(hl_dash dash, int *n);

#endif
