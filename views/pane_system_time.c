/* Where a step's time goes: a bar of its parts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "views/screen.h"
#include "views/widgets/number.h"

static const struct {
    char letter;
    const char *name, *tag;
} parts[] = {
    {'d', "data", "sys/data_wait_ms"},    {'f', "forward", "sys/forward_ms"},
    {'b', "backward", "sys/backward_ms"}, {'w', "watching", "sys/watch_ms"},
    {'u', "update", "sys/update_ms"},     {'l', "logging", "sys/log_ms"},
    {'e', "evaluation", "sys/eval_ms"},   {'c', "checkpoint", "sys/save_ms"},
};
enum { PARTS = sizeof parts / sizeof parts[0], STEPS_MAX = 1000 };

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the newest steps that were logged; false: there are too few. */
static bool percentiles(const hl_data *d, double *p50, double *p99)
{
    double v[STEPS_MAX];
    const size_t all = d && d->points ? hl_pyramid_n(d->points) : 0;
    size_t n = 0;
    for (size_t i = all > STEPS_MAX ? all - STEPS_MAX : 0; i < all; i++)
        if (isfinite(hl_pyramid_y(d->points, i)))
            v[n++] = hl_pyramid_y(d->points, i);
    if (n < 3)
        return false;
    qsort(v, n, sizeof *v, by_size);
    *p50 = v[n / 2];
    *p99 = v[(n - 1) * 99 / 100];
    return true;
}

static void time_title(hl_screen *s, char *buf, size_t n)
{
    const hl_watched *w = hl_screen_run(s);
    const hl_data *d = w ? hl_watched_series(w, "sys/step_ms") : NULL;
    char a[HL_NUMBER_MAX], b[HL_NUMBER_MAX], c[HL_NUMBER_MAX];
    double now, p50, p99;
    if (!hl_system_value(s, d, &now)) {
        snprintf(buf, n, "step time");
        return;
    }
    snprintf(buf, n, "step time  %s ms", hl_format_value(a, now));
    if (percentiles(d, &p50, &p99))
        snprintf(buf + strlen(buf), n - strlen(buf), "  p50 %s  p99 %s ms", hl_format_value(b, p50),
                 hl_format_value(c, p99));
}

/* A bar whose parts are told by their letters, so that it needs no colour. */
static void put_bar(hl_canvas c, const double ms[PARTS], double sum)
{
    double before = 0;
    for (int i = 0; i < PARTS; i++) {
        const int from = (int)lround(before / sum * c.r.w);
        before += ms[i];
        const int to = (int)lround(before / sum * c.r.w);
        const char letter[2] = {parts[i].letter, 0};
        for (int x = from; x < to; x++)
            hl_put(c, x, 0, hl_color_style(i), letter);
    }
}

/* The longest first: what has no room matters least. */
static void put_legend(hl_canvas c, const double ms[PARTS], const bool known[PARTS], double sum)
{
    bool told[PARTS] = {false};
    int x = 0, y = 0;
    for (int nth = 0; nth < PARTS; nth++) {
        char text[64], number[HL_NUMBER_MAX];
        int i = -1;
        for (int k = 0; k < PARTS; k++)
            if (known[k] && !told[k] && (i < 0 || ms[k] > ms[i]))
                i = k;
        if (i < 0)
            return;
        told[i] = true;
        snprintf(text, sizeof text, "%c %s %s ms %.0f%%", parts[i].letter, parts[i].name,
                 hl_format_value(number, ms[i]), 100 * ms[i] / sum);
        if (x > 0 && x + hl_text_columns(c.grid, text) > c.r.w) {
            x = 0;
            y++;
        }
        x += hl_put_cut(c, x, y, c.r.w - x, hl_color_style(i), text) + 2;
    }
}

static void time_draw(hl_screen *s, hl_canvas c, bool focused)
{
    const hl_watched *w = hl_screen_run(s);
    double ms[PARTS] = {0}, sum = 0;
    bool known[PARTS] = {false}, any = false;
    (void)focused;
    for (int i = 0; w && i < PARTS; i++) {
        known[i] = hl_system_value(s, hl_watched_series(w, parts[i].tag), &ms[i]) && ms[i] >= 0;
        ms[i] = known[i] ? ms[i] : 0;
        any |= known[i] && i > 0;
        sum += ms[i];
    }
    if (!any || !(sum > 0)) {
        if (!hl_screen_put_trouble(s, c))
            hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), "the parts of a step are not recorded");
        return;
    }
    put_bar(hl_canvas_part(c, 1, 0, c.r.w - 2, 1), ms, sum);
    put_legend(hl_canvas_part(c, 1, 1, c.r.w - 2, c.r.h - 1), ms, known, sum);
}

const hl_pane_class hl_pane_step_time = {
    .framed = true, .focusable = false, .title = time_title, .draw = time_draw};
