/* hoplab ls: the runs of a store as a table, JSON or CSV. */
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "app/hl_app.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

enum { FIXED = 3, COLUMNS = 7, EXTRAS_MAX = 32 };

static const char *const column_names[COLUMNS] = {"ID",   "NAME", "STATE", "STEP",
                                                  "LOSS", "EVAL", "AGE"};

/* What is printed. */
typedef struct listing {
    hl_run_row *rows; /* owned; what they point to is the list's */
    size_t n;
    hl_run_key extra[EXTRAS_MAX]; /* --columns */
    char name[EXTRAS_MAX][HL_RUN_KEY_MAX];
    int n_extra;
} listing;

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
            !contains(row->note, word) && !contains(hl_run_state_name(row->state), word))
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
    char step[48], loss[32], eval[64], age[24], extra[64];
} line;

static int n_columns(const listing *l)
{
    return l->n_extra ? FIXED + l->n_extra : COLUMNS;
}

static const char *heading(const listing *l, int column)
{
    return l->n_extra && column >= FIXED ? l->name[column - FIXED] : column_names[column];
}

static const char *extra_cell(const listing *l, const hl_run_row *row, int i, char buf[64])
{
    const hl_run_answer a = hl_run_key_ask(&l->extra[i], row);
    if (!a.known)
        return "-";
    if (a.text)
        return a.text;
    if (l->extra[i].field && strcmp(l->extra[i].field->name, "age") == 0)
        return hl_cli_age(buf, (int64_t)a.number);
    snprintf(buf, 64, "%.6g", a.number);
    return buf;
}

