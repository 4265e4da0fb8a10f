/* hoplab data fetch NAME ...: public data sets to where the readers look for them. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/data_cmd.h"
#include "app/proc/signals.h"
#include "app/progress.h"
#include "data/hl_data.h"
#include "engine/base/fs.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

enum { MIRRORS_MAX = 8, ADDRESSES_MAX = 2 * MIRRORS_MAX };

typedef struct session {
    const hl_cli *cli;
    hl_progress *progress;
    hl_flag stop;
    const char *path;  /* of the file at work, below the data directory */
    const char *shown; /* what the display says is being done; NULL: nothing yet */
    hl_str table;      /* what is left to do, for the end */
    hl_str files;      /* JSON array */
} session;

static void on_signal(void *arg, int signal_number)
{
    if (signal_number == SIGINT || signal_number == SIGTERM)
        hl_flag_set(arg, 1);
}

static void on_event(void *arg, const hl_fetch_event *e)
{
    session *s = arg;
    hl_str text = {0};
    const double fraction = e->total > 0 ? (double)e->have / (double)e->total : -1;
    if (e->kind == HL_FETCH_FAULT) {
        hl_str_addf(&text, "%s: %s", e->address, e->message);
        hl_progress_event(s->progress, HL_PROGRESS_ALERT, hl_str_text(&text), NULL);
    } else {
        s->shown = e->kind == HL_FETCH_SUM ? "checking the sum" : s->path;
        hl_progress_phase(s->progress, s->shown, fraction);
    }
    hl_str_done(&text);
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* A path of this machine as an address; an address stays as it is. Without a final slash. */
static void add_base(hl_str *b, const char *mirror)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-~";
    size_t n = strlen(mirror);
    while (n > 1 && mirror[n - 1] == '/')
        n--;
    if (strstr(mirror, "://")) {
        hl_str_addn(b, mirror, n);
        return;
    }
    char *full = hl_fs_absolute(mirror);
    if (!full) {
        b->failed = true;
        return;
    }
    hl_str_add(b, "file://");
    for (size_t i = 0; full[i] && (full[i + 1] || full[i] != '/'); i++)
        if (strchr(plain, full[i]))
            hl_str_addc(b, full[i]);
        else
            hl_str_addf(b, "%%%02X", (unsigned)(unsigned char)full[i]);
    hl_free(full);
}

/* Of each mirror two places: laid out like a data directory, and all files in one folder. */
static hl_status mirror_addresses(const session *s, const hl_set_file *file, char **at, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < hl_cli_many_n(s->cli, "mirror"); i++)
        for (int flat = 0; flat < 2; flat++) {
            hl_str b = {0};
            if (*n == ADDRESSES_MAX)
                return hl_err_set(HL_E_ARG, "more than %d times --mirror", MIRRORS_MAX);
            add_base(&b, hl_cli_many(s->cli, "mirror", i));
            hl_str_addf(&b, "/%s", flat ? hl_fs_base(file->path) : file->path);
            at[(*n)++] = b.s;
            if (hl_str_status(&b) != HL_OK)
                return HL_E_NOMEM;
        }
    return HL_OK;
}

/* ---- one file -------------------------------------------------------------------------------- */

static void report(session *s, const hl_set_file *file, const char *path, const hl_fetch_result *r)
{
    const bool checked = file->sha256 && !hl_cli_flag(s->cli, "no-verify");
    char size[24];
    hl_str text = {0};
    if (s->shown) /* or the line would stay at what it was when it was last drawn */
        hl_progress_phase(s->progress, s->shown, 1);
    hl_str_addf(&text, "%s %s, %s, ", path, r->was_there ? "was there" : "fetched",
                hl_format_bytes(size, r->n_bytes));
    if (r->n_resumed)
        hl_str_addf(&text, "continued at %s, ", hl_format_bytes(size, r->n_resumed));
    if (checked)
        hl_str_add(&text, "sha256 is right");
    else
        hl_str_addf(&text, "sha256 not compared: %s", r->sha256);
    hl_progress_event(s->progress, HL_PROGRESS_INFO, hl_str_text(&text), NULL);
    hl_str_done(&text);
    hl_json_begin(&s->files, '{');
    hl_json_put_str(&s->files, "path", path);
    hl_json_put_int(&s->files, "n_bytes", r->n_bytes);
    hl_json_put_str(&s->files, "sha256", r->sha256);
    hl_json_put_bool(&s->files, "verified", checked);
    hl_json_put_bool(&s->files, "was_there", r->was_there);
    hl_json_end(&s->files, '}');
}

/* The readers take a file packed and unpacked; whoever has the one needs no other. */
static hl_status has_twin(session *s, const hl_set_file *file, const char *path, bool *has)
{
    char *there = hl_set_path(hl_data_dir(s->cli), file, has);
    hl_str text = {0};
    if (!there)
        return HL_E_NOMEM;
    *has = *has && strcmp(there, path) != 0;
    if (*has) {
        hl_str_addf(&text, "%s is there, which will do for %s", there, path);
        hl_progress_event(s->progress, HL_PROGRESS_INFO, hl_str_text(&text), NULL);
    }
    hl_str_done(&text);
    hl_free(there);
    return HL_OK;
}

