/* The picture: a grid of character cells. Views and widgets draw here and nowhere else; a terminal
 * (term.h) shows what changed. A cell names a role ("the third series"), not a colour: the theme of
 * the terminal says how a role looks, so a picture is the same on every colour depth.
 *
 * Everything is drawn through a canvas, a window of the grid with its own origin. What lies outside
 * of it is cut off, so no drawing can hurt a neighbour, whatever the size. Nothing here fails but
 * hl_grid_resize. */
#ifndef HL_VIEWS_CELL_H
#define HL_VIEWS_CELL_H

#include "engine/base/err.h"

/* ---- looks ---- */

#define HL_SERIES_ROLES 8
#define HL_HEAT_ROLES   8

/* role, name in themes */
#define HL_ROLES(X)                                                                                \
    X(TEXT, "text")                                                                                \
    X(DIM, "dim") /* axes, hints, what is less important */                                        \
    X(TITLE, "title")                                                                              \
    X(BORDER, "border")                                                                            \
    X(FOCUS, "focus")   /* border and title of the pane that has the keys */                       \
    X(SELECT, "select") /* the row under the cursor */                                             \
    X(KEY, "key")       /* a key in hints and help */                                              \
    X(GOOD, "good")                                                                                \
    X(WARN, "warn")                                                                                \
    X(BAD, "bad")                                                                                  \
    X(LIVE, "live") /* a run that works right now */

typedef enum hl_role {
#define HL_ROLE_ENUM(upper, name) HL_ROLE_##upper,
    HL_ROLES(HL_ROLE_ENUM)
#undef HL_ROLE_ENUM
        HL_ROLE_SERIES,                              /* and HL_SERIES_ROLES - 1 more */
    HL_ROLE_HEAT = HL_ROLE_SERIES + HL_SERIES_ROLES, /* and HL_HEAT_ROLES - 1 more, low to high */
    HL_ROLE_COUNT = HL_ROLE_HEAT + HL_HEAT_ROLES
} hl_role;

enum { HL_BOLD = 1, HL_REVERSE = 2, HL_UNDERLINE = 4 };

typedef struct hl_style {
    uint8_t role;  /* hl_role */
    uint8_t marks; /* HL_BOLD | ... */
} hl_style;
#define HL_STYLE(upper) ((hl_style){.role = HL_ROLE_##upper})

/* How rich the characters are. Same picture, fewer dots. */
typedef enum hl_glyphs {
    HL_GLYPHS_BRAILLE, /* lines in 2x4 dots a cell */
    HL_GLYPHS_BLOCK,   /* quadrants, 2x2 */
    HL_GLYPHS_HALF,    /* half blocks, 1x2 */
    HL_GLYPHS_ASCII,   /* ' . :, 1x2 */
    HL_GLYPHS_COUNT
} hl_glyphs;
const char *hl_glyphs_name(hl_glyphs g); /* "braille" */
bool hl_glyphs_from(const char *name, hl_glyphs *out);

/* name, code point, the same in ASCII */
#define HL_SIGNS(X)                                                                                \
    X(UNKNOWN, 0x2013, '-') /* a value that is not there */                                        \
    X(RUNNING, 0x25cf, 'R')                                                                        \
    X(PAUSED, 0x2016, '"')                                                                         \
    X(DONE, 0x2713, 'v')                                                                           \
    X(STOPPED, 0x25a0, '#')                                                                        \
    X(FAILED, 0x2717, 'x')                                                                         \
    X(QUEUED, 0x25cb, 'o')                                                                         \
    X(DIVERGED, '!', '!')                                                                          \
    X(SILENT, '?', '?')                                                                            \
    X(LOST, 0x2298, 'L')                                                                           \
    X(INTERRUPTED, 0x25a1, 'i')                                                                    \
    X(GROUP, 0x3a3, 'S') /* sum of runs */                                                         \
    X(SPREAD, 0xb1, '~') /* plus or minus */                                                       \
    X(CURSOR, 0x25b6, '>')                                                                         \
    X(MARKED, 0x25a3, '*')                                                                         \
    X(UNMARKED, 0x25a2, '.')                                                                       \
    X(UP, 0x25b2, '^')                                                                             \
    X(DOWN, 0x25bc, 'v')                                                                           \
    X(CLIP_LOW, 0x25be, 'v')                                                                       \
    X(NOT_FINITE, 0xd7, 'x')                                                                       \
    X(ELLIPSIS, 0x2026, '~')                                                                       \
    X(LINK, 0x2301, '%')                                                                           \
    X(H_LIGHT, 0x2500, '-')                                                                        \
    X(V_LIGHT, 0x2502, '|')                                                                        \
    X(TL_LIGHT, 0x250c, '+')                                                                       \
    X(TR_LIGHT, 0x2510, '+')                                                                       \
    X(BL_LIGHT, 0x2514, '+')                                                                       \
    X(BR_LIGHT, 0x2518, '+')                                                                       \
    X(H_DOUBLE, 0x2550, '=')                                                                       \
    X(V_DOUBLE, 0x2551, '|')                                                                       \
    X(TL_DOUBLE, 0x2554, '#')                                                                      \
    X(TR_DOUBLE, 0x2557, '#')                                                                      \
    X(BL_DOUBLE, 0x255a, '#')                                                                      \
    X(BR_DOUBLE, 0x255d, '#')                                                                      \
    X(TICK_Y, 0x2524, '+')                                                                         \
    X(TICK_X, 0x2534, '+')                                                                         \
    X(DASH_H, 0x254c, '-')                                                                         \
    X(DASH_V, 0x254e, ':')                                                                         \
    X(BAR_FULL, 0x2588, '#')                                                                       \
    X(BAR_EMPTY, 0x2591, '.')

