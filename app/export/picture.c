/* Charts of runs: which tags, which points, and where on the picture. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/export/export.h"
#include "app/export/figure.h"
#include "app/export/line_chart.h"
#include "app/store/run_dir.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

/* ---- tags ---- */

static bool has_tag(const hl_tag_set *t, const char *tag)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->tag[i], tag) == 0)
            return true;
    return false;
}

static hl_status add_tag(hl_tag_set *t, const char *tag)
{
    if (has_tag(t, tag))
        return HL_OK;
    char **more = hl_realloc(t->tag, (t->n + 1) * sizeof *more);
    if (!more)
        return HL_E_NOMEM;
    t->tag = more;
    t->tag[t->n] = hl_strdup(tag);
    return t->tag[t->n] ? (t->n++, HL_OK) : HL_E_NOMEM;
}

hl_status hl_tag_set_init(hl_tag_set *t, const hl_export *e)
{
    hl_status st = HL_OK;
    *t = (hl_tag_set){0};
    for (size_t i = 0; i < e->n_runs; i++) {
        const char *loss = hl_run_get_row(e->runs[i])->loss_tag;
        hl_run_scalar s;
        if (e->n_tags == 0 && *loss)
            HL_TRY(add_tag(t, loss));
        for (size_t k = 0; e->n_tags && k < hl_run_scalar_n(e->runs[i]); k++)
            if (hl_run_scalar_at(e->runs[i], k, &s) && hl_export_wants(e, s.tag))
                HL_TRY(add_tag(t, s.tag));
    }
    if (t->n == 0)
        HL_FAIL(HL_E_NOTFOUND,
                e->n_tags ? "no series fits '%s'; hoplab show RUN lists them"
                          : "%sthere is no loss to draw; choose series with --tag",
                e->n_tags ? e->tags[0] : "");
out:
    if (st != HL_OK)
        hl_tag_set_done(t);
    return st;
}

void hl_tag_set_done(hl_tag_set *t)
{
    for (size_t i = 0; i < t->n; i++)
        hl_free(t->tag[i]);
    hl_free(t->tag);
    *t = (hl_tag_set){0};
}

