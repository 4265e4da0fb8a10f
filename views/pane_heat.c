/* Outliers: a strip of layers by steps, and the histogram of the layer under the cursor. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"
#include "views/widgets/histogram.h"
#include "views/widgets/number.h"

enum { LAYERS_MAX = 256, SITES_MAX = 64 };

static const char *const statistic_tags[HL_STATISTICS] = {"inf_norm", "kurtosis"};
static const char *const statistic_names[HL_STATISTICS] = {"infinity norm", "kurtosis"};

/* ---- what there is ---- */

typedef struct layer {
    const hl_data *data;
    int64_t number; /* -1: it has none */
    char label[40];
} layer;

typedef struct layers {
    layer at[LAYERS_MAX];
    int n;
} layers;

/* The sites of a run, in order of arrival. */
static int list_sites(const hl_watched *w, char out[SITES_MAX][64])
{
    int n = 0;
    for (size_t i = 0; i < w->series.n; i++) {
        hl_tap_name tap;
        bool known = false;
        if (!w->series.at[i] || w->series.at[i]->statistic < 0 ||
            !hl_tap_name_from(w->series.at[i]->tag, &tap))
            continue;
        for (int k = 0; k < n; k++)
            known |= strcmp(out[k], tap.site) == 0;
        if (!known && n < SITES_MAX)
            memcpy(out[n++], tap.site, sizeof tap.site);
    }
    return n;
}

/* The one looked at: what was chosen if this run has it, else the layers' outputs. */
static bool site_of(const hl_screen *s, const hl_watched *w, char out[64])
{
    char sites[SITES_MAX][64];
    const int n = list_sites(w, sites);
    int best = 0;
    for (int i = 0; i < n; i++)
        if (strcmp(sites[i], s->look.site) == 0)
            best = i;
        else if (!s->look.site[0] && strcmp(sites[i], "out") == 0)
            best = i;
    if (n)
        memcpy(out, sites[best], 64);
    return n > 0;
}

/* The number in "layer.12"; -1: there is none. */
static int64_t number_in(const char *text)
{
    char digits[20];
    int64_t number;
    text += strcspn(text, "0123456789");
    snprintf(digits, sizeof digits, "%.*s", (int)strspn(text, "0123456789"), text);
    return hl_parse_i64(digits, &number) == HL_OK ? number : -1;
}

static int by_number(const void *a, const void *b)
{
    const layer *x = a, *y = b;
    return x->number != y->number ? (x->number < y->number ? -1 : 1) : strcmp(x->label, y->label);
}

static void list_layers(const hl_watched *w, const char *site, hl_statistic statistic, layers *out)
{
    out->n = 0;
    for (size_t i = 0; i < w->series.n && out->n < LAYERS_MAX; i++) {
        const hl_data *d = w->series.at[i];
        hl_tap_name tap;
        if (!d || d->statistic != (int)statistic || !hl_tap_name_from(d->tag, &tap) ||
            strcmp(tap.site, site) != 0)
            continue;
        layer *l = &out->at[out->n++];
        *l = (layer){.data = d, .number = number_in(tap.layer)};
        if (l->number >= 0)
            snprintf(l->label, sizeof l->label, "L%lld", (long long)l->number);
        else
            snprintf(l->label, sizeof l->label, "%s", *tap.layer ? tap.layer : "-");
    }
    qsort(out->at, (size_t)out->n, sizeof *out->at, by_number);
}

/* The run's layers under the look of now; false: nothing is watched. */
static bool current(hl_screen *s, char site[64], layers *l)
{
    const hl_watched *w = hl_screen_run(s);
    if (!w || !site_of(s, w, site))
        return false;
    list_layers(w, site, s->look.statistic, l);
    s->layer = s->layer >= l->n ? l->n - 1 : s->layer;
    s->layer = s->layer < 0 ? 0 : s->layer;
    return l->n > 0;
}

int hl_heat_rows(hl_screen *s)
{
    layers l;
    char site[64];
    return current(s, site, &l) ? l.n : 0;
}

