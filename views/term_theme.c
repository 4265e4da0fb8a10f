#include "views/term_theme.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/str.h"

/* One line a role: colours of 16, of 256, marks with colours, marks without. */
#define LOOK(c16, c256, marks_with, marks_without)                                                 \
    {                                                                                              \
        .fg16 = (c16), .fg256 = (c256), .bg16 = -1, .bg256 = -1, .marks = (marks_with),            \
        .mono_marks = (marks_without)                                                              \
    }
#define ON(bg_16, bg_256, c16, c256, marks_with, marks_without)                                    \
    {                                                                                              \
        .fg16 = (c16), .fg256 = (c256), .bg16 = (bg_16), .bg256 = (bg_256), .marks = (marks_with), \
        .mono_marks = (marks_without)                                                              \
    }

/* Without colours series are told apart by marks: plain, bold, faint, underlined, ... */
#define SERIES(i, c16, c256, marks_with)                                                           \
    [HL_ROLE_SERIES + (i)] =                                                                       \
        LOOK(c16, c256, marks_with,                                                                \
             ((i)&1 ? HL_BOLD : 0) | ((i)&2 ? HL_UNDERLINE : 0) | ((i)&4 ? HL_FAINT : 0))
/* Without colours the characters of a heat map carry the value; its upper half is bold. */
#define HEAT(i, c16, c256)                                                                         \
    [HL_ROLE_HEAT + (i)] = LOOK(c16, c256, 0, (i) >= HL_HEAT_ROLES / 2 ? HL_BOLD : 0)

#define NO_COLORS                                                                                  \
    [HL_ROLE_TEXT] = LOOK(-1, -1, 0, 0), [HL_ROLE_DIM] = LOOK(-1, -1, HL_FAINT, HL_FAINT),         \
    [HL_ROLE_TITLE] = LOOK(-1, -1, HL_BOLD, HL_BOLD), [HL_ROLE_BORDER] = LOOK(-1, -1, 0, 0),       \
    [HL_ROLE_FOCUS] = LOOK(-1, -1, HL_BOLD, HL_BOLD),                                              \
    [HL_ROLE_SELECT] = LOOK(-1, -1, HL_REVERSE, HL_REVERSE),                                       \
    [HL_ROLE_KEY] = LOOK(-1, -1, HL_BOLD, HL_BOLD), [HL_ROLE_GOOD] = LOOK(-1, -1, 0, 0),           \
    [HL_ROLE_WARN] = LOOK(-1, -1, HL_UNDERLINE, HL_UNDERLINE),                                     \
    [HL_ROLE_BAD] = LOOK(-1, -1, HL_BOLD | HL_UNDERLINE, HL_BOLD | HL_UNDERLINE),                  \
    [HL_ROLE_LIVE] = LOOK(-1, -1, HL_BOLD, HL_BOLD), SERIES(0, -1, -1, 0),                         \
    SERIES(1, -1, -1, HL_BOLD), SERIES(2, -1, -1, HL_UNDERLINE),                                   \
    SERIES(3, -1, -1, HL_BOLD | HL_UNDERLINE), SERIES(4, -1, -1, HL_FAINT),                        \
    SERIES(5, -1, -1, HL_BOLD | HL_FAINT), SERIES(6, -1, -1, HL_UNDERLINE | HL_FAINT),             \
    SERIES(7, -1, -1, HL_BOLD | HL_UNDERLINE | HL_FAINT), HEAT(0, -1, -1), HEAT(1, -1, -1),        \
    HEAT(2, -1, -1), HEAT(3, -1, -1), HEAT(4, -1, -1), HEAT(5, -1, -1), HEAT(6, -1, -1),           \
    HEAT(7, -1, -1)

