/* hoplab ls: the runs of a store as a table, JSON or CSV. */
#define _GNU_SOURCE
#include <string.h>

#include "app/cli.h"
#include "app/hl_app.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

enum { COLUMNS = 7 };

static const char *const column_names[COLUMNS] = {"ID",   "NAME", "STATE", "STEP",
                                                  "LOSS", "EVAL", "AGE"};

static bool contains(const char *text, const char *word)
{
    return strcasestr(text, word) != NULL;
}

/* Every word must stand somewhere in the row. */
static bool is_wanted(const hl_cli *cli, const hl_run_row *row)
{
    for (size_t i = 0; i < hl_cli_args_n(cli); i++) {
        const char *word = hl_cli_arg(cli, i);
        if (!contains(row->id, word) && !contains(row->name, word) &&
            !contains(row->project, word) && !contains(row->tags, word) &&
            !contains(hl_run_state_name(row->state), word))
            return false;
    }
    return true;
}

/* Seconds since its last sign of life; -1: it gave none. */
static int64_t age_s(const hl_run_row *row)
{
    return row->t_last_us ? (hl_clock_wall_us() - row->t_last_us) / 1000000 : -1;
}

/* ---- table ---- */

typedef struct line {
    char step[48], loss[32], eval[64], age[24];
} line;

static const char *cell(const hl_run_row *row, const line *l, int column)
{
    const char *const cells[COLUMNS] = {hl_fs_base(row->dir),
                                        row->name,
                                        hl_run_state_name(row->state),
                                        l->step,
                                        l->loss,
                                        l->eval,
                                        l->age};
    return cells[column];
}

static void format_line(const hl_run_row *row, line *l)
{
    int64_t age = age_s(row);
    if (row->step < 0)
        snprintf(l->step, sizeof l->step, "-");
    else if (row->step_total > 0)
        snprintf(l->step, sizeof l->step, "%lld/%lld", (long long)row->step,
                 (long long)row->step_total);
    else
        snprintf(l->step, sizeof l->step, "%lld", (long long)row->step);
    snprintf(l->loss, sizeof l->loss, "-");
    snprintf(l->eval, sizeof l->eval, "-");
    snprintf(l->age, sizeof l->age, "-");
    if (*row->loss_tag)
        snprintf(l->loss, sizeof l->loss, "%.4g", row->loss);
    if (*row->eval_tag)
        snprintf(l->eval, sizeof l->eval, "%.20s %.4g",
                 hl_str_starts(row->eval_tag, "eval/") ? row->eval_tag + 5 : row->eval_tag,
                 row->eval);
    if (age >= 0)
        hl_cli_age(l->age, age);
}

static void print_table(const hl_cli *cli, const hl_run_row *const *rows, size_t n)
{
    FILE *out = hl_cli_out(cli);
    int width[COLUMNS];
    line l;
    for (int c = 0; c < COLUMNS; c++)
        width[c] = (int)strlen(column_names[c]);
    for (size_t i = 0; i < n; i++) {
        format_line(rows[i], &l);
        for (int c = 0; c < COLUMNS; c++) {
            int w = hl_cli_text_width(cli, cell(rows[i], &l, c));
            width[c] = w > width[c] ? w : width[c];
        }
    }
    for (int c = 0; c < COLUMNS; c++)
        fprintf(out, "%s%-*s", c ? "  " : "", c + 1 < COLUMNS ? width[c] : 0, column_names[c]);
    fputc('\n', out);
    for (size_t i = 0; i < n; i++) {
        format_line(rows[i], &l);
        for (int c = 0; c < COLUMNS; c++) {
            const char *text = cell(rows[i], &l, c);
            int pad = c + 1 < COLUMNS ? width[c] - hl_cli_text_width(cli, text) : 0;
            hl_cli_put_text(cli, text);
            fprintf(out, "%*s", c + 1 < COLUMNS ? pad + 2 : 0, "");
        }
        fputc('\n', out);
    }
}

/* ---- JSON and CSV ---- */

static void add_value(hl_str *b, const char *key, const char *tag, double value)
{
    hl_json_add_key(b, key);
    if (*tag)
        hl_json_add_num(b, value);
    else
        hl_json_add_null(b);
}

static void add_count(hl_str *b, const char *key, int64_t v)
{
    hl_json_add_key(b, key);
    if (v >= 0)
        hl_json_add_int(b, v);
    else
        hl_json_add_null(b);
}

