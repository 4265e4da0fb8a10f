/* The workbench as the commands see it: main.c lends it to them (hl_cli_spec), since the layers
 * below the screen do not know the screen. */
#ifndef HL_APP_WORKBENCH_H
#define HL_APP_WORKBENCH_H

#include "app/scripting.h"

enum { HL_WORKBENCH_LAUNCHES = 4 };

typedef struct hl_workbench_options {
    const char *runs_dir;
    const char *open; /* directory of the run to show first, or NULL: the list */
    /* Command lines of runs to start and to mark (hl_launch_start); the first one is shown. */
    char *const *launches[HL_WORKBENCH_LAUNCHES];
    const char *launch_names[HL_WORKBENCH_LAUNCHES]; /* while they start */
    size_t n_launches;
    const char *color; /* "auto", "never", "16", "256", or NULL */
    bool no_mouse;
    /* Without a terminal: a picture of this size after these keys, into `picture`. */
    int dump_cols, dump_rows; /* 0: a real terminal */
    const char *dump_keys;
    /* Before the keys: lines of the command line. The first one that fails ends it (message). */
    const char *const *commands;
    size_t n_commands;
    bool chart_alone; /* the picture is that of the focused chart, or its description in words */
    bool describe;
    const char *view_as; /* or: that of the Lua view shown, as "text", "svg", "png", "csv" ... */
    hl_str *picture;
    const hl_scripting_class *scripting; /* the Lua of this screen; NULL: none */
    hl_str *manual; /* nothing but the page of keys, commands and settings, into this; or NULL */
} hl_workbench_options;

typedef struct hl_workbench_result {
    int exit_status; /* 0, that of a run that did not start, or 128 + the signal that ended it */
    char runs[HL_WORKBENCH_LAUNCHES][128]; /* ids of the launched runs; "": it did not start */
    int n_live;                            /* runs in the list that go on */
    int n_starting;                        /* runs that have not said a word yet */
    char message[HL_ERR_MESSAGE_MAX];      /* why a run did not start */
} hl_workbench_result;

/* Shows the workbench until it is left. Errors: STATE (no terminal, or in the background), NOMEM,
 * IO. Runs are neither ended nor waited for. */
typedef hl_status hl_workbench_fn(const hl_workbench_options *o, hl_workbench_result *out);

#endif
