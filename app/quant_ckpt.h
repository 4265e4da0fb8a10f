/* Quantized checkpoints (docs/run-format.md): a folder of its own with all that `hoplab eval` needs
 * to run a quantized model without the run that it was made of. */
#ifndef HL_APP_QUANT_CKPT_H
#define HL_APP_QUANT_CKPT_H

#include "app/exp/quantize.h"
#include "app/trained.h"

/* What is told of how it was made; borrowed. */
typedef struct hl_quant_made {
    const hl_trained *of;
    hl_quantized *quantized; /* calibrated */
    int64_t step;
    const char *recipe;                           /* in a few letters */
    const hl_json *before, *simulated, *executed; /* evaluations */
    const hl_json *sites;
} hl_quant_made;

/* Before any work: can this model's quantization be stored? Errors: UNSUPPORTED (a method other
 * than the static one). */
HL_MUST_CHECK hl_status hl_quant_ckpt_check(const hl_trained *t);

/* Writes `path`, whole or not at all. Errors: as hl_new_dir and hl_quantized_save. */
HL_MUST_CHECK hl_status hl_quant_ckpt_write(const hl_quant_made *made, const char *path);

/* For hl_trained_open: checks every byte of the folder, and gives its quantization.json. Errors:
 * FORMAT, NOTFOUND, IO. */
HL_MUST_CHECK hl_status hl_quant_ckpt_open(const char *path, hl_json **out);

/* Evaluates the model of a quantized checkpoint; *q is the caller's, also after a failure. The rest
 * as hl_quantized_evaluate gives it. Errors: those of hl_quantized_restore and of the evaluation;
 * FORMAT (another vocabulary). */
HL_MUST_CHECK hl_status hl_quant_ckpt_evaluate(const hl_trained *t, bool execute, hl_quantized **q,
                                               hl_json **result, double *seconds);

#endif
