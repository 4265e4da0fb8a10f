/* hoplab show: everything a run directory says about its run, for people, for diff, for scripts. */
#include <inttypes.h>
#include <string.h>

#include "app/cli.h"
#include "app/flat.h"
#include "app/hl_app.h"
#include "app/store/run_dir.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

enum { TABLE_COLUMNS_MAX = 32 };

/* One control request, alert or the like, as it came. */
typedef struct note {
    int64_t step, t_us;
    char *text; /* owned JSON */
} note;

typedef struct show {
    hl_cli *cli;
    FILE *out;
    hl_run *run;
    const char *dir;
    HL_VEC(note) controls;
    hl_status st; /* first failure in a callback */
} show;

static void print_flat(show *s, const hl_json *v, const char *indent, bool sorted)
{
    hl_flat flat = {0};
    hl_status st = hl_flat_add(&flat, v);
    if (st != HL_OK && s->st == HL_OK)
        s->st = st;
    if (sorted)
        hl_flat_sort(&flat);
    for (size_t i = 0; i < flat.n; i++) {
        fputs(indent, s->out);
        hl_cli_put_text(s->cli, flat.at[i].path);
        fputs(" = ", s->out);
        hl_cli_put_text(s->cli, flat.at[i].text);
        fputc('\n', s->out);
    }
    hl_flat_done(&flat);
}

/* ---- sections ---- */

static void print_text(show *s, const char *label, const char *text)
{
    if (!*text)
        return;
    fprintf(s->out, "%-11s", label);
    hl_cli_put_text(s->cli, text);
    fputc('\n', s->out);
}

static void print_time(show *s, const char *label, int64_t t_us)
{
    char text[24];
    if (t_us)
        print_text(s, label, hl_clock_format_utc(text, t_us));
}

static void print_state(show *s)
{
    const hl_run_row *row = hl_run_get_row(s->run);
    char dur[24];
    fprintf(s->out, "%-11s%s", "state", hl_run_state_name(row->state));
    if (*row->reason)
        fprintf(s->out, " (reason: %s)", row->reason);
    if (row->late_s > 0)
        fprintf(s->out, ", %s later than it announced to be heard of",
                hl_format_duration(dur, row->late_s));
    fputc('\n', s->out);
    print_text(s, "message", row->message);
    print_text(s, "phase", row->phase);
    if (row->pid)
        fprintf(s->out, "%-11s%" PRId64 "\n", "process", row->pid);
    if (row->step >= 0 && row->step_total > 0)
        fprintf(s->out, "%-11s%" PRId64 "/%" PRId64 "\n", "step", row->step, row->step_total);
    else if (row->step >= 0)
        fprintf(s->out, "%-11s%" PRId64 "\n", "step", row->step);
    print_time(s, "started", row->t_start_us);
    print_time(s, "last event", row->t_last_us);
    print_text(s, "checkpoint", row->checkpoint);
}

static void print_facts(show *s)
{
    const hl_json *facts = hl_run_facts(s->run);
    const hl_run_row *row = hl_run_get_row(s->run);
    print_text(s, "run", row->id);
    print_text(s, "name", row->name);
    print_text(s, "directory", s->dir);
    print_state(s);
    if (!facts)
        return;
    fputs("\nfacts\n", s->out);
    print_flat(s, facts, "  ", false);
}

static void print_scalars(show *s)
{
    size_t n = hl_run_scalar_n(s->run);
    int width = 6;
    hl_run_scalar c;
    for (size_t i = 0; i < n; i++) {
        int w = hl_run_scalar_at(s->run, i, &c) ? hl_cli_text_width(s->cli, c.tag) : 0;
        width = w > width ? w : width;
    }
    if (n)
        fprintf(s->out, "\n%-*s  %12s %9s  %12s %9s  %12s %9s  %s\n", width, "scalars", "last",
                "@step", "min", "@step", "max", "@step", "points");
    for (size_t i = 0; i < n; i++) {
        if (!hl_run_scalar_at(s->run, i, &c))
            continue;
        hl_cli_put_text(s->cli, c.tag);
        fprintf(s->out, "%*s  %12.6g %9" PRId64, width - hl_cli_text_width(s->cli, c.tag), "",
                c.last, c.last_step);
        if (c.n > c.n_non_finite)
            fprintf(s->out, "  %12.6g %9" PRId64 "  %12.6g %9" PRId64, c.min, c.min_step, c.max,
                    c.max_step);
        else
            fprintf(s->out, "  %12s %9s  %12s %9s", "-", "-", "-", "-");
        fprintf(s->out, "  %" PRId64, c.n);
        if (c.n_non_finite)
            fprintf(s->out, ", %" PRId64 " not finite, first at %" PRId64, c.n_non_finite,
                    c.bad_step);
        fputc('\n', s->out);
    }
}

/* ---- a table of the form {"columns":[...],"rows":[[...],...]} ---- */

