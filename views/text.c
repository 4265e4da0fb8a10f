#include "views/text.h"

#include <string.h>

enum { CHANGES_MAX = 1000 };

/* ---- rows ---- */

static char *join(const hl_text *t, size_t row, size_t n)
{
    hl_str b = {0};
    for (size_t i = row; i < row + n; i++) {
        hl_str_add(&b, i > row ? "\n" : "");
        hl_str_add(&b, t->lines.at[i]);
    }
    char *copy = hl_str_status(&b) == HL_OK ? hl_strdup(hl_str_text(&b)) : NULL;
    hl_str_done(&b);
    return copy;
}

static size_t n_lines(const char *text)
{
    size_t n = 1;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* Puts the lines of text in the place of n rows; false: no memory, and nothing has changed. */
static bool swap_rows(hl_text *t, size_t row, size_t n, const char *text)
{
    const size_t n_new = n_lines(text), n_all = t->lines.n - n + n_new;
    HL_VEC(char *) fresh = {0};
    if (hl_vec_reserve(&fresh, n_new) != HL_OK || hl_vec_reserve(&t->lines, n_all + 1) != HL_OK)
        goto failed;
    for (const char *at = text; fresh.n < n_new;) {
        hl_str line = {0};
        const size_t k = strcspn(at, "\n");
        hl_str_addn(&line, at, k);
        char *copy = hl_str_status(&line) == HL_OK ? hl_strdup(hl_str_text(&line)) : NULL;
        hl_str_done(&line);
        if (!copy)
            goto failed;
        fresh.at[fresh.n++] = copy;
        at += k + (at[k] == '\n');
    }
    for (size_t i = row; i < row + n; i++)
        hl_free(t->lines.at[i]);
    memmove(t->lines.at + row + n_new, t->lines.at + row + n,
            (t->lines.n - row - n) * sizeof *t->lines.at);
    memcpy(t->lines.at + row, fresh.at, n_new * sizeof *fresh.at);
    t->lines.n = n_all;
    hl_vec_done(&fresh);
    return true;
failed:
    for (size_t i = 0; i < fresh.n; i++)
        hl_free(fresh.at[i]);
    hl_vec_done(&fresh);
    return false;
}

void hl_text_to(hl_text *t, size_t row, size_t cursor)
{
    t->row = row < t->lines.n ? row : t->lines.n - 1;
    hl_line_set(&t->line, t->lines.at[t->row]);
    t->line.cursor = cursor < t->line.text.n ? cursor : t->line.text.n;
}

/* ---- changes ---- */

static void forget(hl_text_change *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hl_free(at[i].old);
}

static void forget_undone(hl_text *t)
{
    forget(t->undone.at, t->undone.n);
    t->undone.n = 0;
}

/* Without memory the row stays as it was. */
static void put(hl_text *t, size_t row, size_t n, const char *text, bool is_typing)
{
    const hl_text_change *last = t->done.n ? &t->done.at[t->done.n - 1] : NULL;
    const bool more = is_typing && last && last->is_typing && last->row == row && !t->undone.n;
    hl_text_change c = {.row = row,
                        .n_new = n_lines(text),
                        .at_row = t->row,
                        .cursor = t->line.cursor,
                        .is_typing = is_typing};
    forget_undone(t);
    if (!more) {
        c.old = join(t, row, n);
        if (t->done.n == CHANGES_MAX) {
            hl_free(t->done.at[0].old);
            memmove(t->done.at, t->done.at + 1, --t->done.n * sizeof *t->done.at);
        }
        if (!c.old || hl_vec_push(&t->done, c) != HL_OK) {
            hl_free(c.old);
            return;
        }
    }
    (void)swap_rows(t, row, n, text);
    t->is_changed = true;
}

/* The newest change of one list goes back, and into the other one. */
static bool take_back(hl_text *t, bool undo)
{
    if ((undo ? t->done.n : t->undone.n) == 0)
        return false;
    const hl_text_change c = undo ? t->done.at[t->done.n - 1] : t->undone.at[t->undone.n - 1];
    hl_text_change back = {.row = c.row,
                           .n_new = n_lines(c.old),
                           .old = join(t, c.row, c.n_new),
                           .at_row = t->row,
                           .cursor = t->line.cursor};
    if (!back.old || !swap_rows(t, c.row, c.n_new, c.old)) {
        hl_free(back.old);
        return false;
    }
    const hl_status st = undo ? hl_vec_push(&t->undone, back) : hl_vec_push(&t->done, back);
    if (st != HL_OK)
        hl_free(back.old);
    if (undo)
        t->done.n--;
    else
        t->undone.n--;
    hl_text_to(t, c.at_row, c.cursor);
    hl_free(c.old);
    t->is_changed = true;
    return true;
}

bool hl_text_undo(hl_text *t)
{
    return take_back(t, true);
}

bool hl_text_redo(hl_text *t)
{
    return take_back(t, false);
}

/* ---- life ---- */

void hl_text_done(hl_text *t)
{
    for (size_t i = 0; i < t->lines.n; i++)
        hl_free(t->lines.at[i]);
    forget(t->done.at, t->done.n);
    forget(t->undone.at, t->undone.n);
    hl_vec_done(&t->lines);
    hl_vec_done(&t->done);
    hl_vec_done(&t->undone);
    hl_line_done(&t->line);
    *t = (hl_text){0};
}

hl_status hl_text_set(hl_text *t, const char *text)
{
    hl_str clean = {0};
    hl_text_done(t);
    for (const char *c = text; *c; c++)
        if (*c != '\r')
            hl_str_addc(&clean, *c);
    if (clean.n && clean.s[clean.n - 1] == '\n') /* it ends the last line */
        clean.s[--clean.n] = 0;
    hl_status st = hl_str_status(&clean);
    if (st == HL_OK && !swap_rows(t, 0, 0, hl_str_text(&clean)))
        st = HL_E_NOMEM;
    hl_str_done(&clean);
    if (st == HL_OK)
        hl_text_to(t, 0, 0);
    return st;
}

void hl_text_get(const hl_text *t, hl_str *out)
{
    for (size_t i = 0; i < t->lines.n; i++) {
        hl_str_add(out, t->lines.at[i]);
        hl_str_addc(out, '\n');
    }
}

/* ---- keys ---- */

static void insert(hl_text *t, const char *text, size_t cursor_in_last)
{
    hl_str b = {0};
    const size_t row = t->row, n = n_lines(text);
    hl_str_addn(&b, hl_str_text(&t->line.text), t->line.cursor);
    const size_t before = b.n;
    hl_str_add(&b, text);
    hl_str_add(&b, hl_str_text(&t->line.text) + t->line.cursor);
    if (hl_str_status(&b) == HL_OK) {
        put(t, row, 1, hl_str_text(&b), false);
        hl_text_to(t, row + n - 1, n > 1 ? cursor_in_last : before + cursor_in_last);
    }
    hl_str_done(&b);
}

void hl_text_insert(hl_text *t, const char *text)
{
    hl_str clean = {0};
    for (; *text; text++)
        if (*text == '\n' || *text == '\r')
            hl_str_addc(&clean, *text == '\r' && text[1] == '\n' ? *++text : '\n');
        else if (*text == '\t' || (unsigned char)*text >= ' ')
            hl_str_addc(&clean, *text);
    const char *all = hl_str_text(&clean), *last = strrchr(all, '\n');
    if (hl_str_status(&clean) == HL_OK && *all)
        insert(t, all, strlen(last ? last + 1 : all));
    hl_str_done(&clean);
}

static void enter(hl_text *t)
{
    hl_str b = {0};
    const char *line = hl_str_text(&t->line.text);
    const size_t blanks = strspn(line, " \t");
    hl_str_addc(&b, '\n');
    hl_str_addn(&b, line, blanks < t->line.cursor ? blanks : t->line.cursor);
    if (hl_str_status(&b) == HL_OK)
        insert(t, hl_str_text(&b), b.n - 1);
    hl_str_done(&b);
}

/* Row and the one below it become one, the cursor where they meet. */
static void join_below(hl_text *t, size_t row)
{
    hl_str b = {0};
    const size_t at = strlen(t->lines.at[row]);
    hl_str_add(&b, t->lines.at[row]);
    hl_str_add(&b, t->lines.at[row + 1]);
    if (hl_str_status(&b) == HL_OK) {
        put(t, row, 2, hl_str_text(&b), false);
        hl_text_to(t, row, at);
    }
    hl_str_done(&b);
}

static void move_rows(hl_text *t, long by)
{
    const long to = (long)t->row + by, last = (long)t->lines.n - 1;
    hl_text_to(t, (size_t)(to < 0 ? 0 : to > last ? last : to), t->line.cursor);
}

/* What leaves the row; false: the key stays in it. */
static bool cross(hl_text *t, int key, int page)
{
    const bool at_start = t->line.cursor == 0, at_end = t->line.cursor == t->line.text.n;
    const bool has_below = t->row + 1 < t->lines.n;
    switch (key) {
    case HL_KEY_UP:
    case HL_CTRL('p'):
        move_rows(t, -1);
        return true;
    case HL_KEY_DOWN:
    case HL_CTRL('n'):
        move_rows(t, 1);
        return true;
    case HL_KEY_PAGE_UP:
        move_rows(t, -page);
        return true;
    case HL_KEY_PAGE_DOWN:
        move_rows(t, page);
        return true;
    case HL_KEY_ENTER:
        enter(t);
        return true;
    case HL_KEY_TAB:
        insert(t, "  ", 2);
        return true;
    case HL_KEY_LEFT:
        if (at_start && t->row > 0)
            hl_text_to(t, t->row - 1, SIZE_MAX);
        return at_start;
    case HL_KEY_RIGHT:
        if (at_end && has_below)
            hl_text_to(t, t->row + 1, 0);
        return at_end;
    case HL_KEY_BACKSPACE:
    case HL_CTRL('h'):
        if (at_start && t->row > 0)
            join_below(t, t->row - 1);
        return at_start;
    case HL_KEY_DELETE:
    case HL_CTRL('d'):
    case HL_CTRL('k'):
        if (at_end && has_below)
            join_below(t, t->row);
        return at_end;
    default:
        return false;
    }
}

bool hl_text_key(hl_text *t, int key, int page)
{
    if (t->lines.n == 0)
        return false;
    if (cross(t, key, page))
        return true;
    hl_line before = {.cursor = t->line.cursor};
    if (!hl_line_key(&t->line, key))
        return false;
    if (strcmp(hl_str_text(&t->line.text), t->lines.at[t->row]) != 0) {
        const size_t now = t->line.cursor, row = t->row;
        t->line.cursor = before.cursor; /* what undoing goes back to */
        put(t, row, 1, hl_str_text(&t->line.text), true);
        hl_text_to(t, row, now);
    } else if (t->done.n) {
        t->done.at[t->done.n - 1].is_typing = false; /* moved: what follows is another change */
    }
    return true;
}

/* ---- search ---- */

/* The last place of the word before byte `end`; NULL: none. */
static const char *find_last(const char *line, const char *word, size_t end)
{
    const char *found = NULL;
    for (const char *at = strstr(line, word); at && (size_t)(at - line) < end;
         at = strstr(at + 1, word))
        found = at;
    return found;
}

bool hl_text_find(hl_text *t, const char *word, int way)
{
    const size_t n = t->lines.n;
    if (!*word)
        return false;
    for (size_t i = 0; i <= n; i++) {
        const size_t row = way > 0 ? (t->row + i) % n : (t->row + 2 * n - i) % n;
        const char *line = t->lines.at[row], *at;
        if (way > 0)
            at = i                               ? strstr(line, word)
                 : t->line.cursor < strlen(line) ? strstr(line + t->line.cursor + 1, word)
                                                 : NULL;
        else
            at = find_last(line, word, i ? SIZE_MAX : t->line.cursor);
        if (at) {
            hl_text_to(t, row, (size_t)(at - line));
            return true;
        }
    }
    return false;
}
