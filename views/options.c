/* Settings of the screen: `:set NAME=VALUE`, `:set NAME?`. */
#include <stdio.h>
#include <string.h>

#include "views/screen.h"

typedef struct option {
    const char *name, *values, *help; /* values: words between blanks, or what it is */
    hl_status (*set)(hl_screen *s, const char *value);
    void (*get)(hl_screen *s, char *buf, size_t n);
} option;

static hl_status parse_switch(const char *value, bool *out)
{
    const bool on = strcmp(value, "on") == 0 || strcmp(value, "1") == 0;
    if (!on && strcmp(value, "off") != 0 && strcmp(value, "0") != 0)
        return hl_err_set(HL_E_ARG, "'%s' is neither on nor off", value);
    *out = on;
    return HL_OK;
}

static hl_status parse_number(const char *value, double lo, double hi, double *out)
{
    hl_status st = hl_parse_f64(value, out);
    if (st == HL_OK && !(*out >= lo && *out <= hi))
        st = hl_err_set(HL_E_ARG, "%s is outside of %g to %g", value, lo, hi);
    return st;
}

static hl_status set_color(hl_screen *s, const char *value)
{
    return hl_term_set_colors(s->term, strcmp(value, "0") == 0 ? "never" : value);
}

static void get_color(hl_screen *s, char *buf, size_t n)
{
    static const char *const names[] = {
        [HL_COLOR_MONO] = "never", [HL_COLOR_16] = "16", [HL_COLOR_256] = "256"};
    snprintf(buf, n, "%s", names[hl_term_colors(s->term)]);
}

static hl_status set_fps(hl_screen *s, const char *value)
{
    double v;
    hl_status st = parse_number(value, 1, 60, &v);
    if (st == HL_OK)
        s->settings.fps = (int)v;
    return st;
}

static void get_fps(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, "%d", s->settings.fps);
}

static hl_status set_sensitivity(hl_screen *s, const char *value)
{
    double v;
    hl_status st = parse_number(value, 1, 1e6, &v);
    if (st == HL_OK)
        s->settings.sensitivity = (int)v;
    return st;
}

static void get_sensitivity(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, "%d", s->settings.sensitivity);
}

static hl_status set_glyphs(hl_screen *s, const char *value)
{
    hl_glyphs g;
    if (!hl_glyphs_from(value, &g))
        return hl_err_set(HL_E_ARG, "no glyphs '%s': braille, block, half or ascii", value);
    hl_term_set_glyphs(s->term, g);
    return HL_OK;
}

static void get_glyphs(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, "%s", hl_glyphs_name(hl_term_glyphs(s->term)));
}

static hl_status set_grid(hl_screen *s, const char *value)
{
    char cols[8];
    int64_t c = 0, r = 0;
    const size_t x = strcspn(value, "x");
    if (strcmp(value, "auto") != 0) {
        snprintf(cols, sizeof cols, "%.*s", (int)x, value);
        if (value[x] != 'x' || hl_parse_i64(cols, &c) != HL_OK ||
            hl_parse_i64(value + x + 1, &r) != HL_OK || c < 1 || r < 1 || c > 9 || r > 9)
            return hl_err_set(HL_E_ARG, "'%s' is no grid: write auto, or columns x rows as 3x2",
                              value);
    }
    s->settings.grid_cols = (int)c;
    s->settings.grid_rows = (int)r;
    return HL_OK;
}

static void get_grid(hl_screen *s, char *buf, size_t n)
{
    if (s->settings.grid_cols)
        snprintf(buf, n, "%dx%d", s->settings.grid_cols, s->settings.grid_rows);
    else
        snprintf(buf, n, "auto");
}

static hl_status set_heat_scale(hl_screen *s, const char *value)
{
    if (strcmp(value, "auto") != 0 && strcmp(value, "fixed") != 0)
        return hl_err_set(HL_E_ARG, "heat.scale is fixed (one for all shown runs) or auto");
    s->settings.heat_auto = *value == 'a';
    return HL_OK;
}

static void get_heat_scale(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, s->settings.heat_auto ? "auto" : "fixed");
}

static hl_status set_mouse(hl_screen *s, const char *value)
{
    hl_status st = parse_switch(value, &s->settings.mouse);
    if (st == HL_OK)
        hl_term_set_mouse(s->term, s->settings.mouse);
    return st;
}

static void get_mouse(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, s->settings.mouse ? "on" : "off");
}

static hl_status set_overlay(hl_screen *s, const char *value)
{
    bool on;
    hl_status st = parse_switch(value, &on);
    if (st != HL_OK)
        return st;
    hl_screen_remember(s);
    s->look.overlay = on;
    return HL_OK;
}

static void get_overlay(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, s->look.overlay ? "on" : "off");
}

