/* Settings of the screen: `:set NAME=VALUE`, `:set NAME?`. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/screen_lua.h"

typedef struct option {
    const char *name, *values, *help; /* values: words between blanks, or what it is */
    hl_status (*set)(hl_screen *s, const char *value);
    void (*get)(hl_screen *s, char *buf, size_t n);
} option;

static const char *const y_scales[HL_Y_SCALES] = {"linear", "log", "symlog"};

static const char *const versus_names[HL_RELATIONS] = {"off", "difference", "ratio"};

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

/* What takes more columns now also asks for wider ones. */
static hl_status set_ambiwidth(hl_screen *s, const char *value)
{
    if (strcmp(value, "1") != 0 && strcmp(value, "2") != 0)
        return hl_err_set(HL_E_ARG, "ambiwidth is 1 or 2: columns of an ambiguous character");
    s->grid.wide_ambiguous = *value == '2';
    hl_term_set_wide_ambiguous(s->term, s->grid.wide_ambiguous);
    hl_columns_make(s);
    return HL_OK;
}

static void get_ambiwidth(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, hl_term_wide_ambiguous(s->term) ? "2" : "1");
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

/* ".9", "mean:50", "median:31" */
static hl_status set_smooth(hl_screen *s, const char *value)
{
    double v = 0;
    hl_smooth_kind kind = HL_SMOOTH_EMA;
    hl_status st = HL_OK;
    if (hl_str_starts(value, "mean:") || hl_str_starts(value, "median:")) {
        kind = value[3] == 'n' ? HL_SMOOTH_MEAN : HL_SMOOTH_MEDIAN;
        st = parse_number(strchr(value, ':') + 1, 2, HL_SMOOTH_WINDOW_MAX, &v);
    } else if (strcmp(value, "off") != 0) {
        st = parse_number(value, 0, .999, &v);
    }
    if (st != HL_OK)
        return st;
    hl_screen_remember(s);
    s->look.smooth = kind == HL_SMOOTH_EMA ? v : floor(v);
    s->look.charts.smooth_by = (uint8_t)kind;
    return HL_OK;
}

static void get_smooth(hl_screen *s, char *buf, size_t n)
{
    static const char *const heads[HL_SMOOTH_KINDS] = {"", "mean:", "median:"};
    if (s->look.smooth > 0)
        snprintf(buf, n, "%s%g", heads[s->look.charts.smooth_by], s->look.smooth);
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

static hl_status set_bell(hl_screen *s, const char *value)
{
    return parse_switch(value, &s->settings.bell);
}

static void get_bell(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, s->settings.bell ? "on" : "off");
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
    int scale = 0;
    while (scale < HL_Y_SCALES && strcmp(value, y_scales[scale]) != 0)
        scale++;
    if (scale == HL_Y_SCALES)
        return hl_err_set(HL_E_ARG, "yscale is linear, log or symlog");
    hl_screen_remember(s);
    for (int i = 0; i < HL_CHARTS_MAX; i++)
        s->look.charts.y[i].scale = (uint8_t)scale;
    return HL_OK;
}

static hl_chart_look *focused_y(hl_screen *s)
{
    const int chart = hl_charts_focused(s);
    return &s->look.charts.y[chart < 0 ? 0 : chart];
}

static void get_yscale(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, "%s", y_scales[focused_y(s)->scale]);
}

/* Of the focused chart: full, robust, or two numbers. */
static hl_status set_ylim(hl_screen *s, const char *value)
{
    char low[40];
    double lo = 0, hi = 0;
    const size_t comma = strcspn(value, ",");
    hl_chart_look *y = focused_y(s);
    uint8_t range = HL_Y_FIXED;
    if (strcmp(value, "full") == 0) {
        range = HL_Y_FULL;
    } else if (strcmp(value, "robust") == 0) {
        range = HL_Y_ROBUST;
    } else {
        snprintf(low, sizeof low, "%.*s", (int)comma, value);
        if (!value[comma] || hl_parse_f64(low, &lo) != HL_OK ||
            hl_parse_f64(value + comma + 1, &hi) != HL_OK || !(lo < hi) || !isfinite(hi - lo))
            return hl_err_set(HL_E_ARG, "'%s': ylim is full, robust, or two numbers as 2,10",
                              value);
    }
    hl_screen_remember(s);
    y->range = range;
    if (range == HL_Y_FIXED) {
        y->lo = lo;
        y->hi = hi;
    }
    return HL_OK;
}

static void get_ylim(hl_screen *s, char *buf, size_t n)
{
    const hl_chart_look *y = focused_y(s);
    if (y->range == HL_Y_FIXED)
        snprintf(buf, n, "%g,%g", y->lo, y->hi);
    else
        snprintf(buf, n, "%s", y->range == HL_Y_ROBUST ? "robust" : "full");
}

