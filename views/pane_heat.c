/* Outliers: a strip of layers by steps. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/layers.h"
#include "views/widgets/number.h"

int hl_heat_rows(hl_screen *s)
{
    hl_layers l;
    char site[64];
    return hl_layers_shown(s, site, &l) ? l.n : 0;
}

bool hl_heat_look_at(hl_screen *s, const char *tap)
{
    const hl_watched *w = hl_screen_run(s);
    char tag[160];
    hl_tap_name name;
    hl_layers l;
    snprintf(tag, sizeof tag, "outliers/%s/%s", tap,
             s->look.statistic == HL_STAT_KURTOSIS ? "kurtosis" : "inf_norm");
    const hl_data *d = w ? hl_watched_series(w, tag) : NULL;
    if (!d || !hl_tap_name_from(tag, &name))
        return false;
    hl_screen_remember(s);
    snprintf(s->look.site, sizeof s->look.site, "%s", name.site);
    hl_layers_list(w, name.site, s->look.statistic, &l);
    for (int i = 0; i < l.n; i++)
        if (l.at[i].data == d)
            s->layer = i;
    return true;
}

/* ---- the strip ---- */

static void heat_title(hl_screen *s, char *buf, size_t n)
{
    hl_layers l;
    char site[64];
    const hl_run_row *row = hl_screen_row(s);
    if (!row || !hl_layers_shown(s, site, &l)) {
        snprintf(buf, n, "Outliers");
        return;
    }
    char cost[40] = "", value[HL_NUMBER_MAX];
    const hl_data *d = hl_watched_series(hl_screen_run(s), "sys/probe_ms");
    double x, ms;
    if (d && d->points && hl_pyramid_last(d->points, &x, &ms))
        snprintf(cost, sizeof cost, "  probe %s ms/step", hl_format_value(value, ms));
    snprintf(buf, n, "%s  site: %s  shade: log10 %s%s%s", row->name, site,
             hl_statistic_name(s->look.statistic), s->settings.heat_auto ? "  scale auto" : "",
             cost);
}

static void range_of(hl_screen *s, const hl_watched *w, const char *site, double *lo, double *hi)
{
    hl_layers l;
    hl_heat_row rows[HL_LAYERS_MAX];
    double a, b;
    hl_layers_list(w, site, s->look.statistic, &l);
    for (int k = 0; k < l.n; k++)
        rows[k] = (hl_heat_row){.label = l.at[k].label, .data = l.at[k].points};
    const hl_heat one = {.row = rows, .n_rows = l.n};
    if (!hl_heat_range(&one, &a, &b))
        return;
    *lo = fmin(*lo, a);
    *hi = fmax(*hi, b);
}

/* One scale for all runs that are shown, so that strips can be compared. */
static void common_range(hl_screen *s, hl_strips *strips)
{
    hl_shown shown[HL_SHOWN_MAX];
    const int n = hl_screen_shown(s, shown);
    double lo = INFINITY, hi = -INFINITY;
    for (int i = 0; i < n; i++)
        if (shown[i].run)
            range_of(s, shown[i].run, strips->site, &lo, &hi);
    for (int i = 1; i < strips->n; i++)
        range_of(s, strips->at[i].run, strips->site, &lo, &hi);
    for (int i = 0; i < strips->n; i++) {
        hl_heat *h = &strips->at[i].heat;
        h->fixed = lo < hi && lo > 0;
        h->lo = lo;
        h->hi = hi;
    }
}

static void make_strip(hl_screen *s, const hl_run_row *row, const hl_watched *w, const char *site,
                       bool utf8, hl_strip *out)
{
    out->run = w;
    snprintf(out->name, sizeof out->name, "%.60s", row->name);
    hl_layers_list(w, site, s->look.statistic, &out->layers);
    for (int i = 0; i < out->layers.n; i++) {
        hl_layer *l = &out->layers.at[i];
        if (l->flag)
            strncat(l->label, utf8 ? "\xe2\x96\xb2" : "^", sizeof l->label - strlen(l->label) - 1);
        out->row[i] = (hl_heat_row){.label = l->label, .data = l->points};
    }
    out->heat = (hl_heat){.row = out->row, .n_rows = out->layers.n};
}

