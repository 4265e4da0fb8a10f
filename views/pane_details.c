/* Facts about the run under the cursor. */
#include <stdio.h>
#include <string.h>

#include "views/screen.h"
#include "views/widgets/number.h"

enum { LABEL = 9 };

/* "label   text" in a row of its own; gives the next row. Empty text: no row. */
static int put_fact(hl_canvas c, int y, const char *label, hl_style style, const char *text)
{
    if (!*text || y >= c.r.h)
        return y;
    hl_put(c, 1, y, HL_STYLE(DIM), label);
    hl_put_cut(c, 1 + LABEL, y, c.r.w - 2 - LABEL, style, text);
    return y + 1;
}

/* A value of a JSON file as a word. */
static void add_word(hl_str *b, const char *label, const hl_json *v)
{
    if (!v)
        return;
    hl_str_addf(b, "%s%s", b->n ? "  " : "", label);
    if (hl_json_is_string(v))
        hl_str_add(b, hl_json_str(v, ""));
    else if (hl_json_is_number(v))
        hl_str_addf(b, "%.6g", hl_json_num(v, 0));
    else if (hl_json_is_bool(v))
        hl_str_add(b, hl_json_bool(v, false) ? "yes" : "no");
}

static const hl_json *at(const hl_json *v, const char *a, const char *b)
{
    return hl_json_get(hl_json_get(v, a), b);
}

static void state_text(const hl_run_row *row, char *buf, size_t n)
{
    char age[24];
    int used = snprintf(buf, n, "%s", hl_run_state_name(row->state));
    if (row->late_s > 0) /* past the sign of life that it announced */
        used += snprintf(buf + used, n - (size_t)used, ", %s late",
                         hl_format_duration(age, row->late_s));
    if (*row->phase)
        used += snprintf(buf + used, n - (size_t)used, ": %s", row->phase);
    if (*row->host && (size_t)used < n)
        used += snprintf(buf + used, n - (size_t)used, " on %s", row->host);
    if (row->pid > 0 && (size_t)used < n)
        used += snprintf(buf + used, n - (size_t)used, "  pid %lld", (long long)row->pid);
    if (row->t_last_us && (size_t)used < n)
        snprintf(buf + used, n - (size_t)used, "  last event %s ago", hl_ago(age, row->t_last_us));
}

static int put_model(hl_canvas c, int y, const hl_json *config)
{
    const hl_style text = HL_STYLE(TEXT);
    const hl_json *model = hl_json_get(config, "model"), *optim = hl_json_get(config, "optim");
    hl_str b = {0};
    add_word(&b, "", hl_json_get(model, "kind"));
    add_word(&b, "attn=", at(model, "attention", "softmax"));
    add_word(&b, "layers ", hl_json_get(model, "layers"));
    add_word(&b, "width ", hl_json_get(model, "width"));
    add_word(&b, "heads ", hl_json_get(model, "heads"));
    add_word(&b, "seq ", at(config, "data", "seq_len"));
    add_word(&b, "batch ", at(config, "data", "batch_size"));
    y = put_fact(c, y, "model", text, hl_str_text(&b));
    hl_str_clear(&b);
    add_word(&b, "", hl_json_get(optim, "kind"));
    add_word(&b, "lr ", hl_json_get(optim, "lr"));
    add_word(&b, "wd ", hl_json_get(optim, "weight_decay"));
    add_word(&b, "", at(config, "schedule", "kind"));
    add_word(&b, "warmup ", at(config, "schedule", "warmup"));
    add_word(&b, "clip ", at(config, "train", "max_grad_norm"));
    add_word(&b, "seed ", hl_json_get(config, "seed"));
    y = put_fact(c, y, "optim", text, hl_str_text(&b));
    hl_str_done(&b);
    return y;
}

static int put_origin(hl_canvas c, int y, const hl_json *facts)
{
    hl_str b = {0};
    add_word(&b, "", hl_json_get(facts, "script"));
    add_word(&b, "git ", hl_json_get(facts, "git"));
    add_word(&b, "data ", hl_json_get(facts, "data"));
    y = put_fact(c, y, "script", HL_STYLE(TEXT), hl_str_text(&b));
    hl_str_clear(&b);
    add_word(&b, "", hl_json_get(facts, "device"));
    add_word(&b, "", hl_json_get(facts, "precision"));
    add_word(&b, "threads ", hl_json_get(facts, "threads"));
    add_word(&b, "", hl_json_get(facts, "cpu"));
    y = put_fact(c, y, "device", HL_STYLE(TEXT), hl_str_text(&b));
    hl_str_done(&b);
    return y;
}

/* ---- what marked runs differ in ---- */

static const char *value_text(const hl_run_row *row, const char *key)
{
    const hl_run_value *v = hl_run_row_value(row, key);
    return v ? v->text : NULL;
}

