/* A picture that a script described (hop.ui in scripts_lua/hop/ui.lua): elements as JSON, drawn
 * with the widgets. What does not fit is cut off; what is no element is left out. */
#ifndef HL_VIEWS_PICTURE_H
#define HL_VIEWS_PICTURE_H

#include "engine/base/json.h"
#include "views/cell.h"

void hl_picture_draw(hl_canvas c, const hl_json *element);

#endif
