#define _GNU_SOURCE
#include "views/term.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "views/term_input.h"
#include "views/term_internal.h"

/* --- names of keys --- */

static void expect_round_trip(int key)
{
    char name[24];
    int back = -1;
    hl_key_name(name, key);
    cr_expect(hl_key_from(name, &back) && back == key, "%#x is %s is %#x", (unsigned)key, name,
              (unsigned)back);
}

Test(term_keys, names_lead_back)
{
    for (int key = 0; key < 0x250; key++) {
        if (key >= 0x80 && key < 0xa0)
            continue;
        expect_round_trip(key);
        expect_round_trip(key | HL_ALT);
    }
    for (int key = HL_KEY_FIRST + 1; key < HL_KEY_END_OF_LIST; key++) {
        expect_round_trip(key);
        expect_round_trip(key | HL_ALT);
    }
    expect_round_trip(0x20ac);
    expect_round_trip(0x1f600);
}

Test(term_keys, are_called_as_the_guide_says)
{
    static const struct {
        int key;
        const char *name;
    } want[] = {{4, "C-d"},
                {HL_KEY_ENTER, "Enter"},
                {' ', "Space"},
                {HL_ALT | 'x', "A-x"},
                {'?', "?"},
                {HL_KEY_BACK_TAB, "S-Tab"},
                {HL_KEY_ESC, "Esc"},
                {28, "C-\\"},
                {0, "C-Space"},
                {0xe9, "\xc3\xa9"},
                {HL_ALT | HL_KEY_UP, "A-Up"},
                {'<', "<"}};
    char name[24];
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        cr_expect_str_eq(hl_key_name(name, want[i].key), want[i].name);
}

Test(term_keys, unknown_names)
{
    static const char *const wrong[] = {"", "Foo", "C-", "C-dd", "A-", "enter", "ab", "\xff"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int key = 77;
        cr_expect(!hl_key_from(wrong[i], &key) && key == 77, "\"%s\"", wrong[i]);
    }
    int key;
    cr_expect(hl_key_from("C-D", &key) && key == 4);
    cr_expect(hl_key_from("PageUp", &key) && key == HL_KEY_PAGE_UP);
    cr_expect(hl_key_from("M-x", &key) && key == (HL_ALT | 'x'));
}

Test(term_keys, scripts)
{
    static const int want[] = {'j', 'j', HL_KEY_ENTER, 4, '<', HL_ALT | 'x', 0xe9, '>', 'g'};
    const char *at = "jj<Enter><C-d><lt><A-x>\xc3\xa9>g";
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        int key = 0;
        cr_assert_eq(hl_key_script_next(&at, &key), HL_OK);
        cr_expect_eq(key, want[i], "key %zu is %#x", i, (unsigned)key);
    }
    cr_expect_str_eq(at, "");
    static const char *const wrong[] = {"<",           "<>",   "<Enter",
                                        "<NoSuchKey>", "\xff", "<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa>"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int key = 77;
        at = wrong[i];
        cr_expect_eq(hl_key_script_next(&at, &key), HL_E_ARG, "\"%s\"", wrong[i]);
        cr_expect(at == wrong[i] && key == 77);
    }
}

/* --- bytes to keys --- */

static hl_token feed(hl_decoder *d, const char *bytes, size_t n, hl_input *out)
{
    size_t room;
    unsigned char *to = hl_decoder_space(d, &room);
    cr_assert_geq(room, n);
    memcpy(to, bytes, n);
    hl_decoder_fed(d, n, d->fed_ns + 1000000);
    return hl_decoder_next(d, false, out);
}

static void expect_keys(const char *bytes, const char *names)
{
    hl_decoder d = {0};
    hl_str got = {0};
    hl_input in;
    hl_token token = feed(&d, bytes, strlen(bytes), &in);
    while (token == HL_TOKEN_KEY || token == HL_TOKEN_MORE) {
        char name[24];
        if (token == HL_TOKEN_KEY)
            hl_str_addf(&got, "%s%s", got.n ? " " : "", hl_key_name(name, in.key));
        token = hl_decoder_next(&d, token == HL_TOKEN_MORE, &in);
    }
    cr_expect_str_eq(hl_str_text(&got), names);
    cr_expect_eq(d.n, 0);
    hl_str_done(&got);
    hl_decoder_done(&d);
}

