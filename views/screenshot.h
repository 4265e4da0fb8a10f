/* A part of a picture as text ("text"), as text with colours ("ans"), as "svg" or "png". */
#ifndef HL_VIEWS_SCREENSHOT_H
#define HL_VIEWS_SCREENSHOT_H

#include "engine/base/str.h"
#include "views/cell.h"
#include "views/term_theme.h"

/* In the colours that the theme has on 256. Errors: STATE (nothing in it), UNSUPPORTED (PNG without
 * cairo), NOMEM. */
HL_MUST_CHECK hl_status hl_screenshot(const hl_grid *g, hl_rect part, const hl_theme *look,
                                      const char *what, hl_str *out);

#endif
