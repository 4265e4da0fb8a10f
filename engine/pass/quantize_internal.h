/* What the parts of the pass that places quantizers share: the walk over a model's graph. */
#ifndef HL_PASS_QUANTIZE_INTERNAL_H
#define HL_PASS_QUANTIZE_INTERNAL_H

#include "engine/pass/quantize.h"
#include "engine/pass/rewrite.h"

typedef struct hl_quant_walk hl_quant_walk;

/* --- quantize_product.c: products with parameters, quantized where activations enter them --- */

/* A leaf of the model's new graph, and the leaf of a step's that stands for it. */
typedef struct hl_quant_carried {
    hl_id outside, inside;
} hl_quant_carried;

/* Of one graph, the model's or that of a step. */
typedef struct hl_quant_products {
    hl_quant_walk *w;
    hl_rewrite *r;
    int32_t *site; /* per old value: 1 + the site of the quantizer it enters products by; 0: none */
    hl_id *on_grid; /* per old value: what comes out of it; HL_NONE: nobody has asked */
    hl_id *centred; /* per old value: the same as codes less the zero point */
    hl_id
        *outside; /* of a step, per old value: the model's value behind a leaf; NULL: the model's */
    HL_VEC(hl_quant_carried) carried; /* of a step */
} hl_quant_products;

HL_MUST_CHECK hl_status hl_quant_products_init(hl_quant_products *p, hl_quant_walk *w,
                                               hl_rewrite *r);
void hl_quant_products_done(hl_quant_products *p); /* also of zeros */

/* A matrix product with a parameter, or a linear layer whose input is not on a grid already. */
bool hl_quant_is_product(const hl_quant_products *p, const hl_node *n);
HL_MUST_CHECK hl_status hl_quant_product(hl_quant_products *p, size_t index);
/* The solve at `index` of the model's graph, with a step whose products are quantized. */
HL_MUST_CHECK hl_status hl_quant_solve(hl_quant_walk *w, size_t index);

/* --- quantize.c: the walk --- */

typedef struct hl_quant_source hl_quant_source; /* what made a value */

struct hl_quant_walk {
    hl_rewrite r;
    const hl_quant_rules *rules;
    const hl_quant_recipe *recipe;
    hl_quant_mode mode;
    hl_quant_sites *sites;
    size_t n_seen;           /* sites so far */
    bool is_first;           /* sites are being listed */
    bool has_solve;          /* of an equilibrium */
    hl_quant_source *source; /* of each old value */
    hl_id *weight;        /* of each old value: the leaf that stands for the quantized parameter */
    HL_VEC(int32_t) grid; /* of each new value: 1 + the site whose grid it lies on, 0: none */
    hl_id last_norm;      /* gain of the last layer normalisation that is quantized */
    hl_quant_products products; /* of the model's graph */
    hl_arena names;
};

typedef struct hl_quant_site_wish {
    const char *name;
    hl_quant_role role;
    bool is_norm, is_final;
} hl_quant_site_wish;

/* Without its last part: the layer of a parameter, the block of a layer. */
const char *hl_quant_parent(hl_quant_walk *w, const char *name);
const char *hl_quant_below(hl_quant_walk *w, const char *name, const char *part);

/* The next site; NULL: status set. */
hl_quant_site *hl_quant_next_site(hl_quant_walk *w, hl_quant_site_wish s);
hl_quant_site *hl_quant_site_of_weight(const hl_quant_walk *w, const char *name);
/* 1 + the site whose grid v (new) lies on, 0: none */
int32_t hl_quant_grid_of(const hl_quant_walk *w, hl_id v);
/* A leaf for a range. */
hl_id hl_quant_range_leaf(hl_quant_walk *w, const char *name);
/* The op that puts an activation onto the grid of s (inputs: it, the range). */
const hl_op *hl_quant_act_op(const hl_quant_walk *w, const hl_quant_site *s, bool in_solve,
                             hl_attrs *out);
/* The leaf that stands for parameter v (old) in quantized layers; the parameter's own where its
 * site is off. */
hl_id hl_quant_weight(hl_quant_walk *w, hl_id v, bool is_norm);
/* The weight's site if its layer may run in integers, else NULL: does the input lie on the grid of
 * bytes, are the weights bytes? */
hl_quant_site *hl_quant_of_bytes(const hl_quant_walk *w, int32_t grid, const char *name);
/* Leaves of its codes, as they are (not of unsigned ones) and for linear_int8; either makes that of
 * the scales too. */
hl_id hl_quant_codes(hl_quant_walk *w, hl_quant_site *s);
hl_id hl_quant_run_codes(hl_quant_walk *w, hl_quant_site *s, bool transposed);

/* Is the parameter among those that the model wants in float? */
bool hl_quant_in_float(const hl_quant_walk *w, const char *name);

#endif
