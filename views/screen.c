
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/fs.h"
#include "views/screen_lua.h"

/* ---- life ---- */

hl_status hl_screen_open(hl_screen *s, hl_term *term, const char *runs_dir)
{
    hl_status st = HL_OK;
    char state[440];
    *s = (hl_screen){.term = term, .bad_word = -1, .completion = -1, .dirty = true};
    s->layout.size = HL_SIZE_COUNT;
    s->settings = (hl_settings){.mouse = true, .fps = 10, .sensitivity = 4};
    s->look.tensor_sort = HL_TENSOR_SQNR;
    s->look.overlay = true;
    s->column = -1;
    snprintf(s->look.sort, sizeof s->look.sort, "age");
    s->look.chart = -1;
    s->log_last = -1;
    s->dragged.split = -1;
    s->mouse_pane = HL_PANE_COUNT;
    s->repeat = HL_ACTION_NONE;
    s->solve_step = -1;
    s->forecast_step = -1;
    s->compare.at = -1;
    for (int v = 0; v < HL_VIEW_COUNT; v++) {
        s->look.focus[v] = hl_view_get((hl_view)v)->focus;
        s->look.hidden[v] = hl_view_get((hl_view)v)->hidden;
    }
    HL_TRY(hl_keymap_init(&s->keymap));
    HL_TRY(hl_model_open(&s->model, runs_dir));
    if (hl_fs_state_dir(state, sizeof state))
        s->history_path = hl_fs_join(state, "commands");
    if (s->history_path) {
        hl_history_load(&s->commands, s->history_path);
        s->sizes_path = hl_fs_join(state, "sizes");
    }
    hl_screen_load_sizes(s);
    hl_columns_load(s);
out:
    if (st != HL_OK)
        hl_screen_close(s);
    return st;
}

/* Only what was typed here is worth writing; another screen may have written meanwhile. */
static void save_history(hl_screen *s)
{
    char *folder = s->history_path && s->commands.n_added ? hl_fs_parent(s->history_path) : NULL;
    if (folder && hl_fs_make_dir(folder) == HL_OK)
        HL_IGNORE(hl_history_save(&s->commands, s->history_path)); /* it is a convenience */
    hl_free(folder);
}

void hl_screen_close(hl_screen *s)
{
    save_history(s);
    hl_screen_save_sizes(s);
    if (s->columns_changed)
        hl_columns_save(s);
    if (s->colors_changed)
        hl_colors_save(s);
    hl_filter_free(s->filter);
    hl_lua_filter_done(&s->lua_filter);
    for (size_t i = 0; i < s->deleting.n; i++)
        hl_free(s->deleting.at[i]);
    hl_vec_done(&s->deleting);
    hl_vec_done(&s->groups);
    hl_vec_done(&s->lines);
    hl_vec_done(&s->line_of);
    hl_vec_done(&s->open_groups);
    hl_requests_done(&s->requests);
    for (int i = 0; i < HL_LAUNCHES_MAX; i++)
        hl_launch_free(s->launched[i].launch);
    hl_model_close(&s->model);
    hl_console_close(s);
    hl_scripted_done(&s->scripted);
    hl_script_done(&s->script);
    hl_keymap_done(&s->keymap);
    hl_grid_done(&s->grid);
    hl_marks_done(s);
    hl_differ_done(&s->differ);
    hl_charts_free(s);
    hl_str_done(&s->described);
    for (size_t i = 0; i < s->completions.n; i++)
        hl_free(s->completions.at[i]);
    hl_vec_done(&s->completions);
    hl_vec_done(&s->order);
    hl_vec_done(&s->methods);
    hl_vec_done(&s->tensors);
    hl_compare_done(s);
    hl_line_done(&s->line);
    hl_history_done(&s->commands);
    hl_history_done(&s->filters);
    hl_free(s->log_lines);
    hl_free(s->selected_before);
    hl_free(s->selected);
    hl_free(s->other_run);
    hl_free(s->history_path);
    hl_free(s->sizes_path);
    *s = (hl_screen){0};
}

void hl_screen_say(hl_screen *s, hl_role role, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->notice, sizeof s->notice, fmt, args);
    va_end(args);
    s->notice_role = role;
    s->dirty = true;
    hl_messages *m = &s->messages;
    snprintf(m->at[m->n % HL_MESSAGES_MAX].text, sizeof m->at[0].text, "%.199s", s->notice);
    m->at[m->n++ % HL_MESSAGES_MAX].role = role;
}

