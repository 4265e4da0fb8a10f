/* The run directory of a worker: a new one, or that of the run which is resumed; checkpoint
 * pointers and retention. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/proc/host.h"
#include "app/store/lock.h"
#include "app/store/retention.h"
#include "app/store/run_dir.h"
#include "app/worker_internal.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/hl_engine.h"

static void identity_text(const worker *w, char text[20])
{
    snprintf(text, 20, "%016llx", (unsigned long long)w->p->exp->identity);
}

static hl_status set_dir(worker *w, char *dir)
{
    w->dir = dir;
    w->ckpt_dir = hl_run_dir_path(dir, "ckpt");
    return w->ckpt_dir ? HL_OK : HL_E_NOMEM;
}

/* --- resuming --- */

static bool same_identity(const char *dir, const char *identity)
{
    hl_json *facts = NULL;
    bool same = hl_run_dir_read_json(dir, "run.json", &facts) == HL_OK &&
                strcmp(hl_json_str(hl_json_get(facts, "identity"), ""), identity) == 0;
    hl_json_free(facts);
    return same;
}

static bool is_live(const char *dir)
{
    hl_lock_view view;
    hl_lock_look(dir, &view);
    return hl_lock_is_live(&view) == HL_YES;
}

/* The newest run of this script and configuration that is not done. */
static hl_status newest_resumable(const worker *w, char **out)
{
    hl_run_list *list = NULL;
    char identity[20];
    identity_text(w, identity);
    *out = NULL;
    hl_status st = hl_run_list_open(w->o->runs_dir, &list);
    if (st != HL_OK)
        return st;
    for (size_t i = hl_run_list_n(list); i-- > 0 && !*out;) {
        const hl_run_row *r = hl_run_list_at(list, i);
        if (r->state != HL_RUN_DONE && same_identity(r->dir, identity))
            *out = hl_strdup(r->dir);
    }
    hl_run_list_close(list);
    return HL_OK;
}

static hl_status named_run(const worker *w, char **out)
{
    hl_status st = HL_OK;
    char identity[20];
    hl_run *run = NULL;
    identity_text(w, identity);
    HL_TRY(hl_run_find(w->o->runs_dir, w->o->resume_run, out));
    if (!same_identity(*out, identity))
        HL_FAIL(HL_E_STATE,
                "%s was made by another script or configuration; start a new run, or give the "
                "options it was started with (%s/config.json)",
                *out, *out);
    HL_TRY(hl_run_open(*out, &run));
    if (hl_run_get_row(run)->state == HL_RUN_DONE)
        HL_FAIL(HL_E_STATE, "%s is done: there is nothing to resume", *out);
out:
    hl_run_close(run);
    return st;
}

static hl_status choose_checkpoint(worker *w)
{
    char name[64];
    w->resume_step = 0;
    if (w->o->checkpoint) {
        snprintf(name, sizeof name, "%.60s", hl_fs_base(w->o->checkpoint));
        if (!hl_run_dir_has_checkpoint(w->dir, name))
            return hl_err_set(HL_E_NOTFOUND, "%s has no complete checkpoint '%s'", w->dir, name);
    } else if (!hl_run_dir_newest_checkpoint(w->dir, NULL, name)) {
        return HL_OK; /* killed before the first one: again from the start */
    }
    w->resume_from = hl_fs_join(w->ckpt_dir, name);
    return w->resume_from ? HL_OK : HL_E_NOMEM;
}

/* Leftovers of a checkpoint that was being written when the worker was killed. */
static void sweep(const worker *w)
{
    hl_fs_list list;
    hl_trash_sweep(w->ckpt_dir);
    if (hl_fs_list_dir(w->ckpt_dir, &list) != HL_OK)
        return;
    for (size_t i = 0; i < list.n; i++) {
        if (!hl_str_starts(list.name[i], ".tmp-"))
            continue;
        char *path = hl_fs_join(w->ckpt_dir, list.name[i]);
        if (path)
            HL_IGNORE(hl_fs_remove_tree(path));
        hl_free(path);
    }
    hl_fs_list_free(&list);
}

