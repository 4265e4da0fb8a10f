#define _GNU_SOURCE
#include "app/store/run_dir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/store/follow.h"
#include "app/store/lock.h"
#include "app/store/summary.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

#define JSON_MAX_BYTES ((size_t)256 << 20)

bool hl_run_id_is_valid(const char *text)
{
    return *text && *text != '.' && !strchr(text, '/') && strlen(text) <= 200;
}

static uint32_t random_bits(void)
{
    uint32_t r;
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) == (ssize_t)sizeof r)
        return r;
    int64_t seed[2] = {hl_clock_mono_ns(),
                       getpid()}; /* early in a boot; the mkdir decides anyway */
    return (uint32_t)hl_hash_bytes(HL_HASH_START, seed, sizeof seed);
}

static void make_id(char out[24])
{
    time_t s = (time_t)(hl_clock_wall_us() / 1000000);
    struct tm tm;
    char stamp[16] = "";
    gmtime_r(&s, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    snprintf(out, 24, "%.15s-%06x", stamp, (unsigned)(random_bits() & 0xFFFFFFu));
}

/* <runs_dir>/<id> as a new directory. */
static hl_status claim_dir(const char *runs_dir, const char *id, char **dir)
{
    for (int attempt = 0; attempt < 16; attempt++) {
        char made[24] = "";
        if (!id)
            make_id(made);
        char *path = hl_fs_join(runs_dir, id ? id : made);
        if (!path)
            return HL_E_NOMEM;
        if (mkdir(path, 0777) == 0) {
            *dir = path;
            return HL_OK;
        }
        int e = errno;
        hl_status st = HL_OK;
        if (e != EEXIST)
            st = hl_err_set(HL_E_IO, "cannot create %s: %s", path,
                            e == EROFS ? "the file system is read-only" : strerror(e));
        else if (id)
            st = hl_err_set(HL_E_STATE, "run %s exists already in %s", id, runs_dir);
        hl_free(path);
        if (st != HL_OK)
            return st;
    }
    return hl_err_set(HL_E_INTERNAL, "16 random run names in a row were taken in %s", runs_dir);
}

static void put_optional(hl_str *b, const char *key, const char *text)
{
    if (text && *text)
        hl_json_put_str(b, key, text);
}

static void put_list(hl_str *b, const char *key, const char *const *list, size_t n)
{
    if (!n)
        return;
    hl_json_add_key(b, key);
    hl_json_begin(b, '[');
    for (size_t i = 0; i < n; i++)
        hl_json_add_str(b, list[i]);
    hl_json_end(b, ']');
}

static hl_status add_extra(hl_str *b, const char *extra)
{
    hl_json *v;
    hl_status st = hl_json_parse(extra, strlen(extra), &v);
    if (st != HL_OK)
        return hl_err_context("facts of a new run");
    for (const hl_json *member = hl_json_at(v, 0); member; member = hl_json_next(member)) {
        if (!hl_json_key(member))
            continue;
        hl_json_add_key(b, hl_json_key(member));
        hl_json_add_value(b, member);
    }
    hl_json_free(v);
    return HL_OK;
}

static hl_status put_facts(const char *dir, const hl_run_facts_in *in)
{
    hl_status st = HL_OK;
    hl_str b = {0};
    char time_text[24], host[80], cwd[4096];
    int64_t now = hl_clock_wall_us();
    char *path = hl_fs_join(dir, "run.json");
    hl_json_begin(&b, '{');
    hl_json_put_int(&b, "format", HL_RUN_FORMAT);
    hl_json_put_str(&b, "id", hl_fs_base(dir));
    hl_json_put_str(&b, "name", in->name && *in->name ? in->name : hl_fs_base(dir));
    put_optional(&b, "project", in->project);
    put_list(&b, "tags", in->tags, in->n_tags);
    hl_json_put_str(&b, "created", hl_clock_format_utc(time_text, now));
    hl_json_put_num(&b, "created_unix", (double)now / 1e6);
    put_optional(&b, "script", in->script);
    put_optional(&b, "git", in->git);
    put_optional(&b, "device", in->device);
    put_optional(&b, "parent", in->parent);
    put_optional(&b, "sweep", in->sweep);
    if (in->has_seed)
        hl_json_put_int(&b, "seed", in->seed);
    put_list(&b, "command", in->argv, in->n_argv);
    hl_json_put_str(&b, "host", hl_host_name(host));
    if (getcwd(cwd, sizeof cwd))
        hl_json_put_str(&b, "directory", cwd);
    if (in->extra)
        HL_TRY(add_extra(&b, in->extra));
    hl_json_end(&b, '}');
    hl_str_addc(&b, '\n');
    HL_TRY(hl_str_status(&b));
    st = path ? hl_fs_write_atomic(path, b.s, b.n) : HL_E_NOMEM;
out:
    hl_free(path);
    hl_str_done(&b);
    return st;
}

static hl_status make_sub_dir(const char *dir, const char *name)
{
    char *path = hl_fs_join(dir, name);
    hl_status st = path ? hl_fs_make_dir(path) : HL_E_NOMEM;
    hl_free(path);
    return st;
}

static hl_status fill_dir(const char *dir, const hl_run_facts_in *facts)
{
    hl_status st = HL_OK;
    hl_summary *summary = NULL;
    HL_TRY(put_facts(dir, facts));
    HL_TRY(make_sub_dir(dir, "script"));
    HL_TRY(make_sub_dir(dir, "ckpt"));
    HL_TRY(hl_summary_rebuild(dir, NULL, &summary));
    HL_TRY(hl_summary_save(summary, dir));
out:
    hl_summary_free(summary);
    return st;
}

hl_status hl_run_dir_create(const char *runs_dir, const hl_run_facts_in *facts, char **dir)
{
    char *made = NULL;
    if (facts->id && !hl_run_id_is_valid(facts->id))
        return hl_err_set(HL_E_ARG, "'%s' cannot be the id of a run: it is a directory name",
                          facts->id);
    hl_status st = hl_fs_make_dir(runs_dir);
    if (st == HL_OK)
        st = claim_dir(runs_dir, facts->id, &made);
    if (st == HL_OK)
        st = fill_dir(made, facts);
    if (st == HL_OK) {
        *dir = made;
        return HL_OK;
    }
    if (made) { /* the first error is the one to tell */
        char message[HL_ERR_MESSAGE_MAX];
        memcpy(message, hl_err_message(), sizeof message);
        hl_status first = st;
        if (hl_fs_remove_tree(made) != HL_OK)
            hl_log(HL_LOG_WARN, "%s", hl_err_message());
        st = hl_err_set(first, "%s", message);
    }
    hl_free(made);
    if (st == HL_E_IO || st == HL_E_NOTFOUND)
        st = hl_err_set(HL_E_IO, "%s; choose another place for runs with --runs DIR or HOPLAB_RUNS",
                        hl_err_message());
    return st;
}

hl_status hl_run_dir_put_config(const char *dir, const char *json)
{
    char *path = hl_fs_join(dir, "config.json");
    hl_status st = path ? hl_fs_write_atomic(path, json, strlen(json)) : HL_E_NOMEM;
    hl_free(path);
    return st;
}

/* Relative, and no component that climbs. */
static bool stays_inside(const char *name)
{
    if (!*name || *name == '/')
        return false;
    for (const char *p = name; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
            return false;
    return true;
}

hl_status hl_run_dir_put_script(const char *dir, const char *name, const void *bytes, size_t n)
{
    hl_status st = HL_OK;
    hl_str path = {0};
    char *parent = NULL;
    if (!stays_inside(name))
        HL_FAIL(HL_E_ARG, "script copy '%s': a path below the run's script directory is needed",
                name);
    hl_str_addf(&path, "%s/script/%s", dir, name);
    HL_TRY(hl_str_status(&path));
    parent = hl_fs_parent(path.s);
    if (!parent) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(hl_fs_make_dir(parent));
    HL_TRY(hl_fs_write_atomic(path.s, bytes, n));
out:
    hl_free(parent);
    hl_str_done(&path);
    return st;
}

char *hl_run_dir_path(const char *dir, const char *name)
{
    return hl_fs_join(dir, name);
}

hl_status hl_run_dir_read_json(const char *dir, const char *name, hl_json **out)
{
    char *path = hl_fs_join(dir, name), *text = NULL;
    size_t n;
    hl_json *v = NULL;
    hl_status st = path ? hl_fs_read(path, JSON_MAX_BYTES, &text, &n) : HL_E_NOMEM;
    if (st == HL_OK) {
        st = hl_json_parse(text, n, &v);
        if (st == HL_OK && !hl_json_is_object(v))
            st = hl_err_set(HL_E_FORMAT, "not a JSON object");
        if (st != HL_OK)
            (void)hl_err_context("%s", path);
    }
    if (st == HL_OK)
        *out = v;
    else
        hl_json_free(v);
    hl_free(text);
    hl_free(path);
    return st;
}

static bool has_segment(const char *dir)
{
    hl_fs_list list;
    if (hl_fs_list_dir(dir, &list) != HL_OK)
        return false;
    bool found = false;
    for (size_t i = 0; i < list.n && !found; i++)
        found = hl_str_starts(list.name[i], HL_SEGMENT_PREFIX);
    hl_fs_list_free(&list);
    return found;
}

static bool has_file(const char *dir, const char *name)
{
    char *path = hl_fs_join(dir, name);
    bool found = path && hl_fs_size(path) >= 0;
    hl_free(path);
    return found;
}

bool hl_run_dir_has_checkpoint(const char *dir, const char *name)
{
    hl_str path = {0};
    hl_str_addf(&path, "%s/ckpt/%s/DONE", dir, name);
    bool found = !path.failed && hl_fs_exists(path.s);
    hl_str_done(&path);
    return found;
}

bool hl_run_dir_newest_checkpoint(const char *dir, const char *before, char name[64])
{
    hl_fs_list list;
    bool found = false;
    char *ckpt = hl_run_dir_path(dir, "ckpt");
    if (ckpt && hl_fs_is_dir(ckpt) && hl_fs_list_dir(ckpt, &list) == HL_OK) {
        for (size_t i = 0; i < list.n; i++) /* sorted, and zero-padded: the last is the newest */
            if (hl_str_starts(list.name[i], "step-") &&
                (!before || strcmp(list.name[i], before) < 0) &&
                hl_run_dir_has_checkpoint(dir, list.name[i])) {
                snprintf(name, 64, "%.60s", list.name[i]);
                found = true;
            }
        hl_fs_list_free(&list);
    }
    hl_free(ckpt);
    return found;
}

void hl_run_dir_read_pointer(const char *dir, const char *pointer, char name[64])
{
    char rel[80], *text = NULL;
    snprintf(rel, sizeof rel, "ckpt/%.60s", pointer);
    char *path = hl_run_dir_path(dir, rel);
    name[0] = '\0';
    if (path && hl_fs_exists(path) && !hl_fs_is_dir(path) &&
        hl_fs_read(path, 256, &text, NULL) == HL_OK)
        snprintf(name, 64, "%.*s", (int)strcspn(text, "\n"), text);
    hl_free(text);
    hl_free(path);
}

bool hl_run_dir_is_run(const char *dir)
{
    return hl_fs_is_dir(dir) &&
           (has_file(dir, "run.json") || has_file(dir, "summary.json") || has_segment(dir));
}
