/* A line that is typed: text with a cursor, Emacs keys, history with search by its beginning. Used
 * by the command line and by filters. */
#ifndef HL_VIEWS_LINE_H
#define HL_VIEWS_LINE_H

#include "engine/base/vec.h"
#include "views/term.h"

typedef struct hl_history {
    HL_VEC(char *) lines; /* oldest first, owned */
    int64_t n_added;      /* since it was loaded */
} hl_history;

enum { HL_HISTORY_MAX = 500, HL_LINE_MAX = 4096 };

/* A missing or unreadable file is an empty history. */
void hl_history_load(hl_history *h, const char *path);
HL_MUST_CHECK hl_status hl_history_save(const hl_history *h, const char *path);
void hl_history_add(hl_history *h, const char *text); /* not twice in a row, nor empty */
void hl_history_done(hl_history *h);

typedef struct hl_line {
    hl_str text;
    size_t cursor;          /* in bytes */
    const hl_history *past; /* borrowed, or NULL */
    size_t back;            /* lines back in it; 0: what is typed */
    hl_str typed;           /* the text before going back: what history is searched for */
} hl_line;

void hl_line_set(hl_line *l, const char *text); /* cursor behind it */
void hl_line_done(hl_line *l);
void hl_line_insert(hl_line *l, const char *text); /* control characters are left out */
/* true if the key was for the line: a character, movement (C-a C-e C-b C-f A-b A-f, arrows, Home,
 * End), deletion (Backspace, Delete, C-d C-k C-u C-w), history (Up, Down, C-p, C-n). */
bool hl_line_key(hl_line *l, int key);

/* Draws "prompt text" with the cursor in view and places the terminal's cursor. */
void hl_line_draw(hl_canvas c, const hl_line *l, const char *prompt);

#endif
