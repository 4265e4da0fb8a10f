/* The pane that shows a view written in Lua.
 *
 * DESIGN. Its picture is ordered when what it depends on is another: the size of the pane, the runs
 * shown and how much is known of them, its own state. One order at a time, not more often than the
 * view is fast enough for; until the answer comes the last picture stays. */
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "views/picture.h"
#include "views/screen_lua.h"

enum {
    BUDGET_MS = 10, /* of a draw: above, it is told and the rate is lowered */
    PAUSE_MS = 100, /* between two pictures */
    SLOW_PAUSE_MS = 250
};

static const char *text_of(const hl_json *v, const char *key)
{
    return hl_json_str(hl_json_get(v, key), "");
}

/* ---- orders ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    return (h ^ v) * 1099511628211u;
}

static uint64_t mix_run(hl_screen *s, uint64_t h, const char *dir)
{
    const hl_run_row *row = hl_model_row(&s->model, dir);
    const hl_watched *w = hl_model_watch(&s->model, dir);
    for (const char *c = dir; *c; c++)
        h = mix(h, (unsigned char)*c);
    if (row)
        h = mix(mix(h, (uint64_t)row->step), (uint64_t)row->state);
    if (w)
        h = mix(mix(h, (uint64_t)w->bytes_done), w->caught_up);
    return h;
}

static uint64_t inputs_of(hl_screen *s, const hl_scripted_view *v, hl_canvas c)
{
    const hl_run_row *row = hl_screen_row(s);
    uint64_t h = mix(mix(mix(14695981039346656037u, (uint64_t)c.r.w), (uint64_t)c.r.h), v->changes);
    if (row)
        h = mix_run(s, h, row->dir);
    for (size_t i = 0; i < s->marks.n && i < HL_SHOWN_MAX; i++)
        h = mix_run(s, h, s->marks.at[i].dir);
    return h;
}

static void order_picture(hl_screen *s, hl_scripted_view *v, hl_canvas c)
{
    const hl_run_row *row = hl_screen_row(s);
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "name", v->name);
    hl_json_put_int(&b, "width", c.r.w);
    hl_json_put_int(&b, "height", c.r.h);
    if (row)
        hl_json_put_str(&b, "run", row->dir);
    hl_json_add_key(&b, "marked");
    hl_json_begin(&b, '[');
    for (size_t i = 0; i < s->marks.n; i++)
        hl_json_add_str(&b, s->marks.at[i].dir);
    hl_json_end(&b, ']');
    hl_json_end(&b, '}');
    const int64_t ticket = hl_str_status(&b) == HL_OK
                               ? hl_console_order(s, "draw", hl_str_text(&b), HL_SCRIPTED_LIMIT_MS)
                               : -1;
    hl_str_done(&b);
    v->ticket = ticket > 0 ? ticket : 0;
    v->ordered_ns = hl_clock_mono_ns();
}

static int64_t left_ms(const hl_scripted_view *v)
{
    const int pause = v->ms > BUDGET_MS || v->n_failures ? SLOW_PAUSE_MS : PAUSE_MS;
    return pause - (hl_clock_mono_ns() - v->ordered_ns) / 1000000;
}

static void keep_picture_new(hl_screen *s, hl_scripted_view *v, hl_canvas c)
{
    const uint64_t inputs = inputs_of(s, v, c);
    s->scripted.redraw_due = false;
    if (inputs == v->inputs || v->ticket || v->n_failures >= HL_SCRIPTED_FAILURES)
        return;
    if (v->ordered_ns && left_ms(v) > 0) {
        s->scripted.redraw_due = true;
        return;
    }
    v->inputs = inputs;
    order_picture(s, v, c);
}

static hl_scripted_view *shown_view(hl_screen *s)
{
    hl_scripted *p = &s->scripted;
    return (size_t)p->shown < p->views.n ? &p->views.at[p->shown] : NULL;
}

int hl_scripted_timeout_ms(hl_screen *s)
{
    const hl_scripted_view *v = shown_view(s);
    if (!v || !s->scripted.redraw_due || s->look.view != HL_VIEW_SCRIPTED)
        return -1;
    const int64_t left = left_ms(v);
    s->dirty |= left <= 0;
    return left > 0 ? (int)left + 1 : 1;
}

/* ---- what comes back ---- */