/* The text of a cell; owned by the caller, NULL when memory ran out. */
static char *cell_text(const hl_json *v)
{
    hl_str b = {0};
    if (hl_json_is_string(v))
        hl_str_add(&b, hl_json_str(v, ""));
    else
        hl_json_add_value(&b, v);
    if (!b.failed && b.s)
        return b.s;
    hl_str_done(&b);
    return hl_strdup("");
}

static void widen(const show *s, const hl_json *row, int *width, int n)
{
    const hl_json *v = hl_json_at(row, 0);
    for (int c = 0; c < n && v; c++, v = hl_json_next(v)) {
        char *text = cell_text(v);
        int w = text ? hl_cli_text_width(s->cli, text) : 0;
        width[c] = w > width[c] ? w : width[c];
        hl_free(text);
    }
}

static void print_row(const show *s, const hl_json *row, const int *width, int n)
{
    const hl_json *v = hl_json_at(row, 0);
    for (int c = 0; c < n && v; c++, v = hl_json_next(v)) {
        char *text = cell_text(v);
        int pad = width[c] - (text ? hl_cli_text_width(s->cli, text) : 0);
        bool number = hl_json_is_number(v);
        fprintf(s->out, "  %*s", number ? pad : 0, "");
        hl_cli_put_text(s->cli, text ? text : "");
        fprintf(s->out, "%*s", number || c + 1 == n ? 0 : pad, "");
        hl_free(text);
    }
    fputc('\n', s->out);
}

/* false: not of that form, or too wide to be one */
static bool print_as_table(const show *s, const hl_json *t)
{
    int width[TABLE_COLUMNS_MAX] = {0};
    const hl_json *columns = hl_json_get(t, "columns"), *rows = hl_json_get(t, "rows");
    int n = hl_json_len(columns);
    if (!hl_json_is_array(columns) || !hl_json_is_array(rows) || n < 1 || n > TABLE_COLUMNS_MAX)
        return false;
    widen(s, columns, width, n);
    for (const hl_json *r = hl_json_at(rows, 0); r; r = hl_json_next(r))
        widen(s, r, width, n);
    print_row(s, columns, width, n);
    for (const hl_json *r = hl_json_at(rows, 0); r; r = hl_json_next(r))
        print_row(s, r, width, n);
    return true;
}

static void print_tables(show *s)
{
    const hl_json *tables = hl_run_tables(s->run);
    for (int i = 0; i < hl_json_len(tables); i++) {
        const hl_json *t = hl_json_at(tables, i);
        fputs("\ntable ", s->out);
        hl_cli_put_text(s->cli, hl_json_key(t));
        fputc('\n', s->out);
        if (!print_as_table(s, t))
            print_flat(s, t, "  ", false);
    }
}

static bool list_checkpoints(const char *run_dir, hl_fs_list *out)
{
    char *dir = hl_run_dir_path(run_dir, "ckpt");
    bool ok = dir && hl_fs_list_dir(dir, out) == HL_OK;
    hl_free(dir);
    return ok;
}

/* One of the run's own, or a whole one that somebody named; pointers and leftovers are none. */
static bool is_checkpoint(const char *run_dir, const char *name)
{
    return hl_str_starts(name, "step-") ||
           (name[0] != '.' && hl_run_dir_has_checkpoint(run_dir, name));
}

static void print_checkpoints(show *s)
{
    hl_fs_list list;
    bool any = false;
    if (!list_checkpoints(s->dir, &list))
        return;
    for (size_t i = 0; i < list.n; i++) {
        if (!is_checkpoint(s->dir, list.name[i]))
            continue;
        fputs(any ? "  " : "\ncheckpoints\n  ", s->out);
        any = true;
        hl_cli_put_text(s->cli, list.name[i]);
        fputs(hl_run_dir_has_checkpoint(s->dir, list.name[i]) ? "\n" : " (incomplete, not used)\n",
              s->out);
    }
    hl_fs_list_free(&list);
}

static void print_controls(show *s)
{
    if (s->controls.n)
        fputs("\ncontrol history\n", s->out);
    for (size_t i = 0; i < s->controls.n; i++) {
        const note *c = &s->controls.at[i];
        char time_text[24];
        fprintf(s->out, "  %s step %" PRId64 " ", hl_clock_format_utc(time_text, c->t_us), c->step);
        hl_cli_put_text(s->cli, c->text);
        fputc('\n', s->out);
    }
}

/* ---- reading ---- */

static void take_json(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                      size_t n)
{
    show *s = self;
    if (strcmp(hl_run_series_at(s->run, series).content, "control") != 0 || s->st != HL_OK)
        return;
    note c = {step, t_us, hl_strndup(text, n)};
    s->st = c.text ? hl_vec_push(&s->controls, c) : HL_E_NOMEM;
    if (s->st != HL_OK)
        hl_free(c.text);
}

static hl_status read_controls(show *s)
{
    hl_run_visitor v = {.self = s, .json = take_json};
    hl_status st = hl_run_scan(s->run, &v, false);
    return st == HL_OK ? s->st : st;
}

