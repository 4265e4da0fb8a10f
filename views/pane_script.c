/* The script of the run under the cursor, as it was executed: to look at, to edit a copy of in the
 * user's editor, to compare, to run again.
 *
 * DESIGN. What is looked at is a text of lines (text.h): that of the run, or the copy, which can be
 * typed into (script_type.c). The text and the comparison come from the screen's Lua, whose thread
 * may wait for a disk. The copy and the files that the script required lie in the state directory,
 * edited/RUN, so that what it requires is found beside it. */
#include "views/pane_script.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "views/screen_lua.h"

enum { SCRIPT_MAX = 16 << 20, LIMIT_MS = 5000, WORDS_MAX = 48 };

void hl_script_done(hl_script_shown *k)
{
    hl_free(k->of);
    hl_free(k->edited);
    hl_text_done(&k->text);
    hl_line_done(&k->word);
    hl_json_free(k->value);
    hl_json_free(k->failed);
    *k = (hl_script_shown){0};
}

/* ---- the edited copy ---- */

/* state/edited/RUN/NAME; NULL without memory or a state directory. */
static char *path_of_copy(const char *run_dir, const char *name)
{
    char state[440], path[1200];
    if (!hl_fs_state_dir(state, sizeof state))
        return NULL;
    const int n = snprintf(path, sizeof path, "%s/edited/%s/%s", state, hl_fs_base(run_dir),
                           hl_fs_base(name));
    return n < (int)sizeof path ? hl_strdup(path) : NULL;
}

static hl_status copy_file(const char *from, const char *to)
{
    char *text = NULL;
    size_t n = 0;
    hl_status st = hl_fs_read(from, SCRIPT_MAX, &text, &n);
    if (st == HL_OK)
        st = hl_fs_write_atomic(to, text, n);
    hl_free(text);
    return st;
}

/* All files of the run's script folder that are not beside the copy already. */
static hl_status copy_scripts(const char *run_dir, const char *copy)
{
    hl_fs_list names = {0};
    char *from = hl_fs_join(run_dir, "script"), *to = hl_fs_parent(copy);
    hl_status st = from && to ? hl_fs_make_dir(to) : HL_E_NOMEM;
    if (st == HL_OK)
        st = hl_fs_list_dir(from, &names);
    for (size_t i = 0; st == HL_OK && i < names.n; i++) {
        char *a = hl_fs_join(from, names.name[i]), *b = hl_fs_join(to, names.name[i]);
        if (!a || !b)
            st = HL_E_NOMEM;
        else if (!hl_fs_exists(b))
            st = copy_file(a, b);
        hl_free(a);
        hl_free(b);
    }
    hl_fs_list_free(&names);
    hl_free(from);
    hl_free(to);
    return st;
}

/* ---- asking for it ---- */

void hl_script_ask(hl_screen *s, const char *dir)
{
    hl_script_shown *k = &s->script;
    const bool diff = k->diff;
    char *text = NULL, *copy = k->edited && k->of && strcmp(k->of, dir) == 0 ? k->edited : NULL;
    size_t n = 0;
    k->edited = copy ? NULL : k->edited;
    const hl_text kept = copy && k->is_copy ? k->text : (hl_text){0};
    const hl_line word = k->word;
    k->text = kept.lines.n ? (hl_text){0} : k->text;
    k->word = (hl_line){0};
    hl_script_done(k);
    k->of = hl_strdup(dir);
    k->edited = copy;
    k->diff = diff;
    k->text = kept;
    k->word = word;
    k->is_copy = kept.lines.n > 0;
    if (!k->of)
        return;
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "run", dir);
    if (copy && hl_fs_read(copy, SCRIPT_MAX, &text, &n) == HL_OK)
        hl_json_put_str(&b, "edited", text);
    hl_json_end(&b, '}');
    hl_free(text);
    const int64_t ticket =
        hl_str_status(&b) == HL_OK ? hl_console_order(s, "script", hl_str_text(&b), LIMIT_MS) : -1;
    k->ticket = ticket > 0 ? ticket : 0;
    hl_str_done(&b);
}

/* The first change comes into view. */
static void show_change(hl_script_shown *k)
{
    enum { BEFORE = 3 };
    int i = 0;
    k->top = k->diff || k->text.row < BEFORE ? 0 : (int)k->text.row - BEFORE;
    for (const hl_json *l = hl_json_at(hl_json_get(k->value, "diff"), 0); l && k->diff;
         l = hl_json_next(l), i++)
        if (hl_json_str(hl_json_at(l, 0), " ")[0] != ' ') {
            k->top = i > BEFORE ? i - BEFORE : 0;
            return;
        }
}

/* The text as it was run, where no copy is looked at; at the line of an error, if it has one. */
static void show_text(hl_screen *s, hl_script_shown *k)
{
    hl_str all = {0};
    if (k->is_copy || !k->value)
        return;
    for (const hl_json *l = hl_json_at(hl_json_get(k->value, "lines"), 0); l; l = hl_json_next(l)) {
        hl_str_add(&all, hl_json_str(l, ""));
        hl_str_addc(&all, '\n');
    }
    if (hl_str_status(&all) != HL_OK || hl_text_set(&k->text, hl_str_text(&all)) != HL_OK)
        hl_screen_say_error(s);
    hl_str_done(&all);
    const int line = hl_script_error(s, NULL);
    if (line > 0 && k->text.lines.n)
        hl_text_to(&k->text, (size_t)line - 1, 0);
}

