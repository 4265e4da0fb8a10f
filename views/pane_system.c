/* What the machine did while the run trained, as the run recorded it: live and finished runs alike.
 * A list of quantities, and the chosen one's history. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"
#include "views/widgets/gauge.h"
#include "views/widgets/number.h"
#include "views/widgets/spark.h"

/* ---- quantities ---- */

typedef enum unit { PERCENT, CORES, BYTES, BYTES_PER_S, COUNT, PER_S, MS, WATT, CELSIUS, MHZ } unit;

typedef struct quantity {
    const char *label, *tag; /* of cards without "sys/gpu.N/" */
    unit unit;
    bool always; /* listed also when nothing is known of it */
} quantity;

static const quantity host_rows[] = {
    {"processors busy", "sys/cpu_percent", PERCENT, true},
    {"busy for this run", "sys/process_cores", CORES, true},
    {"memory in use", "sys/memory_bytes", BYTES, true},
    {"of this run", "sys/rss_bytes", BYTES, true},
    {"threads", "sys/threads", COUNT, true},
    {"disk free", "sys/disk_free_bytes", BYTES, true},
    {"written to disk", "sys/written_bytes_per_s", BYTES_PER_S, false},
    {"tokens", "sys/tokens_per_s", PER_S, false},
    {"samples", "sys/samples_per_s", PER_S, false},
    {"of peak FLOP", "sys/peak_share_percent", PERCENT, false},
    {"windows", "sys/windows_per_s", PER_S, false},
    {"step", "sys/step_ms", MS, true},
    {"step: data", "sys/data_wait_ms", MS, false},
    {"step: forward", "sys/forward_ms", MS, false},
    {"step: backward", "sys/backward_ms", MS, false},
    {"step: watching", "sys/watch_ms", MS, false},
    {"step: update", "sys/update_ms", MS, false},
    {"step: logging", "sys/log_ms", MS, false},
    {"step: evaluation", "sys/eval_ms", MS, false},
    {"step: checkpoint", "sys/save_ms", MS, false},
};

static const quantity card_rows[] = {
    {"busy", "util_percent", PERCENT, true},
    {"memory", "memory_bytes", BYTES, true},
    {"of this run", "memory_own_bytes", BYTES, false},
    {"others", "other_processes", COUNT, false},
    {"power", "power_w", WATT, false},
    {"temperature", "temperature_c", CELSIUS, false},
    {"clock", "clock_mhz", MHZ, false},
    {"of others", "memory_other_bytes", BYTES, false},
    {"PCIe out", "pcie_sent_bytes_per_s", BYTES_PER_S, false},
    {"PCIe in", "pcie_received_bytes_per_s", BYTES_PER_S, false},
};

enum { HOST_ROWS = sizeof host_rows / sizeof host_rows[0] };
enum { CARD_ROWS = sizeof card_rows / sizeof card_rows[0] };
enum { CARDS_MAX = 16, ROWS_MAX = HOST_ROWS + CARDS_MAX * CARD_ROWS };

typedef struct listed {
    char tag[48], label[40];
    unit unit;
    double whole; /* what it is a part of; NAN: unknown */
    const hl_data *data;
} listed;

typedef struct listing {
    listed at[ROWS_MAX];
    int n, n_cards;
} listing;

static double fact(const hl_watched *w, const char *name)
{
    return hl_json_num(hl_json_get(w->facts, name), (double)NAN);
}

static double whole_of(const hl_watched *w, const quantity *q, const char *tag)
{
    double v = (double)NAN;
    if (q->unit == PERCENT)
        return 100;
    if (q->unit == CORES)
        return fact(w, "cores");
    if (strcmp(tag, "sys/memory_bytes") == 0 || strcmp(tag, "sys/rss_bytes") == 0)
        return fact(w, "memory_bytes");
    const size_t head =
        strcspn(tag, "m"); /* "sys/gpu.0/memory_bytes" of ".../memory_total_bytes" */
    if (hl_str_starts(tag, "sys/gpu.") && q->unit == BYTES) {
        char total[64];
        snprintf(total, sizeof total, "%.*smemory_total_bytes", (int)head, tag);
        (void)hl_watched_last(w, total, &v);
    }
    return v;
}

/* Whose processes computed on a card when the run began: "ann, bob"; "": unknown. */
static const char *users_of(const hl_watched *w, int card)
{
    const hl_json *gpus = hl_json_get(w->facts, "gpus");
    return hl_json_str(hl_json_get(hl_json_at(gpus, card), "others"), "");
}

