/* Text of many lines that is edited: the line under the cursor is an hl_line, with its keys; here
 * is what goes beyond it, and undoing. */
#ifndef HL_VIEWS_TEXT_H
#define HL_VIEWS_TEXT_H

#include "views/line.h"

typedef struct hl_text_change {
    size_t row, n_new;     /* rows from here on stand in the place of */
    char *old;             /* these, joined by newlines; owned */
    size_t at_row, cursor; /* where the cursor was */
    bool is_typing;        /* within one row: more of it is the same change */
} hl_text_change;

typedef struct hl_text {
    HL_VEC(char *) lines; /* owned; none before hl_text_set, then at least one */
    size_t row;           /* of the cursor */
    hl_line line;         /* that row */
    HL_VEC(hl_text_change) done, undone;
    bool is_changed; /* since it was set or saved: the user of it takes that back */
} hl_text;           /* {0} is none */

HL_MUST_CHECK hl_status hl_text_set(hl_text *t, const char *text); /* cursor at the beginning */
void hl_text_done(hl_text *t);
void hl_text_get(const hl_text *t, hl_str *out); /* with a newline behind each line */
/* true if the key was for the text: those of hl_line, Up, Down, PgUp, PgDn (by `page` rows), Enter
 * (with the indentation of its line), Tab (two blanks), deletion over the end of a line. */
bool hl_text_key(hl_text *t, int key, int page);
void hl_text_insert(hl_text *t, const char *text); /* of several lines; one change */
bool hl_text_undo(hl_text *t);                     /* false: there is nothing to undo */
bool hl_text_redo(hl_text *t);
void hl_text_to(hl_text *t, size_t row, size_t cursor); /* cut to what there is */
/* The cursor to the next place of the word behind it (way 1) or before it (-1), around the ends. */
bool hl_text_find(hl_text *t, const char *word, int way);

#endif
