/* Ranges as ops keep them between runs: states f64{HL_QUANT_RANGE_FIELDS}. */
#ifndef HL_QUANT_RANGE_STATE_H
#define HL_QUANT_RANGE_STATE_H

#include "engine/quant/quantizer.h"
#include "kernels/quant/range_body.h"

/* is_f64: the ends are doubles up to the scale. Errors: STATE (no batch was seen), as
 * hl_quantizer_set_range. */
HL_MUST_CHECK hl_status hl_quantizer_take_state(hl_quantizer *q, const double *range, bool is_f64);

#endif