void hl_screen_say_error(hl_screen *s)
{
    hl_screen_say(s, HL_ROLE_BAD, "%s", hl_err_message());
}

/* Where a copy goes that the terminal does not take. */
static hl_status write_copy(const char *text, char *path, size_t n)
{
    char state[440];
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime && runtime[0] == '/')
        snprintf(state, sizeof state, "%.400s/hoplab", runtime);
    else if (!hl_fs_state_dir(state, sizeof state))
        return hl_err_set(HL_E_NOTFOUND, "no place for it");
    hl_status st = hl_fs_make_dir(state);
    snprintf(path, n, "%s/copied", state);
    return st == HL_OK ? hl_fs_write_atomic(path, text, strlen(text)) : st;
}

void hl_screen_copy(hl_screen *s, const char *text)
{
    char path[480];
    if (hl_term_copy(s->term, text))
        hl_screen_say(s, HL_ROLE_TEXT, "copied %s", text);
    else if (write_copy(text, path, sizeof path) == HL_OK)
        hl_screen_say(s, HL_ROLE_TEXT, "copied to the file %s", path);
    else
        hl_screen_say(s, HL_ROLE_WARN, "this terminal takes no copies: %s", text);
}

/* ---- looks ---- */

void hl_screen_remember(hl_screen *s)
{
    HL_ASSERT(s->n_before <= HL_UNDO_MAX);
    if (s->n_before == HL_UNDO_MAX)
        memmove(s->before, s->before + 1, --s->n_before * sizeof *s->before);
    s->before[s->n_before++] = s->look;
    s->n_after = 0;
}

void hl_screen_set_view(hl_screen *s, hl_view v)
{
    if (v == s->look.view)
        return;
    s->last_view = s->look.view;
    s->look.view = v;
    s->look.zoom = false;
}

hl_pane hl_screen_focus(const hl_screen *s)
{
    return s->look.focus[s->look.view];
}

/* ---- the crosshair ---- */

static bool take_crosshair_away(hl_screen *s)
{
    const bool had = s->has_crosshair;
    s->has_crosshair = false;
    return had;
}

/* The first step puts it on the newest sample. */
bool hl_screen_act_on_crosshair(hl_screen *s, hl_action a,
                                const hl_pyramid *(*points)(hl_screen *s))
{
    if (a == HL_ACTION_BACK)
        return take_crosshair_away(s);
    if (a != HL_ACTION_LEFT && a != HL_ACTION_RIGHT && a != HL_ACTION_TOP && a != HL_ACTION_BOTTOM)
        return false;
    const hl_pyramid *p = points(s);
    const size_t n = p ? hl_pyramid_n(p) : 0;
    if (n == 0)
        return true;
    size_t at = a == HL_ACTION_TOP ? 0 : n - 1;
    if (s->has_crosshair && (a == HL_ACTION_LEFT || a == HL_ACTION_RIGHT)) {
        at = hl_pyramid_nearest(p, s->crosshair_x);
        if (a == HL_ACTION_LEFT && at > 0)
            at--;
        if (a == HL_ACTION_RIGHT && at + 1 < n)
            at++;
    }
    s->has_crosshair = true;
    s->crosshair_x = hl_pyramid_x(p, at);
    return true;
}

/* ---- what runs have to say ---- */

/* A run that was started from here is shown as soon as it is in the list. */
static void show_launched(hl_screen *s)
{
    for (int i = 0; i < HL_LAUNCHES_MAX; i++) {
        hl_launched *l = &s->launched[i];
        if (!l->id[0] || l->shown)
            continue;
        const char *dir = hl_screen_open_run(s, l->id);
        if (!dir)
            continue;
        hl_screen_mark(s, dir, true);
        /* not under somebody who is typing or answering a question about another run */
        if (s->open_launched && s->mode != HL_MODE_NORMAL)
            continue;
        l->shown = true;
        if (s->open_launched) {
            s->open_launched = false;
            hl_screen_select(s, dir);
            hl_screen_set_view(s, HL_VIEW_RUN);
        }
    }
}

/* What is said by now is not about this request: its progress is not worth that. */
static bool says_otherwise(const hl_screen *s, const hl_asked *a)
{
    char head[160];
    const int n = snprintf(head, sizeof head, "%s: %s: ", a->run, a->what);
    return s->notice[0] && strncmp(s->notice, head, (size_t)n) != 0;
}

