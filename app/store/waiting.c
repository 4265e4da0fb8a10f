#include "app/store/waiting.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/store/lock.h"
#include "app/store/run_dir.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"

#define QUEUE ".queue"

struct hl_waiting {
    char *folder; /* <runs>/.queue */
    char *dir;    /* in it */
    char *sweep;
    double since;
    hl_lock *lock;
};

/* A name as a plain file name. */
static void make_plain(char *name)
{
    for (; *name; name++)
        if (*name == '/' || (unsigned char)*name < ' ')
            *name = '_';
}

static void remove_dead(const char *folder)
{
    hl_fs_list names;
    if (hl_fs_list_dir(folder, &names) != HL_OK)
        return;
    for (size_t i = 0; i < names.n; i++) {
        hl_lock_view v;
        char *dir = hl_fs_join(folder, names.name[i]);
        if (dir)
            hl_lock_look(dir, &v);
        if (dir && hl_lock_is_live(&v) == HL_NO && hl_fs_remove_tree(dir) != HL_OK)
            hl_err_clear(); /* the next sweep tries again */
        hl_free(dir);
    }
    hl_fs_list_free(&names);
}

hl_status hl_waiting_open(const char *runs_dir, const char *sweep, hl_waiting **out)
{
    char name[200];
    hl_status st = HL_OK;
    hl_waiting *w = hl_alloc_zero(1, sizeof *w);
    if (!w)
        return HL_E_NOMEM;
    snprintf(name, sizeof name, "%.160s.%ld", sweep, (long)getpid());
    make_plain(name);
    w->folder = hl_fs_join(runs_dir, QUEUE);
    w->dir = w->folder ? hl_fs_join(w->folder, name) : NULL;
    w->sweep = hl_strdup(sweep);
    w->since = (double)hl_clock_wall_us() / 1e6;
    if (!w->dir || !w->sweep)
        HL_FAIL(HL_E_NOMEM, "no memory for the queue of a sweep");
    remove_dead(w->folder);
    HL_TRY(hl_fs_make_dir(w->dir));
    HL_TRY(hl_lock_take(w->dir, &w->lock));
    *out = w;
    w = NULL;
out:
    hl_waiting_close(w);
    return st;
}

void hl_waiting_close(hl_waiting *w)
{
    if (!w)
        return;
    if (w->lock && hl_fs_remove_tree(w->dir) != HL_OK)
        hl_err_clear();
    hl_lock_release(w->lock);
    if (w->folder)
        (void)rmdir(w->folder); /* unless others wait there */
    hl_free(w->folder);
    hl_free(w->dir);
    hl_free(w->sweep);
    hl_free(w);
}

hl_status hl_waiting_put(hl_waiting *w, const char *const *names, size_t n)
{
    hl_str b = {0};
    char *path = hl_fs_join(w->dir, "waiting.json");
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "sweep", w->sweep);
    hl_json_put_num(&b, "since", w->since);
    hl_json_add_key(&b, "names");
    hl_json_begin(&b, '[');
    for (size_t i = 0; i < n; i++)
        hl_json_add_str(&b, names[i]);
    hl_json_end(&b, ']');
    hl_json_end(&b, '}');
    hl_status st = path ? hl_str_status(&b) : HL_E_NOMEM;
    if (st == HL_OK)
        st = hl_fs_write_atomic(path, b.s, b.n);
    hl_str_done(&b);
    hl_free(path);
    return st;
}

/* ---- reading ---- */

/* Of one sweep. What is damaged says nothing. */
static hl_status each_of(const char *dir, const char *host,
                         hl_status (*each)(void *self, const hl_waiting_run *r), void *self)
{
    hl_json *v = NULL;
    hl_status st = hl_run_dir_read_json(dir, "waiting.json", &v);
    if (st != HL_OK)
        return st == HL_E_NOMEM ? st : HL_OK;
    int i = 0;
    for (const hl_json *n = hl_json_at(hl_json_get(v, "names"), 0); n && st == HL_OK;
         n = hl_json_next(n)) {
        hl_waiting_run r = {.name = hl_json_str(n, ""),
                            .sweep = hl_json_str(hl_json_get(v, "sweep"), ""),
                            .host = host,
                            .job = "",
                            .since = hl_json_num(hl_json_get(v, "since"), 0) - 1e-6 * i++};
        char *plain = hl_strdup(r.name);
        if (plain)
            make_plain(plain);
        char *at = plain ? hl_fs_join(dir, plain) : NULL;
        r.dir = at;
        st = at ? *r.name ? each(self, &r) : HL_OK : HL_E_NOMEM;
        hl_free(at);
        hl_free(plain);
    }
    hl_json_free(v);
    return st;
}

