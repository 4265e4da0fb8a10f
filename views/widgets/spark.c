#include "views/widgets/spark.h"

#include <math.h>

uint32_t hl_bar_char(const hl_grid *g, int level)
{
    static const char ramp[] = " .:-=+*%#"; /* by eighths */
    if (level <= 0)
        return ' ';
    level = level > 8 ? 8 : level;
    switch (hl_block_glyphs(g)) {
    case HL_GLYPHS_BRAILLE:
    case HL_GLYPHS_BLOCK:
        return 0x2580u + (unsigned)level; /* lower eighths */
    case HL_GLYPHS_HALF:
        return level <= 2 ? '_' : level <= 6 ? 0x2584 : 0x2588;
    default:
        return (unsigned char)ramp[level];
    }
}

int hl_spark_draw(hl_canvas c, hl_style s, const float *v, size_t n)
{
    if (c.r.w <= 0 || c.r.h <= 0 || n == 0)
        return 0;
    double lo = HUGE_VAL, hi = -HUGE_VAL;
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i])) {
            lo = fmin(lo, (double)v[i]);
            hi = fmax(hi, (double)v[i]);
        }
    const size_t columns = n < (size_t)c.r.w ? n : (size_t)c.r.w;
    size_t i = 0;
    for (size_t x = 0; x < columns; x++) {
        const size_t end =
            x + 1 == columns ? n : (size_t)((double)n / (double)columns * (double)(x + 1));
        double max = -HUGE_VAL;
        bool is_finite = true;
        for (; i < end; i++) {
            is_finite = is_finite && isfinite(v[i]);
            max = fmax(max, (double)v[i]);
        }
        const double t = hi > lo ? (max - lo) / (hi - lo) : 0.4;
        if (is_finite)
            hl_put_char(c, (int)x, 0, s, hl_bar_char(c.grid, 1 + (int)lround(t * 7)));
        else
            hl_put_char(c, (int)x, 0, HL_STYLE(BAD), '!');
    }
    return (int)columns;
}