static void add_row(listing *l, const hl_watched *w, const quantity *q, int card)
{
    listed x = {.unit = q->unit};
    if (card >= 0) {
        snprintf(x.tag, sizeof x.tag, "sys/gpu.%d/%s", card, q->tag);
        snprintf(x.label, sizeof x.label, "gpu %d: %s", card, q->label);
        if (strcmp(q->tag, "other_processes") == 0 && *users_of(w, card))
            snprintf(x.label, sizeof x.label, "gpu %d: others (%s)", card, users_of(w, card));
    } else {
        snprintf(x.tag, sizeof x.tag, "%s", q->tag);
        snprintf(x.label, sizeof x.label, "%s", q->label);
    }
    x.data = hl_watched_series(w, x.tag);
    x.whole = whole_of(w, q, x.tag);
    if ((x.data && x.data->points) || q->always)
        l->at[l->n++] = x;
}

static bool has_card(const hl_watched *w, int card)
{
    char head[24];
    snprintf(head, sizeof head, "sys/gpu.%d/", card);
    for (size_t i = 0; i < w->series.n; i++)
        if (w->series.at[i] && hl_str_starts(w->series.at[i]->tag, head))
            return true;
    return false;
}

static void list(hl_screen *s, listing *l)
{
    const hl_watched *w = hl_screen_run(s);
    l->n = l->n_cards = 0;
    if (!w)
        return;
    while (l->n_cards < CARDS_MAX && has_card(w, l->n_cards))
        for (int i = 0, card = l->n_cards++; i < CARD_ROWS; i++)
            add_row(l, w, &card_rows[i], card);
    for (int i = 0; i < HOST_ROWS; i++)
        add_row(l, w, &host_rows[i], -1);
}

static int cursor_of(const hl_screen *s, const listing *l)
{
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->at[i].tag, s->system_row) == 0)
            return i;
    return l->n ? 0 : -1;
}

/* Nothing of the machine is recorded: an older run, or one that has not come so far. */
static bool is_unrecorded(const listing *l)
{
    for (int i = 0; i < l->n; i++)
        if (l->at[i].data && l->at[i].data->points && strcmp(l->at[i].tag, "sys/step_ms") != 0 &&
            !strstr(l->at[i].tag, "_per_s"))
            return false;
    return true;
}

bool hl_system_value(const hl_screen *s, const hl_data *d, double *v)
{
    double x;
    if (!d || !d->points)
        return false;
    if (!s->has_crosshair)
        return hl_pyramid_last(d->points, &x, v);
    const size_t at = hl_pyramid_nearest(d->points, s->crosshair_x);
    if (at != SIZE_MAX)
        *v = hl_pyramid_y(d->points, at);
    return at != SIZE_MAX;
}

static const char *value_text(const listed *x, double v, char buf[64])
{
    char number[HL_NUMBER_MAX], bytes[24], all[24];
    switch (x->unit) {
    case PERCENT:
        snprintf(buf, 64, "%.0f %%", v);
        break;
    case CORES:
        if (isnan(x->whole))
            snprintf(buf, 64, "%.2f cores", v);
        else
            snprintf(buf, 64, "%.2f of %.0f cores", v, x->whole);
        break;
    case MHZ:
        snprintf(buf, 64, "%.0f MHz", v);
        break;
    case BYTES:
    case BYTES_PER_S:
        hl_format_bytes(bytes, isfinite(v) && fabs(v) < 9e18 ? (int64_t)v : 0);
        if (x->unit == BYTES && !isnan(x->whole) && !strstr(x->tag, "rss") &&
            !strstr(x->tag, "own"))
            snprintf(buf, 64, "%s of %s", bytes, hl_format_bytes(all, (int64_t)x->whole));
        else
            snprintf(buf, 64, "%s%s", bytes, x->unit == BYTES_PER_S ? "/s" : "");
        break;
    default: {
        static const char *const names[] = {
            [COUNT] = "", [PER_S] = "/s", [MS] = " ms", [WATT] = " W", [CELSIUS] = " C"};
        snprintf(buf, 64, "%s%s", hl_format_value(number, v), names[x->unit]);
    }
    }
    return buf;
}

/* ---- the list ---- */

enum { LABEL = 18, VALUE = 22, GAUGE = 14, TRACE = 40 };

static void put_trace(hl_canvas c, const hl_data *d)
{
    float v[TRACE];
    const size_t room = (size_t)(c.r.w < TRACE ? c.r.w : TRACE);
    if (room < 4)
        return;
    const int level = hl_pyramid_level(d->points, room);
    const size_t n = hl_pyramid_n_buckets(d->points, level), first = n > room ? n - room : 0;
    for (size_t i = first; i < n; i++) {
        hl_bucket b;
        hl_pyramid_bucket(d->points, level, i, &b);
        v[i - first] = b.n_non_finite ? NAN : (float)b.max;
    }
    hl_spark_draw(c, HL_STYLE(TEXT), v, n - first);
}

