/* hoplab data info NAME|FILE: what a set is, or what is in a file. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app/data_cmd.h"
#include "data/hl_data.h"
#include "engine/base/fs.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"

static void line(const hl_cli *cli, const char *what, const char *text)
{
    fprintf(hl_cli_out(cli), "%-10s ", what);
    hl_cli_put_text(cli, text);
    fputc('\n', hl_cli_out(cli));
}

/* ---- a set ----------------------------------------------------------------------------------- */

static void print_file(const hl_cli *cli, const hl_set_file *f, const char *path, bool is_there)
{
    char size[24];
    FILE *out = hl_cli_out(cli);
    line(cli, "file", path);
    fprintf(out, "           %s, %s\n", is_there ? "there" : "not there",
            f->n_bytes < 0 ? "size not known here" : hl_format_bytes(size, f->n_bytes));
    fprintf(out, "           sha256 %s\n", f->sha256 ? f->sha256 : "not known here");
    for (int i = 0; f->addresses[i]; i++)
        fprintf(out, "           %s\n", f->addresses[i]);
}

static void add_file(hl_str *b, const hl_set_file *f, const char *path, bool is_there)
{
    hl_json_begin(b, '{');
    hl_json_put_str(b, "path", path);
    hl_json_put_bool(b, "there", is_there);
    if (f->n_bytes >= 0)
        hl_json_put_int(b, "n_bytes", f->n_bytes);
    if (f->sha256)
        hl_json_put_str(b, "sha256", f->sha256);
    hl_json_add_key(b, "addresses");
    hl_json_begin(b, '[');
    for (int i = 0; f->addresses[i]; i++)
        hl_json_add_str(b, f->addresses[i]);
    hl_json_end(b, ']');
    hl_json_end(b, '}');
}

static hl_status show_files(const hl_cli *cli, const hl_set *set, hl_str *json)
{
    for (size_t i = 0; i < set->n_files; i++) {
        bool is_there;
        char *path = hl_set_path(hl_data_dir(cli), &set->files[i], &is_there);
        if (!path)
            return HL_E_NOMEM;
        if (json)
            add_file(json, &set->files[i], path, is_there);
        else
            print_file(cli, &set->files[i], path, is_there);
        hl_free(path);
    }
    return HL_OK;
}

static hl_status show_set(const hl_cli *cli, const hl_set *set)
{
    hl_str b = {0};
    if (!hl_cli_flag(cli, "json")) {
        line(cli, "name", set->name);
        line(cli, "what", set->what);
        line(cli, "licence", set->licence);
        hl_status st = show_files(cli, set, NULL);
        if (set->note)
            line(cli, set->n_files ? "then" : "fetch", set->note);
        return st;
    }
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "name", set->name);
    hl_json_put_str(&b, "what", set->what);
    hl_json_put_str(&b, "licence", set->licence);
    if (set->note)
        hl_json_put_str(&b, "note", set->note);
    hl_json_add_key(&b, "files");
    hl_json_begin(&b, '[');
    hl_status st = show_files(cli, set, &b);
    hl_json_end(&b, ']');
    hl_json_end(&b, '}');
    if (st == HL_OK)
        st = hl_str_status(&b);
    if (st == HL_OK)
        fprintf(hl_cli_out(cli), "%s\n", b.s);
    hl_str_done(&b);
    return st;
}

/* ---- a file ---------------------------------------------------------------------------------- */

typedef struct file_info {
    const char *path;
    int64_t n_bytes;
    char sha256[HL_SHA256_HEX];
    bool is_text;
    hl_text_measures text;
    char why_not[HL_ERR_MESSAGE_MAX]; /* it is no text */
} file_info;

