/* What x is in charts, for each run; and the points of a run over it. */
#include <math.h>
#include <string.h>

#include "views/screen.h"

static double steps_per_epoch(const hl_screen *s, const hl_watched *w)
{
    const hl_run_row *row = hl_model_row(&s->model, w->dir);
    const hl_json *train = w->config ? hl_json_get(w->config, "train") : NULL;
    const double epochs = train ? hl_json_num(hl_json_get(train, "epochs"), 0) : 0;
    return row && row->step_total > 0 && epochs > 0 ? (double)row->step_total / epochs : 0;
}

static const hl_pyramid *points_of(const hl_watched *w, const char *tag)
{
    const hl_data *d = hl_watched_series(w, tag);
    return d ? d->points : NULL;
}

/* Tokens, samples or windows: what the run trains on. */
static const hl_pyramid *items_of(const hl_watched *w)
{
    static const char *const tags[] = {"train/tokens", "train/samples", "train/windows"};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (points_of(w, tags[i]))
            return points_of(w, tags[i]);
    return NULL;
}

hl_x_map hl_x_map_of(const hl_screen *s, const hl_watched *w, const hl_x_wanted *want)
{
    hl_x_map m = {.kind = want->kind};
    double step;
    m.steps_per_epoch = m.kind == HL_X_EPOCH ? steps_per_epoch(s, w) : 0;
    m.clock = m.kind == HL_X_TIME || m.kind == HL_X_CLOCK ? &w->clock : NULL;
    m.metric = m.kind == HL_X_TOKENS   ? items_of(w)
               : m.kind == HL_X_METRIC ? points_of(w, want->tag)
                                       : NULL;
    m.skipped = m.kind == HL_X_UPDATES ? points_of(w, "train/skipped") : NULL;
    if (want->align && *want->align->tag)
        hl_x_map_from(&m, hl_crossing_step(want->align, points_of(w, want->align->tag), &step)
                              ? step
                              : (double)NAN);
    return m;
}

hl_x_map hl_chart_x_map(const hl_screen *s, const hl_watched *w)
{
    const hl_charts_look *look = &s->look.charts;
    return hl_x_map_of(s, w, &(hl_x_wanted){(hl_x_axis)look->x, look->x_tag, &look->align});
}

const char *hl_chart_x_name(const hl_screen *s)
{
    static const char *const names[HL_X_COUNT] = {"step",  "epoch",   "tokens", "time",
                                                  "clock", "updates", ""};
    const hl_charts_look *look = &s->look.charts;
    return look->x == HL_X_METRIC ? look->x_tag : names[look->x];
}

const char *hl_chart_x_missing(hl_screen *s)
{
    const hl_watched *w = hl_screen_run(s);
    if (!w)
        return NULL;
    const hl_x_map m = hl_chart_x_map(s, w);
    if (m.kind == HL_X_EPOCH && !(m.steps_per_epoch > 0))
        return "the run does not say how long an epoch is";
    if (m.kind == HL_X_TOKENS && !m.metric)
        return "the run does not count tokens or samples";
    if (m.kind == HL_X_METRIC && !m.metric)
        return "the run has no such series";
    return isnan(m.origin) ? "the run does not get there (:set align=off)" : NULL;
}

const hl_pyramid *hl_chart_over_x(const hl_screen *s, const hl_watched *w, hl_data *d)
{
    if (s->look.charts.x == HL_X_STEP && !*s->look.charts.align.tag)
        return d->points;
    const hl_x_map m = hl_chart_x_map(s, w);
    return hl_derived_over(&d->over, d->points, &m);
}

const char *hl_chart_unit(hl_screen *s, int chart)
{
    const bool is_ratio = s->look.overlay && s->look.charts.versus == HL_RELATION_RATIO;
    return is_ratio ? "" : hl_watched_unit(hl_screen_run(s), s->charts.at[chart].tag);
}

bool hl_chart_crosshair(const hl_screen *s, const hl_watched *w, double *x)
{
    const hl_x_map m = hl_chart_x_map(s, w);
    return s->has_crosshair && hl_x_map_at(&m, s->crosshair_x, x);
}

bool hl_chart_step_at(hl_screen *s, double x, double *step)
{
    const int chart = hl_charts_focused(s);
    const hl_watched *w = hl_screen_run(s);
    hl_data *d = chart >= 0 && w ? hl_watched_series(w, s->charts.at[chart].tag) : NULL;
    const hl_pyramid *p = d && d->points ? hl_chart_over_x(s, w, d) : NULL;
    size_t i = p && isfinite(x) ? hl_pyramid_nearest(p, x) : SIZE_MAX;
    if (i == SIZE_MAX)
        return false;
    if (p != d->points) /* points without an x are the first ones */
        i += d->over.n_taken - hl_pyramid_n(p);
    *step = hl_pyramid_x(d->points, i);
    return true;
}
