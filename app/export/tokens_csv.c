/* Token positions of watched steps as CSV. */
#include <math.h>
#include <string.h>

#include "app/export/export.h"

typedef struct reading {
    hl_run *run;
    hl_spellings spellings;
    hl_str *out;
    int64_t n;
} reading;

static void see_spellings(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                          size_t n)
{
    reading *r = self;
    (void)step, (void)t_us;
    hl_spellings_read(&r->spellings, hl_run_series_at(r->run, series).content, text, n);
}

/* Of the tag "outliers/PLACE/tokens". */
static void add_place(hl_str *out, const char *tag)
{
    hl_str place = {0};
    const size_t head = strlen("outliers/"), tail = strlen("/tokens"), n = strlen(tag);
    if (n > head + tail)
        hl_str_addn(&place, tag + head, n - head - tail);
    hl_str_add_csv(out, hl_str_text(&place));
    out->failed = out->failed || place.failed;
    hl_str_done(&place);
}

static void see_curve(void *self, size_t series, int64_t step, int64_t t_us, const hl_curve *c)
{
    reading *r = self;
    const char *tag = hl_run_series_at(r->run, series).tag, *text;
    (void)t_us;
    if (!hl_spellings_is_tag(tag) || c->rows != 2)
        return;
    for (size_t i = 0; i < c->cols; i++) {
        const double most = (double)c->v[i], id = (double)c->v[c->cols + i];
        hl_str_add_csv(r->out, hl_run_get_row(r->run)->id);
        hl_str_addc(r->out, ',');
        add_place(r->out, tag);
        hl_str_addf(r->out, ",%lld,%zu,", (long long)step, i);
        if (isfinite(most))
            hl_str_addf(r->out, "%.9g,", most);
        else
            hl_str_add(r->out, isnan(most) ? "nan," : most > 0 ? "inf," : "-inf,");
        if (isfinite(id))
            hl_str_addf(r->out, "%.9g", id);
        hl_str_addc(r->out, ',');
        if ((text = hl_spellings_get(&r->spellings, id)))
            hl_str_add_csv(r->out, text);
        hl_str_add(r->out, "\r\n");
        r->n++;
    }
}

/* Twice over the events: how a step's tokens are spelled stands behind its curves. */
static hl_status add_run(reading *r)
{
    const hl_run_visitor words = {.self = r, .json = see_spellings},
                         rows = {.self = r, .curve = see_curve};
    hl_status st = hl_run_scan(r->run, &words, false);
    if (st == HL_OK)
        st = hl_run_scan(r->run, &rows, false);
    hl_spellings_done(&r->spellings);
    return st;
}

hl_status hl_export_tokens_csv(const hl_export *e, hl_str *out)
{
    reading r = {.out = out};
    hl_str_add(out, "run,place,step,position,max_abs,token,text\r\n");
    for (size_t i = 0; i < e->n_runs; i++) {
        r.run = e->runs[i];
        const hl_status st = add_run(&r);
        if (st != HL_OK)
            return st;
    }
    if (r.n == 0)
        return hl_err_set(HL_E_NOTFOUND,
                          "no token positions are recorded; probe = { channels = true } records "
                          "them");
    return hl_str_status(out);
}
