/* Several methods of quantization on one trained model, side by side. */
#ifndef HL_EXP_QUANT_METHODS_H
#define HL_EXP_QUANT_METHODS_H

#include "app/exp/quantize.h"

/* "all", or names between commas, as hl_quant_method_names: wanted[i] for each. Errors: ARG with
 * the nearest name. */
HL_MUST_CHECK hl_status hl_quant_methods_parse(const char *list, bool wanted[HL_QUANT_METHODS]);

/* One object per method that is wanted, in the order of the enumeration: method, weight_bits,
 * act_bits (32: float), group (0: none), loss, executed_loss, metrics as results have them
 * (perplexity, accuracy; in evaluation's own names), weights_mib, float_mib, seconds (of
 * calibration and evaluation), and layers as hl_quantized_sites lists them. The experiment's recipe
 * is as before afterwards. Errors: those of hl_quantized, with the method's name. */
HL_MUST_CHECK hl_status hl_quant_methods_run(const hl_train_setup *setup,
                                             const bool wanted[HL_QUANT_METHODS], hl_json **rows);

#endif
