/* Orders to the screen's Lua, and what comes back. */
#include "views/console.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "views/picture.h"
#include "views/screen_lua.h"

enum { REPLIES_AT_ONCE = 200, LISTED_MAX = 80 };

/* ---- life ---- */

void hl_console_open(hl_screen *s, const hl_scripting_class *lua)
{
    char state[440];
    s->console.lua = lua;
    s->console.line.past = &s->console.history;
    if (hl_fs_state_dir(state, sizeof state))
        s->console.history_path = hl_fs_join(state, "lua_history");
    if (s->console.history_path)
        hl_history_load(&s->console.history, s->console.history_path);
}

void hl_console_forget(hl_console *k)
{
    for (size_t i = 0; i < k->lines.n; i++)
        hl_free(k->lines.at[i].text);
    k->lines.n = 0;
    k->back = 0;
}

void hl_console_close(hl_screen *s)
{
    hl_console *k = &s->console;
    char *folder = k->history_path && k->history.n_added ? hl_fs_parent(k->history_path) : NULL;
    if (folder && hl_fs_make_dir(folder) == HL_OK)
        HL_IGNORE(hl_history_save(&k->history, k->history_path)); /* it is a convenience */
    hl_free(folder);
    if (k->state)
        k->lua->close(k->state);
    hl_console_forget(k);
    hl_vec_done(&k->lines);
    hl_line_done(&k->line);
    hl_history_done(&k->history);
    hl_free(k->history_path);
    hl_free(k->file);
    hl_str_done(&k->filed);
    *k = (hl_console){0};
}

void hl_console_reset(hl_screen *s)
{
    hl_console *k = &s->console;
    if (k->state)
        k->lua->close(k->state);
    k->state = NULL;
    k->more = false;
    k->completing = k->commanded = 0;
    if (s->look.view == HL_VIEW_SCRIPTED)
        hl_screen_set_view(s, HL_VIEW_RUNS);
    hl_scripted_done(&s->scripted);
    hl_screen_say(s, HL_ROLE_TEXT, "Lua has started anew");
    hl_scripted_configure(s);
}

/* ---- output ---- */

static void add_line(hl_console *k, hl_role role, const char *text, size_t n)
{
    enum { TAB = 8 };
    hl_str copy = {0};
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\t')
            hl_str_addn(&copy, "        ", TAB - copy.n % TAB);
        else
            hl_str_addc(&copy, text[i]);
    if (k->lines.n == HL_CONSOLE_LINES_MAX) {
        hl_free(k->lines.at[0].text);
        memmove(k->lines.at, k->lines.at + 1, --k->lines.n * sizeof *k->lines.at);
    }
    char *owned = hl_strdup(hl_str_text(&copy));
    if (!owned || hl_vec_push(&k->lines, ((hl_console_line){owned, role})) != HL_OK)
        hl_free(owned);
    hl_str_done(&copy);
}

void hl_console_print(hl_screen *s, hl_role role, const char *text)
{
    for (;; text++) {
        const size_t n = strcspn(text, "\n");
        add_line(&s->console, role, text, n);
        if (!*(text += n) || !text[1])
            break;
    }
    s->dirty = true;
}

static const char *text_of(const hl_json *value, const char *key)
{
    return hl_json_str(hl_json_get(value, key), "");
}

void hl_console_fail(hl_screen *s, const hl_json *failure)
{
    const char *hint = text_of(failure, "hint"), *frames = text_of(failure, "traceback");
    hl_console_print(s, HL_ROLE_BAD,
                     *text_of(failure, "message") ? text_of(failure, "message") : "out of memory");
    if (*hint) {
        char text[500];
        snprintf(text, sizeof text, "hint: %s", hint);
        hl_console_print(s, HL_ROLE_WARN, text);
    }
    if (strchr(frames, '\n'))
        hl_console_print(s, HL_ROLE_DIM, frames);
}

/* ---- orders ---- */

int64_t hl_console_order(hl_screen *s, const char *name, const char *argument, int limit_ms)
{
    hl_console *k = &s->console;
    if (!k->lua) {
        hl_screen_say(s, HL_ROLE_WARN, "this screen has no Lua");
        return -1;
    }
    if (!k->state && k->lua->open(s->model.runs_dir, &k->state) != HL_OK) {
        k->state = NULL;
        hl_screen_say_error(s);
        return -1;
    }
    return k->lua->order(k->state, name, argument, limit_ms);
}

int64_t hl_console_order_text(hl_screen *s, const char *name, const char *text, bool whole)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "text", text);
    hl_json_put_bool(&b, "whole", whole);
    hl_json_end(&b, '}');
    const int64_t ticket =
        hl_str_status(&b) == HL_OK ? hl_console_order(s, name, hl_str_text(&b), 0) : -1;
    hl_str_done(&b);
    if (ticket < 0 && s->console.state)
        hl_screen_say(s, HL_ROLE_WARN, "Lua is busy and many lines wait; C-c interrupts");
    return ticket;
}

