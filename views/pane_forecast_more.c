/* Forecasts of a series: what is left over between forecast and truth, and the error by how many
 * steps ahead it is. */
#include <math.h>
#include <stdio.h>

#include "views/screen.h"
#include "views/widgets/bins.h"
#include "views/widgets/number.h"

/* ---- residuals ---- */

static void residuals_title(hl_screen *s, char *buf, size_t n)
{
    hl_forecast_shown f;
    char m[HL_NUMBER_MAX], sd[HL_NUMBER_MAX], lo[HL_NUMBER_MAX], hi[HL_NUMBER_MAX];
    if (!hl_forecast_shown_get(s, &f))
        return;
    const hl_forecast_channel *k = &f.table->channel[f.channel];
    const int room = s->layout.pane[HL_PANE_RESIDUALS].w;
    const int used = snprintf(buf, n, "residuals %.24s  sd %s  mean %s", k->name,
                              hl_format_value(sd, k->sd), hl_format_value(m, k->mean));
    if (room >= 60 && used > 0 && (size_t)used < n)
        snprintf(buf + used, n - (size_t)used, "  %s to %s", hl_format_value(lo, k->min),
                 hl_format_value(hi, k->max));
}

static void residuals_draw(hl_screen *s, hl_canvas c, bool focused)
{
    hl_forecast_shown f;
    (void)focused;
    if (!hl_forecast_shown_get(s, &f))
        return;
    const hl_forecast_channel *k = &f.table->channel[f.channel];
    const bool has_bad = k->n_non_finite > 0;
    if (has_bad)
        hl_putf(c, 1, 0, HL_STYLE(BAD), "not finite %.0f", k->n_non_finite);
    hl_bins_draw(hl_canvas_part(c, 0, has_bad, c.r.w, c.r.h - has_bad),
                 &(hl_bins){.count = k->count,
                            .n = HL_FORECAST_BINS,
                            .width = k->width,
                            .role = HL_ROLE_SERIES + 1});
}

const hl_pane_class hl_pane_residuals = {.framed = true,
                                         .focusable = true,
                                         .title = residuals_title,
                                         .draw = residuals_draw,
                                         .act = hl_forecast_act};

/* ---- the error by step ---- */

static void ahead_title(hl_screen *s, char *buf, size_t n)
{
    hl_forecast_shown f;
    char first[HL_NUMBER_MAX], last[HL_NUMBER_MAX];
    if (!hl_forecast_shown_get(s, &f))
        return;
    const hl_forecast_channel *k = &f.table->channel[f.channel];
    snprintf(buf, n, "mse by step ahead  %s to %s", hl_format_value(first, k->ahead[0]),
             hl_format_value(last, k->ahead[f.table->n_ahead - 1]));
}

/* At the middle of the steps that a place is the mean of. */
static hl_pyramid *make_line(const hl_forecast_table *t, const double *v)
{
    hl_pyramid *p = hl_pyramid_new();
    for (size_t i = 0; p && i < t->n_ahead; i++)
        if (!isnan(v[i]))
            HL_IGNORE(hl_pyramid_push(
                p, (double)(i * t->ahead_each) + 0.5 * (double)(t->ahead_each + 1), v[i]));
    return p;
}

static void ahead_draw(hl_screen *s, hl_canvas c, bool focused)
{
    hl_forecast_shown f;
    (void)focused;
    if (!hl_forecast_shown_get(s, &f))
        return;
    const hl_forecast_table *t = f.table;
    hl_pyramid *own = make_line(t, t->channel[f.channel].ahead), *all = make_line(t, t->ahead);
    const hl_chart_line line[] = {
        {.data = all, .name = "all channels", .role = HL_ROLE_TEXT, .letter = 'a'},
        {.data = own,
         .name = t->channel[f.channel].name,
         .role = HL_ROLE_SERIES + 1,
         .letter = 'c',
         .focused = true}};
    hl_chart chart = {.line = line,
                      .n_lines = own && all ? 2 : 0,
                      .fixed_x = t->out_len > 1,
                      .x_range = {.lo = 1, .hi = (double)t->out_len}};
    hl_chart_draw(c, &chart);
    hl_pyramid_free(own);
    hl_pyramid_free(all);
}

const hl_pane_class hl_pane_ahead = {.framed = true,
                                     .focusable = true,
                                     .title = ahead_title,
                                     .draw = ahead_draw,
                                     .act = hl_forecast_act};