bool hl_strips_make(hl_screen *s, hl_strips *out, bool utf8)
{
    const hl_run_row *row = hl_screen_row(s);
    out->n = 0;
    if (!row || !hl_layers_shown(s, out->site, &out->at[0].layers))
        return false;
    make_strip(s, row, hl_screen_run(s), out->site, utf8, &out->at[out->n++]);
    const hl_run_row *other =
        s->look.strips_beside && s->other_run ? hl_model_row(&s->model, s->other_run) : NULL;
    const hl_watched *w = other && other != row ? hl_model_watch(&s->model, other->dir) : NULL;
    if (w)
        make_strip(s, other, w, out->site, utf8, &out->at[out->n++]);
    if (!s->settings.heat_auto)
        common_range(s, out);
    return true;
}

static void draw_nothing(hl_screen *s, hl_canvas c)
{
    const hl_run_row *row = hl_screen_row(s);
    const hl_watched *w = hl_screen_run(s);
    if (hl_screen_put_trouble(s, c))
        return;
    const bool over = w && w->caught_up && !hl_state_is_live(row->state);
    hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM),
               over ? "this run watched no activations (probe.every = 0?)"
                    : "no activation was watched yet");
}

static bool has_points(const hl_layers *l)
{
    bool any = false;
    for (int i = 0; i < l->n; i++)
        any |= l->at[i].points != NULL;
    return any;
}

/* From the run's strip to what the pane keeps: axis, first row, cursor. */
static void draw_strip(hl_screen *s, hl_canvas c, const hl_strip *one, hl_heat *h)
{
    const hl_heat kept = *h;
    *h = one->heat;
    h->x = kept.x;
    h->row_first = kept.row_first;
    h->cursor_row = s->layer;
    h->has_cursor_x = s->has_crosshair;
    h->cursor_x = s->crosshair_x;
    const int visible = c.r.h > 3 ? c.r.h - 2 : 1;
    if (s->layer < h->row_first)
        h->row_first = s->layer;
    if (s->layer >= h->row_first + visible)
        h->row_first = s->layer - visible + 1;
    if (h->row_first > h->n_rows - visible)
        h->row_first = h->n_rows > visible ? h->n_rows - visible : 0;
    hl_heat_draw(c, h);
    h->row = NULL;
}

static hl_canvas named(hl_canvas c, const hl_strip *one, const hl_screen *s)
{
    hl_put_cut(c, 0, 0, c.r.w, hl_color_style(hl_screen_color(s, one->run->dir)), one->name);
    return hl_canvas_part(c, 0, 1, c.r.w, c.r.h - 1);
}

/* Beside each other, or where that is too narrow below each other; one scale. */
static void draw_both(hl_screen *s, hl_canvas c, const hl_strips *strips)
{
    enum { EACH_MIN = 34 };
    const bool below = c.r.w < 2 * EACH_MIN + 1;
    const int w = below ? c.r.w : (c.r.w - 1) / 2, h = below ? c.r.h / 2 : c.r.h;
    const hl_canvas part[2] = {hl_canvas_part(c, 0, 0, w, h),
                               below ? hl_canvas_part(c, 0, h, w, c.r.h - h)
                                     : hl_canvas_part(c, w + 1, 0, c.r.w - w - 1, h)};
    for (int i = 0; i < 2; i++)
        draw_strip(s, named(part[i], &strips->at[i], s), &strips->at[i],
                   i ? &s->heat_beside : &s->heat);
    s->heat.strip.y++; /* below its name: where the mouse finds it */
}

static void heat_draw(hl_screen *s, hl_canvas c, bool focused)
{
    static const char *const nothing =
        "no quantizer is known here: Q quantizes a live run, :quantize any";
    (void)focused;
    hl_strips *strips = hl_alloc_zero(1, sizeof *strips);
    if (!strips || !hl_strips_make(s, strips, hl_has_signs(c.grid))) {
        draw_nothing(s, c);
        hl_free(strips);
        return;
    }
    uint64_t of = hl_hash_str(HL_HASH_START, s->selected);
    for (int i = 1; i < strips->n; i++)
        of = hl_hash_str(of, strips->at[i].run->dir);
    if (of != s->heat_of) {
        s->heat = (hl_heat){.row_first = s->heat.row_first};
        s->heat_beside = (hl_heat){.row_first = s->heat.row_first};
    }
    s->heat_of = of;
    if (s->look.statistic == HL_STAT_CLIPPED && !has_points(&strips->at[0].layers))
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), nothing);
    else if (strips->n > 1)
        draw_both(s, c, strips);
    else
        draw_strip(s, c, &strips->at[0], &s->heat);
    hl_free(strips);
}

