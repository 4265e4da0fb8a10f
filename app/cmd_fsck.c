/* hoplab fsck: is everything in a run directory readable and consistent? */
#include <string.h>

#include "app/cli.h"
#include "app/hl_app.h"
#include "app/store/event.h"
#include "app/store/event_file.h"
#include "app/store/follow.h"
#include "app/store/lock.h"
#include "app/store/run_dir.h"
#include "app/store/summary.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/hl_engine.h"

typedef struct check {
    const hl_cli *cli;
    FILE *out;
    const char *dir;
    hl_tristate live;
    int n_problems;
} check;

/* ---- events ---- */

static bool is_event(const unsigned char *payload, size_t n)
{
    hl_event ev;
    hl_event_value value;
    if (!hl_event_parse(payload, n, &ev))
        return false;
    while (hl_event_next_value(&ev, &value))
        ;
    return !ev.values.bad;
}

static void report_file(check *c, const hl_event_file *f)
{
    fprintf(c->out, "%s: %lld records, %lld bytes\n", hl_fs_base(hl_event_file_path(f)),
            (long long)hl_event_file_records(f), (long long)hl_event_file_offset(f));
    size_t n = hl_event_file_damages(f);
    for (size_t i = 0; i < n; i++) {
        const hl_damage *d = hl_event_file_damage(f, i);
        if (!d) {
            fprintf(c->out, "  damage: %zu more places\n", n - i);
            break;
        }
        fprintf(c->out, "  damage at byte %lld: %lld bytes skipped, %s\n", (long long)d->offset,
                (long long)d->n_bytes, d->reason);
    }
    c->n_problems += n > 0;
    if (hl_event_file_pending(f))
        fprintf(c->out, "  the last %lld bytes are no complete record: %s\n",
                (long long)hl_event_file_pending(f),
                c->live == HL_YES ? "being written" : "torn off when the writer ended; harmless");
}

static hl_status check_file(check *c, const char *path)
{
    hl_event_file *f;
    const unsigned char *payload;
    size_t n;
    bool got;
    hl_status st = hl_event_file_open(path, &f);
    if (st != HL_OK)
        return st;
    while ((st = hl_event_file_next(f, &payload, &n, &got)) == HL_OK && got)
        if (!is_event(payload, n))
            hl_event_file_reject(f, "checksums hold, but it is not an event");
    if (st == HL_OK)
        report_file(c, f);
    hl_event_file_close(f);
    return st;
}

static hl_status check_events(check *c)
{
    hl_fs_list list;
    size_t n = 0;
    hl_status st = hl_fs_list_dir(c->dir, &list);
    if (st != HL_OK)
        return st;
    for (size_t i = 0; i < list.n; i++) {
        if (!hl_str_starts(list.name[i], HL_SEGMENT_PREFIX))
            continue;
        n++;
        char *path = hl_fs_join(c->dir, list.name[i]);
        st = path ? check_file(c, path) : HL_E_NOMEM;
        hl_free(path);
        if (st != HL_OK) { /* go on with the other files */
            fprintf(c->out, "%s: cannot be read: %s\n", list.name[i], hl_err_message());
            c->n_problems++;
        }
    }
    if (!n)
        fputs("no event files\n", c->out);
    hl_fs_list_free(&list);
    return HL_OK;
}

/* ---- summary ---- */

/* What is wrong with summary.json; NULL: nothing. */
static const char *summary_fault(check *c, const hl_str *right)
{
    char *path = hl_run_dir_path(c->dir, "summary.json"), *text = NULL;
    size_t n = 0;
    hl_json *v = NULL;
    const char *fault = NULL;
    hl_status st = path ? hl_fs_read(path, (size_t)256 << 20, &text, &n) : HL_E_NOMEM;
    if (st != HL_OK)
        fault = st == HL_E_NOTFOUND ? "is missing" : "cannot be read";
    else if (hl_json_parse(text, n, &v) != HL_OK)
        fault = "is not JSON";
    else if (c->live != HL_YES && (n != right->n || memcmp(text, right->s, n) != 0))
        fault = "does not agree with the events (out of date, or written by another version)";
    hl_json_free(v);
    hl_free(text);
    hl_free(path);
    return fault;
}

static hl_status check_summary(check *c, bool repair)
{
    hl_summary *s = NULL;
    hl_str right = {0};
    hl_status st = HL_OK;
    HL_TRY(hl_summary_rebuild(c->dir, NULL, &s));
    HL_TRY(hl_summary_write(s, &right));
    const char *fault = summary_fault(c, &right);
    char *facts = hl_run_dir_path(c->dir, "run.json");
    bool ours = facts && hl_fs_exists(facts);
    hl_free(facts);
    if (fault && !ours) { /* event files of another program: nobody promised a summary */
        fputs("no run.json: not a run of hoplab, its summary was not checked\n", c->out);
        goto out;
    }
    fprintf(c->out, "summary.json: %s\n", fault ? fault : "good");
    if (fault && repair) {
        HL_TRY(hl_summary_save(s, c->dir));
        fputs("summary.json: rebuilt from the events\n", c->out);
    } else if (fault) {
        c->n_problems++;
    }
out:
    hl_str_done(&right);
    hl_summary_free(s);
    return st;
}

