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

/* ---- from text ---- */

uint32_t hl_color_rgb(int color)
{
    static const uint32_t first[16] = {0x000000, 0xcd0000, 0x00a000, 0xa08000, 0x0000cd, 0xcd00cd,
                                       0x00a0a0, 0xc0c0c0, 0x7f7f7f, 0xff0000, 0x00d000, 0xd0b000,
                                       0x5c5cff, 0xff00ff, 0x00d0d0, 0xffffff};
    if (color < 16)
        return first[color < 0 ? 0 : color];
    if (color >= 232) {
        const uint32_t v = 8 + 10 * (uint32_t)(color - 232);
        return v << 16 | v << 8 | v;
    }
    uint32_t rgb = 0;
    for (int i = 0, n = color - 16, unit = 36; i < 3; i++, n %= unit, unit /= 6) {
        const int level = n / unit;
        rgb = rgb << 8 | (uint32_t)(level ? 55 + 40 * level : 0);
    }
    return rgb;
}

static int16_t nearest_of_16(int color)
{
    const uint32_t rgb = hl_color_rgb(color);
    int best = 0, least = 1 << 30;
    for (int i = 0; i < 16; i++) {
        int distance = 0;
        for (int shift = 0; shift < 24; shift += 8) {
            const int d = (int)(rgb >> shift & 255) - (int)(hl_color_rgb(i) >> shift & 255);
            distance += d * d;
        }
        if (distance < least) {
            least = distance;
            best = i;
        }
    }
    return (int16_t)best;
}

/* "196", "196/9" or "default". */
static bool read_color(const char *word, int16_t *c256, int16_t *c16)
{
    int64_t many = 0, few = 0;
    char head[8];
    const size_t n = strcspn(word, "/");
    *c256 = *c16 = -1;
    if (strcmp(word, "default") == 0)
        return true;
    if (n >= sizeof head)
        return false;
    memcpy(head, word, n);
    head[n] = 0;
    if (hl_parse_i64(head, &many) != HL_OK || many < 0 || many > 255)
        return false;
    few = nearest_of_16((int)many);
    if (word[n] && (hl_parse_i64(word + n + 1, &few) != HL_OK || few < 0 || few > 15))
        return false;
    *c256 = (int16_t)many;
    *c16 = (int16_t)few;
    return true;
}

/* true: it is one, and is in. */
static bool add_mark(const char *word, hl_role_look *look)
{
    static const struct {
        const char *name;
        uint8_t mark;
    } marks[] = {{"plain", 0},
                 {"bold", HL_BOLD},
                 {"faint", HL_FAINT},
                 {"underline", HL_UNDERLINE},
                 {"reverse", HL_REVERSE}};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (strcmp(word, marks[i].name) == 0) {
            look->marks |= marks[i].mark;
            return true;
        }
    return false;
}

static hl_status read_look(const char *text, hl_role_look *out)
{
    hl_role_look look = {.fg16 = -1, .fg256 = -1, .bg16 = -1, .bg256 = -1};
    bool is_ground = false, any = false;
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        char word[24];
        const size_t n = strcspn(text, " ");
        const size_t kept = n < sizeof word ? n : sizeof word - 1;
        memcpy(word, text, kept);
        word[kept] = 0;
        text += n;
        any = true;
        if (strcmp(word, "on") == 0)
            is_ground = true;
        else if (!add_mark(word, &look) && !read_color(word, is_ground ? &look.bg256 : &look.fg256,
                                                       is_ground ? &look.bg16 : &look.fg16))
            return hl_err_set(HL_E_ARG,
                              "'%s' is no look: a colour from 0 to 255, default, on COLOUR, bold, "
                              "faint, underline, reverse, plain",
                              word);
    }
    look.mono_marks = look.marks ? look.marks : out->mono_marks;
    if (any)
        *out = look;
    return HL_OK;
}

int hl_role_find(const char *name)
{
    static const char *const names[] = {
#define HL_ROLE_NAME(upper, name) name,
        HL_ROLES(HL_ROLE_NAME)
#undef HL_ROLE_NAME
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    const size_t n = strlen(name);
    const int k = n ? name[n - 1] - '1' : -1;
    if (n == 7 && hl_str_starts(name, "series") && k >= 0 && k < HL_SERIES_ROLES)
        return HL_ROLE_SERIES + k;
    if (n == 5 && hl_str_starts(name, "heat") && k >= 0 && k < HL_HEAT_ROLES)
        return HL_ROLE_HEAT + k;
    return -1;
}

hl_status hl_theme_change(hl_theme *t, const char *role, const char *look)
{
    const int i = hl_role_find(role);
    if (i < 0)
        return hl_err_set(HL_E_NOTFOUND,
                          "no role '%s'; there are text, dim, title, border, focus, select, key, "
                          "good, warn, bad, live, series1 to series%d, heat1 to heat%d",
                          role, HL_SERIES_ROLES, HL_HEAT_ROLES);
    return read_look(look, &t->look[i]);
}

/* ---- the themes ---- */

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
