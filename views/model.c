#include "views/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/hash.h"

/* ---- names ---- */

bool hl_tap_name_from(const char *tag, hl_tap_name *out)
{
    static const char head[] = "outliers/";
    if (!hl_str_starts(tag, head))
        return false;
    const char *tap = tag + sizeof head - 1, *end = strrchr(tap, '/');
    if (!end)
        return false;
    const char *slash = memchr(tap, '/', (size_t)(end - tap));
    const char *site = slash ? slash + 1 : tap;
    snprintf(out->layer, sizeof out->layer, "%.*s", slash ? (int)(slash - tap) : 0, tap);
    snprintf(out->site, sizeof out->site, "%.*s", (int)(end - site), site);
    snprintf(out->statistic, sizeof out->statistic, "%s", end + 1);
    return true;
}

static int statistic_of(const char *tag)
{
    hl_tap_name tap;
    if (!hl_tap_name_from(tag, &tap))
        return -1;
    return strcmp(tap.statistic, "inf_norm") == 0   ? HL_STAT_INF_NORM
           : strcmp(tap.statistic, "kurtosis") == 0 ? HL_STAT_KURTOSIS
                                                    : -1;
}

/* ---- one series ---- */

static void data_free(hl_data *d)
{
    if (!d)
        return;
    hl_smooth_free(d->smooth);
    hl_derived_done(&d->over);
    hl_derived_done(&d->versus);
    hl_pyramid_free(d->replaced);
    hl_pyramid_free(d->points);
    hl_pyramid_free(d->of_hists.points);
    for (size_t i = 0; i < d->hists.n; i++)
        hl_free(d->hists.at[i].hist);
    hl_vec_done(&d->hists);
    hl_solves_done(&d->solves);
    hl_free(d->tag);
    hl_free(d);
}

static hl_data *data_new(const char *tag, hl_series_kind kind, const char *content)
{
    hl_data *d = hl_alloc_zero(1, sizeof *d);
    if (!d)
        return NULL;
    d->kind = kind;
    d->hist_stride = 1;
    snprintf(d->content, sizeof d->content, "%s", content);
    d->tag = hl_strdup(tag);
    if (kind == HL_SERIES_SCALAR || kind == HL_SERIES_WIDE)
        d->points = hl_pyramid_new();
    d->statistic = d->points ? statistic_of(tag) : -1;
    if (!d->tag || ((kind == HL_SERIES_SCALAR || kind == HL_SERIES_WIDE) && !d->points)) {
        data_free(d);
        return NULL;
    }
    return d;
}

/* Every second one goes, the newest stays. */
static void thin_hists(hl_data *d)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->hists.n; i++) {
        if (i % 2 == 0 || i + 1 == d->hists.n)
            d->hists.at[kept++] = d->hists.at[i];
        else
            hl_free(d->hists.at[i].hist);
    }
    d->hists.n = kept;
    d->hist_stride *= 2;
}

/* Takes the histogram over. */
static void add_hist(hl_data *d, int64_t step, hl_hist *h)
{
    const bool newest_is_extra = d->hists.n > 0 && (d->n_hists - 1) % d->hist_stride != 0;
    d->n_hists++;
    if (newest_is_extra) {
        hl_free(d->hists.at[d->hists.n - 1].hist);
        d->hists.n--;
    }
    if (hl_vec_push(&d->hists, ((hl_hist_at){step, h})) != HL_OK) {
        hl_free(h);
        return;
    }
    if (d->hists.n > HL_HISTS_KEPT)
        thin_hists(d);
}

const hl_hist *hl_data_hist(const hl_data *d, int64_t step, int64_t *at)
{
    for (size_t i = d->hists.n; i-- > 0;)
        if (step < 0 || d->hists.at[i].step <= step || i == 0) {
            *at = d->hists.at[i].step;
            return d->hists.at[i].hist;
        }
    return NULL;
}