Test(term_input, keys)
{
    expect_keys("aZ?", "a Z ?");
    expect_keys("\x03\r\t\x7f", "C-c Enter Tab Backspace");
    expect_keys("\033", "Esc");
    expect_keys("\033\033", "Esc Esc");
    expect_keys("\033x\033\033[A", "A-x A-Up");
    expect_keys("\033\033x", "Esc A-x");
    expect_keys("\033[A\033OB\033[C\033OD", "Up Down Right Left");
    expect_keys("\033[1~\033[4~\033[5~\033[6~\033[2~\033[3~", "Home End PgUp PgDn Insert Delete");
    expect_keys("\033[7~\033[8~\033OH\033OF\033[H\033[F", "Home End Home End Home End");
    expect_keys("\033OP\033[12~\033[[C\033[14~", "F1 F2 F3 F4");
    expect_keys("\033[Z\033[1;3A\033[1;5C\033[5;3~", "S-Tab A-Up Right A-PgUp");
    expect_keys("\033OM\033Op\033Oy\033Ok", "Enter 0 9 +");
    expect_keys("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    expect_keys("\033[", "A-[");
    expect_keys("\033O", "A-O");
}

Test(term_input, nothing_leaks_out_of_unknown_sequences)
{
    expect_keys("\033[99~a", "a");
    expect_keys("\033[?1;2ca", "a");
    expect_keys("\033[>41;354;0ca", "a");
    expect_keys("\033[38:5:3ma", "a");
    expect_keys("\033[Ia\033[Ob", "a b");
    expect_keys("\033[M !!a", "Mouse a");
    expect_keys("\033[[Za", "a");
    expect_keys("\033[12\001a", "C-a a");
    expect_keys("\xff\xfe"
                "a\xc3",
                "a");
    expect_keys("\xc2\x85"
                "b",
                "b");
    expect_keys("\033[12;", "");
}

Test(term_input, sequences_in_pieces)
{
    static const char bytes[] = "\033[1;3A\xe2\x82\xac\033[<0;10;5M\033OP";
    hl_decoder d = {0};
    hl_input in;
    int keys[8], n = 0;
    for (size_t i = 0; i + 1 < sizeof bytes; i++)
        for (hl_token t = feed(&d, bytes + i, 1, &in); t == HL_TOKEN_KEY;
             t = hl_decoder_next(&d, false, &in))
            keys[n++] = in.key;
    cr_assert_eq(n, 4);
    cr_expect(keys[0] == (HL_ALT | HL_KEY_UP) && keys[1] == 0x20ac && keys[2] == HL_KEY_MOUSE &&
              keys[3] == HL_KEY_F1);
    hl_decoder_done(&d);
}

Test(term_input, the_terminals_own_erase_key)
{
    hl_decoder d = {.erase = 8};
    hl_input in;
    cr_expect(feed(&d, "\b", 1, &in) == HL_TOKEN_KEY && in.key == HL_KEY_BACKSPACE);
    d.erase = 0;
    cr_expect(feed(&d, "\b", 1, &in) == HL_TOKEN_KEY && in.key == HL_CTRL('h'));
    hl_decoder_done(&d);
}

Test(term_input, answers)
{
    hl_decoder d = {0};
    hl_input in;
    cr_expect_eq(feed(&d, "\033[0n", 4, &in), HL_TOKEN_STATUS);
    cr_expect_eq(feed(&d, "\033[?2026;2$y", 11, &in), HL_TOKEN_MODE);
    cr_expect(d.mode == 2026 && d.mode_value == 2);
    cr_expect_eq(feed(&d, "\033[3n", 4, &in), HL_TOKEN_NONE);
    /* Esc was pressed while one was on its way */
    cr_expect(feed(&d, "\033\033[0n", 5, &in) == HL_TOKEN_KEY && in.key == HL_KEY_ESC);
    cr_expect_eq(hl_decoder_next(&d, false, &in), HL_TOKEN_STATUS);
    cr_expect(feed(&d, "\033\033[?2026;1$y", 12, &in) == HL_TOKEN_KEY && in.key == HL_KEY_ESC);
    cr_expect_eq(hl_decoder_next(&d, false, &in), HL_TOKEN_MODE);
    cr_expect_eq(d.mode_value, 1);
    hl_decoder_done(&d);
}

static void expect_mouse(hl_decoder *d, const char *bytes, hl_mouse_what what, int x, int y)
{
    hl_input in = {0};
    hl_token t = feed(d, bytes, strlen(bytes), &in);
    cr_expect(t == HL_TOKEN_KEY && in.key == HL_KEY_MOUSE && in.mouse.what == what &&
                  in.mouse.x == x && in.mouse.y == y,
              "%s: %d at %d,%d", bytes + 1, (int)in.mouse.what, in.mouse.x, in.mouse.y);
}

Test(term_input, mouse)
{
    hl_decoder d = {0};
    hl_input in;
    expect_mouse(&d, "\033[<0;300;100M", HL_MOUSE_PRESS, 299, 99);
    expect_mouse(&d, "\033[<0;300;100m", HL_MOUSE_RELEASE, 299, 99);
    expect_mouse(&d, "\033[<0;300;100M", HL_MOUSE_DOUBLE, 299, 99);
    expect_mouse(&d, "\033[<0;300;100M", HL_MOUSE_PRESS, 299, 99);
    expect_mouse(&d, "\033[<0;301;100M", HL_MOUSE_PRESS, 300, 99);
    d.fed_ns += 301000000;
    expect_mouse(&d, "\033[<0;301;100M", HL_MOUSE_PRESS, 300, 99);
    expect_mouse(&d, "\033[<32;302;100M", HL_MOUSE_DRAG, 301, 99);
    expect_mouse(&d, "\033[<2;1;1M", HL_MOUSE_RIGHT, 0, 0);
    expect_mouse(&d, "\033[<34;2;1M", HL_MOUSE_RIGHT, 1, 0);
    expect_mouse(&d, "\033[<64;1;1M", HL_MOUSE_WHEEL_UP, 0, 0);
    expect_mouse(&d, "\033[<81;1;1M", HL_MOUSE_WHEEL_DOWN, 0, 0); /* with control */
    expect_mouse(&d, "\033[M %&", HL_MOUSE_PRESS, 4, 5);
    cr_expect_eq(feed(&d, "\033[<1;1;1M", 9, &in), HL_TOKEN_NONE);
    cr_expect_eq(feed(&d, "\033[<2;1;1m", 9, &in), HL_TOKEN_NONE);
    hl_decoder_done(&d);
}

static void expect_paste(const char *bytes, const char *text)
{
    hl_decoder d = {0};
    hl_input in = {0};
    hl_token t = HL_TOKEN_NONE;
    for (size_t i = 0; i < strlen(bytes); i++) /* every piece is one byte */
        t = feed(&d, bytes + i, 1, &in);
    cr_expect(t == HL_TOKEN_KEY && in.key == HL_KEY_PASTE);
    cr_expect_str_eq(in.text, text);
    hl_decoder_done(&d);
}

Test(term_input, paste)
{
    expect_paste("\033[200~hello\rworld\t\r\n!\033[201~", "hello\nworld\t\n!");
    expect_paste("\033[200~a\033[Ab\x01\x7f\xff\xc2\x85"
                 "c\033[201~",
                 "a[Abc");
    expect_paste("\033[200~\xc3\xa9\033\033[201~", "\xc3\xa9");
    expect_paste("\033[200~\033[201~", "");
}

Test(term_input, paste_is_bounded)
{
    hl_decoder d = {0};
    hl_input in = {0};
    feed(&d, "\033[200~", 6, &in);
    char block[999];
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 200; i++)
        cr_assert_eq(feed(&d, block, sizeof block, &in), HL_TOKEN_NONE);
    cr_expect_eq(feed(&d, "\033[201~", 6, &in), HL_TOKEN_KEY);
    cr_expect_eq(strlen(in.text), HL_PASTE_MAX_BYTES);
    cr_expect(feed(&d, "a", 1, &in) == HL_TOKEN_KEY && in.key == 'a');
    feed(&d, "\033[200~", 6, &in);
    size_t room; /* its end was lost */
    *hl_decoder_space(&d, &room) = 'b';
    hl_decoder_fed(&d, 1, d.fed_ns + 2000000000);
    cr_expect(hl_decoder_next(&d, false, &in) == HL_TOKEN_KEY && in.key == 'b');
    hl_decoder_done(&d);
}

/* Any bytes: no crash, no endless loop, keys within their range. */
Test(term_input, noise)
{
    static const char alphabet[] = "\033\033\033[[<?;;0123456789~MmAOPRn$y\xc3\xa9\xff\x01 abc";
    hl_decoder d = {0};
    uint64_t state = 12345;
    for (int i = 0; i < 200000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        hl_input in = {0};
        char c = alphabet[(state >> 33) % (sizeof alphabet - 1)];
        hl_token t = feed(&d, &c, 1, &in);
        for (int n = 0; t != HL_TOKEN_NONE && t != HL_TOKEN_MORE; n++) {
            cr_assert_lt(n, 100);
            if (t == HL_TOKEN_KEY)
                cr_assert((in.key & ~HL_ALT) >= 0 && (in.key & ~HL_ALT) < HL_KEY_END_OF_LIST);
            t = hl_decoder_next(&d, false, &in);
        }
        if (t == HL_TOKEN_MORE && (state >> 60) == 0)
            while (hl_decoder_next(&d, true, &in) == HL_TOKEN_KEY)
                ;
        cr_assert_lt(d.n, 100);
    }
    hl_decoder_done(&d);
}

/* --- the dump terminal --- */

Test(term_dump, gives_the_keys_of_its_script)
{
    hl_term *t = NULL;
    hl_input in;
    int cols, rows;
    hl_term_options o = {.glyphs = "half", .theme = "light"};
    cr_assert_eq(hl_term_dump_open(&o, 40, 10, "j<Enter>", &t), HL_OK);
    hl_term_size(t, &cols, &rows);
    cr_expect(cols == 40 && rows == 10);
    cr_expect_eq(hl_term_glyphs(t), HL_GLYPHS_HALF);
    cr_expect_str_eq(hl_term_theme(t), "light");
    cr_expect(hl_term_fd(t) == -1 && hl_term_signal_fd(t) == -1 && hl_term_ready(t));
    cr_expect(hl_term_read(t, &in) && in.key == 'j');
    cr_expect(hl_term_read(t, &in) && in.key == HL_KEY_ENTER);
    cr_expect(!hl_term_read(t, &in));
    hl_grid g = {0};
    cr_assert_eq(hl_grid_resize(&g, 40, 10), HL_OK);
    hl_term_show(t, &g);
    hl_term_repaint(t);
    hl_term_suspend(t);
    hl_term_set_mouse(t, true);
    hl_term_set_glyphs(t, HL_GLYPHS_ASCII);
    cr_expect_eq(hl_term_glyphs(t), HL_GLYPHS_ASCII);
    cr_expect(!hl_term_copy(t, "x"));
    cr_expect(hl_term_round_trip_ms(t) < 0 && hl_term_end_signal(t) == 0);
    cr_expect_eq(hl_term_set_theme(t, "no such"), HL_E_NOTFOUND);
    cr_expect(strstr(hl_err_message(), "colorblind") != NULL);
    cr_expect_str_eq(hl_term_theme(t), "light");
    hl_grid_done(&g);
    hl_term_close(t);
    hl_term_close(NULL);
}

Test(term_dump, refuses_what_it_does_not_know)
{
    hl_term *t = NULL;
    cr_expect_eq(hl_term_dump_open(NULL, 4, 1, "<Foo>", &t), HL_E_ARG);
    cr_expect_eq(hl_term_dump_open(&(hl_term_options){.glyphs = "dots"}, 4, 1, "", &t), HL_E_ARG);
    cr_expect_eq(hl_term_dump_open(&(hl_term_options){.theme = "dark"}, 4, 1, "", &t),
                 HL_E_NOTFOUND);
    cr_expect_eq(t, NULL);
}

Test(term_dump, prints_a_grid)
{
    hl_grid g = {.glyphs = HL_GLYPHS_BRAILLE};
    hl_str out = {0};
    cr_assert_eq(hl_grid_resize(&g, 12, 3), HL_OK);
    hl_canvas c = hl_grid_canvas(&g);
    hl_put(c, 1, 0, HL_STYLE(TEXT), "a\xc3\xa9 \xe6\xbc\xa2 x");
    hl_put_char(c, 11, 2, HL_STYLE(TEXT), 0x28ff);
    hl_grid_print(&g, &out);
    cr_expect_str_eq(hl_str_text(&out), " a\xc3\xa9 \xe6\xbc\xa2 x\n\n           \xe2\xa3\xbf\n");
    hl_str_done(&out);
    hl_grid_done(&g);
}

/* --- choices --- */

Test(term_choose, glyphs_follow_locale_and_terminal)
{
    hl_term t = {0};
    unsetenv("HOPLAB_GLYPHS");
    cr_assert(setlocale(LC_CTYPE, "C.UTF-8") != NULL);
    static const struct {
        const char *term;
        hl_glyphs want;
    } rows[] = {{"xterm", HL_GLYPHS_BRAILLE},
                {"screen", HL_GLYPHS_BRAILLE},
                {"linux", HL_GLYPHS_ASCII},
                {"vt100", HL_GLYPHS_ASCII},
                {NULL, HL_GLYPHS_BRAILLE}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(hl_term_choose(&t, NULL, rows[i].term), HL_OK);
        cr_expect_eq(t.glyphs, rows[i].want, "row %zu", i);
    }
    setenv("HOPLAB_GLYPHS", "block", 1);
    cr_expect(hl_term_choose(&t, NULL, "linux") == HL_OK && t.glyphs == HL_GLYPHS_BLOCK);
    hl_term_options o = {.glyphs = "half"};
    cr_expect(hl_term_choose(&t, &o, "linux") == HL_OK && t.glyphs == HL_GLYPHS_HALF);
    unsetenv("HOPLAB_GLYPHS");
    setlocale(LC_CTYPE, "C");
    cr_expect(hl_term_choose(&t, NULL, "xterm") == HL_OK && t.glyphs == HL_GLYPHS_ASCII);
}

Test(term_choose, colours)
{
    static const struct {
        const char *wanted, *no_color;
        int n;
        hl_color_depth want;
    } rows[] = {{NULL, NULL, 256, HL_COLOR_256},     {"auto", "", 8, HL_COLOR_16},
                {"256", NULL, 8, HL_COLOR_16},       {"16", NULL, 256, HL_COLOR_16},
                {"never", NULL, 256, HL_COLOR_MONO}, {"256", "1", 256, HL_COLOR_MONO},
                {NULL, NULL, -1, HL_COLOR_MONO},     {NULL, NULL, 1 << 24, HL_COLOR_256}};
    hl_color_depth depth;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].no_color)
            setenv("NO_COLOR", rows[i].no_color, 1);
        else
            unsetenv("NO_COLOR");
        cr_expect_eq(hl_term_choose_depth(rows[i].wanted, rows[i].n, &depth), HL_OK);
        cr_expect_eq(depth, rows[i].want, "row %zu", i);
    }
    cr_expect_eq(hl_term_choose_depth("many", 256, &depth), HL_E_ARG);
}

