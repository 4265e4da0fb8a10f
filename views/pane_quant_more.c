/* Quantizations: what they cost, by layer and tensor; the histogram of a tensor; and what is done
 * about one in a process of its own. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "views/layers.h"
#include "views/widgets/gauge.h"
#include "views/widgets/histogram.h"
#include "views/widgets/number.h"
#include "views/widgets/spark.h"

enum { LAYERS_MAX = 256, BAR_W = 24, BARS_FROM = 70 };

/* ---- what it costs ---- */

static int put_label(hl_canvas c, int y, const char *text)
{
    enum { LABEL = 13 };
    hl_put(c, 1, y, HL_STYLE(DIM), text);
    return 1 + LABEL;
}

static const hl_tensor *worst_of(const hl_tensors *t)
{
    const hl_tensor *worst = NULL;
    for (size_t i = 0; i < t->n; i++)
        if (t->at[i].v[HL_TENSOR_SQNR] < (worst ? worst->v[HL_TENSOR_SQNR] : HUGE_VAL))
            worst = &t->at[i];
    return worst;
}

static int put_layers(hl_screen *s, hl_canvas c, int y)
{
    float sqnr[LAYERS_MAX];
    char name[HL_TENSOR_NAME_MAX];
    const int n = hl_sqnr_by_layer(&s->tensors, sqnr, LAYERS_MAX);
    const hl_tensor *worst = worst_of(&s->tensors);
    int x = put_label(c, y, "SQNR by layer");
    if (n > 0) {
        x += 1 + hl_spark_draw(hl_canvas_part(c, x + 1, y, c.r.w / 2, 1), HL_STYLE(TEXT), sqnr,
                               (size_t)n);
        x += 1 + hl_putf(c, x + 1, y, HL_STYLE(DIM), "L0..L%d", n - 1);
    }
    if (worst) {
        x += 2 + hl_put(c, x + 2, y, HL_STYLE(DIM), "worst");
        hl_putf(c, x + 1, y, HL_STYLE(WARN), "%s %.1f dB", hl_tensor_short(worst->name, name),
                worst->v[HL_TENSOR_SQNR]);
    }
    return y + 1;
}

/* "perplexity 5.05 float, 5.11 simulated, 5.11 executed  by hoplab quantize, 16 batches of train"
 */
static int put_result(hl_canvas c, int y, const hl_quantization *q)
{
    char a[HL_NUMBER_MAX], b[HL_NUMBER_MAX], d[HL_NUMBER_MAX];
    const char *metric = hl_json_str(hl_json_get(q->event, "metric"), "metric");
    char label[14];
    snprintf(label, sizeof label, "%s", metric);
    const int x = put_label(c, y, label);
    hl_putf(c, x + 1, y, HL_STYLE(TEXT),
            "%s float, %s simulated, %s executed; ranges of %lld %s "
            "batches; %s",
            hl_format_value(a, hl_json_num_at(q->event, "value_float")),
            hl_format_value(b, hl_json_num_at(q->event, "value_simulated")),
            hl_format_value(d, hl_json_num_at(q->event, "value_executed")),
            (long long)hl_json_int(hl_json_get(q->event, "calibration_batches"), 0),
            hl_json_str(hl_json_get(q->event, "calibration_data"), "?"),
            hl_json_str(hl_json_get(q->event, "by"), ""));
    return y + 1;
}

static int put_bits(hl_canvas c, int y, const hl_quantization *q)
{
    const hl_json *bits = q ? hl_json_get(q->event, "loss_by_bits") : NULL;
    char v[HL_NUMBER_MAX];
    int x;
    if (!hl_json_is_object(bits) || y >= c.r.h)
        return y;
    x = put_label(c, y, "loss by bits");
    for (const hl_json *b = hl_json_at(bits, 0); b; b = hl_json_next(b)) {
        x += 1 + hl_put(c, x + 1, y, HL_STYLE(DIM), hl_json_key(b));
        x += 2 +
             hl_put(c, x + 1, y, HL_STYLE(TEXT), hl_format_value(v, hl_json_num(b, (double)NAN)));
    }
    return y + 1;
}