bool hl_heat_look_at(hl_screen *s, const char *tap)
{
    const hl_watched *w = hl_screen_run(s);
    char tag[160];
    hl_tap_name name;
    layers l;
    snprintf(tag, sizeof tag, "outliers/%s/%s", tap, statistic_tags[s->look.statistic]);
    const hl_data *d = w ? hl_watched_series(w, tag) : NULL;
    if (!d || !hl_tap_name_from(tag, &name))
        return false;
    hl_screen_remember(s);
    snprintf(s->look.site, sizeof s->look.site, "%s", name.site);
    list_layers(w, name.site, s->look.statistic, &l);
    for (int i = 0; i < l.n; i++)
        if (l.at[i].data == d)
            s->layer = i;
    return true;
}

/* ---- the strip ---- */

static void heat_title(hl_screen *s, char *buf, size_t n)
{
    layers l;
    char site[64];
    const hl_run_row *row = hl_screen_row(s);
    if (!row || !current(s, site, &l)) {
        snprintf(buf, n, "Outliers");
        return;
    }
    snprintf(buf, n, "%s  site: %s  shade: log10 %s%s", row->name, site,
             statistic_names[s->look.statistic], s->settings.heat_auto ? "  scale auto" : "");
}

/* One scale for all runs that are shown, so that strips can be compared. */
static void common_range(hl_screen *s, const char *site, hl_heat *h)
{
    hl_shown shown[HL_SHOWN_MAX];
    const int n = hl_screen_shown(s, shown);
    double lo = INFINITY, hi = -INFINITY;
    for (int i = 0; i < n; i++) {
        layers l;
        hl_heat_row rows[LAYERS_MAX];
        double a, b;
        if (!shown[i].run)
            continue;
        list_layers(shown[i].run, site, s->look.statistic, &l);
        for (int k = 0; k < l.n; k++)
            rows[k] = (hl_heat_row){.label = l.at[k].label, .data = l.at[k].data->points};
        const hl_heat one = {.row = rows, .n_rows = l.n};
        if (!hl_heat_range(&one, &a, &b))
            continue;
        lo = a < lo ? a : lo;
        hi = b > hi ? b : hi;
    }
    h->fixed = lo < hi && lo > 0;
    h->lo = lo;
    h->hi = hi;
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

static void heat_draw(hl_screen *s, hl_canvas c, bool focused)
{
    layers l;
    hl_heat_row rows[LAYERS_MAX];
    char site[64];
    (void)focused;
    if (!current(s, site, &l)) {
        draw_nothing(s, c);
        return;
    }
    for (int i = 0; i < l.n; i++)
        rows[i] = (hl_heat_row){.label = l.at[i].label, .data = l.at[i].data->points};
    hl_heat *h = &s->heat;
    const uint64_t of = hl_hash_str(HL_HASH_START, s->selected);
    if (of != s->heat_of)
        *h = (hl_heat){.row_first = h->row_first};
    s->heat_of = of;
    h->row = rows;
    h->n_rows = l.n;
    h->cursor_row = s->layer;
    h->has_cursor_x = s->has_crosshair;
    h->cursor_x = s->crosshair_x;
    h->fixed = false;
    if (!s->settings.heat_auto)
        common_range(s, site, h);
    const int visible = c.r.h > 3 ? c.r.h - 2 : 1;
    if (s->layer < h->row_first)
        h->row_first = s->layer;
    if (s->layer >= h->row_first + visible)
        h->row_first = s->layer - visible + 1;
    if (h->row_first > l.n - visible)
        h->row_first = l.n > visible ? l.n - visible : 0;
    hl_heat_draw(c, h);
    h->row = NULL;
}

static void next_site(hl_screen *s)
{
    char sites[SITES_MAX][64], site[64];
    const hl_watched *w = hl_screen_run(s);
    const int n = w ? list_sites(w, sites) : 0;
    if (!n || !site_of(s, w, site))
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

/* The points of the layer under the cursor; NULL: none. */
static const hl_pyramid *focused_points(hl_screen *s)
{
    layers l;
    char site[64];
    return current(s, site, &l) ? l.at[s->layer].data->points : NULL;
}

static bool heat_act(hl_screen *s, hl_action a)
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
    case HL_ACTION_STATISTIC:
        hl_screen_remember(s);
        s->look.statistic = (hl_statistic)((s->look.statistic + 1) % HL_STATISTICS);
        hl_screen_say(s, HL_ROLE_TEXT, "statistic: %s", statistic_names[s->look.statistic]);
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
    const double step = hl_heat_x_at(&s->heat, x);
    s->has_crosshair = isfinite(step);
    s->crosshair_x = step;
}

const hl_pane_class hl_pane_heat = {.framed = true,
                                    .focusable = true,
                                    .title = heat_title,
                                    .draw = heat_draw,
                                    .act = heat_act,
                                    .click = heat_click};

/* ---- the histogram ---- */

/* The histogram of the layer under the cursor in a run, near the crosshair's step or the newest. */
static const hl_hist *find_hist(hl_screen *s, const hl_watched *w, const char *site, int64_t *step)
{
    layers l;
    char tag[160];
    list_layers(w, site, s->look.statistic, &l);
    if (s->layer >= l.n)
        return NULL;
    const char *of = l.at[s->layer].data->tag;
    const int stem = (int)(strlen(of) - strlen(statistic_tags[s->look.statistic]));
    snprintf(tag, sizeof tag, "%.*shist", stem, of);
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

static void hist_title(hl_screen *s, char *buf, size_t n)
{
    layers l;
    char site[64], count[HL_NUMBER_MAX], notes[HL_HISTOGRAM_NOTES_MAX];
    int64_t step;
    const hl_watched *w = hl_screen_run(s);
    const hl_hist *h = w && current(s, site, &l) ? find_hist(s, w, site, &step) : NULL;
    if (!h) {
        snprintf(buf, n, "histogram");
        return;
    }
    snprintf(buf, n, "%s %s @%s  log count  %s", l.at[s->layer].label, site,
             hl_format_count(count, step), hl_histogram_notes(h, notes));
}

/* Of the quantizer that stands where the layer under the cursor is watched. */
static bool grid_of(const hl_screen *s, const hl_watched *w, const layers *l, double *lo,
                    double *hi)
{
    static const char head[] = "outliers/";
    const char *tag = l->at[s->layer].data->tag, *end = strrchr(tag, '/');
    char tap[128];
    if (!hl_str_starts(tag, head))
        return false;
    snprintf(tap, sizeof tap, "%.*s", (int)(end - tag - (int)strlen(head)), tag + strlen(head));
    return hl_quants_grid(&w->quants, tap, lo, hi);
}

static void hist_draw(hl_screen *s, hl_canvas c, bool focused)
{
    layers l;
    char site[64];
    int64_t step;
    int color;
    const hl_watched *w = hl_screen_run(s);
    (void)focused;
    if (!w || !current(s, site, &l)) {
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), "no activation was watched yet");
        return;
    }
    hl_histogram h = {.data = find_hist(s, w, site, &step),
                      .role = hl_color_style(hl_screen_color(s, w->dir)).role};
    h.has_clip = grid_of(s, w, &l, &h.clip_lo, &h.clip_hi);
    h.over = other_hist(s, site, &step, &color);
    h.over_role = hl_color_style(color).role;
    if (h.data)
        hl_histogram_draw(c, &h);
    else
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), "no histogram yet (probe.hist = true)");
}

