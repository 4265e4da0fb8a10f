/* For the tests of the widgets: random numbers that repeat, a canvas with guarded borders, and the
 * picture as text. */
#ifndef HL_VIEWS_WIDGETS_WIDGET_TEST_H
#define HL_VIEWS_WIDGETS_WIDGET_TEST_H

#include "engine/base/str.h"
#include "views/cell.h"

enum { GUARD = 2 };
#define GUARD_CHAR 0xe123u

static inline uint64_t test_bits(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 <= result < 1 */
static inline double test_uniform(uint64_t *state)
{
    return (double)(test_bits(state) >> 11) * 0x1p-53;
}

/* A canvas of w x h cells in a grid whose other cells are guards. */
static inline hl_canvas test_canvas(hl_grid *g, int w, int h, hl_glyphs glyphs)
{
    if (hl_grid_resize(g, w + 2 * GUARD, h + 2 * GUARD) != HL_OK)
        return (hl_canvas){.grid = g};
    g->glyphs = glyphs;
    for (int i = 0; i < g->cols * g->rows; i++)
        g->cell[i] = (hl_cell){.ch = GUARD_CHAR, .style = {.role = HL_ROLE_COUNT}};
    return hl_canvas_part(hl_grid_canvas(g), GUARD, GUARD, w, h);
}

static inline const hl_cell *test_cell(const hl_canvas *c, int x, int y)
{
    const hl_grid *g = c->grid;
    return &g->cell[(size_t)(y + c->r.y) * (size_t)g->cols + (size_t)(x + c->r.x)];
}

/* No guard was touched, and inside stand characters of the glyph level. */
static inline bool test_stayed_inside(const hl_canvas *c)
{
    const hl_grid *g = c->grid;
    for (int y = 0; y < g->rows; y++)
        for (int x = 0; x < g->cols; x++) {
            const hl_cell *k = &g->cell[(size_t)y * (size_t)g->cols + (size_t)x];
            const bool is_inside = hl_rect_has(c->r, x, y);
            const bool is_guard = k->ch == GUARD_CHAR && k->style.role == HL_ROLE_COUNT;
            if (is_inside == is_guard || (is_inside && k->style.role >= HL_ROLE_COUNT))
                return false;
            if (is_inside && g->glyphs == HL_GLYPHS_ASCII && (k->ch < ' ' || k->ch > 126))
                return false;
        }
    return true;
}

/* Lines ended by \n, blanks at their ends left out. */
static inline void test_picture(const hl_canvas *c, hl_str *out)
{
    hl_str_clear(out);
    for (int y = 0; y < c->r.h; y++) {
        int end = c->r.w;
        while (end > 0 && test_cell(c, end - 1, y)->ch == ' ')
            end--;
        for (int x = 0; x < end; x++) {
            const uint32_t ch = test_cell(c, x, y)->ch;
            if (ch < 0x80) {
                hl_str_addc(out, (char)ch);
            } else if (ch < 0x800) {
                hl_str_addc(out, (char)(0xc0 | ch >> 6));
                hl_str_addc(out, (char)(0x80 | (ch & 63)));
            } else {
                hl_str_addc(out, (char)(0xe0 | ch >> 12));
                hl_str_addc(out, (char)(0x80 | (ch >> 6 & 63)));
                hl_str_addc(out, (char)(0x80 | (ch & 63)));
            }
        }
        hl_str_addc(out, '\n');
    }
}

#endif
