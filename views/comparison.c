/* The Compare view's state: which runs, and what is read of them. Its keys: comparison_keys.c. */
#include "views/comparison.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/hash.h"
#include "views/screen.h"

/* ---- which runs, and reading them ---- */

/* The marked runs that are there, and the one under the cursor where they are too few. */
static void list_dirs(const hl_screen *s, hl_compare_dirs *out)
{
    for (size_t i = 0; i < s->marks.n; i++)
        if (hl_model_row(&s->model, s->marks.at[i].dir))
            HL_IGNORE(hl_vec_push(out, s->marks.at[i].dir));
    const hl_run_row *row = hl_screen_row(s);
    if (out->n < 2 && row && !hl_screen_is_marked(s, row->dir))
        HL_IGNORE(hl_vec_push(out, row->dir));
}

int64_t hl_compare_step(const hl_screen *s)
{
    if (s->look.compare.value != HL_COMPARE_AT)
        return -1;
    if (s->compare.at >= 0 || !s->has_crosshair || s->look.compare.alignment != HL_ALIGN_STEP)
        return s->compare.at;
    return s->crosshair_x >= 0 && s->crosshair_x < 9e18 ? (int64_t)s->crosshair_x : -1;
}

/* Of everything that a comparison depends on. */
static uint64_t hash_of(const hl_screen *s, const hl_compare_dirs *d, int64_t at)
{
    uint64_t h = hl_hash_bytes(HL_HASH_START, &at, sizeof at);
    for (size_t i = 0; i < d->n; i++) {
        const hl_run_row *row = hl_model_row(&s->model, d->at[i]);
        h = hl_hash_str(h, d->at[i]);
        h = hl_hash_bytes(h, &row->t_last_us, sizeof row->t_last_us);
        h = hl_hash_bytes(h, &row->step, sizeof row->step);
        h = hl_hash_bytes(h, &row->state, sizeof row->state);
    }
    return h ? h : 1;
}

static void write_pending(hl_screen *s)
{
    hl_compare_state *v = &s->compare;
    hl_str b = {0};
    const hl_compare_table how = {.form = (hl_compare_form)(v->form - 1),
                                  .which = (hl_compare_value)s->look.compare.value,
                                  .all = s->look.compare.all};
    v->form = 0;
    hl_status st = hl_compare_write(v->now, &how, &b);
    if (st == HL_OK)
        st = hl_fs_write_atomic(v->path, hl_str_text(&b), b.n);
    hl_str_done(&b);
    if (st != HL_OK)
        hl_screen_say_error(s);
    else
        hl_screen_say(s, HL_ROLE_GOOD, "%zu runs written to %s", v->now->n, v->path);
}

static void take(hl_screen *s)
{
    hl_compare_state *v = &s->compare;
    hl_status st;
    hl_comparison *c = hl_compare_reader_take(v->reader, &st);
    if (st != HL_OK)
        snprintf(v->message, sizeof v->message, "the runs cannot be compared: no memory");
    if (!c)
        return;
    hl_comparison_free(v->now);
    v->now = c;
    v->script_of = 0;
    v->causes.n = 0; /* they name options of the one before */
    snprintf(v->message, sizeof v->message, "%s", c->failed);
    s->dirty = true;
}

static void ask(hl_screen *s)
{
    hl_compare_state *v = &s->compare;
    hl_compare_dirs d = {0};
    list_dirs(s, &d);
    const hl_compare_wanted w = {.dirs = d.at, .n = d.n, .at = hl_compare_step(s), .scripts = true};
    const uint64_t now = hash_of(s, &d, w.at);
    if (now != v->asked && hl_compare_reader_ask(v->reader, &w) == HL_OK)
        v->asked = now;
    hl_vec_done(&d);
}

void hl_compare_update(hl_screen *s)
{
    hl_compare_state *v = &s->compare;
    if (s->look.view != HL_VIEW_COMPARE || !s->model.has_rows)
        return;
    if (!v->reader && hl_compare_reader_open(&v->reader) != HL_OK) {
        snprintf(v->message, sizeof v->message, "%s", hl_err_message());
        return;
    }
    take(s);
    ask(s);
    if (v->form && v->now && !hl_compare_is_busy(s))
        write_pending(s);
}

bool hl_compare_is_busy(const hl_screen *s)
{
    return s->look.view == HL_VIEW_COMPARE && s->compare.reader &&
           hl_compare_reader_is_busy(s->compare.reader);
}

void hl_compare_done(hl_screen *s)
{
    hl_compare_state *v = &s->compare;
    hl_compare_reader_close(v->reader);
    hl_comparison_free(v->now);
    hl_free(v->row);
    hl_free(v->reference);
    hl_str_done(&v->script);
    hl_vec_done(&v->causes);
    for (int i = 0; i < HL_COMPARE_BANDS_MAX; i++)
        hl_band_done(&v->band[i]);
    hl_vec_done(&v->knobs);
    *v = (hl_compare_state){0};
}

