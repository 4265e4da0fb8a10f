/* Themes: how each role looks, on 16 colours, on 256 and without any. -1 is the terminal's own
 * colour. A theme never changes the palette. */
#ifndef HL_VIEWS_TERM_THEME_H
#define HL_VIEWS_TERM_THEME_H

#include "engine/base/err.h"
#include "views/cell.h"

enum { HL_FAINT = 8 }; /* beside HL_BOLD, HL_REVERSE and HL_UNDERLINE */

typedef struct hl_role_look {
    int16_t fg16, fg256, bg16, bg256;
    uint8_t marks;      /* HL_BOLD | ... with colours */
    uint8_t mono_marks; /* without */
} hl_role_look;

typedef struct hl_theme {
    const char *name;
    bool mono; /* shows no colour on any terminal */
    hl_role_look look[HL_ROLE_COUNT];
} hl_theme;

/* NULL: HOPLAB_THEME, else "light" where COLORFGBG tells of a light background, else "default".
 * NOTFOUND: the message lists them. */
HL_MUST_CHECK hl_status hl_theme_find(const char *name, const hl_theme **out);
const hl_theme *hl_theme_at(size_t i); /* NULL behind the last one */

/* Changes how one role looks: "text", "bad", "series1" to "series8", "heat1" to "heat8"; look:
 * "196", "196/9 on 16/0 bold underline", "reverse", "plain". Colours are those of 256, behind a
 * slash that of 16 (else the nearest one); "default" is the terminal's own. Marks that a look
 * names hold without colours too; one that names none keeps those that the role had there. For
 * tables and files of themes. Errors: NOTFOUND (no such role), ARG (what the look means). */
HL_MUST_CHECK hl_status hl_theme_change(hl_theme *t, const char *role, const char *look);
int hl_role_find(const char *name); /* hl_role, or -1 */
uint32_t hl_color_rgb(int color);   /* of 256, as 0xrrggbb */

#endif
