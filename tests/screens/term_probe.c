/* A small program on the real terminal, for the tests of it. Draws one page and does what keys say:
 * q quit, x change one cell, l a new line of the chart, p repaint, t next theme, m mouse, y copy,
 * c cursor, w width of ambiguous characters, e words to stderr, f fetch them, Ctrl-z suspend,
 * S A F crash, H hang, anything else: shows its name. Exit status: 0; 2 when the terminal cannot be
 * taken; 100 + the signal that ended it. */
#define _GNU_SOURCE
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "views/term.h"
#include "views/term_theme.h"

typedef struct probe {
    hl_term *term;
    hl_grid grid;
    char said[512];
    int n_keys, n_lines, n_cells;
    bool mouse, cursor, quit;
    size_t theme;
} probe;

static void draw_looks(hl_canvas c)
{
    static const char *const names[] = {
#define ROLE_NAME(upper, name) name,
        HL_ROLES(ROLE_NAME)
#undef ROLE_NAME
    };
    int x = 0;
    for (int i = 0; i < HL_ROLE_SERIES; i++) {
        hl_put(c, x, 1, (hl_style){.role = (uint8_t)i}, names[i]);
        x += (int)strlen(names[i]) + 1;
    }
    for (int i = 0; i < HL_SERIES_ROLES; i++)
        hl_putf(c, 4 * i, 2, (hl_style){.role = (uint8_t)(HL_ROLE_SERIES + i)}, "s%d", i);
    for (int i = 0; i < HL_HEAT_ROLES; i++)
        hl_putf(c, 40 + 4 * i, 2, (hl_style){.role = (uint8_t)(HL_ROLE_HEAT + i)}, "h%d", i);
    hl_put(c, 0, 3, (hl_style){.marks = HL_BOLD}, "bold");
    hl_put(c, 5, 3, (hl_style){.marks = HL_REVERSE}, "reverse");
    hl_put(c, 13, 3, (hl_style){.marks = HL_UNDERLINE}, "underline");
}

static void draw_characters(hl_canvas c)
{
    int x = 0;
    for (int i = 0; i < HL_SIGN_COUNT; i++, x += 2)
        hl_put_sign(c, x, 4, HL_STYLE(TEXT), (hl_sign)i);
    for (int i = 0; hl_is_utf8(&c) && i < 64; i++)
        hl_put_char(c, i, 5, HL_STYLE(TEXT), 0x2800 + (uint32_t)i * 4 + 3);
    hl_put(c, 0, 6, HL_STYLE(TEXT),
           "wide: \xe6\xbc\xa2\xe5\xad\x97 end, accents: \xc3\xa9\xc3\xa5");
}

/* One line of a chart of 60 columns that moves by one with each l. */
static void draw_line(const probe *p, hl_canvas c)
{
    hl_style s = {.role = HL_ROLE_SERIES};
    for (int x = 0; x < 60; x++) {
        int height = (x + p->n_lines) * 7 % 13 / 4;
        hl_put_char(c, x, 11, s, hl_is_utf8(&c) ? 0x2840 + (uint32_t)height : '.');
    }
}

static void draw(probe *p)
{
    int cols, rows;
    char glyphs[24];
    hl_term_size(p->term, &cols, &rows);
    if (hl_grid_resize(&p->grid, cols, rows) != HL_OK)
        return;
    p->grid.glyphs = hl_term_glyphs(p->term);
    p->grid.wide_ambiguous = hl_term_wide_ambiguous(p->term);
    p->grid.cursor_x = p->cursor ? 6 : -1;
    p->grid.cursor_y = p->cursor ? 8 : -1;
    hl_canvas c = hl_grid_canvas(&p->grid);
    snprintf(glyphs, sizeof glyphs, "%s", hl_glyphs_name(p->grid.glyphs));
    hl_putf(c, 0, 0, HL_STYLE(TITLE), "probe %dx%d %s colours %d %s", cols, rows, glyphs,
            (int)hl_term_colors(p->term), hl_term_theme(p->term));
    draw_looks(c);
    draw_characters(c);
    hl_putf(c, 0, 8, HL_STYLE(TEXT), "said: %s", p->said);
    hl_putf(c, 0, 9, HL_STYLE(TEXT), "keys: %d", p->n_keys);
    hl_put_char(c, 0, 10, HL_STYLE(BAD), 'a' + (uint32_t)(p->n_cells % 26));
    if (p->grid.wide_ambiguous) /* behind an accent */
        hl_put_char(c, 40, 6, HL_STYLE(TEXT), 'a' + (uint32_t)(p->n_cells % 26));
    draw_line(p, c);
    hl_put_frame(hl_canvas_part(c, 0, 12, 30, 4), true, "framed");
    hl_put(c, cols - 1, rows - 1, HL_STYLE(TEXT), "#");
}

