#include "app/trained.h"

#include <stdio.h>
#include <string.h>

#include "app/lua/model.h"
#include "app/quant_ckpt.h"
#include "app/store/run_dir.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

static hl_status load(void *self, hl_lua *lua, const hl_override *list, int n)
{
    const hl_trained *t = self;
    const hl_eval_request r = {.sets = list,
                               .n_sets = n,
                               .other_model = t->ask.other_model,
                               .data = t->ask.data,
                               .same_batches = t->ask.same_batches,
                               .quantize = hl_json_get(t->quantized, "quantize"),
                               .config = hl_json_get(t->quantized, "config")};
    if (t->quantized && t->script)
        return hl_lua_load_evaluated(lua, t->script, r.config, &r);
    return !t->script ? hl_lua_load_evaluated_hf(lua, t->place.dir, &r)
                      : hl_lua_load_evaluated(lua, t->script, t->config, &r);
}

/* Of a quantized checkpoint: what it says of itself, and its script, unless it was made of another
 * program's model. */
static hl_status find_quantized(hl_trained *t)
{
    hl_status st = HL_OK;
    char name[300];
    if (!t->ask.may_be_quantized)
        HL_FAIL(HL_E_STATE, "%s is quantized already; hoplab eval %s evaluates it", t->place.dir,
                t->place.dir);
    HL_TRY(hl_quant_ckpt_open(t->place.dir, &t->quantized));
    const char *base = hl_json_str(hl_json_get(t->quantized, "script"), NULL);
    if (!base)
        return HL_OK;
    if (!hl_run_id_is_valid(base))
        HL_FAIL(HL_E_FORMAT, "%s/" HL_QUANTIZED_FILE ": 'script' is no file name", t->place.dir);
    snprintf(name, sizeof name, "script/%.200s", base);
    t->script = hl_fs_join(t->place.dir, name);
    st = t->script ? HL_OK : HL_E_NOMEM;
out:
    return st;
}

/* The script as the run executed it, and the configuration as it was trained. */
static hl_status find_script(hl_trained *t)
{
    hl_status st = HL_OK;
    hl_json *facts = NULL;
    char name[300];
    if (!t->place.run_dir)
        return hl_err_set(HL_E_NOTFOUND,
                          "%s lies outside of its run, where the script is that makes the model; "
                          "give the run, or a directory of hoplab export --hf",
                          t->place.dir);
    HL_TRY(hl_run_dir_read_json(t->place.run_dir, "run.json", &facts));
    const char *base = hl_fs_base(hl_json_str(hl_json_get(facts, "script"), ""));
    if (!hl_run_id_is_valid(base))
        HL_FAIL(HL_E_FORMAT, "%s/run.json names no script", t->place.run_dir);
    snprintf(name, sizeof name, "script/%.200s", base);
    t->script = hl_run_dir_path(t->place.run_dir, name);
    if (!t->script)
        HL_FAIL(HL_E_NOMEM, "out of memory");
    HL_TRY(hl_run_dir_read_json(t->place.dir, "config.json", &t->config));
out:
    hl_json_free(facts);
    return st;
}

hl_trained_ask hl_trained_ask_of(const hl_cli *cli)
{
    return (hl_trained_ask){
        .name = hl_cli_arg(cli, 0),
        .checkpoint = hl_cli_str(cli, "checkpoint"),
        .data = hl_cli_str(cli, "data"),
        .part = hl_cli_str(cli, "part"),
        .limit = hl_cli_given(cli, "limit") ? hl_cli_int(cli, "limit") : 0,
        .other_model = hl_cli_flag(cli, "other-model"),
    };
}

hl_status hl_trained_open(const hl_cli *cli, const hl_trained_ask *ask, hl_trained *t, bool *usage)
{
    hl_status st = HL_OK;
    *t = (hl_trained){.ask = *ask};
    *usage = ask->part && strcmp(ask->part, "eval") != 0 && strcmp(ask->part, "test") != 0;
    if (*usage)
        HL_FAIL(HL_E_ARG, "--part is eval or test, not '%s'", ask->part);
    char limit[24] = "";
    if (ask->limit)
        snprintf(limit, sizeof limit, "%lld", (long long)ask->limit);
    const hl_extra_override extra[] = {{.path = "eval.batches", .text = limit},
                                       {.path = "data.eval", .text = ask->data}};
    const char *precision = hl_cli_str(cli, "precision");
    if (strcmp(precision, "bf16") == 0 || strcmp(precision, "fp16") == 0) {
        *usage = true;
        HL_FAIL(HL_E_ARG,
                "--precision %s is for training; a trained model is evaluated in fp32, or "
                "in fp64",
                precision);
    }
    HL_TRY(hl_model_find(hl_cli_runs_dir(cli), ask->name, ask->checkpoint, &t->place));
    if (t->place.quantized)
        HL_TRY(find_quantized(t));
    else if (!t->place.foreign)
        HL_TRY(find_script(t));
    st = hl_prepare_host(cli, t->script ? t->script : t->place.dir, &t->p);
    *usage = st == HL_E_ARG;
    HL_TRY(st);
    HL_TRY(hl_prepare_by(cli, &(hl_prepare_way){t, load}, extra, 2, &t->p, usage));
    t->p.exp->hooks.wants = NULL; /* callbacks belong to training */
out:
    return st;
}

hl_status hl_trained_load(const hl_trained *t, hl_train *driver)
{
    return t->place.foreign ? HL_OK : hl_train_load(driver, t->place.dir);
}

hl_train_setup hl_trained_setup(const hl_trained *t)
{
    return (hl_train_setup){.exp = t->p.exp,
                            .team = t->p.team,
                            .host = hl_silent_host(),
                            .baseline_bytes = t->p.baseline_bytes,
                            .eval_on_test = t->ask.part && strcmp(t->ask.part, "test") == 0,
                            .pred_dir = t->ask.pred_dir,
                            .eval_only = true};
}

hl_status hl_trained_evaluate(const hl_trained *t, hl_train **driver, hl_json **result,
                              double *seconds)
{
    hl_status st = HL_OK;
    const hl_train_setup setup = hl_trained_setup(t);
    HL_TRY(hl_train_new(&setup, driver));
    HL_TRY(hl_train_fits(*driver));
    HL_TRY(hl_trained_load(t, *driver));
    HL_TRY(hl_train_open(*driver, hl_silent_sink(), NULL));
    const int64_t start = hl_clock_mono_ns();
    HL_TRY(hl_train_evaluate(*driver));
    *seconds = (double)(hl_clock_mono_ns() - start) * 1e-9;
    HL_TRY(hl_train_result(*driver, result));
out:
    return st;
}

void hl_trained_done(hl_trained *t)
{
    hl_prepared_done(&t->p);
    hl_json_free(t->config);
    hl_json_free(t->quantized);
    hl_free(t->script);
    hl_model_place_done(&t->place);
}