hl_status hl_worker_find_resume(worker *w, bool *none)
{
    hl_status st = HL_OK;
    char *dir = NULL;
    *none = false;
    w->resume_step = -1;
    if (w->o->resume_run)
        HL_TRY(named_run(w, &dir));
    else
        HL_TRY(newest_resumable(w, &dir));
    if (!dir) {
        *none = true;
        return HL_OK;
    }
    HL_TRY(set_dir(w, dir));
    dir = NULL;
    if (is_live(w->dir))
        HL_FAIL(HL_E_STATE,
                "%s is being written by a live worker; stop it first (hoplab ctl %s stop)", w->dir,
                hl_fs_base(w->dir));
    sweep(w);
    HL_TRY(choose_checkpoint(w));
out:
    hl_free(dir);
    return st;
}

hl_status hl_worker_load(worker *w)
{
    hl_status st = HL_OK;
    while (w->resume_from) {
        char text[HL_ERR_MESSAGE_MAX + 64], name[64];
        st = hl_train_resume(w->train, w->resume_from);
        if (st != HL_E_FORMAT || w->o->checkpoint ||
            !hl_run_dir_newest_checkpoint(w->dir, hl_fs_base(w->resume_from), name))
            break;
        snprintf(text, sizeof text, "%s; taking %s", hl_err_message(), name);
        hl_progress_event(w->progress, HL_PROGRESS_ALERT, text, NULL);
        hl_free(w->resume_from);
        w->resume_from = hl_fs_join(w->ckpt_dir, name);
        st = w->resume_from ? HL_OK : HL_E_NOMEM;
    }
    if (w->resume_from && st == HL_OK)
        w->resume_step = hl_train_step(w->train);
    return st;
}

/* --- a new directory --- */

static void extra_facts(const worker *w, hl_str *b)
{
    char identity[20], version[40], job[80];
    hl_host host;
    hl_host_read(&host);
    identity_text(w, identity);
    hl_json_begin(b, '{');
    hl_json_put_str(b, "identity", identity);
    hl_json_put_int(b, "threads", w->p->team->n);
    hl_json_put_str(b, "isa", hl_experiment_isa(w->p->exp));
    hl_json_put_str(b, "precision", hl_experiment_precision(w->p->exp));
    hl_json_put_str(b, "cpu", host.cpu);
    hl_json_put_int(b, "cores", host.n_cores);
    hl_json_put_int(b, "memory_bytes", host.memory_bytes);
    if (w->gpus.n) {
        hl_json_add_key(b, "gpus");
        hl_str_add(b, hl_str_text(&w->gpus));
    }
    if (!w->p->exp->study.run) {
        hl_json_put_str(b, "data", w->p->exp->source.label);
        hl_json_put_bool(b, "data_generated", w->p->exp->source.is_generated);
    }
    if (w->o->replay)
        hl_json_put_str(b, "replay", w->o->replay);
    snprintf(version, sizeof version, "%s", hl_cli_program(w->cli)->version);
    hl_json_put_str(b, "hoplab", version);
    const char *slurm = getenv("SLURM_JOB_ID"), *array = getenv("SLURM_ARRAY_JOB_ID");
    const char *task = getenv("SLURM_ARRAY_TASK_ID");
    if (array && task) /* as squeue shows it; SLURM_JOB_ID is another number */
        snprintf(job, sizeof job, "%s_%s", array, task);
    if (slurm)
        hl_json_put_str(b, "slurm_job", array && task ? job : slurm);
    hl_json_end(b, '}');
}

/* Tags of the experiment as a list, and that of its sweep; the strings are borrowed. */
static size_t read_tags(const hl_json *tags, const char *sweep_tag, const char *out[32])
{
    size_t n = 0;
    for (const hl_json *t = hl_json_at(tags, 0); t && n < 31; t = hl_json_next(t))
        if (hl_json_is_string(t))
            out[n++] = hl_json_str(t, "");
    if (sweep_tag[0])
        out[n++] = sweep_tag;
    return n;
}