static void put_row(const hl_screen *s, hl_canvas c, const listed *x, bool now)
{
    const hl_style text = now ? HL_STYLE(SELECT) : HL_STYLE(TEXT);
    const int label = c.r.w < 36 ? c.r.w / 2 - 2 : LABEL;
    char buf[64];
    double v = 0;
    const bool known = hl_system_value(s, x->data, &v);
    if (now) {
        hl_blank(c, 0, 0, c.r.w, 1, text);
        hl_put_sign(c, 0, 0, text, HL_SIGN_CURSOR);
    }
    hl_put_cut(c, 2, 0, label, now ? text : HL_STYLE(DIM), x->label);
    hl_put_cut(c, 3 + label, 0, c.r.w - label - 3, known ? text : HL_STYLE(DIM),
               known ? value_text(x, v, buf) : hl_unknown(&c));
    int at = 3 + label + VALUE;
    if (c.r.w < at + GAUGE)
        return;
    if (known && x->whole > 0)
        hl_gauge_draw(hl_canvas_part(c, at, 0, GAUGE - 1, 1), text, v / x->whole, NULL);
    at += GAUGE;
    if (x->data && x->data->points)
        put_trace(hl_canvas_part(c, at, 0, c.r.w - at - 1, 1), x->data);
}

static void machine_title(hl_screen *s, char *buf, size_t n)
{
    const hl_run_row *row = hl_screen_row(s);
    listing l;
    char at[HL_NUMBER_MAX] = "", age[24];
    list(s, &l);
    snprintf(buf, n, "machine%s%s", row && *row->host ? "  " : "", row ? row->host : "");
    const hl_data *d = l.n ? l.at[0].data : NULL;
    if (!d || !d->points)
        return;
    const hl_json *card = hl_json_at(hl_json_get(hl_screen_run(s)->facts, "gpus"), 0);
    if (card)
        snprintf(buf + strlen(buf), n - strlen(buf), "  %d x %s", l.n_cards,
                 hl_json_str(hl_json_get(card, "name"), "?"));
    const size_t used = strlen(buf);
    if (s->has_crosshair)
        snprintf(buf + used, n - used, "  at step %s",
                 hl_format_count(at, (int64_t)s->crosshair_x));
    else
        snprintf(buf + used, n - used, "  step %s, %s ago", hl_format_count(at, d->last_step),
                 hl_ago(age, d->t_last_us));
}

static void put_unrecorded(hl_screen *s, hl_canvas c)
{
    const hl_run_row *row = hl_screen_row(s);
    const hl_watched *w = hl_screen_run(s);
    if (hl_screen_put_trouble(s, c))
        return;
    const bool live = hl_state_is_live(hl_model_state(&s->model, row));
    hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM),
               !w->caught_up ? "reading ..."
               : live        ? "nothing is recorded yet: the first sample follows the second step"
                             : "nothing of its machine was recorded");
    if (!live && w->caught_up)
        hl_put_cut(c, 1, 1, c.r.w - 1, HL_STYLE(DIM),
                   "an older run, or one that ended in its first step; newer runs record it");
}

static void machine_draw(hl_screen *s, hl_canvas c, bool focused)
{
    listing l;
    list(s, &l);
    (void)focused;
    if (is_unrecorded(&l)) {
        put_unrecorded(s, c);
        return;
    }
    const int extra = l.n_cards == 0, n = l.n + extra, cursor = cursor_of(s, &l);
    const int top = hl_list_scroll(&s->system_top, cursor, n, c.r.h);
    for (int i = 0; i < c.r.h && top + i < l.n; i++)
        put_row(s, hl_canvas_part(c, 0, i, c.r.w, 1), &l.at[top + i], top + i == cursor);
    if (extra && l.n - top < c.r.h)
        hl_put_cut(c, 2, l.n - top, c.r.w - 2, HL_STYLE(DIM),
                   "no graphics card was seen (hoplab doctor says why)");
}

static void look_at(hl_screen *s, int to)
{
    listing l;
    list(s, &l);
    to = to >= l.n ? l.n - 1 : to;
    if (l.n)
        snprintf(s->system_row, sizeof s->system_row, "%s", l.at[to < 0 ? 0 : to].tag);
}

/* ---- its history ---- */

