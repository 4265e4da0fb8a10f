/* Shared by the tests of the store: temporary directories, a reader that remembers everything. */
#ifndef HL_STORE_TEST_H
#define HL_STORE_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* mkdtemp; tests define it before their first include */
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/hl_app.h"
#include "app/store/event.h"
#include "app/store/event_file.h"
#include "app/store/follow.h"
#include "app/store/lock.h"
#include "app/store/run_dir.h"
#include "app/store/summary.h"
#include "app/store/writer.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

/* A fresh directory; the test removes it with test_dir_done. */
static inline char *test_dir(void)
{
    char name[] = "/tmp/hoplab-store-XXXXXX";
    return mkdtemp(name) ? hl_strdup(name) : NULL;
}

static inline void test_dir_done(char *dir)
{
    if (hl_fs_remove_tree(dir) != HL_OK)
        fprintf(stderr, "%s\n", hl_err_message());
    hl_free(dir);
}

/* A run directory below `runs`, owned by the caller. */
static inline char *test_run(const char *runs, const char *id)
{
    char *dir = NULL;
    hl_run_facts_in facts = {.id = id, .name = "test"};
    if (hl_run_dir_create(runs, &facts, &dir) != HL_OK)
        fprintf(stderr, "%s\n", hl_err_message());
    return dir;
}

typedef struct seen_point {
    size_t series;
    int64_t step, t_us;
    double value;
} seen_point;

/* What a visitor was told. */
typedef struct seen {
    HL_VEC(seen_point) points;
    size_t n_hist, n_curve, n_json;
    int64_t superseded_from; /* -1: never told */
    hl_hist hist;            /* the last ones */
    float curve[64];
    size_t curve_n, curve_rows, curve_cols;
    char json[1024], last_log[1024];
    hl_series_table series;
    int64_t n_damages, n_unknown;
} seen;

static inline void seen_point_cb(void *self, size_t series, int64_t step, int64_t t_us, double v)
{
    seen *s = self;
    if (hl_vec_push(&s->points, ((seen_point){series, step, t_us, v})) != HL_OK)
        abort();
}

static inline void seen_hist_cb(void *self, size_t series, int64_t step, int64_t t_us,
                                const hl_hist *h)
{
    (void)series;
    (void)step;
    (void)t_us;
    ((seen *)self)->n_hist++;
    ((seen *)self)->hist = *h;
}

static inline void seen_curve_cb(void *self, size_t series, int64_t step, int64_t t_us,
                                 const hl_curve *c)
{
    const size_t n = c->rows * c->cols;
    seen *s = self;
    (void)series;
    (void)step;
    (void)t_us;
    s->n_curve++;
    s->curve_rows = c->rows;
    s->curve_cols = c->cols;
    s->curve_n = n < 64 ? n : 64;
    if (n)
        memcpy(s->curve, c->v, s->curve_n * sizeof *c->v);
}

static inline void seen_json_cb(void *self, size_t series, int64_t step, int64_t t_us,
                                const char *text, size_t n)
{
    seen *s = self;
    (void)step;
    (void)t_us;
    (void)n;
    s->n_json++;
    snprintf(s->json, sizeof s->json, "%s", text);
    if (strcmp(hl_series_table_at(&s->series, series).content, "log") == 0)
        snprintf(s->last_log, sizeof s->last_log, "%s", text);
}

static inline void seen_superseded_cb(void *self, int64_t from)
{
    ((seen *)self)->superseded_from = from;
}

static inline hl_run_visitor seen_visitor(seen *s)
{
    return (hl_run_visitor){
        s, seen_point_cb, seen_hist_cb, seen_curve_cb, seen_json_cb, seen_superseded_cb};
}

/* Everything in a run directory. */
static inline hl_status see_all(const char *dir, hl_follow_opts opts, seen *out)
{
    hl_follow *f;
    bool more;
    *out = (seen){.superseded_from = -1};
    hl_status st = hl_follow_open(dir, opts, &out->series, &f);
    if (st != HL_OK)
        return st;
    hl_run_visitor v = seen_visitor(out);
    st = hl_follow_poll(f, &v, 0, &more);
    out->n_damages = hl_follow_damages(f);
    out->n_unknown = hl_follow_unknown(f);
    hl_follow_close(f);
    return st;
}

static inline void seen_done(seen *s)
{
    hl_vec_done(&s->points);
    hl_series_table_done(&s->series);
}

/* Number of points of one scalar series. */
static inline size_t seen_n(const seen *s, const char *tag)
{
    int64_t i = hl_series_table_find(&s->series, tag, HL_SERIES_SCALAR);
    size_t n = 0;
    for (size_t k = 0; k < s->points.n; k++)
        n += (int64_t)s->points.at[k].series == i;
    return n;
}

/* Points of train/loss at the steps from .. to-1, with values that tell the step. */
static inline void test_put_losses(hl_writer *w, int64_t from, int64_t to)
{
    hl_sink s = hl_writer_sink(w);
    int loss = s.series(s.self, "train/loss", HL_SERIES_SCALAR, NULL);
    for (int64_t i = from; i < to; i++)
        s.scalar(s.self, loss, i, 10.0 - (double)i / 100);
}

/* The losses are exactly those, once each and in order. */
static inline bool seen_is_losses(const seen *s, int64_t from, int64_t to)
{
    int64_t index = hl_series_table_find(&s->series, "train/loss", HL_SERIES_SCALAR), at = from;
    for (size_t i = 0; i < s->points.n; i++) {
        const seen_point *p = &s->points.at[i];
        if ((int64_t)p->series != index)
            continue;
        if (p->step != at || p->value != (double)(float)(10.0 - (double)at / 100)) {
            fprintf(stderr, "step %lld: %g instead of step %lld\n", (long long)p->step, p->value,
                    (long long)at);
            return false;
        }
        at++;
    }
    if (at != to)
        fprintf(stderr, "the losses end at step %lld instead of %lld\n", (long long)at,
                (long long)to);
    return at == to;
}

/* The text of a file; owned by the caller. */
static inline char *test_read(const char *dir, const char *name)
{
    char *path = hl_fs_join(dir, name), *text = NULL;
    if (hl_fs_read(path, (size_t)1 << 30, &text, NULL) != HL_OK)
        text = NULL;
    hl_free(path);
    return text;
}

/* summary.json says what the events say. */
static inline bool test_summary_is_right(const char *dir)
{
    hl_summary *s = NULL;
    hl_str b = {0};
    char *have = test_read(dir, "summary.json");
    bool right = have && hl_summary_rebuild(dir, NULL, &s) == HL_OK &&
                 hl_summary_write(s, &b) == HL_OK && strcmp(have, b.s) == 0;
    if (!right)
        fprintf(stderr, "summary.json: %s\nrebuilt:      %s\n", have ? have : "-", hl_str_text(&b));
    hl_summary_free(s);
    hl_str_done(&b);
    hl_free(have);
    return right;
}

#endif
