/* The workbench's state and what its parts offer each other. Everything here belongs to the main
 * thread. The screen draws into a grid and takes keys; it never touches a terminal's descriptors,
 * so tests drive it with a dump terminal.
 *
 * DESIGN: what a picture depends on is the model (what runs said), the look (what the user chose:
 * copied for undo) and cursors. Panes (hl_pane_class) draw it; a view is a tree of panes. Keys
 * become actions through the keymap, `:` lines become commands; both end in the functions below. */
#ifndef HL_VIEWS_SCREEN_H
#define HL_VIEWS_SCREEN_H

#include "views/charts.h"
#include "views/comparison.h"
#include "views/console.h"
#include "views/keymap.h"
#include "views/layout.h"
#include "views/line.h"
#include "views/model.h"
#include "views/request.h"
#include "views/pane_script.h"
#include "views/scripted.h"
#include "views/widgets/chart.h"
#include "views/widgets/heat.h"

/* ---- views ---- */

typedef enum hl_view {
    HL_VIEW_RUNS,
    HL_VIEW_RUN,
    HL_VIEW_OUTLIERS,
    HL_VIEW_DEQ,
    HL_VIEW_QUANT,
    HL_VIEW_COMPARE,
    HL_VIEW_SYSTEM,
    HL_VIEW_LUA,
    HL_VIEW_FORECAST, /* without a digit */
    HL_VIEW_SCRIPTED, /* one of those that scripts made: scripted.shown */
    HL_VIEW_COUNT
} hl_view;

typedef struct hl_view_class {
    const char *name;
    const hl_node *nodes;
    int n_nodes;
    hl_pane focus;   /* at first */
    uint32_t hidden; /* panes not shown at first */
} hl_view_class;
const hl_view_class *hl_view_get(hl_view v);
int hl_view_digit(hl_view v); /* the key that shows it; 0: none */

/* ---- the look: what undo brings back ---- */

enum { HL_FILTER_MAX = 256, HL_COLUMNS_TEXT = 480, HL_HIDDEN_MAX = 64 };

typedef struct hl_look {
    hl_view view;
    hl_pane focus[HL_VIEW_COUNT];
    uint32_t hidden[HL_VIEW_COUNT];
    bool zoom, half, overlay, reverse; /* half: the focused pane is large, the others are there */
    uint16_t share[HL_VIEW_COUNT][HL_SIZE_COUNT][HL_NODES_MAX]; /* sizes chosen; hl_layout_in */
    char sort[HL_RUN_KEY_MAX];           /* what the list is sorted by */
    char columns[HL_COLUMNS_TEXT];       /* of the list, "KEY[:WIDTH] ..."; "": the default ones */
    char group[HL_RUN_KEY_MAX];          /* "": none; "seeds"; or keys between blanks */
    bool differ;                         /* only what differs among the marked runs */
    uint64_t hidden_runs[HL_HIDDEN_MAX]; /* hashes of directories */
    int n_hidden;
    bool console, script; /* panes under whatever view */
    int states;                       /* which runs: hl_state_set */
    int chart;                        /* the focused one; -1: the first */
    double smooth;                    /* 0: off */
    hl_charts_look charts;
    int statistic; /* hl_statistic, or one of layers.h */
    char site[64];                                 /* "": the first one */
    bool strips_beside;                            /* the strip of other_run beside the run's */
    bool hist_linear;                              /* x of histograms; else log |x| */
    bool solve_eval, solve_extremes, solve_fitted, solve_mean; /* DEQ: split, band, y axis */
    bool solve_inside;                                         /* energy and state of the batch */
    hl_solve_kind solve_kind;
    int solve_layer; /* of those that the run records; the others count from it */
    int tensor_sort;                               /* hl_tensor_column, or HL_TENSOR_BY_NAME */
    bool tensor_reverse;
    bool forecast_eval; /* of the validation part, not of the test part */
    hl_compare_look compare;
    char filter[HL_FILTER_MAX], log_filter[HL_FILTER_MAX];
    int log_level;              /* 0: all lines are shown; up to errors alone */
    bool log_wrap, log_untimed; /* long lines whole; no times of day */
} hl_look;

typedef enum hl_state_set {
    HL_STATES_ALL,
    HL_STATES_LIVE,
    HL_STATES_DONE,
    HL_STATES_BROKEN,
    HL_STATES_COUNT
} hl_state_set;

enum { HL_UNDO_MAX = 32 };

/* ---- the list of runs (run_lines.c, columns.c) ---- */

enum { HL_COLUMNS_MAX = 24 };