static void crash(int key)
{
    long zero = strtol("0", NULL, 10);
    if (key == 'S')
        raise(SIGSEGV);
    if (key == 'A')
        abort();
    if (key == 'F')
        exit((int)(7 / zero));
    while (key == 'H' && getppid())
        pause();
}

static void fetch(probe *p)
{
    char text[256];
    size_t n = hl_term_take_stderr(p->term, text, sizeof text - 1);
    text[n] = '\0';
    snprintf(p->said, sizeof p->said, "fetched \"%s\"", text);
}

static void next_theme(probe *p)
{
    const hl_theme *next = hl_theme_at(++p->theme);
    if (!next)
        next = hl_theme_at(p->theme = 0);
    if (hl_term_set_theme(p->term, next->name) != HL_OK)
        snprintf(p->said, sizeof p->said, "%s", hl_err_message());
}

static void say_key(probe *p, const hl_input *in)
{
    static const char *const what[] = {"press", "double",   "release",   "drag",
                                       "right", "wheel up", "wheel down"};
    char name[24];
    p->n_keys++;
    if (in->key == HL_KEY_MOUSE)
        snprintf(p->said, sizeof p->said, "%s at %d,%d", what[in->mouse.what], in->mouse.x,
                 in->mouse.y);
    else if (in->key == HL_KEY_PASTE)
        snprintf(p->said, sizeof p->said, "pasted %zu: %s", strlen(in->text), in->text);
    else
        snprintf(p->said, sizeof p->said, "%s", hl_key_name(name, in->key));
}

static void act(probe *p, const hl_input *in)
{
    switch (in->key) {
    case 'q':
    case HL_KEY_QUIT:
        p->quit = true;
        break;
    case 'x':
        p->n_cells++;
        break;
    case 'l':
        p->n_lines++;
        break;
    case 'p':
        hl_term_repaint(p->term);
        break;
    case 't':
        next_theme(p);
        break;
    case 'm':
        hl_term_set_mouse(p->term, p->mouse = !p->mouse);
        break;
    case 'y':
        hl_term_copy(p->term, "copied \xe2\x82\xac");
        break;
    case 'c':
        p->cursor = !p->cursor;
        break;
    case 'w':
        hl_term_set_wide_ambiguous(p->term, !hl_term_wide_ambiguous(p->term));
        break;
    case 'e':
        fputs("words to stderr", stderr);
        break;
    case 'f':
        fetch(p);
        break;
    case HL_CTRL('z'):
    case HL_KEY_SUSPEND:
        hl_term_suspend(p->term);
        break;
    case 'S':
    case 'A':
    case 'F':
    case 'H':
        crash(in->key);
        break;
    case HL_KEY_RESIZE:
        break;
    default:
        say_key(p, in);
    }
}

static void run(probe *p)
{
    hl_input in;
    while (!p->quit) {
        bool ready = hl_term_ready(p->term);
        if (ready) {
            draw(p);
            hl_term_show(p->term, &p->grid);
        }
        struct pollfd fds[] = {{.fd = hl_term_fd(p->term), .events = POLLIN},
                               {.fd = hl_term_signal_fd(p->term), .events = POLLIN}};
        poll(fds, 2, ready ? -1 : 50);
        while (!p->quit && hl_term_read(p->term, &in))
            act(p, &in);
    }
}

int main(int argc, char **argv)
{
    enum { CANNOT = 2, ENDED = 100 };
    setlocale(LC_CTYPE, "");
    probe p = {.mouse = true};
    hl_term_options o = {.color = argc > 1 ? argv[1] : NULL, .theme = argc > 2 ? argv[2] : NULL};
    if (hl_term_curses_open(&o, &p.term) != HL_OK) {
        fprintf(stderr, "probe: %s\n", hl_err_message());
        return CANNOT;
    }
    run(&p);
    int ended = hl_term_end_signal(p.term);
    hl_term_close(p.term);
    hl_grid_done(&p.grid);
    printf("probe: the end\n");
    return ended ? ENDED + ended : 0;
}
