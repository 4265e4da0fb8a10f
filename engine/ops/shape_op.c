/* Operations that move numbers without changing them: reshape, expand, permute, slice, pad, cat.
 * Element sizes of 1, 4 and 8 bytes; the same code serves floats, doubles and integers. */
#include "engine/ops/op_common.h"

/* A copy between two strided boxes of the same sizes. Strides in elements. */
typedef struct box {
    int rank;
    int64_t dim[HL_MAX_RANK], from[HL_MAX_RANK], to[HL_MAX_RANK];
} box;

static void strides_of(const hl_type *t, int64_t s[HL_MAX_RANK])
{
    int64_t n = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        s[i] = n;
        n *= t->dim[i];
    }
}

static int64_t box_rows(const box *b)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < b->rank; i++)
        n *= b->dim[i];
    return n;
}

typedef struct copy_job {
    box b;
    const unsigned char *from;
    unsigned char *to;
    size_t size;
} copy_job;

static void copy_run(const unsigned char *from, int64_t from_step, unsigned char *to,
                     int64_t to_step, int64_t n, size_t size)
{
    if (from_step == 1 && to_step == 1) {
        memcpy(to, from, (size_t)n * size);
    } else if (size == 4) {
        const uint32_t *a = (const void *)from;
        uint32_t *b = (void *)to;
        for (int64_t i = 0; i < n; i++)
            b[i * to_step] = a[i * from_step];
    } else if (size == 8) {
        const uint64_t *a = (const void *)from;
        uint64_t *b = (void *)to;
        for (int64_t i = 0; i < n; i++)
            b[i * to_step] = a[i * from_step];
    } else {
        for (int64_t i = 0; i < n; i++)
            to[i * to_step] = from[i * from_step];
    }
}

static void copy_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const copy_job *j = arg;
    const box *b = &j->b;
    const int last = b->rank - 1;
    for (int64_t r = begin; r < end; r++) {
        int64_t rest = r, f = 0, t = 0;
        for (int i = last - 1; i >= 0; i--) {
            int64_t k = rest % b->dim[i];
            rest /= b->dim[i];
            f += k * b->from[i];
            t += k * b->to[i];
        }
        copy_run(j->from + f * (int64_t)j->size, b->from[last], j->to + t * (int64_t)j->size,
                 b->to[last], b->dim[last], j->size);
    }
}

/* Copies the box; offsets in elements. */
static void box_copy(const hl_op_run *r, box b, int64_t from0, int64_t to0, const void *from, void *to)
{
    if (b.rank == 0) {
        b.rank = 1;
        b.dim[0] = 1;
        b.from[0] = b.to[0] = 1;
    }
    for (int i = 0; i < b.rank; i++)
        if (b.dim[i] == 0)
            return;
    copy_job j = {.b = b, .size = hl_dtype_bytes(r->call->out[0].dtype)};
    j.from = (const unsigned char *)from + from0 * (int64_t)j.size;
    j.to = (unsigned char *)to + to0 * (int64_t)j.size;
    if (r->exec->gpu) {
        hl_gpu_box g = {.rank = b.rank};
        memcpy(g.dim, b.dim, sizeof b.dim);
        memcpy(g.a, b.from, sizeof b.from);
        memcpy(g.b, b.to, sizeof b.to);
        hl_gpu_get()->copy_box(r->exec->gpu, &g, j.size, j.from, j.to);
        return;
    }
    hl_parallel(r->exec, box_rows(&b), 1, HL_GRAIN / b.dim[b.rank - 1] + 1, copy_rows, &j);
}

/* --- reshape --- */

static hl_status shape_reshape(hl_call *c)
{
    int64_t have = hl_type_count(&c->in[0]), want = 1;
    int open = -1;
    hl_type *out = &c->out[0];
    *out = hl_type_make(c->in[0].dtype, (int)c->attrs.n_dims, c->attrs.dims);
    for (int i = 0; i < out->rank; i++) {
        if (out->dim[i] == -1 && open < 0)
            open = i;
        else if (out->dim[i] < 0)
            return hl_err_set(HL_E_SHAPE, "size %lld of dimension %d", (long long)out->dim[i],
                              i + 1);
        else if (__builtin_mul_overflow(want, out->dim[i], &want))
            return hl_err_set(HL_E_SHAPE, "the shape is too large");
    }
    if (open >= 0 && want > 0 && have % want == 0) {
        out->dim[open] = have / want;
        want = have;
    }
    char text[96];
    hl_type asked = hl_type_make(out->dtype, (int)c->attrs.n_dims, c->attrs.dims);
    if (want != have)
        return hl_err_set(HL_E_SHAPE, "%lld elements do not make %s", (long long)have,
                          hl_shape_text(text, &asked));
    c->n_out = 1;
    for (int i = 0; i < out->rank; i++)
        c->attrs.dims[i] = out->dim[i];
    return HL_OK;
}