hl_status hl_worker_make_dir(worker *w)
{
    hl_status st = HL_OK;
    hl_str extra = {0}, device = {0};
    hl_json *tags = NULL;
    const char *tag_list[32];
    char *dir = NULL, git[80], sweep_tag[128] = "";
    hl_git source;
    if (w->o->sweep)
        snprintf(sweep_tag, sizeof sweep_tag, "sweep:%s", w->o->sweep);
    hl_git_read(w->p->script_dir, &source);
    if (hl_device_current())
        hl_device_describe(&device);
    snprintf(git, sizeof git, "%s%s", source.commit, source.dirty == 1 ? "+" : "");
    extra_facts(w, &extra);
    HL_TRY(hl_str_status(&extra));
    HL_TRY(hl_json_parse(w->p->exp->tags_json, strlen(w->p->exp->tags_json), &tags));
    hl_run_facts_in facts = {.name = w->p->exp->name,
                             .project = w->p->exp->project,
                             .device = device.n ? device.s : "cpu",
                             .script = w->o->script,
                             .git = git,
                             .tags = tag_list,
                             .n_tags = read_tags(tags, sweep_tag, tag_list),
                             .sweep = w->o->sweep,
                             .has_seed = true,
                             .seed = (int64_t)w->p->exp->seed,
                             .argv = (const char *const *)w->o->argv,
                             .n_argv = (size_t)w->o->argc,
                             .extra = extra.s};
    HL_TRY(hl_run_dir_create(w->o->runs_dir, &facts, &dir));
    HL_TRY(set_dir(w, dir));
    dir = NULL;
    HL_TRY(hl_run_dir_put_config(w->dir, w->p->exp->config_json));
    HL_TRY(hl_worker_put_scripts(w));
out:
    hl_free(dir);
    hl_json_free(tags);
    hl_str_done(&extra);
    hl_str_done(&device);
    return st;
}

static hl_status put_script(worker *w, const char *path)
{
    const char *embedded = hl_lua_embedded(path);
    if (embedded)
        return hl_run_dir_put_script(w->dir, hl_fs_base(path), embedded, strlen(embedded));
    char *text = NULL;
    size_t n = 0;
    hl_status st = hl_fs_read(path, 16u << 20, &text, &n);
    if (st == HL_OK)
        st = hl_run_dir_put_script(w->dir, hl_fs_base(path), text, n);
    hl_free(text);
    return st;
}

hl_status hl_worker_put_scripts(worker *w)
{
    hl_status st = put_script(w, w->o->script);
    for (int i = 0; st == HL_OK && i < hl_lua_n_files(w->p->lua); i++)
        st = put_script(w, hl_lua_file(w->p->lua, i));
    return st;
}

/* --- checkpoints: pointers and retention --- */

static void point(const worker *w, const char *pointer, const char *name)
{
    char *path = hl_fs_join(w->ckpt_dir, pointer);
    hl_str text = {0};
    hl_str_addf(&text, "%s\n", name);
    if (!path || hl_str_status(&text) != HL_OK || hl_fs_write_atomic(path, text.s, text.n) != HL_OK)
        hl_log(HL_LOG_WARN, "cannot update %s/%s: %s", w->ckpt_dir, pointer, hl_err_message());
    hl_str_done(&text);
    hl_free(path);
}

void hl_worker_keep(worker *w, const char *name, int64_t step, bool best)
{
    char best_name[64];
    hl_fs_list list;
    snprintf(w->checkpoint, sizeof w->checkpoint, "ckpt/%.50s", name);
    const bool is_own = !hl_str_starts(name, "step-"); /* it has a name, and stays */
    if (!is_own)
        point(w, "last", name);
    if (best)
        point(w, "best", name);
    hl_writer_checkpoint(w->writer, step, w->checkpoint, false);
    if (is_own)
        return;
    hl_run_dir_read_pointer(w->dir, "best", best_name);
    if (hl_fs_list_dir(w->ckpt_dir, &list) != HL_OK)
        return;
    int64_t n = 0;
    for (size_t i = list.n; i-- > 0;) {
        if (!hl_str_starts(list.name[i], "step-") || n++ < w->p->exp->save_keep ||
            strcmp(list.name[i], best_name) == 0)
            continue;
        if (hl_checkpoint_remove(w->dir, list.name[i]) != HL_OK) {
            hl_log(HL_LOG_WARN, "cannot remove an old checkpoint: %s", hl_err_message());
            continue;
        }
        char path[80];
        snprintf(path, sizeof path, "ckpt/%.60s", list.name[i]);
        hl_writer_checkpoint(w->writer, strtoll(list.name[i] + 5, NULL, 10), path, true);
    }
    hl_fs_list_free(&list);
}