typedef struct hl_column {
    char name[HL_RUN_KEY_MAX]; /* its key */
    int width;                 /* columns asked for; 0: as it needs */
    /* found anew with each list */
    hl_run_key key;
    bool known; /* some run has it */
    bool is_number;
    int needs;    /* columns */
    bool differs; /* the marked runs have not all the same in it: hl_screen_differ */
} hl_column;

/* The answer of a filter in Lua. */
typedef struct hl_lua_filter {
    char text[HL_FILTER_MAX]; /* what was asked last, */
    uint64_t of_list;         /* and of which list of runs (model.n_lists) */
    int64_t ticket;           /* of the order that is not answered; <= 0: none is */
    bool is_known;            /* there is an answer to this text */
    HL_VEC(uint64_t) fits;    /* hashes of the names of directories, sorted */
} hl_lua_filter;

/* In what the marked runs differ. */
typedef struct hl_differ {
    uint64_t of;                     /* hash of what it follows from; 0: nothing yet */
    HL_VEC(const hl_run_row *) rows; /* those runs */
    HL_VEC(const char *)
    keys; /* of the configuration, in which they are not all the same;
             borrowed from the rows */
} hl_differ;

/* Runs with something in common. */
typedef struct hl_run_group {
    uint64_t key;
    int first, n; /* its runs, places in hl_screen.order */
    int n_broken, n_live;
    int line; /* of the list; -1: it is one run without a line of its own */
    bool open;
    char label[96];
} hl_run_group;

/* A line of the list: a run, or a group above its runs. */
typedef struct hl_run_line {
    int row;   /* of model.rows; of a group its first run */
    int group; /* place in groups; -1: in none, or alone in its own */
    bool is_group;
} hl_run_line;

/* ---- settings, `:set` (options.c) ---- */

typedef struct hl_settings {
    bool mouse, heat_auto, title, bell;
    int fps;
    int grid_cols, grid_rows; /* of charts; 0: as fits */
    int sensitivity;          /* batches that tensors are ranked over */
} hl_settings;

/* ---- state of the parts ---- */

typedef struct hl_mark {
    char *dir;
    uint64_t hash; /* of dir */
    int color;     /* kept while it is marked; letter and series role follow from it */
} hl_mark;

/* The colour that a run was given first. */
typedef struct hl_kept_color {
    uint64_t run; /* hash of the name of its directory */
    int color;
} hl_kept_color;

typedef enum hl_mode {
    HL_MODE_NORMAL,
    HL_MODE_COMMAND, /* the `:` line */
    HL_MODE_FILTER,  /* the `/` line */
    HL_MODE_CONSOLE, /* a line of Lua */
    HL_MODE_SCRIPT,  /* into the copy of a script, or a word to look for in it */
    HL_MODE_POPUP
} hl_mode;

typedef struct hl_popup_class hl_popup_class;

typedef struct hl_launched {
    hl_launch *launch; /* NULL: free */
    char name[64];
    bool heard; /* its word has come: it started as `id`, or not and why */
    char id[128];
    int exit_status;
    char message[HL_ERR_MESSAGE_MAX];
    bool shown;    /* it is in the list */
    bool is_job;   /* no run of its own: something about a run, heard of when it is over */
    char dir[512]; /* of that run */
} hl_launched;

enum { HL_LAUNCHES_MAX = 8 };

enum { HL_MESSAGES_MAX = 64 };

typedef struct hl_messages {
    struct {
        char text[200];
        hl_role role;
    } at[HL_MESSAGES_MAX];
    int64_t n; /* said so far; the last ones are kept */
} hl_messages;

struct hl_screen {
    hl_term *term; /* borrowed */
    hl_model model;
    hl_requests requests;
    hl_keymap keymap;
    hl_settings settings;
    hl_look look, before[HL_UNDO_MAX], after[HL_UNDO_MAX];
    int n_before, n_after;
    hl_view last_view;

    hl_grid grid;
    hl_layout layout;
    hl_node nodes[HL_NODES_MAX]; /* of a view whose panes depend on what they show */
    bool dirty, quit;

    /* sizes of panes (sizes.c) */
    char *sizes_path;
    bool sizes_changed;
    hl_border dragged; /* by the mouse; split < 0: none */
    int drag_x, drag_y;
    bool drag_moved;
    hl_pane mouse_pane; /* where the button was pressed, until it is let go; HL_PANE_COUNT: none */
    bool sourcing;    /* :source goes on */
    hl_action repeat; /* what `.` does again */

