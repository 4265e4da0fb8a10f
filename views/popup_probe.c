/* Outliers: the channels and the token positions of a layer that hold its largest values, and how a
 * head attends. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "views/layers.h"
#include "views/widgets/heat.h"
#include "views/widgets/number.h"

enum { LISTED = 12, TOKENS_MAX = 4096, SPELLING_SHOWN = 80 /* columns */ };

/* The layer under the cursor; false: there is none. */
static bool layer_now(hl_screen *s, hl_layer *out)
{
    hl_layers l;
    char site[64];
    if (!hl_layers_shown(s, site, &l))
        return false;
    *out = l.at[s->layer];
    return true;
}

/* What is recorded under the tag at the crosshair's step, or the newest; and all of it. */
static const hl_solved *recorded(hl_screen *s, const char *tag, const hl_solves **all)
{
    const hl_watched *w = hl_screen_run(s);
    const hl_data *d = w ? hl_watched_series(w, tag) : NULL;
    const int i =
        d ? hl_solves_find(&d->solves, s->has_crosshair ? (int64_t)s->crosshair_x : -1) : -1;
    *all = i >= 0 ? &d->solves : NULL;
    return i >= 0 ? &d->solves.kept.at[i] : NULL;
}

static const hl_solved *of_layer(hl_screen *s, const char *what, const hl_solves **all)
{
    hl_layer l;
    char tag[200], place[128];
    if (!layer_now(s, &l))
        return NULL;
    snprintf(tag, sizeof tag, "outliers/%s/%s", hl_layer_place(&l, place), what);
    return recorded(s, tag, all);
}

static void put_none(hl_canvas c)
{
    hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM),
               "not recorded of this layer (probe = { channels = true })");
}

/* ---- the largest of a row ---- */

typedef struct ranked {
    double v;
    size_t at;
} ranked;

/* NaN first, then the largest. */
static int by_size(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    const int bad = (isnan(y->v) != 0) - (isnan(x->v) != 0);
    if (bad || isnan(x->v))
        return bad ? bad : (x->at > y->at) - (x->at < y->at);
    return x->v != y->v ? (x->v < y->v) - (x->v > y->v) : (x->at > y->at) - (x->at < y->at);
}

/* Of the first row; how many of them there are. */
static int rank(const hl_curve *c, ranked out[LISTED])
{
    int n = 0;
    ranked *all = hl_alloc((c->cols + 1) * sizeof *all);
    for (size_t i = 0; all && i < c->cols; i++)
        all[i] = (ranked){(double)c->v[i], i};
    if (all && c->cols) {
        qsort(all, c->cols, sizeof *all, by_size);
        n = c->cols < LISTED ? (int)c->cols : LISTED;
        memcpy(out, all, (size_t)n * sizeof *out);
    }
    hl_free(all);
    return n;
}

static bool is_listed(const hl_curve *c, size_t at)
{
    ranked top[LISTED];
    const int n = rank(c, top);
    for (int i = 0; i < n; i++)
        if (top[i].at == at)
            return true;
    return false;
}

/* The first of the recorded steps since which the channel has always been one of the heaviest. */
static int64_t heavy_since(const hl_solves *all, const hl_solved *now, size_t channel)
{
    int64_t since = now->step;
    for (size_t i = (size_t)(now - all->kept.at) + 1; i-- > 0;) {
        if (!is_listed(&all->kept.at[i].curve, channel))
            break;
        since = all->kept.at[i].step;
    }
    return since;
}

/* ---- channels ---- */

static void list_size(hl_screen *s, int *w, int *h)
{
    (void)s;
    *w = 60;
    *h = LISTED + 3;
}