bool hl_script_take(hl_screen *s, hl_script_reply *r)
{
    hl_script_shown *k = &s->script;
    if (strcmp(r->kind, "script") != 0)
        return false;
    if (r->ticket != k->ticket)
        return true; /* of a run looked at before */
    k->ticket = 0;
    *(r->failed ? &k->failed : &k->value) = r->value;
    r->value = NULL;
    show_text(s, k);
    show_change(k);
    return true;
}

/* ---- editing and running ---- */

static hl_status run_editor(void *path)
{
    return hl_editor_run(path);
}

/* The copy with what it needs beside it; NULL: said why not. */
static char *make_copy(hl_screen *s)
{
    hl_script_shown *k = &s->script;
    if (!k->value || !k->of)
        return NULL;
    char *copy = path_of_copy(k->of, hl_json_str(hl_json_get(k->value, "name"), ""));
    const hl_status st =
        copy ? copy_scripts(k->of, copy)
             : hl_err_set(HL_E_IO, "there is no state directory for an edited copy");
    if (st == HL_OK)
        return copy;
    hl_screen_say_error(s);
    hl_free(copy);
    return NULL;
}

static void edit(hl_screen *s)
{
    hl_script_shown *k = &s->script;
    char *copy = make_copy(s);
    if (!copy)
        return;
    if (hl_term_lend(s->term, run_editor, copy) != HL_OK) {
        hl_screen_say_error(s);
        hl_free(copy);
        return;
    }
    hl_free(k->edited);
    k->edited = copy;
    k->is_copy = false; /* what it was is another now */
    k->diff = true;
    char *dir = hl_strdup(k->of);
    if (dir)
        hl_script_ask(s, dir);
    hl_free(dir);
    hl_screen_say(s, HL_ROLE_TEXT, "r runs the edited copy as a new run");
}

/* Words of the run's own command line that say what is computed. */
static int add_own_words(const hl_json *command, char **argv, int n)
{
    static const char *const kept[] = {"-s", "--precision", "--seed", "--threads", "--device"};
    for (const hl_json *w = hl_json_at(command, 0); w; w = hl_json_next(w)) {
        const hl_json *value = hl_json_next(w);
        for (size_t i = 0; value && i < sizeof kept / sizeof kept[0]; i++)
            if (strcmp(hl_json_str(w, ""), kept[i]) == 0 && n + 2 < WORDS_MAX) {
                argv[n++] = (char *)(uintptr_t)kept[i];
                argv[n++] = (char *)(uintptr_t)hl_json_str(value, "");
                break;
            }
    }
    return n;
}

void hl_script_rerun(hl_screen *s, char *const *words, int n_words)
{
    hl_script_shown *k = &s->script;
    const hl_run_row *row = hl_screen_row(s);
    const hl_watched *w = hl_screen_run(s);
    char *argv[WORDS_MAX + 1], stored[1400];
    char program[] = "hoplab", run[] = "run", runs[] = "--runs";
    const char *script = hl_json_str(hl_json_get(w ? w->facts : NULL, "script"), "");
    int n = 0;
    if (!row || !*script) {
        hl_screen_say(s, HL_ROLE_WARN, row ? "%s has no stored script" : "there is no run%s",
                      row ? row->name : "");
        return;
    }
    snprintf(stored, sizeof stored, "%.1000s/script/%.300s", row->dir, hl_fs_base(script));
    const bool edited = k->edited && k->of && strcmp(k->of, row->dir) == 0;
    argv[n++] = program;
    argv[n++] = run;
    argv[n++] = runs;
    argv[n++] = s->model.runs_dir;
    argv[n++] = edited ? k->edited : stored;
    n = add_own_words(hl_json_get(w->facts, "command"), argv, n);
    for (int i = 0; i < n_words && n + 1 < WORDS_MAX; i++) {
        argv[n++] = words[i];
        if (strcmp(words[i], "--replay") == 0) /* of this run */
            argv[n++] = (char *)(uintptr_t)row->id;
    }
    argv[n] = NULL;
    s->open_launched = true;
    hl_screen_launch(s, argv, hl_fs_base(script));
}

/* ---- the pane ---- */

/* NULL: the text is. */
static const hl_json *diff_shown(const hl_script_shown *k)
{
    return k->diff && !k->text.is_changed ? hl_json_get(k->value, "diff") : NULL;
}

