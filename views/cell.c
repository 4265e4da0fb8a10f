#include "views/cell.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "engine/base/vec.h"

#define REPLACEMENT 0xfffdu

typedef struct sign_row {
    uint32_t code;
    char ascii;
} sign_row;

static const sign_row signs[HL_SIGN_COUNT] = {
#define HL_SIGN_ROW(upper, code, ascii) {code, ascii},
    HL_SIGNS(HL_SIGN_ROW)
#undef HL_SIGN_ROW
};

static const char *const glyph_names[HL_GLYPHS_COUNT] = {"braille", "block", "half", "ascii"};

const char *hl_glyphs_name(hl_glyphs g)
{
    return (unsigned)g < HL_GLYPHS_COUNT ? glyph_names[g] : "?";
}

bool hl_glyphs_from(const char *name, hl_glyphs *out)
{
    for (int i = 0; i < HL_GLYPHS_COUNT; i++)
        if (strcmp(name, glyph_names[i]) == 0) {
            *out = (hl_glyphs)i;
            return true;
        }
    return false;
}

/* ---- the grid ---- */

hl_status hl_grid_resize(hl_grid *g, int cols, int rows)
{
    cols = cols < 0 ? 0 : cols;
    rows = rows < 0 ? 0 : rows;
    hl_status st =
        hl_vec_grow((void **)&g->cell, &g->cap, (size_t)cols * (size_t)rows, sizeof *g->cell);
    if (st != HL_OK)
        return st;
    g->cols = cols;
    g->rows = rows;
    hl_grid_clear(g);
    return HL_OK;
}

void hl_grid_done(hl_grid *g)
{
    hl_free(g->cell);
    *g = (hl_grid){0};
}

void hl_grid_clear(hl_grid *g)
{
    for (size_t i = 0; i < (size_t)g->cols * (size_t)g->rows; i++)
        g->cell[i] = (hl_cell){.ch = ' '};
    g->cursor_x = g->cursor_y = -1;
}

bool hl_rect_has(hl_rect r, int x, int y)
{
    return x >= r.x && y >= r.y && x < r.x + r.w && y < r.y + r.h;
}

hl_canvas hl_grid_canvas(hl_grid *g)
{
    return (hl_canvas){.grid = g, .r = {0, 0, g->cols, g->rows}};
}

static int limit(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

hl_canvas hl_canvas_part(hl_canvas c, int x, int y, int w, int h)
{
    const int x0 = limit(x, 0, c.r.w), y0 = limit(y, 0, c.r.h);
    const int x1 = limit(x + w, x0, c.r.w), y1 = limit(y + h, y0, c.r.h);
    c.r = (hl_rect){c.r.x + x0, c.r.y + y0, x1 - x0, y1 - y0};
    return c;
}

/* ---- characters ---- */

size_t hl_utf8_next(const char *text, size_t n, uint32_t *ch)
{
    utf8proc_int32_t code;
    if (n == 0)
        return 0;
    const utf8proc_ssize_t used =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &code);
    if (used <= 0) {
        *ch = REPLACEMENT;
        return 1;
    }
    *ch = (uint32_t)code;
    return (size_t)used;
}