    /* run list */
    HL_VEC(int) order; /* rows that fit, as indices of model.rows; of closed groups too */
    HL_VEC(hl_run_group) groups;
    HL_VEC(hl_run_line) lines;    /* what the list draws */
    HL_VEC(int) line_of;          /* of each row of model.rows: its line or its group's; -1: none */
    HL_VEC(uint64_t) open_groups; /* their keys */
    hl_filter *filter;            /* look.filter, for the rows as they are; NULL: none */
    hl_lua_filter lua_filter;     /* if it is in Lua */
    hl_column columns[HL_COLUMNS_MAX];
    int n_columns, column; /* column: under the cursor, -1: none */
    bool columns_changed;  /* since they were written */
    int n_column_changes;
    struct {
        bool on, moved; /* by the mouse; it has done something */
        bool edge;      /* its left edge, not its title */
        int column, x, width;
    } held_column;
    hl_differ differ;
    char *selected;        /* directory of the run under the cursor, or NULL */
    bool on_group;         /* the cursor is on the group of that run */
    int cursor_was;        /* its line when it was there last */
    int list_top, list_rows;
    int n_live;                   /* runs that are live, */
    uint64_t live_of;             /* in this list: model.n_lists */
    HL_VEC(hl_mark) marks;        /* marked runs */
    HL_VEC(bool) taken;           /* colours that they have */
    HL_VEC(hl_kept_color) colors; /* oldest first */
    bool colors_changed;          /* since they were written */
    uint64_t n_marked;            /* grows with each mark that is set or taken away */

    /* charts */
    HL_VEC(hl_chart_state) charts;
    uint64_t charts_of; /* hash of the runs that their axes were made for */
    bool has_crosshair, has_anchor;
    double crosshair_x, anchor_x; /* steps */
    bool crosshair_alone;         /* in the focused chart, not in all */
    double tail;                  /* width that t turns on; 0: not chosen yet */
    HL_VEC(hl_chart_note) chart_notes;

    /* log: place of the line under its cursor; -1 follows what comes */
    int64_t log_last;
    void *log_lines; /* scratch of the pane */

    /* outliers */
    hl_heat heat, heat_beside; /* of the run, of the one beside it */
    uint64_t heat_of; /* hash of the run that its axis was made for */
    int layer;        /* row of the strip */
    char *other_run;  /* directory whose histogram lies over the run's, or NULL */

    /* DEQ */
    int64_t solve_step; /* of the recorded batch shown; -1: the newest */
    hl_chart residual;  /* its axes */
    hl_heat solve_heat;
    uint64_t residual_of, solve_heat_of; /* hashes of the runs that they were made for */

    /* quantizations */
    hl_methods methods; /* of the rows shown */
    uint64_t quant;     /* recipe looked at; 0: the run's newest */
    char tensor[160];   /* under the cursor; "": the first */
    hl_tensors tensors; /* of the quantization looked at, in the order shown */
    int method_top, tensor_top;

    /* forecasts */
    int64_t forecast_step; /* of the evaluation shown; -1: the newest */
    size_t forecast_channel, forecast_window;
    hl_compare_state compare; /* runs side by side */

    /* the machine */
    char system_row[48]; /* tag of the quantity under the cursor; "": the first */
    int system_top;
    hl_chart system_chart; /* its axes, */
    uint64_t system_chart_of; /* and hash of what they were made for */

    /* typing */
    hl_mode mode;
    hl_line line;
    hl_history commands, filters;
    char *history_path;
    char filter_before[HL_FILTER_MAX];
    char *selected_before; /* of the filter being typed */
    bool filters_log;      /* it is that of the log pane */
    int bad_word;          /* of the filter being typed, -1: none */
    int bad_bytes;
    HL_VEC(char *) completions;
    int completion; /* the one taken; -1: none yet */
    size_t completion_from;
    int64_t n_alerts; /* of the runs in view, as far as the bell has heard of them */
    char theme_before[32]; /* of the one that is looked at while its name is typed; "": none */
    int key[HL_KEYS_IN_TURN], n_keys; /* of a binding that has begun */
    struct {
        int n;        /* typed so far; 0: none */
        int64_t t_ms; /* of its last digit */
        hl_view view, last_view;
        bool zoom; /* as they were before its first one */
    } count;

    hl_console console;
    hl_scripted scripted;
    hl_script_shown script;

    /* popup */
    const hl_popup_class *popup;
    int popup_row, popup_top;
    bool popup_search; /* a word is being typed: in `line`, as all that is typed */

    hl_str described; /* what the text popup shows */
    hl_messages messages; /* what was said, for :messages */
    char titled[160];     /* what the window is called; "": not by us */
    char notice[400];     /* result of the last command or action */
    HL_VEC(char *) deleting;   /* directories that are asked about */
    hl_role notice_role;
    hl_launched launched[HL_LAUNCHES_MAX];
    bool open_launched; /* show the first one as soon as it is in the list */
};

/* ---- the screen (screen.c) ---- */