/* What the numbers of a tag are, for its axis. */
static const char *axis_label(const char *tag)
{
    static const char *const known[][2] = {
        {"*loss*", "loss (nats)"},       {"*ppl", "perplexity"},    {"*bpb", "bits per byte"},
        {"*grad_norm", "gradient norm"}, {"*/lr", "learning rate"}, {"*inf_norm", "max |x|"},
        {"*kurtosis*", "kurtosis"},      {"*accuracy", "accuracy"}, {"*_ms", "time (ms)"},
        {"*tokens_per_s", "tokens / s"}, {"*tokens", "tokens"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *core = known[i][0] + 1;
        const size_t n = strlen(core);
        const bool inside = core[n - 1] == '*';
        char word[32];
        snprintf(word, sizeof word, "%.*s", (int)(inside ? n - 1 : n), core);
        if (inside ? strstr(tag, word) != NULL : hl_str_ends(tag, word))
            return known[i][1];
    }
    return "value";
}

char *hl_export_run_name(const hl_export *e, size_t i)
{
    const hl_run_row *row = hl_run_get_row(e->runs[i]);
    bool unique = true;
    for (size_t k = 0; k < e->n_runs; k++)
        unique = unique && (k == i || strcmp(hl_run_get_row(e->runs[k])->name, row->name) != 0);
    const char *id = hl_fs_base(row->dir);
    const size_t n = strlen(id);
    hl_str b = {0};
    if (unique)
        hl_str_add(&b, row->name);
    else
        hl_str_addf(&b, "%s #%s", row->name, n > 6 ? id + n - 6 : id);
    char *name = hl_str_status(&b) == HL_OK ? hl_strdup(hl_str_text(&b)) : NULL;
    hl_str_done(&b);
    return name;
}

/* ---- one chart ---- */

typedef struct line {
    char *name;
    double *x;
    hl_run_points points;
} line;

static hl_status read_line(const hl_export *e, size_t i, const char *tag, line *l)
{
    hl_status st = hl_run_read_points(e->runs[i], tag, &l->points);
    if (st != HL_OK)
        return st;
    l->x = hl_alloc_zero(l->points.n + 1, sizeof *l->x);
    l->name = hl_export_run_name(e, i);
    if (!l->x || !l->name)
        return HL_E_NOMEM;
    for (size_t k = 0; k < l->points.n; k++)
        l->x[k] = (double)l->points.step[k];
    return HL_OK;
}

hl_status hl_export_chart(const hl_export *e, const char *tag, hl_paper *paper, hl_box box)
{
    hl_status st = HL_OK;
    size_t n = 0;
    line *lines = hl_alloc_zero(e->n_runs + 1, sizeof *lines);
    hl_line_series *series = hl_alloc_zero(e->n_runs + 1, sizeof *series);
    if (!lines || !series) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (size_t i = 0; i < e->n_runs; i++) {
        hl_run_scalar s;
        if (!hl_run_scalar_find(e->runs[i], tag, &s))
            continue;
        line *l = &lines[n];
        n++;
        HL_TRY(read_line(e, i, tag, l));
        series[n - 1] =
            (hl_line_series){.name = l->name, .x = l->x, .y = l->points.value, .n = l->points.n};
    }
    const hl_line_chart chart = {.title = e->title ? e->title : tag,
                                 .x_label = "step",
                                 .y_label = axis_label(tag),
                                 .log = e->log,
                                 .series = series,
                                 .n_series = n};
    HL_TRY(hl_line_chart_draw(&chart, paper, box));
out:
    for (size_t i = 0; lines && i < n; i++) {
        hl_run_points_done(&lines[i].points);
        hl_free(lines[i].x);
        hl_free(lines[i].name);
    }
    hl_free(lines);
    hl_free(series);
    return st;
}

static hl_status new_canvas(hl_picture kind, hl_picture_size size, hl_paper **out)
{
    return kind == HL_PICTURE_PNG ? hl_paper_png_new(size.w, size.h, out)
                                  : hl_paper_svg_new(size.w, size.h, out);
}

hl_status hl_export_charts(const hl_export *e, hl_picture kind, hl_picture_size size, hl_str *out)
{
    hl_status st = HL_OK;
    hl_paper *paper = NULL;
    hl_tag_set tags;
    HL_TRY(hl_tag_set_init(&tags, e));
    const size_t columns = tags.n > 3 ? 2 : 1, rows = (tags.n + columns - 1) / columns;
    if (size.w <= 0)
        size =
            (hl_picture_size){columns > 1 ? 1200 : 800, (double)rows * (columns > 1 ? 380 : 480)};
    const double w = size.w / (double)columns, h = size.h / (double)rows;
    HL_TRY(new_canvas(kind, size, &paper));
    for (size_t i = 0; i < tags.n; i++) {
        const size_t row = i / columns, column = i % columns;
        const hl_box b = {w * (double)column, h * (double)row, w, h};
        HL_TRY(hl_export_chart(e, tags.tag[i], paper, b));
    }
    HL_TRY(hl_paper_finish(paper, out));
out:
    hl_paper_free(paper);
    hl_tag_set_done(&tags);
    return st;
}

/* ---- trajectories ---- */

static hl_status read_trajectory(hl_run *run, hl_trajectory **out)
{
    hl_status st = HL_OK;
    hl_json *v = NULL;
    const char *dir = hl_run_get_row(run)->dir;
    st = hl_run_dir_read_json(dir, "trajectory.json", &v);
    if (st == HL_E_NOTFOUND)
        HL_FAIL(HL_E_NOTFOUND,
                "%s has no trajectory.json: only runs of equilibrium models leave one", dir);
    HL_TRY(st);
    HL_TRY_CTX(hl_trajectory_from_json(v, out), "%s/trajectory.json", dir);
out:
    hl_json_free(v);
    return st;
}

hl_status hl_export_trajectories(const hl_export *e, hl_picture kind, hl_picture_size size,
                                 hl_str *out)
{
    hl_status st = HL_OK;
    hl_paper *paper = NULL;
    hl_trajectory *trajectories[HL_FIGURE_PANELS_MAX] = {0};
    char *names[HL_FIGURE_PANELS_MAX] = {0};
    hl_figure_panel panels[HL_FIGURE_PANELS_MAX];
    if (e->n_runs < 1 || e->n_runs > HL_FIGURE_PANELS_MAX)
        return hl_err_set(HL_E_ARG, "the figure has room for 1 to %d runs, not %zu",
                          HL_FIGURE_PANELS_MAX, e->n_runs);
    for (size_t i = 0; i < e->n_runs; i++) {
        HL_TRY(read_trajectory(e->runs[i], &trajectories[i]));
        names[i] = hl_export_run_name(e, i);
        if (!names[i]) {
            st = HL_E_NOMEM;
            goto out;
        }
        panels[i] = (hl_figure_panel){.title = e->n_runs == 1 && e->title ? e->title : names[i],
                                      .trajectory = trajectories[i]};
    }
    if (size.w <= 0)
        size = (hl_picture_size){e->n_runs > 1 ? 1040 : 640, e->n_runs > 2 ? 800 : 430};
    HL_TRY(new_canvas(kind, size, &paper));
    HL_TRY(hl_figure_draw(panels, e->n_runs, paper, (hl_box){0, 0, size.w, size.h}));
    HL_TRY(hl_paper_finish(paper, out));
out:
    hl_paper_free(paper);
    for (size_t i = 0; i < HL_FIGURE_PANELS_MAX; i++) {
        hl_trajectory_free(trajectories[i]);
        hl_free(names[i]);
    }
    return st;
}