/* --- themes --- */

Test(term_theme, every_role_has_a_look)
{
    const hl_theme *t;
    size_t n = 0;
    for (; (t = hl_theme_at(n)); n++)
        for (int i = 0; i < HL_ROLE_COUNT; i++) {
            const hl_role_look *l = &t->look[i];
            bool empty = l->fg16 == 0 && l->fg256 == 0 && l->bg16 == 0 && l->bg256 == 0;
            cr_expect(!empty, "%s has nothing for role %d", t->name, i);
            cr_expect(l->fg16 >= -1 && l->fg16 < 16 && l->bg16 >= -1 && l->bg16 < 16);
            cr_expect(l->fg256 >= -1 && l->fg256 < 256 && l->bg256 >= -1 && l->bg256 < 256);
            cr_expect(l->fg16 == -1 || l->fg16 != l->bg16, "%s: role %d is invisible", t->name, i);
            cr_expect(l->fg256 == -1 || l->fg256 != l->bg256);
        }
    cr_expect_eq(n, 5);
}

/* What is told by colour is told by marks where there is none. */
Test(term_theme, marks_stand_for_colours)
{
    static const int apart[][2] = {{HL_ROLE_SELECT, HL_ROLE_TEXT},  {HL_ROLE_BAD, HL_ROLE_TEXT},
                                   {HL_ROLE_WARN, HL_ROLE_TEXT},    {HL_ROLE_BAD, HL_ROLE_WARN},
                                   {HL_ROLE_FOCUS, HL_ROLE_BORDER}, {HL_ROLE_KEY, HL_ROLE_TEXT}};
    const hl_theme *t;
    for (size_t n = 0; (t = hl_theme_at(n)); n++) {
        for (size_t i = 0; i < sizeof apart / sizeof *apart; i++)
            cr_expect_neq(t->look[apart[i][0]].mono_marks, t->look[apart[i][1]].mono_marks,
                          "%s, pair %zu", t->name, i);
        for (int i = 0; i < HL_SERIES_ROLES; i++)
            for (int k = 0; k < i; k++)
                cr_expect_neq(t->look[HL_ROLE_SERIES + i].mono_marks,
                              t->look[HL_ROLE_SERIES + k].mono_marks);
    }
}