HL_MUST_CHECK hl_status hl_screen_open(hl_screen *s, hl_term *term, const char *runs_dir);
void hl_screen_close(hl_screen *s);
/* One key, click or paste. */
void hl_screen_input(hl_screen *s, const hl_input *in);
/* Takes what runs and requests have to say; sets dirty. */
void hl_screen_update(hl_screen *s);
/* Draws the picture into s->grid, for the terminal's size now. */
void hl_screen_draw(hl_screen *s);

void hl_screen_say(hl_screen *s, hl_role role, const char *fmt, ...) HL_PRINTF(3, 4);
void hl_screen_say_error(hl_screen *s); /* the stored error */
void hl_screen_copy(hl_screen *s, const char *text);
void hl_screen_remember(hl_screen *s); /* the look, for undo, before it is changed */
void hl_screen_set_view(hl_screen *s, hl_view v);
hl_pane hl_screen_focus(const hl_screen *s);
void hl_screen_act(hl_screen *s, hl_action a);
void hl_screen_close_popup(hl_screen *s);
void hl_screen_mouse(hl_screen *s, const hl_input *in);
/* Several keys may come before a picture: whoever asks for the layout makes it first. */
void hl_screen_lay_out(hl_screen *s);
hl_layout_in hl_screen_layout_in(hl_screen *s);
void hl_screen_paint(hl_screen *s); /* panes and frames; part of hl_screen_draw */

/* ---- counts (count.c) ---- */

/* A key that may be a digit of one; a: what it does by itself. true: it does nothing else. */
bool hl_count_digit(hl_screen *s, const hl_input *in, hl_action a);
/* The keys so far, behind digits: done as often as those say. false: they are no movement. */
bool hl_count_act(hl_screen *s, const hl_input *in);

/* ---- sizes of panes (sizes.c) ---- */

/* The focused pane by so many columns, or rows (one of the two is 0). */
void hl_screen_resize_pane(hl_screen *s, int columns, int rows);
void hl_screen_reset_sizes(hl_screen *s); /* of the view shown */
void hl_screen_drag(hl_screen *s, const hl_input *in);
void hl_screen_load_sizes(hl_screen *s);
void hl_screen_save_sizes(hl_screen *s);

/* ---- runs (selection.c) ---- */

void hl_screen_order(hl_screen *s); /* the rows shown, after a change of rows, filter or sorting */
const hl_run_row *hl_screen_row(const hl_screen *s); /* under the cursor; NULL: none */
hl_watched *hl_screen_run(hl_screen *s);             /* its events; NULL: none */
void hl_screen_select(hl_screen *s, const char *dir);
/* After a filter took the run under the cursor away: the cursor stays at its place in the list. */
void hl_screen_stay(hl_screen *s);
void hl_screen_move(hl_screen *s, int rows);
int hl_screen_cursor(const hl_screen *s); /* index in order; -1: none */
int hl_screen_line(const hl_screen *s);   /* index in lines; -1: none */
void hl_screen_to_line(hl_screen *s, int line);
/* Lines and groups of the rows in order (run_lines.c). key: what they are sorted by. */
void hl_run_lines_make(hl_screen *s, const hl_run_key *key);
void hl_run_group_toggle(hl_screen *s, uint64_t key);
void hl_screen_hide(hl_screen *s); /* the run or group under the cursor (pane_runs.c) */

/* ---- filters in Lua (lua_filter.c) ---- */

bool hl_lua_filter_is(const char *text);
void hl_lua_filter_ask(
    hl_screen *s); /* look.filter, of the list as it is, if that is not known yet */
/* All do while there is no answer, or none of use. */
bool hl_lua_filter_fits(const hl_screen *s, const hl_run_row *row);
bool hl_lua_filter_reply(hl_screen *s, const hl_script_reply *r); /* false: not for it */
void hl_lua_filter_done(hl_lua_filter *f);

/* ---- what is done to runs (edit.c) ---- */

/* The command `what` on runs (words behind its text), or on the one under the cursor; "%marked" are
 * the marked ones. Deleting asks first. */
void hl_edit_command(hl_screen *s, hl_run_edit what, char *const *words, int n);
void hl_edit_tell(hl_screen *s); /* what came of it */

/* ---- columns of the list (columns.c) ---- */

void hl_columns_make(hl_screen *s); /* from the look and the rows */
/* "eval/ppl.min lr:8", "+lr", "-kurt step>": puts them, adds, takes away; "default". ARG: says why.
 */