static hl_status set_smooth(hl_screen *s, const char *value)
{
    double v = 0;
    hl_status st = strcmp(value, "off") == 0 ? HL_OK : parse_number(value, 0, .999, &v);
    if (st != HL_OK)
        return st;
    hl_screen_remember(s);
    s->look.smooth = v;
    return HL_OK;
}

static void get_smooth(hl_screen *s, char *buf, size_t n)
{
    if (s->look.smooth > 0)
        snprintf(buf, n, "%g", s->look.smooth);
    else
        snprintf(buf, n, "off");
}

static hl_status set_theme(hl_screen *s, const char *value)
{
    return hl_term_set_theme(s->term, value);
}

static void get_theme(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, "%s", hl_term_theme(s->term));
}

static hl_status set_title(hl_screen *s, const char *value)
{
    s->titled[0] = 0;
    return parse_switch(value, &s->settings.title);
}

static void get_title(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, s->settings.title ? "on" : "off");
}

/* Of all charts; Y changes one. */
static hl_status set_yscale(hl_screen *s, const char *value)
{
    const bool log = strcmp(value, "log") == 0;
    if (!log && strcmp(value, "linear") != 0)
        return hl_err_set(HL_E_ARG, "yscale is linear or log");
    hl_screen_remember(s);
    memset(s->look.log_y, log ? 0xff : 0, sizeof s->look.log_y);
    return HL_OK;
}

static void get_yscale(hl_screen *s, char *buf, size_t n)
{
    const int chart = s->look.chart < 0 ? 0 : s->look.chart;
    snprintf(buf, n, s->look.log_y[chart / 8] >> chart % 8 & 1 ? "log" : "linear");
}

static const option options[] = {
    {"color", "auto never 16 256", "how many colours are used at most", set_color, get_color},
    {"fps", "1..60", "pictures per second at most", set_fps, get_fps},
    {"glyphs", "braille block half ascii", "how rich the characters are", set_glyphs, get_glyphs},
    {"grid", "auto 1x1 2x2 3x2", "columns and rows of charts", set_grid, get_grid},
    {"heat.scale", "fixed auto",
     "shades of the outlier strip: one scale for all shown runs, or not", set_heat_scale,
     get_heat_scale},
    {"mouse", "on off", "mouse", set_mouse, get_mouse},
    {"overlay", "on off", "charts show the marked runs too", set_overlay, get_overlay},
    {"sensitivity", "1 4 16", "batches that S in the Quant view ranks tensors over",
     set_sensitivity, get_sensitivity},
    {"smooth", "off .6 .9 .99", "exponential mean of charts; the raw line stays behind", set_smooth,
     get_smooth},
    {"theme", "default light mono high-contrast colorblind", "colours", set_theme, get_theme},
    {"title", "off on", "the window's title names the run", set_title, get_title},
    {"yscale", "linear log", "y axis of all charts", set_yscale, get_yscale},
};
enum { N_OPTIONS = sizeof options / sizeof options[0] };

static hl_status find(const char *name, const option **out)
{
    const char *names[N_OPTIONS];
    for (int i = 0; i < N_OPTIONS; i++) {
        names[i] = options[i].name;
        if (strcmp(name, names[i]) == 0) {
            *out = &options[i];
            return HL_OK;
        }
    }
    const int near = hl_str_nearest(name, names, N_OPTIONS);
    return hl_err_set(HL_E_NOTFOUND, "no setting '%s'%s%s", name,
                      near >= 0 ? "; did you mean " : "", near >= 0 ? names[near] : "");
}

hl_status hl_option_set(hl_screen *s, const char *name, const char *value)
{
    const option *o;
    hl_status st = find(name, &o);
    return st == HL_OK ? o->set(s, value) : st;
}

hl_status hl_option_get(hl_screen *s, const char *name, char *buf, size_t n)
{
    const option *o;
    hl_status st = find(name, &o);
    if (st == HL_OK)
        o->get(s, buf, n);
    return st;
}

bool hl_option_help(int i, char usage[HL_USAGE_MAX], const char **help)
{
    if (i >= N_OPTIONS)
        return false;
    snprintf(usage, HL_USAGE_MAX, "%s", options[i].name);
    *help = options[i].help;
    return true;
}

/* "na" -> names; "name=v" -> values */
void hl_option_complete(hl_screen *s, const char *word)
{
    char text[80];
    const size_t eq = strcspn(word, "=");
    for (int i = 0; i < N_OPTIONS; i++) {
        const option *o = &options[i];
        if (!word[eq]) {
            snprintf(text, sizeof text, "%s=", o->name);
            hl_screen_add_completion(s, text, word);
            continue;
        }
        if (strlen(o->name) != eq || memcmp(o->name, word, eq) != 0 || strstr(o->values, ".."))
            continue;
        for (const char *v = o->values; *v; v += strspn(v, " ")) {
            const int n = (int)strcspn(v, " ");
            snprintf(text, sizeof text, "%s=%.*s", o->name, n, v);
            hl_screen_add_completion(s, text, word);
            v += n;
        }
    }
}
