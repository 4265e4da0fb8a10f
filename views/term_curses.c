/* The real terminal. ncurses knows its description, keeps what it shows and sends the difference;
 * keys, questions and answers go over the wire beside it (term_wire.h), modes are switched and
 * undone by term_guard.h. */
#define _GNU_SOURCE
#define NCURSES_WIDECHAR 1
#include <curses.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "engine/base/mem.h"
#include "views/term_guard.h"
#include "views/term_internal.h"
#include "views/term_wire.h"

typedef struct curses_term {
    hl_term base;
    SCREEN *screen;
    hl_wire wire;
    bool told_end;
    bool size_news; /* a RESIZE is due */
    /* what is shown */
    hl_grid shown;
    bool fresh; /* nothing of `shown` holds */
    bool cursor_on;
    bool colored; /* curses knows of colours */
    bool titled;  /* its title is on the terminal's stack */
    cchar_t *line;
    attr_t attrs[HL_ROLE_COUNT];
    short pairs[HL_ROLE_COUNT];
} curses_term;

/* ---- widths ---- */

/* What the terminal does; of the only screen, whose thread alone asks. */
static bool wide_ambiguous;

/* ncurses asks the C library, for which ambiguous characters take one column. Where the terminal
 * gives them two, everything behind one would be shown a column too far to the right. The program's
 * function comes before the library's, in ncurses too. Other libraries' wcswidth calls wcwidth. */
#ifdef __GLIBC__
__attribute__((visibility("default"))) int wcwidth(wchar_t ch)
{
    const int columns = wcswidth(&ch, 1);
    return columns == 1 && wide_ambiguous && hl_is_ambiguous((uint32_t)ch) ? 2 : columns;
}
#endif

/* ---- looks ---- */

/* A colour of 256 as a terminal with direct colour wants it; the first eight are the palette. */
static int direct_color(int c)
{
    static const int level[] = {0, 95, 135, 175, 215, 255};
    if (c >= 232)
        return (8 + 10 * (c - 232)) * 0x10101;
    if (c >= 16)
        return level[(c - 16) / 36] << 16 | level[(c - 16) / 6 % 6] << 8 | level[(c - 16) % 6];
    return c;
}

static attr_t attrs_of(unsigned marks)
{
    return (marks & HL_BOLD ? A_BOLD : 0) | (marks & HL_REVERSE ? A_REVERSE : 0) |
           (marks & HL_UNDERLINE ? A_UNDERLINE : 0) | (marks & HL_FAINT ? A_DIM : 0);
}

/* Colours beyond what the terminal has: the bright half of 16 is the other half in bold. */
static int color_of(const curses_term *t, int c16, int c256, attr_t *attrs)
{
    if (t->base.depth == HL_COLOR_256)
        return COLORS > 256 ? direct_color(c256) : c256;
    if (c16 >= COLORS && c16 >= 8) {
        *attrs |= A_BOLD;
        return c16 - 8;
    }
    return c16;
}

/* Not before colours are wanted: it writes to the terminal. */
static void start_colors(curses_term *t)
{
    if (t->colored || t->base.depth == HL_COLOR_MONO)
        return;
    t->colored = start_color() == OK && use_default_colors() == OK;
    if (!t->colored) {
        t->base.n_colors = 0;
        t->base.depth = HL_COLOR_MONO;
    }
}

static void make_looks(curses_term *t)
{
    start_colors(t);
    const hl_theme *theme = t->base.theme;
    bool mono = theme->mono || t->base.depth == HL_COLOR_MONO;
    for (int i = 0; i < HL_ROLE_COUNT; i++) {
        const hl_role_look *look = &theme->look[i];
        attr_t ignored = 0;
        t->attrs[i] = attrs_of(mono ? look->mono_marks : look->marks);
        t->pairs[i] = 0;
        if (mono)
            continue;
        if (t->base.depth == HL_COLOR_256 && look->fg256 >= 0)
            t->attrs[i] &= ~A_DIM; /* stands for a grey that fewer colours do not have */
        int fg = color_of(t, look->fg16, look->fg256, &t->attrs[i]);
        int bg = color_of(t, look->bg16, look->bg256, &ignored);
        /* the oldest one is used again where the terminal has too few */
        int pair = fg == -1 && bg == -1 ? 0 : alloc_pair(fg, bg);
        t->pairs[i] = (short)(pair > 0 ? pair : 0);
    }
}