size_t hl_utf8_put(char to[4], uint32_t ch)
{
    if (ch < 0x80)
        return to[0] = (char)ch, 1;
    if (ch < 0x800) {
        to[0] = (char)(0xc0 | ch >> 6);
        to[1] = (char)(0x80 | (ch & 0x3f));
        return 2;
    }
    if (ch < 0x10000) {
        to[0] = (char)(0xe0 | ch >> 12);
        to[1] = (char)(0x80 | (ch >> 6 & 0x3f));
        to[2] = (char)(0x80 | (ch & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | ch >> 18);
    to[1] = (char)(0x80 | (ch >> 12 & 0x3f));
    to[2] = (char)(0x80 | (ch >> 6 & 0x3f));
    to[3] = (char)(0x80 | (ch & 0x3f));
    return 4;
}

bool hl_is_ambiguous(uint32_t ch)
{
    static const uint32_t ranges[][2] = {
#define HL_AMBIGUOUS(first, last) {first, last}, /* both in it, ascending */
#include "views/ambiguous.def"
#undef HL_AMBIGUOUS
    };
    size_t lo = 0, hi = sizeof ranges / sizeof ranges[0];
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (ch > ranges[mid][1])
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sizeof ranges / sizeof ranges[0] && ch >= ranges[lo][0];
}

int hl_char_columns(const hl_grid *g, uint32_t ch)
{
    if (ch >= ' ' && ch < 127)
        return 1;
    const int columns = limit(utf8proc_charwidth((utf8proc_int32_t)ch), 0, 2);
    return columns == 1 && g->wide_ambiguous && hl_is_ambiguous(ch) ? 2 : columns;
}

hl_glyphs hl_block_glyphs(const hl_grid *g)
{
    return g->wide_ambiguous ? HL_GLYPHS_ASCII : g->glyphs;
}

bool hl_has_signs(const hl_grid *g)
{
    return hl_block_glyphs(g) != HL_GLYPHS_ASCII;
}

uint32_t hl_sign_char(const hl_grid *g, hl_sign sign)
{
    const bool ascii = g->glyphs == HL_GLYPHS_ASCII || hl_char_columns(g, signs[sign].code) > 1;
    return ascii ? (uint32_t)(unsigned char)signs[sign].ascii : signs[sign].code;
}

bool hl_is_utf8(const hl_canvas *c)
{
    return c->grid->glyphs != HL_GLYPHS_ASCII;
}

/* A wide character of which one half is overwritten loses the other half. */
static void unpair(hl_grid *g, int x, int y)
{
    hl_cell *row = g->cell + (size_t)y * (size_t)g->cols;
    if (row[x].ch == HL_CELL_TAIL && x > 0)
        row[x - 1].ch = ' ';
    else if (x + 1 < g->cols && row[x + 1].ch == HL_CELL_TAIL)
        row[x + 1].ch = ' ';
}

static void set(hl_canvas c, int x, int y, hl_style s, uint32_t ch)
{
    hl_grid *g = c.grid;
    x += c.r.x;
    y += c.r.y;
    unpair(g, x, y);
    g->cell[(size_t)y * (size_t)g->cols + (size_t)x] = (hl_cell){.ch = ch, .style = s};
}

void hl_put_char(hl_canvas c, int x, int y, hl_style s, uint32_t ch)
{
    if (x < 0 || y < 0 || x >= c.r.w || y >= c.r.h)
        return;
    if (ch > 126 && !hl_is_utf8(&c))
        ch = '?';
    if (hl_char_columns(c.grid, ch) < 2) {
        set(c, x, y, s, ch);
    } else if (x + 1 >= c.r.w) { /* half of it does not fit */
        set(c, x, y, s, ' ');
    } else {
        set(c, x, y, s, ch);
        set(c, x + 1, y, s, ' ');
        c.grid->cell[(size_t)(y + c.r.y) * (size_t)c.grid->cols + (size_t)(x + c.r.x + 1)].ch =
            HL_CELL_TAIL;
    }
}

void hl_put_sign(hl_canvas c, int x, int y, hl_style s, hl_sign sign)
{
    hl_put_char(c, x, y, s, hl_sign_char(c.grid, sign));
}

/* ---- text ---- */

/* What is drawn for the next piece of a text: one or two code points that take columns. */
typedef struct piece {
    uint32_t ch[2];
    int n, columns;
    size_t bytes; /* 0: the text is over */
} piece;

static piece next_piece(const hl_grid *g, const char *text, size_t n)
{
    piece p = {.n = 1};
    p.bytes = hl_utf8_next(text, n, &p.ch[0]);
    if (p.bytes == 0)
        return p;
    if (p.ch[0] < ' ' || p.ch[0] == 127) {
        p.ch[1] = p.ch[0] ^ 0x40;
        p.ch[0] = '^';
        p.n = p.columns = 2;
        return p;
    }
    if (p.ch[0] >= 0x80 && p.ch[0] < 0xa0) /* controls of the second kind */
        p.ch[0] = REPLACEMENT;
    if (p.ch[0] == REPLACEMENT && g->wide_ambiguous)
        p.ch[0] = '?';
    p.columns = hl_char_columns(g, p.ch[0]);
    if (p.columns == 0)
        p.n = 0;
    return p;
}

int hl_text_columns(const hl_grid *g, const char *text)
{
    int columns = 0;
    for (size_t n = strlen(text); n > 0;) {
        const piece p = next_piece(g, text, n);
        columns += p.columns;
        text += p.bytes;
        n -= p.bytes;
    }
    return columns;
}

int hl_put(hl_canvas c, int x, int y, hl_style s, const char *text)
{
    const int start = x;
    for (size_t n = strlen(text); n > 0;) {
        const piece p = next_piece(c.grid, text, n);
        for (int i = 0; i < p.n; i++)
            hl_put_char(c, x + i, y, s, p.ch[i]);
        if (p.columns == 2 && p.n == 1 && !hl_is_utf8(&c)) /* as wide as it would be */
            hl_put_char(c, x + 1, y, s, '?');
        x += p.columns;
        text += p.bytes;
        n -= p.bytes;
    }
    return x - start;
}

int hl_putf(hl_canvas c, int x, int y, hl_style s, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return hl_put(c, x, y, s, text);
}

int hl_put_cut(hl_canvas c, int x, int y, int w, hl_style s, const char *text)
{
    if (w <= 0)
        return 0;
    const hl_canvas part = hl_canvas_part(c, x < 0 ? 0 : x, y, w - (x < 0 ? -x : 0), 1);
    const int columns = hl_text_columns(c.grid, text);
    hl_put(part, x < 0 ? x : 0, 0, s, text);
    if (columns <= w)
        return columns;
    hl_put_sign(part, part.r.w - 1, 0, s, HL_SIGN_ELLIPSIS);
    return w;
}

void hl_put_right(hl_canvas c, int x_end, int y, hl_style s, const char *text)
{
    hl_put(c, x_end - hl_text_columns(c.grid, text), y, s, text);
}

void hl_blank(hl_canvas c, int x, int y, int w, int h, hl_style s)
{
    const hl_canvas part = hl_canvas_part(c, x, y, w, h);
    for (int j = 0; j < part.r.h; j++)
        for (int i = 0; i < part.r.w; i++)
            set(part, i, j, s, ' ');
}

void hl_restyle(hl_canvas c, int x, int y, int w, int h, hl_style s)
{
    const hl_rect r = hl_canvas_part(c, x, y, w, h).r;
    for (int j = r.y; j < r.y + r.h; j++)
        for (int i = r.x; i < r.x + r.w; i++)
            c.grid->cell[(size_t)j * (size_t)c.grid->cols + (size_t)i].style = s;
}

/* ---- frames ---- */

static void put_edges(hl_canvas c, hl_style s, const hl_sign side[6])
{
    const int right = c.r.w - 1, bottom = c.r.h - 1;
    for (int x = 1; x < right; x++) {
        hl_put_sign(c, x, 0, s, side[0]);
        hl_put_sign(c, x, bottom, s, side[0]);
    }
    for (int y = 1; y < bottom; y++) {
        hl_put_sign(c, 0, y, s, side[1]);
        hl_put_sign(c, right, y, s, side[1]);
    }
    hl_put_sign(c, 0, 0, s, side[2]);
    hl_put_sign(c, right, 0, s, side[3]);
    hl_put_sign(c, 0, bottom, s, side[4]);
    hl_put_sign(c, right, bottom, s, side[5]);
}

hl_canvas hl_put_frame(hl_canvas c, bool focused, const char *title)
{
    static const hl_sign light[6] = {HL_SIGN_H_LIGHT,  HL_SIGN_V_LIGHT,  HL_SIGN_TL_LIGHT,
                                     HL_SIGN_TR_LIGHT, HL_SIGN_BL_LIGHT, HL_SIGN_BR_LIGHT};
    static const hl_sign bold[6] = {HL_SIGN_H_DOUBLE,  HL_SIGN_V_DOUBLE,  HL_SIGN_TL_DOUBLE,
                                    HL_SIGN_TR_DOUBLE, HL_SIGN_BL_DOUBLE, HL_SIGN_BR_DOUBLE};
    if (c.r.w < 2 || c.r.h < 2)
        return hl_canvas_part(c, 0, 0, 0, 0);
    const hl_style s = focused ? HL_STYLE(FOCUS) : HL_STYLE(BORDER);
    put_edges(c, s, focused ? bold : light);
    if (title && *title && c.r.w > 6) {
        hl_style t = focused ? HL_STYLE(FOCUS) : HL_STYLE(TITLE);
        t.marks = focused ? HL_BOLD : 0;
        const int used = hl_put_cut(c, 3, 0, c.r.w - 6, t, title);
        hl_put_char(c, 2, 0, t, ' ');
        hl_put_char(c, 3 + used, 0, t, ' ');
    }
    return hl_canvas_part(c, 1, 1, c.r.w - 2, c.r.h - 2);
}