static hl_status run_reshape(const hl_op_run *r)
{
    if (r->out[0] != r->in[0])
        memcpy(r->out[0], r->in[0], hl_type_bytes(&r->call->out[0]));
    return HL_OK;
}

static hl_status vjp_reshape(hl_vjp *v)
{
    v->grad_in[0] = hl_g_reshape_like(v->g, v->grad_out[0], v->in[0]);
    return v->g->status;
}

static const hl_case cases_reshape[] = {
    {.what = "split", HL_INS(HL_NORMAL(6, 4)), .dims = {2, 3, 4}, .n_dims = 3},
    {.what = "open size", HL_INS(HL_NORMAL(6, 4)), .dims = {-1, 8}, .n_dims = 2},
    {.what = "to a vector", HL_INS(HL_NORMAL(2, 3, 5)), .dims = {30}, .n_dims = 1},
    {.what = "wrong count", HL_INS(HL_NORMAL(5)), .dims = {2, 3}, .n_dims = 2,
     .expect = HL_E_SHAPE},
    {.what = "two open sizes", HL_INS(HL_NORMAL(6)), .dims = {-1, -1}, .n_dims = 2,
     .expect = HL_E_SHAPE},
};
const hl_op hl_op_reshape = {
    .name = "reshape", .doc = "the same numbers in the same order under another shape; one size may "
                              "be -1",
    .ins = "x", .outs = "y", .attr = {{"shape", HL_ATTR_DIMS, 0, 0, 0, NULL}},
    .flags = HL_OP_VIEW, .shape = shape_reshape, .ref = run_reshape, .cpu = run_reshape,
    .vjp = vjp_reshape, HL_CASES(cases_reshape)};

/* --- expand --- */

static hl_status shape_expand(hl_call *c)
{
    const hl_type *x = &c->in[0];
    hl_type *out = &c->out[0];
    *out = hl_type_make(x->dtype, (int)c->attrs.n_dims, c->attrs.dims);
    int lead = out->rank - x->rank;
    if (lead < 0)
        return hl_err_set(HL_E_SHAPE, "has more dimensions than the shape asked for");
    for (int i = 0; i < x->rank; i++)
        if (x->dim[i] != 1 && x->dim[i] != out->dim[lead + i])
            return hl_err_set(HL_E_SHAPE, "size %lld cannot be repeated to %lld",
                              (long long)x->dim[i], (long long)out->dim[lead + i]);
    for (int i = 0; i < out->rank; i++)
        if (out->dim[i] < 0)
            return hl_err_set(HL_E_SHAPE, "negative size");
    c->n_out = 1;
    return HL_OK;
}

static hl_status run_expand(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[0], *y = &r->call->out[0];
    int64_t s[HL_MAX_RANK];
    strides_of(x, s);
    box b = {.rank = y->rank};
    int lead = y->rank - x->rank;
    for (int i = 0; i < y->rank; i++) {
        b.dim[i] = y->dim[i];
        b.from[i] = i < lead || x->dim[i - lead] == 1 ? 0 : s[i - lead];
    }
    strides_of(y, b.to);
    box_copy(r, b, 0, 0, r->in[0], r->out[0]);
    return HL_OK;
}

static hl_status vjp_expand(hl_vjp *v)
{
    v->grad_in[0] = hl_g_sum_to(v->g, v->grad_out[0], v->in[0]);
    return v->g->status;
}

static const hl_case cases_expand[] = {
    {.what = "rows", HL_INS(HL_NORMAL(5)), .dims = {3, 5}, .n_dims = 2},
    {.what = "columns", HL_INS(HL_NORMAL(3, 1)), .dims = {3, 33}, .n_dims = 2},
    {.what = "scalar", HL_INS(HL_SCALAR(2)), .dims = {4, 4}, .n_dims = 2},
    {.what = "middle", HL_INS(HL_NORMAL(2, 1, 3)), .dims = {2, 4, 3}, .n_dims = 3},
    {.what = "not repeatable", HL_INS(HL_NORMAL(3)), .dims = {4}, .n_dims = 1,
     .expect = HL_E_SHAPE},
};
const hl_op hl_op_expand = {
    .name = "expand", .doc = "repeat dimensions of size 1 (and missing leading ones) to a shape",
    .ins = "x", .outs = "y", .attr = {{"shape", HL_ATTR_DIMS, 0, 0, 0, NULL}},
    .shape = shape_expand, .ref = run_expand, .cpu = run_expand, .gpu = run_expand, .vjp = vjp_expand,
    HL_CASES(cases_expand)};