/* What is about to be cut, for those who want to see it; less of it without memory. */
static void keep_replaced(hl_data *d, int64_t from)
{
    const size_t n = hl_pyramid_n(d->points);
    double x = 0;
    for (size_t i = 0; i < n; i++) {
        x = hl_pyramid_x(d->points, i);
        if (x < (double)from)
            continue;
        if (!d->replaced)
            d->replaced = hl_pyramid_new();
        if (!d->replaced || hl_pyramid_push(d->replaced, x, hl_pyramid_y(d->points, i)) != HL_OK)
            return;
    }
    if (d->replaced)
        HL_IGNORE(hl_pyramid_push(d->replaced, x, (double)NAN));
}

static void cut(hl_data *d, int64_t from)
{
    if (d->points && hl_pyramid_total(d->points)->x_max >= (double)from)
        keep_replaced(d, from);
    if (d->points)
        hl_pyramid_cut(d->points, (double)from);
    d->of_hists.n_hists = -1;
    while (d->hists.n && d->hists.at[d->hists.n - 1].step >= from)
        hl_free(d->hists.at[--d->hists.n].hist);
    hl_solves_cut(&d->solves, from);
}

/* ---- pace ---- */

static void pace_add(hl_pace *p, int64_t step, int64_t t_us)
{
    if (p->n_met > 0 && step <= p->last_step)
        return;
    p->last_step = step;
    if (p->stride == 0)
        p->stride = 1;
    if (p->n_met++ % p->stride != 0)
        return;
    if (p->n == HL_PACE_KEPT) {
        for (int i = 0; i < HL_PACE_KEPT / 2; i++) {
            p->step[i] = p->step[2 * i];
            p->t_us[i] = p->t_us[2 * i];
        }
        p->n = HL_PACE_KEPT / 2;
        p->stride *= 2;
    }
    p->step[p->n] = step;
    p->t_us[p->n++] = t_us;
}

static double seconds_between(const hl_pace *p, int from, int to)
{
    return (double)(p->t_us[to] - p->t_us[from]) / 1e6 / (double)(p->step[to] - p->step[from]);
}

bool hl_pace_get(const hl_pace *p, double *seconds, double *spread)
{
    enum { FEWEST = 8 };
    if (p->n < 3)
        return false;
    const int last = p->n - 1, tenth = p->n / 10, wanted = tenth > FEWEST ? tenth : FEWEST;
    const int from = last > wanted ? last - wanted : 0, middle = (from + last) / 2;
    if (middle == from || middle == last)
        return false;
    const double a = seconds_between(p, from, middle), b = seconds_between(p, middle, last);
    *seconds = seconds_between(p, from, last);
    *spread = a > b ? a - b : b - a;
    return *seconds > 0;
}

/* ---- one run ---- */

static void forget_events(hl_watched *w)
{
    for (size_t i = 0; i < w->series.n; i++)
        data_free(w->series.at[i]);
    hl_vec_done(&w->series);
    for (int i = 0; i < HL_STATISTICS; i++)
        data_free(w->gathered[i].data);
    memset(w->gathered, 0, sizeof w->gathered);
    for (size_t i = 0; i < w->computed.n; i++)
        data_free(w->computed.at[i].data);
    hl_vec_done(&w->computed);
    hl_quants_done(&w->quants);
    hl_forecasts_done(&w->forecasts);
    hl_vec_done(&w->flags);
    hl_watched_forget_declared(w);
    w->pace = (hl_pace){0};
    w->clock = (hl_step_clock){0};
    w->state = HL_RUN_UNKNOWN;
    for (size_t i = 0; i < w->log.n; i++)
        hl_free(w->log.at[i].text);
    hl_vec_done(&w->log);
    hl_log_window_clear(&w->window);
    w->log_first = 0;
    hl_json_free(w->config);
    hl_json_free(w->facts);
    hl_json_free(w->knobs);
    hl_free(w->message);
    w->config = w->facts = w->knobs = NULL;
    w->holder[0] = 0;
    w->message = NULL;
    w->bytes_done = w->bytes_total = w->damages = 0;
    w->caught_up = false;
}