/* clang-format off */
static const hl_theme themes[] = {
    /* readable on dark and on light backgrounds */
    {.name = "default", .look = {
        [HL_ROLE_TEXT]   = LOOK(-1, -1, 0, 0),
        [HL_ROLE_DIM]    = LOOK(-1, 244, HL_FAINT, HL_FAINT),
        [HL_ROLE_TITLE]  = LOOK(-1, -1, HL_BOLD, HL_BOLD),
        [HL_ROLE_BORDER] = LOOK(-1, 242, 0, 0),
        [HL_ROLE_FOCUS]  = LOOK(6, 37, HL_BOLD, HL_BOLD),
        [HL_ROLE_SELECT] = LOOK(-1, -1, HL_REVERSE, HL_REVERSE),
        [HL_ROLE_KEY]    = LOOK(6, 37, HL_BOLD, HL_BOLD),
        [HL_ROLE_GOOD]   = LOOK(2, 71, 0, 0),
        [HL_ROLE_WARN]   = LOOK(3, 172, HL_BOLD, HL_UNDERLINE),
        [HL_ROLE_BAD]    = LOOK(1, 196, HL_BOLD, HL_BOLD | HL_UNDERLINE),
        [HL_ROLE_LIVE]   = LOOK(2, 70, HL_BOLD, HL_BOLD),
        SERIES(0, 4, 33, 0), SERIES(1, 1, 203, 0), SERIES(2, 2, 71, 0), SERIES(3, 5, 170, 0),
        SERIES(4, 6, 37, 0), SERIES(5, 3, 178, 0), SERIES(6, -1, 245, 0),
        SERIES(7, 1, 208, HL_BOLD),
        /* viridis; the order of 16 colours follows their lightness */
        HEAT(0, 4, 54), HEAT(1, 4, 60), HEAT(2, 5, 24), HEAT(3, 6, 30),
        HEAT(4, 6, 36), HEAT(5, 2, 71), HEAT(6, 2, 112), HEAT(7, 3, 220)}},
    {.name = "light", .look = {
        [HL_ROLE_TEXT]   = LOOK(-1, -1, 0, 0),
        [HL_ROLE_DIM]    = LOOK(-1, 242, HL_FAINT, HL_FAINT),
        [HL_ROLE_TITLE]  = LOOK(-1, -1, HL_BOLD, HL_BOLD),
        [HL_ROLE_BORDER] = LOOK(-1, 246, 0, 0),
        [HL_ROLE_FOCUS]  = LOOK(4, 25, HL_BOLD, HL_BOLD),
        [HL_ROLE_SELECT] = ON(-1, 153, -1, 16, HL_REVERSE, HL_REVERSE),
        [HL_ROLE_KEY]    = LOOK(4, 25, HL_BOLD, HL_BOLD),
        [HL_ROLE_GOOD]   = LOOK(2, 28, 0, 0),
        [HL_ROLE_WARN]   = LOOK(3, 130, HL_BOLD, HL_UNDERLINE),
        [HL_ROLE_BAD]    = LOOK(1, 160, HL_BOLD, HL_BOLD | HL_UNDERLINE),
        [HL_ROLE_LIVE]   = LOOK(2, 28, HL_BOLD, HL_BOLD),
        SERIES(0, 4, 25, 0), SERIES(1, 1, 160, 0), SERIES(2, 2, 28, 0), SERIES(3, 5, 90, 0),
        SERIES(4, 6, 30, 0), SERIES(5, 3, 130, 0), SERIES(6, 0, 240, 0),
        SERIES(7, 5, 162, HL_BOLD),
        HEAT(0, 3, 220), HEAT(1, 2, 112), HEAT(2, 2, 71), HEAT(3, 6, 36),
        HEAT(4, 6, 30), HEAT(5, 4, 24), HEAT(6, 5, 60), HEAT(7, 0, 54)}},
    {.name = "mono", .mono = true, .look = {NO_COLORS}},
    {.name = "high-contrast", .look = {
        [HL_ROLE_TEXT]   = ON(0, 16, 7, 231, 0, 0),
        [HL_ROLE_DIM]    = ON(0, 16, 7, 252, 0, 0),
        [HL_ROLE_TITLE]  = ON(0, 16, 15, 231, HL_BOLD, HL_BOLD),
        [HL_ROLE_BORDER] = ON(0, 16, 7, 231, 0, 0),
        [HL_ROLE_FOCUS]  = ON(0, 16, 11, 226, HL_BOLD, HL_BOLD),
        [HL_ROLE_SELECT] = ON(7, 231, 0, 16, 0, HL_REVERSE | HL_BOLD),
        [HL_ROLE_KEY]    = ON(0, 16, 11, 226, HL_BOLD, HL_BOLD),
        [HL_ROLE_GOOD]   = ON(0, 16, 10, 46, HL_BOLD, HL_BOLD),
        [HL_ROLE_WARN]   = ON(0, 16, 11, 226, HL_BOLD | HL_UNDERLINE, HL_UNDERLINE),
        [HL_ROLE_BAD]    = ON(1, 196, 15, 231, HL_BOLD, HL_REVERSE | HL_BOLD),
        [HL_ROLE_LIVE]   = ON(0, 16, 10, 46, HL_BOLD, HL_BOLD),
        [HL_ROLE_SERIES]     = ON(0, 16, 15, 231, HL_BOLD, 0),
        [HL_ROLE_SERIES + 1] = ON(0, 16, 11, 226, HL_BOLD, HL_BOLD),
        [HL_ROLE_SERIES + 2] = ON(0, 16, 14, 51, HL_BOLD, HL_UNDERLINE),
        [HL_ROLE_SERIES + 3] = ON(0, 16, 13, 213, HL_BOLD, HL_BOLD | HL_UNDERLINE),
        [HL_ROLE_SERIES + 4] = ON(0, 16, 10, 46, HL_BOLD, HL_FAINT),
        [HL_ROLE_SERIES + 5] = ON(0, 16, 9, 209, HL_BOLD, HL_BOLD | HL_FAINT),
        [HL_ROLE_SERIES + 6] = ON(0, 16, 12, 117, HL_BOLD, HL_UNDERLINE | HL_FAINT),
        [HL_ROLE_SERIES + 7] = ON(0, 16, 7, 252, 0, HL_BOLD | HL_UNDERLINE | HL_FAINT),
        [HL_ROLE_HEAT]     = ON(0, 16, 4, 238, 0, 0),
        [HL_ROLE_HEAT + 1] = ON(0, 16, 4, 241, 0, 0),
        [HL_ROLE_HEAT + 2] = ON(0, 16, 6, 244, 0, 0),
        [HL_ROLE_HEAT + 3] = ON(0, 16, 6, 247, 0, 0),
        [HL_ROLE_HEAT + 4] = ON(0, 16, 7, 250, 0, HL_BOLD),
        [HL_ROLE_HEAT + 5] = ON(0, 16, 7, 253, 0, HL_BOLD),
        [HL_ROLE_HEAT + 6] = ON(0, 16, 15, 229, 0, HL_BOLD),
        [HL_ROLE_HEAT + 7] = ON(0, 16, 15, 226, HL_BOLD, HL_BOLD)}},
    /* Okabe and Ito's eight categories; cividis for the gradient */
    {.name = "colorblind", .look = {
        [HL_ROLE_TEXT]   = LOOK(-1, -1, 0, 0),
        [HL_ROLE_DIM]    = LOOK(-1, 244, HL_FAINT, HL_FAINT),
        [HL_ROLE_TITLE]  = LOOK(-1, -1, HL_BOLD, HL_BOLD),
        [HL_ROLE_BORDER] = LOOK(-1, 242, 0, 0),
        [HL_ROLE_FOCUS]  = LOOK(4, 32, HL_BOLD, HL_BOLD),
        [HL_ROLE_SELECT] = LOOK(-1, -1, HL_REVERSE, HL_REVERSE),
        [HL_ROLE_KEY]    = LOOK(4, 32, HL_BOLD, HL_BOLD),
        [HL_ROLE_GOOD]   = LOOK(4, 32, 0, 0),
        [HL_ROLE_WARN]   = LOOK(3, 178, HL_UNDERLINE, HL_UNDERLINE),
        [HL_ROLE_BAD]    = LOOK(1, 166, HL_BOLD | HL_UNDERLINE, HL_BOLD | HL_UNDERLINE),
        [HL_ROLE_LIVE]   = LOOK(4, 32, HL_BOLD, HL_BOLD),
        SERIES(0, 4, 32, 0), SERIES(1, 3, 178, 0), SERIES(2, 6, 36, 0), SERIES(3, 1, 166, 0),
        SERIES(4, 6, 74, HL_BOLD), SERIES(5, 5, 175, 0), SERIES(6, 3, 185, HL_BOLD),
        SERIES(7, -1, 245, 0),
        HEAT(0, 4, 17), HEAT(1, 4, 24), HEAT(2, 4, 60), HEAT(3, 6, 243),
        HEAT(4, 6, 102), HEAT(5, 3, 143), HEAT(6, 3, 179), HEAT(7, 3, 227)}},
};
/* clang-format on */

const hl_theme *hl_theme_at(size_t i)
{
    return i < sizeof themes / sizeof *themes ? &themes[i] : NULL;
}

/* "15;default;0": foreground, ..., background as numbers of the 16 colours. */
static bool background_is_light(void)
{
    const char *told = getenv("COLORFGBG"), *last = told ? strrchr(told, ';') : NULL;
    return last && (strcmp(last, ";7") == 0 || strcmp(last, ";15") == 0);
}

hl_status hl_theme_find(const char *name, const hl_theme **out)
{
    if (!name)
        name = getenv("HOPLAB_THEME");
    if (!name || !*name)
        name = background_is_light() ? "light" : "default";
    hl_str list = {0};
    for (const hl_theme *t = themes; t < themes + sizeof themes / sizeof *themes; t++) {
        if (strcmp(t->name, name) == 0) {
            hl_str_done(&list);
            *out = t;
            return HL_OK;
        }
        hl_str_addf(&list, "%s%s", list.n ? ", " : "", t->name);
    }
    hl_status st =
        hl_err_set(HL_E_NOTFOUND, "no theme \"%s\"; there are %s", name, hl_str_text(&list));
    hl_str_done(&list);
    return st;
}
