/* Random graphs. Each step draws a family of ops and operands that fit it; a call that a shape rule
 * refuses is forgotten, which costs nothing but the draw. One draw per statement: every compiler
 * must make the same graph of a seed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/exec/trial_test.h"

enum { CLASSES = 5, WIDTH = 4 }; /* of the embedding table */

static uint32_t below(sketch *s, uint32_t n)
{
    return hl_rng_below(&s->rng, n);
}

static bool chance(sketch *s, uint32_t percent)
{
    return below(s, 100) < percent;
}

static int64_t a_size(sketch *s)
{
    static const int64_t sizes[] = {1, 2, 3, 4, 4, 5, 7};
    return s->empty && chance(s, 6) ? 0 : sizes[below(s, 7)];
}

static void remember(sketch *s, hl_id v)
{
    if (v != HL_NONE && hl_graph_type(s->g, v)->dtype == HL_DTYPE_F32)
        (void)!hl_vec_push(&s->floats, v);
}

static hl_id leaf(sketch *s, hl_type t)
{
    char name[16];
    const bool state = s->smooth || chance(s, 50);
    snprintf(name, sizeof name, "%c%zu", state ? 's' : 'i', s->g->values.n);
    hl_id v = state ? hl_graph_state(s->g, name, t) : hl_graph_input(s->g, name, t);
    if (state && v != HL_NONE)
        (void)!hl_vec_push(&s->states, v);
    remember(s, v);
    return v;
}

static hl_type random_type(sketch *s, int least, int most)
{
    int64_t dim[HL_MAX_RANK];
    const int rank = least + (int)below(s, (uint32_t)(most - least + 1));
    for (int i = 0; i < rank; i++)
        dim[i] = a_size(s);
    return f32(rank, dim);
}

hl_id sketch_pick(sketch *s)
{
    const size_t n = s->floats.n;
    if (n == 0 || chance(s, 8))
        return leaf(s, random_type(s, 0, 4));
    const size_t window = chance(s, 50) && n > 4 ? 4 : n;
    return s->floats.at[n - 1 - below(s, (uint32_t)window)];
}

static hl_id pick_rank(sketch *s, int least, int most)
{
    for (int k = 0; k < 4; k++) {
        hl_id v = sketch_pick(s);
        const int rank = hl_graph_type(s->g, v)->rank;
        if (rank >= least && rank <= most)
            return v;
    }
    return leaf(s, random_type(s, least, most < 4 ? most : 4));
}

static hl_id pick_type(sketch *s, hl_type t)
{
    for (int k = 0; k < 8; k++) {
        hl_id v = sketch_pick(s);
        if (hl_type_equal(hl_graph_type(s->g, v), &t))
            return v;
    }
    return leaf(s, t);
}

static hl_type type_of(sketch *s, hl_id v)
{
    return *hl_graph_type(s->g, v);
}

static int64_t last_size(sketch *s, hl_id v)
{
    const hl_type t = type_of(s, v);
    return t.rank ? t.dim[t.rank - 1] : 0;
}

/* Appends a call; a refusal is forgotten. Remembers the outputs that others may read. */
static hl_id call(sketch *s, hl_op_id id, const hl_id *in, int n_in, const hl_attrs *attrs)
{
    hl_id v = hl_graph_append(s->g, hl_op_get(id), in, n_in, attrs);
    s->g->status = HL_OK;
    if (v == HL_NONE)
        return v;
    const int n_out = hl_graph_node_of(s->g, v)->n_out;
    for (int i = 0; i < (s->smooth ? 1 : n_out); i++)
        remember(s, v + i);
    return v;
}

static hl_id call1(sketch *s, hl_op_id id, hl_id a)
{
    return a == HL_NONE ? HL_NONE : call(s, id, &a, 1, NULL);
}

static hl_id call2(sketch *s, hl_op_id id, hl_id a, hl_id b)
{
    hl_id in[2] = {a, b};
    return a == HL_NONE || b == HL_NONE ? HL_NONE : call(s, id, in, 2, NULL);
}

static hl_attrs attrs_of(hl_op_id id)
{
    return hl_op_defaults(hl_op_get(id));
}