/* --- permute --- */

static hl_status shape_permute(hl_call *c)
{
    const hl_type *x = &c->in[0];
    unsigned seen = 0;
    if (c->attrs.n_dims != x->rank)
        return hl_err_set(HL_E_SHAPE, "%lld axes given for %d dimensions",
                          (long long)c->attrs.n_dims, x->rank);
    c->out[0] = *x;
    for (int i = 0; i < x->rank; i++) {
        int64_t a = c->attrs.dims[i];
        if (a < 0 || a >= x->rank || (seen & (1u << a)))
            return hl_err_set(HL_E_ARG, "the axes must be each of the %d dimensions once", x->rank);
        seen |= 1u << a;
        c->out[0].dim[i] = x->dim[a];
    }
    c->n_out = 1;
    return HL_OK;
}

static hl_status run_permute(const hl_op_run *r)
{
    const hl_type *y = &r->call->out[0];
    int64_t s[HL_MAX_RANK];
    strides_of(&r->call->in[0], s);
    box b = {.rank = y->rank};
    for (int i = 0; i < y->rank; i++) {
        b.dim[i] = y->dim[i];
        b.from[i] = s[r->call->attrs.dims[i]];
    }
    strides_of(y, b.to);
    box_copy(r, b, 0, 0, r->in[0], r->out[0]);
    return HL_OK;
}

static hl_status vjp_permute(hl_vjp *v)
{
    hl_attrs back = *v->attrs;
    for (int i = 0; i < back.n_dims; i++)
        back.dims[v->attrs->dims[i]] = i;
    v->grad_in[0] =
        hl_graph_append(v->g, hl_op_get(HL_OP_ID_permute), &v->grad_out[0], 1, &back);
    return v->g->status;
}

static const hl_case cases_permute[] = {
    {.what = "transpose", HL_INS(HL_NORMAL(33, 5)), .dims = {1, 0}, .n_dims = 2},
    {.what = "heads", HL_INS(HL_NORMAL(2, 5, 3, 4)), .dims = {0, 2, 1, 3}, .n_dims = 4},
    {.what = "nothing", HL_INS(HL_NORMAL(2, 5)), .dims = {0, 1}, .n_dims = 2},
    {.what = "axis twice", HL_INS(HL_NORMAL(2, 5)), .dims = {0, 0}, .n_dims = 2,
     .expect = HL_E_ARG},
    {.what = "too few axes", HL_INS(HL_NORMAL(2, 5)), .dims = {0}, .n_dims = 1,
     .expect = HL_E_SHAPE},
};
const hl_op hl_op_permute = {
    .name = "permute", .doc = "reorder the dimensions: y's i-th is x's axes[i]-th",
    .ins = "x", .outs = "y", .attr = {{"axes", HL_ATTR_DIMS, 0, 0, 0, NULL}},
    .shape = shape_permute, .ref = run_permute, .cpu = run_permute, .gpu = run_permute, .vjp = vjp_permute,
    HL_CASES(cases_permute)};

/* --- slice and pad: parts of one axis; each is the other's derivative --- */

static hl_status check_axis(const hl_call *c, int attr, int *axis)
{
    int64_t a = c->attrs.v[attr].i;
    int rank = c->in[0].rank;
    if (a < -rank || a >= rank)
        return hl_err_set(HL_E_ARG, "no dimension %lld in %d",
                          (long long)(a < 0 || a == INT64_MAX ? a : a + 1), rank);
    *axis = (int)(a < 0 ? a + rank : a);
    return HL_OK;
}

static hl_status shape_slice(hl_call *c)
{
    int axis = 0;
    hl_status st = check_axis(c, 0, &axis);
    if (st != HL_OK)
        return st;
    int64_t begin = c->attrs.v[1].i, n = c->attrs.v[2].i;
    if (begin < 0 || n < 0 || begin > c->in[0].dim[axis] || n > c->in[0].dim[axis] - begin)
        return hl_err_set(HL_E_SHAPE, "%lld elements from position %lld of a dimension of size %lld",
                          (long long)n, (long long)(begin < INT64_MAX ? begin + 1 : begin),
                          (long long)c->in[0].dim[axis]);
    hl_out_like(c, 0, 0);
    c->out[0].dim[axis] = n;
    c->attrs.v[0].i = axis;
    return HL_OK;
}