static hl_status print_json(const hl_cli *cli, const hl_run_row *const *rows, size_t n)
{
    hl_str b = {0};
    hl_json_begin(&b, '[');
    for (size_t i = 0; i < n; i++) {
        const hl_run_row *r = rows[i];
        hl_str_add(&b, i ? ",\n" : "\n");
        hl_str_addc(&b, '{');
        hl_json_put_str(&b, "id", hl_fs_base(r->dir));
        hl_json_put_str(&b, "name", r->name);
        hl_json_put_str(&b, "project", r->project);
        hl_json_put_str(&b, "tags", r->tags);
        hl_json_put_str(&b, "dir", r->dir);
        hl_json_put_str(&b, "state", hl_run_state_name(r->state));
        hl_json_put_str(&b, "reason", r->reason);
        add_count(&b, "step", r->step);
        add_count(&b, "step_total", r->step_total);
        add_value(&b, "loss", r->loss_tag, r->loss);
        hl_json_put_str(&b, "eval_tag", r->eval_tag);
        add_value(&b, "eval", r->eval_tag, r->eval);
        add_count(&b, "age_s", age_s(r));
        hl_json_end(&b, '}');
    }
    hl_str_add(&b, n ? "\n]\n" : "]\n");
    hl_status st = hl_str_status(&b);
    if (st == HL_OK)
        fputs(b.s, hl_cli_out(cli));
    hl_str_done(&b);
    return st;
}

static void put_csv_count(FILE *out, int64_t v)
{
    fputc(',', out);
    if (v >= 0)
        fprintf(out, "%lld", (long long)v);
}

static void put_csv_value(FILE *out, const char *tag, double v)
{
    fputc(',', out);
    if (*tag)
        fprintf(out, "%.9g", v);
}

static void print_csv(const hl_cli *cli, const hl_run_row *const *rows, size_t n)
{
    FILE *out = hl_cli_out(cli);
    fputs("id,name,project,tags,state,reason,step,step_total,loss,eval_tag,eval,age_s\r\n", out);
    for (size_t i = 0; i < n; i++) {
        const hl_run_row *r = rows[i];
        const char *const texts[] = {hl_fs_base(r->dir),          r->name,  r->project, r->tags,
                                     hl_run_state_name(r->state), r->reason};
        for (size_t c = 0; c < sizeof texts / sizeof texts[0]; c++) {
            if (c)
                fputc(',', out);
            hl_cli_put_csv(cli, texts[c]);
        }
        put_csv_count(out, r->step);
        put_csv_count(out, r->step_total);
        put_csv_value(out, r->loss_tag, r->loss);
        fputc(',', out);
        hl_cli_put_csv(cli, r->eval_tag);
        put_csv_value(out, r->eval_tag, r->eval);
        put_csv_count(out, age_s(r));
        fputs("\r\n", out);
    }
}

static int print_rows(const hl_cli *cli, const hl_run_row *const *rows, size_t n)
{
    if (hl_cli_flag(cli, "json")) {
        hl_status st = print_json(cli, rows, n);
        return st == HL_OK ? HL_EXIT_DONE : hl_cli_fail(cli, st);
    }
    if (hl_cli_flag(cli, "csv"))
        print_csv(cli, rows, n);
    else if (n)
        print_table(cli, rows, n);
    else
        fprintf(hl_cli_out(cli), hl_cli_args_n(cli) ? "no run in %s matches\n" : "no runs in %s\n",
                hl_cli_runs_dir(cli));
    return HL_EXIT_DONE;
}

static int run(hl_cli *cli)
{
    hl_run_list *list;
    int64_t limit = hl_cli_int(cli, "last");
    hl_status st = hl_run_list_open(hl_cli_runs_dir(cli), &list);
    if (st != HL_OK)
        return hl_cli_fail(cli, st);
    size_t n_all = hl_run_list_n(list), n = 0, first = 0;
    const hl_run_row **rows = hl_alloc_zero(n_all + 1, sizeof *rows);
    int rc;
    if (!rows) {
        rc = hl_cli_fail(cli, HL_E_NOMEM);
    } else {
        for (size_t i = 0; i < n_all; i++)
            if (is_wanted(cli, hl_run_list_at(list, i)))
                rows[n++] = hl_run_list_at(list, i);
        if (limit > 0 && (uint64_t)limit < n)
            first = n - (size_t)limit;
        rc = print_rows(cli, rows + first, n - first);
    }
    hl_free(rows);
    hl_run_list_close(list);
    return rc;
}

static const hl_option options[] = {
    {"json", 0, HL_OPTION_FLAG, NULL, NULL, "one JSON array", NULL},
    {"csv", 0, HL_OPTION_FLAG, NULL, NULL, "comma-separated values with a header row", NULL},
    {"last", 'n', HL_OPTION_INT, "N", NULL, "only the newest N", NULL},
    {0},
};

const hl_command hl_cmd_ls = {
    .name = "ls",
    .help = "list runs, newest last",
    .usage = "[TEXT ...]",
    .about = "A run is shown when each TEXT stands in its id, name, state, project or tags.\n",
    .options = options,
    .n_args_max = -1,
    .run = run,
};
