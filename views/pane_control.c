/* What can be asked of the run under the cursor, its knobs, and what was asked of it. */
#include <stdio.h>
#include <string.h>

#include "views/screen.h"
#include "views/widgets/number.h"

enum { LABEL = 9 };

/* "label   text" in a row of its own; gives the next row. Empty text: no row. */
static int put_fact(hl_canvas c, int y, const char *label, const char *text)
{
    if (!*text || y >= c.r.h)
        return y;
    hl_put(c, 1, y, HL_STYLE(DIM), label);
    hl_put_cut(c, 1 + LABEL, y, c.r.w - 2 - LABEL, HL_STYLE(TEXT), text);
    return y + 1;
}

static hl_role role_of(hl_request_state st)
{
    switch (st) {
    case HL_ASKED_APPLIED:
        return HL_ROLE_GOOD;
    case HL_ASKED_LATE:
        return HL_ROLE_WARN;
    case HL_ASKED_REFUSED:
    case HL_ASKED_FAILED:
        return HL_ROLE_BAD;
    default:
        return HL_ROLE_TEXT;
    }
}

static void control_title(hl_screen *s, char *buf, size_t n)
{
    const hl_run_row *row = hl_screen_row(s);
    snprintf(buf, n, "control%s%s", row ? "  " : "", row ? row->name : "");
}

static int put_keys(const hl_screen *s, hl_canvas c, int y)
{
    static const hl_action actions[] = {HL_ACTION_PAUSE, HL_ACTION_CHECKPOINT,
                                        HL_ACTION_EVAL,  HL_ACTION_QUANTIZE,
                                        HL_ACTION_STOP,  HL_ACTION_CONTROL};
    int x = 1;
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        char keys[64];
        if (x > 1 && x + 3 + hl_text_columns(c.grid, hl_action_get(actions[i])->name) > c.r.w) {
            x = 1;
            y++;
        }
        x += hl_put(c, x, y, HL_STYLE(KEY), hl_keymap_keys(&s->keymap, actions[i], keys)) + 1;
        x += hl_put(c, x, y, HL_STYLE(DIM), hl_action_get(actions[i])->name) + 2;
    }
    return y + 1;
}

/* Name, value, and what it was asked to become. */
static int put_knobs(hl_screen *s, hl_canvas c, int y, const hl_watched *w)
{
    const hl_json *knobs = w ? w->knobs : NULL;
    if (!knobs || y >= c.r.h)
        return y;
    hl_put(c, 1, y, HL_STYLE(DIM), "knobs");
    hl_put_right(c, 34, y, HL_STYLE(DIM), "value");
    hl_put_cut(c, 36, y++, c.r.w - 37, HL_STYLE(DIM), "pending");
    for (const hl_json *k = hl_json_at(knobs, 0); k && y < c.r.h; k = hl_json_next(k), y++) {
        char value[HL_NUMBER_MAX], pending[40];
        hl_knob_text(s, k, value, pending, sizeof pending);
        hl_put_cut(c, 2, y, 22, HL_STYLE(TEXT), hl_json_key(k));
        hl_put_right(c, 34, y, HL_STYLE(TEXT), value);
        if (*pending)
            hl_put_cut(c, 36, y, c.r.w - 37, HL_STYLE(WARN), pending);
        else if (hl_json_bool(hl_json_get(k, "held"), false))
            hl_put_cut(c, 36, y, c.r.w - 37, HL_STYLE(DIM), "held");
        else
            hl_put_cut(c, 36, y, c.r.w - 37, HL_STYLE(DIM),
                       hl_json_str(hl_json_get(k, "schedule"), ""));
    }
    return y + 1;
}

static void control_draw(hl_screen *s, hl_canvas c, bool focused)
{
    const hl_run_row *row = hl_screen_row(s);
    const hl_watched *w = hl_screen_run(s);
    char text[400], number[HL_NUMBER_MAX], age[24];
    double lr;
    (void)focused;
    if (!row)
        return;
    snprintf(text, sizeof text, row->step_total > 0 ? "%lld of %lld" : "%lld", (long long)row->step,
             (long long)row->step_total);
    int y = put_fact(c, 0, "step", row->step >= 0 ? text : "");
    if (row->t_start_us) {
        snprintf(text, sizeof text, "%s ago", hl_ago(age, row->t_start_us));
        y = put_fact(c, y, "started", text);
    }
    if (!(w && w->knobs) && hl_watched_last(w, "train/lr", &lr))
        y = put_fact(c, y, "lr", hl_format_value(number, lr));
    y = put_fact(c, y, "ckpt", row->checkpoint) + 1;
    y = put_keys(s, c, y) + 1;
    y = put_fact(c, y, "held by", hl_screen_holder(s, row->dir, text));
    y = put_knobs(s, c, y, w);
    for (size_t i = s->requests.asked.n; i-- > 0 && y < c.r.h;) {
        const hl_asked *a = &s->requests.asked.at[i];
        if (strcmp(a->dir, row->dir) != 0)
            continue;
        hl_put_cut(c, 1, y++, c.r.w - 2, (hl_style){.role = (uint8_t)role_of(a->state)},
                   hl_asked_text(a, text, sizeof text));
    }
}

const hl_pane_class hl_pane_control = {
    .framed = true, .focusable = false, .title = control_title, .draw = control_draw};
