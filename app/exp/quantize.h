/* A trained model on quantizers: ranges from batches of its data, then the evaluation that it had
 * in float, on the grids of codes (spec: quantization 8). */
#ifndef HL_EXP_QUANTIZE_H
#define HL_EXP_QUANTIZE_H

#include "app/exp/train.h"

typedef struct hl_quantized hl_quantized;

/* e->quant as wanted, weights loaded before hl_quantized_calibrate; borrowed, as is everything of
 * setup. Errors: UNSUPPORTED (a model that does not say what may be quantized), ARG (bits, a name
 * to skip), NUMERIC (weights that are not finite, by name), NOMEM. */
HL_MUST_CHECK hl_status hl_quantized_new(const hl_train_setup *setup, hl_quantized **out);
void hl_quantized_free(hl_quantized *q); /* NULL is fine */

/* Estimates the ranges of activations from e->quant's batches, then measures over the same batches
 * what each quantizer does; before, of methods that want it, what goes into layers in float.
 * subset: which batches; of training data the first in the order of that epoch. Once only. Errors:
 * NUMERIC (numbers that are not finite, with the quantizer's name); ARG (training data in batches
 * of another size than those of evaluation); those of the data. Cost: two evaluations of so many
 * batches; some ten with act_range mse. */
HL_MUST_CHECK hl_status hl_quantized_calibrate(hl_quantized *q, int64_t subset);

/* Has the method of the recipe a form in integers? */
bool hl_quantized_executes(const hl_quantized *q);
/* Warns in the log of activations that were one number all through calibration: their quantizers
 * say nothing of what else may come. */
void hl_quant_warn(const hl_quant_model *m);

/* Evaluates with the ranges as they stand, simulated or, with `execute`, with linear layers in
 * integers where the method has that form; the result as hl_train_result_json gives it. *seconds:
 * of the evaluation alone. */
HL_MUST_CHECK hl_status hl_quantized_evaluate(hl_quantized *q, bool execute, hl_json **result,
                                              double *seconds);

/* The same without quantizers. */
HL_MUST_CHECK hl_status hl_quantized_in_float(hl_quantized *q, hl_json **result, double *seconds);

/* An evaluation made ready, to be run again and again (hl_train_evaluate of its driver): for
 * measurements. q outlives it. Errors as hl_quantized_evaluate. */
typedef struct hl_quantized_view hl_quantized_view;
HL_MUST_CHECK hl_status hl_quantized_open(hl_quantized *q, bool execute, hl_quantized_view **out);
hl_train *hl_quantized_driver(hl_quantized_view *v);
void hl_quantized_close(hl_quantized_view *v); /* NULL is fine */

/* The quantized model as one safetensors file (engine/quant/saved.h). Errors: as
 * hl_quant_saved_write. */
HL_MUST_CHECK hl_status hl_quantized_save(hl_quantized *q, const char *path);
/* Instead of weights in float and a calibration: such a file. Parameters that are read as codes
 * only lose their memory, the others are loaded. Errors: those of hl_quant_saved_open, _weight,
 * _range, _float and _end. */
HL_MUST_CHECK hl_status hl_quantized_restore(hl_quantized *q, const char *path);
/* Of weights, in bytes. */
typedef struct hl_quant_memory {
    int64_t held;     /* parameters, codes, scales and what is kept of them in float */
    int64_t in_file;  /* rows that are looked up where they lie in a file */
    int64_t in_float; /* what all parameters take in float */
} hl_quant_memory;
hl_quant_memory hl_quantized_memory(const hl_quantized *q); /* after an evaluation */
/* What the last evaluation was made of, as hl_train_eval_counts. */
void hl_quantized_counts(const hl_quantized *q, int64_t *n_sequences, int64_t *n_labels);
const char *hl_quantized_forecasts(const hl_quantized *q); /* of that, as hl_train_forecasts */

/* Told after each tensor that was tried: how many of how many, and the list so far. */
typedef struct hl_quantized_watch {
    void *self;
    void (*ranked)(void *self, size_t n, size_t of, const hl_json *so_far);
} hl_quantized_watch;

/* How much the loss grows where one tensor alone is quantized, by descending growth: objects with
 * name, loss and growth. Over n_batches of what is evaluated on. Cost: an evaluation of these per
 * quantizer. watch: NULL for none. */
HL_MUST_CHECK hl_status hl_quantized_sensitivity(hl_quantized *q, int64_t n_batches,
                                                 const hl_quantized_watch *watch, hl_json **list);

/* Bytes that the parameters of an evaluation take, in float and with codes and scales where they
 * are quantized; a table that is used in both forms counts twice. Errors: as hl_quantized_evaluate.
 */
HL_MUST_CHECK hl_status hl_quantized_bytes(hl_quantized *q, double *in_float, double *quantized);

/* One object per quantizer: name, role, bits, codes, scale, zero_point, range, and what was
 * measured: sqnr (dB), mse, clipped (share of the numbers); bytes of a weight's codes. Of LLM.int8,
 * after an evaluation: outlier_columns, the mean over its batches, and most_outlier_columns. */
HL_MUST_CHECK hl_status hl_quantized_sites(hl_quantized *q, hl_json **list);

#endif
