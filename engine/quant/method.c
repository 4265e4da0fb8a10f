#include "engine/quant/method.h"

#include "engine/base/err.h"

const char *const hl_quant_method_names[] = {[HL_QUANT_STATIC] = "static",
                                             [HL_QUANT_SMOOTH] = "smoothquant",
                                             [HL_QUANT_PER_TOKEN] = "per_token",
                                             [HL_QUANT_LLM_INT8] = "llm_int8",
                                             [HL_QUANT_FP8_E4M3] = "fp8_e4m3",
                                             [HL_QUANT_FP8_E5M2] = "fp8_e5m2",
                                             [HL_QUANT_RTN] = "rtn",
                                             [HL_QUANT_GPTQ] = "gptq",
                                             [HL_QUANT_AWQ] = "awq",
                                             [HL_QUANT_METHODS] = NULL};

hl_quant_method_options hl_quant_method_default(void)
{
    return (hl_quant_method_options){.method = HL_QUANT_STATIC,
                                     .alpha = 0.5,
                                     .group = {.bits = 4, .group = 128},
                                     .damping = 0.01,
                                     .threshold = 6};
}

hl_status hl_quant_method_check(const hl_quant_method_options *o)
{
    hl_quantizer q;
    hl_status st = hl_group_quantizer(&o->group, &q);
    hl_quantizer_done(&q);
    if (st == HL_OK && !(o->alpha >= 0 && o->alpha <= 1))
        st = hl_err_set(HL_E_ARG, "SmoothQuant's alpha is between 0 and 1, not %g", o->alpha);
    if (st == HL_OK && !(o->damping > 0))
        st = hl_err_set(HL_E_ARG, "GPTQ's damping is more than 0, not %g", o->damping);
    if (st == HL_OK && !(o->threshold >= 0))
        st = hl_err_set(HL_E_ARG, "LLM.int8's threshold is at least 0, not %g", o->threshold);
    return st;
}
