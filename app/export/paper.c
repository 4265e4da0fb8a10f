#include "app/export/paper.h"

#include <string.h>

#include "app/export/paper_internal.h"

void hl_paper_free(hl_paper *c)
{
    if (c)
        c->class->free(c);
}

hl_status hl_paper_finish(hl_paper *c, hl_str *out)
{
    return c->class->finish(c, out);
}

void hl_paper_clip(hl_paper *c, hl_box box)
{
    c->class->clip(c, box);
}

void hl_paper_unclip(hl_paper *c)
{
    c->class->unclip(c);
}

void hl_paper_boxes(hl_paper *c, const hl_box *boxes, size_t n, uint32_t rgb)
{
    if (n)
        c->class->boxes(c, boxes, n, rgb);
}

void hl_paper_line(hl_paper *c, const hl_point *p, size_t n, hl_pen pen)
{
    if (pen.alpha <= 0)
        pen.alpha = 1;
    if (n > 1)
        c->class->line(c, p, n, pen);
}

void hl_paper_area(hl_paper *c, const hl_point *p, size_t n, uint32_t rgb, double alpha)
{
    if (n > 2)
        c->class->area(c, p, n, rgb, alpha);
}

void hl_paper_ring(hl_paper *c, hl_point centre, double radius, hl_pen pen)
{
    c->class->ring(c, centre, radius, pen);
}

void hl_paper_text(hl_paper *c, hl_label at, const char *text)
{
    c->class->text(c, at, text);
}

const double *hl_dash_lengths(hl_dash dash, int *n)
{
    static const double lengths[HL_DASH_COUNT][4] = {{0}, {4, 2.5}, {1.2, 1.8}, {6, 2, 1.2, 2}};
    static const int counts[HL_DASH_COUNT] = {0, 2, 2, 4};
    *n = counts[dash];
    return lengths[dash];
}

/* ---- text ---- */

double hl_text_width(const char *text, double size)
{
    double w = 0;
    for (const char *p = text; *p; p++)
        if ((*p & 0xC0) != 0x80) /* once per character */
            w += strchr("iIl.,:;|'!jft()[]1 ", *p) ? 0.38 : strchr("mwMW@%", *p) ? 0.95 : 0.63;
    return w * size;
}

static void add_text(hl_str *b, const char *text, bool xml)
{
    const char *end = text + strlen(text);
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        const size_t n = hl_utf8_length((const char *)s, (size_t)(end - (const char *)s));
        const bool noncharacter = n == 3 && s[0] == 0xEF && s[1] == 0xBF && s[2] >= 0xBE;
        if (n == 0 || noncharacter)
            hl_str_add(b, "\xEF\xBF\xBD");
        else if (*s < 0x20 || *s == 0x7F)
            hl_str_addc(b, ' ');
        else if (xml && *s == '&')
            hl_str_add(b, "&amp;");
        else if (xml && *s == '<')
            hl_str_add(b, "&lt;");
        else if (xml && *s == '>')
            hl_str_add(b, "&gt;");
        else if (xml && *s == '"')
            hl_str_add(b, "&quot;");
        else
            hl_str_addn(b, (const char *)s, n);
        s += n ? n : 1;
    }
}

void hl_text_add_clean(hl_str *b, const char *text)
{
    add_text(b, text, false);
}

void hl_text_add_xml(hl_str *b, const char *text)
{
    add_text(b, text, true);
}
