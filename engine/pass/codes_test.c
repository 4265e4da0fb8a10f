/* Codes from layer to layer: the same bits as numbers, and none of them decoded without need. */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/exec/trial_test.h"
#include "engine/pass/pass.h"
#include "engine/pass/quantize.h"

static hl_type type_of(hl_dtype t, int rank, int64_t a, int64_t b, int64_t c)
{
    const int64_t dim[3] = {a, b, c};
    return hl_type_make(t, rank, dim);
}

/* Of a range from 0 to 1 that has been seen, as all of its numbers are 1. */
static hl_id range(hl_graph *g, const char *name)
{
    return hl_graph_state(g, name, type_of(HL_DTYPE_F64, 1, HL_QUANT_RANGE_FIELDS, 0, 0));
}

static hl_id layer(hl_graph *g, hl_id x, hl_id of_x, int bits, int64_t n, hl_id of_y)
{
    const hl_type *t = hl_graph_type(g, x);
    const hl_id in[6] = {x,
                         of_x,
                         hl_graph_state(g, "w", type_of(HL_DTYPE_I8, 2, n, t->dim[t->rank - 1], 0)),
                         hl_graph_state(g, "1", type_of(HL_DTYPE_F32, 1, 1, 0, 0)),
                         HL_NONE,
                         of_y};
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_linear_int8));
    a.v[0].i = bits; /* of x */
    a.v[3].i = 4;    /* of the result */
    return hl_graph_append(g, hl_op_get(HL_OP_ID_linear_int8), in, 6, &a);
}

static int count_decoded(const hl_graph *g, hl_id *outs, int n)
{
    hl_graph *needed;
    hl_id *map = hl_alloc((g->values.n + 1) * sizeof *map);
    cr_assert_eq(hl_graph_extract(g, outs, n, &needed, map), HL_OK);
    const int count = count_op(needed, HL_OP_ID_quant_decode);
    hl_graph_free(needed);
    hl_free(map);
    return count;
}

Test(codes, the_same_bits)
{
    hl_graph *g, *to;
    results a, b;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    const hl_id r[5] = {range(g, "1a"), range(g, "1b"), range(g, "1c"), range(g, "1d"),
                        range(g, "1e")};
    const hl_id in[2] = {hl_graph_input(g, "x", type_of(HL_DTYPE_F32, 3, 2, 5, 8)), r[0]};
    const hl_id x = hl_graph_append(g, hl_op_get(HL_OP_ID_fake_quant), in, 2, NULL);
    const hl_id q = layer(g, x, r[0], 8, 6, r[1]);
    hl_attrs attrs = hl_op_defaults(hl_op_get(HL_OP_ID_attention_quant));
    attrs.v[0].i = 2; /* heads */
    attrs.v[6].i = 4; /* bits */
    const hl_id qkv[10] = {q, q, q, r[2], r[3], HL_NONE, r[4], r[1], r[1], r[1]};
    const hl_id o = hl_graph_append(g, hl_op_get(HL_OP_ID_attention_quant), qkv, 10, &attrs);
    const hl_id y = layer(g, o, r[4], 4, 3, HL_NONE);
    cr_assert_eq(g->status, HL_OK, "%s", hl_err_message());
    for (int n = 1; n <= 3; n++) { /* the result, and what is watched of the way there */
        const hl_id outs[3] = {y, q, x};
        hl_id moved[3] = {y, q, x};
        hl_id *map = hl_alloc((g->values.n + 1) * sizeof *map);
        cr_assert_eq(hl_pass_codes(g, moved, n, &to, map), HL_OK, "%s", hl_err_message());
        cr_expect_eq(hl_graph_check(to), HL_OK, "%s", hl_err_message());
        cr_expect_eq(count_op(to, HL_OP_ID_quant_encode), 1);
        cr_expect_eq(count_op(to, HL_OP_ID_fake_quant), 0);
        cr_expect_eq(count_decoded(to, moved, n), n - 1);
        cr_assert_eq(evaluate(g, outs, n, false, &a), HL_OK, "%s", hl_err_message());
        cr_assert_eq(evaluate(to, moved, n, false, &b), HL_OK, "%s", hl_err_message());
        for (int i = 0; i < n; i++)
            cr_expect(a.count[i] == b.count[i] &&
                          memcmp(a.value[i], b.value[i], (size_t)a.count[i] * sizeof(double)) == 0,
                      "output %d of %d has other bits", i, n);
        results_free(&a);
        results_free(&b);
        hl_graph_free(to);
        hl_free(map);
    }
    hl_graph_free(g);
}