/* Once for all alerts of the runs in view that came since the last time. */
static void ring(hl_screen *s)
{
    int64_t n = 0;
    for (size_t i = 0; i < HL_WATCHED_MAX; i++)
        n += s->model.watched[i].dir ? s->model.watched[i].n_alerts : 0;
    if (n > s->n_alerts && s->settings.bell)
        hl_term_bell(s->term);
    s->n_alerts = n;
}

void hl_screen_update(hl_screen *s)
{
    enum { LIMIT_NS = 6 * 1000 * 1000 };
    const hl_asked *news;
    const uint64_t n_lists = s->model.n_lists;
    if (hl_model_update(&s->model, LIMIT_NS))
        s->dirty = true;
    if (s->model.n_lists != n_lists)
        hl_screen_order(s);
    hl_edit_tell(s);
    hl_compare_update(s);
    hl_console_update(s);
    hl_scripted_jobs_update(s);
    hl_screen_reap(s);
    show_launched(s);
    ring(s);
    s->dirty |= hl_requests_update(&s->requests, &news);
    hl_console_answers(s);
    if (news && !(news->state == HL_ASKED_ACCEPTED && says_otherwise(s, news))) {
        char text[400];
        const hl_role role = news->state == HL_ASKED_APPLIED    ? HL_ROLE_GOOD
                             : news->state == HL_ASKED_ACCEPTED ? HL_ROLE_TEXT
                             : news->state == HL_ASKED_LATE     ? HL_ROLE_WARN
                                                                : HL_ROLE_BAD;
        hl_screen_say(s, role, "%s: %s", news->run, hl_asked_text(news, text, sizeof text));
    }
}

/* ---- the picture ---- */

/* The strip takes no more rows than it has layers, axis, legend and frame. */
static void fit_heat(hl_screen *s, const hl_view_class *v)
{
    enum { AROUND = 5, LEAST = 8, MOST = 200 };
    const int rows = hl_heat_rows(s) + AROUND;
    memcpy(s->nodes, v->nodes, (size_t)v->n_nodes * sizeof *v->nodes);
    for (int i = 0; i < v->n_nodes; i++)
        if (s->nodes[i].kind == HL_NODE_PANE && s->nodes[i].pane == HL_PANE_HEAT)
            s->nodes[i].max = (uint8_t)(rows < LEAST ? LEAST : rows > MOST ? MOST : rows);
}

/* A run without recorded solves has one pane, which says so. The table has a line for each run that
 * is shown. */
static void fit_deq(hl_screen *s, hl_layout_in *in)
{
    enum { AROUND = 3, TRACES = 3 };
    hl_solve_shown shown[HL_SHOWN_MAX];
    const int n = hl_solves_shown(s, shown);
    if (n == 0) {
        in->hidden |= UINT32_C(1) << HL_PANE_EVALUATIONS | UINT32_C(1) << HL_PANE_SOLVES |
                      UINT32_C(1) << HL_PANE_SOLVE_HEAT;
        in->focus =
            in->focus == HL_PANE_RUNS || in->focus == HL_PANE_LOG ? in->focus : HL_PANE_RESIDUAL;
        return;
    }
    memcpy(s->nodes, in->nodes, (size_t)in->n_nodes * sizeof *in->nodes);
    for (int i = 0; i < in->n_nodes; i++)
        if (s->nodes[i].kind == HL_NODE_PANE && s->nodes[i].pane == HL_PANE_SOLVES)
            s->nodes[i].min = s->nodes[i].max = (uint8_t)(n + AROUND + TRACES);
    in->nodes = s->nodes;
    if (in->size == HL_SIZE_MINIMAL && in->focus == HL_PANE_RESIDUAL)
        in->focus = HL_PANE_SOLVES;
}

/* A run without forecasts has one pane, which says so. */
static void fit_forecast(hl_screen *s, hl_layout_in *in)
{
    hl_forecast_shown f;
    if (hl_forecast_shown_get(s, &f))
        return;
    in->hidden |= UINT32_C(1) << HL_PANE_RESIDUALS | UINT32_C(1) << HL_PANE_AHEAD;
    if (in->focus == HL_PANE_RESIDUALS || in->focus == HL_PANE_AHEAD)
        in->focus = HL_PANE_FORECAST;
}

