/* The screen's Lua on the screen's side: the console that is typed into, and the orders that all
 * who need Lua give (console.c). Nothing here runs Lua or waits for it. */
#ifndef HL_VIEWS_CONSOLE_H
#define HL_VIEWS_CONSOLE_H

#include "app/hl_app.h"
#include "views/line.h"

enum { HL_CONSOLE_LINES_MAX = 5000 };

typedef struct hl_console_line {
    char *text; /* owned, one line */
    hl_role role;
} hl_console_line;

typedef struct hl_console {
    const hl_scripting_class *lua; /* NULL: this screen has none */
    hl_scripting *state;           /* NULL: not started; it is by the first order */
    HL_VEC(hl_console_line) lines;
    int back; /* rows scrolled up; 0: what comes is followed */
    hl_line line;
    hl_history history;
    char *history_path;
    bool more;            /* a chunk that is not complete goes on */
    bool asked_again;     /* Tab was pressed twice: candidates are listed */
    int64_t completing;   /* ticket of the completion that was asked for; 0: none */
    int64_t commanded;    /* ticket of the newest `:lua`, whose value is told below; 0: none */
    char *file;           /* where what that one prints is written; NULL: nowhere */
    hl_str filed;         /* what it has printed */
    int64_t shown_second; /* of the order that runs, as the title says */
} hl_console;

void hl_console_forget(hl_console *k); /* what was printed */

#endif