/* As long as its share of the largest; of a loss that shrank another colour. */
static void put_bar(hl_canvas c, double share)
{
    const int n = isfinite(share) ? (int)ceil(fabs(share) * c.r.w - 1e-9) : c.r.w;
    for (int x = 0; x < n; x++)
        hl_put_char(c, x, 0, share < 0 ? HL_STYLE(GOOD) : HL_STYLE(WARN), hl_bar_char(c.grid, 8));
}

/* One tensor a line where there is room, else one behind the other. */
static void put_ranks(hl_canvas c, int y, const hl_quantization *q, int x)
{
    char name[HL_TENSOR_NAME_MAX], v[HL_NUMBER_MAX];
    const bool lines = c.r.h - y >= 4;
    if (lines)
        hl_putf(c, x + 1, y++, HL_STYLE(DIM), "loss more, one tensor alone, over %lld batches",
                (long long)hl_json_int(hl_json_get(q->event, "sensitivity_batches"), 0));
    const int bar = lines && c.r.w >= BARS_FROM ? BAR_W : 0;
    double most = 0;
    x += !lines;
    const hl_json *list = hl_json_get(q->event, "sensitivity");
    for (const hl_json *t = hl_json_at(list, 0); t; t = hl_json_next(t))
        most = fmax(most, fabs(hl_json_num_at(t, "growth")));
    for (const hl_json *t = hl_json_at(list, 0); t && y < c.r.h && x < c.r.w; t = hl_json_next(t)) {
        const double growth = hl_json_num_at(t, "growth");
        const char *text = hl_tensor_short(hl_json_str(hl_json_get(t, "name"), "?"), name);
        hl_format_value(v, growth);
        if (lines) {
            hl_putf(c, 1, y, HL_STYLE(TEXT), "%12s", v);
            put_bar(hl_canvas_part(c, 14, y, bar, 1), growth / most);
            hl_put_cut(c, 15 + bar, y++, c.r.w - 15 - bar, HL_STYLE(TEXT), text);
        } else {
            x += hl_put(c, x, y, HL_STYLE(TEXT), text) + 1;
            x += hl_put(c, x, y, HL_STYLE(DIM), v) + 2;
        }
    }
}

/* How far the ranking has come, if this is what it knew on its way; rows used. */
static int put_progress(hl_canvas c, int y, int x, const hl_quantization *q, bool goes_on)
{
    const int64_t tried = hl_json_int(hl_json_get(q->event, "sensitivity_tried"), 0),
                  of = hl_json_int(hl_json_get(q->event, "sensitivity_of"), 0);
    char text[80];
    if (of <= 0 || tried >= of)
        return 0;
    snprintf(text, sizeof text, "%lld of %lld tensors%s", (long long)tried, (long long)of,
             goes_on ? "" : "; it did not end");
    hl_gauge_draw(hl_canvas_part(c, x, y, c.r.w - x, 1), goes_on ? HL_STYLE(LIVE) : HL_STYLE(DIM),
                  (double)tried / (double)of, text);
    return 1;
}

static void put_sensitivity(hl_screen *s, hl_canvas c, int y, const hl_quantization *q)
{
    const hl_run_row *row = hl_screen_row(s);
    const char *job = row ? hl_quant_job(s, row->dir) : NULL;
    if (y >= c.r.h)
        return;
    const int x = put_label(c, y, "sensitivity");
    if (job) {
        hl_putf(c, x + 1, y, HL_STYLE(LIVE), "%s ...", job);
        y++;
    }
    if (q && y < c.r.h)
        y += put_progress(c, y, job ? 1 : x + 1, q, job != NULL);
    if (q && y < c.r.h)
        put_ranks(c, y, q, x);
    else if (!job)
        hl_put_cut(c, x + 1, y, c.r.w - x - 1, HL_STYLE(DIM),
                   "not recorded: S ranks the tensors by what quantizing one alone costs");
}