/* A pane below those of the view. */
static void add_below(hl_screen *s, hl_layout_in *in, hl_pane pane, int max)
{
    enum { OWN = 2 };
    if (in->n_nodes + OWN > HL_NODES_MAX)
        return;
    memmove(s->nodes + 1, in->nodes, (size_t)in->n_nodes * sizeof *in->nodes);
    s->nodes[1].weight = 3;
    s->nodes[0] = (hl_node){.kind = HL_NODE_ROWS, .n = OWN, .weight = 1};
    s->nodes[in->n_nodes + 1] = (hl_node){
        .kind = HL_NODE_PANE, .pane = (uint8_t)pane, .min = 5, .max = (uint8_t)max, .weight = 1};
    in->nodes = s->nodes;
    in->n_nodes += OWN;
}

static hl_layout_in layout_in(hl_screen *s, int cols, int rows)
{
    const hl_view_class *v = hl_view_get(s->look.view);
    const bool fits = s->look.view == HL_VIEW_OUTLIERS;
    if (fits)
        fit_heat(s, v);
    hl_layout_in in = {.cols = cols,
                       .rows = rows,
                       .nodes = fits ? s->nodes : v->nodes,
                       .n_nodes = v->n_nodes,
                       .focus = hl_screen_focus(s),
                       .zoom = s->look.zoom,
                       .half = s->look.half,
                       .hidden = s->look.hidden[s->look.view],
                       .size = hl_size_class_of(cols, rows, s->layout.size)};
    in.share = s->look.share[s->look.view][in.size];
    if (in.size == HL_SIZE_MINIMAL && in.focus == HL_PANE_CHART)
        in.focus = HL_PANE_STRIP; /* the run's numbers, one a line */
    if (s->look.view == HL_VIEW_DEQ)
        fit_deq(s, &in);
    if (s->look.view == HL_VIEW_FORECAST)
        fit_forecast(s, &in);
    if (s->look.view == HL_VIEW_COMPARE)
        hl_compare_fit(s, &in);
    if (s->look.script)
        add_below(s, &in, HL_PANE_SCRIPT, 30);
    if (s->look.console && s->look.view != HL_VIEW_LUA)
        add_below(s, &in, HL_PANE_CONSOLE, 14);
    return in;
}

hl_layout_in hl_screen_layout_in(hl_screen *s)
{
    int cols, rows;
    hl_term_size(s->term, &cols, &rows);
    return layout_in(s, cols, rows);
}

/* The focus moves to a pane that is there; false: it is already. */
static bool move_focus(hl_screen *s)
{
    if (s->layout.size < HL_SIZE_STANDARD || s->layout.pane[hl_screen_focus(s)].w > 0)
        return false;
    for (int p = 0; p < HL_PANE_COUNT; p++)
        if (s->layout.pane[p].w > 0 && hl_pane_get((hl_pane)p)->focusable) {
            s->look.focus[s->look.view] = (hl_pane)p;
            return true;
        }
    return false;
}

void hl_screen_lay_out(hl_screen *s)
{
    int cols, rows;
    hl_term_size(s->term, &cols, &rows);
    hl_layout_in in = layout_in(s, cols, rows);
    hl_layout_make(&in, &s->layout);
    if (move_focus(s)) {
        in = layout_in(s, cols, rows);
        hl_layout_make(&in, &s->layout);
    }
}

/* hoplab's name stays when the setting goes off; the terminal's own comes back at the end. */
static void put_title(hl_screen *s)
{
    const hl_run_row *row = hl_screen_row(s);
    char title[160];
    snprintf(title, sizeof title, "hoplab%s%s", row ? " - " : "", row ? row->name : "");
    if (!s->settings.title || strcmp(title, s->titled) == 0)
        return;
    memcpy(s->titled, title, sizeof title);
    hl_term_set_title(s->term, title);
}

void hl_screen_draw(hl_screen *s)
{
    int cols, rows;
    hl_term_size(s->term, &cols, &rows);
    if (hl_grid_resize(&s->grid, cols, rows) != HL_OK)
        return; /* the last picture stays */
    s->grid.glyphs = hl_term_glyphs(s->term);
    s->grid.wide_ambiguous = hl_term_wide_ambiguous(s->term);
    hl_compare_update(s);
    hl_screen_lay_out(s);
    hl_screen_paint(s);
    put_title(s);
    s->dirty = false;
}
