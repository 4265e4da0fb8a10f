/* What the emulator shows: as text, as looks, and compared with a file. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/screens/harness_internal.h"

typedef struct text {
    char *s;
    size_t n, cap;
} text;

static void add(text *t, const char *bytes, size_t n)
{
    if (t->n + n + 1 > t->cap) {
        t->cap = (t->n + n + 1) * 2;
        t->s = realloc(t->s, t->cap);
        if (!t->s)
            abort();
    }
    memcpy(t->s + t->n, bytes, n);
    t->n += n;
    t->s[t->n] = '\0';
}

static void add_char(text *t, uint32_t ch)
{
    char b[4];
    size_t n = 1;
    if (ch < 0x80) {
        b[0] = (char)ch;
    } else if (ch < 0x800) {
        b[0] = (char)(0xc0 | ch >> 6);
        b[n++] = (char)(0x80 | (ch & 0x3f));
    } else {
        b[0] = ch < 0x10000 ? (char)(0xe0 | ch >> 12) : (char)(0xf0 | ch >> 18);
        if (ch >= 0x10000)
            b[n++] = (char)(0x80 | (ch >> 12 & 0x3f));
        b[n++] = (char)(0x80 | (ch >> 6 & 0x3f));
        b[n++] = (char)(0x80 | (ch & 0x3f));
    }
    add(t, b, n);
}

static int color_number(const VTermColor *c)
{
    if (VTERM_COLOR_IS_DEFAULT_FG(c) || VTERM_COLOR_IS_DEFAULT_BG(c))
        return -1;
    return VTERM_COLOR_IS_INDEXED(c) ? c->indexed.idx : -2;
}

screen_cell screen_cell_at(const screen *s, int x, int y)
{
    VTermScreenCell c = {0};
    vterm_screen_get_cell(s->picture, (VTermPos){.row = y, .col = x}, &c);
    return (screen_cell){.ch = c.chars[0] == (uint32_t)-1 ? 0 : c.chars[0],
                         .width = c.width,
                         .fg = color_number(&c.fg),
                         .bg = color_number(&c.bg),
                         .bold = c.attrs.bold,
                         .underline = c.attrs.underline != 0,
                         .reverse = c.attrs.reverse};
}

void screen_cursor(const screen *s, int *x, int *y)
{
    VTermPos at;
    vterm_state_get_cursorpos(vterm_obtain_state(s->vt), &at);
    *x = at.col;
    *y = at.row;
}

char *screen_text(screen *s)
{
    text t = {0};
    size_t end = 0;
    add(&t, "", 0);
    for (int y = 0; y < s->rows; y++) {
        size_t line_end = t.n;
        for (int x = 0; x < s->cols;) {
            screen_cell c = screen_cell_at(s, x, y);
            add_char(&t, c.ch ? c.ch : ' ');
            x += c.width > 1 ? c.width : 1;
            if (c.ch && c.ch != ' ')
                line_end = t.n;
        }
        t.n = line_end;
        add(&t, "\n", 1);
        if (t.n > 1 && t.s[t.n - 2] != '\n')
            end = t.n;
    }
    t.s[end] = '\0';
    return t.s;
}

static bool same_looks(const screen_cell *a, const screen_cell *b)
{
    return a->fg == b->fg && a->bg == b->bg && a->bold == b->bold && a->underline == b->underline &&
           a->reverse == b->reverse;
}

static void add_color(text *t, const char *name, int color)
{
    char b[24];
    int n = snprintf(b, sizeof b, color == -1 ? " %s=-" : " %s=%d", name, color);
    add(t, b, (size_t)n);
}

char *screen_looks(screen *s)
{
    static const screen_cell plain = {.fg = -1, .bg = -1};
    text t = {0};
    add(&t, "", 0);
    for (int y = 0; y < s->rows; y++)
        for (int x = 0, end; x < s->cols; x = end) {
            screen_cell c = screen_cell_at(s, x, y);
            for (end = x + 1; end < s->cols; end++) {
                screen_cell next = screen_cell_at(s, end, y);
                if (!same_looks(&c, &next))
                    break;
            }
            if (same_looks(&c, &plain))
                continue;
            char b[64];
            add(&t, b, (size_t)snprintf(b, sizeof b, "%d %d-%d", y, x, end - 1));
            add_color(&t, "fg", c.fg);
            add_color(&t, "bg", c.bg);
            const char *marks[] = {c.bold ? " bold" : "", c.underline ? " underline" : "",
                                   c.reverse ? " reverse" : "", "\n"};
            for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
                add(&t, marks[i], strlen(marks[i]));
        }
    return t.s;
}

/* ---- comparison ---- */

static char *read_all(const char *path)
{
    text t = {0};
    char bytes[4096];
    size_t n;
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    add(&t, "", 0);
    while ((n = fread(bytes, 1, sizeof bytes, f)) > 0)
        add(&t, bytes, n);
    fclose(f);
    return t.s;
}

static void print_difference(const char *want, const char *have, const char *path)
{
    fprintf(stderr, "--- %s\n+++ the screen\n", path);
    for (int line = 1; *want || *have; line++) {
        size_t n_want = strcspn(want, "\n"), n_have = strcspn(have, "\n");
        if (n_want != n_have || memcmp(want, have, n_want) != 0 || !*want != !*have) {
            if (*want)
                fprintf(stderr, "%3d -%.*s\n", line, (int)n_want, want);
            if (*have)
                fprintf(stderr, "%3d +%.*s\n", line, (int)n_have, have);
        }
        want += n_want + (want[n_want] == '\n');
        have += n_have + (have[n_have] == '\n');
    }
}

static bool write_all(const char *path, const char *what)
{
    FILE *f = fopen(path, "w");
    bool good = f && fputs(what, f) >= 0;
    if (!f || fclose(f) != 0 || !good) {
        fprintf(stderr, "harness: %s: %s\n", path, strerror(errno));
        return false;
    }
    return true;
}

bool screen_expect_text(const char *have, const char *path)
{
    const char *top = getenv("HOPLAB_SOURCE"), *update = getenv("HOPLAB_UPDATE_GOLDEN");
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", top ? top : ".", path);
    if (update && strcmp(update, "1") == 0)
        return write_all(full, have);
    char *want = read_all(full);
    if (!want)
        fprintf(stderr, "harness: %s cannot be read; HOPLAB_UPDATE_GOLDEN=1 writes it\n", full);
    bool same = want && strcmp(want, have) == 0;
    if (!same)
        print_difference(want ? want : "", have, path);
    free(want);
    return same;
}

bool screen_expect(screen *s, const char *path)
{
    char *have = screen_text(s);
    bool same = screen_expect_text(have, path);
    free(have);
    return same;
}