static hl_status read_file(const char *path, file_info *f)
{
    hl_text *text = NULL;
    *f = (file_info){.path = path};
    hl_status st = hl_file_sha256(path, NULL, f->sha256);
    if (st != HL_OK)
        return st;
    f->n_bytes = hl_fs_size(path);
    st = hl_text_open(&path, 1, &text);
    if (st == HL_OK) {
        f->is_text = true;
        f->text = hl_text_measure(text);
    } else if (st == HL_E_FORMAT) {
        snprintf(f->why_not, sizeof f->why_not, "%s", hl_err_message());
        st = HL_OK;
    }
    hl_text_close(text);
    return st;
}

static void print_text(const hl_cli *cli, const hl_text_measures *m)
{
    FILE *out = hl_cli_out(cli);
    char size[24];
    if (m->is_packed)
        fprintf(out, "%-10s gzip, %" PRId64 " bytes (%s) of text\n", "packed", m->n_bytes,
                hl_format_bytes(size, m->n_bytes));
    if (m->n_rows >= 0)
        fprintf(out, "%-10s %" PRId64 ", with %" PRId64 " bytes of text\n", "rows", m->n_rows,
                m->n_bytes);
    fprintf(out, "%-10s %" PRId64 "\n", "lines", m->n_lines);
    if (m->invalid_at < 0)
        fprintf(out, "%-10s valid throughout\n", "UTF-8");
    else
        fprintf(out, "%-10s not valid at byte %" PRId64 "\n", "UTF-8", m->invalid_at);
}

static hl_status print_json(const hl_cli *cli, const file_info *f)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "path", f->path);
    hl_json_put_int(&b, "n_bytes", f->n_bytes);
    hl_json_put_str(&b, "sha256", f->sha256);
    hl_json_put_bool(&b, "text", f->is_text);
    if (f->is_text) {
        hl_json_put_bool(&b, "packed", f->text.is_packed);
        hl_json_put_int(&b, "text_bytes", f->text.n_bytes);
        hl_json_put_int(&b, "lines", f->text.n_lines);
        if (f->text.n_rows >= 0)
            hl_json_put_int(&b, "rows", f->text.n_rows);
        hl_json_put_bool(&b, "utf8", f->text.invalid_at < 0);
    } else {
        hl_json_put_str(&b, "why", f->why_not);
    }
    hl_json_end(&b, '}');
    hl_status st = hl_str_status(&b);
    if (st == HL_OK)
        fprintf(hl_cli_out(cli), "%s\n", b.s);
    hl_str_done(&b);
    return st;
}

static hl_status show_file(const hl_cli *cli, const char *path)
{
    file_info f;
    char size[24];
    if (hl_str_ends(path, ".csv") || hl_str_ends(path, ".csv.gz"))
        return hl_data_show_table(cli, path);
    hl_status st = read_file(path, &f);
    if (st != HL_OK)
        return st;
    if (hl_cli_flag(cli, "json"))
        return print_json(cli, &f);
    line(cli, "file", path);
    fprintf(hl_cli_out(cli), "%-10s %" PRId64 " (%s)\n", "bytes", f.n_bytes,
            hl_format_bytes(size, f.n_bytes));
    line(cli, "sha256", f.sha256);
    if (f.is_text)
        print_text(cli, &f.text);
    else
        line(cli, "no text", f.why_not);
    return HL_OK;
}

static int run(hl_cli *cli)
{
    const char *name = hl_cli_arg(cli, 1);
    const hl_set *set = hl_set_find(name);
    const char *near = hl_set_nearest(name);
    if (!set && !hl_fs_exists(name))
        return hl_cli_complain(cli, HL_EXIT_INPUT,
                               near ? "no data set and no file '%s'; did you mean '%s'?"
                                    : "no data set and no file '%s'; 'data ls' lists the sets",
                               name, near);
    hl_status st = set ? show_set(cli, set) : show_file(cli, name);
    return st == HL_OK ? HL_EXIT_DONE : hl_cli_fail(cli, st);
}

const hl_data_command hl_data_cmd_info = {.name = "info",
                                          .usage = "NAME|FILE",
                                          .options = "dir json",
                                          .n_args_min = 1,
                                          .n_args_max = 1,
                                          .run = run};
