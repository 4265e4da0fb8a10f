/* Where a trained model is: what eval, quantize and export are given on the command line. */
#ifndef HL_APP_MODEL_PLACE_H
#define HL_APP_MODEL_PLACE_H

#include "engine/base/err.h"

#define HL_QUANTIZED_FILE "quantization.json" /* of a quantized checkpoint */

typedef struct hl_model_place {
    char *dir;      /* the checkpoint's, or that of another program's model */
    char *run_dir;  /* of our checkpoint; NULL: it lies outside of a run */
    bool foreign;   /* config.json and safetensors of another program */
    bool quantized; /* what hoplab quantize --save leaves (app/quant_ckpt.h) */
} hl_model_place;

/* word: a run as hl_run_find takes it, a checkpoint directory, quantized or not, or a directory of
 * another program.
 * checkpoint: of a run, "last", "best" or a name; NULL: the last one.
 * Errors: NOTFOUND (the message says what was looked for), IO, NOMEM. */
HL_MUST_CHECK hl_status hl_model_find(const char *runs_dir, const char *word,
                                      const char *checkpoint, hl_model_place *out);
void hl_model_place_done(hl_model_place *p);

#endif