typedef enum hl_sign {
#define HL_SIGN_ENUM(upper, code, ascii) HL_SIGN_##upper,
    HL_SIGNS(HL_SIGN_ENUM)
#undef HL_SIGN_ENUM
        HL_SIGN_COUNT
} hl_sign;

/* ---- the grid ---- */

#define HL_CELL_TAIL 0u /* second column of a wide character */

typedef struct hl_cell {
    uint32_t ch; /* code point that takes columns; HL_CELL_TAIL behind a wide one */
    hl_style style;
} hl_cell;

typedef struct hl_grid {
    int cols, rows;
    hl_cell *cell; /* row by row */
    size_t cap;
    hl_glyphs glyphs;
    bool wide_ambiguous;    /* East Asian Ambiguous characters take two columns */
    int cursor_x, cursor_y; /* where the terminal's cursor shall stand; -1: hidden */
} hl_grid;                  /* {0} is an empty one */

/* Everything blank afterwards. Sizes below 0 count as 0. On failure the grid is as before. */
HL_MUST_CHECK hl_status hl_grid_resize(hl_grid *g, int cols, int rows);
void hl_grid_done(hl_grid *g);
void hl_grid_clear(hl_grid *g);

typedef struct hl_rect {
    int x, y, w, h;
} hl_rect;

bool hl_rect_has(hl_rect r, int x, int y);

/* Where to draw: r in the grid's columns and rows; coordinates of the functions below count from
 * its upper left corner. */
typedef struct hl_canvas {
    hl_grid *grid;
    hl_rect r;
} hl_canvas;

hl_canvas hl_grid_canvas(hl_grid *g);                              /* all of it */
hl_canvas hl_canvas_part(hl_canvas c, int x, int y, int w, int h); /* cut to what c has */

void hl_put_char(hl_canvas c, int x, int y, hl_style s, uint32_t ch); /* 1 column, or a wide one */
void hl_put_sign(hl_canvas c, int x, int y, hl_style s, hl_sign sign);
/* UTF-8 text of any origin on one line; gives the columns it takes (also where they were cut off).
 * Invalid bytes become U+FFFD (? where that is wide), control characters ^X; without UTF-8 glyphs
 * what is not ASCII becomes '?'. Combining marks are left out. */
int hl_put(hl_canvas c, int x, int y, hl_style s, const char *text);
int hl_putf(hl_canvas c, int x, int y, hl_style s, const char *fmt, ...) HL_PRINTF(5, 6);
/* The same in at most w columns, cut with an ellipsis. */
int hl_put_cut(hl_canvas c, int x, int y, int w, hl_style s, const char *text);
/* Ends before column x_end. */
void hl_put_right(hl_canvas c, int x_end, int y, hl_style s, const char *text);
int hl_text_columns(const hl_grid *g, const char *text); /* that hl_put would take */
void hl_blank(hl_canvas c, int x, int y, int w, int h, hl_style s);
void hl_restyle(hl_canvas c, int x, int y, int w, int h, hl_style s); /* keeps the characters */
/* A sign that would take two columns is the one in ASCII. */
uint32_t hl_sign_char(const hl_grid *g, hl_sign sign);
/* The level of glyphs for what is made of block elements: ASCII where they take two columns. */
hl_glyphs hl_block_glyphs(const hl_grid *g);
/* The program's own text may have Greek letters, dashes and the like: they take one column. */
bool hl_has_signs(const hl_grid *g);
bool hl_is_utf8(const hl_canvas *c); /* glyphs beyond ASCII may be drawn */

/* A frame with a title in its upper edge, double when focused. Gives the canvas inside. With w < 2
 * or h < 2 nothing is drawn and the inside is empty. */
hl_canvas hl_put_frame(hl_canvas c, bool focused, const char *title);

/* One code point of UTF-8 text; gives the bytes used (1 for an invalid byte: U+FFFD), 0 at its end.
 */
size_t hl_utf8_next(const char *text, size_t n, uint32_t *ch);
size_t hl_utf8_put(char to[4], uint32_t ch); /* back; gives the bytes written */
int hl_char_columns(const hl_grid *g, uint32_t ch); /* 0, 1 or 2 */
/* Does Unicode leave it to the terminal whether the character takes one column or two? */
bool hl_is_ambiguous(uint32_t ch);

#endif
