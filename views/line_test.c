#define _POSIX_C_SOURCE 200809L
#include "views/line.h"
#include "views/text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void type(hl_line *l, const char *text)
{
    for (; *text; text++)
        cr_assert(hl_line_key(l, (unsigned char)*text));
}

static const char *text(const hl_line *l)
{
    return hl_str_text(&l->text);
}

Test(line, editing)
{
    hl_line l = {0};
    type(&l, "set smoth");
    hl_line_key(&l, HL_KEY_LEFT);
    hl_line_key(&l, HL_KEY_LEFT);
    type(&l, "o");
    cr_assert_str_eq(text(&l), "set smooth");
    hl_line_key(&l, HL_ALT + 'b');
    cr_assert_eq(l.cursor, 4);
    hl_line_key(&l, HL_CTRL('k'));
    cr_assert_str_eq(text(&l), "set ");
    hl_line_key(&l, HL_CTRL('w'));
    cr_assert_str_eq(text(&l), "");
    hl_line_key(&l, HL_KEY_BACKSPACE);
    hl_line_key(&l, HL_KEY_DELETE);
    cr_assert_str_eq(text(&l), "");
    cr_assert(!hl_line_key(&l, HL_KEY_TAB));
    cr_assert(!hl_line_key(&l, HL_KEY_ENTER));
    cr_assert(!hl_line_key(&l, HL_KEY_MOUSE));
    hl_line_done(&l);
}

Test(line, characters_of_several_bytes_are_one)
{
    hl_line l = {0};
    hl_line_key(&l, 'a');
    hl_line_key(&l, 0x3b1);
    hl_line_key(&l, 0x6f22);
    hl_line_key(&l, 0x1f600);
    cr_assert_str_eq(text(&l), "a\xce\xb1\xe6\xbc\xa2\xf0\x9f\x98\x80");
    hl_line_key(&l, HL_KEY_LEFT);
    hl_line_key(&l, HL_KEY_BACKSPACE);
    cr_assert_str_eq(text(&l), "a\xce\xb1\xf0\x9f\x98\x80");
    hl_line_done(&l);
}

Test(line, a_paste_is_text_only)
{
    hl_line l = {0};
    hl_line_insert(&l, "a\033[2J\nb\xff\tc");
    cr_assert_str_eq(text(&l), "a[2Jbc");
    hl_line_done(&l);
}

Test(line, it_has_an_end)
{
    hl_line l = {0};
    for (int i = 0; i < HL_LINE_MAX + 100; i++)
        hl_line_key(&l, 'x');
    cr_assert_eq(l.text.n, HL_LINE_MAX);
    hl_line_done(&l);
}

Test(line, history_is_searched_by_what_was_typed)
{
    hl_history h = {0};
    hl_history_add(&h, "set smooth=.9");
    hl_history_add(&h, "pause");
    hl_history_add(&h, "set overlay=on");
    hl_history_add(&h, "set overlay=on");
    hl_history_add(&h, "");
    cr_assert_eq(h.lines.n, 3);
    hl_line l = {.past = &h};
    type(&l, "set");
    hl_line_key(&l, HL_KEY_UP);
    cr_assert_str_eq(text(&l), "set overlay=on");
    hl_line_key(&l, HL_KEY_UP);
    cr_assert_str_eq(text(&l), "set smooth=.9");
    hl_line_key(&l, HL_KEY_UP);
    cr_assert_str_eq(text(&l), "set smooth=.9");
    hl_line_key(&l, HL_KEY_DOWN);
    hl_line_key(&l, HL_KEY_DOWN);
    cr_assert_str_eq(text(&l), "set");
    hl_line_key(&l, HL_KEY_DOWN);
    cr_assert_str_eq(text(&l), "set");
    hl_line_done(&l);
    hl_history_done(&h);
}

Test(line, history_goes_to_a_file_and_comes_back)
{
    char path[] = "/tmp/hoplab-history-XXXXXX";
    close(mkstemp(path));
    hl_history h = {0}, back = {0};
    hl_history_add(&h, "one");
    hl_history_add(&h, "two");
    cr_assert_eq(hl_history_save(&h, path), HL_OK);
    hl_history_load(&back, path);
    cr_assert_eq(back.lines.n, 2);
    cr_assert_str_eq(back.lines.at[1], "two");
    hl_history_done(&back);
    remove(path);
    hl_history_load(&back, path);
    cr_assert_eq(back.lines.n, 0);
    for (int i = 0; i < HL_HISTORY_MAX + 5; i++) {
        char line[16];
        snprintf(line, sizeof line, "%d", i);
        hl_history_add(&h, line);
    }
    cr_assert_eq(h.lines.n, HL_HISTORY_MAX);
    cr_assert_str_eq(h.lines.at[0], "5");
    hl_history_done(&h);
}

