#include "app/store/waiting.h"

#include <stdio.h>
#include <string.h>
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

hl_status hl_waiting_each(const char *runs_dir,
                          hl_status (*each)(void *self, const hl_waiting_run *r), void *self)
{
    hl_fs_list names = {0};
    char *folder = hl_fs_join(runs_dir, QUEUE);
    hl_status st = folder ? HL_OK : HL_E_NOMEM;
    if (st == HL_OK && hl_fs_list_dir(folder, &names) != HL_OK) {
        hl_err_clear(); /* nobody waits */
        names = (hl_fs_list){0};
    }
    for (size_t i = 0; i < names.n && st == HL_OK; i++) {
        hl_lock_view v;
        char *dir = hl_fs_join(folder, names.name[i]);
        if (!dir)
            st = HL_E_NOMEM;
        else
            hl_lock_look(dir, &v);
        if (dir && hl_lock_is_live(&v) != HL_NO)
            st = each_of(dir, v.host, each, self);
        hl_free(dir);
    }
    hl_fs_list_free(&names);
    hl_free(folder);
    return st;
}
