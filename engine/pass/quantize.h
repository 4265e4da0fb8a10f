/* Post-training quantization of a model's forward graph (spec: quantization 4 to 7; arXiv
 * 2306.12929). Where quantizers stand follows from the graph: behind linear layers (after a fused
 * activation), layer normalisations, sums of activations, attention's scores and weights and what
 * its heads gather; weights are tables, matrices and gains. Biases, softmax, sums, gates and the
 * head's loss stay in float.
 *
 * In a model that solves for an equilibrium products with parameters, before the solve and in its
 * step, have quantizers where activations enter them, and results in float: state, biases and sums
 * are what the solver works on. A matrix that a step uses both ways is quantized once. */
#ifndef HL_PASS_QUANTIZE_H
#define HL_PASS_QUANTIZE_H

#include "engine/graph/graph.h"
#include "engine/quant/method.h"
#include "engine/quant/range.h"
#include "engine/quant/range_state.h"

/* What a model says of itself. */
typedef struct hl_quant_rules {
    /* substrings of parameter names, NULL-terminated: layers that have one stay in float */
    const char *const *in_float;
    const char *const
        *also;       /* taps that are quantized, too, by name; NULL-terminated; may be NULL */
    /* ends of names of further parameters that are weights; NULL-terminated; may be NULL. Others are
     * those that end in ".weight". */
    const char *const *tables;
    bool gate_first; /* what heads gather is quantized behind the gate (BERT), else before it (OPT)
                      */
} hl_quant_rules;

typedef enum hl_quant_norms {
    HL_QUANT_NORMS_SAME,  /* layer normalisations have the bits of all others */
    HL_QUANT_NORMS_FINAL, /* the last has 16, gain and output */
    HL_QUANT_NORMS_ALL    /* all have */
} hl_quant_norms;

typedef struct hl_quant_recipe {
    hl_quant_method_options method;
    hl_range_options weight, act; /* how ranges are found, with scheme and bits */
    bool no_weights, no_acts;     /* leaves one side in float */
    bool per_channel;             /* a scale for each row of a matrix or table */
    bool head;                    /* the head too (quant_setup "all") */
    hl_quant_norms norms;
    const char *const *skip; /* sites that stay in float, by name; NULL-terminated; may be NULL */
} hl_quant_recipe;

/* Weights symmetric by minimum and maximum, activations asymmetric by their running average; 8
 * bits; the head in float. */
hl_quant_recipe hl_quant_recipe_default(void);

typedef enum hl_quant_role {
    HL_QUANT_WEIGHT, /* named as the parameter */
    HL_QUANT_ACT     /* named after the layer that made it, with ".sum", ".scores", … */
} hl_quant_role;

/* A place for a quantizer. */
typedef struct hl_quant_site {
    char *name; /* owned */
    hl_quant_role role;
    bool is_on;
    bool is_bytes;    /* WEIGHT, set by who quantizes it: codes of at most 8 bits */
    bool is_unsigned; /* likewise: no code is negative; linear_int8 takes them 128 lower */
    bool is_packed;   /* likewise: they are packed for linear_int8 */
    bool is_run;      /* WEIGHT: its layer is executed in integers */
    hl_range_options how;
    hl_id leaf; /* of the last graph made: WEIGHT: what stands for the parameter, ACT: its range,
                   f64{HL_QUANT_RANGE_FIELDS}; HL_NONE if it is off */
    hl_id run, run_t;   /* WEIGHT that is run: leaves i8 for linear_int8, as it is stored and
                           transposed, packed if is_packed; else HL_NONE */
    hl_id codes;        /* WEIGHT whose codes are read as they are: leaf i8; else HL_NONE */
    bool all_codes;     /* and by the last graph, all of them: not only rows that are looked up */
    hl_id scales;       /* of both: leaf f32 */
    hl_id value;        /* of that graph: what comes out of the quantizer; WEIGHT: the leaf;
                           HL_NONE: that is nowhere in it (inside of a step, or codes alone) */
    void *source;       /* WEIGHT: the parameter's mark */
    HL_VEC(int) groups; /* WEIGHT of engine/pass/quant_layers.h: whose inputs it has */
    bool is_read_once;  /* the same: one node reads the parameter */
    void *stand_in;     /* the same: mark of the smoothed parameter, or NULL */
    hl_type type;       /* of the weight */
} hl_quant_site;

typedef HL_VEC(hl_quant_site) hl_quant_sites;
void hl_quant_sites_done(hl_quant_sites *s);

typedef enum hl_quant_mode {
    HL_QUANT_OBSERVE,  /* ranges are estimated, and used, by the op `observe` */
    HL_QUANT_SIMULATE, /* ranges stand fast: fake_quant */
    HL_QUANT_MEASURE,  /* the same, and errors are added up */
    /* weights are read as codes, and linear layers run in integers where both sides are bytes
     * (linear_int8, else linear_codes; embedding_int8) */
    HL_QUANT_EXECUTE,
    HL_QUANT_INPUTS /* in float; what goes into linear layers is observed for a method */
} hl_quant_mode;

typedef struct hl_quant_wish {
    hl_quant_mode mode;
    hl_id *outputs; /* renumbered in place */
    int n_outputs;
} hl_quant_wish;

/* A graph in which quantizers stand. The first call fills an
 * empty *sites, later ones of the same graph and recipe only their ids. Leaves for ranges (STATE)
 * and for quantized weights (STATE, "NAME:quantized", or "NAME:codes", "NAME:run",
 * "NAME:run:transposed" and "NAME:scales") have no mark: the caller gives them storages. Taps watch
 * what comes out of quantizers. The graph must need nothing but its outputs (hl_graph_extract).
 * Errors: ARG (a name in recipe->skip that no site has), NOMEM. */
HL_MUST_CHECK hl_status hl_pass_quantize(const hl_graph *g, const hl_quant_rules *rules,
                                         const hl_quant_recipe *recipe, const hl_quant_wish *wish,
                                         hl_quant_sites *sites, hl_graph **out);

#endif
