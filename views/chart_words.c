/* Charts in words: the command that draws one again, and what it shows to those who cannot see it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/screen.h"
#include "views/widgets/number.h"

/* ---- the command ---- */

/* As a word of a shell. */
static void add_word(hl_str *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./,:=+@%";
    if (*text && text[strspn(text, plain)] == 0) {
        hl_str_addf(out, " %s", text);
        return;
    }
    hl_str_add(out, " '");
    for (; *text; text++)
        hl_str_add(out, *text == '\'' ? "'\\''" : (char[2]){*text, 0});
    hl_str_addc(out, '\'');
}

static void add_setting(hl_screen *s, hl_str *out, const char *name, const char *otherwise)
{
    char value[120], option[40];
    if (hl_option_get(s, name, value, sizeof value) != HL_OK || strcmp(value, otherwise) == 0)
        return;
    snprintf(option, sizeof option, "--%s", name);
    add_word(out, option);
    add_word(out, value);
}

void hl_chart_command(hl_screen *s, int chart, hl_str *out)
{
    static const char *const settings[][2] = {
        {"xaxis", "step"}, {"align", "off"},     {"xscale", "linear"},
        {"xlim", "full"},  {"yscale", "linear"}, {"ylim", "full"},
        {"smooth", "off"}, {"tail", "off"},      {"band", "off"}};
    hl_shown shown[HL_SHOWN_MAX];
    const int n = hl_screen_shown(s, shown), was = s->look.chart;
    hl_str_add(out, "hoplab plot");
    for (int i = 0; i < n; i++)
        add_word(out, shown[i].row->id);
    add_word(out, "--tag");
    add_word(out, s->charts.at[chart].tag);
    s->look.chart = chart; /* settings of the focused chart */
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        add_setting(s, out, settings[i][0], settings[i][1]);
    s->look.chart = was;
    if (n > 1)
        add_setting(s, out, "versus", "off");
    if (s->look.charts.superseded)
        hl_str_add(out, " --superseded");
    hl_str_add(out, " --runs");
    add_word(out, s->model.runs_dir);
}

void hl_screen_copy_view(hl_screen *s)
{
    const int chart = hl_charts_focused(s);
    hl_str text = {0};
    if (chart < 0) {
        hl_screen_say(s, HL_ROLE_WARN, "there is no chart to draw again");
        return;
    }
    hl_chart_command(s, chart, &text);
    hl_screen_copy(s, hl_str_text(&text));
    hl_str_done(&text);
}

/* ---- what it shows ---- */

static const char *number(char buf[HL_NUMBER_MAX], double v)
{
    return hl_format_value(buf, v);
}

/* The mean of each third of its x, and what becomes of it. */
static void add_trend(const hl_pyramid *p, hl_str *out)
{
    const hl_bucket *all = hl_pyramid_total(p);
    const double width = (all->x_max - all->x_min) / 3;
    double mean[3];
    char text[HL_NUMBER_MAX];
    int n = 0;
    for (int i = 0; i < 3; i++) {
        hl_bucket b;
        const double from = all->x_min + width * i;
        const double to = i == 2 ? nextafter(all->x_max, HUGE_VAL) : from + width;
        if (hl_pyramid_range(p, from, to, &b) && b.n > b.n_non_finite)
            mean[n++] = b.mean;
    }
    if (n < 3)
        return;
    const double span = all->max - all->min;
    hl_str_addf(out, "  Means of its thirds: %s,", number(text, mean[0]));
    hl_str_addf(out, " %s,", number(text, mean[1]));
    hl_str_addf(out, " %s", number(text, mean[2]));
    for (int i = 0; i < 2; i++) {
        const double change = mean[i + 1] - mean[i];
        hl_str_addf(out, "%s %s", i ? ", then" : ":",
                    fabs(change) < 0.02 * span ? "level"
                    : change > 0               ? "rising"
                                               : "falling");
    }
    hl_str_add(out, ".\n");
}

/* Points more than 6 deviations above what was before them. */
static void add_spikes(const hl_pyramid *p, hl_str *out)
{
    enum { LOOKED_AT = 200000, Z = 6 };
    const size_t n = hl_pyramid_n(p), from = n > LOOKED_AT ? n - LOOKED_AT : 0;
    size_t n_spikes = 0, highest = SIZE_MAX;
    double z;
    char text[HL_NUMBER_MAX], at[HL_NUMBER_MAX];
    for (size_t i = from; i < n; i++)
        if (hl_chart_z_score(p, i, &z) && z > Z) {
            n_spikes++;
            if (highest == SIZE_MAX || hl_pyramid_y(p, i) > hl_pyramid_y(p, highest))
                highest = i;
        }
    if (n_spikes)
        hl_str_addf(out, "  %zu spike%s, the highest %s at %s.\n", n_spikes,
                    n_spikes == 1 ? "" : "s", number(text, hl_pyramid_y(p, highest)),
                    number(at, hl_pyramid_x(p, highest)));
    else
        hl_str_add(out, "  No spikes.\n");
}