static const char *cell(const listing *l, const hl_run_row *row, line *text, int column)
{
    const char *const cells[COLUMNS] = {
        hl_fs_base(row->dir), row->name, hl_run_state_name(row->state), text->step, text->loss,
        text->eval,           text->age};
    return l->n_extra && column >= FIXED ? extra_cell(l, row, column - FIXED, text->extra)
                                         : cells[column];
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

static void print_table(const hl_cli *cli, const listing *all)
{
    FILE *out = hl_cli_out(cli);
    const int n = n_columns(all);
    int width[FIXED + EXTRAS_MAX];
    line l;
    for (int c = 0; c < n; c++)
        width[c] = hl_cli_text_width(cli, heading(all, c));
    for (size_t i = 0; i < all->n; i++) {
        format_line(&all->rows[i], &l);
        for (int c = 0; c < n; c++) {
            int w = hl_cli_text_width(cli, cell(all, &all->rows[i], &l, c));
            width[c] = w > width[c] ? w : width[c];
        }
    }
    for (int c = 0; c < n; c++)
        fprintf(out, "%s%-*s", c ? "  " : "", c + 1 < n ? width[c] : 0, heading(all, c));
    fputc('\n', out);
    for (size_t i = 0; i < all->n; i++) {
        format_line(&all->rows[i], &l);
        for (int c = 0; c < n; c++) {
            const char *text = cell(all, &all->rows[i], &l, c);
            int pad = c + 1 < n ? width[c] - hl_cli_text_width(cli, text) : 0;
            hl_cli_put_text(cli, text);
            fprintf(out, "%*s", c + 1 < n ? pad + 2 : 0, "");
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

/* The columns asked for, by their keys. */
static void add_extras(hl_str *b, const listing *l, const hl_run_row *row)
{
    if (!l->n_extra)
        return;
    hl_json_add_key(b, "columns");
    hl_json_begin(b, '{');
    for (int i = 0; i < l->n_extra; i++) {
        const hl_run_answer a = hl_run_key_ask(&l->extra[i], row);
        hl_json_add_key(b, l->name[i]);
        if (!a.known)
            hl_json_add_null(b);
        else if (a.is_number)
            hl_json_add_num(b, a.number);
        else
            hl_json_add_str(b, a.text);
    }
    hl_json_end(b, '}');
}

static hl_status print_json(const hl_cli *cli, const listing *l)
{
    hl_str b = {0};
    hl_json_begin(&b, '[');
    for (size_t i = 0; i < l->n; i++) {
        const hl_run_row *r = &l->rows[i];
        hl_str_add(&b, i ? ",\n" : "\n");
        hl_str_addc(&b, '{');
        hl_json_put_str(&b, "id", hl_fs_base(r->dir));
        hl_json_put_str(&b, "name", r->name);
        hl_json_put_str(&b, "project", r->project);
        hl_json_put_str(&b, "tags", r->tags);
        hl_json_put_str(&b, "note", r->note);
        hl_json_put_str(&b, "dir", r->dir);
        hl_json_put_str(&b, "state", hl_run_state_name(r->state));
        hl_json_put_str(&b, "reason", r->reason);
        add_count(&b, "step", r->step);
        add_count(&b, "step_total", r->step_total);
        add_value(&b, "loss", r->loss_tag, r->loss);
        hl_json_put_str(&b, "eval_tag", r->eval_tag);
        add_value(&b, "eval", r->eval_tag, r->eval);
        add_count(&b, "age_s", age_s(r));
        add_extras(&b, l, r);
        hl_json_end(&b, '}');
    }
    hl_str_add(&b, l->n ? "\n]\n" : "]\n");
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

static void put_csv_extras(const hl_cli *cli, const listing *l, const hl_run_row *row)
{
    for (int i = 0; i < l->n_extra; i++) {
        const hl_run_answer a = hl_run_key_ask(&l->extra[i], row);
        fputc(',', hl_cli_out(cli));
        if (a.known && a.is_number)
            fprintf(hl_cli_out(cli), "%.9g", a.number);
        else if (a.known)
            hl_cli_put_csv(cli, a.text);
    }
}

static void print_csv(const hl_cli *cli, const listing *l)
{
    FILE *out = hl_cli_out(cli);
    fputs("id,name,project,tags,state,reason,step,step_total,loss,eval_tag,eval,age_s", out);
    for (int i = 0; i < l->n_extra; i++) {
        fputc(',', out);
        hl_cli_put_csv(cli, l->name[i]);
    }
    fputs("\r\n", out);
    for (size_t i = 0; i < l->n; i++) {
        const hl_run_row *r = &l->rows[i];
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
        put_csv_extras(cli, l, r);
        fputs("\r\n", out);
    }
}

static int print_rows(const hl_cli *cli, const listing *l)
{
    if (hl_cli_flag(cli, "json")) {
        hl_status st = print_json(cli, l);
        return st == HL_OK ? HL_EXIT_DONE : hl_cli_fail(cli, st);
    }
    const bool chosen = hl_cli_args_n(cli) || hl_cli_given(cli, "filter");
    if (hl_cli_flag(cli, "csv"))
        print_csv(cli, l);
    else if (l->n)
        print_table(cli, l);
    else
        fprintf(hl_cli_out(cli), chosen ? "no run in %s matches\n" : "no runs in %s\n",
                hl_cli_runs_dir(cli));
    return HL_EXIT_DONE;
}

/* ---- which, and in which order ---- */

/* A filter that is wrong filters nothing here: nobody is typing. */
static int refuse_filter(const hl_cli *cli, const char *text, const hl_filter_bad *bad)
{
    return hl_cli_complain(cli, HL_EXIT_USAGE, "--filter: %s (at: %.*s)", bad->message, (int)bad->n,
                           text + bad->at);
}

static void choose(const hl_cli *cli, const hl_filter *f, listing *l)
{
    const bool archived = hl_cli_flag(cli, "all") || hl_filter_asks_archived(f);
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        if ((archived || !l->rows[i].archived) && is_wanted(cli, &l->rows[i]) &&
            hl_filter_fits(f, &l->rows[i]))
            l->rows[n++] = l->rows[i];
    l->n = n;
}

static hl_status find_columns(const hl_cli *cli, const hl_run_rows *all, listing *l)
{
    const char *at = hl_cli_str(cli, "columns");
    while (at && *at) {
        const size_t n = strcspn(at, ", ");
        if (n && l->n_extra == EXTRAS_MAX)
            return hl_err_set(HL_E_ARG, "more than %d columns", EXTRAS_MAX);
        if (n) {
            char *name = l->name[l->n_extra];
            snprintf(name, HL_RUN_KEY_MAX, "%.*s", (int)n, at);
            hl_status st = hl_run_key_find(name, all, &l->extra[l->n_extra++]);
            if (st != HL_OK)
                return hl_err_set(HL_E_ARG, "--columns: %s", hl_err_message());
        }
        at += n + (at[n] != 0);
    }
    return HL_OK;
}

typedef struct sorted {
    hl_run_row row;
    hl_run_answer answer;
    size_t place;
    bool reverse;
} sorted;

/* What is not known comes first: the end is what one sees. */
static int by_answer(const void *a, const void *b)
{
    const sorted *x = a, *y = b;
    const bool known = x->answer.known && !(x->answer.is_number && isnan(x->answer.number));
    const bool other = y->answer.known && !(y->answer.is_number && isnan(y->answer.number));
    int order = 0;
    if (known != other)
        return known ? 1 : -1;
    if (known && x->answer.is_number && y->answer.is_number)
        order = x->answer.number < y->answer.number   ? 1
                : x->answer.number > y->answer.number ? -1
                                                      : 0;
    else if (known && x->answer.text && y->answer.text)
        order = strcmp(y->answer.text, x->answer.text);
    order = x->reverse ? -order : order;
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

static hl_status sort(listing *l, const hl_run_key *k, bool reverse)
{
    if (!l->n)
        return HL_OK;
    sorted *s = hl_alloc_zero(l->n, sizeof *s);
    if (!s)
        return HL_E_NOMEM;
    for (size_t i = 0; i < l->n; i++)
        s[i] = (sorted){l->rows[i], hl_run_key_order(k, &l->rows[i]), i, reverse};
    qsort(s, l->n, sizeof *s, by_answer);
    for (size_t i = 0; i < l->n; i++)
        l->rows[i] = s[i].row;
    hl_free(s);
    return HL_OK;
}

static void fill(const hl_run_list *list, listing *l)
{
    l->n = 0;
    for (size_t i = 0; i < hl_run_list_n(list); i++)
        l->rows[l->n++] = *hl_run_list_at(list, i);
}

/* Values that are not in summaries are read from events now. */
static void read_deep(hl_run_list *list, const hl_filter *f, const hl_run_key *order, listing *l)
{
    hl_deep_keys keys = {0};
    hl_filter_deep_keys(f, &keys);
    for (int i = 0; i < l->n_extra; i++)
        if (l->extra[i].is_deep)
            hl_deep_keys_add(&keys, l->extra[i].path);
    if (order->is_deep)
        hl_deep_keys_add(&keys, order->path);
    if (!keys.n)
        return;
    hl_run_list_want(list, &keys);
    (void)hl_run_list_dig(list, 0);
    fill(list, l);
}

/* Keys are looked for among all runs, then come the ones that were asked for. */
static hl_status arrange(const hl_cli *cli, hl_run_list *list, const hl_filter *f, listing *l)
{
    const hl_run_rows all = {.at = l->rows, .n = l->n};
    const char *key = hl_cli_str(cli, "sort");
    hl_run_key k = {0};
    hl_status st = find_columns(cli, &all, l);
    if (st == HL_OK && key && hl_run_key_find(key + (*key == '-'), &all, &k) != HL_OK)
        st = hl_err_set(HL_E_ARG, "--sort: %s", hl_err_message());
    if (st != HL_OK)
        return st;
    read_deep(list, f, &k, l);
    choose(cli, f, l);
    return key ? sort(l, &k, *key == '-') : HL_OK;
}

static int print_chosen(const hl_cli *cli, hl_run_list *list, listing *l)
{
    const int64_t limit = hl_cli_int(cli, "last");
    const char *text = hl_cli_str(cli, "filter");
    hl_filter *f = NULL;
    int rc;
    fill(list, l);
    const hl_run_rows all = {.at = l->rows, .n = l->n};
    hl_status st = text ? hl_filter_new(text, &all, &f) : HL_OK;
    const hl_filter_bad *bad = f ? hl_filter_trouble(f) : NULL;
    if (bad) {
        rc = refuse_filter(cli, text, bad);
        hl_filter_free(f);
        return rc;
    }
    if (st == HL_OK)
        st = arrange(cli, list, f, l);
    if (st == HL_OK) {
        listing shown = *l;
        const size_t skip = limit > 0 && (uint64_t)limit < l->n ? l->n - (size_t)limit : 0;
        shown.rows += skip;
        shown.n -= skip;
        rc = print_rows(cli, &shown);
    } else {
        rc = st == HL_E_ARG ? hl_cli_complain(cli, HL_EXIT_USAGE, "%s", hl_err_message())
                            : hl_cli_fail(cli, st);
    }
    hl_filter_free(f);
    return rc;
}

static int run(hl_cli *cli)
{
    hl_run_list *list;
    hl_status st = hl_run_list_open_all(hl_cli_runs_dir(cli), &list);
    if (st != HL_OK)
        return hl_cli_fail(cli, st);
    listing *l = hl_alloc_zero(1, sizeof *l);
    hl_run_row *rows = l ? hl_alloc_zero(hl_run_list_n(list) + 1, sizeof *rows) : NULL;
    int rc;
    if (rows) {
        l->rows = rows;
        rc = print_chosen(cli, list, l);
    } else {
        rc = hl_cli_fail(cli, HL_E_NOMEM);
    }
    hl_free(rows);
    hl_free(l);
    hl_run_list_close(list);
    return rc;
}

static const hl_option options[] = {
    {"json", 0, HL_OPTION_FLAG, NULL, NULL, "one JSON array", NULL},
    {"csv", 0, HL_OPTION_FLAG, NULL, NULL, "comma-separated values with a header row", NULL},
    {"last", 'n', HL_OPTION_INT, "N", NULL, "only the last N of what is listed", NULL},
    {"filter", 'f', HL_OPTION_STRING, "EXPR", NULL,
     "runs that fit, as in the screen: status:done eval/ppl.min<6 (lr>1e-4 or !tag:old)", NULL},
    {"sort", 0, HL_OPTION_STRING, "[-]KEY", NULL, "by a field, setting or metric; the least last",
     NULL},
    {"columns", 'c', HL_OPTION_STRING, "KEY,...", NULL,
     "these instead of step, loss, evaluation and age", NULL},
    {"all", 'a', HL_OPTION_FLAG, NULL, NULL, "archived runs too", NULL},
    {0},
};

const hl_command hl_cmd_ls = {
    .name = "ls",
    .help = "list runs, newest last",
    .usage = "[TEXT ...]",
    .about =
        "A run is shown when each TEXT stands in its id, name, state, project, tags or note.\n"
        "Filters: words; key:pattern with * or /regex/; =, !=, <, <=, >, >=; has:key; and, or,\n"
        "not, parentheses, quotes. Keys: status, tag, age, host, ..., any path of the\n"
        "configuration (optim.lr), any metric with .last, .min, .max, .mean, .best; eval/ppl@1000 "
        "is\n"
        "its value at a step, train/loss.below@2.5 the first step below, .above@, "
        "train/loss.ema@.9\n"
        "its last value smoothed: these are read from the events of all runs.\n",
    .options = options,
    .n_args_max = -1,
    .run = run,
};
