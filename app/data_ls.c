/* hoplab data ls: the public data sets that are known, and which are there. */
#include <stdio.h>
#include <string.h>

#include "app/data_cmd.h"
#include "data/hl_data.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"

typedef struct set_state {
    int64_t n_bytes; /* of all files; -1: not all are known */
    size_t n_there;
} set_state;

static hl_status look(const char *dir, const hl_set *set, set_state *s)
{
    *s = (set_state){0};
    for (size_t i = 0; i < set->n_files; i++) {
        bool is_there;
        char *path = hl_set_path(dir, &set->files[i], &is_there);
        if (!path)
            return HL_E_NOMEM;
        hl_free(path);
        s->n_there += is_there;
        if (set->files[i].n_bytes < 0)
            s->n_bytes = -1;
        else if (s->n_bytes >= 0)
            s->n_bytes += set->files[i].n_bytes;
    }
    return HL_OK;
}

static void add_json(hl_str *b, const hl_set *set, const set_state *s)
{
    hl_json_begin(b, '{');
    hl_json_put_str(b, "name", set->name);
    hl_json_put_str(b, "what", set->what);
    hl_json_put_str(b, "licence", set->licence);
    hl_json_put_int(b, "n_files", (int64_t)set->n_files);
    hl_json_put_int(b, "n_there", (int64_t)s->n_there);
    if (set->n_files > 0 && s->n_bytes >= 0)
        hl_json_put_int(b, "n_bytes", s->n_bytes);
    hl_json_end(b, '}');
}

static void print_row(const hl_cli *cli, const hl_set *set, const set_state *s)
{
    char size[24], there[24] = "-";
    if (set->n_files > 0)
        snprintf(there, sizeof there, "%zu/%zu", s->n_there, set->n_files);
    fprintf(hl_cli_out(cli), "%-20s %10s  %-5s  %s\n", set->name,
            set->n_files == 0 ? "-"
            : s->n_bytes < 0  ? "?"
                              : hl_format_bytes(size, s->n_bytes),
            there, set->what);
}

static int run(hl_cli *cli)
{
    const char *dir = hl_data_dir(cli);
    const bool json = hl_cli_flag(cli, "json");
    hl_status st = HL_OK;
    hl_str b = {0};
    const hl_set *set;
    if (json)
        hl_json_begin(&b, '[');
    else
        fprintf(hl_cli_out(cli), "%-20s %10s  %-5s  %s\n", "name", "size", "there", "what");
    for (size_t i = 0; st == HL_OK && (set = hl_set_at(i)) != NULL; i++) {
        set_state s;
        st = look(dir, set, &s);
        if (st == HL_OK && json)
            add_json(&b, set, &s);
        else if (st == HL_OK)
            print_row(cli, set, &s);
    }
    if (json)
        hl_json_end(&b, ']');
    if (st == HL_OK)
        st = hl_str_status(&b);
    if (st == HL_OK && json)
        fprintf(hl_cli_out(cli), "%s\n", b.s);
    else if (st == HL_OK) {
        fputs("looked for in ", hl_cli_out(cli));
        hl_cli_put_text(cli, dir);
        fputs("; '-': nothing to fetch, see info\n", hl_cli_out(cli));
    }
    hl_str_done(&b);
    return st == HL_OK ? HL_EXIT_DONE : hl_cli_fail(cli, st);
}

const hl_data_command hl_data_cmd_ls = {.name = "ls", .options = "dir json", .run = run};