/* The file behind the last " | ", which is one word with a dot or a slash and no number; NULL:
 * there is none, as in `6 | 1`. */
static const char *file_behind(const char *text, size_t *n)
{
    const char *bar = NULL;
    double number;
    for (const char *at = strstr(text, " | "); at; at = strstr(at + 1, " | "))
        bar = at;
    if (!bar)
        return NULL;
    const char *file = bar + 3 + strspn(bar + 3, " ");
    if (strpbrk(file, " ()\"'") || !strpbrk(file, "./") || hl_parse_f64(file, &number) == HL_OK)
        return NULL;
    *n = (size_t)(bar - text);
    return file;
}

static void forget_file(hl_console *k)
{
    hl_free(k->file);
    k->file = NULL;
    hl_str_clear(&k->filed);
}

void hl_console_evaluate(hl_screen *s, const char *text)
{
    hl_console *k = &s->console;
    hl_str own = {0};
    size_t n = strlen(text);
    const char *file = file_behind(text, &n);
    hl_str_addn(&own, text, n);
    hl_err_clear();
    forget_file(k);
    k->file = file ? hl_strdup(file) : NULL;
    k->commanded = hl_console_order_text(s, "eval", hl_str_text(&own), true);
    hl_str_done(&own);
}

void hl_console_ask_run(hl_screen *s, const char *text)
{
    const hl_run_row *row = hl_screen_row(s);
    hl_str echo = {0};
    if (!hl_screen_ask_word(s, HL_BUS_CMD_LUA, "lua!", text))
        return;
    hl_str_addf(&echo, "%s> %s", row->name, text);
    hl_console_print(s, HL_ROLE_KEY, hl_str_text(&echo));
    hl_str_done(&echo);
}

void hl_console_answers(hl_screen *s)
{
    for (size_t i = 0; i < s->requests.asked.n; i++) {
        hl_asked *a = &s->requests.asked.at[i];
        if (a->answer && *a->answer)
            hl_console_print(s, a->state == HL_ASKED_APPLIED ? HL_ROLE_GOOD : HL_ROLE_BAD,
                             a->answer);
        hl_free(a->answer);
        a->answer = NULL;
    }
}

int hl_console_fd(const hl_screen *s)
{
    return s->console.state ? s->console.lua->fd(s->console.state) : -1;
}

bool hl_console_running(hl_screen *s, double *seconds)
{
    int64_t ns = 0;
    const int n = s->console.state ? s->console.lua->busy(s->console.state, &ns) : 0;
    *seconds = (double)ns * 1e-9;
    return n > 0;
}

/* While something runs for long, its seconds are told. */
int hl_console_timeout_ms(hl_screen *s)
{
    enum { TELL_MS = 500 };
    hl_console *k = &s->console;
    double seconds;
    int ms = k->state ? k->lua->tick(k->state) : -1;
    const int due = hl_scripted_timeout_ms(s), next = hl_scripted_timers_ms(s);
    ms = ms < 0 || (due >= 0 && due < ms) ? due : ms;
    ms = ms < 0 || (next >= 0 && next < ms) ? next : ms;
    const int job = hl_scripted_jobs_timeout_ms(s, NULL);
    ms = ms < 0 || (job >= 0 && job < ms) ? job : ms;
    if (ms < 0 || !hl_console_running(s, &seconds))
        return ms;
    if ((int64_t)(seconds * 2) != k->shown_second) {
        k->shown_second = (int64_t)(seconds * 2);
        s->dirty = true;
    }
    return ms < TELL_MS ? ms : TELL_MS;
}

/* ---- completion ---- */

static size_t common_bytes(const hl_json *list)
{
    const char *first = hl_json_str(hl_json_at(list, 0), "");
    size_t n = strlen(first);
    for (const hl_json *v = hl_json_at(list, 0); v; v = hl_json_next(v))
        for (size_t i = 0; i < n; i++)
            if (hl_json_str(v, "")[i] != first[i])
                n = i;
    return n;
}

static void list_candidates(hl_screen *s, const hl_json *list)
{
    hl_str text = {0};
    int n = 0;
    for (const hl_json *v = hl_json_at(list, 0); v && n < LISTED_MAX; v = hl_json_next(v), n++) {
        hl_str_add(&text, n ? "  " : "");
        hl_str_add(&text, hl_json_str(v, ""));
    }
    if (hl_json_len(list) > LISTED_MAX)
        hl_str_addf(&text, "  ... %d in all", hl_json_len(list));
    hl_console_print(s, HL_ROLE_DIM, hl_str_text(&text));
    hl_str_done(&text);
}