HL_MUST_CHECK hl_status hl_columns_change(hl_screen *s, const char *text);
/* The one under the cursor, to the right; wider. again: a part of the change before, for undo. */
void hl_column_move(hl_screen *s, int by, bool again);
void hl_column_resize(hl_screen *s, int by, bool again);
void hl_columns_text(const hl_screen *s, char *buf, size_t n); /* as they are now */
const char *hl_column_title(const hl_column *k);
/* Of a run, and over a group's runs, in the first row. */
void hl_column_draw(const hl_column *k, hl_canvas c, const hl_run_row *row, hl_style s);
void hl_column_draw_group(const hl_screen *s, const hl_column *k, hl_canvas c,
                          const hl_run_group *g, hl_style style);
int hl_column_rank(const hl_column *k, int place); /* the highest gives way first */
/* As they were left, for each store: in the user's state directory. */
void hl_columns_load(hl_screen *s);
void hl_columns_save(const hl_screen *s);

/* ---- what differs among runs (differ.c) ---- */

/* Among the marked runs, with the one under the cursor. Also sets `differs` of the columns.
 * Borrowed until something changes. */
const hl_differ *hl_screen_differ(hl_screen *s);
void hl_differ_done(hl_differ *d);
const char *hl_screen_open_run(hl_screen *s, const char *run); /* id, name, tail: its directory */

/* ---- marks (marks.c) ---- */

bool hl_screen_is_marked(const hl_screen *s, const char *dir);
void hl_screen_mark(hl_screen *s, const char *dir, bool on);
int hl_screen_color(const hl_screen *s, const char *dir);
hl_style hl_color_style(int color);
char hl_color_letter(int color);
void hl_marks_done(hl_screen *s);
/* Which run had which colour, for each store: in the user's state directory. */
void hl_colors_load(hl_screen *s);
void hl_colors_save(const hl_screen *s);

/* ---- what is kept for each store (kept.c) ---- */

/* The text of this store in the file `name` of the user's state directory. Owned; NULL: none. */
char *hl_kept_load(const hl_screen *s, const char *name);
/* One line of text in its place; "" takes it away. What cannot be written is lost. */
void hl_kept_save(const hl_screen *s, const char *name, const char *text);

enum { HL_SHOWN_MAX = 12 };
typedef struct hl_shown {
    const hl_run_row *row;
    hl_watched *run;
    int color;
} hl_shown;
/* The runs that charts show: the one under the cursor first, then marked ones if they overlay. */
int hl_screen_shown(hl_screen *s, hl_shown out[HL_SHOWN_MAX]);

/* ---- solves of equilibrium layers (pane_deq.c) ---- */

enum { HL_SOLVE_LAYERS_MAX = 8, HL_SOLVE_LAYER_MAX = 32 };
typedef struct hl_solve_shown {
    hl_shown of;
    char layer[HL_SOLVE_LAYER_MAX]; /* "": it has no name */
    hl_solved *at; /* the recorded batch shown, its evaluations counted */
    double tol;
    bool tol_known; /* from the run's configuration */
} hl_solve_shown;
/* Of the runs that charts show, those with recorded solves; none if the one under the cursor has
 * none. With overlays the other layers of that run come behind it. */
int hl_solves_shown(hl_screen *s, hl_solve_shown out[HL_SHOWN_MAX]);
/* A series of the split looked at: "deq/calls" of a layer in training or evaluation; NULL: none. */
hl_data *hl_solves_series(const hl_screen *s, const hl_watched *w, const char *layer,
                          const char *name);
/* What is recorded of that batch under the name: "deq/ended"; NULL: nothing. */
const hl_solved *hl_solves_of_batch(const hl_screen *s, const hl_solve_shown *x, const char *name);
/* The residuals that are looked at, of the layer looked at; NULL: none. */
hl_solves *hl_solves_looked_at(const hl_screen *s, const hl_watched *w);
void hl_solves_draw_energy(hl_screen *s, hl_canvas c); /* pane_deq_state.c */
void hl_solves_draw_state(hl_screen *s, hl_canvas c);
bool hl_solves_act(hl_screen *s, hl_action a);   /* the keys of all panes of the view */
void hl_solves_look_at(hl_screen *s, int place); /* of the run's recorded batches */

/* ---- charts (chart_keys.c, chart_zoom.c; charts.h has the rest) ---- */

bool hl_chart_act(hl_screen *s, hl_action a);
bool hl_chart_zoom_act(hl_screen *s, hl_action a);
/* `:grid`: a size, patterns of series, or "all" of them again. */
void hl_chart_pick(hl_screen *s, const char *what);
/* `:chart`: one more, of a formula. */
void hl_chart_formula(hl_screen *s, const char *formula);
/* `:annotate`: a text at the step under the crosshair. */
void hl_chart_annotate(hl_screen *s, const char *text);
/* The points of the focused chart's run over steps; NULL: none. */
const hl_pyramid *hl_chart_points(hl_screen *s);
/* The x axis of the focused chart's last picture; false: there was none. */
bool hl_chart_shown_x(hl_screen *s, hl_scale *x);
/* Zooms x to [lo, hi] in its own units; undone by u. */
void hl_chart_zoom_to(hl_screen *s, double lo, double hi);
extern const hl_popup_class hl_popup_x, hl_popup_table, hl_popup_steps;

