/* Ranges as ops keep them between runs: states f64{HL_QUANT_RANGE_FIELDS}. */
#ifndef HL_QUANT_RANGE_STATE_H
#define HL_QUANT_RANGE_STATE_H

#include "engine/quant/quantizer.h"

/* What the op `observe` keeps of a quantizer: batches seen, lower and upper end of the range; and
 * what `fake_quant` measures: numbers, sums of their squares and of their errors' squares, numbers
 * beyond the grid. */
enum {
    HL_QUANT_SEEN,
    HL_QUANT_LO,
    HL_QUANT_HI,
    HL_QUANT_NUMBERS,
    HL_QUANT_SIGNAL,
    HL_QUANT_NOISE,
    HL_QUANT_CLIPPED,
    HL_QUANT_RANGE_FIELDS
};

/* is_f64: the ends are doubles up to the scale. Errors: STATE (no batch was seen), as
 * hl_quantizer_set_range. */
HL_MUST_CHECK hl_status hl_quantizer_take_state(hl_quantizer *q, const double *range, bool is_f64);

#endif
