#include "views/line.h"

#include <string.h>

#include "engine/base/fs.h"

/* ---- history ---- */

void hl_history_add(hl_history *h, const char *text)
{
    if (!*text || (h->lines.n && strcmp(h->lines.at[h->lines.n - 1], text) == 0))
        return;
    char *copy = hl_strdup(text);
    if (!copy || hl_vec_push(&h->lines, copy) != HL_OK) { /* a line less to go back to */
        hl_free(copy);
        return;
    }
    h->n_added++;
    if (h->lines.n > HL_HISTORY_MAX) {
        hl_free(h->lines.at[0]);
        memmove(h->lines.at, h->lines.at + 1, --h->lines.n * sizeof *h->lines.at);
    }
}

void hl_history_load(hl_history *h, const char *path)
{
    char *text;
    size_t n;
    if (hl_fs_read(path, 1 << 20, &text, &n) != HL_OK)
        return;
    for (char *line = text; *line;) {
        char *end = line + strcspn(line, "\n");
        const bool last = *end == 0;
        *end = 0;
        if (end - line <= HL_LINE_MAX)
            hl_history_add(h, line);
        line = last ? end : end + 1;
    }
    hl_free(text);
    h->n_added = 0;
}

hl_status hl_history_save(const hl_history *h, const char *path)
{
    hl_str text = {0};
    for (size_t i = 0; i < h->lines.n; i++) {
        hl_str_add(&text, h->lines.at[i]);
        hl_str_addc(&text, '\n');
    }
    hl_status st = hl_str_status(&text);
    if (st == HL_OK)
        st = hl_fs_write_soon(path, hl_str_text(&text), text.n);
    hl_str_done(&text);
    return st;
}

void hl_history_done(hl_history *h)
{
    for (size_t i = 0; i < h->lines.n; i++)
        hl_free(h->lines.at[i]);
    hl_vec_done(&h->lines);
}

/* ---- text ---- */

void hl_line_set(hl_line *l, const char *text)
{
    hl_str_clear(&l->text);
    hl_str_add(&l->text, text);
    l->cursor = l->text.n;
}

void hl_line_done(hl_line *l)
{
    hl_str_done(&l->text);
    hl_str_done(&l->typed);
    *l = (hl_line){0};
}

