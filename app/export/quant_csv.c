/* Quantizations of runs as CSV. Their tables lie in the events whole; the summary has only what
 * they came to. */
#include <math.h>
#include <string.h>

#include "app/export/export.h"

typedef struct reading {
    const hl_export *e;
    hl_run *run;
    hl_str *out;
    int64_t n;
} reading;

static const char *const numbers[] = {"bits", "channels", "scale", "zero_point", "least",
                                      "most", "clipped",  "sqnr",  "mse",        "bytes"};
static const char *const whole[] = {"value_float", "value_simulated", "value_executed"};
enum { N_NUMBERS = sizeof numbers / sizeof numbers[0], N_WHOLE = sizeof whole / sizeof whole[0] };

/* Empty where it is not there. */
static void add_number(hl_str *out, const hl_json *v, const char *key)
{
    const hl_json *n = hl_json_get(v, key);
    hl_str_addc(out, ',');
    if (n && hl_json_is_number(n))
        hl_str_addf(out, "%.9g", hl_json_num(n, 0));
}

static void add_field(hl_str *out, const char *text)
{
    hl_str_addc(out, ',');
    hl_str_add_csv(out, text);
}

static void add_rows(reading *r, const char *recipe, int64_t step, const hl_json *table)
{
    const hl_json *tensors = hl_json_get(table, "tensors");
    for (const hl_json *t = hl_json_at(tensors, 0); t; t = hl_json_next(t)) {
        hl_str_add_csv(r->out, hl_run_get_row(r->run)->id);
        add_field(r->out, recipe);
        hl_str_addf(r->out, ",%lld", (long long)step);
        add_field(r->out, hl_json_str(hl_json_get(table, "metric"), ""));
        for (int k = 0; k < N_WHOLE; k++)
            add_number(r->out, table, whole[k]);
        add_field(r->out, hl_json_str(hl_json_get(t, "name"), ""));
        add_field(r->out, hl_json_str(hl_json_get(t, "role"), ""));
        for (int k = 0; k < N_NUMBERS; k++)
            add_number(r->out, t, numbers[k]);
        hl_str_add(r->out, "\r\n");
        r->n++;
    }
}

static void see_table(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                      size_t n)
{
    reading *r = self;
    const hl_series_info info = hl_run_series_at(r->run, series);
    hl_json *v = NULL;
    (void)t_us;
    if (strcmp(info.content, "table") != 0 || !hl_quant_is_tag(info.tag) ||
        hl_json_parse(text, n, &v) != HL_OK)
        return; /* what nobody can read has no rows */
    const char *recipe = strchr(info.tag, '/') + 1;
    add_rows(r, hl_json_str(hl_json_get(v, "recipe"), recipe), step, v);
    hl_json_free(v);
}

hl_status hl_export_quant_csv(const hl_export *e, hl_str *out)
{
    reading r = {.e = e, .out = out};
    const hl_run_visitor v = {.self = &r, .json = see_table};
    hl_str_add(out, "run,recipe,step,metric");
    for (int k = 0; k < N_WHOLE; k++)
        hl_str_addf(out, ",%s", whole[k]);
    hl_str_add(out, ",tensor,role");
    for (int k = 0; k < N_NUMBERS; k++)
        hl_str_addf(out, ",%s", numbers[k]);
    hl_str_add(out, "\r\n");
    for (size_t i = 0; i < e->n_runs; i++) {
        r.run = e->runs[i];
        const hl_status st = hl_run_scan(r.run, &v, false);
        if (st != HL_OK)
            return st;
    }
    if (r.n == 0)
        return hl_err_set(HL_E_NOTFOUND,
                          "no quantization is recorded; hoplab quantize RUN makes one");
    return hl_str_status(out);
}
