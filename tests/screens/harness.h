/* A program on a terminal that is not there: it runs under a pseudo-terminal, a real emulator
 * (libvterm) plays the terminal, answers its questions and holds the picture.
 *
 *     screen *s = screen_start(&(screen_options){.argv = argv});
 *     if (screen_wait_text(s, "ready", 5000) && screen_run_script(s, "jj<Enter>", NULL)) ...
 *     screen_end(s);
 *
 * Nothing moves by itself: the functions that wait let bytes through. */
#ifndef HL_TESTS_SCREENS_HARNESS_H
#define HL_TESTS_SCREENS_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct screen screen;

typedef struct screen_options {
    const char *const *argv; /* NULL at the end; searched in PATH */
    int cols, rows;          /* 0: 80 x 24 */
    const char *term;        /* NULL: xterm-256color; "": not set */
    const char *lang;        /* NULL: C.UTF-8 */
    const char *const *env;  /* "NAME=value" or "NAME" to remove it, NULL at the end */
    bool silent;             /* the terminal answers no questions */
    bool knows_sync;         /* ... and this one knows synchronized output */
} screen_options;

/* The variables that say how a screen looks are removed before `env` is added. NULL: the reason is
 * on stderr. */
screen *screen_start(const screen_options *o);
void screen_end(screen *s); /* kills what still runs; NULL is fine */
int screen_pid(const screen *s);

/* ---- to the program ---- */

void screen_send(screen *s, const char *bytes);
void screen_send_bytes(screen *s, const char *bytes, size_t n);
/* "C-d", "Enter", "Up", "A-x", "é", ... false: no such key */
bool screen_send_key(screen *s, const char *name);
/* SGR report: button 0 left, 2 right, 64 and 65 wheel, + 32 moved. Column and line from 0. */
void screen_send_mouse(screen *s, int button, int x, int y, bool released);
void screen_resize(screen *s, int cols, int rows);
void screen_tell_size(screen *s, int cols, int rows); /* false: the picture keeps its size */
void screen_kill(screen *s, int signal_number);
void screen_hang_up(screen *s);       /* the terminal is gone */
void screen_reset_termios(screen *s); /* to those at the start, as a shell does */

/* Keys and names in brackets, in a row: j  <Enter>  <C-d>  <Esc>  <lt>  <wait:TEXT>  <sleep:MS>
 * <resize:COLSxROWS>  <mouse:X,Y>  <double:X,Y>  <right:X,Y>  <right-drag:X,Y,X,Y>  <wheel-up:X,Y>
 * <wheel-down:X,Y> <drag:X,Y,X,Y>  <paste:TEXT>  <kill:HUP>  <shot> (prints to `shots`)  <say:TEXT>
 * (prints that). false: a wait was in vain or the script is wrong, as told on stderr. */
bool screen_run_script(screen *s, const char *script, FILE *shots);
bool screen_read_size(const char *text, int *cols, int *rows); /* "80x24" */
void screen_set_limit(screen *s, int limit_ms); /* of each <wait:...>; 10000 at first */

/* ---- waiting; false: the limit was reached ---- */

bool screen_wait_quiet(screen *s, int quiet_ms, int limit_ms);
bool screen_wait_text(screen *s, const char *text, int limit_ms);     /* stands on the screen */
bool screen_wait_printed(screen *s, const char *bytes, int limit_ms); /* was written at all */
bool screen_wait_exit(screen *s, int limit_ms, int *status);          /* as of waitpid */
void screen_let_pass(screen *s, int ms);

/* ---- what is there ---- */

/* Lines without trailing blanks; empty ones at the end are left out. Owned by the caller (free). */
char *screen_text(screen *s);
/* One line for each stretch of equal looks that is not plain: "y x1-x2 fg=33 bg=- bold". Owned. */
char *screen_looks(screen *s);

typedef struct screen_cell {
    uint32_t ch; /* 0: nothing was written */
    int width;
    int fg, bg; /* of 256; -1: the terminal's own; -2: a direct colour */
    bool bold, underline, reverse;
} screen_cell;
screen_cell screen_cell_at(const screen *s, int x, int y);
void screen_cursor(const screen *s, int *x, int *y);

const char *screen_printed(const screen *s, size_t *n); /* every byte so far; ends with NUL */
size_t screen_mark(const screen *s);                    /* number of bytes so far */

bool screen_mode(const screen *s, int mode); /* DECSET: 25 cursor, 1049 other screen, 2004, ... */
bool screen_was_set(const screen *s, int mode);
/* Every mode is as at the start: other screen left, cursor shown, mouse and paste off, plain
 * looks, and termios as before. What is not is told on stderr. */
bool screen_is_given_back(const screen *s);
bool screen_is_raw(const screen *s);

/* Compares with a file below the top of the source tree and prints the lines that differ. With
 * HOPLAB_UPDATE_GOLDEN=1 the file is written instead. */
bool screen_expect(screen *s, const char *path);
bool screen_expect_text(const char *have, const char *path);

#endif