static void let_go(hl_model *m, hl_watched *w)
{
    if (!w->dir)
        return;
    if (m->watch)
        hl_watch_unfollow(m->watch, w->slot);
    forget_events(w);
    hl_free(w->dir);
    *w = (hl_watched){.slot = w->slot, .farewells = w->farewells + 1};
}

/* Takes the text over, which may be NULL for lack of memory. Places grow, also of lines that are
 * the screen's own and stand nowhere. */
static void push_log(hl_watched *w, hl_log_line line)
{
    const hl_log_line *last = w->log.n ? &w->log.at[w->log.n - 1] : NULL;
    if (last && line.place <= last->place)
        line.place = last->place + 1;
    line.number = w->log_first + (int64_t)w->log.n;
    if (!line.text || hl_vec_push(&w->log, line) != HL_OK) {
        hl_free(line.text);
        return;
    }
    if (w->log.n > HL_LOG_MAX) { /* the oldest quarter goes */
        const size_t gone = HL_LOG_MAX / 4;
        for (size_t i = 0; i < gone; i++)
            hl_free(w->log.at[i].text);
        w->log.n -= gone;
        w->log_first += (int64_t)gone;
        memmove(w->log.at, w->log.at + gone, w->log.n * sizeof *w->log.at);
    }
}

static void add_log(hl_watched *w, int64_t step, int64_t t_us, char level, const char *text)
{
    push_log(w, (hl_log_line){.step = step, .t_us = t_us, .level = level, .text = hl_strdup(text)});
}

static void take_line(hl_watched *w, hl_watch_item *item)
{
    const char level = item->u.line.level;
    push_log(w, (hl_log_line){.place = item->u.line.place,
                              .step = item->step,
                              .t_us = item->t_us,
                              .level = level,
                              .text = item->u.line.text});
    item->u.line.text = NULL;
    w->n_alerts += w->caught_up && (level == 'W' || level == 'E');
}

bool hl_watched_has_end(const hl_watched *w)
{
    enum { LITTLE_BYTES = 32 << 20 }; /* read in less than a second */
    return w->caught_up || w->bytes_total - w->bytes_done < LITTLE_BYTES;
}

void hl_model_ask_log(hl_model *m, hl_watched *w, hl_log_ask what, int64_t from)
{
    const hl_log_want want = hl_log_window_ask(&w->window, what, from);
    w->window.bytes = w->bytes_total;
    if (hl_watch_log(m->watch, w->slot, &want) != HL_OK)
        hl_log_window_refuse(&w->window);
}

void hl_model_stop_log(hl_model *m, hl_watched *w)
{
    HL_IGNORE(hl_watch_log(m->watch, w->slot, &(hl_log_want){0}));
    hl_log_window_refuse(&w->window);
}

hl_data *hl_watched_series(const hl_watched *w, const char *tag)
{
    if (strcmp(tag, HL_TAG_INF_NORM) == 0)
        return w->gathered[HL_STAT_INF_NORM].data;
    if (strcmp(tag, HL_TAG_KURTOSIS) == 0)
        return w->gathered[HL_STAT_KURTOSIS].data;
    for (size_t i = 0; i < w->series.n; i++)
        if (w->series.at[i] && strcmp(w->series.at[i]->tag, tag) == 0)
            return w->series.at[i];
    for (size_t i = 0; i < w->computed.n; i++)
        if (strcmp(w->computed.at[i].data->tag, tag) == 0)
            return w->computed.at[i].data;
    return NULL;
}

/* ---- computed series ---- */

static bool has_points(void *self, const char *tag)
{
    const hl_data *d = hl_watched_series(self, tag);
    return d && d->points && *tag != '=';
}

