/* Where figures are drawn: the same calls make an SVG text or, with cairo, a PNG. Units are pixels
 * (SVG user units), y grows downwards. Widths of text are estimated, not measured, so that a figure
 * has the same layout everywhere. Drawing never fails; memory that ran out shows at the end. */
#ifndef HL_EXPORT_PAPER_H
#define HL_EXPORT_PAPER_H

#include "engine/base/str.h"

typedef struct hl_point {
    double x, y;
} hl_point;

typedef struct hl_box {
    double x, y, w, h;
} hl_box;

typedef enum hl_dash {
    HL_DASH_NONE,
    HL_DASH_LONG,
    HL_DASH_DOT,
    HL_DASH_MIXED,
    HL_DASH_COUNT
} hl_dash;

typedef struct hl_pen {
    uint32_t rgb;
    double width, alpha; /* alpha 0: opaque */
    hl_dash dash;
} hl_pen;

typedef struct hl_label {
    double x, y; /* of the base line */
    double size; /* of the font */
    int anchor;  /* -1: x is where it starts, 0: its middle, 1: its end */
    bool upwards, bold;
    uint32_t rgb;
} hl_label;

typedef struct hl_paper hl_paper;

HL_MUST_CHECK hl_status hl_paper_svg_new(double w, double h, hl_paper **out);
/* UNSUPPORTED: this program was built without cairo. */
HL_MUST_CHECK hl_status hl_paper_png_new(double w, double h, hl_paper **out);
void hl_paper_free(hl_paper *c); /* NULL is fine */
/* The finished picture as bytes; the paper takes no more. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_paper_finish(hl_paper *c, hl_str *out);

void hl_paper_clip(hl_paper *c, hl_box box); /* until unclip; they do not nest */
void hl_paper_unclip(hl_paper *c);
void hl_paper_boxes(hl_paper *c, const hl_box *boxes, size_t n, uint32_t rgb); /* filled, crisp */
void hl_paper_line(hl_paper *c, const hl_point *p, size_t n, hl_pen pen);
void hl_paper_area(hl_paper *c, const hl_point *p, size_t n, uint32_t rgb, double alpha);
void hl_paper_ring(hl_paper *c, hl_point centre, double radius, hl_pen pen);
void hl_paper_text(hl_paper *c, hl_label at, const char *text);

double hl_text_width(const char *text, double size); /* an estimate, rather too wide */

/* UTF-8 without control characters; what is no UTF-8 becomes U+FFFD. */
void hl_text_add_clean(hl_str *b, const char *text);
/* The same for XML and HTML, as text or in an attribute. */
void hl_text_add_xml(hl_str *b, const char *text);

#endif