static void curses_restyle(hl_term *base)
{
    curses_term *t = (curses_term *)base;
    make_looks(t);
    t->fresh = true;
}

/* ---- showing ---- */

/* The character as this terminal and the C library can show it in `columns` columns. */
static wchar_t shown_char(const curses_term *t, uint32_t ch, int columns)
{
    if (ch < 127)
        return ch < ' ' ? L' ' : (wchar_t)ch;
    if (!hl_term_is_utf8() || t->base.glyphs == HL_GLYPHS_ASCII)
        return L'?';
    if (wcwidth((wchar_t)ch) == columns)
        return (wchar_t)ch;
    return columns == 1 && !wide_ambiguous ? L'\xfffd' : L'?';
}

static void draw_row(curses_term *t, int y, const hl_cell *row, int cols)
{
    int n = 0;
    for (int x = 0; x < cols; x++) {
        bool wide = x + 1 < cols && row[x + 1].ch == HL_CELL_TAIL;
        uint32_t ch = row[x].ch == HL_CELL_TAIL ? '?' : row[x].ch;
        hl_style s = row[x].style;
        int role = s.role < HL_ROLE_COUNT ? s.role : HL_ROLE_TEXT;
        attr_t attrs = t->attrs[role] | attrs_of(s.marks);
        wchar_t text[2] = {shown_char(t, ch, wide ? 2 : 1), 0};
        setcchar(&t->line[n++], text, attrs, t->pairs[role], NULL);
        if (wide && wcwidth(text[0]) == 1) /* could not be shown in two */
            setcchar(&t->line[n++], L" ", attrs, t->pairs[role], NULL);
        x += wide;
    }
    mvadd_wchnstr(y, 0, t->line, n);
}

static bool same_cells(const hl_cell *a, const hl_cell *b, int n)
{
    for (int i = 0; i < n; i++)
        if (a[i].ch != b[i].ch || a[i].style.role != b[i].style.role ||
            a[i].style.marks != b[i].style.marks)
            return false;
    return true;
}

/* Brings the rows that differ to curses; false: none does. */
static bool draw_changes(curses_term *t, const hl_grid *g)
{
    int cols = g->cols < t->base.cols ? g->cols : t->base.cols;
    int rows = g->rows < t->base.rows ? g->rows : t->base.rows;
    bool changed = t->fresh;
    if (t->shown.cols != g->cols || t->shown.rows != g->rows) {
        t->fresh = changed = true;
        if (hl_grid_resize(&t->shown, g->cols, g->rows) != HL_OK)
            hl_err_clear(); /* all rows go to curses each time then */
        erase();
    }
    bool keep = t->shown.cols == g->cols && t->shown.rows == g->rows;
    for (int y = 0; y < rows; y++) {
        const hl_cell *row = g->cell + (size_t)y * (size_t)g->cols;
        hl_cell *old = keep ? t->shown.cell + (size_t)y * (size_t)g->cols : NULL;
        if (!t->fresh && old && same_cells(row, old, g->cols))
            continue;
        changed = true;
        draw_row(t, y, row, cols);
        if (old)
            memcpy(old, row, (size_t)g->cols * sizeof *row);
    }
    t->fresh = !keep;
    return changed;
}

static bool place_cursor(curses_term *t, const hl_grid *g)
{
    bool on = g->cursor_x >= 0 && g->cursor_y >= 0 && g->cursor_x < t->base.cols &&
              g->cursor_y < t->base.rows;
    bool changed = on != t->cursor_on ||
                   (on && (g->cursor_x != t->shown.cursor_x || g->cursor_y != t->shown.cursor_y));
    t->shown.cursor_x = g->cursor_x;
    t->shown.cursor_y = g->cursor_y;
    t->cursor_on = on;
    leaveok(stdscr, !on);
    if (on)
        move(g->cursor_y, g->cursor_x);
    return changed;
}