/* ---- quantizations (pane_quant.c) ---- */

/* The one looked at of the run under the cursor; NULL: none is recorded (yet). */
const hl_quantization *hl_quant_shown(hl_screen *s);
/* That of the run it is compared with (s->other_run): by the same recipe, else its newest. */
const hl_quantization *hl_quant_other(hl_screen *s);
/* Its place in s->methods: the recipe looked at, else the run's newest one, else any of its method;
 * -1: none. */
int hl_method_shown(hl_screen *s);
void hl_method_look_at(hl_screen *s, int place);
/* The next run of the same method that is quantized so, or the one before. */
void hl_method_next_seed(hl_screen *s, int by);
/* Its tensor under the cursor, from s->tensors, which is made anew; NULL: none. */
const hl_tensor *hl_tensor_shown(hl_screen *s);
bool hl_quant_act(hl_screen *s, hl_action a);  /* the keys of all panes of the view */
void hl_tensor_act(hl_screen *s, hl_action a); /* those that do something with the tensor */
/* Under the strip's cursor what is recorded of a tap; false: nothing is. */
bool hl_heat_look_at(hl_screen *s, const char *tap);
/* hoplab quantize of the run under the cursor in a process of its own, with these words behind; it
 * adds to the run's events, once the run is over. */
void hl_quant_start_job(hl_screen *s, char *const *words, int n, const char *what);
/* A job about this run goes on: what it does; NULL: none. */
const char *hl_quant_job(const hl_screen *s, const char *dir);

/* ---- forecasts (pane_forecast.c) ---- */

typedef struct hl_forecast_shown {
    const hl_forecast_table *table;
    size_t place, n; /* of the recorded ones of its part */
    size_t channel, window;
    bool is_eval, has_window;
} hl_forecast_shown;
/* Of the run under the cursor: of the part looked at, else of the other one. false: none. */
bool hl_forecast_shown_get(hl_screen *s, hl_forecast_shown *out);
bool hl_forecast_act(hl_screen *s, hl_action a); /* the keys of all panes of the view */
/* ---- what leaves the screen (export.c, screenshot.c, chart_words.c) ---- */

/* `:export`: what ("csv"; NULL: as the path ends) into a file. Says what it did. */
void hl_screen_export(hl_screen *s, const char *what, const char *path);
/* Into a file, if st says that the bytes could be made; says how it went. Frees them. */
void hl_screen_save(hl_screen *s, const char *path, hl_status st, hl_str *bytes);
const char *hl_export_kind(int i); /* their names; NULL: no more */
void hl_screen_ask_export(hl_screen *s); /* the command with a name for this pane */
void hl_screen_copy_view(hl_screen *s);
void hl_screen_describe(hl_screen *s); /* `:describe`: the focused chart in words */
/* A chart as numbers or as a picture, with the command that draws it. Errors: UNSUPPORTED (PNG
 * without cairo), NOMEM. */
HL_MUST_CHECK hl_status hl_chart_export(hl_screen *s, int chart, const char *what, hl_str *out);
/* "hoplab plot oeh-s1 train/loss --yscale log": what draws this chart again. */
void hl_chart_command(hl_screen *s, int chart, hl_str *out);
/* Range, trend over three thirds, last, best, spikes, what is not finite, of every line. */
void hl_chart_describe(hl_screen *s, int chart, hl_str *out);
extern const hl_popup_class hl_popup_text;
/* ---- runs side by side (comparison.c) ---- */

/* The runs compared: the marked ones, and the one under the cursor where fewer than two are. Asks
 * for what is not read yet; called before the view is drawn. */
