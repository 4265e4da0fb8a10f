#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/export/export.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

bool hl_export_wants(const hl_export *e, const char *tag)
{
    for (size_t i = 0; i < e->n_tags; i++)
        if (fnmatch(e->tags[i], tag, 0) == 0)
            return true;
    return e->n_tags == 0;
}

typedef struct csv {
    const hl_export *e;
    hl_run *run;
    hl_str *out;
    int64_t n;
} csv;

static void add_point(void *self, size_t series, int64_t step, int64_t t_us, double value)
{
    csv *c = self;
    const hl_series_info info = hl_run_series_at(c->run, series);
    char text[40];
    if (!hl_export_wants(c->e, info.tag))
        return;
    c->n++;
    if (c->e->n_runs > 1) {
        hl_str_add_csv(c->out, hl_fs_base(hl_run_get_row(c->run)->dir));
        hl_str_addc(c->out, ',');
    }
    if (isnan(value))
        snprintf(text, sizeof text, "nan");
    else if (isinf(value))
        snprintf(text, sizeof text, "%s", value > 0 ? "inf" : "-inf");
    else
        snprintf(text, sizeof text, info.kind == HL_SERIES_WIDE ? "%.17g" : "%.9g", value);
    hl_str_add_csv(c->out, info.tag);
    hl_str_addf(c->out, ",%lld,%lld.%06lld,%s\r\n", (long long)step, (long long)(t_us / 1000000),
                (long long)(t_us % 1000000), text);
}

hl_status hl_export_csv(const hl_export *e, hl_str *out)
{
    csv c = {.e = e, .out = out};
    const hl_run_visitor v = {.self = &c, .point = add_point};
    hl_str_add(out,
               e->n_runs > 1 ? "run,tag,step,wall_time,value\r\n" : "tag,step,wall_time,value\r\n");
    for (size_t i = 0; i < e->n_runs; i++) {
        c.run = e->runs[i];
        const hl_status st = hl_run_scan(c.run, &v, false);
        if (st != HL_OK)
            return st;
    }
    if (c.n == 0)
        return hl_err_set(HL_E_NOTFOUND,
                          e->n_tags ? "no series fits '%s'" : "%sthere are no values",
                          e->n_tags ? e->tags[0] : "");
    return hl_str_status(out);
}