static void curses_show(hl_term *base, const hl_grid *g)
{
    curses_term *t = (curses_term *)base;
    if (t->wire.lost)
        return;
    wide_ambiguous = t->base.wide_ambiguous;
    bool was_on = t->cursor_on;
    bool changed = draw_changes(t, g);
    if (!place_cursor(t, g) && !changed)
        return;
    hl_wire_begin_frame(&t->wire);
    if (was_on && !t->cursor_on)
        curs_set(0);
    wnoutrefresh(stdscr);
    doupdate();
    if (t->cursor_on && !was_on)
        curs_set(1);
    hl_wire_end_frame(&t->wire);
}

static void curses_repaint(hl_term *base)
{
    curses_term *t = (curses_term *)base;
    clearok(curscr, TRUE);
    t->fresh = true;
}

/* ---- size, suspension ---- */

static void read_size(curses_term *t)
{
    enum { COLS_MAX = 1000, ROWS_MAX = 500 }; /* some tell 65535 */
    struct winsize size;
    const bool told = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    size.ws_col = size.ws_col < COLS_MAX ? size.ws_col : COLS_MAX;
    size.ws_row = size.ws_row < ROWS_MAX ? size.ws_row : ROWS_MAX;
    if (told && size.ws_row > 0 && size.ws_col > 0 &&
        (size.ws_row != LINES || size.ws_col != COLS))
        resizeterm(size.ws_row, size.ws_col);
    getmaxyx(stdscr, t->base.rows, t->base.cols);
    cchar_t *line = hl_realloc(t->line, (size_t)(t->base.cols + 1) * sizeof *line);
    if (line)
        t->line = line;
    else
        t->base.cols = 0; /* shows nothing until the next size */
}

static void take_again(curses_term *t)
{
    hl_guard_enter();
    curs_set(1); /* whatever curses believes, it is off then */
    curs_set(0);
    t->cursor_on = false;
    read_size(t);
    curses_repaint(&t->base);
    hl_wire_start(&t->wire);
    t->size_news = true;
}

static void curses_suspend(hl_term *base)
{
    static const char note[] = "hoplab: suspended; runs go on. fg comes back\r\n";
    curses_term *t = (curses_term *)base;
    if (t->wire.lost)
        return;
    hl_wire_settle(&t->wire);
    hl_guard_leave();
    hl_wire_put(&t->wire, note, sizeof note - 1);
    hl_guard_stop();
    take_again(t);
}

static hl_status curses_lend(hl_term *base, hl_status (*to)(void *arg), void *arg)
{
    curses_term *t = (curses_term *)base;
    if (t->wire.lost)
        return hl_err_set(HL_E_STATE, "the terminal is gone");
    hl_wire_settle(&t->wire);
    hl_guard_leave();
    hl_status st = to(arg);
    take_again(t);
    return st;
}

/* ---- keys ---- */

static bool next_event(curses_term *t, hl_input *out)
{
    switch (hl_guard_next()) {
    case HL_GUARD_QUIT:
        out->key = HL_KEY_QUIT;
        return true;
    case HL_GUARD_CONTINUED:
        take_again(t);
        break;
    case HL_GUARD_RESIZED:
        read_size(t);
        curses_repaint(&t->base);
        t->size_news = true;
        break;
    case HL_GUARD_SUSPEND:
        out->key = HL_KEY_SUSPEND;
        return true;
    case HL_GUARD_NONE:
        break;
    }
    if (t->size_news)
        out->key = HL_KEY_RESIZE;
    t->size_news = false;
    return out->key != 0;
}

static bool curses_read(hl_term *base, hl_input *out)
{
    curses_term *t = (curses_term *)base;
    *out = (hl_input){0};
    if (next_event(t, out) || hl_wire_read(&t->wire, out)) {
        out->t_ms = t->wire.in.fed_ns / 1000000;
        return true;
    }
    if (t->wire.lost && !t->told_end) {
        hl_guard_lose();
        t->told_end = true;
        out->key = HL_KEY_QUIT;
        return true;
    }
    return false;
}

/* ---- the rest of the class ---- */

static int curses_fd(const hl_term *base)
{
    return ((const curses_term *)base)->wire.lost ? -1 : STDIN_FILENO;
}