static const hl_data *chosen(hl_screen *s, const hl_watched *w, listed *out)
{
    listing l;
    list(s, &l);
    const int at = cursor_of(s, &l);
    if (at < 0)
        return NULL;
    *out = l.at[at];
    return w ? hl_watched_series(w, out->tag) : NULL;
}

static const hl_pyramid *chosen_points(hl_screen *s)
{
    listed x;
    const hl_data *d = chosen(s, hl_screen_run(s), &x);
    return d ? d->points : NULL;
}

static void history_title(hl_screen *s, char *buf, size_t n)
{
    listed x;
    const hl_data *d = chosen(s, hl_screen_run(s), &x);
    snprintf(buf, n, d ? "%s  x=step" : "history", d ? d->tag : "");
}

static void history_draw(hl_screen *s, hl_canvas c, bool focused)
{
    hl_shown shown[HL_SHOWN_MAX];
    hl_chart_line lines[HL_SHOWN_MAX];
    hl_chart *view = &s->system_chart;
    listed x;
    uint64_t of = HL_HASH_START;
    const int n_shown = hl_screen_shown(s, shown);
    (void)focused;
    view->n_lines = 0;
    for (int i = 0; i < n_shown; i++) {
        const hl_data *d = shown[i].run ? chosen(s, shown[i].run, &x) : NULL;
        if (!d || !d->points)
            continue;
        of = hl_hash_str(hl_hash_str(of, shown[i].row->dir), d->tag);
        lines[view->n_lines++] = (hl_chart_line){.data = d->points,
                                                 .name = shown[i].row->name,
                                                 .role = hl_color_style(shown[i].color).role,
                                                 .letter = hl_color_letter(shown[i].color),
                                                 .focused = i == 0};
    }
    if (view->n_lines == 0) {
        if (n_shown && !hl_screen_put_trouble(s, c))
            hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), "no points of this quantity");
        return;
    }
    if (of != s->system_chart_of)
        *view = (hl_chart){.n_lines = view->n_lines};
    s->system_chart_of = of;
    view->line = lines;
    view->has_crosshair = s->has_crosshair;
    view->crosshair_x = s->crosshair_x;
    hl_chart_draw(c, view);
    view->line = NULL;
}

/* ---- keys ---- */

static bool act(hl_screen *s, hl_action a)
{
    listing l;
    const hl_rect r = s->layout.pane[hl_screen_focus(s)];
    const int page = r.h > 4 ? r.h / 2 : 1;
    list(s, &l);
    const int at = cursor_of(s, &l);
    switch (a) {
    case HL_ACTION_UP:
        look_at(s, at - 1);
        return true;
    case HL_ACTION_DOWN:
        look_at(s, at + 1);
        return true;
    case HL_ACTION_PAGE_UP:
        look_at(s, at - page);
        return true;
    case HL_ACTION_PAGE_DOWN:
        look_at(s, at + page);
        return true;
    case HL_ACTION_SYSTEM_OVERLAY:
        hl_screen_remember(s);
        s->look.overlay = !s->look.overlay;
        return true;
    case HL_ACTION_COPY:
        if (at >= 0)
            hl_screen_copy(s, l.at[at].tag);
        return at >= 0;
    case HL_ACTION_TOP:
    case HL_ACTION_BOTTOM:
        if (hl_screen_focus(s) == HL_PANE_MACHINE) {
            look_at(s, a == HL_ACTION_TOP ? 0 : l.n - 1);
            return true;
        }
        return hl_screen_act_on_crosshair(s, a, chosen_points);
    default:
        return hl_screen_act_on_crosshair(s, a, chosen_points);
    }
}

static void machine_click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    (void)x;
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN)
        (void)act(s, what == HL_MOUSE_WHEEL_UP ? HL_ACTION_UP : HL_ACTION_DOWN);
    else if (what == HL_MOUSE_PRESS)
        look_at(s, s->system_top + y);
}

static void history_click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    const double at = hl_chart_x_at(&s->system_chart, x);
    (void)y;
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN) {
        (void)act(s, what == HL_MOUSE_WHEEL_UP ? HL_ACTION_UP : HL_ACTION_DOWN);
    } else if (isfinite(at) && what != HL_MOUSE_RELEASE) {
        s->has_crosshair = true;
        s->crosshair_x = at;
    }
}

const hl_pane_class hl_pane_machine = {.framed = true,
                                       .focusable = true,
                                       .title = machine_title,
                                       .draw = machine_draw,
                                       .act = act,
                                       .click = machine_click};
const hl_pane_class hl_pane_history = {.framed = true,
                                       .focusable = true,
                                       .title = history_title,
                                       .draw = history_draw,
                                       .act = act,
                                       .click = history_click};
