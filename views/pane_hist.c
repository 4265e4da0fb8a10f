/* The histogram of the layer under the outlier strip's cursor. */
#include <stdio.h>
#include <string.h>

#include "views/layers.h"
#include "views/widgets/histogram.h"
#include "views/widgets/number.h"

/* The histogram of the layer under the cursor in a run, near the crosshair's step or the newest. */
static const hl_hist *find_hist(hl_screen *s, const hl_watched *w, const char *site, int64_t *step)
{
    hl_layers l;
    char tag[160], place[128];
    hl_layers_list(w, site, s->look.statistic, &l);
    if (s->layer >= l.n)
        return NULL;
    snprintf(tag, sizeof tag, "outliers/%s/hist", hl_layer_place(&l.at[s->layer], place));
    const hl_data *d = hl_watched_series(w, tag);
    return d ? hl_data_hist(d, s->has_crosshair ? (int64_t)s->crosshair_x : -1, step) : NULL;
}

/* The other run whose histogram lies over it, if it is still there. */
static const hl_hist *other_hist(hl_screen *s, const char *site, int64_t *step, int *color)
{
    const hl_run_row *row = s->other_run ? hl_model_row(&s->model, s->other_run) : NULL;
    const hl_watched *w = row ? hl_model_watch(&s->model, row->dir) : NULL;
    *color = row ? hl_screen_color(s, row->dir) : 0;
    return w && row != hl_screen_row(s) ? find_hist(s, w, site, step) : NULL;
}

bool hl_hist_shown(hl_screen *s, hl_histogram *out, char *title, size_t n)
{
    hl_layers l;
    char site[64], count[HL_NUMBER_MAX], place[128];
    int64_t step, other_step;
    int color;
    const hl_watched *w = hl_screen_run(s);
    *out = (hl_histogram){.linear = s->look.hist_linear};
    *title = 0;
    if (!w || !hl_layers_shown(s, site, &l))
        return false;
    out->data = find_hist(s, w, site, &step);
    if (!out->data)
        return false;
    out->role = hl_color_style(hl_screen_color(s, w->dir)).role;
    out->has_clip = hl_quants_grid(&w->quants, hl_layer_place(&l.at[s->layer], place),
                                   &out->clip_lo, &out->clip_hi);
    out->over = other_hist(s, site, &other_step, &color);
    out->over_role = hl_color_style(color).role;
    const hl_flagged *flag = l.at[s->layer].flag;
    snprintf(title, n, "%s %s @%s  %s", l.at[s->layer].label, site, hl_format_count(count, step),
             flag ? flag->text : "");
    return true;
}

static void hist_title(hl_screen *s, char *buf, size_t n)
{
    hl_histogram h;
    char notes[HL_HISTOGRAM_NOTES_MAX];
    if (!hl_hist_shown(s, &h, buf, n)) {
        snprintf(buf, n, "histogram");
        return;
    }
    const size_t used = strlen(buf);
    if (buf[used - 1] == ' ') /* no word of a flag */
        snprintf(buf + used, n - used, "log count  %s", hl_histogram_notes(h.data, notes));
}

static void hist_draw(hl_screen *s, hl_canvas c, bool focused)
{
    hl_layers l;
    hl_histogram h;
    char site[64], title[200];
    (void)focused;
    if (hl_hist_shown(s, &h, title, sizeof title))
        hl_histogram_draw(c, &h);
    else
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM),
                   hl_screen_run(s) && hl_layers_shown(s, site, &l)
                       ? "no histogram yet (probe.hist = true)"
                       : "no activation was watched yet");
}

void hl_screen_next_other(hl_screen *s)
{
    const hl_run_row *row = hl_screen_row(s);
    bool past = s->other_run == NULL;
    for (size_t i = 0; row && i < s->marks.n; i++) {
        const hl_mark *m = &s->marks.at[i];
        if (past && strcmp(m->dir, row->dir) != 0) {
            hl_free(s->other_run);
            s->other_run = hl_strdup(m->dir);
            const hl_run_row *other = hl_model_row(&s->model, m->dir);
            hl_screen_say(s, HL_ROLE_TEXT, "compared with %s", other ? other->name : m->dir);
            return;
        }
        past |= s->other_run && strcmp(m->dir, s->other_run) == 0;
    }
    hl_free(s->other_run);
    s->other_run = NULL;
    hl_screen_say(s, HL_ROLE_TEXT, "%s",
                  s->marks.n ? "this run alone"
                             : "no other run is marked (Space in the list marks)");
}

static bool hist_act(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_HIST_SCALE:
        hl_screen_remember(s);
        s->look.hist_linear = !s->look.hist_linear;
        hl_screen_say(s, HL_ROLE_TEXT, "x: %s", s->look.hist_linear ? "linear" : "log |x|");
        return true;
    case HL_ACTION_HIST_OVERLAY:
        hl_screen_next_other(s);
        return true;
    case HL_ACTION_UP:
    case HL_ACTION_DOWN:
    case HL_ACTION_LEFT:
    case HL_ACTION_RIGHT:
    case HL_ACTION_TOP:
    case HL_ACTION_BOTTOM:
    case HL_ACTION_BACK:
        return hl_heat_act(s, a);
    default:
        return false;
    }
}

const hl_pane_class hl_pane_hist = {
    .framed = true, .focusable = true, .title = hist_title, .draw = hist_draw, .act = hist_act};
