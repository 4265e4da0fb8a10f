#include "app/exp/experiment.h"

#include <string.h>

#include "engine/base/mem.h"

unsigned hl_experiment_groups(const hl_experiment *e, const char *tap)
{
    for (size_t i = 0; i < e->n_taps; i++)
        if (strcmp(e->tap_names[i], tap) == 0)
            return e->tap_groups[i];
    return 0;
}

static void trace_done(hl_exp_trace *t)
{
    for (int i = 0; i < t->n_metrics; i++)
        hl_free(t->metric[i].name);
    hl_free(t->metric);
    hl_graph_free(t->g);
}

static void free_names(char **names)
{
    for (char **n = names; n && *n; n++)
        hl_free(*n);
    hl_free(names);
}

void hl_quant_plan_done(hl_quant_plan *p)
{
    free_names(p->in_float);
    free_names(p->also);
    free_names(p->tables);
    free_names(p->skip);
    hl_free(p->json);
    *p = (hl_quant_plan){0};
}

const char *hl_experiment_precision(const hl_experiment *e)
{
    const hl_device *d = hl_device_current();
    return e->fp64 ? "fp64" : e->bf16 ? "bf16" : e->fp16 ? "fp16" : d && d->tf32 ? "tf32" : "fp32";
}

const char *hl_experiment_isa(const hl_experiment *e)
{
    if (hl_device_current() && !e->fp64)
        return hl_gpu_get()->name;
    static const char *const with[] = {[HL_BF16_DOT] = "avx512+bf16", [HL_BF16_TILES] = "avx512+amx"};
    return e->bf16 && hl_cpu_bf16() ? with[hl_cpu_bf16()] : hl_cpu()->isa;
}

void hl_experiment_free(hl_experiment *e)
{
    if (!e)
        return;
    if (e->free_hooks)
        e->free_hooks(e->hooks.self);
    for (size_t i = 0; i < e->n_params; i++) {
        hl_free(e->params[i].name);
        hl_storage_unref(e->params[i].storage);
    }
    for (size_t i = 0; i < e->n_constants; i++)
        hl_storage_unref(e->constants[i]);
    for (size_t i = 0; i < e->n_taps; i++)
        hl_free(e->tap_names[i]);
    for (size_t i = 0; e->no_decay && e->no_decay[i]; i++)
        hl_free(e->no_decay[i]);
    for (size_t i = 0; i < e->n_knobs; i++)
        hl_free(e->knobs[i].name);
    hl_free(e->knobs);
    hl_free(e->params);
    hl_free(e->constants);
    hl_free(e->tap_names);
    hl_free(e->tap_groups);
    hl_free(e->no_decay);
    hl_quant_plan_done(&e->quant);
    trace_done(&e->train);
    trace_done(&e->eval);
    trace_done(&e->eval_rest);
    trace_done(&e->test_rest);
    trace_done(&e->train_rest);
    hl_source_done(&e->source);
    hl_free(e->name);
    hl_free(e->project);
    hl_free(e->tags_json);
    hl_free(e->config_json);
    hl_free(e->best_metric);
    hl_free(e);
}