static void next_other(hl_screen *s)
{
    const hl_run_row *row = hl_screen_row(s);
    bool past = s->other_run == NULL;
    for (size_t i = 0; row && i < s->marks.n; i++) {
        const hl_mark *m = &s->marks.at[i];
        if (past && strcmp(m->dir, row->dir) != 0) {
            hl_free(s->other_run);
            s->other_run = hl_strdup(m->dir);
            const hl_run_row *other = hl_model_row(&s->model, m->dir);
            hl_screen_say(s, HL_ROLE_TEXT, "histogram of %s laid over it",
                          other ? other->name : m->dir);
            return;
        }
        past |= s->other_run && strcmp(m->dir, s->other_run) == 0;
    }
    hl_free(s->other_run);
    s->other_run = NULL;
    hl_screen_say(s, HL_ROLE_TEXT, "this run's histogram alone");
}

static bool hist_act(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_HIST_OVERLAY:
        next_other(s);
        return true;
    case HL_ACTION_UP:
    case HL_ACTION_DOWN:
    case HL_ACTION_LEFT:
    case HL_ACTION_RIGHT:
    case HL_ACTION_TOP:
    case HL_ACTION_BOTTOM:
    case HL_ACTION_BACK:
        return heat_act(s, a);
    default:
        return false;
    }
}

const hl_pane_class hl_pane_hist = {
    .framed = true, .focusable = true, .title = hist_title, .draw = hist_draw, .act = hist_act};