static int curses_signal_fd(const hl_term *base)
{
    (void)base;
    return hl_guard_fd();
}

static bool curses_ready(hl_term *base)
{
    return hl_wire_ready(&((curses_term *)base)->wire);
}

static void curses_set_mouse(hl_term *base, bool on)
{
    hl_wire_set_mouse(&((curses_term *)base)->wire, on);
}

static void curses_bell(hl_term *base)
{
    curses_term *t = (curses_term *)base;
    if (!t->wire.lost)
        hl_wire_put(&t->wire, "\a", 1);
}

/* The terminal keeps titles on a stack (XTWINOPS 22, 23). */
static void curses_set_title(hl_term *base, const char *title)
{
    static const char push[] = "\033[22;2t", pop[] = "\033[23;2t";
    curses_term *t = (curses_term *)base;
    if (!t->wire.modern || t->wire.lost)
        return;
    if (!t->titled) {
        if (!hl_guard_add(push, pop))
            return;
        hl_wire_put(&t->wire, push, sizeof push - 1);
        t->titled = true;
    }
    hl_str out = {0};
    hl_str_add(&out, "\033]2;");
    for (const char *c = title; *c; c++)
        if ((unsigned char)*c >= ' ' && *c != 127) /* a name cannot end the sequence */
            hl_str_addc(&out, *c);
    hl_str_addc(&out, '\a');
    if (hl_str_status(&out) == HL_OK)
        hl_wire_put(&t->wire, out.s, out.n);
    hl_str_done(&out);
}

static bool curses_copy(hl_term *base, const char *text)
{
    return hl_wire_copy(&((curses_term *)base)->wire, text);
}

static double curses_round_trip_ms(const hl_term *base)
{
    return ((const curses_term *)base)->wire.round_trip_ms;
}

static int curses_end_signal(const hl_term *base)
{
    (void)base;
    return hl_guard_end_signal();
}

static size_t curses_take_stderr(hl_term *base, char *buf, size_t n)
{
    (void)base;
    return hl_guard_take_stderr(buf, n);
}

static void curses_close(hl_term *base)
{
    curses_term *t = (curses_term *)base;
    if (t->wire.lost)
        hl_guard_lose();
    hl_wire_settle(&t->wire);
    hl_guard_release();
    if (t->screen)
        delscreen(t->screen);
    wide_ambiguous = false;
    hl_wire_done(&t->wire);
    hl_grid_done(&t->shown);
    hl_free(t->line);
    hl_free(t);
}

static const hl_term_class curses_class = {
    .close = curses_close,
    .read = curses_read,
    .show = curses_show,
    .fd = curses_fd,
    .signal_fd = curses_signal_fd,
    .ready = curses_ready,
    .repaint = curses_repaint,
    .suspend = curses_suspend,
    .lend = curses_lend,
    .set_mouse = curses_set_mouse,
    .restyle = curses_restyle,
    .set_title = curses_set_title,
    .bell = curses_bell,
    .copy = curses_copy,
    .round_trip_ms = curses_round_trip_ms,
    .end_signal = curses_end_signal,
    .take_stderr = curses_take_stderr,
};

/* ---- opening ---- */

/* The terminal's description, or the nearest that is installed. */
static SCREEN *open_screen(const char *name)
{
    char prefix[64];
    SCREEN *s = newterm(name, stdout, stdin);
    snprintf(prefix, sizeof prefix, "%s", name);
    const char *used = prefix;
    for (char *cut = strrchr(prefix, '-'); !s && cut; cut = strrchr(prefix, '-')) {
        *cut = '\0';
        s = newterm(prefix, stdout, stdin);
    }
    bool many = strstr(name, "256color") || getenv("COLORTERM");
    const char *const others[] = {many ? "xterm-256color" : "xterm", "xterm", "vt100"};
    for (size_t i = 0; !s && i < sizeof others / sizeof *others; i++)
        s = newterm(used = others[i], stdout, stdin);
    if (s && strcmp(used, name) != 0)
        fprintf(stderr, "hoplab: no description of the terminal \"%s\"; using that of \"%s\"\n",
                name, used);
    return s;
}

