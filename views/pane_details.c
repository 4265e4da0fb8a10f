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

static void details_title(hl_screen *s, char *buf, size_t n)
{
    const hl_run_row *row = hl_screen_row(s);
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
