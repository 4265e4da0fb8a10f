/* SVG 1.1, as text: labels stay text, so they can be searched, copied and edited. */
#include <stdio.h>
#include <string.h>

#include "app/export/paper_internal.h"
#include "engine/base/mem.h"

typedef struct svg {
    hl_paper paper;
    hl_str text;
    int n_clips;
} svg;

static svg *of(hl_paper *c)
{
    return (svg *)(void *)c;
}

/* At most two decimals, no more of them than needed. */
static void add_number(hl_str *b, double v)
{
    char text[48];
    int n = snprintf(text, sizeof text, "%.2f", v);
    while (n > 0 && text[n - 1] == '0')
        n--;
    if (n > 0 && text[n - 1] == '.')
        n--;
    text[n] = '\0';
    hl_str_add(b, strcmp(text, "-0") == 0 ? "0" : text);
}

static void add_attribute(hl_str *b, const char *name, double v)
{
    hl_str_addf(b, " %s=\"", name);
    add_number(b, v);
    hl_str_addc(b, '"');
}

static void add_points(hl_str *b, const hl_point *p, size_t n)
{
    hl_str_add(b, " points=\"");
    for (size_t i = 0; i < n; i++) {
        add_number(b, p[i].x);
        hl_str_addc(b, ',');
        add_number(b, p[i].y);
        hl_str_addc(b, i + 1 < n ? ' ' : '"');
    }
}

static void add_pen(hl_str *b, hl_pen pen)
{
    int n;
    const double *dash = hl_dash_lengths(pen.dash, &n);
    hl_str_addf(b, " fill=\"none\" stroke=\"#%06x\"", pen.rgb);
    add_attribute(b, "stroke-width", pen.width);
    if (pen.alpha > 0 && pen.alpha < 1)
        add_attribute(b, "stroke-opacity", pen.alpha);
    if (n == 0)
        return;
    hl_str_add(b, " stroke-dasharray=\"");
    for (int i = 0; i < n; i++) {
        if (i)
            hl_str_addc(b, ' ');
        add_number(b, dash[i] * pen.width);
    }
    hl_str_addc(b, '"');
}

static void svg_clip(hl_paper *c, hl_box box)
{
    svg *s = of(c);
    hl_str_addf(&s->text, "<clipPath id=\"c%d\"><rect", ++s->n_clips);
    add_attribute(&s->text, "x", box.x);
    add_attribute(&s->text, "y", box.y);
    add_attribute(&s->text, "width", box.w);
    add_attribute(&s->text, "height", box.h);
    hl_str_addf(&s->text, "/></clipPath>\n<g clip-path=\"url(#c%d)\">\n", s->n_clips);
}

static void svg_unclip(hl_paper *c)
{
    hl_str_add(&of(c)->text, "</g>\n");
}

static void svg_boxes(hl_paper *c, const hl_box *boxes, size_t n, uint32_t rgb)
{
    hl_str *b = &of(c)->text;
    hl_str_addf(b, "<path fill=\"#%06x\" shape-rendering=\"crispEdges\" d=\"", rgb);
    for (size_t i = 0; i < n; i++) {
        hl_str_addc(b, 'M');
        add_number(b, boxes[i].x);
        hl_str_addc(b, ' ');
        add_number(b, boxes[i].y);
        hl_str_addc(b, 'h');
        add_number(b, boxes[i].w);
        hl_str_addc(b, 'v');
        add_number(b, boxes[i].h);
        hl_str_addc(b, 'h');
        add_number(b, -boxes[i].w);
        hl_str_addc(b, 'z');
    }
    hl_str_add(b, "\"/>\n");
}

static void svg_line(hl_paper *c, const hl_point *p, size_t n, hl_pen pen)
{
    hl_str *b = &of(c)->text;
    hl_str_add(b, "<polyline stroke-linejoin=\"round\"");
    add_pen(b, pen);
    add_points(b, p, n);
    hl_str_add(b, "/>\n");
}

static void svg_area(hl_paper *c, const hl_point *p, size_t n, uint32_t rgb, double alpha)
{
    hl_str *b = &of(c)->text;
    hl_str_addf(b, "<polygon fill=\"#%06x\"", rgb);
    add_attribute(b, "fill-opacity", alpha);
    add_points(b, p, n);
    hl_str_add(b, "/>\n");
}

static void svg_ring(hl_paper *c, hl_point centre, double radius, hl_pen pen)
{
    hl_str *b = &of(c)->text;
    hl_str_add(b, "<circle");
    add_attribute(b, "cx", centre.x);
    add_attribute(b, "cy", centre.y);
    add_attribute(b, "r", radius);
    add_pen(b, pen);
    hl_str_add(b, "/>\n");
}

static void svg_text(hl_paper *c, hl_label at, const char *text)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    hl_str *b = &of(c)->text;
    hl_str_add(b, "<text");
    add_attribute(b, "x", at.x);
    add_attribute(b, "y", at.y);
    add_attribute(b, "font-size", at.size);
    if (at.anchor >= 0)
        hl_str_addf(b, " text-anchor=\"%s\"", anchors[at.anchor + 1]);
    if (at.bold)
        hl_str_add(b, " font-weight=\"bold\"");
    if (at.rgb)
        hl_str_addf(b, " fill=\"#%06x\"", at.rgb);
    if (at.upwards) {
        hl_str_add(b, " transform=\"rotate(-90 ");
        add_number(b, at.x);
        hl_str_addc(b, ' ');
        add_number(b, at.y);
        hl_str_add(b, ")\"");
    }
    hl_str_addc(b, '>');
    hl_text_add_xml(b, text);
    hl_str_add(b, "</text>\n");
}

static hl_status svg_finish(hl_paper *c, hl_str *out)
{
    svg *s = of(c);
    hl_str_add(&s->text, "</svg>\n");
    const hl_status st = hl_str_status(&s->text);
    if (st == HL_OK)
        hl_str_addn(out, s->text.s, s->text.n);
    return st == HL_OK ? hl_str_status(out) : st;
}

static void svg_free(hl_paper *c)
{
    hl_str_done(&of(c)->text);
    hl_free(c);
}

static const hl_paper_class svg_class = {.clip = svg_clip,
                                         .unclip = svg_unclip,
                                         .boxes = svg_boxes,
                                         .line = svg_line,
                                         .area = svg_area,
                                         .ring = svg_ring,
                                         .text = svg_text,
                                         .finish = svg_finish,
                                         .free = svg_free};

hl_status hl_paper_svg_new(double w, double h, hl_paper **out)
{
    svg *s = hl_alloc_zero(1, sizeof *s);
    if (!s)
        return HL_E_NOMEM;
    s->paper.class = &svg_class;
    hl_str_add(&s->text, "<svg xmlns=\"http://www.w3.org/2000/svg\"");
    add_attribute(&s->text, "width", w);
    add_attribute(&s->text, "height", h);
    hl_str_addf(&s->text, " viewBox=\"0 0 %.0f %.0f\"", w, h);
    hl_str_add(&s->text, " font-family=\"'DejaVu Sans', Helvetica, Arial, sans-serif\">\n"
                         "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n");
    *out = &s->paper;
    return HL_OK;
}
