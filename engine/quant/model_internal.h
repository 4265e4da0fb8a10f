/* What the files of a quantized model share: engine/quant/model.c and model_layers.c. */
#ifndef HL_QUANT_MODEL_INTERNAL_H
#define HL_QUANT_MODEL_INTERNAL_H

#include "engine/ckpt/safetensors.h"
#include "engine/pass/quant_layers.h"
#include "engine/quant/model.h"

/* What is kept of a site. */
typedef struct hl_quant_kept {
    hl_storage *storage; /* ACT: the range; WEIGHT: its quantized copy, if it is wanted, or what a
                            method counts at run time; NULL: off */
    hl_quantizer q;
    double measured[HL_QUANT_RANGE_FIELDS]; /* of a weight */
    hl_storage *run, *run_t;      /* of a weight that is run in integers: for linear_int8 */
    hl_storage *codes, *scales;   /* of one whose codes are read as they are; of both */
    const hl_tensor_entry *saved; /* of a weight from a file: its codes there */
    hl_storage in_file;           /* what `codes` points to then, if they are looked up where they
                                     are: no memory of its own */
} hl_quant_kept;

/* Of layers with one input. */
typedef struct hl_quant_kept_group {
    hl_storage *stats, *gram;        /* while inputs are observed */
    hl_storage *gain, *bias, *scale; /* smoothed; NULL: as they were */
} hl_quant_kept_group;

struct hl_quant_model {
    const hl_quant_rules *rules;
    const hl_quant_recipe *recipe;
    bool fp64;
    hl_quant_sites sites;
    hl_quant_kept *kept;  /* NULL before the first graph */
    bool is_ready;        /* a graph was made */
    hl_quant_saved *from; /* NULL: weights are quantized here */

    /* methods other than the static one: model_layers.c */
    hl_quant_sites smooth_sites; /* SmoothQuant's layers; those of the others are `sites` */
    hl_quant_layers layers;
    hl_quant_kept_group *groups; /* NULL before the first graph */
    hl_storage **smoothed;       /* of smooth_sites */
    bool is_settled;             /* weights are made: nothing more is observed */
};

/* The numbers as floats: those of the storage, or a copy in *owned; NULL: no memory. */
const float *hl_quant_floats_of(const hl_storage *s, float **owned);

/* The graph of a method other than the static one; SmoothQuant's, but in HL_QUANT_INPUTS, is one in
 * float for the static one. Errors: as hl_quant_model_graph. */
HL_MUST_CHECK hl_status hl_quant_model_by_layer(hl_quant_model *m, const hl_graph *g,
                                                const hl_quant_wish *wish, hl_team *team,
                                                hl_graph **out);
void hl_quant_model_forget_layers(hl_quant_model *m);

#endif