Test(line, the_cursor_stays_in_view)
{
    hl_grid g = {0};
    hl_line l = {0};
    for (int w = 0; w < 12; w++) {
        cr_assert_eq(hl_grid_resize(&g, w, 1), HL_OK);
        hl_line_set(&l, "a long command line");
        hl_line_draw(hl_grid_canvas(&g), &l, ":");
        cr_assert(w < 2 ? g.cursor_x < w : g.cursor_x == w - 1, "width %d", w);
    }
    hl_line_done(&l);
    hl_grid_done(&g);
}

/* ---- many lines ---- */

static void type_text(hl_text *t, const char *keys)
{
    for (; *keys; keys++)
        cr_assert(hl_text_key(t, *keys == '\n' ? HL_KEY_ENTER : *keys, 10));
}

#define HAS(t, text)                                                                               \
    do {                                                                                           \
        hl_str all_ = {0};                                                                         \
        hl_text_get(t, &all_);                                                                     \
        cr_expect_str_eq(hl_str_text(&all_), text);                                                \
        hl_str_done(&all_);                                                                        \
    } while (0)

Test(text, is_edited_and_undone)
{
    hl_text t = {0};
    cr_assert_eq(hl_text_set(&t, "one\r\n  two\nthree\n"), HL_OK);
    cr_assert_eq(t.lines.n, 3);
    HAS(&t, "one\n  two\nthree\n");
    hl_text_to(&t, 1, SIZE_MAX);
    type_text(&t, "\nmore"); /* with the indentation of its line */
    HAS(&t, "one\n  two\n  more\nthree\n");
    cr_expect(t.is_changed && t.row == 2 && t.line.cursor == 6);
    hl_text_key(&t, HL_KEY_HOME, 1);
    hl_text_key(&t, HL_KEY_BACKSPACE, 1);
    HAS(&t, "one\n  two  more\nthree\n");
    hl_text_key(&t, HL_KEY_END, 1);
    hl_text_key(&t, HL_KEY_DELETE, 1);
    HAS(&t, "one\n  two  morethree\n");
    hl_text_insert(&t, "x\r\ny\x01z");
    HAS(&t, "one\n  two  morex\nyzthree\n");
    cr_expect(t.row == 2 && t.line.cursor == 2);
    static const char *const back[] = {"one\n  two  morethree\n", "one\n  two  more\nthree\n",
                                       "one\n  two\n  more\nthree\n", "one\n  two\n  \nthree\n",
                                       "one\n  two\nthree\n"};
    for (size_t i = 0; i < 5; i++) {
        cr_expect(hl_text_undo(&t));
        HAS(&t, back[i]);
    }
    cr_expect(!hl_text_undo(&t) && t.row == 1);
    for (size_t i = 4; i-- > 0;) {
        cr_expect(hl_text_redo(&t));
        HAS(&t, back[i]);
    }
    type_text(&t, "!"); /* what was undone is gone */
    cr_expect(!hl_text_redo(&t));
    hl_text_done(&t);
}

Test(text, edges)
{
    hl_text t = {0};
    cr_expect(!hl_text_key(&t, 'x', 1));
    cr_assert_eq(hl_text_set(&t, ""), HL_OK);
    cr_assert_eq(t.lines.n, 1);
    static const int keys[] = {HL_KEY_UP,    HL_KEY_DOWN,      HL_KEY_LEFT,
                               HL_KEY_RIGHT, HL_KEY_BACKSPACE, HL_KEY_DELETE,
                               HL_CTRL('k'), HL_KEY_PAGE_UP,   HL_KEY_PAGE_DOWN};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        cr_expect(hl_text_key(&t, keys[i], 10));
    HAS(&t, "\n");
    cr_expect(!hl_text_undo(&t) && !hl_text_find(&t, "x", 1) && !hl_text_find(&t, "", 1));
    cr_assert_eq(hl_text_set(&t, "ab ab\ncd ab"), HL_OK);
    static const size_t at[][2] = {{0, 3}, {1, 3}, {0, 0}};
    for (size_t i = 0; i < 3; i++)
        cr_expect(hl_text_find(&t, "ab", 1) && t.row == at[i][0] && t.line.cursor == at[i][1]);
    cr_expect(hl_text_find(&t, "ab", -1) && t.row == 1 && t.line.cursor == 3);
    cr_expect(hl_text_find(&t, "ab", -1) && t.row == 0 && t.line.cursor == 3);
    cr_expect(!hl_text_find(&t, "no", -1));
    hl_text_done(&t);
}