static void title(hl_screen *s, char *buf, size_t n)
{
    const hl_script_shown *k = &s->script;
    const hl_json *v = k->value;
    const char *against = hl_json_str(hl_json_get(v, "against"), "");
    const bool same = hl_json_bool(hl_json_get(v, "same"), false);
    if (!v)
        return;
    if (k->is_copy && !diff_shown(k)) {
        snprintf(buf, n, "copy of %s  %zu:%zu%s",
                 hl_fs_base(hl_json_str(hl_json_get(v, "name"), "")), k->text.row + 1,
                 k->text.line.cursor + 1, k->text.is_changed ? "  changed" : "");
        return;
    }
    snprintf(buf, n, "%s, as it was run%s%s%s", hl_fs_base(hl_json_str(hl_json_get(v, "name"), "")),
             *against ? same ? "; the same as " : "; differs from " : "", against,
             k->diff && *against ? "  - run  + other" : "");
}

static void put_line(hl_canvas c, const hl_json *line)
{
    const char *text = hl_json_str(hl_json_at(line, 1), "");
    const char sign = hl_json_str(hl_json_at(line, 0), " ")[0];
    const hl_style style = sign == '-'   ? HL_STYLE(BAD)
                           : sign == '+' ? HL_STYLE(GOOD)
                                         : HL_STYLE(TEXT);
    hl_str wide = {0};
    for (; *text; text++)
        hl_str_addn(&wide, *text == '\t' ? "    " : text, *text == '\t' ? 4 : 1);
    hl_put_char(c, 0, 0, style, (uint32_t)sign);
    hl_put_cut(c, 2, 0, c.r.w - 2, style, hl_str_text(&wide));
    hl_str_done(&wide);
}

static void draw(hl_screen *s, hl_canvas c, bool focused)
{
    hl_script_shown *k = &s->script;
    const hl_run_row *row = hl_screen_row(s);
    (void)focused;
    if (!row) {
        hl_put_cut(c, 0, 0, c.r.w, HL_STYLE(DIM), "no run: 1 shows the list");
        return;
    }
    const bool other = !k->of || strcmp(k->of, row->dir) != 0;
    if (other && s->mode != HL_MODE_SCRIPT) /* nobody's typing is taken away */
        hl_script_ask(s, row->dir);
    k->rows = c.r.h;
    if (k->failed)
        hl_put_cut(c, 0, 0, c.r.w, HL_STYLE(WARN),
                   hl_json_str(hl_json_get(k->failed, "message"), ""));
    const hl_json *lines = diff_shown(k);
    if (!lines) {
        hl_script_draw(s, c);
        return;
    }
    const int n = hl_json_len(lines), last = n > c.r.h ? n - c.r.h : 0;
    k->top = k->top > last ? last : k->top;
    int i = 0;
    for (const hl_json *l = hl_json_at(lines, 0); l && i < k->top + c.r.h; l = hl_json_next(l), i++)
        if (i >= k->top)
            put_line(hl_canvas_part(c, 0, i - k->top, c.r.w, 1), l);
}

static void scroll(hl_script_shown *k, int by)
{
    k->top = k->top + by < 0 ? 0 : k->top + by;
}

static bool act(hl_screen *s, hl_action a)
{
    enum { PAGE = 10, FAR = 1 << 24 };
    hl_script_shown *k = &s->script;
    switch (a) {
    case HL_ACTION_UP:
        scroll(k, -1);
        return true;
    case HL_ACTION_DOWN:
        scroll(k, 1);
        return true;
    case HL_ACTION_PAGE_UP:
        scroll(k, -PAGE);
        return true;
    case HL_ACTION_PAGE_DOWN:
        scroll(k, PAGE);
        return true;
    case HL_ACTION_TOP:
        k->top = 0;
        return true;
    case HL_ACTION_BOTTOM:
        k->top = FAR;
        return true;
    case HL_ACTION_SCRIPT_EDIT:
        edit(s);
        return true;
    case HL_ACTION_SCRIPT_TYPE:
        hl_script_type(s, make_copy(s));
        return true;
    case HL_ACTION_FILTER:
        hl_script_search(s);
        return true;
    case HL_ACTION_NEXT_MATCH:
    case HL_ACTION_PREVIOUS_MATCH:
        hl_script_next(s, a == HL_ACTION_NEXT_MATCH ? 1 : -1);
        return true;
    case HL_ACTION_SCRIPT_DIFF:
        if (hl_json_get(k->value, "diff"))
            k->diff = !k->diff, show_change(k);
        else
            hl_screen_say(s, HL_ROLE_WARN, "the file that it came from is not there");
        return true;
    case HL_ACTION_SCRIPT_RERUN:
        hl_script_rerun(s, NULL, 0);
        return true;
    default:
        return false;
    }
}

bool hl_script_act(hl_screen *s, hl_action a)
{
    const hl_view v = s->look.view;
    if (a != HL_ACTION_SCRIPT)
        return false;
    s->look.script = !s->look.script;
    if (s->look.script)
        s->look.focus[v] = HL_PANE_SCRIPT;
    else if (hl_screen_focus(s) == HL_PANE_SCRIPT)
        s->look.focus[v] = hl_view_get(v)->focus;
    return true;
}

static void click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    (void)x;
    (void)y;
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN)
        scroll(&s->script, what == HL_MOUSE_WHEEL_UP ? -3 : 3);
}

const hl_pane_class hl_pane_script = {
    .framed = true, .focusable = true, .title = title, .draw = draw, .act = act, .click = click};