static hl_computed *find_computed(hl_watched *w, const char *tag)
{
    for (size_t i = 0; i < w->computed.n; i++)
        if (strcmp(w->computed.at[i].data->tag, tag) == 0)
            return &w->computed.at[i];
    hl_computed fresh = {.data = data_new(tag, HL_SERIES_WIDE, "")};
    if (!fresh.data || hl_vec_push(&w->computed, fresh) != HL_OK) {
        data_free(fresh.data);
        return NULL;
    }
    return &w->computed.at[w->computed.n - 1];
}

hl_status hl_watched_compute(hl_watched *w, const char *tag)
{
    const hl_pyramid *series[HL_FORMULA_NAMES];
    uint64_t edits = 0;
    hl_formula f;
    const hl_status st = hl_formula_parse(tag + strspn(tag, "= "), has_points, w, &f);
    if (st != HL_OK)
        return st;
    hl_computed *c = find_computed(w, tag);
    if (!c)
        return HL_E_NOMEM;
    for (int i = 0; i < f.n_names; i++) {
        series[i] = hl_watched_series(w, f.name[i])->points;
        edits += hl_pyramid_edits(series[i]);
    }
    if (!c->is_parsed || c->edits != edits) {
        hl_pyramid_clear(c->data->points);
        c->n_taken = 0;
    }
    c->formula = f;
    c->is_parsed = true;
    c->edits = edits;
    return hl_formula_follow(&f, series, &c->n_taken, c->data->points) ? HL_OK : HL_E_NOMEM;
}

bool hl_watched_last(const hl_watched *w, const char *tag, double *value)
{
    const hl_data *d = w ? hl_watched_series(w, tag) : NULL;
    double x;
    return d && d->points && hl_pyramid_last(d->points, &x, value);
}

/* ---- items ---- */

static hl_json *parsed(const char *text)
{
    hl_json *v = NULL;
    if (!text || hl_json_parse(text, strlen(text), &v) != HL_OK)
        return NULL;
    return v;
}

static void take_series(hl_watched *w, const hl_watch_item *item)
{
    hl_data *d = data_new(item->u.info.tag, item->u.info.kind, item->u.info.content);
    while (w->series.n <= item->series)
        if (hl_vec_push(&w->series, NULL) != HL_OK) {
            data_free(d);
            return;
        }
    data_free(w->series.at[item->series]);
    w->series.at[item->series] = d;
}

/* The step that is coming in is complete, as far as one can tell. */
static void complete(hl_gathered *g, hl_statistic which)
{
    const bool is_max = which == HL_STAT_INF_NORM;
    if (g->n == 0 || g->shown)
        return;
    if (!g->data)
        g->data = data_new(is_max ? HL_TAG_INF_NORM : HL_TAG_KURTOSIS, HL_SERIES_SCALAR, "");
    if (g->data)
        HL_IGNORE(
            hl_pyramid_push(g->data->points, (double)g->step, is_max ? g->sum : g->sum / g->n));
    g->shown = true;
}

/* The taps of a step come in one after the other, now and then in two pieces. A value that is not
 * finite wins. */
static void gather(hl_gathered *g, hl_statistic which, int64_t step, double value)
{
    if (g->n > 0 && g->step != step) {
        complete(g, which);
        g->n = 0;
    } else if (g->n > 0 && g->shown && g->data) {
        hl_pyramid_cut(g->data->points, (double)step);
    }
    g->shown = false;
    if (g->n++ == 0)
        g->sum = value;
    else if (which != HL_STAT_INF_NORM)
        g->sum += value;
    else if (isfinite(g->sum) && !(value <= g->sum))
        g->sum = value;
    g->step = step;
}

static void settle(hl_watched *w)
{
    for (int i = 0; i < HL_STATISTICS; i++)
        complete(&w->gathered[i], (hl_statistic)i);
}

