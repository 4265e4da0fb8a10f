/* A picture that a script described (hop.ui in scripts_lua/hop/ui.lua): elements as JSON, drawn
 * with the widgets. What does not fit is cut off; what is no element is left out. */
#ifndef HL_VIEWS_PICTURE_H
#define HL_VIEWS_PICTURE_H

#include "engine/base/json.h"
#include "views/cell.h"
#include "views/term_theme.h"

void hl_picture_draw(hl_canvas c, const hl_json *element);
/* Rows it asks for; what takes a share of what is there counts as `share`. */
int hl_picture_rows(const hl_json *element, int share);

typedef struct hl_picture_form {
    const char *what;  /* "csv", "json", "text", "ans", "svg" or "png" */
    int cols, rows;    /* of the picture; csv and json have none */
    hl_glyphs glyphs;  /* of the letters */
    bool wide_ambiguous;  /* as in a grid */
    const hl_theme *look; /* its colours */
} hl_picture_form;

/* CSV has a part for each element, behind a line "# kind: title"; JSON is the description as it
 * came. Errors: UNSUPPORTED (PNG without cairo), NOMEM. picture_export.c. */
HL_MUST_CHECK hl_status hl_picture_export(const hl_json *element, const hl_picture_form *form,
                                          hl_str *out);

#endif
