/* The script pane's own editor: typing into the copy, looking for words, the text with its colours
 * and the error of a run that failed at its line. */
#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "views/screen_lua.h"
#include "views/script_color.h"

enum { SCRIPT_MAX = 16 << 20, NUMBER = 5, TAB = 4, COLORED_MAX = 1000 };

/* ---- errors ---- */

/* "callback on_step: dir/tiny.lua:31: boom" names line 31 of tiny.lua. */
int hl_script_error(const hl_screen *s, const char **message)
{
    const hl_run_row *row = hl_screen_row(s);
    const char *name = hl_fs_base(hl_json_str(hl_json_get(s->script.value, "name"), ""));
    const size_t n = strlen(name);
    for (const char *at = row && n ? strstr(row->message, name) : NULL; at;
         at = strstr(at + 1, name)) {
        char digits[12];
        const size_t k = at[n] == ':' ? strspn(at + n + 1, "0123456789") : 0;
        int64_t line = 0;
        if (k == 0 || k >= sizeof digits || at[n + 1 + k] != ':')
            continue;
        snprintf(digits, sizeof digits, "%.*s", (int)k, at + n + 1);
        if (hl_parse_i64(digits, &line) != HL_OK)
            continue;
        if (message)
            *message = at + n + 2 + k;
        return (int)line;
    }
    return 0;
}

/* ---- typing ---- */

static bool load(hl_screen *s)
{
    hl_script_shown *k = &s->script;
    char *text = NULL;
    size_t n = 0;
    const size_t row = k->text.row;
    hl_status st = hl_fs_read(k->edited, SCRIPT_MAX, &text, &n);
    if (st == HL_OK)
        st = hl_text_set(&k->text, text);
    hl_free(text);
    if (st != HL_OK) {
        hl_screen_say_error(s);
        return false;
    }
    hl_text_to(&k->text, row, 0);
    k->is_copy = true;
    return true;
}

void hl_script_type(hl_screen *s, char *copy)
{
    hl_script_shown *k = &s->script;
    if (!copy)
        return;
    const bool same = k->edited && strcmp(k->edited, copy) == 0;
    hl_free(k->edited);
    k->edited = copy;
    k->diff = false;
    if (!(same && k->is_copy) && !load(s))
        return;
    const int row = (int)k->text.row;
    if (row < k->top || row >= k->top + k->rows)
        hl_text_to(&k->text, (size_t)k->top, 0);
    k->searching = false;
    s->mode = HL_MODE_SCRIPT;
    s->notice[0] = 0;
}

static bool save(hl_screen *s)
{
    hl_script_shown *k = &s->script;
    hl_str all = {0};
    hl_text_get(&k->text, &all);
    hl_status st = hl_str_status(&all);
    if (st == HL_OK)
        st = hl_fs_write_atomic(k->edited, all.s, all.n);
    hl_str_done(&all);
    if (st != HL_OK) {
        hl_screen_say_error(s);
        return false;
    }
    k->text.is_changed = false;
    hl_screen_say(s, HL_ROLE_GOOD, "saved to %s; r runs it as a new run", k->edited);
    return true;
}

/* The comparison is made anew. */
static void end(hl_screen *s)
{
    char *dir = hl_strdup(s->script.of);
    s->mode = HL_MODE_NORMAL;
    if (dir)
        hl_script_ask(s, dir);
    hl_free(dir);
}

static void type(hl_screen *s, const hl_input *in)
{
    hl_script_shown *k = &s->script;
    s->notice[0] = 0;
    if (k->text.lines.n == 0) { /* what was edited has gone with its run */
        end(s);
        return;
    }
    if (in->key == HL_KEY_PASTE) {
        hl_text_insert(&k->text, in->text);
    } else if (in->key == HL_KEY_ESC) {
        if (!k->text.is_changed || save(s))
            end(s);
    } else if (in->key == HL_CTRL('c')) {
        (void)load(s);
        end(s);
    } else if (in->key == HL_CTRL('s')) {
        (void)save(s);
    } else if (in->key == HL_CTRL('_')) {
        if (!hl_text_undo(&k->text))
            hl_screen_say(s, HL_ROLE_WARN, "there is nothing to undo");
    } else if (in->key == HL_ALT + '_') {
        (void)hl_text_redo(&k->text);
    } else {
        (void)hl_text_key(&k->text, in->key, k->rows > 2 ? k->rows - 1 : 1);
    }
}

/* ---- search ---- */

static void show_cursor(hl_script_shown *k)
{
    const int row = (int)k->text.row;
    if (row < k->top)
        k->top = row;
    if (k->rows > 0 && row >= k->top + k->rows)
        k->top = row - k->rows + 1;
}

void hl_script_search(hl_screen *s)
{
    s->script.diff = false;
    s->script.searching = true;
    hl_line_set(&s->script.word, "");
    s->mode = HL_MODE_SCRIPT;
    s->notice[0] = 0;
}

void hl_script_next(hl_screen *s, int way)
{
    hl_script_shown *k = &s->script;
    const char *word = hl_str_text(&k->word.text);
    k->diff = false;
    if (k->text.lines.n && hl_text_find(&k->text, word, way))
        show_cursor(k);
    else
        hl_screen_say(s, HL_ROLE_WARN, *word ? "'%s' is not in it" : "/ looks for a word%s", word);
}