static void next_site(hl_screen *s)
{
    char sites[HL_SITES_MAX][64], site[64];
    const hl_watched *w = hl_screen_run(s);
    const int n = w ? hl_sites_list(w, sites) : 0;
    if (!n || !hl_site_shown(s, w, site))
        return;
    hl_screen_remember(s);
    for (int i = 0; i < n; i++)
        if (strcmp(sites[i], site) == 0) {
            memcpy(s->look.site, sites[(i + 1) % n], sizeof s->look.site);
            break;
        }
    hl_screen_say(s, HL_ROLE_TEXT, "site: %s", s->look.site);
}

/* The next run that charts show, with the same site, layer and scale. */
static void next_run(hl_screen *s)
{
    const hl_run_row *row = hl_screen_row(s);
    size_t from = s->marks.n;
    for (size_t i = 0; row && i < s->marks.n; i++)
        if (strcmp(s->marks.at[i].dir, row->dir) == 0)
            from = i;
    for (size_t k = 1; k <= s->marks.n; k++) {
        const hl_mark *m = &s->marks.at[(from + k) % s->marks.n];
        if (hl_model_row(&s->model, m->dir) && (!row || strcmp(m->dir, row->dir) != 0)) {
            hl_screen_select(s, m->dir);
            return;
        }
    }
    hl_screen_say(s, HL_ROLE_TEXT, "no other run is marked (Space in the list marks)");
}

/* The strip of the next marked run beside this one's, behind the last one none. */
static void next_beside(hl_screen *s)
{
    hl_screen_remember(s);
    s->look.strips_beside = true;
    hl_screen_next_other(s);
    s->look.strips_beside = s->other_run != NULL;
}

/* The points of the layer under the cursor; NULL: none. */
static const hl_pyramid *focused_points(hl_screen *s)
{
    hl_layers l;
    char site[64];
    return hl_layers_shown(s, site, &l) ? l.at[s->layer].points : NULL;
}

/* To the largest value of all layers; from there to that of the layer with the next smaller one. */
static void next_spike(hl_screen *s)
{
    hl_layers l;
    char site[64], value[HL_NUMBER_MAX], step[HL_NUMBER_MAX];
    double x, y, best = -HUGE_VAL, below = HUGE_VAL;
    int to = -1;
    if (!hl_layers_shown(s, site, &l))
        return;
    const bool is_at = l.at[s->layer].points && s->has_crosshair &&
                       hl_pyramid_best(l.at[s->layer].points, false, &x, &y) && x == s->crosshair_x;
    if (is_at)
        below = y;
    for (int i = 0; i < l.n; i++) {
        const bool has = l.at[i].points && hl_pyramid_best(l.at[i].points, false, &x, &y);
        const bool comes_later = is_at && y == below && i > s->layer;
        if (!has || !(y < below || comes_later || !is_at) || y <= best)
            continue;
        best = y;
        to = i;
    }
    if (to < 0) {
        s->has_crosshair = false;
        hl_screen_say(s, HL_ROLE_TEXT, "that was the last layer; * begins anew");
        return;
    }
    (void)hl_pyramid_best(l.at[to].points, false, &x, &y);
    s->layer = to;
    s->has_crosshair = true;
    s->crosshair_x = x;
    hl_screen_say(s, HL_ROLE_TEXT, "%s %s: %s at step %s", l.at[to].label, site,
                  hl_format_value(value, y), hl_format_value(step, x));
}

static void next_not_finite(hl_screen *s)
{
    const hl_pyramid *p = focused_points(s);
    const size_t n = p ? hl_pyramid_n(p) : 0;
    const size_t from = n && s->has_crosshair ? hl_pyramid_nearest(p, s->crosshair_x) + 1 : 0;
    for (size_t k = 0; k < n; k++) {
        const size_t i = (from + k) % n;
        if (isfinite(hl_pyramid_y(p, i)))
            continue;
        s->has_crosshair = true;
        s->crosshair_x = hl_pyramid_x(p, i);
        return;
    }
    hl_screen_say(s, HL_ROLE_TEXT, "every value of this layer is finite");
}