static void take_point(hl_watched *w, const hl_watch_item *item)
{
    hl_data *d = item->series < w->series.n ? w->series.at[item->series] : NULL;
    if (!d || !d->points)
        return;
    if (hl_pyramid_push(d->points, (double)item->step, item->u.value) != HL_OK)
        add_log(w, item->step, item->t_us, 'E',
                "the screen has no memory left: points are missing");
    d->last_step = item->step;
    d->t_last_us = item->t_us;
    if (!d->t_first_us)
        d->t_first_us = item->t_us;
    pace_add(&w->pace, item->step, item->t_us);
    hl_step_clock_add(&w->clock, item->step, item->t_us);
    if (d->statistic >= 0 && !strstr(d->tag, HL_HEAD_SITE)) /* of a part of a layer's numbers */
        gather(&w->gathered[d->statistic], (hl_statistic)d->statistic, item->step, item->u.value);
}

static void take_curve(hl_watched *w, hl_watch_item *item)
{
    hl_data *d = item->series < w->series.n ? w->series.at[item->series] : NULL;
    if (!d || d->kind != HL_SERIES_CURVE || !hl_solves_is_tag(d->tag))
        return;
    float *v = item->u.curve.v;
    item->u.curve.v = NULL;
    if (hl_solves_add(&d->solves, item->step, v, item->u.curve.rows, item->u.curve.cols) != HL_OK)
        add_log(w, item->step, item->t_us, 'E',
                "the screen has no memory left: a recorded solve is missing");
}

static void take_superseded(hl_watched *w, int64_t from)
{
    settle(w);
    for (int i = 0; i < HL_STATISTICS; i++)
        w->gathered[i].n = 0;
    w->pace = (hl_pace){0}; /* the steps come again, later */
    hl_step_clock_cut(&w->clock, from);
    hl_quants_cut(&w->quants, from);
    hl_forecasts_cut(&w->forecasts, from);
    for (size_t i = 0; i < w->series.n; i++)
        if (w->series.at[i])
            cut(w->series.at[i], from);
    for (int i = 0; i < HL_STATISTICS; i++)
        if (w->gathered[i].data)
            cut(w->gathered[i].data, from);
}

static const char *member(const hl_json *v, const char *key)
{
    return hl_json_str(hl_json_get(v, key), "");
}

const hl_flagged *hl_watched_flag(const hl_watched *w, const char *place)
{
    for (size_t i = 0; i < w->flags.n; i++)
        if (strcmp(w->flags.at[i].place, place) == 0)
            return &w->flags.at[i];
    return NULL;
}

/* The newest of a place counts. */
static void take_flag(hl_watched *w, const hl_watch_item *item)
{
    hl_json *v = parsed(item->u.json.text);
    hl_flagged f = {.step = item->step};
    snprintf(f.place, sizeof f.place, "%s", member(v, "place"));
    snprintf(f.text, sizeof f.text, "%s", member(v, "text"));
    const bool removed = hl_json_bool(hl_json_get(v, "removed"), false);
    hl_json_free(v);
    if (!f.place[0])
        return;
    const hl_flagged *old = hl_watched_flag(w, f.place);
    if (old) {
        const size_t i = (size_t)(old - w->flags.at);
        w->flags.at[i] = w->flags.at[--w->flags.n];
    }
    if (!removed)
        HL_IGNORE(hl_vec_push(&w->flags, f));
}

static void take_json(hl_watched *w, const hl_watch_item *item)
{
    const hl_data *d = item->series < w->series.n ? w->series.at[item->series] : NULL;
    if (d && strcmp(d->content, "table") == 0 && hl_quant_is_tag(d->tag)) {
        if (!hl_quants_add(&w->quants, d->tag, item->step, item->t_us, item->u.json.text))
            add_log(w, item->step, item->t_us, 'E',
                    "the screen has no memory left: a quantization is missing");
        return;
    }
    if (d && strcmp(d->content, "table") == 0 && hl_forecast_is_tag(d->tag)) {
        if (!hl_forecasts_add(&w->forecasts, d->tag, item->step, item->u.json.text))
            add_log(w, item->step, item->t_us, 'E',
                    "the screen has no memory left: a recorded forecast is missing");
    } else if (d && strcmp(d->content, "table") == 0 && hl_str_starts(d->tag, "flag/")) {
        take_flag(w, item);
        return;
    }
    hl_json *v = d ? parsed(item->u.json.text) : NULL;
    if (!v)
        return;
    if (strcmp(d->content, "state") == 0)
        w->state = hl_run_state_from(member(v, "state"));
    if (strcmp(d->content, "control") == 0 && !hl_json_get(v, "request"))
        snprintf(w->holder, sizeof w->holder, "%s", member(v, "who"));
    hl_watched_declare(w, d->content, item->step, v);
    if (strcmp(d->content, "knobs") == 0) {
        hl_json_free(w->knobs);
        w->knobs = v;
        return;
    }
    hl_json_free(v);
}