/* Keeps the numbers of a smooth graph of moderate size. */
static hl_id tame(sketch *s, hl_id v)
{
    if (!s->smooth || v == HL_NONE || chance(s, 30))
        return v;
    if (chance(s, 50))
        return call1(s, HL_OP_ID_tanh, v);
    v = hl_g_scale(s->g, v, 0.5);
    remember(s, v);
    return v;
}

/* --- elementwise --- */

static hl_id one_plus_square(sketch *s, hl_id v)
{
    hl_id one = hl_graph_const(s->g, 1), square = hl_g_op1(s->g, HL_OP_ID_square, v);
    return hl_g_add(s->g, one, square);
}

static void step_ew1(sketch *s)
{
    static const hl_op_id any[] = {
        HL_OP_ID_neg,   HL_OP_ID_abs,     HL_OP_ID_square,     HL_OP_ID_sqrt,
        HL_OP_ID_rsqrt, HL_OP_ID_exp,     HL_OP_ID_reciprocal, HL_OP_ID_log,
        HL_OP_ID_tanh,  HL_OP_ID_sigmoid, HL_OP_ID_erf,        HL_OP_ID_relu,
        HL_OP_ID_gelu,  HL_OP_ID_neg,     HL_OP_ID_gelu_tanh,  HL_OP_ID_is_finite};
    static const hl_op_id tame_ones[] = {HL_OP_ID_neg,  HL_OP_ID_tanh, HL_OP_ID_sigmoid,
                                         HL_OP_ID_erf,  HL_OP_ID_gelu, HL_OP_ID_gelu_tanh,
                                         HL_OP_ID_tanh, HL_OP_ID_neg};
    static const hl_op_id of_positive[] = {HL_OP_ID_log, HL_OP_ID_sqrt, HL_OP_ID_rsqrt,
                                           HL_OP_ID_reciprocal};
    hl_id v = sketch_pick(s);
    if (!s->smooth)
        call1(s, any[below(s, 16)], v);
    else if (chance(s, 60))
        call1(s, tame_ones[below(s, 8)], v);
    else if (chance(s, 50))
        call1(s, of_positive[below(s, 4)], one_plus_square(s, v));
    else
        tame(s, call1(s, HL_OP_ID_square, v));
}

/* A type that broadcasts against t: equal, or with sizes 1 and leading dimensions left out. */
static hl_type partner(sketch *s, hl_type t)
{
    if (chance(s, 40))
        return t;
    int64_t dim[HL_MAX_RANK];
    const int lead = t.rank ? (int)below(s, (uint32_t)t.rank + 1) : 0;
    for (int i = lead; i < t.rank; i++)
        dim[i - lead] = chance(s, 40) ? 1 : t.dim[i];
    return f32(t.rank - lead, dim);
}

static void step_ew2(sketch *s)
{
    static const hl_op_id any[] = {HL_OP_ID_add, HL_OP_ID_sub,     HL_OP_ID_mul,
                                   HL_OP_ID_div, HL_OP_ID_maximum, HL_OP_ID_minimum,
                                   HL_OP_ID_lt,  HL_OP_ID_le,      HL_OP_ID_eq,
                                   HL_OP_ID_pow, HL_OP_ID_add,     HL_OP_ID_relu_slope};
    hl_id a = sketch_pick(s), b = chance(s, 5) ? a : pick_type(s, partner(s, type_of(s, a)));
    if (chance(s, 50)) {
        hl_id t = a;
        a = b;
        b = t;
    }
    if (!s->smooth) {
        call2(s, any[below(s, 12)], a, b);
        return;
    }
    static const hl_op_id tame_ones[] = {HL_OP_ID_add, HL_OP_ID_sub, HL_OP_ID_mul};
    if (chance(s, 20))
        call2(s, HL_OP_ID_div, a, one_plus_square(s, b));
    else
        tame(s, call2(s, tame_ones[below(s, 3)], a, b));
}

static void step_where(sketch *s)
{
    hl_id a = sketch_pick(s), b = pick_type(s, type_of(s, a)), c = pick_type(s, type_of(s, a));
    hl_id limit = hl_graph_const(s->g, 0.1);
    hl_id in[3] = {hl_g_op2(s->g, HL_OP_ID_lt, c, limit), a, b};
    call(s, HL_OP_ID_where, in, 3, NULL);
}