static hl_status fetch_file(session *s, const hl_set_file *file)
{
    hl_status st = HL_OK;
    hl_fetch_params p = hl_fetch_params_default();
    hl_fetch_result r;
    char *made[ADDRESSES_MAX] = {0};
    size_t n_made = 0;
    bool is_there = false;
    char *path = hl_fs_join(hl_data_dir(s->cli), file->path);
    if (!path)
        return HL_E_NOMEM;
    s->path = file->path;
    HL_TRY(has_twin(s, file, path, &is_there));
    if (is_there)
        goto out;
    HL_TRY(mirror_addresses(s, file, made, &n_made));
    p.addresses = n_made ? (const char *const *)made : file->addresses;
    for (p.n_addresses = n_made; !n_made && file->addresses[p.n_addresses];)
        p.n_addresses++;
    p.path = path;
    if (!hl_cli_flag(s->cli, "no-verify")) {
        p.n_bytes = file->n_bytes;
        p.sha256 = file->sha256;
    }
    p.on_event = on_event;
    p.arg = s;
    p.stop = &s->stop;
    HL_TRY(hl_fetch(&p, &r));
    report(s, file, path, &r);
out:
    for (size_t i = 0; i < n_made; i++)
        hl_free(made[i]);
    hl_free(path);
    return st;
}

static hl_status fetch_set(session *s, const hl_set *set)
{
    for (size_t i = 0; i < set->n_files; i++) {
        hl_status st = fetch_file(s, &set->files[i]);
        if (st != HL_OK)
            return st;
    }
    if (set->note)
        hl_str_addf(&s->table, "%s (in %s): %s\n", set->name, hl_data_dir(s->cli), set->note);
    return HL_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int check_names(const hl_cli *cli)
{
    for (size_t i = 1; i < hl_cli_args_n(cli); i++) {
        const char *name = hl_cli_arg(cli, i), *near = hl_set_nearest(name);
        const hl_set *set = hl_set_find(name);
        if (!set)
            return hl_cli_complain(cli, HL_EXIT_USAGE,
                                   near ? "no data set '%s'; did you mean '%s'?"
                                        : "no data set '%s'; 'data ls' lists them",
                                   name, near);
        if (set->n_files == 0)
            return hl_cli_complain(cli, HL_EXIT_INPUT, "%s cannot be fetched: %s", set->name,
                                   set->note);
    }
    return HL_EXIT_DONE;
}

static void finish(session *s, hl_status st)
{
    hl_str json = {0};
    hl_json_end(&s->files, ']');
    hl_json_begin(&json, '{');
    hl_json_put_bool(&json, "ok", st == HL_OK);
    if (hl_str_status(&s->files) == HL_OK) {
        hl_json_add_key(&json, "files");
        hl_str_add(&json, s->files.s);
    }
    hl_json_end(&json, '}');
    hl_progress_finish(s->progress, st == HL_OK && s->table.n ? s->table.s : NULL,
                       hl_str_text(&json));
    hl_str_done(&json);
}

static int fetch_all(session *s, const hl_signals *signals)
{
    hl_status st = HL_OK;
    hl_json_begin(&s->files, '[');
    for (size_t i = 1; st == HL_OK && i < hl_cli_args_n(s->cli); i++)
        st = fetch_set(s, hl_set_find(hl_cli_arg(s->cli, i)));
    const int sig = hl_signals_stop_signal(signals);
    char message[HL_ERR_MESSAGE_MAX];
    snprintf(message, sizeof message, "%s", hl_err_message());
    if (st == HL_E_CANCELLED)
        hl_progress_event(s->progress, HL_PROGRESS_ALERT,
                          "stopped; the same command continues where it was", NULL);
    finish(s, st);
    if (st == HL_E_CANCELLED && sig)
        return 128 + sig;
    if (st == HL_E_UNSUPPORTED)
        return hl_cli_complain(s->cli, HL_EXIT_INPUT, "%s", message);
    return st == HL_OK ? HL_EXIT_DONE
                       : hl_cli_complain(s->cli, hl_cli_exit_status(st), "%s", message);
}

static int run(hl_cli *cli)
{
    session s = {.cli = cli};
    hl_signals *signals = NULL;
    int status = check_names(cli);
    if (status != HL_EXIT_DONE)
        return status;
    hl_status st =
        hl_signals_start(&(hl_signals_options){.on_signal = on_signal, .arg = &s.stop}, &signals);
    if (st == HL_OK)
        st = hl_progress_new(&(hl_progress_options){.json = hl_cli_flag(cli, "json"),
                                                    .quiet = hl_cli_flag(cli, "quiet")},
                             &s.progress);
    status = st == HL_OK ? fetch_all(&s, signals) : hl_cli_fail(cli, st);
    hl_progress_free(s.progress);
    hl_signals_stop(signals);
    hl_str_done(&s.table);
    hl_str_done(&s.files);
    return status;
}

const hl_data_command hl_data_cmd_fetch = {.name = "fetch",
                                           .usage = "NAME ...",
                                           .options = "dir mirror no-verify quiet json",
                                           .n_args_min = 1,
                                           .n_args_max = -1,
                                           .run = run};