static void add_line(const hl_chart_line *l, const char *name, int goal, hl_str *out)
{
    const hl_pyramid *p = l->data;
    const hl_bucket *b = hl_pyramid_total(p);
    char a[HL_NUMBER_MAX], c[HL_NUMBER_MAX], d[HL_NUMBER_MAX], e[HL_NUMBER_MAX];
    double x, y;
    hl_str_addf(out, "%s%s: ", name, l->is_replaced ? "superseded" : "");
    if (b->n == 0 || b->n == b->n_non_finite) {
        hl_str_addf(out, "%zu points, none finite.\n", b->n);
        return;
    }
    hl_str_addf(out, "%zu points from %s to %s.\n", b->n, number(a, b->x_min), number(c, b->x_max));
    hl_str_addf(out, "  From %s (at %s) to %s (at %s).\n", number(a, b->min),
                number(c, b->x_of_min), number(d, b->max), number(e, b->x_of_max));
    add_trend(p, out);
    if (hl_pyramid_last(p, &x, &y))
        hl_str_addf(out, "  Last %s at %s", number(a, y), number(c, x));
    if (goal && hl_pyramid_best(p, goal < 0, &x, &y))
        hl_str_addf(out, "; best %s at %s", number(a, y), number(c, x));
    hl_str_add(out, ".\n");
    add_spikes(p, out);
    if (b->n_non_finite)
        hl_str_addf(out, "  %zu not finite, the first at %s.\n", b->n_non_finite,
                    number(a, hl_pyramid_x(p, hl_pyramid_next_bad(p, 0))));
}

void hl_chart_describe(hl_screen *s, int chart, hl_str *out)
{
    char made[200];
    hl_chart_lines lines;
    hl_chart_made(s, chart, made, sizeof made);
    hl_chart_lines_make(s, chart, &lines);
    hl_str_addf(out, "%s over %s%s%s%s.\n", s->charts.at[chart].tag, hl_chart_x_name(s),
                *made ? " (" : "", made, *made ? ")" : "");
    for (int i = 0; i < lines.n; i++)
        add_line(&lines.line[i], lines.of[i].name, hl_chart_goal(s->charts.at[chart].tag), out);
}

void hl_screen_describe(hl_screen *s)
{
    const int chart = hl_charts_focused(s);
    if (chart < 0) {
        hl_screen_say(s, HL_ROLE_WARN, "there is no chart to describe");
        return;
    }
    hl_str_clear(&s->described);
    hl_chart_describe(s, chart, &s->described);
    hl_screen_popup(s, &hl_popup_text);
}

/* ---- text in a popup ---- */

static int n_lines(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void text_size(hl_screen *s, int *w, int *h)
{
    *w = 72;
    *h = n_lines(hl_str_text(&s->described));
}

static void text_draw(hl_screen *s, hl_canvas c)
{
    const int n = n_lines(hl_str_text(&s->described));
    const int last = n > c.r.h ? n - c.r.h : 0;
    s->popup_top = s->popup_row = s->popup_row > last ? last : s->popup_row;
    const char *line = hl_str_text(&s->described);
    for (int i = 0; *line; i++) {
        const char *end = strchr(line, '\n');
        char text[256];
        snprintf(text, sizeof text, "%.*s", (int)(end ? end - line : 0), line);
        if (i >= s->popup_top && i - s->popup_top < c.r.h)
            hl_put_cut(c, 0, i - s->popup_top, c.r.w, HL_STYLE(TEXT), text);
        line = end ? end + 1 : "";
    }
}

static void text_key(hl_screen *s, int key)
{
    if (key == HL_KEY_ESC || key == 'q' || key == HL_KEY_ENTER || key == HL_CTRL('c'))
        hl_screen_close_popup(s);
    else if (key == 'y')
        hl_screen_copy(s, hl_str_text(&s->described));
    else if (key == 'j' || key == HL_KEY_DOWN)
        s->popup_row++;
    else if ((key == 'k' || key == HL_KEY_UP) && s->popup_row > 0)
        s->popup_row--;
}

const hl_popup_class hl_popup_text = {
    .title = "in words", .size = text_size, .draw = text_draw, .key = text_key};
