/* What scripts added to the screen: views, commands, keys, settings (scripted.c). The functions
 * themselves are in the screen's Lua; here is what is shown and asked for. */
#ifndef HL_VIEWS_SCRIPTED_H
#define HL_VIEWS_SCRIPTED_H

#include "app/hl_app.h"
#include "engine/base/vec.h"

typedef struct hl_scripted_key {
    int key;
    int number;         /* of the function; of a view's own key: 0 */
    char view[28];      /* "": in every view */
    char name[24];      /* as the script wrote it */
    char *help, *where; /* owned */
} hl_scripted_key;

enum {
    HL_SCRIPTED_FAILURES = 3,   /* in a row: then a view waits for Enter */
    HL_SCRIPTED_LIMIT_MS = 1000 /* of a call from the screen; longer ones are interrupted */
};

typedef struct hl_scripted_view {
    char name[28];
    char *title;
    int key;                    /* that shows it everywhere; 0: none */
    hl_json *picture, *failure; /* the newest; of a failure: it is shown instead */
    int n_failures;             /* in a row */
    int cols, rows;             /* of the pane when it was drawn last */
    double ms;                  /* what the last picture cost */
    uint64_t inputs;            /* hash of what the picture, or the order under way, was made of */
    uint64_t changes;           /* its state: grows with every key */
    int64_t ticket;             /* of the order under way; 0: none */
    int64_t ordered_ns;
} hl_scripted_view;

typedef struct hl_scripted_command {
    char name[32];
    char *args, *help;
} hl_scripted_command;

typedef struct hl_scripted_timer {
    int number; /* of the function */
    int64_t every_ns, due_ns;
    int64_t ticket; /* of its call under way; 0: none */
} hl_scripted_timer;

/* What a function of a script says of every run: a column and a key, or with true and false a word
 * of the filter too. */
typedef struct hl_scripted_value {
    char name[32]; /* behind "lua." in the keys of a run */
    char *help;
    bool is_filter;
} hl_scripted_value;

typedef struct hl_scripted_row {
    uint64_t run;    /* hash of its directory */
    uint64_t seen;   /* hash of what the run was when it was asked for */
    hl_json *values; /* by name; NULL: not here yet */
} hl_scripted_row;

typedef struct hl_scripted_values {
    HL_VEC(hl_scripted_value) at; /* sorted by name */
    HL_VEC(hl_scripted_row) rows; /* sorted by run */
    int64_t ticket;               /* of the order under way; 0: none */
    int64_t lists, put;           /* news that the rows of the list were made with */
    int64_t news;                 /* grows with every answer and definition */
    bool broken;                  /* it took too long: asked for no more */
} hl_scripted_values;

enum { HL_SCRIPTED_JOBS_MAX = 8 };

typedef struct hl_scripted_job {
    int number;  /* of its functions */
    hl_job *job; /* NULL: free */
    int64_t begun_ns;
    int64_t ticket; /* of its lines that are being looked at; 0: none */
    bool is_told;   /* the last order told its end */
} hl_scripted_job;

typedef struct hl_setting_source {
    char name[32];
    char *where;
} hl_setting_source;

typedef struct hl_scripted {
    HL_VEC(hl_scripted_view) views;
    HL_VEC(hl_scripted_key) keys;
    HL_VEC(hl_scripted_command) commands;
    HL_VEC(hl_setting_source) sources;
    HL_VEC(hl_scripted_key) mapped; /* the keys of actions that files have mapped: for conflicts */
    HL_VEC(hl_scripted_timer) timers;
    hl_scripted_values values;
    hl_scripted_job jobs[HL_SCRIPTED_JOBS_MAX];
    /* Who may start programs: everybody, until a project's file has run in the same state. */
    int64_t project;     /* ticket of that file; 0: none */
    int64_t note_ticket; /* of the order whose note is being taken; 0: a person acts */
    char may_jobs[8];    /* "on", "off"; "": as the rule says */
    int64_t completing; /* ticket of the arguments asked for; 0: none */
    char *completed;    /* the line they are for, up to its cursor */
    int shown;          /* the view that HL_VIEW_SCRIPTED shows */
    bool redraw_due;    /* a picture is old, and it is too early for the next one */
} hl_scripted;

#endif