const hl_comparison *hl_compare_shown(hl_screen *s)
{
    return s->compare.now && s->compare.now->n >= 2 ? s->compare.now : NULL;
}

void hl_compare_put_nothing(hl_screen *s, hl_canvas c)
{
    const hl_style dim = HL_STYLE(DIM);
    char keys[64];
    if (s->compare.message[0])
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(BAD), s->compare.message);
    else if (hl_compare_is_busy(s) || !s->compare.now)
        hl_put_cut(c, 1, 0, c.r.w - 1, dim, "reading ...");
    else
        hl_put_cut(c, 1, 0, c.r.w - 1, dim, "nothing to compare: fewer than two runs are marked");
    hl_keymap_keys(&s->keymap, HL_ACTION_MARK, keys);
    char text[160];
    snprintf(text, sizeof text, "mark runs with %s in the list (1), or :compare RUN RUN", keys);
    hl_put_cut(c, 1, 1, c.r.w - 1, dim, text);
}

/* ---- places in it ---- */

static size_t find_run(const hl_comparison *c, const char *dir)
{
    for (size_t i = 0; dir && i < c->n; i++)
        if (strcmp(hl_run_get_row(c->runs[i].run)->dir, dir) == 0)
            return i;
    return SIZE_MAX;
}

size_t hl_compare_reference(hl_screen *s)
{
    const size_t i = find_run(s->compare.now, s->compare.reference);
    return i == SIZE_MAX ? 0 : i;
}

bool hl_compare_takes(const hl_screen *s, const hl_compare_row *row, bool is_metric)
{
    return s->look.compare.all || (is_metric ? row->is_main : row->differs && row->is_main);
}

size_t hl_compare_metric_shown(hl_screen *s)
{
    const hl_comparison *c = s->compare.now;
    const size_t at = hl_compare_metric(c, s->look.compare.metric);
    if (*s->look.compare.metric && at != SIZE_MAX)
        return at;
    for (size_t i = 0; i < c->metrics.n; i++)
        if (c->metrics.at[i].is_main)
            return i;
    return c->metrics.n ? 0 : SIZE_MAX;
}

void hl_compare_list(hl_screen *s, hl_compare_lines *out)
{
    const hl_comparison *c = s->compare.now;
    const hl_compare_look *look = &s->look.compare;
    int *order = hl_alloc_zero(c->n + 1, sizeof *order);
    bool *told = hl_alloc_zero(c->n + 1, sizeof *told);
    out->n = 0;
    if (order && told)
        hl_compare_order(c, look->as_marked ? SIZE_MAX : hl_compare_metric_shown(s),
                         (hl_compare_value)look->value, look->reverse, order);
    for (size_t i = 0; order && told && i < c->n; i++) {
        const int g = c->runs[order[i]].group;
        if (look->alone || c->groups.at[g].n < 2) {
            HL_IGNORE(hl_vec_push(out, ((hl_compare_line){order[i], g})));
            continue;
        }
        /* with the first of a group come the others and their mean */
        for (size_t k = i; !told[g] && k < c->n; k++)
            if (c->runs[order[k]].group == g)
                HL_IGNORE(hl_vec_push(out, ((hl_compare_line){order[k], g})));
        if (!told[g])
            HL_IGNORE(hl_vec_push(out, ((hl_compare_line){-1, g})));
        told[g] = true;
    }
    hl_free(order);
    hl_free(told);
}

size_t hl_compare_row_shown(hl_screen *s)
{
    hl_compare_lines lines = {0};
    size_t at = find_run(s->compare.now, s->compare.row);
    if (at == SIZE_MAX) {
        hl_compare_list(s, &lines);
        at = lines.n && lines.at[0].run >= 0 ? (size_t)lines.at[0].run : 0;
        hl_vec_done(&lines);
    }
    return at;
}

void hl_compare_fit(hl_screen *s, hl_layout_in *in)
{
    enum { AROUND = 3, LEAST = 5, MOST = 200 };
    hl_compare_lines lines = {0};
    if (!hl_compare_shown(s))
        return;
    hl_compare_list(s, &lines);
    const int rows[2] = {(int)lines.n + AROUND, hl_differences_n(s) + AROUND};
    hl_vec_done(&lines);
    memcpy(s->nodes, in->nodes, (size_t)in->n_nodes * sizeof *in->nodes);
    for (int i = 0; i < in->n_nodes; i++) {
        const int p = s->nodes[i].kind == HL_NODE_PANE ? s->nodes[i].pane : HL_PANE_COUNT;
        const int n = rows[p == HL_PANE_DIFFERENCES];
        if (p == HL_PANE_SCORES || p == HL_PANE_DIFFERENCES)
            s->nodes[i].max = (uint8_t)(n < LEAST ? LEAST : n > MOST ? MOST : n);
    }
    in->nodes = s->nodes;
}