/* ---- checkpoints ---- */

/* best and last hold the name of a checkpoint directory. */
static void check_pointer(check *c, const char *ckpt_dir, const char *pointer)
{
    char *path = hl_fs_join(ckpt_dir, pointer), *name = NULL;
    size_t n;
    if (path && hl_fs_read(path, 4096, &name, &n) == HL_OK) {
        name[strcspn(name, "\n")] = '\0';
        const char *base = hl_fs_base(name);
        bool good = hl_run_id_is_valid(base) && hl_run_dir_has_checkpoint(c->dir, base);
        fprintf(c->out, "ckpt/%s: ", pointer);
        hl_cli_put_text(c->cli, name);
        fputs(good ? ", complete\n" : ", which is missing or incomplete\n", c->out);
        c->n_problems += !good;
    }
    hl_free(name);
    hl_free(path);
}

/* Reads all of it: sizes, sums, headers. */
static void check_checkpoint(check *c, const char *ckpt_dir, const char *name)
{
    hl_checkpoint opened = {0};
    char *path = hl_fs_join(ckpt_dir, name);
    fputs("ckpt/", c->out);
    hl_cli_put_text(c->cli, name);
    if (!hl_run_dir_has_checkpoint(c->dir, name)) {
        fputs(": has no DONE, so it is never used; it was being written or removed\n", c->out);
    } else if (path && hl_checkpoint_open(path, &opened) == HL_OK) {
        fputs(": complete\n", c->out);
        hl_checkpoint_close(&opened);
    } else if (!hl_run_dir_has_checkpoint(c->dir, name)) {
        fputs(": removed meanwhile by the run\n", c->out);
    } else {
        fputs(": DAMAGED: ", c->out);
        hl_cli_put_text(c->cli, hl_err_message());
        fputc('\n', c->out);
        c->n_problems++;
    }
    hl_free(path);
}

static hl_status check_checkpoints(check *c)
{
    hl_fs_list list;
    char *dir = hl_run_dir_path(c->dir, "ckpt");
    hl_status st = dir ? hl_fs_list_dir(dir, &list) : HL_E_NOMEM;
    if (st == HL_E_NOTFOUND) {
        hl_free(dir);
        return HL_OK;
    }
    if (st == HL_OK) {
        for (size_t i = 0; i < list.n; i++)
            if (hl_str_starts(list.name[i], "step-"))
                check_checkpoint(c, dir, list.name[i]);
        hl_fs_list_free(&list);
        check_pointer(c, dir, "best");
        check_pointer(c, dir, "last");
    }
    hl_free(dir);
    return st;
}

/* ---- command ---- */

static hl_status check_run(check *c, bool repair)
{
    hl_lock_view lock;
    hl_status st = HL_OK;
    hl_lock_look(c->dir, &lock);
    c->live = hl_lock_is_live(&lock);
    if (repair && c->live != HL_NO)
        HL_FAIL(HL_E_STATE,
                "the run is %s, and its writer keeps the summary; repair it when that has ended",
                c->live == HL_YES ? "being written" : "perhaps being written on another machine");
    HL_TRY(check_events(c));
    HL_TRY(check_summary(c, repair));
    HL_TRY(check_checkpoints(c));
out:
    return st;
}

static int run(hl_cli *cli)
{
    char *dir = NULL;
    hl_status st = hl_run_find(hl_cli_runs_dir(cli), hl_cli_arg(cli, 0), &dir);
    if (st != HL_OK)
        return hl_cli_fail(cli, st);
    check c = {.cli = cli, .out = hl_cli_out(cli), .dir = dir};
    st = check_run(&c, hl_cli_flag(cli, "repair"));
    int rc = HL_EXIT_DONE;
    if (st != HL_OK) {
        rc = hl_cli_fail(cli, st);
    } else if (c.n_problems) {
        fputs("damage was found\n", c.out);
        rc = HL_EXIT_FAILED;
    } else {
        fputs("no damage\n", c.out);
    }
    hl_free(dir);
    return rc;
}

static const hl_option options[] = {
    {"repair", 0, HL_OPTION_FLAG, NULL, NULL, "rebuild summary.json from the events", NULL},
    {0},
};

const hl_command hl_cmd_fsck = {
    .name = "fsck",
    .help = "check the files of a run",
    .usage = "RUN",
    .about =
        "Reads every record of every event file and names what is damaged, with its place.\n"
        "Exit status 1: damage was found. Damaged records are never altered: all readers skip\n"
        "them.\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = 1,
    .run = run,
};
