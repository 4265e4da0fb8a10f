/* The screen's own Lua, as the screen sees it: orders go in, replies come out, and nobody waits.
 * What it can do is written in Lua (scripts_lua/hop/screen.lua); here are only the thread that runs
 * it, its limits, and plain data on the way.
 *
 * All functions belong to one thread, that of the owner. The state is its thread's alone, is never
 * shared with a worker, and has no files and no processes (lua-api, two trust levels: sandbox). */
#ifndef HL_SCRIPTING_H
#define HL_SCRIPTING_H

#include "engine/base/json.h"

typedef struct hl_scripting hl_scripting;

typedef struct hl_script_reply {
    int64_t ticket; /* of the order it belongs to */
    bool last;      /* the order is done; what comes before it are notes made on the way */
    bool failed;    /* value: { message, hint, traceback, stopped } */
    char kind[16];  /* of a note: "print", "view", "map", ...; of the last one, the order's name */
    hl_json *value; /* owned by the taker; NULL: nothing, or no memory for it */
} hl_script_reply;

typedef struct hl_scripting_class {
    /* Starts the thread, which makes the state. Errors: NOMEM, IO; a state that cannot be made is
     * told by the reply to each order. */
    hl_status (*open)(const char *runs_dir, hl_scripting **out);
    /* Interrupts what runs and ends the thread. One that hangs in C code is left behind. */
    void (*close)(hl_scripting *s);
    int (*fd)(const hl_scripting *s); /* readable when take may have something */
    /* Calls the function `name` of hop/screen.lua with the JSON value `argument` (NULL: none),
     * after the orders before. limit_ms: after so long it is interrupted (see tick); 0: never.
     * Gives a ticket, or -1 when too many orders wait. */
    int64_t (*order)(hl_scripting *s, const char *name, const char *argument, int limit_ms);
    bool (*take)(hl_scripting *s, hl_script_reply *out);
    /* Interrupts what is over its limit. Gives milliseconds until it wants to be called again; -1:
     * not before the next order. */
    int (*tick)(hl_scripting *s);
    /* The order that runs now ends with the error "interrupted". */
    void (*interrupt)(hl_scripting *s);
    /* Orders not answered yet, and how long the one that runs has run. */
    int (*busy)(hl_scripting *s, int64_t *running_ns);
} hl_scripting_class;

#endif