static void sensitivity_draw(hl_screen *s, hl_canvas c, bool focused)
{
    const hl_quantization *q = hl_quant_shown(s);
    const hl_watched *w = hl_screen_run(s);
    const hl_run_row *row = hl_screen_row(s);
    const char *job = row ? hl_quant_job(s, row->dir) : NULL;
    int y = 0;
    (void)focused;
    if (!q || !hl_tensor_shown(s)) {
        if (job)
            hl_putf(c, 1, 0, HL_STYLE(LIVE), "%s ...", job);
        return;
    }
    if (w->quants.n_damaged)
        hl_putf(c, 1, y++, HL_STYLE(BAD), "%d quantization%s of this run cannot be read: damaged",
                w->quants.n_damaged, w->quants.n_damaged == 1 ? "" : "s");
    y = put_layers(s, c, y);
    if (c.r.h - y >= 2)
        y = put_result(c, y, q);
    if (c.r.h - y >= 3)
        y = put_bits(c, y, hl_quants_find(&w->quants, q->key, "loss_by_bits"));
    put_sensitivity(s, c, y, hl_quants_find(&w->quants, q->key, "sensitivity"));
}

const hl_pane_class hl_pane_sensitivity = {
    .framed = true, .focusable = true, .draw = sensitivity_draw, .act = hl_quant_act};

/* ---- the histogram of a tensor, with the ends of its grid ---- */

static void tensor_size(hl_screen *s, int *w, int *h)
{
    (void)s;
    *w = 96;
    *h = 18;
}

/* NULL: not recorded, and why. */
static const hl_hist *recorded(hl_screen *s, const hl_tensor *t, int64_t *step, const char **why)
{
    const hl_watched *w = hl_screen_run(s);
    char tag[200];
    snprintf(tag, sizeof tag, "outliers/%s/hist", t->tap);
    const hl_data *d = *t->tap && w ? hl_watched_series(w, tag) : NULL;
    *why = t->is_weight ? "histograms are of activations; probe.weights records the largest |w|"
           : !*t->tap   ? "this place is not watched: the model has no tap here (hop.tap makes one)"
                        : "no histogram of it: a run with probe.every and probe.hist = true "
                          "records them";
    return d ? hl_data_hist(d, -1, step) : NULL;
}

static void tensor_draw(hl_screen *s, hl_canvas c)
{
    const hl_tensor *t = hl_tensor_shown(s);
    char notes[HL_HISTOGRAM_NOTES_MAX], scale[HL_NUMBER_MAX], least[HL_NUMBER_MAX],
        most[HL_NUMBER_MAX], count[HL_NUMBER_MAX];
    const char *why;
    int64_t at = 0;
    if (!t)
        return;
    const hl_hist *h = recorded(s, t, &at, &why);
    hl_put_cut(c, 0, 0, c.r.w, (hl_style){HL_ROLE_TITLE, HL_BOLD}, t->name);
    if (t->is_float)
        hl_put(c, 0, 1, HL_STYLE(DIM), "in floating point");
    else
        hl_putf(c, 0, 1, HL_STYLE(TEXT), "%.0f bits  scale %s  grid %s .. %s  SQNR %.1f dB",
                t->v[HL_TENSOR_BITS], hl_format_value(scale, t->v[HL_TENSOR_SCALE]),
                hl_format_value(least, t->v[HL_TENSOR_LEAST]),
                hl_format_value(most, t->v[HL_TENSOR_MOST]), t->v[HL_TENSOR_SQNR]);
    const double step = t->is_float ? (double)NAN : t->v[HL_TENSOR_SCALE];
    if (!h) {
        hl_put_cut(c, 0, 3, c.r.w, HL_STYLE(DIM), why);
        return;
    }
    int x = hl_putf(c, 0, 2, HL_STYLE(DIM), "@%s  log count  %s", hl_format_count(count, at),
                    hl_histogram_notes(h, notes));
    if (!t->is_float && h->num > 0)
        hl_putf(c, x + 2, 2, HL_STYLE(WARN), "clipped %.3g %%  to 0: %.3g %%",
                100 * hl_hist_statistic(h, HL_STAT_CLIPPED, t->v[HL_TENSOR_LEAST],
                                        t->v[HL_TENSOR_MOST]),
                100 - 100 * hl_hist_statistic(h, HL_STAT_CLIPPED, -step / 2, step / 2));
    const hl_histogram g = {.data = h,
                            .role = HL_ROLE_SERIES,
                            .has_clip = !t->is_float,
                            .clip_lo = t->v[HL_TENSOR_LEAST],
                            .clip_hi = t->v[HL_TENSOR_MOST],
                            .step = step,
                            .linear = s->look.hist_linear};
    hl_histogram_draw(hl_canvas_part(c, 0, 3, c.r.w, c.r.h - 3), &g);
}

