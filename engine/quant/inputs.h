/* What is kept of the inputs of linear layers, column by column: the state f64{1 + 2 K} that the op
 * observe_inputs fills. */
#ifndef HL_QUANT_INPUTS_H
#define HL_QUANT_INPUTS_H

enum {
    HL_INPUTS_TOKENS, /* rows seen */
    HL_INPUTS_MAX     /* K largest |x|, then K sums of |x| */
};
#define HL_INPUTS_FIELDS(k) (1 + 2 * (k))

/* Of the state f64{3} of the op vector_quant. */
enum {
    HL_OUTLIERS_BATCHES,
    HL_OUTLIERS_SUM,  /* columns, over batches */
    HL_OUTLIERS_MOST, /* of one batch */
    HL_OUTLIERS_FIELDS
};

#endif