/* Copies x into y where the smaller one lies `begin` into the larger along `axis`. */
static void shift_copy(const hl_op_run *r, const hl_type *from, const hl_type *to, int64_t from0,
                       int64_t to0, const void *x)
{
    const hl_type *size = hl_type_count(from) < hl_type_count(to) ? from : to;
    box b = {.rank = size->rank};
    for (int i = 0; i < size->rank; i++)
        b.dim[i] = size->dim[i];
    strides_of(from, b.from);
    strides_of(to, b.to);
    box_copy(r, b, from0, to0, x, r->out[0]);
}

static hl_status run_slice(const hl_op_run *r)
{
    const hl_call *c = r->call;
    int64_t s[HL_MAX_RANK];
    strides_of(&c->in[0], s);
    shift_copy(r, &c->in[0], &c->out[0], c->attrs.v[1].i * s[c->attrs.v[0].i], 0, r->in[0]);
    return HL_OK;
}

static hl_status vjp_slice(hl_vjp *v)
{
    const hl_type x = *hl_graph_type(v->g, v->in[0]);
    int64_t axis = v->attrs->v[0].i, begin = v->attrs->v[1].i, n = v->attrs->v[2].i;
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_pad));
    a.v[0].i = axis;
    a.v[1].i = begin;
    a.v[2].i = x.dim[axis] - begin - n;
    v->grad_in[0] = hl_graph_append(v->g, hl_op_get(HL_OP_ID_pad), &v->grad_out[0], 1, &a);
    return v->g->status;
}

static const hl_case cases_slice[] = {
    {.what = "rows", HL_INS(HL_NORMAL(7, 5)), .attr = {0, 2, 3}, .attr_given = 7},
    {.what = "columns", HL_INS(HL_NORMAL(7, 5)), .attr = {-1, 1, 2}, .attr_given = 7},
    {.what = "middle", HL_INS(HL_NORMAL(2, 7, 5)), .attr = {1, 0, 7}, .attr_given = 7},
    {.what = "nothing", HL_INS(HL_NORMAL(7)), .attr = {0, 7, 0}, .attr_given = 7},
    {.what = "past the end", HL_INS(HL_NORMAL(7)), .attr = {0, 5, 3}, .attr_given = 7,
     .expect = HL_E_SHAPE},
    {.what = "past all numbers", HL_INS(HL_NORMAL(7)), .attr = {0, 9223372036854774784.0, 1024},
     .attr_given = 7, .expect = HL_E_SHAPE},
    {.what = "no such dimension", HL_INS(HL_NORMAL(7)), .attr = {1, 0, 1}, .attr_given = 7,
     .expect = HL_E_ARG},
};
const hl_op hl_op_slice = {
    .name = "slice", .doc = "n positions from `begin` (0-based) of one dimension",
    .ins = "x", .outs = "y",
    .attr = {{"axis", HL_ATTR_AXIS, 0, 0, 0, NULL},
             {"begin", HL_ATTR_INT, 0, 0, 0, NULL},
             {"n", HL_ATTR_INT, 0, 0, 0, NULL}},
    .shape = shape_slice, .ref = run_slice, .cpu = run_slice, .gpu = run_slice, .vjp = vjp_slice,
    HL_CASES(cases_slice)};

static hl_status shape_pad(hl_call *c)
{
    int axis = 0;
    hl_status st = check_axis(c, 0, &axis);
    if (st != HL_OK)
        return st;
    if (c->attrs.v[1].i < 0 || c->attrs.v[2].i < 0)
        return hl_err_set(HL_E_ARG, "negative padding");
    hl_out_like(c, 0, 0);
    int64_t *size = &c->out[0].dim[axis];
    if (__builtin_add_overflow(*size, c->attrs.v[1].i, size) ||
        __builtin_add_overflow(*size, c->attrs.v[2].i, size))
        return hl_err_set(HL_E_SHAPE, "the result is too large");
    c->attrs.v[0].i = axis;
    return HL_OK;
}

static hl_status run_pad(const hl_op_run *r)
{
    const hl_call *c = r->call;
    int64_t s[HL_MAX_RANK];
    strides_of(&c->out[0], s);
    hl_clear(r, r->out[0], hl_type_bytes(&c->out[0]));
    shift_copy(r, &c->in[0], &c->out[0], 0, c->attrs.v[1].i * s[c->attrs.v[0].i], r->in[0]);
    return HL_OK;
}

static hl_status vjp_pad(hl_vjp *v)
{
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_slice));
    a.v[0].i = v->attrs->v[0].i;
    a.v[1].i = v->attrs->v[1].i;
    a.v[2].i = hl_graph_type(v->g, v->in[0])->dim[a.v[0].i];
    v->grad_in[0] = hl_graph_append(v->g, hl_op_get(HL_OP_ID_slice), &v->grad_out[0], 1, &a);
    return v->g->status;
}