static void tensor_key(hl_screen *s, int key)
{
    if (key == 'j' || key == HL_KEY_DOWN)
        hl_quant_act(s, HL_ACTION_DOWN);
    else if (key == 'k' || key == HL_KEY_UP)
        hl_quant_act(s, HL_ACTION_UP);
    else if (key == 'Y')
        s->look.hist_linear = !s->look.hist_linear;
    else
        hl_screen_close_popup(s);
}

const hl_popup_class hl_popup_tensor = {.title = "tensor (j k: the next ones; Y: x axis)",
                                        .size = tensor_size,
                                        .draw = tensor_draw,
                                        .key = tensor_key};

/* ---- jobs ---- */

const char *hl_quant_job(const hl_screen *s, const char *dir)
{
    const hl_asked *a = hl_requests_open(&s->requests, dir);
    if (a && a->cmd == HL_BUS_CMD_QUANTIZE)
        return a->state == HL_ASKED_ACCEPTED && a->message[0] ? a->message : a->what;
    for (int i = 0; i < HL_LAUNCHES_MAX; i++)
        if (s->launched[i].is_job && !s->launched[i].heard && strcmp(s->launched[i].dir, dir) == 0)
            return s->launched[i].name;
    return NULL;
}

enum { ARGV_MAX = 64 };

void hl_quant_start_job(hl_screen *s, char *const *words, int n, const char *what)
{
    const hl_run_row *row = hl_screen_row(s);
    char program[] = "hoplab", command[] = "quantize", name[64];
    char *argv[ARGV_MAX + 1];
    int used = 0;
    if (!row) {
        hl_screen_say(s, HL_ROLE_WARN, "%s: there is no run under the cursor", what);
        return;
    }
    if (hl_quant_job(s, row->dir)) {
        hl_screen_say(s, HL_ROLE_WARN, "%s of %s is still going on", hl_quant_job(s, row->dir),
                      row->name);
        return;
    }
    char *dir = hl_strdup(row->dir);
    argv[used++] = program;
    argv[used++] = command;
    argv[used++] = dir;
    for (int i = 0; i < n && used < ARGV_MAX; i++)
        argv[used++] = words[i];
    argv[used] = NULL;
    snprintf(name, sizeof name, "%.36s of %.22s", what, row->name);
    if (dir)
        hl_screen_start_job(s, argv, name, row->dir);
    hl_free(dir);
}

/* Words of a command line, each owned. */
typedef HL_VEC(char *) words;

static void add_word(words *w, const char *text)
{
    char *copy = hl_strdup(text);
    if (!copy || hl_vec_push(w, copy) != HL_OK)
        hl_free(copy);
}

static void drop_words(words *w)
{
    for (size_t i = 0; i < w->n; i++)
        hl_free(w->at[i]);
    hl_vec_done(w);
}