static void step_cast(sketch *s)
{
    hl_attrs a = attrs_of(HL_OP_ID_cast);
    a.v[0].i = 1 + below(s, 2); /* i32 or bool, and back */
    hl_id whole = call(s, HL_OP_ID_cast, &(hl_id){sketch_pick(s)}, 1, &a);
    a.v[0].i = 0;
    if (whole != HL_NONE && !s->smooth)
        call(s, HL_OP_ID_cast, &whole, 1, &a);
}

/* --- shapes --- */

static void reshape_once(sketch *s)
{
    hl_id v = sketch_pick(s);
    const hl_type t = type_of(s, v);
    int64_t n = hl_type_count(&t), dim[HL_MAX_RANK];
    int rank = 0;
    for (int64_t f = 2; f <= 7 && rank < 4 && n > 1; f++)
        while (n % f == 0 && n > 1 && rank < 4 && chance(s, 70)) {
            dim[rank++] = f;
            n /= f;
        }
    if (n != 1 || chance(s, 20))
        dim[rank++] = n;
    remember(s, hl_g_reshape(s->g, v, rank, dim));
}

static void step_reshape(sketch *s)
{
    reshape_once(s);
    while (chance(s, 50)) /* a chain of views */
        reshape_once(s);
}

static void step_expand(sketch *s)
{
    hl_id v = sketch_pick(s);
    const hl_type t = type_of(s, v);
    int64_t dim[HL_MAX_RANK];
    const int lead = t.rank < 4 ? (int)below(s, 2) : 0;
    for (int i = 0; i < lead; i++)
        dim[i] = a_size(s);
    for (int i = 0; i < t.rank; i++)
        dim[lead + i] = t.dim[i] == 1 ? a_size(s) : t.dim[i];
    remember(s, hl_g_expand(s->g, v, lead + t.rank, dim));
}

static void step_permute(sketch *s)
{
    hl_id v = pick_rank(s, 1, 5);
    hl_attrs a = attrs_of(HL_OP_ID_permute);
    const int rank = type_of(s, v).rank;
    a.n_dims = rank;
    for (int i = 0; i < rank; i++)
        a.dims[i] = i;
    for (int i = rank - 1; i > 0; i--) {
        const uint32_t k = below(s, (uint32_t)i + 1);
        const int64_t t = a.dims[i];
        a.dims[i] = a.dims[k];
        a.dims[k] = t;
    }
    call(s, HL_OP_ID_permute, &v, 1, &a);
}

static void step_part(sketch *s)
{
    hl_id v = pick_rank(s, 1, 5);
    const bool slice = chance(s, 60);
    const hl_op_id id = slice ? HL_OP_ID_slice : HL_OP_ID_pad;
    hl_attrs a = attrs_of(id);
    const hl_type t = type_of(s, v);
    const uint32_t axis = below(s, (uint32_t)t.rank), size = (uint32_t)t.dim[axis];
    a.v[0].i = axis;
    a.v[1].i = slice ? below(s, size + 1) : below(s, 3);
    a.v[2].i = slice ? below(s, size - (uint32_t)a.v[1].i + 1) : below(s, 3);
    if (slice && a.v[2].i == 0 && !s->empty)
        return;
    call(s, id, &v, 1, &a);
}

static void step_cat(sketch *s)
{
    hl_id in[4];
    const int n = 1 + (int)below(s, 4);
    in[0] = pick_rank(s, 1, 4);
    hl_attrs a = attrs_of(HL_OP_ID_cat);
    a.v[0].i = below(s, (uint32_t)type_of(s, in[0]).rank);
    for (int i = 1; i < n; i++) {
        hl_type t = type_of(s, in[0]);
        if (chance(s, 30))
            t.dim[a.v[0].i] = a_size(s);
        in[i] = chance(s, 20) ? in[0] : pick_type(s, t);
    }
    call(s, HL_OP_ID_cat, in, n, &a);
}

/* --- sums, rows, products --- */

static void step_reduce(sketch *s)
{
    hl_id v = sketch_pick(s);
    const uint32_t rank = (uint32_t)type_of(s, v).rank;
    if (rank && !s->smooth && chance(s, 30))
        call1(s, HL_OP_ID_max, v);
    else if (rank && chance(s, 30))
        tame(s, call1(s, HL_OP_ID_cumsum, v));
    else {
        const unsigned axes = below(s, 1u << rank);
        remember(s, tame(s, hl_g_sum(s->g, v, axes, chance(s, 50))));
    }
}

