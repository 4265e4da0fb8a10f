#include "app/quantize_record.h"

#include "app/store/writer.h"
#include "engine/base/fs.h"
#include "engine/base/vec.h"

/* The recipe, and what else the numbers depend on that was asked for here. */
static void put_label(const hl_cli *cli, const hl_trained *m, hl_str *b)
{
    hl_quantize_label(m->p.exp, b);
    if (m->ask.data)
        hl_str_addf(b, ", on %s", hl_fs_base(m->ask.data));
    for (size_t i = 0; cli && i < hl_cli_many_n(cli, "set"); i++)
        if (!hl_str_starts(hl_cli_many(cli, "set", i), "quantize."))
            hl_str_addf(b, ", %s", hl_cli_many(cli, "set", i));
}

hl_status hl_quantize_record(const hl_cli *cli, const hl_trained *m, hl_quantize_event *e)
{
    hl_status st = HL_OK;
    hl_str label = {0}, tag = {0}, json = {0};
    HL_VEC(const char *) sets = {0};
    if (!m->place.run_dir || m->place.foreign || m->ask.other_model)
        return HL_OK;
    put_label(cli, m, &label);
    hl_str_addf(&tag, HL_QUANTIZE_TAG "%s", hl_str_text(&label));
    HL_TRY(hl_str_status(&tag));
    for (size_t i = 0; cli && i < hl_cli_many_n(cli, "set"); i++)
        if (!hl_str_starts(hl_cli_many(cli, "set", i), "quantize.skip="))
            HL_TRY(hl_vec_push(&sets, hl_cli_many(cli, "set", i)));
    HL_TRY(hl_vec_push(&sets, NULL));
    e->sets = sets.at;
    e->exp = m->p.exp;
    e->label = hl_str_text(&label);
    HL_TRY(hl_quantize_event_put(e, &json));
    HL_TRY(hl_run_add_table(m->place.run_dir, e->step, tag.s, json.s));
out:
    hl_vec_done(&sets);
    hl_str_done(&label);
    hl_str_done(&tag);
    hl_str_done(&json);
    return st;
}