/* ---- JSON ---- */

static void add_tree(hl_str *b, const char *key, const hl_json *v)
{
    hl_json_add_key(b, key);
    if (v)
        hl_json_add_value(b, v);
    else
        hl_json_add_null(b);
}

static void add_checkpoints(hl_str *b, const char *dir)
{
    hl_fs_list list = {0};
    hl_json_add_key(b, "checkpoints");
    hl_json_begin(b, '[');
    if (list_checkpoints(dir, &list)) {
        for (size_t i = 0; i < list.n; i++) {
            if (!is_checkpoint(dir, list.name[i]))
                continue;
            hl_json_begin(b, '{');
            hl_json_put_str(b, "name", list.name[i]);
            hl_json_put_bool(b, "complete", hl_run_dir_has_checkpoint(dir, list.name[i]));
            hl_json_end(b, '}');
        }
        hl_fs_list_free(&list);
    }
    hl_json_end(b, ']');
}

static void add_controls(hl_str *b, const show *s)
{
    hl_json_add_key(b, "control");
    hl_json_begin(b, '[');
    for (size_t i = 0; i < s->controls.n; i++) {
        const note *c = &s->controls.at[i];
        hl_json *v = NULL;
        hl_json_begin(b, '{');
        hl_json_put_num(b, "time", (double)c->t_us / 1e6);
        hl_json_put_int(b, "step", c->step);
        if (hl_json_parse(c->text, strlen(c->text), &v) == HL_OK)
            add_tree(b, "event", v);
        hl_json_free(v);
        hl_json_end(b, '}');
    }
    hl_json_end(b, ']');
}

static hl_status print_json(show *s)
{
    const hl_run_row *row = hl_run_get_row(s->run);
    const hl_json *summary = hl_run_summary(s->run);
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "id", row->id);
    hl_json_put_str(&b, "name", row->name);
    hl_json_put_str(&b, "dir", s->dir);
    hl_json_put_str(&b, "state", hl_run_state_name(row->state));
    hl_json_put_str(&b, "reason", row->reason);
    hl_json_put_str(&b, "message", row->message);
    add_tree(&b, "checkpoint", hl_json_get(summary, "checkpoint"));
    add_tree(&b, "step", hl_json_get(summary, "step"));
    add_tree(&b, "step_total", hl_json_get(summary, "step_total"));
    add_tree(&b, "facts", hl_run_facts(s->run));
    add_tree(&b, "config", hl_run_config(s->run));
    add_tree(&b, "scalars", hl_json_get(summary, "scalars"));
    add_tree(&b, "tables", hl_run_tables(s->run));
    add_checkpoints(&b, s->dir);
    add_controls(&b, s);
    hl_json_end(&b, '}');
    hl_str_addc(&b, '\n');
    hl_status st = hl_str_status(&b);
    if (st == HL_OK)
        fputs(b.s, s->out);
    hl_str_done(&b);
    return st;
}

/* ---- command ---- */

static hl_status print_all(show *s)
{
    if (hl_cli_flag(s->cli, "config")) {
        print_flat(s, hl_run_config(s->run), "", true);
        return s->st;
    }
    hl_status st = read_controls(s);
    if (st != HL_OK)
        return st;
    if (hl_cli_flag(s->cli, "json"))
        return print_json(s);
    print_facts(s);
    if (hl_json_len(hl_run_config(s->run))) {
        fputs("\nconfiguration\n", s->out);
        print_flat(s, hl_run_config(s->run), "  ", true);
    }
    print_scalars(s);
    print_tables(s);
    print_checkpoints(s);
    print_controls(s);
    return s->st;
}

static int run(hl_cli *cli)
{
    show s = {.cli = cli, .out = hl_cli_out(cli)};
    char *dir = NULL;
    hl_status st = hl_run_find(hl_cli_runs_dir(cli), hl_cli_arg(cli, 0), &dir);
    if (st == HL_OK)
        st = hl_run_open(dir, &s.run);
    s.dir = dir;
    if (st == HL_OK)
        st = print_all(&s);
    for (size_t i = 0; i < s.controls.n; i++)
        hl_free(s.controls.at[i].text);
    hl_vec_done(&s.controls);
    hl_run_close(s.run);
    hl_free(dir);
    return st == HL_OK ? HL_EXIT_DONE : hl_cli_fail(cli, st);
}

static const hl_option options[] = {
    {"json", 0, HL_OPTION_FLAG, NULL, NULL, "one JSON object", NULL},
    {"config", 0, HL_OPTION_FLAG, NULL, NULL,
     "only the configuration, sorted, one 'path = value' per line: made for diff", NULL},
    {0},
};

const hl_command hl_cmd_show = {
    .name = "show",
    .help = "show one run: facts, state, configuration, results",
    .usage = "RUN",
    .about = "RUN is an id, a name, the unique head or tail of an id, a path, or 'last'.\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = 1,
    .run = run,
};
