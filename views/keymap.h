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
    X(SCORES, "metrics")                                                                           \
    X(DIFFERENCES, "differences")                                                                  \
    X(PAIRED, "compared")                                                                          \
    X(MACHINE, "machine")                                                                          \
    X(STEP_TIME, "step time")                                                                      \
    X(HISTORY, "history")                                                                        \
    X(FORECAST, "forecast")                                                                        \
    X(RESIDUALS, "residuals")                                                                      \
    X(AHEAD, "error by step ahead")                                                                \
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
 * of the Quant view the keys of its tensors, those of the Compare view the keys of its table,
 * the history of the System view those of its list, the Forecast view those of its charts. */
hl_pane hl_pane_keys(hl_pane p);

/* action, its name, default keys (blanks between alternatives, + between keys pressed in turn),
 * the pane it belongs to, help. A pane's own keys come from the letters that the keys for all
 * panes leave free. */
#define HL_ACTIONS(X)                                                                              \
    X(UP, "up", "k Up", ANY, "move up")                                                            \
    X(DOWN, "down", "j Down", ANY, "move down; 5j, typed at once: five times")                     \
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
    X(MODE, "screen-mode", "Z", ANY, "this pane large, alone, and back")                           \
    X(WIDER, "wider", "C-w+>", ANY, "this pane wider")                                             \
    X(NARROWER, "narrower", "C-w+<", ANY, "... narrower")                                          \
    X(TALLER, "taller", "C-w++", ANY, "... taller")                                                \
    X(SHORTER, "shorter", "C-w+-", ANY, "... less tall")                                           \
    X(EVEN, "layout-reset", "C-w+=", ANY, "all panes of this view as they were at first")          \
    X(REPEAT, "repeat", ".", ANY, "the last change of the view again")                             \
    X(VIEW_1, "view-1", "1", ANY, "view 1, Runs")                                                  \
    X(VIEW_2, "view-2", "2", ANY, "view 2, Run")                                                   \
    X(VIEW_3, "view-3", "3", ANY, "view 3, Outliers")                                              \
    X(VIEW_4, "view-4", "4", ANY, "view 4, DEQ")                                                   \
    X(VIEW_5, "view-5", "5", ANY, "view 5, Quant")                                                 \
    X(VIEW_6, "view-6", "6", ANY, "view 6, Compare")                                               \
    X(VIEW_7, "view-7", "7", ANY, "view 7, System")                                                \
    X(VIEW_8, "view-8", "8", ANY, "view 8, Lua")                                                   \
    X(VIEW_FORECAST, "view-forecast", "f", ANY, "forecasts of the run, if it is of a series")      \
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
    X(COPY, "copy", "y+y", ANY, "copy what is under the cursor")                                   \
    X(COPY_VIEW, "copy-view", "y+v", ANY, "copy the command that draws this chart outside")        \
    X(EXPORT, "export", "x", ANY, "export this pane: csv, json, svg, png, html, text")             \
    X(COMMAND, "command", ":", ANY, "command line")                                                \
    X(HELP, "help", "? F1", ANY, "this help")                                                      \
    X(MOUSE, "mouse", "M", ANY, "mouse on or off (off: the terminal's own selection works)")       \
    X(REPAINT, "repaint", "C-l", ANY, "paint everything anew")                                     \
    X(SUSPEND, "suspend", "C-z", ANY, "suspend the screen; runs go on")                            \
    X(QUIT, "quit", "q C-c", ANY, "close a popup; else leave the screen; runs go on")              \
    X(CYCLE_STATE, "cycle-state", "s", RUNS, "all, running, done or broken runs")                  \
    X(SORT, "sort", "o", RUNS, "sort by the next column")                                          \
    X(REVERSE, "reverse", "R", RUNS, "reverse the order")                                          \
    X(GROUP, "group", "B", RUNS, "group the runs, seeds fall together; Enter opens a group")       \
    X(DIFFER, "differ", "D", RUNS, "only what differs among the marked runs")                      \
    X(HIDE, "hide", "H", RUNS, "hide the run, in this list only; u or :show brings it back")       \
    X(MARK_RANGE, "mark-range", "V", RUNS, "mark all from the run marked last to here")            \
    X(COLUMNS, "columns", "c", RUNS, "change the columns; h and l choose one to sort by")          \
    X(COLUMN_LEFT, "column-left", "<", RUNS, "move the chosen column to the left")                 \
    X(COLUMN_RIGHT, "column-right", ">", RUNS, "... to the right")                                 \
    X(COLUMN_NARROWER, "column-narrower", "(", RUNS, "make the chosen column narrower")            \
    X(COLUMN_WIDER, "column-wider", ")", RUNS, "... wider")                                        \
    X(NEXT_CHART, "next-chart", "]", CHART, "next chart, or page of charts")                       \
    X(PREVIOUS_CHART, "previous-chart", "[", CHART, "previous chart, or page of charts")           \
    X(SCALE, "scale", "Y", CHART, "y axis linear, logarithmic, logarithmic on both sides of 0")    \
    X(RANGE, "range", "a", CHART, "y range: full, robust (1 to 99 %), fixed (:set ylim=2,10)")     \
    X(X_MENU, "x-menu", "X", CHART,                                                                \
      "menu: what x is (step, epoch, tokens, time, a metric), its scale")                          \
    X(SMOOTH, "smooth", "s", CHART, "smoothing off, .6, .9, .99; the raw line stays behind")       \
    X(SMOOTH_ASK, "smooth-ask", "S", CHART, "... by a factor that is asked for")                   \
    X(OVERLAY, "overlay", "o", CHART, "overlay the marked runs, or not")                           \
    X(BAND, "band", "b", CHART,                                                                    \
      "groups as mean and band (sd, se, min-max, 10-90 %): seeds, marked runs")                    \
    X(VERSUS, "versus", "d", CHART, "marked runs minus this one, over this one, or themselves")    \
    X(SAMPLE_LEFT, "jump-left", "{", CHART, "crosshair a tenth of the width to the left")          \
    X(SAMPLE_RIGHT, "jump-right", "}", CHART, "... to the right")                                  \
    X(FIRST_SAMPLE, "first-sample", "0", CHART, "... to the first sample in view")                 \
    X(LAST_SAMPLE, "last-sample", "$", CHART, "... to the last one")                               \
    X(EXTREME, "extreme", "*", CHART, "... to the largest value in view, then the smallest")       \
    X(NEXT_MARK, "next-mark", "#", CHART, "... to the next mark or value that is not finite")      \
    X(LINK, "link", "=", CHART, "crosshair in all charts, or in this one alone")                   \
    X(TABLE, "table", "i", CHART,                                                                  \
      "table at the crosshair: raw, smoothed, z, step, time of every run")                         \
    X(SELECT, "select", "v", CHART,                                                                \
      "select from here: move, Enter zooms, Enter again lists its steps")                          \
    X(ZOOM_IN, "zoom-in", "+", CHART, "zoom x in, around the crosshair")                           \
    X(ZOOM_OUT, "zoom-out", "-", CHART, "... out")                                                 \
    X(ZOOM_Y_IN, "zoom-y-in", ">", CHART, "zoom y in")                                             \
    X(ZOOM_Y_OUT, "zoom-y-out", "<", CHART, "... out")                                             \
    X(PAN_LEFT, "pan-left", "(", CHART, "move the view to the left")                               \
    X(PAN_RIGHT, "pan-right", ")", CHART, "... to the right")                                      \
    X(FIT, "fit", "_", CHART, "fit everything again")                                              \
    X(TAIL, "tail", "t", CHART,                                                                    \
      "live tail: only the newest stretch (:set tail=1000), or everything")                        \
    X(NOTE, "note", "m", CHART, "mark the crosshair's step, with a text")                          \
    X(FOLD, "fold", "c", CHART, "charts whose names begin alike (sys/) as one, or unfold them")    \
    X(PIN, "pin", "p", CHART, "pin the chart to the front, or not")                                \
    X(MOVE_CHART_LEFT, "move-chart-left", "A-Left A-Up", CHART,                                    \
      "move the chart forward in the grid")                                                        \
    X(MOVE_CHART_RIGHT, "move-chart-right", "A-Right A-Down", CHART, "... back")                   \
    X(LOG_LEVEL, "log-level", "s", LOG, "all lines, warnings and errors, errors")                  \
    X(LOG_WRAP, "log-wrap", "w", LOG, "long lines whole, or cut")                                  \
    X(LOG_TIME, "log-time", "t", LOG, "times of day, or not")                                      \
    X(STATISTIC, "statistic", "s", HEAT,                                                           \
      "next statistic: infinity norm, kurtosis, 99.9 %, beyond 6 sd, clipped")                     \
    X(SPIKE, "spike", "*", HEAT, "to the layer and step with the largest value, then the next")    \
    X(PLACES, "places", "t", HEAT, "all watched places, the worst first")                          \
    X(NOT_FINITE, "not-finite", "#", HEAT, "to the layer's next value that is not finite")         \
    X(CHANNELS, "channels", "c", HEAT, "the heaviest channels of this layer, and since when")      \
    X(TOKENS, "tokens", "T", HEAT, "token positions with the largest values, as text")             \
    X(FLAG, "flag", "m", HEAT, "flag this layer in the run's record, or not (:flag TEXT)")         \
    X(SITE, "site", "e", HEAT, "next site: attention output, FFN output, ...")                     \
    X(HEAT_OVERLAY, "other-run", "o", HEAT, "the same of the next marked run, same scale")         \
    X(BESIDE, "beside", "b", HEAT, "the strip of the next marked run beside this one, one scale")  \
    X(HIST_SCALE, "histogram-scale", "Y", HIST, "x axis linear, or log |x|")                       \
    X(HIST_OVERLAY, "compare-histogram", "o", HIST, "lay the next marked run's histogram over it") \
    X(OLDER_SOLVE, "older-solve", "[", RESIDUAL, "the recorded batch before (so does h)")          \
    X(NEWER_SOLVE, "newer-solve", "]", RESIDUAL, "the next recorded batch (so does l; G: newest)") \
    X(SOLVE_SPLIT, "solve-split", "e", RESIDUAL, "solves of training or of evaluation")            \
    X(SOLVE_BAND, "solve-band", "b", RESIDUAL, "band from 10 to 90 % of the samples, or all")      \
    X(SOLVE_MEAN, "solve-mean", "a", RESIDUAL, "one recorded batch, or means of the last 16")      \
    X(SOLVE_SCALE, "solve-scale", "Y", RESIDUAL, "y axis from 1e-8 to 1, or what is needed")       \
    X(SOLVE_OVERLAY, "solve-overlay", "o", RESIDUAL, "overlay marked runs and layers, or not")     \
    X(SOLVE_BACKWARD, "solve-backward", "d", RESIDUAL, "forward solves, or those of gradients")    \
    X(SOLVE_ABSOLUTE, "solve-absolute", "r", RESIDUAL, "relative or absolute residuals")           \
    X(SOLVE_LAYER, "solve-layer", "c", RESIDUAL, "the next layer with solves of its own")          \
    X(SOLVE_INSIDE, "solve-inside", "i", RESIDUAL,                                                 \
      "energy and state of the batch (so does Enter)")                                             \
    X(TENSOR_SORT, "tensor-sort", "s", TENSORS, "sort the tensors by the next column")             \
    X(TENSOR_REVERSE, "tensor-reverse", "R", TENSORS, "reverse their order")                       \
    X(OLDER_SEED, "previous-seed", "[", TENSORS, "the run before of this method")                  \
    X(NEWER_SEED, "next-seed", "]", TENSORS, "the next run of this method")                        \
    X(RANK_TENSORS, "sensitivity", "S", TENSORS, "rank the tensors, each quantized alone (a job)") \
    X(RESTORE, "restore", "=", TENSORS, "this tensor back in floating point, as one more row")     \
    X(TENSOR_DIFF, "tensor-diff", "D", TENSORS, "SQNR less that of the next marked run")           \
    X(TENSOR_OUTLIERS, "tensor-outliers", "O", TENSORS, "the outlier strip of this place")         \
    X(NEXT_CHANNEL, "next-channel", "c", FORECAST, "next channel (so does j; k: the one before)")  \
    X(NEXT_WINDOW, "next-window", "w", FORECAST, "next window (so does l; h: the one before)")     \
    X(OLDER_FORECAST, "older-forecast", "[", FORECAST, "the evaluation before")                    \
    X(NEWER_FORECAST, "newer-forecast", "]", FORECAST, "the next evaluation (G: the newest)")      \
    X(FORECAST_PART, "forecast-part", "e", FORECAST, "windows of the test or the validation part") \
    X(SCORE_SORT, "metric-sort", "s", SCORES, "sort the runs by this metric, or as marked")        \
    X(SCORE_REVERSE, "metric-reverse", "R", SCORES, "reverse their order")                         \
    X(SCORE_VALUE, "metric-value", "a", SCORES,                                                    \
      "last values, best ones, or those at the crosshair")                                         \
    X(SCORE_SEEDS, "metric-seeds", "B", SCORES, "mean and deviation over seeds, or none")          \
    X(REFERENCE, "reference", "r", SCORES, "compare with the run under the cursor")                \
    X(RELATION, "relation", "d", SCORES, "values, differences to the reference, or ratios")        \
    X(ALIGN, "align", "X", SCORES,                                                                 \
      "x axis: steps, tokens (samples), time, steps since a crossing")                             \
    X(SCORE_BAND, "metric-band", "b", SCORES, "runs that differ in their seed as mean and band")   \
    X(ONLY_DIFFERENT, "only-different", "D", SCORES,                                               \
      "only what differs, or all options and series")                                              \
    X(DIFFERENCE_KIND, "difference-kind", "e", SCORES,                                             \
      "options, surroundings, scripts, knobs, causes")                                             \
    X(CAUSES, "causes", "w", SCORES, "which option explains the metric")                           \
    X(SYSTEM_OVERLAY, "system-overlay", "o", MACHINE, "overlay the marked runs, or not")           \
    X(SCRIPT_EDIT, "script-edit", "e", SCRIPT, "edit a copy of the script in $EDITOR")             \
    X(SCRIPT_DIFF, "script-diff", "d", SCRIPT, "what the copy changed, or the file since the run") \
    X(SCRIPT_TYPE, "script-type", "i", SCRIPT,                                                     \
      "type into a copy: C-s saves, C-_ undoes, Esc saves and ends")                               \
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
    const char *owner;        /* who asked for it, borrowed; NULL: the table, or the user's `:map` */
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
/* The same for somebody with a name ("config.lua:12"), which the map borrows. What somebody else with
 * a name had bound these keys to in the same place comes into *conflicts, a line each: "Q: quit
 * (config.lua:12) and log (views/mine.lua:3)"; the later one wins. */
HL_MUST_CHECK hl_status hl_keymap_bind_for(hl_keymap *m, const char *keys, const char *action,
                                           const char *owner, hl_str *conflicts);
/* What the keys pressed in turn do in a pane. */
hl_action hl_keymap_find(const hl_keymap *m, hl_pane pane, const int *keys, int n);
/* The first keys of an action as text, "g g"; "" if it has none. */
const char *hl_keymap_keys(const hl_keymap *m, hl_action a, char buf[64]);

#endif