static void channels_draw(hl_screen *s, hl_canvas c)
{
    ranked top[LISTED];
    char number[HL_NUMBER_MAX], step[HL_NUMBER_MAX];
    const hl_solves *all;
    const hl_solved *now = of_layer(s, "channels", &all);
    if (!now) {
        put_none(c);
        return;
    }
    const int n = rank(&now->curve, top);
    hl_putf(c, 1, 0, HL_STYLE(DIM), "channel of %zu  @%s", now->curve.cols,
            hl_format_count(step, now->step));
    hl_put_right(c, 34, 0, HL_STYLE(DIM), "max|x|");
    hl_put_right(c, 50, 0, HL_STYLE(DIM), "heavy since");
    for (int i = 0; i < n && i + 1 < c.r.h; i++) {
        hl_putf(c, 1, 1 + i, HL_STYLE(TEXT), "%zu", top[i].at);
        hl_put_right(c, 34, 1 + i, isfinite(top[i].v) ? HL_STYLE(TEXT) : HL_STYLE(BAD),
                     hl_format_value(number, top[i].v));
        hl_put_right(c, 50, 1 + i, HL_STYLE(TEXT),
                     hl_format_count(step, heavy_since(all, now, top[i].at)));
    }
}

/* ---- tokens ---- */

/* All positions in one line, the largest of several in a cell. */
static void put_positions(hl_canvas c, int y, const hl_curve *t)
{
    const int w = c.r.w - 2 < (int)t->cols ? c.r.w - 2 : (int)t->cols;
    double most = 0;
    for (size_t i = 0; i < t->cols; i++)
        most = fmax(most, (double)t->v[i]);
    for (int x = 0; x < w; x++) {
        double v = 0;
        for (size_t i = (size_t)x * t->cols / (size_t)w; i < (size_t)(x + 1) * t->cols / (size_t)w;
             i++)
            v = fmax(v, (double)t->v[i]);
        hl_heat_put_shade(c, 1 + x, y, most > 0 ? v / most : 0, 0);
    }
}

static void tokens_size(hl_screen *s, int *w, int *h)
{
    list_size(s, w, h);
    *w = 72;
}

/* A spelling in its quotes, where it is recorded; what is not ASCII as it is, or as \u20ac. */
static void put_spelling(hl_canvas c, int x, int y, const char *text)
{
    char quoted[SPELLING_SHOWN + 16];
    size_t n = 1;
    uint32_t ch;
    if (!text)
        return;
    quoted[0] = '"';
    for (size_t len, left = strlen(text); left && n < SPELLING_SHOWN; text += len, left -= len) {
        len = hl_utf8_next(text, left, &ch);
        if (ch < 0x80 || hl_is_utf8(&c))
            n += (size_t)snprintf(quoted + n, sizeof quoted - n, "%.*s", (int)len, text);
        else
            n += (size_t)snprintf(quoted + n, sizeof quoted - n,
                                  ch > 0xFFFF ? "\\U%08x" : "\\u%04x", (unsigned)ch);
    }
    snprintf(quoted + n, sizeof quoted - n, "\"");
    hl_put_cut(c, x, y, c.r.w - x, HL_STYLE(TEXT), quoted);
}

static void tokens_draw(hl_screen *s, hl_canvas c)
{
    ranked top[LISTED];
    char number[HL_NUMBER_MAX], step[HL_NUMBER_MAX], head[80];
    const hl_solves *all;
    const hl_watched *w = hl_screen_run(s);
    const bool narrow = c.r.w < 60;
    const int value_end = narrow ? 18 : 34, id_end = narrow ? 25 : 46;
    const hl_solved *now = of_layer(s, "tokens", &all);
    if (!now || now->curve.rows < 2 || now->curve.cols > TOKENS_MAX) {
        put_none(c);
        return;
    }
    const hl_curve *t = &now->curve;
    const int n = rank(t, top);
    snprintf(head, sizeof head, "position of %zu  @%s", t->cols, hl_format_count(step, now->step));
    hl_put(c, 1, 0, HL_STYLE(DIM), narrow ? "position" : head);
    hl_put_right(c, value_end, 0, HL_STYLE(DIM), "max|x|");
    hl_put_right(c, id_end, 0, HL_STYLE(DIM), "token");
    put_positions(c, 1, t);
    for (int i = 0; i < n && i + 2 < c.r.h; i++) {
        const float id = t->v[t->cols + top[i].at];
        hl_putf(c, 1, 2 + i, HL_STYLE(TEXT), "%zu", top[i].at);
        hl_put_right(c, value_end, 2 + i, isfinite(top[i].v) ? HL_STYLE(TEXT) : HL_STYLE(BAD),
                     hl_format_value(number, top[i].v));
        hl_put_right(c, id_end, 2 + i, HL_STYLE(TEXT),
                     hl_format_known(number, !isnan(id), (double)id, hl_has_signs(c.grid)));
        put_spelling(c, id_end + 2, 2 + i, hl_spellings_get(&w->spellings, (double)id));
    }
}

