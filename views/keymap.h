/* What can be done, and which keys do it. One table: the help screen, the hint line, `:map` and the
 * dispatch are all read off it. `h j k l` mean movement everywhere and are never bound to anything
 * else. */
#ifndef HL_VIEWS_KEYMAP_H
#define HL_VIEWS_KEYMAP_H

#include "engine/base/vec.h"
#include "views/term.h"

/* The panes. A view is an arrangement of some of them (layout.h). name, title */
#define HL_PANES(X)                                                                                \
    X(RUNS, "runs")                                                                                \
    X(DETAILS, "details")                                                                          \
    X(PROGRESS, "progress")                                                                        \
    X(CHART, "chart")                                                                              \
    X(STRIP, "numbers")                                                                            \
    X(LOG, "log")                                                                                  \
    X(HEAT, "outliers")                                                                            \
    X(HIST, "histogram")                                                                           \
    X(CONTROL, "control")                                                                          \
    X(RESIDUAL, "residual")                                                                        \
    X(EVALUATIONS, "evaluations")                                                                  \
    X(SOLVES, "solves")                                                                            \
    X(SOLVE_HEAT, "residual over training")                                                        \
    X(METHODS, "methods")                                                                          \
    X(TENSORS, "tensors")                                                                          \
    X(SENSITIVITY, "what it costs")                                                                \
    X(CONSOLE, "Lua")                                                                              \
    X(SCRIPTED, "view")                                                                            \
    X(SCRIPT, "script")

typedef enum hl_pane {
#define HL_PANE_ENUM(upper, name) HL_PANE_##upper,
    HL_PANES(HL_PANE_ENUM)
#undef HL_PANE_ENUM
        HL_PANE_COUNT,
    HL_PANE_ANY = HL_PANE_COUNT /* of an action: works in every pane */
} hl_pane;
const char *hl_pane_name(hl_pane p);
/* The pane whose keys work in p: those of the DEQ view share the keys of its chart, those
 * of the Quant view the keys of its tensors. */
hl_pane hl_pane_keys(hl_pane p);

/* action, its name, default keys (blanks between alternatives, + between keys pressed in turn),
 * the pane it belongs to, help. A pane's own keys come from the letters that the keys for all
 * panes leave free. */
