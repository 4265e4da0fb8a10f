/* What the terminals have in common: a class of functions behind each hl_term. */
#ifndef HL_VIEWS_TERM_INTERNAL_H
#define HL_VIEWS_TERM_INTERNAL_H

#include "views/term.h"
#include "views/term_theme.h"

typedef struct hl_term_class {
    void (*close)(hl_term *t);
    bool (*read)(hl_term *t, hl_input *out);
    void (*show)(hl_term *t, const hl_grid *g);
    /* What follows may be NULL: a terminal without it. */
    int (*fd)(const hl_term *t);
    int (*signal_fd)(const hl_term *t);
    bool (*ready)(hl_term *t);
    void (*repaint)(hl_term *t);
    void (*suspend)(hl_term *t);
    hl_status (*lend)(hl_term *t, hl_status (*to)(void *arg), void *arg);
    void (*set_mouse)(hl_term *t, bool on);
    void (*restyle)(hl_term *t); /* the theme has changed */
    void (*set_title)(hl_term *t, const char *title);
    void (*bell)(hl_term *t);
    bool (*copy)(hl_term *t, const char *text);
    double (*round_trip_ms)(const hl_term *t);
    int (*end_signal)(const hl_term *t);
    size_t (*take_stderr)(hl_term *t, char *buf, size_t n);
} hl_term_class;

/* First member of every terminal. */
struct hl_term {
    const hl_term_class *kind;
    int cols, rows;
    hl_glyphs glyphs;
    bool wide_ambiguous;
    hl_color_depth depth;
    int n_colors; /* that it has */
    const hl_theme *theme;
    struct hl_own_theme *own; /* themes that were added, the newest first */
};

/* Sets glyphs and theme of `t`. term_name: TERM; NULL: it does not matter. ARG, NOTFOUND. */
HL_MUST_CHECK hl_status hl_term_choose(hl_term *t, const hl_term_options *o, const char *term_name);
/* The depth out of what the user wants and the number of colours that the terminal has. */
HL_MUST_CHECK hl_status hl_term_choose_depth(const char *wanted, int n_colors, hl_color_depth *out);
/* Runs it on the terminal, which must be given back, and waits for Enter; as waitpid, -1: it could
 * not be started. */
int hl_term_run_shell(const char *command);
bool hl_term_is_utf8(void); /* the locale's characters */

#endif
