/* The lines without frames: progress of the run, and its last numbers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/screen.h"
#include "views/widgets/gauge.h"
#include "views/widgets/number.h"
#include "views/widgets/spark.h"

/* ---- progress ---- */

static void progress_text(hl_screen *s, const hl_run_row *row, char *buf, size_t n)
{
    const hl_watched *w = hl_screen_run(s);
    char left[24], spread[24], rate[HL_NUMBER_MAX];
    double left_s, spread_s, per_s;
    size_t used = 0;
    buf[0] = 0;
    const bool is_text = hl_watched_last(w, "sys/tokens_per_s", &per_s);
    if (is_text || hl_watched_last(w, "sys/samples_per_s", &per_s))
        used += (size_t)snprintf(buf, n, "%s %s/s  ", hl_format_value(rate, per_s),
                                 is_text ? "tok" : "img");
    if (used < n && hl_eta(row, w, &left_s, &spread_s)) {
        hl_format_duration(left, left_s);
        hl_format_duration(spread, spread_s);
        snprintf(buf + used, n - used, "ETA %s", left);
        if (spread_s > left_s / 20 && spread_s >= 1) {
            used = strlen(buf);
            snprintf(buf + used, n - used, " (+-%s)", spread);
        }
    }
}

static void progress_draw(hl_screen *s, hl_canvas c, bool focused)
{
    const hl_run_row *row = hl_screen_row(s);
    char text[120];
    (void)focused;
    if (!row)
        return;
    progress_text(s, row, text, sizeof text);
    const double fraction = row->step >= 0 && row->step_total > 0
                                ? (double)row->step / (double)row->step_total
                                : (double)NAN;
    const hl_style style = {.role = (uint8_t)hl_state_role(row->state)};
    hl_gauge_draw(hl_canvas_part(c, 1, 0, c.r.w - 2, 1), style, fraction, text);
}

const hl_pane_class hl_pane_progress = {.draw = progress_draw};

/* ---- numbers ---- */

enum { TRACE = 24 };

int hl_screen_put_trace(hl_canvas c, int x, const char *name, const hl_data *d)
{
    char buf[HL_NUMBER_MAX];
    double at, value = 0;
    const bool known = d && hl_pyramid_last(d->points, &at, &value);
    const int start = x;
    x += hl_put(c, x, 0, HL_STYLE(DIM), name) + 1;
    x += hl_put(c, x, 0, HL_STYLE(TEXT), hl_format_known(buf, known, value, hl_has_signs(c.grid))) +
         1;
    if (known) {
        float v[TRACE];
        const int level = hl_pyramid_level(d->points, TRACE);
        const size_t n = hl_pyramid_n_buckets(d->points, level);
        const size_t first = n > TRACE ? n - TRACE : 0;
        for (size_t i = first; i < n; i++) {
            hl_bucket b;
            hl_pyramid_bucket(d->points, level, i, &b);
            v[i - first] = b.n_non_finite ? NAN : (float)b.max;
        }
        x += hl_spark_draw(hl_canvas_part(c, x, 0, TRACE, 1), HL_STYLE(TEXT), v, n - first);
    }
    return x - start + 2;
}

typedef struct number {
    const char *name, *tag;
} number;

static const number numbers[] = {
    {"loss", "train/loss"}, {"grad", "train/grad_norm"}, {"lr", "train/lr"},
    {"eval", "eval/loss"},  {"ppl", "eval/ppl"},         {"ms", "sys/step_ms"},
};

static int put_number(hl_canvas c, int x, int y, const hl_watched *w, const number *n)
{
    char buf[HL_NUMBER_MAX];
    double v = 0;
    const bool known = hl_watched_last(w, n->tag, &v);
    const int start = x;
    x += hl_put(c, x, y, HL_STYLE(DIM), n->name) + 1;
    x += hl_put(c, x, y, known && !isfinite(v) ? HL_STYLE(BAD) : HL_STYLE(TEXT),
                hl_format_known(buf, known, v, hl_has_signs(c.grid)));
    return x - start + 2;
}

/* One number per line, for the smallest terminals. */
static void draw_lines(hl_canvas c, const hl_watched *w)
{
    static const number few[] = {{"loss", "train/loss"},           {"max|x|", HL_TAG_INF_NORM},
                                 {"kurtosis", HL_TAG_KURTOSIS},    {"eval loss", "eval/loss"},
                                 {"grad norm", "train/grad_norm"}, {"lr", "train/lr"}};
    for (int i = 0; i < c.r.h && i < (int)(sizeof few / sizeof few[0]); i++)
        put_number(c, 0, i, w, &few[i]);
}

static void strip_draw(hl_screen *s, hl_canvas c, bool focused)
{
    const hl_watched *w = hl_screen_run(s);
    const hl_run_row *row = hl_screen_row(s);
    (void)focused;
    if (!w || !row)
        return;
    if (s->layout.size == HL_SIZE_MINIMAL) {
        draw_lines(c, w);
        return;
    }
    int x = 1 + hl_put(c, 1, 0, HL_STYLE(TITLE), "outliers") + 2;
    x += hl_screen_put_trace(c, x, "max|x|", w->gathered[HL_STAT_INF_NORM].data);
    hl_screen_put_trace(c, x, "kurtosis", w->gathered[HL_STAT_KURTOSIS].data);
    x = 1;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        x += put_number(c, x, 1, w, &numbers[i]);
    hl_putf(c, x, 1, row->n_non_finite ? HL_STYLE(BAD) : HL_STYLE(DIM), "nan %lld",
            (long long)row->n_non_finite);
}

static void strip_title(hl_screen *s, char *buf, size_t n)
{
    char a[HL_NUMBER_MAX], b[HL_NUMBER_MAX];
    double norm = 0, kurtosis = 0;
    const hl_watched *w = hl_screen_run(s);
    const bool utf8 = hl_has_signs(&s->grid);
    const bool k1 = hl_watched_last(w, HL_TAG_INF_NORM, &norm);
    const bool k2 = hl_watched_last(w, HL_TAG_KURTOSIS, &kurtosis);
    snprintf(buf, n, "max|x| %s  kurtosis %s", hl_format_known(a, k1, norm, utf8),
             hl_format_known(b, k2, kurtosis, utf8));
}

const hl_pane_class hl_pane_strip = {.draw = strip_draw, .title = strip_title};
