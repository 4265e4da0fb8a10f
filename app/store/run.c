#include "app/hl_app.h"

#include <string.h>

#include "app/store/follow.h"
#include "app/store/run_dir.h"
#include "app/store/run_known.h"
#include "app/store/run_row.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

struct hl_run {
    char *dir;
    hl_row_store row;
    hl_json *facts, *config, *summary;
    hl_series_table series;
    hl_follow *follow; /* of hl_run_poll; opened by its first call */
};

hl_status hl_run_open(const char *dir, hl_run **out)
{
    hl_status st = HL_OK;
    hl_run *run = hl_alloc_zero(1, sizeof *run);
    if (!run)
        return HL_E_NOMEM;
    if (!hl_run_dir_is_run(dir))
        HL_FAIL(HL_E_NOTFOUND, "%s is not a run: it has no run.json and no events", dir);
    run->dir = hl_strdup(dir);
    if (!run->dir) {
        st = HL_E_NOMEM;
        goto out;
    }
    if (hl_run_dir_read_json(dir, "run.json", &run->facts) != HL_OK)
        run->facts = NULL;
    if (hl_run_dir_read_json(dir, "config.json", &run->config) != HL_OK)
        run->config = NULL;
    HL_TRY(hl_run_refresh(run));
    *out = run;
out:
    if (st != HL_OK)
        hl_run_close(run);
    return st;
}

void hl_run_close(hl_run *run)
{
    if (!run)
        return;
    hl_follow_close(run->follow);
    hl_series_table_done(&run->series);
    hl_json_free(run->facts);
    hl_json_free(run->config);
    hl_json_free(run->summary);
    hl_row_done(&run->row);
    hl_free(run->dir);
    hl_free(run);
}

hl_status hl_run_refresh(hl_run *run)
{
    hl_json *summary;
    hl_status st = hl_row_read(run->dir, &run->row, &summary);
    if (st != HL_OK)
        return st;
    hl_json_free(run->summary);
    run->summary = summary;
    return HL_OK;
}

const hl_run_row *hl_run_get_row(const hl_run *run)
{
    return &run->row.row;
}

const hl_json *hl_run_facts(const hl_run *run)
{
    return run->facts;
}

const hl_json *hl_run_config(const hl_run *run)
{
    return run->config;
}

const hl_json *hl_run_summary(const hl_run *run)
{
    return run->summary;
}

const hl_json *hl_run_tables(const hl_run *run)
{
    return hl_json_get(run->summary, "tables");
}

/* ---- scalars of the summary ---- */

static const hl_json *scalars(const hl_run *run)
{
    return hl_json_get(run->summary, "scalars");
}

size_t hl_run_scalar_n(const hl_run *run)
{
    return (size_t)hl_json_len(scalars(run));
}

bool hl_run_scalar_at(const hl_run *run, size_t i, hl_run_scalar *out)
{
    const hl_json *v = i < hl_run_scalar_n(run) ? hl_json_at(scalars(run), (int)i) : NULL;
    if (!v || !hl_json_key(v))
        return false;
    hl_run_scalar_read(v, out);
    return true;
}

bool hl_run_scalar_find(const hl_run *run, const char *tag, hl_run_scalar *out)
{
    const hl_json *v = hl_json_get(scalars(run), tag);
    if (v)
        hl_run_scalar_read(v, out);
    return v != NULL;
}

/* ---- events ---- */

hl_status hl_run_poll(hl_run *run, const hl_run_visitor *v, int64_t max_bytes, bool *more)
{
    *more = false;
    if (!run->follow) {
        hl_status st = hl_follow_open(run->dir, (hl_follow_opts){0}, &run->series, &run->follow);
        if (st != HL_OK)
            return st;
    }
    return hl_follow_poll(run->follow, v, max_bytes, more);
}

void hl_run_progress(const hl_run *run, int64_t *done, int64_t *total)
{
    *done = *total = 0;
    if (run->follow)
        hl_follow_progress(run->follow, done, total);
}

int64_t hl_run_damages(const hl_run *run)
{
    return run->follow ? hl_follow_damages(run->follow) : 0;
}

hl_status hl_run_scan(hl_run *run, const hl_run_visitor *v, bool with_superseded)
{
    hl_follow *f;
    bool more;
    hl_follow_opts opts = {.with_superseded = with_superseded};
    hl_status st = hl_follow_open(run->dir, opts, &run->series, &f);
    if (st != HL_OK)
        return st;
    st = hl_follow_poll(f, v, 0, &more);
    hl_follow_close(f);
    return st;
}

size_t hl_run_series_n(const hl_run *run)
{
    return hl_series_table_n(&run->series);
}

hl_series_info hl_run_series_at(const hl_run *run, size_t i)
{
    return hl_series_table_at(&run->series, i);
}

int64_t hl_run_series_find(const hl_run *run, const char *tag, hl_series_kind kind)
{
    return hl_series_table_find(&run->series, tag, kind);
}

/* ---- one series, whole ---- */

typedef struct collect {
    const hl_run *run;
    const char *tag;
    hl_run_points p;
    size_t cap[3];
    hl_status st;
} collect;

static void collect_point(void *self, size_t series, int64_t step, int64_t t_us, double value)
{
    collect *c = self;
    if (c->st != HL_OK || strcmp(hl_run_series_at(c->run, series).tag, c->tag) != 0)
        return;
    size_t n = c->p.n + 1;
    c->st = hl_vec_grow((void **)&c->p.step, &c->cap[0], n, sizeof *c->p.step);
    if (c->st == HL_OK)
        c->st = hl_vec_grow((void **)&c->p.t_us, &c->cap[1], n, sizeof *c->p.t_us);
    if (c->st == HL_OK)
        c->st = hl_vec_grow((void **)&c->p.value, &c->cap[2], n, sizeof *c->p.value);
    if (c->st != HL_OK)
        return;
    c->p.step[c->p.n] = step;
    c->p.t_us[c->p.n] = t_us;
    c->p.value[c->p.n++] = value;
}

/* A resume while we read: its START stands before everything that replaces. */
static void collect_superseded(void *self, int64_t from)
{
    collect *c = self;
    size_t kept = 0;
    for (size_t i = 0; i < c->p.n; i++) {
        if (c->p.step[i] >= from)
            continue;
        c->p.step[kept] = c->p.step[i];
        c->p.t_us[kept] = c->p.t_us[i];
        c->p.value[kept++] = c->p.value[i];
    }
    c->p.n = kept;
}

hl_status hl_run_read_points(hl_run *run, const char *tag, hl_run_points *out)
{
    collect c = {.run = run, .tag = tag};
    hl_run_visitor v = {.self = &c, .point = collect_point, .superseded = collect_superseded};
    hl_status st = hl_run_scan(run, &v, false);
    if (st == HL_OK)
        st = c.st;
    if (st == HL_OK && c.p.n == 0)
        st = hl_err_set(HL_E_NOTFOUND, "run %s has no scalar series '%s'", hl_fs_base(run->dir),
                        tag);
    if (st != HL_OK) {
        hl_run_points_done(&c.p);
        return st;
    }
    *out = c.p;
    return HL_OK;
}

void hl_run_points_done(hl_run_points *p)
{
    hl_free(p->step);
    hl_free(p->t_us);
    hl_free(p->value);
    *p = (hl_run_points){0};
}
