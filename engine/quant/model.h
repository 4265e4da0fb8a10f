/* A model being quantized: its sites, what is known of their ranges, and the graphs in which they
 * are estimated or stand. */
#ifndef HL_QUANT_MODEL_H
#define HL_QUANT_MODEL_H

#include "engine/exec/storage.h"
#include "engine/pass/quantize.h"

typedef struct hl_quant_model hl_quant_model;
typedef struct hl_quant_saved hl_quant_saved;

/* rules and recipe are borrowed as long as the model lives. */
HL_MUST_CHECK hl_status hl_quant_model_new(const hl_quant_rules *rules,
                                           const hl_quant_recipe *recipe, bool fp64,
                                           hl_quant_model **out);
void hl_quant_model_free(hl_quant_model *m); /* NULL is fine */

/* The graph with quantizers, or, of a method that is not static, with its layers. The first call
 * lists the sites and quantizes the weights, whose leaves' marks must be storages; later ones are
 * for the same forward graph, of any batch size. In the new graph the marks of added leaves are
 * storages that live as long as m. Errors: as hl_pass_quantize; NUMERIC (a weight that is not
 * finite, by name). A method with hl_quant_needs_inputs gets them first, in HL_QUANT_INPUTS (else
 * STATE); its first graph in another mode makes the weights. */
HL_MUST_CHECK hl_status hl_quant_model_graph(hl_quant_model *m, const hl_graph *g,
                                             const hl_quant_wish *wish, hl_team *team,
                                             hl_graph **out);

/* Before the first graph: codes, scales and ranges are taken from there, which is m's from now on,
 * instead of from the marks of weights and from batches. Codes stay in the file until a graph reads
 * them. The first graph has the errors of hl_quant_saved_weight and hl_quant_saved_range, too, and
 * FORMAT (a recipe of another method than the static one). */
void hl_quant_model_restore(hl_quant_model *m, hl_quant_saved *from);

/* The quantized graph alone, without storages for what was added: which parameters does it still
 * read? Lists the sites, as hl_quant_model_graph does. */
HL_MUST_CHECK hl_status hl_quant_model_sketch(hl_quant_model *m, const hl_graph *g,
                                              const hl_quant_wish *wish, hl_team *team,
                                              hl_graph **out);

/* Sites in the order of execution; weights where they are first used. */
size_t hl_quant_model_n(const hl_quant_model *m);
const hl_quant_site *hl_quant_model_site(const hl_quant_model *m, size_t i);

/* Batches that a site has seen; 1 of a weight. */
int64_t hl_quant_model_seen(const hl_quant_model *m, size_t i);
/* The site's quantizer as its range stands now. Owned by m, until the next call for it. NULL with a
 * status set where there is none yet, or the site is off. */
const hl_quantizer *hl_quant_model_quantizer(hl_quant_model *m, size_t i);

/* Memory of all forms of the weights that graphs have read. *in_file: rows that are looked up where
 * they lie in a file, which take memory only as they are touched, and give it back. */
int64_t hl_quant_model_weight_bytes(const hl_quant_model *m, int64_t *in_file);

/* Codes of a weight that is on, of hl_quantizer_code_type; owned by the caller. NULL: NOMEM. */
void *hl_quant_model_codes(const hl_quant_model *m, size_t i);

/* f64{HL_QUANT_RANGE_FIELDS}; NULL of a weight, or where the site is off. */
const double *hl_quant_model_range(const hl_quant_model *m, size_t i);

/* f64{HL_QUANT_RANGE_FIELDS} of a site that is on: what was measured (HL_QUANT_NUMBERS and on), of
 * a weight when it was quantized, else in HL_QUANT_MEASURE. */
const double *hl_quant_model_measures(const hl_quant_model *m, size_t i);

/* Bits that the codes and scales of a weight that is on take. */
double hl_quant_model_weight_bits(const hl_quant_model *m, size_t i);

/* Columns of a layer's input that LLM.int8 kept in half precision: mean and most over the batches
 * run so far. False: another method, or no batch. */
bool hl_quant_model_outliers(const hl_quant_model *m, size_t i, double *mean, double *most);

/* Leaves all quantizers but one in float, from the next graph on; HL_QUANT_ALL: as the recipe says.
 */
#define HL_QUANT_ALL ((size_t)-1)
void hl_quant_model_only(hl_quant_model *m, size_t i);

/* st, of a batch of a program in OBSERVE; where its numbers were not to be used, the message gets
 * the name of the quantizer that found out, the first that has seen fewer batches than others. */
hl_status hl_quant_model_explain(const hl_quant_model *m, hl_status st);

#endif