static void take_progress(hl_watched *w, const hl_watch_item *item)
{
    char text[120];
    w->bytes_done = item->u.progress.done;
    w->bytes_total = item->u.progress.total;
    w->caught_up = item->u.progress.caught_up;
    if (item->u.progress.damages > w->damages) {
        snprintf(text, sizeof text,
                 "%lld damaged place%s in the event files, skipped; hoplab fsck says where",
                 (long long)item->u.progress.damages, item->u.progress.damages == 1 ? "" : "s");
        add_log(w, 0, 0, 'E', text);
    }
    w->damages = item->u.progress.damages;
}

static void take_facts(hl_watched *w, const hl_watch_item *item)
{
    hl_json_free(w->config);
    hl_json_free(w->facts);
    w->config = parsed(item->u.facts.config);
    w->facts = parsed(item->u.facts.run);
}

static void take_run_item(hl_watched *w, hl_watch_item *item)
{
    if (item->kind != HL_WATCH_FAILED && w->message) {
        hl_free(w->message);
        w->message = NULL;
    }
    switch (item->kind) {
    case HL_WATCH_FOLLOWED:
        forget_events(w);
        take_facts(w, item);
        break;
    case HL_WATCH_FACTS:
        take_facts(w, item);
        break;
    case HL_WATCH_SERIES:
        take_series(w, item);
        break;
    case HL_WATCH_POINT:
        take_point(w, item);
        break;
    case HL_WATCH_HIST:
        if (item->series < w->series.n && w->series.at[item->series]) {
            add_hist(w->series.at[item->series], item->step, item->u.hist);
            item->u.hist = NULL;
        }
        break;
    case HL_WATCH_CURVE:
        take_curve(w, item);
        break;
    case HL_WATCH_JSON:
        take_json(w, item);
        break;
    case HL_WATCH_LINE:
        take_line(w, item);
        break;
    case HL_WATCH_PAGE:
        hl_log_window_take(&w->window, item->u.page);
        break;
    case HL_WATCH_SUPERSEDED:
        take_superseded(w, item->step);
        break;
    case HL_WATCH_PROGRESS:
        take_progress(w, item);
        break;
    case HL_WATCH_FAILED:
        hl_free(w->message);
        w->message = item->u.message;
        item->u.message = NULL;
        hl_log_window_refuse(&w->window);
        break;
    default:
        break;
    }
}

static void take_list_item(hl_model *m, hl_watch_item *item)
{
    if (item->kind == HL_WATCH_LIST) {
        hl_run_rows_free(m->rows);
        m->rows = item->u.rows;
        item->u.rows = NULL;
        m->has_rows = true;
        m->n_lists++;
        hl_free(m->message);
        m->message = NULL;
    } else if (item->kind == HL_WATCH_FAILED) {
        hl_free(m->message);
        m->message = item->u.message;
        item->u.message = NULL;
        m->has_rows = true;
    } else if (item->kind == HL_WATCH_DUG) {
        m->n_wants -= (int)item->step;
    } else if (item->kind == HL_WATCH_EDITED) {
        m->has_edited = true;
        m->n_edits--;
        m->edited = item->u.edited.what;
        m->n_edited = item->u.edited.n_done;
        snprintf(m->edit_trouble, sizeof m->edit_trouble, "%s",
                 item->u.edited.message ? item->u.edited.message : "");
    }
}