Test(term_theme, is_found)
{
    const hl_theme *t = NULL;
    unsetenv("HOPLAB_THEME");
    unsetenv("COLORFGBG");
    cr_expect(hl_theme_find(NULL, &t) == HL_OK && strcmp(t->name, "default") == 0);
    setenv("COLORFGBG", "0;default;15", 1);
    cr_expect(hl_theme_find(NULL, &t) == HL_OK && strcmp(t->name, "light") == 0);
    setenv("COLORFGBG", "15;0", 1);
    cr_expect(hl_theme_find(NULL, &t) == HL_OK && strcmp(t->name, "default") == 0);
    setenv("HOPLAB_THEME", "mono", 1);
    cr_expect(hl_theme_find(NULL, &t) == HL_OK && t->mono);
    cr_expect(hl_theme_find("high-contrast", &t) == HL_OK && !t->mono);
}

Test(term_theme, roles_change_by_words)
{
    hl_theme t = *hl_theme_at(0);
    const uint8_t without = t.look[HL_ROLE_GOOD].mono_marks;
    cr_expect_eq(hl_theme_change(&t, "bad", "196/9 on 16/0 bold underline"), HL_OK);
    const hl_role_look bad = t.look[HL_ROLE_BAD];
    cr_expect(bad.fg256 == 196 && bad.fg16 == 9 && bad.bg256 == 16 && bad.bg16 == 0);
    cr_expect(bad.marks == (HL_BOLD | HL_UNDERLINE) && bad.mono_marks == bad.marks);
    cr_expect_eq(hl_theme_change(&t, "good", "28"), HL_OK); /* a colour alone is not all it has */
    cr_expect(t.look[HL_ROLE_GOOD].fg16 == 2 && t.look[HL_ROLE_GOOD].mono_marks == without);
    cr_expect_eq(hl_theme_change(&t, "heat8", "default"), HL_OK);
    cr_expect_eq(t.look[HL_ROLE_HEAT + 7].fg256, -1);
    static const char *const wrong[][2] = {{"heat9", "1"}, {"hea", "1"},    {"", "1"},
                                           {"bad", "256"}, {"bad", "1/16"}, {"bad", "reddish"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_expect_neq(hl_theme_change(&t, wrong[i][0], wrong[i][1]), HL_OK, "%s %s", wrong[i][0],
                      wrong[i][1]);
}

Test(term_theme, are_added)
{
    hl_term *t;
    hl_theme mine = *hl_theme_at(1);
    cr_assert_eq(hl_term_dump_open(&(hl_term_options){0}, 4, 1, "", &t), HL_OK);
    cr_expect_eq(hl_term_add_theme(t, "light", &mine), HL_E_ARG);
    cr_expect_eq(hl_term_add_theme(t, "", &mine), HL_E_ARG);
    cr_expect_eq(hl_term_add_theme(t, "mine", &mine), HL_OK);
    cr_expect_str_eq(hl_term_own_theme(t, 0), "mine");
    cr_expect_null(hl_term_own_theme(t, 1));
    cr_expect_eq(hl_term_set_theme(t, "mine"), HL_OK);
    mine.look[HL_ROLE_BAD].fg256 = 7;
    cr_expect_eq(hl_term_add_theme(t, "mine", &mine), HL_OK);
    cr_expect_eq(hl_term_look(t)->look[HL_ROLE_BAD].fg256, 7);
    cr_expect_str_eq(hl_term_theme(t), "mine");
    hl_term_close(t);
}
