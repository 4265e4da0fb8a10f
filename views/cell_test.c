#include "views/cell.h"

#include "engine/base/mem.h"
#include <criterion/criterion.h>

/* One row as ASCII: "@" for what is not, "_" for the second half of a wide character. */
static const char *row_text(const hl_grid *g, int y)
{
    static char text[256];
    for (int x = 0; x < g->cols; x++) {
        const uint32_t ch = g->cell[y * g->cols + x].ch;
        text[x] = ch == HL_CELL_TAIL ? '_' : ch < 127 ? (char)ch : '@';
    }
    text[g->cols] = 0;
    return text;
}

static hl_grid grid(int cols, int rows, hl_glyphs glyphs)
{
    hl_grid g = {.glyphs = glyphs};
    cr_assert_eq(hl_grid_resize(&g, cols, rows), HL_OK);
    return g;
}

static const hl_style plain = {0};

Test(cell, text_is_cut_at_the_edges_of_its_canvas)
{
    hl_grid g = grid(10, 3, HL_GLYPHS_BRAILLE);
    const hl_canvas c = hl_canvas_part(hl_grid_canvas(&g), 2, 1, 5, 1);
    cr_assert_eq(hl_put(c, -2, 0, plain, "abcdefghij"), 10);
    cr_assert_str_eq(row_text(&g, 1), "  cdefg   ");
    hl_put(c, 0, 1, plain, "below");
    hl_put(c, 0, -1, plain, "above");
    cr_assert_str_eq(row_text(&g, 0), "          ");
    cr_assert_str_eq(row_text(&g, 2), "          ");
    hl_grid_done(&g);
}

Test(cell, a_part_never_grows_beyond_its_canvas)
{
    hl_grid g = grid(8, 4, HL_GLYPHS_BRAILLE);
    for (int x = -9; x < 10; x++)
        for (int w = -2; w < 20; w++) {
            const hl_rect r = hl_canvas_part(hl_grid_canvas(&g), x, 1, w, 9).r;
            cr_assert(r.x >= 0 && r.w >= 0 && r.x + r.w <= 8 && r.y + r.h <= 4, "%d %d", x, w);
        }
    hl_grid_done(&g);
}

Test(cell, text_of_any_origin)
{
    static const struct {
        const char *text, *utf8, *ascii;
        int columns;
    } cases[] = {
        {"tab\tbell\a", "tab^Ibell^G ", "tab^Ibell^G ", 11},
        {"\xff\xfe", "@@          ", "??          ", 2},
        {"caf\xc3\xa9", "caf@        ", "caf?        ", 4},
        {"e\xcc\x81x", "ex          ", "ex          ", 2},    /* combining accent */
        {"\xe6\xbc\xa2+", "@_+         ", "??+         ", 3}, /* a wide character */
        {"\xc2\x9b"
         "1m",
         "@1m         ", "?1m         ", 3}, /* CSI in one byte */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int ascii = 0; ascii < 2; ascii++) {
            hl_grid g = grid(12, 1, ascii ? HL_GLYPHS_ASCII : HL_GLYPHS_BRAILLE);
            cr_assert_eq(hl_put(hl_grid_canvas(&g), 0, 0, plain, cases[i].text), cases[i].columns);
            cr_assert_str_eq(row_text(&g, 0), ascii ? cases[i].ascii : cases[i].utf8, "case %zu",
                             i);
            cr_assert_eq(hl_text_columns(&g, cases[i].text), cases[i].columns);
            hl_grid_done(&g);
        }
}

Test(cell, ambiguous_characters_are_as_wide_as_the_terminal_says)
{
    static const struct {
        const char *text, *row; /* of the second: where they take two */
        int one, two;
    } cases[] = {
        {"\xc2\xb1", "@_          ", 1, 2},     /* plus or minus */
        {"caf\xc3\xa9.", "caf@_.      ", 5, 6}, /* e acute */
        {"\xc3\xa5", "@           ", 1, 1},     /* a with a ring is not ambiguous */
        {"\xe4\xb8\xad", "@_          ", 2, 2}, /* wide everywhere */
        {"e\xcc\x81x", "ex          ", 2, 2},   /* a combining accent is ambiguous, too */
        {"\xd0\x9c\xd0\xb8\xd1\x80", "@_@_@_      ", 3, 6}, /* Cyrillic */
        {"\xe2\xa3\xbf", "@           ", 1, 1},             /* braille */
        {"\xff", "?           ", 1, 1},                     /* U+FFFD would be one */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hl_grid g = grid(12, 1, HL_GLYPHS_BRAILLE);
        cr_expect_eq(hl_text_columns(&g, cases[i].text), cases[i].one, "case %zu", i);
        g.wide_ambiguous = true;
        cr_expect_eq(hl_text_columns(&g, cases[i].text), cases[i].two, "case %zu", i);
        cr_expect_eq(hl_put(hl_grid_canvas(&g), 0, 0, plain, cases[i].text), cases[i].two);
        cr_expect_str_eq(row_text(&g, 0), cases[i].row, "case %zu", i);
        hl_grid_done(&g);
    }
}

