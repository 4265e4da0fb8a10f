#include "app/exp/quant_methods.h"

#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

hl_status hl_quant_methods_parse(const char *list, bool wanted[HL_QUANT_METHODS])
{
    const bool all = strcmp(list, "all") == 0;
    for (int i = 0; i < HL_QUANT_METHODS; i++)
        wanted[i] = all;
    for (const char *at = list, *end; !all; at = end + 1) {
        char name[64];
        end = at + strcspn(at, ",");
        const size_t n =
            (size_t)(end - at) < sizeof name - 1 ? (size_t)(end - at) : sizeof name - 1;
        memcpy(name, at, n);
        name[n] = '\0';
        int found = -1;
        for (int i = 0; i < HL_QUANT_METHODS; i++)
            found = strcmp(name, hl_quant_method_names[i]) == 0 ? i : found;
        if (found < 0) {
            const int near = hl_str_nearest(name, hl_quant_method_names, HL_QUANT_METHODS);
            hl_str all_names = {0};
            for (int i = 0; i < HL_QUANT_METHODS; i++)
                hl_str_addf(&all_names, "%s%s", i ? ", " : "", hl_quant_method_names[i]);
            const hl_status st = hl_err_set(HL_E_ARG, "there is no method '%s'%s%s%s; there are %s",
                                            name, near >= 0 ? ", did you mean '" : "",
                                            near >= 0 ? hl_quant_method_names[near] : "",
                                            near >= 0 ? "'?" : "", hl_str_text(&all_names));
            hl_str_done(&all_names);
            return st;
        }
        wanted[found] = true;
        if (*end == '\0')
            break;
    }
    return HL_OK;
}

static void put_recipe(const hl_quant_recipe *r, hl_str *b)
{
    const hl_quant_method m = r->method.method;
    const bool by_group = hl_quant_is_weight_only(m),
               is_fp8 = m == HL_QUANT_FP8_E4M3 || m == HL_QUANT_FP8_E5M2;
    const int w = by_group ? r->method.group.bits
                  : is_fp8 ? 8
                           : r->weight.quantizer.bits,
              a = by_group ? 32
                  : is_fp8 ? 8
                           : r->act.quantizer.bits;
    hl_json_put_str(b, "method", hl_quant_method_names[m]);
    hl_json_put_int(b, "weight_bits", r->no_weights ? 32 : w);
    hl_json_put_int(b, "act_bits", r->no_acts ? 32 : a);
    hl_json_put_int(b, "group", by_group ? r->method.group.group : 0);
}

/* Numbers that the evaluation's result has beside the loss. */
static void put_result(const hl_json *result, const hl_json *executed, hl_str *b)
{
    hl_json_put_num(b, "loss", hl_json_num_at(result, "eval_loss"));
    if (executed)
        hl_json_put_num(b, "executed_loss", hl_json_num_at(executed, "eval_loss"));
    if (hl_json_get(result, "perplexity"))
        hl_json_put_num(b, "perplexity", hl_json_num_at(result, "perplexity"));
    const hl_json *metrics = hl_json_get(result, "metrics");
    if (hl_json_get(metrics, "eval/accuracy"))
        hl_json_put_num(b, "accuracy", hl_json_num_at(metrics, "eval/accuracy"));
}

static hl_status one_method(const hl_train_setup *setup, hl_str *b)
{
    hl_status st = HL_OK;
    hl_quantized *q = NULL;
    hl_json *result = NULL, *executed = NULL, *layers = NULL;
    double seconds, in_float, quantized;
    const int64_t start = hl_clock_mono_ns();
    HL_TRY(hl_quantized_new(setup, &q));
    HL_TRY(hl_quantized_calibrate(q, 0));
    HL_TRY(hl_quantized_evaluate(q, false, &result, &seconds));
    const double took = (double)(hl_clock_mono_ns() - start) * 1e-9;
    if (hl_quantized_executes(q))
        HL_TRY(hl_quantized_evaluate(q, true, &executed, &seconds));
    HL_TRY(hl_quantized_bytes(q, &in_float, &quantized));
    HL_TRY(hl_quantized_sites(q, &layers));
    hl_json_begin(b, '{');
    put_recipe(&setup->exp->quant.recipe, b);
    put_result(result, executed, b);
    hl_json_put_num(b, "weights_mib", quantized / 1048576);
    hl_json_put_num(b, "float_mib", in_float / 1048576);
    hl_json_put_num(b, "seconds", took);
    hl_json_add_key(b, "layers");
    hl_json_add_value(b, layers);
    hl_json_end(b, '}');
out:
    hl_json_free(result);
    hl_json_free(executed);
    hl_json_free(layers);
    hl_quantized_free(q);
    return st;
}

hl_status hl_quant_methods_run(const hl_train_setup *setup, const bool wanted[HL_QUANT_METHODS],
                               hl_json **rows)
{
    hl_status st = HL_OK;
    hl_quant_method *method = &setup->exp->quant.recipe.method.method;
    const hl_quant_method own = *method;
    hl_str b = {0};
    hl_json_begin(&b, '[');
    for (int i = 0; i < HL_QUANT_METHODS; i++) {
        if (!wanted[i])
            continue;
        *method = (hl_quant_method)i;
        HL_TRY_CTX(one_method(setup, &b), "method %s", hl_quant_method_names[i]);
    }
    hl_json_end(&b, ']');
    HL_TRY(hl_str_status(&b));
    HL_TRY(hl_json_parse(b.s, b.n, rows));
out:
    *method = own;
    hl_str_done(&b);
    return st;
}