/* What makes the recipe looked at again, with one tensor more in floating point (NULL: none). */
static void add_recipe(words *w, const hl_quantization *q, const char *in_float)
{
    hl_str skip = {0};
    char limit[24];
    const int64_t batches = q ? hl_json_int(hl_json_get(q->event, "eval_batches"), 0) : 0;
    const hl_json *sets = q ? hl_json_get(q->event, "set") : NULL;
    const hl_json *skipped = q ? hl_json_get(q->event, "skip") : NULL;
    snprintf(limit, sizeof limit, "%lld", (long long)batches);
    if (batches > 0) {
        add_word(w, "--limit");
        add_word(w, limit);
    }
    for (const hl_json *t = hl_json_at(sets, 0); t; t = hl_json_next(t)) {
        add_word(w, "-s");
        add_word(w, hl_json_str(t, ""));
    }
    hl_str_add(&skip, "quantize.skip={");
    for (const hl_json *t = hl_json_at(skipped, 0); t; t = hl_json_next(t))
        hl_str_addf(&skip, "%s,", hl_json_str(t, ""));
    hl_str_addf(&skip, "%s}", in_float ? in_float : "");
    if (in_float || hl_json_len(skipped) > 0) {
        add_word(w, "-s");
        add_word(w, hl_str_text(&skip));
    }
    hl_str_done(&skip);
}

static void restore(hl_screen *s)
{
    const hl_tensor *t = hl_tensor_shown(s);
    char what[80], name[HL_TENSOR_NAME_MAX];
    words w = {0};
    if (!t || t->is_float) {
        hl_screen_say(s, HL_ROLE_TEXT, "%s",
                      t ? "this tensor is in floating point already"
                        : "there is no tensor to restore");
        return;
    }
    snprintf(what, sizeof what, "restore %.60s", hl_tensor_short(t->name, name));
    add_recipe(&w, hl_quant_shown(s), t->name);
    hl_screen_quantize(s, w.at, (int)w.n, what);
    drop_words(&w);
}

static void rank(hl_screen *s)
{
    char n[16];
    words w = {0};
    snprintf(n, sizeof n, "%d", s->settings.sensitivity);
    add_recipe(&w, hl_quant_shown(s), NULL);
    add_word(&w, "--sensitivity");
    add_word(&w, n);
    hl_screen_quantize(s, w.at, (int)w.n, "sensitivity");
    drop_words(&w);
}

/* ---- to other places ---- */

static void show_outliers(hl_screen *s)
{
    const hl_tensor *t = hl_tensor_shown(s);
    if (t && *t->tap && hl_heat_look_at(s, t->tap))
        hl_screen_set_view(s, HL_VIEW_OUTLIERS);
    else
        hl_screen_say(s, HL_ROLE_TEXT, "%s",
                      !t         ? "there is no tensor to look at"
                      : !*t->tap ? "this tensor is not watched: only taps of activations are"
                                 : "the run recorded no outliers here (probe.every = 0?)");
}

static void export(hl_screen *s)
{
    static const char *const titles[HL_TENSOR_N] = {
#define HL_TENSOR_TITLE(upper, key, title, w, rank) key,
        HL_TENSOR_COLUMNS(HL_TENSOR_TITLE)
#undef HL_TENSOR_TITLE
    };
    const hl_run_row *row = hl_screen_row(s);
    char path[200];
    hl_str b = {0};
    if (!row || !hl_tensor_shown(s)) {
        hl_screen_say(s, HL_ROLE_TEXT, "there are no tensors to write");
        return;
    }
    hl_str_add(&b, "name");
    for (int i = 0; i < HL_TENSOR_N; i++)
        hl_str_addf(&b, ",%s", titles[i]);
    hl_str_add(&b, "\r\n");
    for (size_t k = 0; k < s->tensors.n; k++) {
        const hl_tensor *t = &s->tensors.at[k];
        hl_str_add_csv(&b, t->name);
        hl_str_addf(&b, ",%s", t->is_weight ? "weight" : "activation");
        for (int i = 1; i < HL_TENSOR_N; i++)
            hl_str_addf(&b, isnan(t->v[i]) ? "," : ",%.9g", t->v[i]);
        hl_str_add(&b, "\r\n");
    }
    snprintf(path, sizeof path, "%.100s-quantize.csv", row->id);
    hl_screen_save(s, path, hl_str_status(&b), &b);
}

void hl_tensor_act(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_RANK_TENSORS:
        rank(s);
        break;
    case HL_ACTION_RESTORE:
        restore(s);
        break;
    case HL_ACTION_TENSOR_OUTLIERS:
        show_outliers(s);
        break;
    default:
        export(s);
    }
}