#define HL_ACTIONS(X)                                                                              \
    X(UP, "up", "k Up", ANY, "move up")                                                            \
    X(DOWN, "down", "j Down", ANY, "move down")                                                    \
    X(LEFT, "left", "h Left", ANY, "move left; in a chart: the sample before")                     \
    X(RIGHT, "right", "l Right", ANY, "move right; in a chart: the next sample")                   \
    X(TOP, "top", "g+g Home", ANY, "first line, or first sample")                                  \
    X(BOTTOM, "bottom", "G End", ANY, "last line; follow what comes")                              \
    X(PAGE_UP, "page-up", "C-u PgUp", ANY, "half a page up")                                       \
    X(PAGE_DOWN, "page-down", "C-d PgDn", ANY, "half a page down")                                 \
    X(OPEN, "open", "Enter", ANY, "open what is under the cursor")                                 \
    X(BACK, "back", "Esc", ANY, "close a prompt, a popup, a crosshair; back one level")            \
    X(MARK, "mark", "Space", ANY, "mark the run: charts overlay marked runs")                      \
    X(FILTER, "filter", "/", ANY, "filter this pane while you type; Enter keeps, Esc restores")    \
    X(NEXT_MATCH, "next-match", "n", ANY, "next match of the filter")                              \
    X(PREVIOUS_MATCH, "previous-match", "N", ANY, "previous match")                                \
    X(NEXT_PANE, "next-pane", "Tab", ANY, "give the keys to the next pane")                        \
    X(PREVIOUS_PANE, "previous-pane", "S-Tab", ANY, "... to the one before")                       \
    X(PANE_LEFT, "pane-left", "C-w+h C-w+Left", ANY, "... to the one on the left")                 \
    X(PANE_DOWN, "pane-down", "C-w+j C-w+Down", ANY, "... below")                                  \
    X(PANE_UP, "pane-up", "C-w+k C-w+Up", ANY, "... above")                                        \
    X(PANE_RIGHT, "pane-right", "C-w+l C-w+Right", ANY, "... on the right")                        \
    X(ZOOM, "zoom", "z", ANY, "this pane alone, and back")                                         \
    X(VIEW_1, "view-1", "1", ANY, "view 1, Runs")                                                  \
    X(VIEW_2, "view-2", "2", ANY, "view 2, Run")                                                   \
    X(VIEW_3, "view-3", "3", ANY, "view 3, Outliers")                                              \
    X(VIEW_4, "view-4", "4", ANY, "view 4, DEQ")                                                   \
    X(VIEW_5, "view-5", "5", ANY, "view 5, Quant")                                                 \
    X(VIEW_8, "view-8", "8", ANY, "view 8, Lua")                                                   \
    X(NEXT_VIEW, "next-view", "g+t", ANY, "next view")                                             \
    X(PREVIOUS_VIEW, "previous-view", "g+T", ANY, "previous view")                                 \
    X(LAST_VIEW, "last-view", "Backspace", ANY, "the view that was shown before")                  \
    X(LOG, "log", "L", ANY, "log pane under this view, on or off")                                 \
    X(CONSOLE, "console", "~", ANY, "Lua console under this view, on or off")                      \
    X(SCRIPT, "script", "F", ANY, "the run's script under this view, on or off")                   \
    X(CONTROL, "control", "!", ANY, "menu: control the run")                                       \
    X(PAUSE, "pause", "P", ANY, "pause or resume the run")                                         \
    X(CHECKPOINT, "checkpoint", "C", ANY, "write a checkpoint now")                                \
    X(EVAL, "eval", "E", ANY, "evaluate now")                                                      \
    X(QUANTIZE, "quantize", "Q", ANY, "quantize the live run's weights now, into a copy")          \
    X(STOP, "stop", "K", ANY, "stop the run (asks first)")                                         \
    X(UNDO, "undo", "u", ANY, "undo a change of the view; runs are never touched")                 \
    X(REDO, "redo", "C-r", ANY, "... and redo")                                                    \
    X(COPY, "copy", "y", ANY, "copy what is under the cursor")                                     \
    X(COMMAND, "command", ":", ANY, "command line")                                                \
    X(HELP, "help", "? F1", ANY, "this help")                                                      \
    X(MOUSE, "mouse", "M", ANY, "mouse on or off (off: the terminal's own selection works)")       \
    X(REPAINT, "repaint", "C-l", ANY, "paint everything anew")                                     \
    X(SUSPEND, "suspend", "C-z", ANY, "suspend the screen; runs go on")                            \
    X(QUIT, "quit", "q C-c", ANY, "close a popup; else leave the screen; runs go on")              \
    X(CYCLE_STATE, "cycle-state", "s", RUNS, "all, running, done or broken runs")                  \
    X(SORT, "sort", "o", RUNS, "sort by the next column")                                          \
    X(REVERSE, "reverse", "R", RUNS, "reverse the order")                                          \
    X(NEXT_CHART, "next-chart", "]", CHART, "next chart, or page of charts")                       \
    X(PREVIOUS_CHART, "previous-chart", "[", CHART, "previous chart, or page of charts")           \
    X(SCALE, "scale", "Y", CHART, "y axis linear or logarithmic")                                  \
    X(SMOOTH, "smooth", "s", CHART, "smoothing off, .6, .9, .99; the raw line stays behind")       \
    X(OVERLAY, "overlay", "o", CHART, "overlay the marked runs, or not")                           \
    X(STATISTIC, "statistic", "s", HEAT, "next statistic: infinity norm, kurtosis")                \
    X(SITE, "site", "e", HEAT, "next site: attention output, FFN output, ...")                     \
    X(HEAT_OVERLAY, "other-run", "o", HEAT, "the same of the next marked run, same scale")         \
    X(HIST_OVERLAY, "compare-histogram", "o", HIST, "lay the next marked run's histogram over it") \
    X(OLDER_SOLVE, "older-solve", "[", RESIDUAL, "the recorded batch before (so does h)")          \
    X(NEWER_SOLVE, "newer-solve", "]", RESIDUAL, "the next recorded batch (so does l; G: newest)") \
    X(SOLVE_SPLIT, "solve-split", "e", RESIDUAL, "solves of training or of evaluation")            \
    X(SOLVE_BAND, "solve-band", "b", RESIDUAL, "band from 10 to 90 % of the samples, or all")      \
    X(SOLVE_SCALE, "solve-scale", "Y", RESIDUAL, "y axis from 1e-8 to 1, or what is needed")       \
    X(SOLVE_OVERLAY, "solve-overlay", "o", RESIDUAL, "overlay the marked runs, or not")            \
    X(TENSOR_SORT, "tensor-sort", "s", TENSORS, "sort the tensors by the next column")             \
    X(TENSOR_REVERSE, "tensor-reverse", "R", TENSORS, "reverse their order")                       \
    X(OLDER_SEED, "previous-seed", "[", TENSORS, "the run before of this method")                  \
    X(NEWER_SEED, "next-seed", "]", TENSORS, "the next run of this method")                        \
    X(RANK_TENSORS, "sensitivity", "S", TENSORS, "rank the tensors, each quantized alone (a job)") \
    X(RESTORE, "restore", "=", TENSORS, "this tensor back in floating point, as one more row")     \
    X(TENSOR_OUTLIERS, "tensor-outliers", "O", TENSORS, "the outlier strip of this place")         \
    X(TENSOR_EXPORT, "tensor-export", "x", TENSORS, "write the tensors as CSV, here")                           \
    X(SCRIPT_EDIT, "script-edit", "e", SCRIPT, "edit a copy of the script in $EDITOR")             \
    X(SCRIPT_DIFF, "script-diff", "d", SCRIPT, "what the copy changed, or the file since the run") \
    X(SCRIPT_RERUN, "script-rerun", "r", SCRIPT, "run it again, as edited, as a new run")