static bool is_tail(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static size_t before(const hl_line *l, size_t at)
{
    const char *s = hl_str_text(&l->text);
    if (at > 0)
        at--;
    while (at > 0 && is_tail(s[at]))
        at--;
    return at;
}

static size_t behind(const hl_line *l, size_t at)
{
    const char *s = hl_str_text(&l->text);
    if (at < l->text.n)
        at++;
    while (at < l->text.n && is_tail(s[at]))
        at++;
    return at;
}

static bool is_word(char c)
{
    return (unsigned char)c >= 0x80 || c == '_' || (c >= '0' && c <= '9') ||
           ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static size_t word_before(const hl_line *l, size_t at)
{
    const char *s = hl_str_text(&l->text);
    while (at > 0 && !is_word(s[at - 1]))
        at--;
    while (at > 0 && is_word(s[at - 1]))
        at--;
    return at;
}

static size_t word_behind(const hl_line *l, size_t at)
{
    const char *s = hl_str_text(&l->text);
    while (at < l->text.n && !is_word(s[at]))
        at++;
    while (at < l->text.n && is_word(s[at]))
        at++;
    return at;
}

/* Replaces the bytes between from and to. */
static void replace(hl_line *l, size_t from, size_t to, const char *text, size_t n)
{
    hl_str fresh = {0};
    const char *s = hl_str_text(&l->text);
    if (l->text.n - (to - from) + n > HL_LINE_MAX)
        return;
    hl_str_addn(&fresh, s, from);
    hl_str_addn(&fresh, text, n);
    hl_str_addn(&fresh, s + to, l->text.n - to);
    if (fresh.failed) {
        hl_str_done(&fresh);
        return;
    }
    hl_str_done(&l->text);
    l->text = fresh;
    l->cursor = from + n;
    l->back = 0;
}

void hl_line_insert(hl_line *l, const char *text)
{
    uint32_t ch;
    for (size_t n = strlen(text), used; n > 0; text += used, n -= used) {
        used = hl_utf8_next(text, n, &ch);
        if (ch >= ' ' && ch != 127 && ch != 0xfffd)
            replace(l, l->cursor, l->cursor, text, used);
    }
}

/* ---- keys ---- */

/* One line back (way 1) or forth (-1) among those that begin with what was typed. */
static void recall(hl_line *l, int way)
{
    const size_t n = l->past ? l->past->lines.n : 0;
    if (l->back == 0) {
        hl_str_clear(&l->typed);
        hl_str_add(&l->typed, hl_str_text(&l->text));
    }
    for (size_t back = l->back + (size_t)way; back <= n; back += (size_t)way) {
        if (back != 0 && !hl_str_starts(l->past->lines.at[n - back], hl_str_text(&l->typed)))
            continue;
        hl_line_set(l, back ? l->past->lines.at[n - back] : hl_str_text(&l->typed));
        l->back = back;
        return;
    }
}

static bool move(hl_line *l, int key)
{
    switch (key) {
    case HL_CTRL('a'):
    case HL_KEY_HOME:
        l->cursor = 0;
        return true;
    case HL_CTRL('e'):
    case HL_KEY_END:
        l->cursor = l->text.n;
        return true;
    case HL_CTRL('b'):
    case HL_KEY_LEFT:
        l->cursor = before(l, l->cursor);
        return true;
    case HL_CTRL('f'):
    case HL_KEY_RIGHT:
        l->cursor = behind(l, l->cursor);
        return true;
    case HL_ALT + 'b':
        l->cursor = word_before(l, l->cursor);
        return true;
    case HL_ALT + 'f':
        l->cursor = word_behind(l, l->cursor);
        return true;
    case HL_CTRL('p'):
    case HL_KEY_UP:
        recall(l, 1);
        return true;
    case HL_CTRL('n'):
    case HL_KEY_DOWN:
        if (l->back)
            recall(l, -1);
        return true;
    default:
        return false;
    }
}

static bool erase(hl_line *l, int key)
{
    size_t from = l->cursor, to = l->cursor;
    switch (key) {
    case HL_CTRL('h'):
    case HL_KEY_BACKSPACE:
        from = before(l, from);
        break;
    case HL_CTRL('d'):
    case HL_KEY_DELETE:
        to = behind(l, to);
        break;
    case HL_CTRL('k'):
        to = l->text.n;
        break;
    case HL_CTRL('u'):
        from = 0;
        break;
    case HL_CTRL('w'):
        from = word_before(l, from);
        break;
    default:
        return false;
    }
    replace(l, from, to, "", 0);
    return true;
}

bool hl_line_key(hl_line *l, int key)
{
    char bytes[4];
    if (move(l, key) || erase(l, key))
        return true;
    if (key < ' ' || key == 127 || key >= HL_KEY_FIRST)
        return false;
    replace(l, l->cursor, l->cursor, bytes, hl_utf8_put(bytes, (uint32_t)key));
    return true;
}

/* ---- drawing ---- */

void hl_line_draw(hl_canvas c, const hl_line *l, const char *prompt)
{
    const hl_style plain = HL_STYLE(TEXT);
    const int start = hl_put(c, 0, 0, HL_STYLE(KEY), prompt);
    const hl_canvas field = hl_canvas_part(c, start, 0, c.r.w - start, 1);
    hl_str head = {0};
    hl_str_addn(&head, hl_str_text(&l->text), l->cursor);
    const int at = hl_text_columns(c.grid, hl_str_text(&head));
    const int shift = at >= field.r.w ? at - field.r.w + 1 : 0;
    hl_put(field, -shift, 0, plain, hl_str_text(&l->text));
    hl_str_done(&head);
    if (field.r.w > 0) {
        c.grid->cursor_x = field.r.x + at - shift;
        c.grid->cursor_y = field.r.y;
    }
}
