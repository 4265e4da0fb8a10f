/* A terminal: shows grids, gives keys. Two of them: curses (a real terminal) and dump (text into a
 * stream, keys from a script), so everything above runs without a terminal in tests and in
 * `hoplab watch --dump`.
 *
 * A process has at most one curses terminal, used by one thread. Whatever happens to the process,
 * the terminal is given back as it was found: normal end, atexit, suspension, and the handlers of
 * all deadly signals (term_guard.h) write the same prepared bytes. */
#ifndef HL_VIEWS_TERM_H
#define HL_VIEWS_TERM_H

#include "engine/base/str.h"
#include "views/cell.h"

/* ---- keys ---- */

/* A key is a code point (letters, also 27 escape, 9 tab, 13 enter, 127 backspace, 1..26 control)
 * or one of these. */
#define HL_KEYS(X)                                                                                 \
    X(UP, "Up")                                                                                    \
    X(DOWN, "Down")                                                                                \
    X(LEFT, "Left")                                                                                \
    X(RIGHT, "Right")                                                                              \
    X(HOME, "Home")                                                                                \
    X(END, "End")                                                                                  \
    X(PAGE_UP, "PgUp")                                                                             \
    X(PAGE_DOWN, "PgDn")                                                                           \
    X(INSERT, "Insert")                                                                            \
    X(DELETE, "Delete")                                                                            \
    X(BACK_TAB, "S-Tab")                                                                           \
    X(F1, "F1")                                                                                    \
    X(F2, "F2")                                                                                    \
    X(F3, "F3")                                                                                    \
    X(F4, "F4")                                                                                    \
    X(MOUSE, "Mouse")     /* see hl_input.mouse */                                                 \
    X(RESIZE, "Resize")   /* the size has changed, or all must be painted anew */                  \
    X(PASTE, "Paste")     /* a pasted text: hl_input.text */                                       \
    X(QUIT, "Quit")       /* the terminal is gone, or somebody asked the process to end */         \
    X(SUSPEND, "Suspend") /* somebody asked for it: hl_term_suspend */

enum {
    HL_KEY_FIRST = 0x110000, /* beyond every code point */
#define HL_KEY_ENUM(upper, name) HL_KEY_##upper,
    HL_KEYS(HL_KEY_ENUM)
#undef HL_KEY_ENUM
        HL_KEY_END_OF_LIST
};
enum {
    HL_KEY_CTRL_MASK = 0x1f,
    HL_KEY_TAB = 9,
    HL_KEY_ENTER = 13,
    HL_KEY_ESC = 27,
    HL_KEY_BACKSPACE = 127
};
#define HL_CTRL(letter) ((letter)&HL_KEY_CTRL_MASK)
#define HL_ALT          0x1000000 /* added to a key that came with Alt */

/* "C-d", "Enter", "Space", "A-x", "?"; into buf, which is returned. And back: false if unknown. */
const char *hl_key_name(char buf[24], int key);
bool hl_key_from(const char *name, int *key);
/* Takes one key off a script such as "jj<Enter><C-d>": characters stand for themselves, names in
 * angle brackets for keys, <lt> for "<". *at is not at its end. ARG: no such key. */
HL_MUST_CHECK hl_status hl_key_script_next(const char **at, int *key);

typedef enum hl_mouse_what {
    HL_MOUSE_PRESS, /* left button */
    HL_MOUSE_DOUBLE,
    HL_MOUSE_RELEASE,
    HL_MOUSE_DRAG,
    HL_MOUSE_RIGHT,
    HL_MOUSE_WHEEL_UP,
    HL_MOUSE_WHEEL_DOWN
} hl_mouse_what;

typedef struct hl_input {
    int key;
    struct {
        hl_mouse_what what;
        int x, y;
    } mouse;
    const char *text; /* PASTE: UTF-8, borrowed until the next read */
    int64_t t_ms;     /* when it came, monotonic; 0: not known, as from a script */
} hl_input;

/* ---- terminals ---- */

typedef enum hl_color_depth { HL_COLOR_MONO, HL_COLOR_16, HL_COLOR_256 } hl_color_depth;

typedef struct hl_term hl_term;

typedef struct hl_term_options {
    const char *glyphs; /* name, or NULL: by locale, TERM and HOPLAB_GLYPHS */
    const char *color;  /* "auto", "never", "16", "256"; NULL: auto (NO_COLOR, TERM) */
    const char *theme;  /* NULL: HOPLAB_THEME or "default" */
    bool no_mouse;
} hl_term_options;

/* Takes the terminal of this process. STATE: stdin or stdout is none, or the process is in the
 * background; the message says what to use instead. */
HL_MUST_CHECK hl_status hl_term_curses_open(const hl_term_options *o, hl_term **out);