/* Takes over the value of a picture. false: no draw of ours. */
bool hl_scripted_reply(hl_screen *s, hl_script_reply *r)
{
    hl_scripted *p = &s->scripted;
    for (size_t i = 0; i < p->views.n; i++) {
        hl_scripted_view *v = &p->views.at[i];
        if (!v->ticket || v->ticket != r->ticket)
            continue;
        v->ticket = 0;
        hl_json_free(v->failure);
        v->failure = NULL;
        if (r->failed) {
            v->failure = r->value;
            /* what loops is not tried again unasked: it would hold up the rest */
            v->n_failures = hl_json_bool(hl_json_get(v->failure, "stopped"), false)
                                ? HL_SCRIPTED_FAILURES
                                : v->n_failures + 1;
            v->inputs += v->n_failures < HL_SCRIPTED_FAILURES; /* tried again */
        } else {
            hl_json_free(v->picture);
            v->picture = r->value;
            v->ms = hl_json_num(hl_json_get(v->picture, "ms"), 0);
            v->n_failures = 0;
        }
        r->value = NULL;
        return true;
    }
    return strcmp(r->kind, "draw") == 0; /* of a view that was replaced meanwhile */
}

/* ---- what leaves the screen ---- */

hl_status hl_scripted_export(hl_screen *s, const char *what, hl_str *out)
{
    const hl_scripted_view *v = shown_view(s);
    if (!v)
        return hl_err_set(HL_E_STATE, "no view is written in Lua yet: docs/extending.md");
    if (v->failure)
        return hl_err_set(HL_E_STATE, "view %s: %s", v->name, text_of(v->failure, "message"));
    if (!v->picture)
        return hl_err_set(HL_E_STATE, "view %s is not drawn yet", v->name);
    const hl_picture_form form = {.what = what,
                                  .cols = v->cols,
                                  .rows = v->rows,
                                  .glyphs = s->grid.glyphs,
                                  .wide_ambiguous = s->grid.wide_ambiguous,
                                  .look = hl_term_look(s->term)};
    return hl_picture_export(hl_json_get(v->picture, "picture"), &form, out);
}

/* ---- the pane ---- */

static void title(hl_screen *s, char *buf, size_t n)
{
    const hl_scripted_view *v = shown_view(s);
    if (!v)
        return;
    snprintf(buf, n, "%s", v->title ? v->title : v->name);
    const size_t used = strlen(buf);
    if (v->failure)
        snprintf(buf + used, n - used, "  failed");
    else if (v->ms > BUDGET_MS)
        snprintf(buf + used, n - used, "  slow view, %.0f ms: %d/s", v->ms, 1000 / SLOW_PAUSE_MS);
}

static int put_lines(hl_canvas c, int y, hl_style style, const char *text)
{
    while (*text && y < c.r.h) {
        const size_t n = strcspn(text, "\n");
        hl_str line = {0};
        hl_str_addn(&line, text, n);
        for (int x = 0, w = hl_text_columns(c.grid, hl_str_text(&line)); x < w && c.r.w > 0;
             x += c.r.w)
            hl_put(hl_canvas_part(c, 0, y++, c.r.w, 1), -x, 0, style, hl_str_text(&line));
        hl_str_done(&line);
        text += n + (text[n] == '\n');
    }
    return y;
}

static void put_failure(hl_canvas c, const hl_scripted_view *v)
{
    int y = put_lines(c, 0, HL_STYLE(BAD), text_of(v->failure, "message"));
    y = put_lines(c, y, HL_STYLE(WARN), text_of(v->failure, "hint"));
    y = put_lines(c, y, HL_STYLE(DIM), text_of(v->failure, "traceback"));
    if (v->n_failures >= HL_SCRIPTED_FAILURES && y < c.r.h)
        hl_put_cut(c, 0, y, c.r.w, HL_STYLE(KEY), "Enter tries it again");
}

static void draw(hl_screen *s, hl_canvas c, bool focused)
{
    hl_scripted_view *v = shown_view(s);
    (void)focused;
    if (!v) {
        hl_put_cut(c, 0, 0, c.r.w, HL_STYLE(DIM),
                   "no view is written in Lua yet: docs/extending.md");
        return;
    }
    keep_picture_new(s, v, c);
    v->cols = c.r.w;
    v->rows = c.r.h;
    if (v->failure)
        put_failure(c, v);
    else if (v->picture)
        hl_picture_draw(c, hl_json_get(v->picture, "picture"));
    else
        hl_put_cut(c, 0, 0, c.r.w, HL_STYLE(DIM), "...");
}

static bool pane_act(hl_screen *s, hl_action a)
{
    hl_scripted_view *v = shown_view(s);
    if (a != HL_ACTION_OPEN || !v || !v->failure)
        return false;
    v->n_failures = 0;
    v->changes++;
    return true;
}

const hl_pane_class hl_pane_scripted = {
    .framed = true, .focusable = true, .title = title, .draw = draw, .act = pane_act};
