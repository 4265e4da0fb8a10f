/* What a run says about its numbers besides them: units, the order of its data, turned knobs, how
 * its tokens are spelled. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/model.h"

static void take_change(hl_watched *w, int64_t step, const hl_json *v)
{
    hl_knob_change c = {.step = step, .value = hl_json_num(hl_json_get(v, "value"), 0)};
    if (!hl_json_get(v, "request") || !hl_json_get(v, "value") ||
        strcmp(hl_json_str(hl_json_get(v, "status"), ""), "applied") != 0 ||
        hl_control_evaluates(v))
        return;
    snprintf(c.name, sizeof c.name, "%s", hl_json_str(hl_json_get(v, "cmd"), ""));
    HL_IGNORE(hl_vec_push(&w->changes, c));
}

static void take_order(hl_watched *w, const hl_json *v)
{
    w->order = (hl_data_order){.rows = hl_json_int(hl_json_get(v, "rows"), 0),
                               .batch = hl_json_int(hl_json_get(v, "batch"), 0),
                               .accumulate = hl_json_int(hl_json_get(v, "accumulate"), 1),
                               .carries = hl_json_bool(hl_json_get(v, "carries"), false)};
}

/* Those that are declared later go first. */
static void take_units(hl_watched *w, const hl_json *now)
{
    hl_str all = {0};
    hl_json *both = NULL;
    hl_json_begin(&all, '{');
    for (const hl_json *i = hl_json_at(now, 0); i; i = hl_json_next(i))
        if (hl_json_key(i))
            hl_json_put_str(&all, hl_json_key(i), hl_json_str(i, ""));
    for (const hl_json *i = hl_json_at(w->units, 0); i; i = hl_json_next(i))
        if (!hl_json_get(now, hl_json_key(i)))
            hl_json_put_str(&all, hl_json_key(i), hl_json_str(i, ""));
    hl_json_end(&all, '}');
    if (hl_str_status(&all) == HL_OK && hl_json_parse(all.s, all.n, &both) == HL_OK) {
        hl_json_free(w->units);
        w->units = both;
    }
    hl_str_done(&all);
}

void hl_watched_declare(hl_watched *w, const char *content, int64_t step, const hl_json *v)
{
    if (strcmp(content, "control") == 0)
        take_change(w, step, v);
    else if (strcmp(content, "order") == 0)
        take_order(w, v);
    else if (strcmp(content, "units") == 0)
        take_units(w, v);
    else if (strcmp(content, HL_SPELLINGS_CONTENT) == 0)
        hl_spellings_take(&w->spellings, v);
}

void hl_watched_forget_declared(hl_watched *w)
{
    hl_vec_done(&w->changes);
    hl_json_free(w->units);
    w->units = NULL;
    hl_spellings_done(&w->spellings);
    w->order = (hl_data_order){0};
}

const char *hl_watched_unit(const hl_watched *w, const char *tag)
{
    const hl_json *declared = w && w->units ? hl_json_get(w->units, tag) : NULL;
    return declared ? hl_json_str(declared, "") : hl_series_unit(tag);
}

bool hl_data_order_at(const hl_data_order *o, int64_t step, int64_t *epoch, int64_t *row,
                      int64_t *n)
{
    if (o->rows < 1 || o->batch < 1 || o->accumulate < 1 || step < 1 ||
        o->batch > INT64_MAX / o->accumulate || step > INT64_MAX / (o->batch * o->accumulate))
        return false;
    const int64_t first = (step - 1) * o->accumulate; /* batch, counted over all epochs */
    *n = o->accumulate * o->batch;
    if (o->carries) {
        *epoch = first * o->batch / o->rows;
        *row = first * o->batch % o->rows;
        return true;
    }
    const int64_t per = o->rows / o->batch + (o->rows % o->batch != 0);
    *epoch = first / per;
    *row = first % per * o->batch;
    if (o->accumulate == 1 && *n > o->rows - *row) /* the smaller one at an epoch's end */
        *n = o->rows - *row;
    return true;
}
