/* Quantized models as safetensors (docs/run-format.md, "Quantized checkpoints"): weights that are
 * on a grid as codes and scales, what stays in float as floats, ranges of activations. Reading
 * treats the file as hostile: what does not fit the model and its quantizers is refused, by name.
 */
#ifndef HL_QUANT_SAVED_H
#define HL_QUANT_SAVED_H

#include "engine/ckpt/safetensors.h"
#include "engine/quant/model.h"

/* A parameter that is read as floats. */
typedef struct hl_quant_float {
    const char *name;
    hl_storage *storage;
    bool has_codes; /* it is quantized elsewhere: a table that is also the head, in float */
} hl_quant_float;

/* A forward graph that needs nothing but its outputs. */
typedef struct hl_quant_forward {
    const hl_graph *g;
    const hl_id *outputs;
    int n_outputs;
    hl_team *team;
} hl_quant_forward;

/* Which parameters (name and storage given, all that the graph has as states) does m leave in
 * float? Those come first, *n_floats of them; the rest are read as codes only. The first graph of m
 * may be this one's. Errors: as hl_quant_model_sketch. */
HL_MUST_CHECK hl_status hl_quant_saved_list(hl_quant_model *m, const hl_quant_forward *of,
                                            hl_quant_float *params, size_t n, size_t *n_floats);

/* m as its quantizers stand, and the floats. Errors: UNSUPPORTED (two tensors of one name), STATE
 * (an activation without a range), IO, NOMEM. Cost: memory for all codes at once. */
HL_MUST_CHECK hl_status hl_quant_saved_write(hl_quant_model *m, const hl_quant_float *floats,
                                             size_t n_floats, const char *path);

/* Maps the file. Errors: as hl_safetensors_open. */
HL_MUST_CHECK hl_status hl_quant_saved_open(const char *path, hl_quant_saved **out);
void hl_quant_saved_close(hl_quant_saved *s); /* NULL is fine */

/* The quantizer of a weight (q is to be initialised) and where its codes are; with more than 8 bits
 * it is the numbers they stand for, as floats. Errors of this and the next two: FORMAT and NUMERIC,
 * with file, tensor, and what is expected and found. */
HL_MUST_CHECK hl_status hl_quant_saved_weight(hl_quant_saved *s, const hl_quant_site *site,
                                              hl_quantizer *q, const hl_tensor_entry **codes);
/* The range of an activation, f64{HL_QUANT_RANGE_FIELDS}, and its quantizer. */
HL_MUST_CHECK hl_status hl_quant_saved_range(hl_quant_saved *s, const hl_quant_site *site,
                                             hl_quantizer *q, double *range);
HL_MUST_CHECK hl_status hl_quant_saved_float(hl_quant_saved *s, const hl_quant_float *to);
/* FORMAT, if the file has a tensor that nobody has asked for. */
HL_MUST_CHECK hl_status hl_quant_saved_end(const hl_quant_saved *s);

/* The tensor has been read: its part of the mapping need not stay in memory. */
void hl_quant_saved_release(const hl_quant_saved *s, const hl_tensor_entry *e);

#endif