static hl_status set_xaxis(hl_screen *s, const char *value)
{
    static const char *const names[] = {"step", "epoch", "tokens", "time", "clock", "updates"};
    hl_watched *w = hl_screen_run(s);
    int x = 0;
    while (x < HL_X_METRIC && strcmp(value, names[x]) != 0)
        x++;
    const hl_data *d = x == HL_X_METRIC && w ? hl_watched_series(w, value) : NULL;
    if (x == HL_X_METRIC && (!d || !d->points))
        return hl_err_set(
            HL_E_ARG,
            "no x axis '%s': step, epoch, tokens, time, clock, updates or a series of "
            "the run",
            value);
    hl_screen_remember(s);
    hl_charts_look *look = &s->look.charts;
    look->x = (uint8_t)x;
    snprintf(look->x_tag, sizeof look->x_tag, "%s", x == HL_X_METRIC ? value : "");
    look->zoomed = false;
    look->tail = 0;
    s->tail = 0;
    return HL_OK;
}

static void get_xaxis(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, "%s", hl_chart_x_name(s));
}

static hl_status set_xscale(hl_screen *s, const char *value)
{
    if (strcmp(value, "log") != 0 && strcmp(value, "linear") != 0)
        return hl_err_set(HL_E_ARG, "xscale is linear or log");
    hl_screen_remember(s);
    s->look.charts.log_x = value[1] == 'o';
    return HL_OK;
}

static void get_xscale(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, s->look.charts.log_x ? "log" : "linear");
}

/* The part of x that charts show. */
static hl_status set_xlim(hl_screen *s, const char *value)
{
    char low[40];
    double lo, hi;
    const size_t comma = strcspn(value, ",");
    if (strcmp(value, "full") == 0) {
        hl_screen_remember(s);
        s->look.charts.zoomed = false;
        return HL_OK;
    }
    snprintf(low, sizeof low, "%.*s", (int)comma, value);
    if (!value[comma] || hl_parse_f64(low, &lo) != HL_OK ||
        hl_parse_f64(value + comma + 1, &hi) != HL_OK || !(lo < hi) || !isfinite(hi - lo))
        return hl_err_set(HL_E_ARG, "'%s': xlim is full, or two numbers as 100,200", value);
    hl_chart_zoom_to(s, lo, hi);
    return HL_OK;
}

static void get_xlim(hl_screen *s, char *buf, size_t n)
{
    if (s->look.charts.zoomed)
        snprintf(buf, n, "%.9g,%.9g", s->look.charts.x_lo, s->look.charts.x_hi);
    else
        snprintf(buf, n, "full");
}

static hl_status set_versus(hl_screen *s, const char *value)
{
    int k = 0;
    while (k < HL_RELATIONS && strcmp(value, versus_names[k]) != 0)
        k++;
    if (k == HL_RELATIONS)
        return hl_err_set(HL_E_ARG, "versus is off, difference or ratio");
    hl_screen_remember(s);
    s->look.charts.versus = (uint8_t)k;
    return HL_OK;
}

static void get_versus(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, "%s", versus_names[s->look.charts.versus]);
}

static hl_status set_tail(hl_screen *s, const char *value)
{
    double v = 0;
    hl_status st = strcmp(value, "off") == 0 ? HL_OK : parse_number(value, 1e-6, 1e15, &v);
    if (st != HL_OK)
        return st;
    hl_screen_remember(s);
    s->look.charts.tail = v;
    s->tail = v > 0 ? v : s->tail;
    return HL_OK;
}

static void get_tail(hl_screen *s, char *buf, size_t n)
{
    if (s->look.charts.tail > 0)
        snprintf(buf, n, "%g", s->look.charts.tail);
    else
        snprintf(buf, n, "off");
}

static hl_status set_band(hl_screen *s, const char *value)
{
    int k = 0;
    while (k < HL_BAND_COUNT && strcmp(value, hl_band_name((hl_band_kind)k)) != 0)
        k++;
    if (k == HL_BAND_COUNT)
        return hl_err_set(HL_E_ARG, "band is off, sd, se, minmax or p10-p90");
    hl_screen_remember(s);
    s->look.charts.band = (uint8_t)k;
    return HL_OK;
}

static void get_band(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, "%s", hl_band_name((hl_band_kind)s->look.charts.band));
}

static hl_status set_superseded(hl_screen *s, const char *value)
{
    bool on;
    hl_status st = parse_switch(value, &on);
    if (st != HL_OK)
        return st;
    hl_screen_remember(s);
    s->look.charts.superseded = on;
    return HL_OK;
}

static void get_superseded(hl_screen *s, char *buf, size_t n)
{
    snprintf(buf, n, s->look.charts.superseded ? "on" : "off");
}