static void search(hl_screen *s, const hl_input *in)
{
    hl_script_shown *k = &s->script;
    if (in->key != HL_KEY_ENTER)
        s->notice[0] = 0;
    if (in->key == HL_KEY_PASTE) {
        hl_line_insert(&k->word, in->text);
    } else if (in->key == HL_KEY_ESC || in->key == HL_CTRL('c') || in->key == HL_KEY_ENTER) {
        if (in->key != HL_KEY_ENTER)
            hl_line_set(&k->word, "");
        k->searching = false;
        s->mode = HL_MODE_NORMAL;
        return;
    } else {
        (void)hl_line_key(&k->word, in->key);
    }
    if (k->word.text.n == 0 || k->text.lines.n == 0)
        return;
    if (k->text.line.cursor > 0) /* the place it is at counts */
        k->text.line.cursor--;
    else if (hl_str_starts(hl_str_text(&k->text.line.text), hl_str_text(&k->word.text)))
        return;
    hl_script_next(s, 1);
}

void hl_script_input(hl_screen *s, const hl_input *in)
{
    if (s->script.searching)
        search(s, in);
    else
        type(s, in);
}

/* ---- drawing ---- */

/* Columns of the first n bytes. */
static int columns_of(const char *text, size_t n)
{
    hl_str head = {0};
    for (size_t i = 0; i < n && text[i]; i++)
        hl_str_addn(&head, text[i] == '\t' ? "    " : text + i, text[i] == '\t' ? TAB : 1);
    const int w = hl_text_columns(hl_str_text(&head));
    hl_str_done(&head);
    return w;
}

/* Pieces of one role each; shift: columns that are scrolled out on the left. */
static int put_colored(hl_canvas c, const char *text, const uint8_t *role, int shift)
{
    int x = -shift;
    for (size_t at = 0; text[at] && x < c.r.w;) {
        const uint8_t r = at < COLORED_MAX ? role[at] : HL_ROLE_TEXT;
        size_t n = 1;
        while (text[at + n] && text[at + n] != '\t' && text[at] != '\t' &&
               (at + n < COLORED_MAX ? role[at + n] : HL_ROLE_TEXT) == r)
            n++;
        hl_str piece = {0};
        hl_str_addn(&piece, text[at] == '\t' ? "    " : text + at, text[at] == '\t' ? TAB : n);
        x += hl_put(c, x, 0, (hl_style){.role = r}, hl_str_text(&piece));
        hl_str_done(&piece);
        at += n;
    }
    return x;
}

static void mark_word(hl_canvas c, const char *text, const char *word, int shift)
{
    for (const char *at = *word ? strstr(text, word) : NULL; at; at = strstr(at + 1, word))
        hl_restyle(c, columns_of(text, (size_t)(at - text)) - shift, 0, hl_text_columns(word), 1,
                   (hl_style){HL_ROLE_WARN, HL_REVERSE});
}

static void put_row(const hl_script_shown *k, hl_canvas c, size_t i, hl_lua_state *x, int shift)
{
    uint8_t role[COLORED_MAX];
    const char *text = k->text.lines.at[i];
    hl_lua_color(x, text, role, sizeof role);
    hl_putf(c, 0, 0, HL_STYLE(DIM), "%4zu", i + 1);
    c = hl_canvas_part(c, NUMBER, 0, c.r.w - NUMBER, 1);
    (void)put_colored(c, text, role, shift);
    mark_word(c, text, hl_str_text(&k->word.text), shift);
}

void hl_script_draw(hl_screen *s, hl_canvas c)
{
    hl_script_shown *k = &s->script;
    const bool typing = s->mode == HL_MODE_SCRIPT && !k->searching;
    const char *message = "";
    const int wrong = hl_script_error(s, &message), n = (int)k->text.lines.n;
    hl_lua_state x = {0};
    if (s->mode == HL_MODE_SCRIPT && k->searching && c.r.h > 1) {
        hl_line_draw(hl_canvas_part(c, 0, c.r.h - 1, c.r.w, 1), &k->word, "/");
        c = hl_canvas_part(c, 0, 0, c.r.w, c.r.h - 1);
        k->rows = c.r.h;
    }
    if (typing)
        show_cursor(k);
    const int last = n > c.r.h ? n - c.r.h : 0;
    k->top = k->top > last ? last : k->top;
    const int at = typing ? columns_of(hl_str_text(&k->text.line.text), k->text.line.cursor) : 0;
    const int shift = at >= c.r.w - NUMBER ? at - (c.r.w - NUMBER) + 1 : 0;
    for (int i = 0; i < n && i < k->top + c.r.h; i++) {
        if (i < k->top) {
            hl_lua_color(&x, k->text.lines.at[i], NULL, 0);
            continue;
        }
        const hl_canvas line = hl_canvas_part(c, 0, i - k->top, c.r.w, 1);
        put_row(k, line, (size_t)i, &x, shift);
        if (i + 1 == wrong) {
            const int end = NUMBER + columns_of(k->text.lines.at[i], SIZE_MAX) - shift;
            hl_restyle(line, 0, 0, end, 1, HL_STYLE(BAD));
            hl_put_sign(line, NUMBER - 1, 0, HL_STYLE(BAD), HL_SIGN_FAILED);
            hl_put_cut(line, end + 2, 0, c.r.w - end - 2, HL_STYLE(BAD), message);
        }
    }
    if (typing && c.r.w > NUMBER) {
        c.grid->cursor_x = c.r.x + NUMBER + at - shift;
        c.grid->cursor_y = c.r.y + (int)k->text.row - k->top;
    }
}