/* ---- attention ---- */

/* The maps of the layer under the cursor, a square for each head; 0 heads: none are recorded. */
static const hl_solved *maps_of(hl_screen *s, int *n_heads)
{
    hl_layer l;
    char tag[120];
    const hl_solves *all;
    *n_heads = 0;
    if (!layer_now(s, &l) || l.number < 0)
        return NULL;
    snprintf(tag, sizeof tag, "attention/layer.%lld", (long long)l.number);
    const hl_solved *x = recorded(s, tag, &all);
    if (x && x->curve.cols)
        *n_heads = (int)(x->curve.rows / x->curve.cols);
    return *n_heads ? x : NULL;
}

static void attention_size(hl_screen *s, int *w, int *h)
{
    int n;
    const hl_solved *x = maps_of(s, &n);
    const int side = x ? (int)x->curve.cols : 0;
    *w = side > 50 ? side + 4 : 54;
    *h = side + 3;
}

/* The largest of the numbers under a cell. */
static double most_under(const float *v, size_t side, int x, int y, int w, int h)
{
    double most = 0;
    for (size_t i = (size_t)y * side / (size_t)h; i < (size_t)(y + 1) * side / (size_t)h; i++)
        for (size_t k = (size_t)x * side / (size_t)w; k < (size_t)(x + 1) * side / (size_t)w; k++)
            most = fmax(most, (double)v[i * side + k]);
    return most;
}

static void attention_draw(hl_screen *s, hl_canvas c)
{
    int n;
    char step[HL_NUMBER_MAX];
    const hl_solved *x = maps_of(s, &n);
    if (!x) {
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM),
                   "no map of this layer is recorded (probe = { attention = 32 })");
        return;
    }
    const size_t side = x->curve.cols;
    const int head = s->popup_row < n ? s->popup_row : n - 1;
    const int w = c.r.w - 2 < (int)side ? c.r.w - 2 : (int)side,
              h = c.r.h - 2 < (int)side ? c.r.h - 2 : (int)side;
    const float *v = x->curve.v + (size_t)head * side * side;
    hl_putf(c, 1, 0, HL_STYLE(DIM), "head %d of %d  @%s  down: queries, right: keys", head, n,
            hl_format_count(step, x->step));
    for (int y = 0; y < h; y++)
        for (int k = 0; k < w; k++)
            hl_heat_put_shade(c, 1 + k, 1 + y, fmin(most_under(v, side, k, y, w, h), 1), 0);
    hl_put_cut(c, 1, c.r.h - 1, c.r.w - 1, HL_STYLE(DIM),
               "j, k: next head and the one before; Esc closes");
}

static void attention_key(hl_screen *s, int k)
{
    int n;
    (void)maps_of(s, &n);
    if (!hl_popup_move(s, k, n) && hl_popup_is_close(k))
        hl_screen_close_popup(s);
}

static void list_key(hl_screen *s, int k)
{
    if (hl_popup_is_close(k) || k == HL_KEY_ENTER)
        hl_screen_close_popup(s);
}

void hl_popup_attention_open(hl_screen *s)
{
    hl_layer l;
    hl_screen_popup(s, &hl_popup_attention);
    if (layer_now(s, &l) && l.head > 0)
        s->popup_row = (int)l.head;
}

const hl_popup_class hl_popup_channels = {
    .title = "heaviest channels", .size = list_size, .draw = channels_draw, .key = list_key};
const hl_popup_class hl_popup_tokens = {
    .title = "token positions", .size = tokens_size, .draw = tokens_draw, .key = list_key};
const hl_popup_class hl_popup_attention = {
    .title = "attention", .size = attention_size, .draw = attention_draw, .key = attention_key};