void hl_compare_update(hl_screen *s);
bool hl_compare_is_busy(const hl_screen *s); /* something is being read */
void hl_compare_done(hl_screen *s);
const hl_comparison *hl_compare_shown(hl_screen *s); /* of two runs and more; NULL: there is none */
size_t hl_compare_metric_shown(hl_screen *s);        /* of it; SIZE_MAX: they have none */
size_t hl_compare_row_shown(hl_screen *s);           /* the run under the cursor of the table */
size_t hl_compare_reference(hl_screen *s);
int64_t hl_compare_step(const hl_screen *s); /* of values at a step: asked for, or the crosshair's */
typedef HL_VEC(const char *) hl_compare_dirs;
/* The lines of the table: runs, and means of those that differ in their seed alone. */
typedef struct hl_compare_line {
    int run, group; /* run -1: the mean of the group */
} hl_compare_line;
typedef HL_VEC(hl_compare_line) hl_compare_lines;
void hl_compare_list(hl_screen *s, hl_compare_lines *out);
bool hl_compare_takes(const hl_screen *s, const hl_compare_row *row, bool is_metric);
bool hl_compare_act(hl_screen *s, hl_action a); /* the keys of all panes of the view */
/* What to do where nothing can be compared (yet). */
void hl_compare_put_nothing(hl_screen *s, hl_canvas c);
/* `:compare` with these words behind. */
void hl_compare_command(hl_screen *s, char *const *words, int n);
int hl_differences_n(hl_screen *s); /* rows that the pane of differences has */
/* Table and differences take no more rows than they have lines, frame and titles. */
void hl_compare_fit(hl_screen *s, hl_layout_in *in);

/* ---- the machine (pane_system.c) ---- */

/* The newest value of a series, or that at the crosshair; false: none. d may be NULL. */
bool hl_system_value(const hl_screen *s, const hl_data *d, double *v);

/* ---- panes ---- */

/* Left, right, first and last sample, and back: moves or takes away the crosshair, on points that
 * are looked for when they are needed (NULL: there are none). false: another action. */
bool hl_screen_act_on_crosshair(hl_screen *s, hl_action a,
                                const hl_pyramid *(*points)(hl_screen *s));
/* The first row shown of a list of n, so that its cursor (-1: none) is in view; from *top, the last
 * one. */
int hl_list_scroll(int *top, int cursor, int n, int visible);
const char *hl_unknown(const hl_canvas *c); /* a value that is not there */
/* Why nothing of the run can be shown: there is none, or it cannot be read. false: it can. */
bool hl_screen_put_trouble(hl_screen *s, hl_canvas c);

typedef struct hl_pane_class {
    bool framed, focusable;
    void (*title)(hl_screen *s, char *buf, size_t n);
    void (*draw)(hl_screen *s, hl_canvas c, bool focused);
    bool (*act)(hl_screen *s, hl_action a);                        /* false: not for it; or NULL */
    void (*click)(hl_screen *s, int x, int y, hl_mouse_what what); /* inside the frame; or NULL */
} hl_pane_class;

extern const hl_pane_class hl_pane_runs, hl_pane_details, hl_pane_progress, hl_pane_chart,
    hl_pane_strip, hl_pane_log, hl_pane_heat, hl_pane_hist, hl_pane_control, hl_pane_residual,
    hl_pane_evaluations, hl_pane_solves, hl_pane_solve_heat, hl_pane_methods, hl_pane_tensors,
    hl_pane_sensitivity, hl_pane_scores, hl_pane_differences, hl_pane_paired,
    hl_pane_machine, hl_pane_step_time, hl_pane_history, hl_pane_forecast,
    hl_pane_residuals, hl_pane_ahead, hl_pane_console, hl_pane_scripted, hl_pane_script;
const hl_pane_class *hl_pane_get(hl_pane p);
/* The next marked run is what s->other_run names; behind the last one none. */
void hl_screen_next_other(hl_screen *s);
bool hl_heat_act(hl_screen *s, hl_action a);
/* Flags the layer under the strip's cursor (app/flag.h); text "" takes a flag away that is there. */
void hl_heat_flag(hl_screen *s, const char *text);
int hl_heat_rows(hl_screen *s); /* layers that the outlier strip shows */
/* "name value ▁▂▃" in the first row from column x on: the newest part of a series, which may be
 * NULL; gives the columns used. */
int hl_screen_put_trace(hl_canvas c, int x, const char *name, const hl_data *d);

/* ---- popups (popup.c) ---- */

struct hl_popup_class {
    const char *title;
    void (*size)(hl_screen *s, int *w, int *h);
    void (*draw)(hl_screen *s, hl_canvas c);
    void (*key)(hl_screen *s, int key);
};
extern const hl_popup_class hl_popup_messages, hl_popup_help, hl_popup_control, hl_popup_stop,
    hl_popup_tensor, hl_popup_delete, hl_popup_knobs, hl_popup_places, hl_popup_channels,
    hl_popup_tokens, hl_popup_attention;
void hl_popup_attention_open(hl_screen *s); /* at the head under the strip's cursor */
void hl_screen_popup(hl_screen *s, const hl_popup_class *p);
bool hl_popup_is_close(int key);
/* Movement in a list of n rows; false: another key. */
bool hl_popup_move(hl_screen *s, int key, int n);
/* The first row of a list that is shown, so that the cursor is in view. */
int hl_popup_scrolled(hl_screen *s, int visible);
/* What a knob is now, and what it was asked to become ("": nothing). */
void hl_knob_text(hl_screen *s, const hl_json *knob, char *value, char *pending, size_t n);