/* Python's unicodedata says so of these; the edges of ranges, and what lies beside them. */
Test(cell, ambiguous_characters)
{
    static const uint32_t is[] = {0xa1,   0xb7,   0xd7,   0x3a3,    0x410,   0x44f,
                                  0x2013, 0x2026, 0x2500, 0x2573,   0x2588,  0x25cf,
                                  0xe000, 0xf8ff, 0xfffd, 0x100000, 0x10fffd};
    static const uint32_t is_not[] = {0,      ' ',    '~',      0xa0,      0xa2,   0x301,
                                      0x254c, 0x2574, 0x2591,   0x2713,    0x2800, 0x4e2d,
                                      0xdfff, 0xf900, 0x10fffe, 0xffffffff};
    for (size_t i = 0; i < sizeof is / sizeof is[0]; i++)
        cr_expect(hl_is_ambiguous(is[i]), "U+%04X", (unsigned)is[i]);
    for (size_t i = 0; i < sizeof is_not / sizeof is_not[0]; i++)
        cr_expect(!hl_is_ambiguous(is_not[i]), "U+%04X", (unsigned)is_not[i]);
}

Test(cell, signs_never_take_two_columns)
{
    for (int i = 0; i < HL_SIGN_COUNT; i++)
        for (int k = 0; k < HL_GLYPHS_COUNT; k++) {
            hl_grid g = {.glyphs = (hl_glyphs)k, .wide_ambiguous = true};
            const uint32_t ch = hl_sign_char(&g, (hl_sign)i);
            cr_expect_eq(hl_char_columns(&g, ch), 1, "sign %d", i);
            cr_expect(k != HL_GLYPHS_ASCII || ch < 127);
        }
    hl_grid g = {.wide_ambiguous = true};
    cr_expect_eq(hl_sign_char(&g, HL_SIGN_FAILED), 0x2717, "one that is not ambiguous stays");
}

Test(cell, half_a_wide_character_is_never_left)
{
    hl_grid g = grid(4, 1, HL_GLYPHS_BRAILLE);
    const hl_canvas c = hl_grid_canvas(&g);
    hl_put(c, 0, 0, plain, "\xe6\xbc\xa2\xe6\xbc\xa2");
    hl_put(c, 1, 0, plain, "x");
    cr_assert_str_eq(row_text(&g, 0), " x@_");
    hl_put(c, 2, 0, plain, "y");
    cr_assert_str_eq(row_text(&g, 0), " xy ");
    hl_put(c, 3, 0, plain, "\xe6\xbc\xa2"); /* one column is left for two */
    cr_assert_str_eq(row_text(&g, 0), " xy ");
    g.wide_ambiguous = true;
    hl_put(c, 0, 0, plain, "\xc3\xa9\xc3\xa9");
    hl_put(c, 1, 0, plain, "x");
    cr_assert_str_eq(row_text(&g, 0), " x@_");
    hl_put_cut(c, 0, 0, 2, plain, "a\xc3\xa9");
    cr_assert_str_eq(row_text(&g, 0), "a~@_");
    hl_grid_done(&g);
}

Test(cell, long_text_ends_in_an_ellipsis)
{
    hl_grid g = grid(8, 1, HL_GLYPHS_ASCII);
    const hl_canvas c = hl_grid_canvas(&g);
    cr_assert_eq(hl_put_cut(c, 1, 0, 4, plain, "abcdef"), 4);
    cr_assert_str_eq(row_text(&g, 0), " abc~   ");
    hl_grid_clear(&g);
    cr_assert_eq(hl_put_cut(c, 1, 0, 6, plain, "abcdef"), 6);
    cr_assert_str_eq(row_text(&g, 0), " abcdef ");
    hl_put_right(c, 8, 0, plain, "end");
    cr_assert_str_eq(row_text(&g, 0), " abcdend");
    hl_grid_done(&g);
}

Test(cell, frames_at_every_size)
{
    for (int w = 0; w < 12; w++)
        for (int h = 0; h < 6; h++) {
            hl_grid g = grid(w + 2, h + 2, HL_GLYPHS_ASCII);
            const hl_canvas c = hl_canvas_part(hl_grid_canvas(&g), 1, 1, w, h);
            const hl_canvas in = hl_put_frame(c, h % 2, "a title that is too long");
            cr_assert(in.r.w == (w < 2 || h < 2 ? 0 : w - 2));
            for (int x = 0; x < w + 2; x++)
                cr_assert(g.cell[x].ch == ' ' && g.cell[(h + 1) * g.cols + x].ch == ' ');
            for (int y = 0; y < h + 2; y++)
                cr_assert(g.cell[y * g.cols].ch == ' ' && g.cell[y * g.cols + w + 1].ch == ' ');
            hl_grid_done(&g);
        }
}

Test(cell, glyph_levels_have_names)
{
    for (int i = 0; i < HL_GLYPHS_COUNT; i++) {
        hl_glyphs g;
        cr_assert(hl_glyphs_from(hl_glyphs_name((hl_glyphs)i), &g));
        cr_assert_eq(g, i);
    }
    hl_glyphs g;
    cr_assert(!hl_glyphs_from("dots", &g));
}

Test(cell, without_memory_the_grid_stays)
{
    hl_grid g = grid(4, 2, HL_GLYPHS_ASCII);
    hl_put(hl_grid_canvas(&g), 0, 0, plain, "keep");
    hl_mem_fail_after(0);
    cr_assert_eq(hl_grid_resize(&g, 400, 200), HL_E_NOMEM);
    hl_mem_fail_after(-1);
    cr_assert_eq(g.cols, 4);
    cr_assert_str_eq(row_text(&g, 0), "keep");
    hl_grid_done(&g);
}
