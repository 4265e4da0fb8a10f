/* Ways of quantizing a model after training (spec: quantization, appendix A). The static one puts
 * quantizers with ranges from calibration behind every layer (engine/pass/quantize.h); the others
 * quantize linear layers alone, as their papers do (engine/pass/quant_layers.h), but SmoothQuant,
 * which prepares a model for the static one. */
#ifndef HL_QUANT_METHOD_H
#define HL_QUANT_METHOD_H

#include <stdbool.h>

#include "engine/quant/groupwise.h"

typedef enum hl_quant_method {
    HL_QUANT_STATIC,
    HL_QUANT_SMOOTH,    /* SmoothQuant, then static; arXiv 2211.10438 */
    HL_QUANT_PER_TOKEN, /* rows of activations at run time, rows of weights; arXiv 2206.01861 */
    HL_QUANT_LLM_INT8,  /* the same, columns of outliers in half precision; arXiv 2208.07339 */
    HL_QUANT_FP8_E4M3,  /* arXiv 2209.05433 */
    HL_QUANT_FP8_E5M2,
    HL_QUANT_RTN,  /* from here on weights alone, in groups: nearest codes */
    HL_QUANT_GPTQ, /* arXiv 2210.17323 */
    HL_QUANT_AWQ,  /* arXiv 2306.00978 */
    HL_QUANT_METHODS
} hl_quant_method;

extern const char *const hl_quant_method_names[]; /* NULL-terminated */

/* Only linear layers, one by one. */
static inline bool hl_quant_is_by_layer(hl_quant_method m)
{
    return m > HL_QUANT_SMOOTH;
}
static inline bool hl_quant_is_weight_only(hl_quant_method m)
{
    return m >= HL_QUANT_RTN;
}
/* Looks at what goes into layers first (HL_QUANT_INPUTS). */
static inline bool hl_quant_needs_inputs(hl_quant_method m)
{
    return m == HL_QUANT_SMOOTH || m == HL_QUANT_GPTQ || m == HL_QUANT_AWQ;
}

typedef struct hl_quant_method_options {
    hl_quant_method method;
    double alpha;           /* SmoothQuant's, 0 .. 1 */
    hl_group_options group; /* RTN, GPTQ, AWQ */
    double damping;         /* GPTQ's, of the mean of H's diagonal, > 0 */
    double threshold;       /* LLM.int8's, >= 0 */
} hl_quant_method_options;

/* Static; alpha 0.5, 4 bits in groups of 128, damping 0.01, threshold 6: as the papers. */
hl_quant_method_options hl_quant_method_default(void);

/* Errors: ARG. */
HL_MUST_CHECK hl_status hl_quant_method_check(const hl_quant_method_options *o);

#endif