static void step_create(sketch *s)
{
    static const hl_op_id ids[] = {HL_OP_ID_iota, HL_OP_ID_uniform, HL_OP_ID_normal};
    const hl_op_id id = ids[below(s, 3)];
    const hl_type t = random_type(s, 0, 3);
    hl_attrs a = attrs_of(id);
    a.n_dims = t.rank;
    memcpy(a.dims, t.dim, sizeof a.dims);
    if (id == HL_OP_ID_iota)
        a.v[1].f = 0.125;
    call(s, id, NULL, 0, &a);
}

/* A product whose left factor is at hand. */
static hl_id product(sketch *s)
{
    hl_id a = pick_rank(s, 2, 4);
    const hl_type ta = type_of(s, a);
    hl_attrs at = attrs_of(HL_OP_ID_matmul);
    const bool batch = ta.rank > 2 && chance(s, 50);
    at.v[0].i = (batch || ta.rank == 2) && chance(s, 40);
    at.v[1].i = chance(s, 40);
    const int64_t k = ta.dim[ta.rank - (at.v[0].i ? 2 : 1)], n = a_size(s);
    hl_type tb = ta;
    if (!batch)
        tb = F32(0, 0);
    tb.dim[tb.rank - 2] = at.v[1].i ? n : k;
    tb.dim[tb.rank - 1] = at.v[1].i ? k : n;
    hl_id in[3] = {a, pick_type(s, tb), HL_NONE};
    if (chance(s, 70))
        return call(s, HL_OP_ID_matmul, in, chance(s, 50) ? 3 : 2, &at);
    hl_type y = ta;
    y.dim[y.rank - 2] = ta.dim[ta.rank - (at.v[0].i ? 1 : 2)];
    y.dim[y.rank - 1] = n;
    in[2] = pick_type(s, y);
    return call(s, HL_OP_ID_matmul, in, 3, &at);
}

static void step_matmul(sketch *s)
{
    tame(s, product(s));
}

/* x + a b, either way round, sometimes with another reader of the product. */
static void step_addend(sketch *s)
{
    hl_id p = product(s);
    if (p == HL_NONE)
        return;
    hl_id x = pick_type(s, type_of(s, p));
    if (chance(s, 20))
        call1(s, HL_OP_ID_tanh, p);
    tame(s, chance(s, 50) ? call2(s, HL_OP_ID_add, x, p) : call2(s, HL_OP_ID_add, p, x));
}

static void step_linear(sketch *s)
{
    hl_id x = pick_rank(s, 1, 4);
    const int64_t k = last_size(s, x), n = a_size(s);
    hl_id in[3] = {x, pick_type(s, F32(n, k)), HL_NONE};
    if (chance(s, 60))
        in[2] = pick_type(s, F32(n));
    hl_attrs a = attrs_of(HL_OP_ID_linear);
    a.v[0].i = below(s, s->smooth ? 3 : 4);
    hl_id y = call(s, HL_OP_ID_linear, in, in[2] == HL_NONE && chance(s, 50) ? 2 : 3, &a);
    if (y != HL_NONE && hl_graph_node_of(s->g, y)->n_out > 1 && chance(s, 50))
        remember(s, y + 1); /* the value before the activation has a gradient as well */
    tame(s, y);
}

static void step_normalise(sketch *s)
{
    hl_id v = pick_rank(s, 1, 4);
    hl_attrs a = attrs_of(HL_OP_ID_normalise);
    a.v[0].i = below(s, s->smooth ? 2 : 4);
    if (!s->smooth && chance(s, 30))
        a.v[1].f = -0.05;
    call(s, HL_OP_ID_normalise, &v, 1, &a);
}

static hl_id dropout(sketch *s, hl_id v)
{
    hl_attrs a = attrs_of(HL_OP_ID_dropout);
    a.v[0].f = chance(s, 20) ? 0 : 0.25;
    return call(s, HL_OP_ID_dropout, &v, 1, &a);
}

static void step_dropout(sketch *s)
{
    dropout(s, sketch_pick(s));
}