/* Of x: where 0 is. */
static hl_status set_align(hl_screen *s, const char *value)
{
    hl_crossing c;
    hl_charts_look *look = &s->look.charts;
    const hl_watched *w = hl_screen_run(s);
    const hl_status st = hl_crossing_parse(value, &c);
    if (st != HL_OK)
        return st;
    if (*c.tag && w && !hl_watched_series(w, c.tag))
        return hl_err_set(HL_E_ARG, "the run has no series '%s'", c.tag);
    hl_screen_remember(s);
    look->align = c;
    look->zoomed = false;
    return HL_OK;
}

static void get_align(hl_screen *s, char *buf, size_t n)
{
    char text[HL_CROSSING_TEXT];
    snprintf(buf, n, "%s", hl_crossing_text(&s->look.charts.align, text));
}

/* A script must not allow itself what the project's file has taken from all of them. */
static hl_status set_jobs(hl_screen *s, const char *value)
{
    bool on;
    hl_status st = parse_switch(value, &on);
    if (st == HL_OK && on && !hl_scripted_may_jobs(s) && s->scripted.note_ticket)
        return hl_err_set(HL_E_UNSUPPORTED,
                          "only you, or config.lua, can allow scripts to start programs");
    if (st == HL_OK)
        snprintf(s->scripted.may_jobs, sizeof s->scripted.may_jobs, "%s", on ? "on" : "off");
    return st;
}

static void get_jobs(hl_screen *s, char *buf, size_t n)
{
    const bool none = s->scripted.project && !*s->scripted.may_jobs;
    snprintf(buf, n, "%s", none ? "off" : *s->scripted.may_jobs ? s->scripted.may_jobs : "on");
}

static const option options[] = {
    {"align", "off", "x of charts is 0 where a series first gets there, as train/loss<3", set_align,
     get_align},
    {"ambiwidth", "1 2",
     "columns of characters that Unicode calls ambiguous, as this terminal shows them; with 2 "
     "signs and frames are ASCII",
     set_ambiwidth, get_ambiwidth},
    {"band", "off sd se minmax p10-p90", "charts show groups of runs as mean and band", set_band,
     get_band},
    {"bell", "off on", "alerts of the runs in view ring the terminal's bell", set_bell, get_bell},
    {"color", "auto never 16 256", "how many colours are used at most", set_color, get_color},
    {"fps", "1..60", "pictures per second at most", set_fps, get_fps},
    {"glyphs", "braille block half ascii", "how rich the characters are", set_glyphs, get_glyphs},
    {"grid", "auto 1x1 2x2 3x2", "columns and rows of charts", set_grid, get_grid},
    {"heat.scale", "fixed auto",
     "shades of the outlier strip: one scale for all shown runs, or not", set_heat_scale,
     get_heat_scale},
    {"jobs", "on off", "scripts may start programs (hop.ui.job)", set_jobs, get_jobs},
    {"mouse", "on off", "mouse", set_mouse, get_mouse},
    {"overlay", "on off", "charts show the marked runs too", set_overlay, get_overlay},
    {"sensitivity", "1 4 16", "batches that S in the Quant view ranks tensors over",
     set_sensitivity, get_sensitivity},
    {"show.superseded", "on off", "charts show what a resumed run wrote anew, dim", set_superseded,
     get_superseded},
    {"smooth", "off .6 .9 .99 mean:50 median:31",
     "of charts: exponential mean by a factor, mean or median of points", set_smooth, get_smooth},
    {"tail", "off 100 1000 10000", "charts show the newest stretch of this width only", set_tail,
     get_tail},
    {"theme", "default light mono high-contrast colorblind", "colours", set_theme, get_theme},
    {"title", "off on", "the window's title names the run", set_title, get_title},
    {"versus", "off difference ratio", "marked runs minus the one under the cursor, or over it",
     set_versus, get_versus},
    {"xaxis", "step epoch tokens time clock updates", "x of charts; also any series of the run",
     set_xaxis, get_xaxis},
    {"xlim", "full", "x of charts from and to, as 100,200", set_xlim, get_xlim},
    {"xscale", "linear log", "x axis of charts", set_xscale, get_xscale},
    {"ylim", "full robust", "y range of the focused chart; two numbers as 2,10 fix it", set_ylim,
     get_ylim},
    {"yscale", "linear log symlog", "y axis of all charts", set_yscale, get_yscale},
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
        for (int k = 0; o->set == set_theme && hl_term_own_theme(s->term, k); k++) {
            snprintf(text, sizeof text, "%s=%s", o->name, hl_term_own_theme(s->term, k));
            hl_screen_add_completion(s, text, word);
        }
    }
}