static void take_completion(hl_screen *s, const hl_json *value)
{
    hl_console *k = &s->console;
    const hl_json *list = hl_json_get(value, "list");
    const size_t from = (size_t)hl_json_int(hl_json_get(value, "from"), 0);
    const size_t n = common_bytes(list), cursor = k->line.cursor;
    const bool again = k->asked_again;
    k->completing = 0;
    k->asked_again = true;
    if (hl_json_len(list) == 0 || from > cursor)
        return;
    if (from + n > cursor) { /* the rest of what all have in common */
        hl_str more = {0};
        hl_str_addn(&more, hl_json_str(hl_json_at(list, 0), "") + (cursor - from),
                    from + n - cursor);
        hl_line_insert(&k->line, hl_str_text(&more));
        hl_str_done(&more);
    } else if (again && hl_json_len(list) > 1) {
        list_candidates(s, list);
    }
}

/* ---- replies ---- */

/* An element of hop.ui that was a value: in as many rows as it asks for. */
static void print_picture(hl_screen *s, const hl_json *element)
{
    enum { COLS = 76, SHARE = 10, ROWS_MAX = 60 };
    const int rows = hl_picture_rows(element, SHARE);
    const hl_picture_form form = {.what = "text",
                                  .cols = COLS,
                                  .rows = rows < ROWS_MAX ? rows : ROWS_MAX,
                                  .glyphs = s->grid.glyphs,
                                  .wide_ambiguous = s->grid.wide_ambiguous,
                                  .look = hl_term_look(s->term)};
    hl_str text = {0};
    if (hl_picture_export(element, &form, &text) == HL_OK)
        hl_console_print(s, HL_ROLE_TEXT, hl_str_text(&text));
    hl_err_clear(); /* one without rows is nothing */
    hl_str_done(&text);
}

static void take_note(hl_screen *s, const hl_script_reply *r)
{
    const hl_json *v = r->value;
    hl_console *k = &s->console;
    if (strcmp(r->kind, "print") == 0) {
        const bool value = strcmp(text_of(v, "role"), "value") == 0;
        if (k->file && r->ticket == k->commanded) {
            hl_str_add(&k->filed, text_of(v, "text"));
            hl_str_addc(&k->filed, '\n');
        }
        hl_console_print(s, value ? HL_ROLE_GOOD : HL_ROLE_TEXT, text_of(v, "text"));
    } else if (strcmp(r->kind, "picture") == 0) {
        print_picture(s, v);
    } else if (hl_scripted_note(s, r->kind, v)) {
        return;
    } else if (strcmp(r->kind, "echo") == 0) {
        char line[HL_LINE_MAX + 8];
        snprintf(line, sizeof line, "%s %s",
                 hl_json_bool(hl_json_get(v, "first"), true) ? ">" : ">>", text_of(v, "text"));
        hl_console_print(s, HL_ROLE_KEY, line);
    }
}

/* The answer to `:lua`, told below where no console is shown. */
static void tell_commanded(hl_screen *s, const hl_script_reply *r)
{
    const char *text = text_of(r->value, r->failed ? "message" : "text");
    s->console.commanded = 0;
    if (s->console.file && !r->failed)
        hl_screen_save(s, s->console.file, hl_str_status(&s->console.filed), &s->console.filed);
    else if (*text)
        hl_screen_say(s, r->failed ? HL_ROLE_BAD : HL_ROLE_TEXT, "%.*s", (int)strcspn(text, "\n"),
                      text);
}

static void take_reply(hl_screen *s, hl_script_reply *r)
{
    hl_console *k = &s->console;
    s->dirty = true;
    if (!r->last) {
        s->scripted.note_ticket = r->ticket;
        take_note(s, r);
        s->scripted.note_ticket = 0;
        return;
    }
    if (hl_scripted_reply(s, r) || hl_script_take(s, r) || hl_lua_filter_reply(s, r) ||
        hl_scripted_completed(s, r) || hl_scripted_values_take(s, r) ||
        hl_scripted_jobs_take(s, r))
        return;
    (void)hl_scripted_timer_reply(s, r); /* what it raised is told like everything else */
    if (r->failed) {
        hl_console_fail(s, r->value);
        if (strcmp(r->kind, "eval") != 0 && s->mode != HL_MODE_CONSOLE)
            hl_screen_say(s, HL_ROLE_BAD, "%s", text_of(r->value, "message"));
    }
    if (r->ticket == k->completing) {
        if (!r->failed)
            take_completion(s, r->value);
        k->completing = 0;
        return;
    }
    if (r->ticket == k->commanded)
        tell_commanded(s, r);
    if (strcmp(r->kind, "eval") == 0 || strcmp(r->kind, "cancel") == 0)
        k->more = !r->failed && hl_json_bool(hl_json_get(r->value, "more"), false);
}

void hl_console_update(hl_screen *s)
{
    hl_script_reply r;
    if (!s->console.state)
        return;
    for (int i = 0; i < REPLIES_AT_ONCE && s->console.lua->take(s->console.state, &r); i++) {
        take_reply(s, &r);
        hl_json_free(r.value);
        if (!s->console.state) /* a reply may reset it */
            return;
    }
}
