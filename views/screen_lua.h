/* The screen's Lua: the console, the run's script, and what scripts add to the screen. */
#ifndef HL_SCREEN_LUA_H
#define HL_SCREEN_LUA_H

#include "views/screen.h"

/* ---- Lua (console.c) ---- */

void hl_console_open(hl_screen *s, const hl_scripting_class *lua);
void hl_console_close(hl_screen *s);
void hl_console_reset(hl_screen *s); /* a fresh state with the next order */
void hl_console_type(hl_screen *s);  /* keys go into its line */
void hl_console_input(hl_screen *s, const hl_input *in);
void hl_console_evaluate(hl_screen *s, const char *text); /* `:lua` */
void hl_console_ask_run(hl_screen *s, const char *text);  /* `:lua!`: the run evaluates it */
void hl_console_answers(hl_screen *s);                    /* what runs have answered to that */
void hl_console_print(hl_screen *s, hl_role role, const char *text);
void hl_console_fail(hl_screen *s, const hl_json *failure);
bool hl_console_act(hl_screen *s, hl_action a); /* false: not for it */
/* As the class's order; says why not (-1). The second: of { text, whole }. */
int64_t hl_console_order(hl_screen *s, const char *name, const char *argument, int limit_ms);
int64_t hl_console_order_text(hl_screen *s, const char *name, const char *text, bool whole);
void hl_console_update(hl_screen *s);    /* takes what has come */
int hl_console_fd(const hl_screen *s);   /* -1: nothing to wait for */
int hl_console_timeout_ms(hl_screen *s); /* until it wants to be called again; -1: never */
bool hl_console_running(hl_screen *s, double *seconds);

/* ---- the run's script (pane_script.c) ---- */

void hl_script_done(hl_script_shown *k);
bool hl_script_act(hl_screen *s, hl_action a); /* the key that shows the pane; false: another one */
bool hl_script_take(hl_screen *s, hl_script_reply *r); /* false: not for it */
void hl_script_input(hl_screen *s, const hl_input *in); /* in HL_MODE_SCRIPT */
/* script_type.c: typing, search, and the text with its colours. */
void hl_script_type(hl_screen *s, char *copy); /* takes over the path of the copy, which is there */
void hl_script_search(hl_screen *s);
/* The line of the script that the run's failure names, from 1 on; 0: none. message: what it says.
 */
int hl_script_error(const hl_screen *s, const char **message);
void hl_script_next(hl_screen *s, int way); /* place of the word */
void hl_script_draw(hl_screen *s, hl_canvas c);
void hl_script_ask(hl_screen *s, const char *dir); /* for the text and the comparison, anew */
/* hoplab run of the script of the run under the cursor, edited if it was, with words behind. */
void hl_script_rerun(hl_screen *s, char *const *words, int n);

/* ---- what scripts added (scripted.c, scripted_files.c, pane_scripted.c) ---- */

void hl_scripted_done(hl_scripted *p);
void hl_scripted_configure(hl_screen *s); /* runs the user's and the project's files */
void hl_scripted_source_file(hl_screen *s, const char *path);
bool hl_scripted_note(hl_screen *s, const char *kind, const hl_json *v); /* false: another kind */
bool hl_scripted_reply(hl_screen *s, hl_script_reply *r); /* of a draw; takes over its value */
/* The picture of the view shown, in the size of its pane; what: as hl_picture_form. Errors: STATE
 * (there is none: the message says why), UNSUPPORTED, NOMEM. */
HL_MUST_CHECK hl_status hl_scripted_export(hl_screen *s, const char *what, hl_str *out);
void hl_scripted_complain(hl_screen *s, const char *where, const char *text);
bool hl_scripted_press(hl_screen *s, int key); /* false: no script has this key here */
void hl_scripted_show(hl_screen *s, int i);
int hl_scripted_timeout_ms(hl_screen *s); /* until a picture is due; -1: none is */
int hl_scripted_timers_ms(hl_screen *s);  /* calls those that are due; until the next one; -1 */
bool hl_scripted_timer_reply(hl_screen *s, const hl_script_reply *r); /* false: of no timer */
void hl_scripted_add_command(hl_screen *s, const hl_json *v);
void hl_scripted_add_theme(hl_screen *s, const hl_json *v);
/* Programs that scripts start (scripted_jobs.c). */
void hl_scripted_take_job(hl_screen *s, const hl_json *v);
void hl_scripted_jobs_update(hl_screen *s);
int hl_scripted_jobs_fds(const hl_screen *s, struct pollfd *fds); /* gives how many */
/* Until one that says no more may have ended; -1: there is none. seconds: the oldest one's, or
 * NULL. */
int hl_scripted_jobs_timeout_ms(const hl_screen *s, double *seconds);
bool hl_scripted_jobs_take(hl_screen *s, const hl_script_reply *r); /* false: not for it */
void hl_scripted_jobs_done(hl_scripted *p);
bool hl_scripted_may_jobs(const hl_screen *s);
/* What scripts say of runs (scripted_values.c): put beside the configuration of every row, under
 * "lua.NAME", and asked for where a row is another. Called before the rows are filtered. */
void hl_scripted_values_update(hl_screen *s);
void hl_scripted_add_value(hl_screen *s, const hl_json *v);
bool hl_scripted_values_take(hl_screen *s, const hl_script_reply *r); /* false: not for it */
void hl_scripted_values_done(hl_scripted_values *p);
void hl_scripted_values_complete(hl_screen *s, const char *word);
/* Candidates for the last word of `head`, an argument of a script's command, are asked for; they
 * come into s->completions later. */
void hl_scripted_complete(hl_screen *s, const char *head);
bool hl_scripted_completed(hl_screen *s, const hl_script_reply *r);    /* false: not for it */
bool hl_scripted_run_command(hl_screen *s, char *const *words, int n); /* false: no such command */
void hl_scripted_execute(hl_screen *s, const char *line, const char *where);
/* Rows of the help, as hl_command_help. */
bool hl_scripted_help(const hl_screen *s, int i, char usage[HL_USAGE_MAX], const char **help);
/* Who set a setting: "default", "HOPLAB_THEME", "config.lua:3", ":set" */
const char *hl_scripted_source(hl_screen *s, const char *name);
void hl_scripted_set_source(hl_screen *s, const char *name, const char *where);

#endif