typedef enum hl_action {
#define HL_ACTION_ENUM(upper, name, keys, pane, help) HL_ACTION_##upper,
    HL_ACTIONS(HL_ACTION_ENUM)
#undef HL_ACTION_ENUM
        HL_ACTION_COUNT,
    HL_ACTION_NONE,
    HL_ACTION_PENDING /* the keys so far begin a binding */
} hl_action;

typedef struct hl_action_row {
    const char *name, *keys;
    hl_pane pane;
    const char *help;
} hl_action_row;
const hl_action_row *hl_action_get(hl_action a);
hl_action hl_action_from(const char *name); /* HL_ACTION_NONE: unknown */

enum { HL_KEYS_IN_TURN = 3 };

typedef struct hl_binding {
    int key[HL_KEYS_IN_TURN]; /* 0 behind the last one */
    hl_action action;         /* HL_ACTION_NONE: bound to nothing */
} hl_binding;

typedef struct hl_keymap {
    HL_VEC(hl_binding) bindings; /* later ones win */
} hl_keymap;

/* The default keys. Two actions that claim one key in one pane are a bug of the table: ARG. */
HL_MUST_CHECK hl_status hl_keymap_init(hl_keymap *m);
void hl_keymap_done(hl_keymap *m);
/* keys as in the table ("g+g"); action "none" takes a key away from everybody. ARG: no such key or
 * action (the message names the nearest), or a movement letter. */
HL_MUST_CHECK hl_status hl_keymap_bind(hl_keymap *m, const char *keys, const char *action);
/* What the keys pressed in turn do in a pane. */
hl_action hl_keymap_find(const hl_keymap *m, hl_pane pane, const int *keys, int n);
/* The first keys of an action as text, "g g"; "" if it has none. */
const char *hl_keymap_keys(const hl_keymap *m, hl_action a, char buf[64]);

#endif