static hl_id layernorm(sketch *s, hl_id x)
{
    const int64_t n = last_size(s, x);
    hl_id gamma = pick_type(s, F32(n)), beta = pick_type(s, F32(n)), in[3] = {x, gamma, beta};
    hl_attrs a = attrs_of(HL_OP_ID_layernorm);
    a.v[0].f = 0.01; /* two equal features must not blow the gradients up */
    return call(s, HL_OP_ID_layernorm, in, 3, &a);
}

static void step_layernorm(sketch *s)
{
    layernorm(s, pick_rank(s, 1, 4));
}

/* layernorm(x + dropout(a)) with all that may surround it. */
static void step_residual(sketch *s)
{
    hl_id x = pick_rank(s, 1, 4), a = pick_type(s, type_of(s, x));
    if (last_size(s, x) == 0)
        return;
    if (chance(s, 70))
        a = dropout(s, a);
    hl_id sum = chance(s, 50) ? call2(s, HL_OP_ID_add, x, a) : call2(s, HL_OP_ID_add, a, x);
    if (chance(s, 15)) /* read before the layernorm */
        call1(s, HL_OP_ID_tanh, sum);
    if (chance(s, 15))
        (void)!hl_graph_tap(s->g, "branch", a, HL_TAP_SEQUENCE);
    if (chance(s, 15))
        (void)!hl_graph_tap(s->g, "sum", sum, HL_TAP_TOKEN);
    layernorm(s, sum);
    if (chance(s, 30))
        layernorm(s, sum);
}

/* The same as one node: what fusion makes of it. */
static void step_residual_norm(sketch *s)
{
    hl_id x = pick_rank(s, 1, 4);
    const int64_t n = last_size(s, x);
    hl_id branch = pick_type(s, type_of(s, x)), gamma = pick_type(s, F32(n));
    hl_id in[4] = {branch, x, gamma, pick_type(s, F32(n))};
    hl_attrs a = attrs_of(HL_OP_ID_residual_norm);
    a.v[0].f = 0.01;
    a.v[1].f = chance(s, 50) ? 0.25 : 0;
    hl_id sum = call(s, HL_OP_ID_residual_norm, in, 4, &a);
    if (sum != HL_NONE)
        remember(s, sum + 1);
}

static void step_attention(sketch *s)
{
    const int64_t b = 1 + below(s, 2), t = a_size(s), w = 4, heads = 1 + below(s, 2);
    hl_id q = pick_type(s, F32(b, t, w)), k = pick_type(s, F32(b, t, w));
    hl_id in[4] = {q, k, chance(s, 30) ? k : pick_type(s, F32(b, t, w)), HL_NONE};
    hl_attrs a = attrs_of(HL_OP_ID_attention);
    a.v[0].i = heads;
    a.v[2].i = chance(s, 50);
    a.v[3].i = below(s, s->smooth ? 2 : 4);
    a.v[6].f = chance(s, 50) ? 0.2 : 0;
    if (chance(s, 40))
        in[3] = hl_graph_input(s->g, "mask", hl_type_make(HL_DTYPE_BOOL, 2, (int64_t[]){b, t}));
    call(s, HL_OP_ID_attention, in, in[3] == HL_NONE ? 3 : 4, &a);
}

/* --- tables and losses --- */

static hl_id table(sketch *s)
{
    for (size_t v = 0; v < s->g->values.n; v++)
        if (s->g->values.at[v].name && strcmp(s->g->values.at[v].name, "table") == 0)
            return (hl_id)v;
    hl_id v = hl_graph_state(s->g, "table", F32(CLASSES, WIDTH));
    (void)!hl_vec_push(&s->states, v);
    return v;
}

static hl_id whole_numbers(sketch *s, const char *suffix, int rank, const int64_t *dim)
{
    char name[24];
    snprintf(name, sizeof name, "k%zu<%d%s", s->g->values.n, CLASSES, suffix);
    return hl_graph_input(s->g, name, hl_type_make(HL_DTYPE_I32, rank, dim));
}

static void step_embedding(sketch *s)
{
    const hl_type t = random_type(s, 0, 2);
    hl_id rows = table(s), in[2] = {rows, whole_numbers(s, "", t.rank, t.dim)};
    hl_attrs a = attrs_of(HL_OP_ID_embedding);
    a.v[0].i = chance(s, 20) ? 2 : -1;
    call(s, HL_OP_ID_embedding, in, 2, &a);
}