void hl_heat_flag(hl_screen *s, const char *text)
{
    hl_layers l;
    char site[64], place[128], step[24];
    char words[6][16] = {"hoplab", "flag", "--step", "--remove", "--runs", "--"};
    char *argv[12], *copy;
    int n = 0;
    const hl_run_row *row = hl_screen_row(s);
    if (!row || !hl_layers_shown(s, site, &l)) {
        hl_screen_say(s, HL_ROLE_WARN, "there is no layer to flag");
        return;
    }
    const hl_layer *at = &l.at[s->layer];
    const bool remove = at->flag && !*text;
    double x = 0, y;
    if (s->has_crosshair)
        x = s->crosshair_x;
    else if (at->points)
        (void)hl_pyramid_last(at->points, &x, &y);
    snprintf(step, sizeof step, "%lld", (long long)x);
    copy = hl_strdup(row->dir);
    char *note = hl_strdup(text);
    argv[n++] = words[0];
    argv[n++] = words[1];
    argv[n++] = words[2];
    argv[n++] = step;
    if (remove)
        argv[n++] = words[3];
    argv[n++] = words[5];
    argv[n++] = copy;
    argv[n++] = (char *)hl_layer_place(at, place);
    argv[n++] = note;
    argv[n] = NULL;
    if (copy && note)
        hl_screen_start_job(s, argv, remove ? "unflag" : "flag", row->dir);
    hl_free(copy);
    hl_free(note);
}

bool hl_heat_act(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_UP:
        s->layer--;
        return true;
    case HL_ACTION_DOWN:
        s->layer++;
        return true;
    case HL_ACTION_BOTTOM: /* the newest, also when newer ones come */
        s->has_crosshair = s->has_crosshair && !focused_points(s);
        return true;
    case HL_ACTION_SITE:
        next_site(s);
        return true;
    case HL_ACTION_HEAT_OVERLAY:
        next_run(s);
        return true;
    case HL_ACTION_BESIDE:
        next_beside(s);
        return true;
    case HL_ACTION_SPIKE:
        next_spike(s);
        return true;
    case HL_ACTION_PLACES:
        hl_screen_popup(s, &hl_popup_places);
        return true;
    case HL_ACTION_CHANNELS:
        hl_screen_popup(s, &hl_popup_channels);
        return true;
    case HL_ACTION_TOKENS:
        hl_screen_popup(s, &hl_popup_tokens);
        return true;
    case HL_ACTION_OPEN:
        hl_popup_attention_open(s);
        return true;
    case HL_ACTION_NOT_FINITE:
        next_not_finite(s);
        return true;
    case HL_ACTION_FLAG:
        hl_heat_flag(s, "");
        return true;
    case HL_ACTION_STATISTIC:
        hl_screen_remember(s);
        s->look.statistic = (s->look.statistic + 1) % HL_STATISTICS_SHOWN;
        hl_screen_say(s, HL_ROLE_TEXT, "statistic: %s", hl_statistic_name(s->look.statistic));
        return true;
    default:
        return hl_screen_act_on_crosshair(s, a, focused_points);
    }
}

static void heat_click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN) {
        s->layer += what == HL_MOUSE_WHEEL_UP ? -1 : 1;
        return;
    }
    const hl_rect r = s->heat.strip;
    if (what == HL_MOUSE_RELEASE || y < r.y || y >= r.y + r.h)
        return;
    s->layer = s->heat.row_first + y - r.y;
    const hl_rect to = s->heat_beside.strip;
    const bool is_right = s->look.strips_beside && x >= r.x + r.w && to.w > 0;
    const double step =
        is_right ? hl_heat_x_at(&s->heat_beside, x - (r.x + r.w) - 1) : hl_heat_x_at(&s->heat, x);
    s->has_crosshair = isfinite(step);
    s->crosshair_x = step;
}

const hl_pane_class hl_pane_heat = {.framed = true,
                                    .focusable = true,
                                    .title = heat_title,
                                    .draw = heat_draw,
                                    .act = hl_heat_act,
                                    .click = heat_click};