/* ---- controls (controls.c) ---- */

/* Asks the run under the cursor. args_json may be NULL. false: it is not asked, and why is said. */
bool hl_screen_ask(hl_screen *s, hl_bus_cmd cmd, const char *args_json, const char *what);
/* The same with one word (hl_bus_word_args) or none. */
bool hl_screen_ask_word(hl_screen *s, hl_bus_cmd cmd, const char *what, const char *word);
void hl_screen_pause(hl_screen *s); /* or resume */
void hl_screen_abort(hl_screen *s); /* ends the run's process at once */
/* Quantizes the run under the cursor with these options: the live run does it itself, for one that
 * is over a job. */
void hl_screen_quantize(hl_screen *s, char *const *words, int n, const char *what);
/* Withdraws a request; number NULL: the newest of this screen. */
void hl_screen_cancel(hl_screen *s, const char *number);
/* Who has the controls of a run, "" for nobody or not known. */
const char *hl_screen_holder(hl_screen *s, const char *dir, char buf[80]);
void hl_screen_stop(hl_screen *s, bool checkpoint);
/* Starts a run; argv as hl_launch_start. */
void hl_screen_launch(hl_screen *s, char *const *argv, const char *name);
/* Starts something about the run `dir` that is no run; `name` says what. */
void hl_screen_start_job(hl_screen *s, char *const *argv, const char *name, const char *dir);
void hl_screen_reap(hl_screen *s); /* launches that have something to say */

/* ---- command line (command.c) and settings (options.c) ---- */

void hl_screen_command(hl_screen *s, const char *line);
/* The commands of a file, one a line, up to the first that is wrong; a .lua file is run as Lua. */
void hl_screen_source(hl_screen *s, const char *name);
/* While the name of a theme is typed it is shown; done: what was there before comes back. */
void hl_command_preview(hl_screen *s, bool done);
/* The `:` line with this in it. */
void hl_screen_begin_command(hl_screen *s, const char *text);
/* Candidates for the word that ends at the cursor of s->line, into s->completions. */
void hl_command_complete(hl_screen *s);
/* Those have come from elsewhere meanwhile: as if Tab had been pressed now. */
void hl_screen_completed(hl_screen *s);
/* Rows of the help: "name args" and what it does. false: no more. */
enum { HL_USAGE_MAX = 64 };
bool hl_command_help(int i, char usage[HL_USAGE_MAX], const char **help);

HL_MUST_CHECK hl_status hl_option_set(hl_screen *s, const char *name, const char *value);
HL_MUST_CHECK hl_status hl_option_get(hl_screen *s, const char *name, char *buf, size_t n);
bool hl_option_help(int i, char usage[HL_USAGE_MAX], const char **help);
void hl_option_complete(hl_screen *s, const char *word);
void hl_screen_add_completion(hl_screen *s, const char *text, const char *word);

/* Commands of the list (command_list.c); NULL: without an argument. */
void hl_list_filter(hl_screen *s, const char *text);
void hl_list_sort(hl_screen *s, const char *text);
void hl_list_group(hl_screen *s, char *const *words, int n);
void hl_list_columns(hl_screen *s, const char *change);
void hl_list_show(hl_screen *s);
void hl_list_hide(hl_screen *s, const char *run);
void hl_yank(hl_screen *s, const char *what);
void hl_log_go_to(hl_screen *s, const char *where); /* a line's number, from 1, or N% */
const char *hl_yank_name(int i); /* what it knows; NULL: no more */

/* The row of views: the screen's own, then those of scripts. key: "" if it has none. */
int hl_screen_tabs(const hl_screen *s);
const char *hl_screen_tab(const hl_screen *s, int i, char key[24]);
int hl_screen_tab_now(const hl_screen *s);
void hl_screen_show_tab(hl_screen *s, int i);

/* Keys, commands and settings as a page of Markdown (manual.c). */
HL_MUST_CHECK hl_status hl_screen_manual(hl_str *out);

/* ---- text (wording.c) ---- */

hl_sign hl_state_sign(hl_run_state st);
hl_role hl_state_role(hl_run_state st);
bool hl_state_is_live(hl_run_state st);
/* "3m05s" */
const char *hl_ago(char buf[24], int64_t t_us);
/* Of a phase that ends in it, as "reading data, 31 %": .31. */
bool hl_phase_share(const char *phase, double *share);
/* Seconds left and their spread from the pace of the last tenth; false: unknown. */
bool hl_eta(const hl_run_row *row, const hl_watched *w, double *left_s, double *spread_s);
/* What a chart calls a series. */
const char *hl_series_title(const char *tag);

#endif
