/* PNG by cairo, the only user of it. */
#include "app/export/paper_internal.h"

#ifdef HOPLAB_CAIRO
#include <cairo.h>

#include "engine/base/mem.h"

typedef struct png {
    hl_paper paper;
    cairo_surface_t *surface;
    cairo_t *cr;
} png;

static cairo_t *of(hl_paper *c)
{
    return ((png *)(void *)c)->cr;
}

static void set_colour(cairo_t *cr, uint32_t rgb, double alpha)
{
    cairo_set_source_rgba(cr, (double)(rgb >> 16 & 255) / 255, (double)(rgb >> 8 & 255) / 255,
                          (double)(rgb & 255) / 255, alpha > 0 ? alpha : 1);
}

static void set_pen(cairo_t *cr, hl_pen pen)
{
    double lengths[4];
    int n;
    const double *dash = hl_dash_lengths(pen.dash, &n);
    for (int i = 0; i < n; i++)
        lengths[i] = dash[i] * pen.width;
    set_colour(cr, pen.rgb, pen.alpha);
    cairo_set_line_width(cr, pen.width);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    cairo_set_dash(cr, lengths, n, 0);
}

static void add_path(cairo_t *cr, const hl_point *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cairo_line_to(cr, p[i].x, p[i].y);
}

static void png_clip(hl_paper *c, hl_box box)
{
    cairo_save(of(c));
    cairo_rectangle(of(c), box.x, box.y, box.w, box.h);
    cairo_clip(of(c));
}

static void png_unclip(hl_paper *c)
{
    cairo_restore(of(c));
}

static void png_boxes(hl_paper *c, const hl_box *boxes, size_t n, uint32_t rgb)
{
    cairo_t *cr = of(c);
    for (size_t i = 0; i < n; i++)
        cairo_rectangle(cr, boxes[i].x, boxes[i].y, boxes[i].w, boxes[i].h);
    set_colour(cr, rgb, 1);
    cairo_set_antialias(cr, CAIRO_ANTIALIAS_NONE); /* no seams between boxes that touch */
    cairo_fill(cr);
    cairo_set_antialias(cr, CAIRO_ANTIALIAS_DEFAULT);
}

static void png_line(hl_paper *c, const hl_point *p, size_t n, hl_pen pen)
{
    add_path(of(c), p, n);
    set_pen(of(c), pen);
    cairo_stroke(of(c));
}

static void png_area(hl_paper *c, const hl_point *p, size_t n, uint32_t rgb, double alpha)
{
    add_path(of(c), p, n);
    set_colour(of(c), rgb, alpha);
    cairo_fill(of(c));
}

static void png_ring(hl_paper *c, hl_point centre, double radius, hl_pen pen)
{
    cairo_new_path(of(c));
    cairo_arc(of(c), centre.x, centre.y, radius, 0, 6.283185307179586);
    set_pen(of(c), pen);
    cairo_stroke(of(c));
}

static void png_text(hl_paper *c, hl_label at, const char *text)
{
    cairo_t *cr = of(c);
    cairo_text_extents_t size;
    hl_str clean = {0};
    hl_text_add_clean(&clean, text);
    cairo_save(cr);
    cairo_select_font_face(cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                           at.bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, at.size);
    cairo_text_extents(cr, hl_str_text(&clean), &size);
    cairo_translate(cr, at.x, at.y);
    if (at.upwards)
        cairo_rotate(cr, -1.5707963267948966);
    cairo_move_to(cr, -size.x_advance * (at.anchor + 1) / 2, 0);
    set_colour(cr, at.rgb, 1);
    cairo_show_text(cr, hl_str_text(&clean));
    cairo_restore(cr);
    cairo_new_path(cr);
    hl_str_done(&clean);
}

static cairo_status_t take_bytes(void *out, const unsigned char *bytes, unsigned n)
{
    hl_str_addn(out, (const char *)bytes, n);
    return ((hl_str *)out)->failed ? CAIRO_STATUS_NO_MEMORY : CAIRO_STATUS_SUCCESS;
}

static hl_status png_finish(hl_paper *c, hl_str *out)
{
    png *p = (png *)(void *)c;
    cairo_status_t got = cairo_status(p->cr);
    if (got == CAIRO_STATUS_SUCCESS)
        got = cairo_surface_write_to_png_stream(p->surface, take_bytes, out);
    if (got == CAIRO_STATUS_SUCCESS)
        return HL_OK;
    return hl_err_set(got == CAIRO_STATUS_NO_MEMORY ? HL_E_NOMEM : HL_E_INTERNAL,
                      "cannot draw the picture: %s", cairo_status_to_string(got));
}

static void png_free(hl_paper *c)
{
    png *p = (png *)(void *)c;
    if (p->cr)
        cairo_destroy(p->cr);
    if (p->surface)
        cairo_surface_destroy(p->surface);
    hl_free(p);
}

static const hl_paper_class png_class = {.clip = png_clip,
                                         .unclip = png_unclip,
                                         .boxes = png_boxes,
                                         .line = png_line,
                                         .area = png_area,
                                         .ring = png_ring,
                                         .text = png_text,
                                         .finish = png_finish,
                                         .free = png_free};

hl_status hl_paper_png_new(double w, double h, hl_paper **out)
{
    png *p = hl_alloc_zero(1, sizeof *p);
    if (!p)
        return HL_E_NOMEM;
    p->paper.class = &png_class;
    p->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)w, (int)h);
    p->cr = cairo_create(p->surface);
    cairo_set_source_rgb(p->cr, 1, 1, 1);
    cairo_paint(p->cr);
    *out = &p->paper;
    return HL_OK;
}

#else

hl_status hl_paper_png_new(double w, double h, hl_paper **out)
{
    (void)w;
    (void)h;
    (void)out;
    return hl_err_set(HL_E_UNSUPPORTED,
                      "this program was built without cairo, which makes PNG "
                      "pictures; use --svg, or build it again with libcairo2-dev");
}

#endif
