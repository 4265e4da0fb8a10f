#include "views/widgets/gauge.h"

#include <math.h>

void hl_gauge_draw(hl_canvas c, hl_style s, double fraction, const char *text)
{
    const int text_w = text ? hl_text_columns(c.grid, text) : 0;
    const int bar_w = c.r.w - (text_w > 0 ? text_w + 1 : 0);
    if (c.r.h <= 0 || c.r.w <= 0)
        return;
    hl_blank(c, 0, 0, c.r.w, 1, HL_STYLE(TEXT));
    if (isnan(fraction) || bar_w <= 0) {
        if (text)
            hl_put_cut(c, 0, 0, c.r.w, HL_STYLE(TEXT), text);
        return;
    }
    const double part = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    const int full = (int)floor(part * bar_w); /* full only when all is done */
    for (int x = 0; x < bar_w; x++)
        hl_put_sign(c, x, 0, x < full ? s : HL_STYLE(DIM),
                    x < full ? HL_SIGN_BAR_FULL : HL_SIGN_BAR_EMPTY);
    if (text)
        hl_put(c, bar_w + 1, 0, HL_STYLE(TEXT), text);
}
