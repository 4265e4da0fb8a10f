#include "views/widgets/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char unit_letter[] = " kMGTPE";

/* v of n_digits significant digits with its SI letter; v is rounded first, so that 999.96 is "1k".
 */
static void put_si(char buf[HL_NUMBER_MAX], double v, int n_digits, int n_units)
{
    char text[32];
    snprintf(text, sizeof text, "%.*e", n_digits - 1, v);
    v = strtod(text, NULL);
    int u = 0;
    while (u + 1 < n_units && fabs(v) >= 1000) {
        v /= 1000;
        u++;
    }
    snprintf(text, sizeof text, "%.*g", n_digits, v);
    if (u == 0)
        snprintf(buf, HL_NUMBER_MAX, "%.17s", text);
    else
        snprintf(buf, HL_NUMBER_MAX, "%.16s%c", text, unit_letter[u]);
}

const char *hl_format_value(char buf[HL_NUMBER_MAX], double v)
{
    const double a = fabs(v);
    if (isnan(v))
        snprintf(buf, HL_NUMBER_MAX, "nan");
    else if (isinf(v))
        snprintf(buf, HL_NUMBER_MAX, v > 0 ? "inf" : "-inf");
    else if (a >= 9.9995e14 || (a < 1e-4 && v != 0))
        snprintf(buf, HL_NUMBER_MAX, "%.4g", v);
    else
        put_si(buf, v, 4, 5);
    return buf;
}

const char *hl_format_known(char buf[HL_NUMBER_MAX], bool known, double v, bool utf8)
{
    if (known)
        return hl_format_value(buf, v);
    snprintf(buf, HL_NUMBER_MAX, utf8 ? "\xe2\x80\x93" : "-");
    return buf;
}

const char *hl_format_count(char buf[HL_NUMBER_MAX], int64_t n)
{
    if (n > -1000 && n < 1000)
        snprintf(buf, HL_NUMBER_MAX, "%d", (int)n);
    else
        put_si(buf, (double)n, 3, 7);
    return buf;
}

static int exponent_of(double a)
{
    return (int)floor(log10(a) + 1e-9);
}

static int clamp(int v, int lo, int hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

const char *hl_format_tick(char buf[HL_NUMBER_MAX], double v, double step)
{
    HL_ASSERT(isfinite(v) && step > 0);
    const double a = fabs(v);
    char text[48];
    if (a < step * 1e-6) {
        snprintf(text, sizeof text, "0");
    } else if (a >= 1e15 || (a < 1e-2 && step < 0.9999e-4)) {
        const int places = clamp(exponent_of(a) - exponent_of(step), 0, 15);
        snprintf(text, sizeof text, "%.*e", places, v);
    } else {
        int u = 0;
        double unit = 1;
        for (; u < 4 && a >= unit * 999.999999; u++)
            unit *= 1000;
        const int places = clamp(-exponent_of(step / unit), 0, 15);
        snprintf(text, sizeof text, "%.*f", places, v / unit);
        if (u > 0) {
            const size_t n = strlen(text);
            text[n] = unit_letter[u];
            text[n + 1] = '\0';
        }
    }
    if (strlen(text) >= HL_NUMBER_MAX)
        text[0] = '\0';
    snprintf(buf, HL_NUMBER_MAX, "%.17s", text);
    return buf;
}
