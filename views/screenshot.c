#include "views/screenshot.h"

#include <string.h>

#include "app/hl_app.h"
#include "views/term_theme.h"

enum { CELL_W = 9, CELL_H = 18, FONT_SIZE = 15, BASE = 14 };
static const uint32_t PAPER = 0xffffff, INK = 0x222222;

/* ---- letters ---- */

static const hl_cell *cell_at(const hl_grid *g, hl_rect part, int x, int y)
{
    return &g->cell[(size_t)(part.y + y) * (size_t)g->cols + (size_t)(part.x + x)];
}

static int width_of_row(const hl_grid *g, hl_rect part, int y)
{
    int w = part.w;
    while (w > 0 && cell_at(g, part, w - 1, y)->ch == ' ')
        w--;
    return w;
}

static void add_ansi(hl_str *out, const hl_theme *theme, hl_style style)
{
    const hl_role_look *k = &theme->look[style.role < HL_ROLE_COUNT ? style.role : 0];
    const unsigned marks = k->marks | style.marks;
    hl_str_add(out, "\033[0");
    if (marks & HL_BOLD)
        hl_str_add(out, ";1");
    if (marks & HL_FAINT && k->fg256 < 0)
        hl_str_add(out, ";2");
    if (marks & HL_UNDERLINE)
        hl_str_add(out, ";4");
    if (marks & HL_REVERSE)
        hl_str_add(out, ";7");
    if (k->fg256 >= 0)
        hl_str_addf(out, ";38;5;%d", k->fg256);
    if (k->bg256 >= 0)
        hl_str_addf(out, ";48;5;%d", k->bg256);
    hl_str_addc(out, 'm');
}

/* theme NULL: without colours */
static void add_text(const hl_grid *g, hl_rect part, const hl_theme *theme, hl_str *out)
{
    for (int y = 0; y < part.h; y++) {
        hl_style now = {0};
        const int w = width_of_row(g, part, y);
        for (int x = 0; x < w; x++) {
            const hl_cell *c = cell_at(g, part, x, y);
            char bytes[4];
            if (c->ch == HL_CELL_TAIL)
                continue;
            if (theme && (x == 0 || c->style.role != now.role || c->style.marks != now.marks))
                add_ansi(out, theme, c->style);
            now = c->style;
            hl_str_addn(out, bytes, hl_utf8_put(bytes, c->ch));
        }
        if (theme && w > 0)
            hl_str_add(out, "\033[0m");
        hl_str_addc(out, '\n');
    }
}

/* ---- pictures ---- */

/* Dots as boxes: few fonts of programs that draw pictures have them. */
static void put_dots(hl_paper *paper, uint32_t mask, double x, double y, uint32_t rgb)
{
    static const uint8_t bit[4][2] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    hl_box box[8];
    size_t n = 0;
    for (int row = 0; row < 4; row++)
        for (int column = 0; column < 2; column++)
            if (mask & bit[row][column])
                box[n++] = (hl_box){x + 1 + 4.5 * column, y + 1 + 4.5 * row, 3, 3};
    hl_paper_boxes(paper, box, n, rgb);
}

static void put_cell(hl_paper *paper, const hl_theme *theme, const hl_grid *g, const hl_cell *c,
                     int x, int y)
{
    const hl_role_look *k = &theme->look[c->style.role < HL_ROLE_COUNT ? c->style.role : 0];
    const unsigned marks = k->marks | c->style.marks;
    const double left = CELL_W * x, top = CELL_H * y;
    uint32_t ink = k->fg256 >= 0 ? hl_color_rgb(k->fg256) : INK;
    uint32_t ground = k->bg256 >= 0 ? hl_color_rgb(k->bg256) : PAPER;
    char text[5] = "";
    if (marks & HL_REVERSE) {
        const uint32_t t = ink;
        ink = ground;
        ground = t;
    }
    if (ground != PAPER)
        hl_paper_boxes(paper, &(hl_box){left, top, CELL_W, CELL_H}, 1, ground);
    if (c->ch == ' ' || c->ch == HL_CELL_TAIL)
        return;
    if (c->ch > 0x2800 && c->ch <= 0x28ff) {
        put_dots(paper, c->ch - 0x2800, left, top, ink);
        return;
    }
    text[hl_utf8_put(text, c->ch)] = 0;
    const hl_label at = {.x = left + CELL_W * hl_char_columns(g, c->ch) / 2.0,
                         .y = top + BASE,
                         .size = FONT_SIZE,
                         .bold = (marks & HL_BOLD) != 0,
                         .rgb = ink};
    hl_paper_text(paper, at, text);
}

hl_status hl_screenshot(const hl_grid *g, hl_rect part, const hl_theme *look, const char *what,
                        hl_str *out)
{
    hl_status st = HL_OK;
    hl_paper *paper = NULL;
    const double w = CELL_W * part.w, h = CELL_H * part.h;
    if (part.w <= 0 || part.h <= 0)
        HL_FAIL(HL_E_STATE, "there is nothing on the screen");
    if (strcmp(what, "svg") != 0 && strcmp(what, "png") != 0) {
        add_text(g, part, strcmp(what, "ans") == 0 ? look : NULL, out);
        return hl_str_status(out);
    }
    HL_TRY(strcmp(what, "png") == 0 ? hl_paper_png_new(w, h, &paper)
                                    : hl_paper_svg_new(w, h, &paper));
    for (int y = 0; y < part.h; y++)
        for (int x = 0; x < part.w; x++)
            put_cell(paper, look, g, cell_at(g, part, x, y), x, y);
    HL_TRY(hl_paper_finish(paper, out));
out:
    hl_paper_free(paper);
    return st;
}
