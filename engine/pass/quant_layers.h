/* Linear layers one by one, for the methods that quantize nothing else (engine/quant/method.h): all
 * whose weights are one matrix, none that the model names in in_float, the head if the recipe says
 * so. Embeddings, normalisations, scores and sums stay in float. */
#ifndef HL_PASS_QUANT_LAYERS_H
#define HL_PASS_QUANT_LAYERS_H

#include "engine/pass/quantize.h"

/* Layers with one and the same input. */
typedef struct hl_quant_group {
    int64_t k;         /* columns of the input */
    hl_id stats, gram; /* leaves of the last graph in HL_QUANT_INPUTS, else HL_NONE */
    void *gain, *bias; /* marks of the normalisation's parameters that can take up a factor for each
                          column; NULL: there is none, or it serves others */
    void *new_gain, *new_bias, *scale; /* marks: what hl_pass_smooth puts in */
} hl_quant_group;

typedef struct hl_quant_layers {
    hl_quant_sites *sites; /* of weights; the caller's */
    HL_VEC(hl_quant_group) groups;
} hl_quant_layers;

/* A new graph in which layers have other operands, or, in HL_QUANT_INPUTS, the same ones, observed
 * by the op observe_inputs. The first call fills empty lists, later ones of the same graph and
 * recipe only their ids. Leaves without marks: of sites `leaf` ("NAME:quantized", for methods at
 * run time "NAME:outliers" f64{HL_OUTLIERS_FIELDS}), of groups `stats` f64{HL_INPUTS_FIELDS(k)} and
 * `gram` f32{k, k}, 4 k^2 bytes for each
 * input, all at once. Errors: ARG (a name in recipe->skip that no layer has), NOMEM. */
HL_MUST_CHECK hl_status hl_pass_quant_layers(const hl_graph *g, const hl_quant_rules *rules,
                                             const hl_quant_recipe *recipe,
                                             const hl_quant_wish *wish, hl_quant_layers *layers,
                                             hl_graph **out);

/* The same function in float, with the marks of smoothed parameters: where a group has a scale, its
 * normalisation gives x / scale, its layers with a stand_in take that, and all other readers take
 * it times scale. */
HL_MUST_CHECK hl_status hl_pass_smooth(const hl_graph *g, const hl_quant_layers *layers,
                                       const hl_quant_wish *wish, hl_graph **out);

/* What both passes of quantization ask. The parameter's name if v (or HL_NONE) is one whose layer
 * may be quantized, else NULL. */
const char *hl_quant_weight_name(const hl_graph *g, const hl_quant_rules *rules, hl_id v);
/* Is parameter v looked up, too? Then a product with it is the head of a language model. */
bool hl_quant_is_table(const hl_graph *g, hl_id v);
/* Is the name in the list (NULL: empty), whole or with an entry inside? */
bool hl_quant_is_one_of(const char *name, const char *const *list, bool whole);
hl_status hl_quant_check_skips(const hl_quant_recipe *recipe, const hl_quant_sites *sites);

#endif