static const hl_case cases_pad[] = {
    {.what = "rows", HL_INS(HL_NORMAL(3, 5)), .attr = {0, 2, 1}, .attr_given = 7},
    {.what = "columns", HL_INS(HL_NORMAL(3, 5)), .attr = {1, 0, 3}, .attr_given = 7},
    {.what = "negative", HL_INS(HL_NORMAL(3, 5)), .attr = {1, -1, 3}, .attr_given = 7,
     .expect = HL_E_ARG},
    {.what = "around all numbers", HL_INS(HL_NORMAL(5000)),
     .attr = {0, 9223372036854774784.0, 9223372036854774784.0}, .attr_given = 7,
     .expect = HL_E_SHAPE},
};
const hl_op hl_op_pad = {
    .name = "pad", .doc = "zeros before and after along one dimension",
    .ins = "x", .outs = "y",
    .attr = {{"axis", HL_ATTR_AXIS, 0, 0, 0, NULL},
             {"before", HL_ATTR_INT, 0, 0, 0, NULL},
             {"after", HL_ATTR_INT, 0, 0, 0, NULL}},
    .shape = shape_pad, .ref = run_pad, .cpu = run_pad, .gpu = run_pad, .vjp = vjp_pad, HL_CASES(cases_pad)};

/* --- cat --- */

static hl_status shape_cat(hl_call *c)
{
    if (c->n_in < 1)
        return hl_err_set(HL_E_ARG, "needs at least one tensor");
    int axis = 0;
    hl_status st = check_axis(c, 0, &axis);
    if (st != HL_OK)
        return st;
    hl_out_like(c, 0, 0);
    for (int k = 1; k < c->n_in; k++) {
        bool fits = c->in[k].rank == c->in[0].rank && c->in[k].dtype == c->in[0].dtype;
        for (int i = 0; fits && i < c->in[0].rank; i++)
            fits = i == axis || c->in[k].dim[i] == c->in[0].dim[i];
        if (!fits)
            return hl_err_set(HL_E_SHAPE, "tensor %d does not fit the first outside dimension %d",
                              k + 1, axis + 1);
        c->out[0].dim[axis] += c->in[k].dim[axis];
    }
    c->attrs.v[0].i = axis;
    return HL_OK;
}

static hl_status run_cat(const hl_op_run *r)
{
    const hl_call *c = r->call;
    int64_t s[HL_MAX_RANK], at = 0;
    int axis = (int)c->attrs.v[0].i;
    strides_of(&c->out[0], s);
    for (int k = 0; k < c->n_in; k++) {
        shift_copy(r, &c->in[k], &c->out[0], 0, at * s[axis], r->in[k]);
        at += c->in[k].dim[axis];
    }
    return HL_OK;
}

static hl_status vjp_cat(hl_vjp *v)
{
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_slice));
    a.v[0].i = v->attrs->v[0].i;
    for (int k = 0; k < v->n_in; k++) {
        a.v[2].i = hl_graph_type(v->g, v->in[k])->dim[a.v[0].i];
        if (v->needed[k])
            v->grad_in[k] =
                hl_graph_append(v->g, hl_op_get(HL_OP_ID_slice), &v->grad_out[0], 1, &a);
        a.v[1].i += a.v[2].i;
    }
    return v->g->status;
}

static const hl_case cases_cat[] = {
    {.what = "rows", HL_INS(HL_NORMAL(2, 5), HL_NORMAL(3, 5)), .attr = {0}, .attr_given = 1},
    {.what = "columns", HL_INS(HL_NORMAL(4, 2), HL_NORMAL(4, 1), HL_NORMAL(4, 3)), .attr = {-1},
     .attr_given = 1},
    {.what = "one", HL_INS(HL_NORMAL(4, 2)), .attr = {0}, .attr_given = 1},
    {.what = "sizes that do not fit", HL_INS(HL_NORMAL(2, 5), HL_NORMAL(3, 4)), .attr = {0},
     .attr_given = 1, .expect = HL_E_SHAPE},
};
const hl_op hl_op_cat = {
    .name = "cat", .doc = "tensors one after another along one dimension",
    .ins = "x*", .outs = "y", .attr = {{"axis", HL_ATTR_AXIS, 0, 0, 0, NULL}},
    .shape = shape_cat, .ref = run_cat, .cpu = run_cat, .gpu = run_cat, .vjp = vjp_cat, HL_CASES(cases_cat)};