/* What is still on its way of a run that had the slot before is nobody's. */
static void take_slot_item(hl_watched *w, hl_watch_item *item)
{
    if (w->farewells > 0)
        w->farewells -= item->kind == HL_WATCH_UNFOLLOWED;
    else if (w->dir)
        take_run_item(w, item);
}

bool hl_model_update(hl_model *m, int64_t limit_ns)
{
    const int64_t end = hl_clock_mono_ns() + limit_ns;
    hl_watch_item item;
    bool any = false, more;
    for (int n = 1; (more = hl_watch_take(m->watch, &item)); n++) {
        if (item.slot < 0)
            take_list_item(m, &item);
        else if (item.slot < HL_WATCHED_MAX)
            take_slot_item(&m->watched[item.slot], &item);
        hl_watch_item_done(&item);
        any = true;
        if ((n % 256 == 0 || item.kind == HL_WATCH_CURVE) && hl_clock_mono_ns() > end)
            break;
    }
    for (int i = 0; any && !more && i < HL_WATCHED_MAX; i++)
        settle(&m->watched[i]);
    return any;
}

/* ---- the model ---- */

hl_status hl_model_open(hl_model *m, const char *runs_dir)
{
    *m = (hl_model){0};
    for (int i = 0; i < HL_WATCHED_MAX; i++)
        m->watched[i].slot = i;
    m->runs_dir = hl_strdup(runs_dir);
    if (!m->runs_dir)
        return HL_E_NOMEM;
    hl_status st = hl_watch_open(runs_dir, &m->watch);
    if (st != HL_OK)
        hl_model_close(m);
    return st;
}

void hl_model_close(hl_model *m)
{
    for (int i = 0; i < HL_WATCHED_MAX; i++)
        let_go(m, &m->watched[i]);
    hl_watch_close(m->watch);
    hl_run_rows_free(m->rows);
    hl_free(m->message);
    hl_free(m->runs_dir);
    *m = (hl_model){0};
}

const hl_run_row *hl_model_row(const hl_model *m, const char *dir)
{
    return m->rows ? hl_run_rows_find(m->rows, dir) : NULL;
}

static hl_watched *find_watched(hl_model *m, const char *dir)
{
    for (int i = 0; i < HL_WATCHED_MAX; i++)
        if (m->watched[i].dir && strcmp(m->watched[i].dir, dir) == 0)
            return &m->watched[i];
    return NULL;
}

hl_run_state hl_model_state(hl_model *m, const hl_run_row *row)
{
    const hl_watched *w = find_watched(m, row->dir);
    /* whether it still lives is what the list looked at */
    if (!w || w->state == HL_RUN_UNKNOWN || row->state == HL_RUN_SILENT ||
        row->state == HL_RUN_LOST)
        return row->state;
    return w->state;
}

hl_watched *hl_model_watch(hl_model *m, const char *dir)
{
    hl_watched *w = find_watched(m, dir);
    if (!w) {
        w = &m->watched[0];
        for (int i = 0; i < HL_WATCHED_MAX && w->dir; i++)
            if (!m->watched[i].dir || m->watched[i].used < w->used)
                w = &m->watched[i];
        let_go(m, w);
        char *copy = hl_strdup(dir);
        if (!copy)
            return NULL;
        if (hl_watch_follow(m->watch, w->slot, dir) != HL_OK) {
            hl_free(copy);
            return NULL;
        }
        w->dir = copy;
    }
    w->used = ++m->clock;
    return w;
}

bool hl_model_is_settled(const hl_model *m)
{
    if (!m->has_rows || m->n_edits > 0 || m->n_wants > 0)
        return false;
    for (int i = 0; i < HL_WATCHED_MAX; i++)
        if (m->watched[i].dir && !m->watched[i].message &&
            (!m->watched[i].caught_up || m->watched[i].window.asking != HL_LOG_ASK_NOTHING))
            return false;
    return true;
}