/* A terminal of this size that shows nothing. `keys` (names without blanks between, as "jj<Enter>")
 * are given one per read. */
HL_MUST_CHECK hl_status hl_term_dump_open(const hl_term_options *o, int cols, int rows,
                                          const char *keys, hl_term **out);
void hl_term_dump_resize(hl_term *t, int cols, int rows); /* RESIZE is the caller's to say */
/* The grid as lines of UTF-8 text without trailing blanks. */
void hl_grid_print(const hl_grid *g, hl_str *out);

void hl_term_close(hl_term *t); /* gives the terminal back; NULL is fine */

void hl_term_size(const hl_term *t, int *cols, int *rows);
hl_glyphs hl_term_glyphs(const hl_term *t);
bool hl_term_wide_ambiguous(const hl_term *t); /* as in a grid; false at first */
hl_color_depth hl_term_colors(const hl_term *t);
const char *hl_term_theme(const hl_term *t);
typedef struct hl_theme hl_theme;
const hl_theme *hl_term_look(const hl_term *t); /* the theme itself */
/* Becomes readable when hl_term_read may have something; call that until it says false. -1: never
 * waits (dump), or the terminal is gone. */
int hl_term_fd(const hl_term *t);
/* Second descriptor to wait for: signals (resize, end). -1: none. */
int hl_term_signal_fd(const hl_term *t);
/* Never waits, but for the escape delay (25 ms; 100 over ssh; ESCDELAY) when what came so far may
 * be the beginning of a longer sequence. false: nothing there. */
bool hl_term_read(hl_term *t, hl_input *out);
/* May a frame be shown now? false: the terminal has not taken the last one yet; ask again 50 ms
 * later or when hl_term_fd was readable and hl_term_read, which takes its answer, was called. */
bool hl_term_ready(hl_term *t);
/* Shows what differs from the last grid shown. */
void hl_term_show(hl_term *t, const hl_grid *g);
void hl_term_repaint(hl_term *t); /* the next show paints everything */
/* Gives the terminal back, stops the process group as Ctrl-Z does, takes the terminal again; RESIZE
 * follows. Where no shell could wake it, it does not stop. */
void hl_term_suspend(hl_term *t);
/* Gives the terminal to a command of the shell, then, after Enter, takes it again; RESIZE follows.
 * The status as of waitpid; -1: there is no terminal, or no shell. */
int hl_term_shell(hl_term *t, const char *command);
/* Gives the terminal back while to(arg), which runs another program on it, takes it again and paints
 * everything. What `to` says, or STATE: this is no terminal. */
HL_MUST_CHECK hl_status hl_term_lend(hl_term *t, hl_status (*to)(void *arg), void *arg);
void hl_term_set_mouse(hl_term *t, bool on);
/* Of the window. The one it had comes back with the terminal. */
void hl_term_set_title(hl_term *t, const char *title);
void hl_term_bell(hl_term *t); /* nothing without a terminal */
/* NOTFOUND: no such theme; the message lists them. */
HL_MUST_CHECK hl_status hl_term_set_theme(hl_term *t, const char *name);
/* One more theme, copied under this name; one of that name is replaced. Errors: ARG (a theme of the
 * program has it, or it is too long), NOMEM. */
HL_MUST_CHECK hl_status hl_term_add_theme(hl_term *t, const char *name, const hl_theme *theme);
/* The one that a name means among those added and the program's, not set: NOTFOUND as above. */
HL_MUST_CHECK hl_status hl_term_find_theme(const hl_term *t, const char *name,
                                           const hl_theme **out);
const char *hl_term_own_theme(const hl_term *t, int i); /* names of those added; NULL: no more */
/* "auto", "never", "16", "256": as many as that, if the terminal has them. NO_COLOR wins. ARG. */
HL_MUST_CHECK hl_status hl_term_set_colors(hl_term *t, const char *wanted);
void hl_term_set_glyphs(hl_term *t, hl_glyphs g);
/* What the terminal does with ambiguous characters; the next show paints everything. */
void hl_term_set_wide_ambiguous(hl_term *t, bool wide);
/* To the terminal's clipboard (OSC 52). false: this terminal takes none, or not that much. */
bool hl_term_copy(hl_term *t, const char *text);
/* Milliseconds that the terminal took to answer last; negative: unknown. */
double hl_term_round_trip_ms(const hl_term *t);
/* Why HL_KEY_QUIT came: the signal, SIGHUP for a terminal that is gone; 0: it has not come. */
int hl_term_end_signal(const hl_term *t);
/* What the process wrote to stderr while the screen is up, next piece of at most n bytes. What is
 * left when the terminal is closed (or the process dies) is written to the real one. */
size_t hl_term_take_stderr(hl_term *t, char *buf, size_t n);

#endif