/* "differs  optim.lr, seed", when runs are marked. */
static int put_differing(hl_screen *s, hl_canvas c, int y)
{
    const hl_differ *d = s->marks.n ? hl_screen_differ(s) : NULL;
    if (!d || d->rows.n < 2)
        return y;
    hl_str b = {0};
    for (size_t i = 0; i < d->keys.n && b.n < 2000; i++)
        hl_str_addf(&b, "%s%s", i ? ", " : "", d->keys.at[i]);
    y = put_fact(c, y, "differs", HL_STYLE(TEXT), d->keys.n ? hl_str_text(&b) : "in nothing");
    hl_str_done(&b);
    return y;
}

/* A column for each run under its letter, a row for each setting that is not the same in all. */
static void draw_differing(hl_screen *s, hl_canvas c)
{
    const hl_differ *d = hl_screen_differ(s);
    const int n = (int)d->rows.n, n_keys = (int)d->keys.n;
    int key_w = 8, w = 16;
    for (int i = 0; i < n_keys; i++)
        key_w = hl_text_columns(c.grid, d->keys.at[i]) > key_w
                    ? hl_text_columns(c.grid, d->keys.at[i])
                    : key_w;
    key_w = key_w > c.r.w / 3 ? c.r.w / 3 : key_w;
    w = n && (c.r.w - key_w - 2) / n > 10 ? (c.r.w - key_w - 2) / n : 10;
    for (int r = 0, x = 2 + key_w; r < n && x < c.r.w; r++, x += w) {
        const hl_run_row *row = d->rows.at[r];
        const int color = hl_screen_color(s, row->dir);
        hl_put_char(c, x, 0, hl_color_style(color),
                    hl_screen_is_marked(s, row->dir) ? (uint32_t)hl_color_letter(color)
                                                     : (uint32_t)'>');
        hl_put_cut(c, x + 2, 0, w - 3, HL_STYLE(TITLE), row->name);
    }
    for (int i = 0; i < n_keys && i + 1 < c.r.h; i++) {
        hl_put_cut(c, 1, i + 1, key_w, HL_STYLE(DIM), d->keys.at[i]);
        for (int r = 0, x = 2 + key_w; r < n && x < c.r.w; r++, x += w) {
            const char *text = value_text(d->rows.at[r], d->keys.at[i]);
            hl_put_cut(c, x, i + 1, w - 1, HL_STYLE(TEXT), text ? text : hl_unknown(&c));
        }
    }
    if (!n_keys)
        hl_put_cut(c, 1, 1, c.r.w - 1, HL_STYLE(DIM),
                   n < 2 ? "mark runs with Space to compare them" : "they differ in nothing");
    else if (n_keys + 1 > c.r.h)
        hl_putf(c, 1, 0, HL_STYLE(WARN), "%d more", n_keys + 1 - c.r.h);
}

static void details_title(hl_screen *s, char *buf, size_t n)
{
    const hl_run_row *row = hl_screen_row(s);
    if (s->look.differ)
        snprintf(buf, n, "what differs among %zu runs", hl_screen_differ(s)->rows.n);
    else
        snprintf(buf, n, "%s", row ? row->name : "details");
}

static void details_draw(hl_screen *s, hl_canvas c, bool focused)
{
    const hl_run_row *row = hl_screen_row(s);
    const hl_watched *w = hl_screen_run(s);
    char text[400];
    (void)focused;
    if (!row)
        return;
    if (s->look.differ) {
        draw_differing(s, c);
        return;
    }
    state_text(row, text, sizeof text);
    int y = put_fact(c, 0, "state", (hl_style){.role = (uint8_t)hl_state_role(row->state)}, text);
    y = put_fact(c, y, "why", HL_STYLE(BAD), row->message);
    if (w && w->message)
        y = put_fact(c, y, "events", HL_STYLE(BAD), w->message);
    if (w && w->damages) {
        snprintf(text, sizeof text, "%lld damaged place%s skipped: hoplab fsck %s",
                 (long long)w->damages, w->damages == 1 ? "" : "s", row->id);
        y = put_fact(c, y, "events", HL_STYLE(BAD), text);
    }
    y = put_fact(c, y, "note", HL_STYLE(TEXT), row->note);
    y = put_differing(s, c, y);
    if (w)
        y = put_model(c, y, w->config);
    if (w)
        y = put_origin(c, y, w->facts);
    y = put_fact(c, y, "id", HL_STYLE(TEXT), row->id);
    y = put_fact(c, y, "ckpt", HL_STYLE(TEXT), row->checkpoint);
    put_fact(c, y, "tags", HL_STYLE(TEXT), row->tags);
}

const hl_pane_class hl_pane_details = {
    .framed = true, .focusable = false, .title = details_title, .draw = details_draw};