/* ---- tasks of Slurm ---- */

typedef hl_status each_fn(void *self, const hl_waiting_run *r);

static char *text_of(const char *dir, const char *name)
{
    char *path = hl_fs_join(dir, name), *text = NULL;
    size_t n;
    if (path && (!hl_fs_exists(path) || hl_fs_read(path, 1 << 20, &text, &n) != HL_OK)) {
        hl_err_clear();
        text = NULL;
    }
    hl_free(path);
    return text;
}

static bool has_line(const char *text, int64_t number)
{
    char line[32];
    const size_t n = (size_t)snprintf(line, sizeof line, "%lld\n", (long long)number);
    for (const char *at = text; at && *at; at += strcspn(at, "\n") + 1)
        if (strncmp(at, line, n) == 0)
            return true;
    return false;
}

static bool has_begun(const char *dir, int64_t task)
{
    char name[48];
    snprintf(name, sizeof name, "task-%lld.log", (long long)task);
    char *path = hl_fs_join(dir, name);
    const bool begun = !path || hl_fs_exists(path);
    hl_free(path);
    return begun;
}

static hl_status each_task(const char *dir, const hl_json *record, double since, each_fn *each,
                           void *self)
{
    hl_status st = HL_OK;
    const char *job = hl_json_str(hl_json_get(record, "job"), "");
    char *gone = text_of(dir, HL_WAITING_GONE);
    int64_t k = 1;
    for (const hl_json *v = hl_json_at(hl_json_get(record, "trials"), 0); v && *job && st == HL_OK;
         v = hl_json_next(v), k++) {
        char id[100];
        const char *name = hl_json_str(hl_json_get(v, "name"), "");
        if (!*name || has_line(gone, k) || has_begun(dir, k))
            continue;
        snprintf(id, sizeof id, "%.70s_%lld", job, (long long)k);
        char *at = hl_fs_join(dir, id);
        const hl_waiting_run r = {.name = name,
                                  .sweep = hl_json_str(hl_json_get(record, "sweep"), ""),
                                  .host = "",
                                  .dir = at,
                                  .job = id,
                                  .since = since - 1e-6 * (double)k};
        st = at ? each(self, &r) : HL_E_NOMEM;
        hl_free(at);
    }
    hl_free(gone);
    return st;
}

static hl_status each_of_submission(const char *dir, each_fn *each, void *self)
{
    const double month_s = 30 * 86400.0, now = (double)hl_clock_wall_us() / 1e6;
    struct stat sb;
    char *path = hl_fs_join(dir, "submission.json");
    const double since = path && stat(path, &sb) == 0 ? (double)sb.st_mtime : 0;
    hl_json *record = NULL;
    hl_free(path);
    if (since <= 0 || now - since > month_s)
        return HL_OK;
    hl_status st = hl_run_dir_read_json(dir, "submission.json", &record);
    if (st == HL_OK)
        st = each_task(dir, record, since, each, self);
    else if (st != HL_E_NOMEM)
        st = HL_OK; /* what is damaged says nothing */
    hl_json_free(record);
    return st;
}

/* Calls it for each folder in a folder, which need not be there. */
static hl_status each_folder(const char *folder, hl_status (*f)(const char *dir, each_fn *, void *),
                             each_fn *each, void *self)
{
    hl_fs_list names = {0};
    hl_status st = HL_OK;
    if (hl_fs_list_dir(folder, &names) != HL_OK) {
        hl_err_clear();
        return HL_OK;
    }
    for (size_t i = 0; i < names.n && st == HL_OK; i++) {
        char *dir = hl_fs_join(folder, names.name[i]);
        st = dir ? f(dir, each, self) : HL_E_NOMEM;
        hl_free(dir);
    }
    hl_fs_list_free(&names);
    return st;
}

static hl_status each_of_sweep(const char *dir, each_fn *each, void *self)
{
    return each_folder(dir, each_of_submission, each, self);
}

static hl_status each_of_queue(const char *dir, each_fn *each, void *self)
{
    hl_lock_view v;
    hl_lock_look(dir, &v);
    return hl_lock_is_live(&v) != HL_NO ? each_of(dir, v.host, each, self) : HL_OK;
}

hl_status hl_waiting_each(const char *runs_dir, each_fn *each, void *self)
{
    char *queue = hl_fs_join(runs_dir, QUEUE), *slurm = hl_fs_join(runs_dir, "slurm");
    hl_status st = queue && slurm ? HL_OK : HL_E_NOMEM;
    if (st == HL_OK)
        st = each_folder(queue, each_of_queue, each, self);
    if (st == HL_OK)
        st = each_folder(slurm, each_of_sweep, each, self);
    hl_free(queue);
    hl_free(slurm);
    return st;
}