/* Adds a capability to dst without its padding marks $<..>. */
static void add_cap(char dst[HL_GUARD_BYTES], const char *cap)
{
    const char *s = tigetstr(cap);
    size_t n = strlen(dst);
    if (!s || s == (const char *)-1)
        return;
    while (*s && n + 1 < HL_GUARD_BYTES) {
        const char *end = s[0] == '$' && s[1] == '<' ? strchr(s, '>') : NULL;
        if (end)
            s = end + 1;
        else
            dst[n++] = *s++;
    }
    dst[n] = '\0';
}

static void add_bytes(char dst[HL_GUARD_BYTES], const char *bytes)
{
    size_t n = strlen(dst);
    snprintf(dst + n, HL_GUARD_BYTES - n, "%s", bytes);
}

static void make_plan(const curses_term *t, hl_guard_plan *plan)
{
    static const char last_line[] = "\033[999;1H\r\n";
    const char *alternate = tigetstr("rmcup");
    bool has_alternate = alternate && alternate != (const char *)-1;
    add_cap(plan->enter, "smcup");
    add_cap(plan->enter, "smkx");
    add_cap(plan->enter, "sgr0");
    if (t->wire.modern)
        add_bytes(plan->leave, HL_WIRE_LEAVE);
    add_cap(plan->leave, "sgr0");
    add_cap(plan->leave, "op");
    add_cap(plan->leave, "rmkx");
    add_cap(plan->leave, "cnorm");
    if (has_alternate)
        add_cap(plan->leave, "rmcup");
    else
        add_bytes(plan->leave, last_line);
}

static hl_status set_up_screen(curses_term *t, const hl_term_options *o, hl_guard_plan *plan)
{
    raw();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    typeahead(-1);
    scrollok(stdscr, FALSE);
    curs_set(0);
    t->base.n_colors = tigetnum("colors");
    hl_status st = hl_term_choose_depth(o ? o->color : NULL, t->base.n_colors, &t->base.depth);
    if (st != HL_OK)
        return st;
    make_looks(t);
    read_size(t);
    if (!t->line)
        return hl_err_set(HL_E_NOMEM, "no memory for a line of the screen");
    make_plan(t, plan);
    tcgetattr(STDIN_FILENO, &plan->ours);
    plan->fd = STDOUT_FILENO;
    return hl_guard_take(plan);
}

/* Signals wait meanwhile: half taken, the terminal could not be given back. */
static hl_status take_screen(curses_term *t, const hl_term_options *o, const char *name)
{
    hl_guard_plan plan = {0};
    sigset_t all, before;
    sigfillset(&all);
    if (tcgetattr(STDIN_FILENO, &plan.found) != 0)
        return hl_err_set(HL_E_IO, "the terminal does not tell its modes: %s", strerror(errno));
    hl_wire_know_modes(&t->wire, &plan.found);
    sigprocmask(SIG_BLOCK, &all, &before);
    hl_status st = HL_OK;
    t->screen = open_screen(name);
    if (!t->screen)
        st = hl_err_set(HL_E_STATE, "no description of any terminal is installed; set TERMINFO or "
                                    "install ncurses-base");
    if (st == HL_OK) {
        st = set_up_screen(t, o, &plan);
        if (st != HL_OK)
            endwin();
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return st;
}

hl_status hl_term_curses_open(const hl_term_options *o, hl_term **out)
{
    hl_status st = hl_wire_check();
    if (st != HL_OK)
        return st;
    const char *told = getenv("TERM"), *name = told ? told : "";
    curses_term *t = hl_alloc_zero(1, sizeof *t);
    if (!t)
        return HL_E_NOMEM;
    t->base.kind = &curses_class;
    hl_wire_init(&t->wire, name, !o || !o->no_mouse);
    t->fresh = true;
    t->shown.cursor_x = t->shown.cursor_y = -1;
    HL_TRY(hl_term_choose(&t->base, o, name));
    HL_TRY(take_screen(t, o, name));
    hl_wire_start(&t->wire);
    *out = &t->base;
out:
    if (st != HL_OK)
        curses_close(&t->base);
    return st;
}