static void step_cross_entropy(sketch *s)
{
    hl_id x = pick_rank(s, 1, 3);
    const hl_type t = type_of(s, x);
    if (last_size(s, x) < CLASSES)
        return;
    hl_id in[2] = {x, whole_numbers(s, "!", t.rank - 1, t.dim)};
    call(s, HL_OP_ID_cross_entropy, in, 2, NULL);
}

static hl_id lm_loss(sketch *s)
{
    hl_id h = pick_rank(s, 1, 3);
    if (last_size(s, h) != WIDTH) {
        hl_id in[2] = {h, leaf(s, F32(WIDTH, last_size(s, h)))};
        h = call(s, HL_OP_ID_linear, in, 2, NULL);
    }
    if (h == HL_NONE)
        return h;
    const hl_type t = type_of(s, h);
    hl_id rows = table(s), bias = HL_NONE;
    if (chance(s, 50))
        bias = pick_type(s, F32(CLASSES));
    hl_id in[4] = {h, rows, bias, whole_numbers(s, "!", t.rank - 1, t.dim)};
    return call(s, HL_OP_ID_lm_loss, in, 4, NULL);
}

static void step_lm_loss(sketch *s)
{
    lm_loss(s);
}

static void step_global_norm(sketch *s)
{
    hl_id x = sketch_pick(s), y = sketch_pick(s), in[3] = {x, y, sketch_pick(s)};
    hl_attrs a = attrs_of(HL_OP_ID_global_norm);
    a.v[0].i = below(s, 2);
    if (!s->smooth)
        call(s, HL_OP_ID_global_norm, in, 1 + (int)below(s, 3), &a);
}

static void step_moments(sketch *s)
{
    hl_id x = sketch_pick(s);
    hl_attrs a = attrs_of(HL_OP_ID_moments);
    a.v[0].i = below(s, (uint32_t)type_of(s, x).rank + 1);
    a.v[1].i = chance(s, 50);
    if (!s->smooth)
        call(s, HL_OP_ID_moments, &x, 1, &a);
}

typedef void (*step_fn)(sketch *s);
static const step_fn steps[] = {
    step_ew1,           step_ew1,      step_ew1,           step_ew2,       step_ew2,
    step_ew2,           step_ew2,      step_where,         step_cast,      step_reshape,
    step_reshape,       step_expand,   step_permute,       step_part,      step_cat,
    step_reduce,        step_reduce,   step_create,        step_matmul,    step_addend,
    step_addend,        step_linear,   step_normalise,     step_dropout,   step_layernorm,
    step_residual,      step_residual, step_residual_norm, step_attention, step_embedding,
    step_cross_entropy, step_lm_loss,  step_global_norm,   step_moments};

hl_status sketch_new(uint64_t seed, int n_calls, bool smooth, bool empty, sketch *out)
{
    *out = (sketch){.smooth = smooth, .empty = empty, .rng = hl_rng_make(seed, HL_RNG_TEST, 77, 0)};
    hl_status st = hl_graph_new(&out->g);
    if (st != HL_OK)
        return st;
    leaf(out, random_type(out, 1, 3));
    for (int i = 0; i < 20 * n_calls && (int)out->g->nodes.n < n_calls; i++)
        steps[below(out, sizeof steps / sizeof steps[0])](out);
    return out->g->status;
}

void sketch_free(sketch *s)
{
    hl_graph_free(s->g);
    hl_vec_done(&s->floats);
    hl_vec_done(&s->states);
}

hl_id sketch_loss(sketch *s, bool head)
{
    hl_id total = HL_NONE;
    for (int k = 0; k < 5; k++) {
        hl_id v =
            s->floats
                .at[s->floats.n - 1 - below(s, (uint32_t)(s->floats.n < 12 ? s->floats.n : 12))];
        const hl_type t = type_of(s, v);
        const double n = (double)hl_type_count(&t);
        hl_id part = hl_g_scale(s->g, hl_g_sum(s->g, hl_g_op1(s->g, HL_OP_ID_tanh, v), 0, false),
                                1 / (n > 0 ? n : 1));
        total = total == HL_NONE ? part : hl_g_add(s->g, total, part);
    }
    hl_id l = head ? lm_loss(s) : HL_NONE;
    if (l == HL_NONE)
        return total;
    return hl_g_add(s->g, total, chance(s, 50) ? l : hl_g_scale(s->g, l, 0.5));
}
