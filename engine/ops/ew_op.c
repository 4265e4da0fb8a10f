/* Elementwise operations: rows expanded from kernels/ew/hl_ew.def, with broadcasting for two
 * operands (trailing dimensions align, a size of 1 repeats). */
#include "engine/ops/op_common.h"
#include "kernels/ew/cast_body.h"

/* --- broadcasting --- */

/* Dimensions of the result with neighbours merged where both operands allow; strides in elements,
 * 0 where an operand repeats. */
typedef struct broadcast {
    int rank; /* >= 1 */
    int64_t dim[HL_MAX_RANK], a[HL_MAX_RANK], b[HL_MAX_RANK];
} broadcast;

static int64_t size_at(const hl_type *t, int rank, int i)
{
    int k = i - (rank - t->rank);
    return k < 0 ? 1 : t->dim[k];
}

static broadcast broadcast_make(const hl_type *out, const hl_type *a, const hl_type *b)
{
    broadcast m = {.rank = 1, .dim = {1}};
    int64_t sa = 1, sb = 1;
    int top = HL_MAX_RANK; /* built from the innermost outwards at the end of the arrays */
    int64_t dim[HL_MAX_RANK + 1], da[HL_MAX_RANK + 1], db[HL_MAX_RANK + 1];
    for (int i = out->rank - 1; i >= 0; i--) {
        int64_t n = out->dim[i], na = size_at(a, out->rank, i), nb = size_at(b, out->rank, i);
        int64_t ta = na == 1 ? 0 : sa, tb = nb == 1 ? 0 : sb;
        sa *= na;
        sb *= nb;
        if (n == 1)
            continue;
        if (top < HL_MAX_RANK && ta == da[top] * dim[top] && tb == db[top] * dim[top]) {
            dim[top] *= n;
            continue;
        }
        top--;
        dim[top] = n;
        da[top] = ta;
        db[top] = tb;
    }
    if (top == HL_MAX_RANK)
        return m;
    m.rank = HL_MAX_RANK - top;
    for (int i = 0; i < m.rank; i++) {
        m.dim[i] = dim[top + i];
        m.a[i] = da[top + i];
        m.b[i] = db[top + i];
    }
    return m;
}

/* Offsets into a and b of row r (all dimensions but the last). */
static void broadcast_row(const broadcast *m, int64_t r, int64_t *a, int64_t *b)
{
    *a = *b = 0;
    for (int i = m->rank - 2; i >= 0; i--) {
        int64_t k = r % m->dim[i];
        r /= m->dim[i];
        *a += k * m->a[i];
        *b += k * m->b[i];
    }
}

static hl_status shape_broadcast(hl_call *c)
{
    const hl_type *a = &c->in[0], *b = &c->in[1];
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_float(c, 1);
    if (st != HL_OK)
        return st;
    if (a->dtype != b->dtype)
        return hl_err_set(HL_E_DTYPE, "element types %s and %s differ", hl_dtype_name(a->dtype),
                          hl_dtype_name(b->dtype));
    hl_type *out = &c->out[0];
    *out = (hl_type){.dtype = a->dtype, .rank = a->rank > b->rank ? a->rank : b->rank};
    for (int i = 0; i < out->rank; i++) {
        int64_t na = size_at(a, out->rank, i), nb = size_at(b, out->rank, i);
        if (na != nb && na != 1 && nb != 1)
            return hl_err_set(HL_E_SHAPE, "sizes %lld and %lld of dimension %d do not fit",
                              (long long)na, (long long)nb, i + 1);
        out->dim[i] = na == 1 ? nb : na;
    }
    c->n_out = 1;
    return HL_OK;
}

/* Floats, or bf16. */
typedef struct operand {
    const float *x;
    const hl_bf16 *x16;
} operand;

typedef struct ew2_job {
    operand a, b;
    float *y;
    hl_bf16 *y16; /* or this */
    hl_ew2_id op;
    broadcast m;
} ew2_job;

static hl_ew2_form form_of(const broadcast *m)
{
    int last = m->rank - 1;
    return m->a[last] && m->b[last] ? HL_EW2_VV : m->b[last] ? HL_EW2_SV : HL_EW2_VS;
}

enum { SPAN = 512 };

/* n numbers from `at` on, in room if they have to be widened. */
static const float *floats_of(const operand *o, int64_t at, int64_t n, float room[SPAN])
{
    if (!o->x16)
        return o->x + at;
    hl_cpu()->from_bf16(n, o->x16 + at, room);
    return room;
}

/* n results at y, of operands at a and b; those that are bf16 by way of rooms that stay in L1. */
static void ew2_span(const ew2_job *j, hl_ew2_form form, int64_t n, int64_t a, int64_t b, int64_t y)
{
    if (!j->a.x16 && !j->b.x16 && !j->y16) {
        hl_cpu()->ew2(j->op, form, n, j->a.x + a, j->b.x + b, j->y + y);
        return;
    }
    float room[3][SPAN];
    for (int64_t at = 0; at < n; at += SPAN) {
        const int64_t some = n - at < SPAN ? n - at : SPAN;
        const bool va = form != HL_EW2_SV, vb = form != HL_EW2_VS;
        const float *p = floats_of(&j->a, va ? a + at : a, va ? some : 1, room[0]);
        const float *q = floats_of(&j->b, vb ? b + at : b, vb ? some : 1, room[1]);
        hl_cpu()->ew2(j->op, form, some, p, q, j->y16 ? room[2] : j->y + y + at);
        if (j->y16)
            hl_cpu()->to_bf16(some, room[2], j->y16 + y + at);
    }
}

static void ew2_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const ew2_job *j = arg;
    const int64_t n = j->m.dim[j->m.rank - 1];
    for (int64_t r = begin; r < end; r++) {
        int64_t a, b;
        broadcast_row(&j->m, r, &a, &b);
        ew2_span(j, form_of(&j->m), n, a, b, r * n);
    }
}

static void ew2_flat(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const ew2_job *j = arg;
    ew2_span(j, form_of(&j->m), end - begin, j->m.a[0] ? begin : 0, j->m.b[0] ? begin : 0, begin);
}

static hl_status cpu_ew2(const hl_op_run *r, hl_ew2_id op)
{
    const hl_call *c = r->call;
    ew2_job j = {.a = {hl_in_f(r, 0), hl_in_bf16(r, 0)},
                 .b = {hl_in_f(r, 1), hl_in_bf16(r, 1)},
                 .y = hl_out_f(r, 0),
                 .y16 = hl_out_bf16(r, 0),
                 .op = op,
                 .m = broadcast_make(&c->out[0], &c->in[0], &c->in[1])};
    int64_t n = hl_type_count(&c->out[0]);
    if (n == 0)
        return HL_OK;
    if (j.m.rank == 1)
        hl_parallel(r->exec, n, 16, HL_GRAIN, ew2_flat, &j);
    else
        hl_parallel(r->exec, n / j.m.dim[j.m.rank - 1], 1,
                    HL_GRAIN / j.m.dim[j.m.rank - 1] + 1, ew2_rows, &j);
    return HL_OK;
}

static hl_status gpu_ew2(const hl_op_run *r, hl_ew2_id op)
{
    const hl_call *c = r->call;
    const broadcast m = broadcast_make(&c->out[0], &c->in[0], &c->in[1]);
    hl_gpu_box box = {.rank = m.rank};
    memcpy(box.dim, m.dim, sizeof m.dim);
    memcpy(box.a, m.a, sizeof m.a);
    memcpy(box.b, m.b, sizeof m.b);
    if (hl_type_count(&c->out[0]))
        hl_gpu_get()->ew2(r->exec->gpu, op, &box, hl_in_f(r, 0), hl_in_f(r, 1), hl_out_f(r, 0));
    return HL_OK;
}

static hl_status ref_ew2(const hl_op_run *r, double (*f)(double, double))
{
    const hl_call *c = r->call;
    broadcast m = broadcast_make(&c->out[0], &c->in[0], &c->in[1]);
    const int last = m.rank - 1;
    const int64_t count = hl_type_count(&c->out[0]);
    for (int64_t i = 0; i < count; i++) {
        int64_t a, b, k = i % m.dim[last];
        broadcast_row(&m, i / m.dim[last], &a, &b);
        hl_out_d(r, 0)[i] = f(hl_in_d(r, 0)[a + k * m.a[last]], hl_in_d(r, 1)[b + k * m.b[last]]);
    }
    return HL_OK;
}

/* --- one operand --- */

static hl_status shape_same(hl_call *c)
{
    hl_out_like(c, 0, 0);
    return hl_want_float(c, 0);
}

typedef struct ew1_job {
    const float *x;
    float *y;
    hl_ew1_id op;
} ew1_job;

static void ew1_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const ew1_job *j = arg;
    hl_cpu()->ew1(j->op, end - begin, j->x + begin, j->y + begin);
}

static hl_status cpu_ew1(const hl_op_run *r, hl_ew1_id op)
{
    ew1_job j = {hl_in_f(r, 0), hl_out_f(r, 0), op};
    hl_parallel(r->exec, hl_type_count(&r->call->out[0]), 16, HL_GRAIN, ew1_part, &j);
    return HL_OK;
}

static hl_status ref_ew1(const hl_op_run *r, double (*f)(double))
{
    const int64_t n = hl_type_count(&r->call->out[0]);
    for (int64_t i = 0; i < n; i++)
        hl_out_d(r, 0)[i] = f(hl_in_d(r, 0)[i]);
    return HL_OK;
}

/* --- derivatives, all of differentiable nodes --- */

#define X  (v->in[0])
#define Y  (v->out[0])
#define DY (v->grad_out[0])

static hl_id num(hl_vjp *v, double x)
{
    return hl_graph_const(v->g, x);
}

/* grad_in[0] = DY * slope */
static hl_status times(hl_vjp *v, hl_id slope)
{
    v->grad_in[0] = hl_g_mul(v->g, DY, slope);
    return v->g->status;
}

static hl_status vjp_neg(hl_vjp *v)
{
    v->grad_in[0] = hl_g_neg(v->g, DY);
    return v->g->status;
}
static hl_status vjp_abs(hl_vjp *v)
{
    return times(v, hl_g_sub(v->g, num(v, 1),
                             hl_g_scale(v->g, hl_g_op2(v->g, HL_OP_ID_lt, X, num(v, 0)), 2)));
}
static hl_status vjp_square(hl_vjp *v)
{
    return times(v, hl_g_scale(v->g, X, 2));
}
static hl_status vjp_sqrt(hl_vjp *v)
{
    return times(v, hl_g_div(v->g, num(v, 0.5), Y));
}
static hl_status vjp_rsqrt(hl_vjp *v)
{
    return times(v, hl_g_scale(v->g, hl_g_mul(v->g, Y, hl_g_op1(v->g, HL_OP_ID_square, Y)), -0.5));
}
static hl_status vjp_reciprocal(hl_vjp *v)
{
    return times(v, hl_g_neg(v->g, hl_g_op1(v->g, HL_OP_ID_square, Y)));
}
static hl_status vjp_exp(hl_vjp *v)
{
    return times(v, Y);
}
static hl_status vjp_log(hl_vjp *v)
{
    v->grad_in[0] = hl_g_div(v->g, DY, X);
    return v->g->status;
}
static hl_status vjp_tanh(hl_vjp *v)
{
    return times(v, hl_g_sub(v->g, num(v, 1), hl_g_op1(v->g, HL_OP_ID_square, Y)));
}
static hl_status vjp_sigmoid(hl_vjp *v)
{
    return times(v, hl_g_mul(v->g, Y, hl_g_sub(v->g, num(v, 1), Y)));
}
/* exp(-x^2 * by) * scale */
static hl_id bell(hl_vjp *v, hl_id x, double by, double scale)
{
    hl_id e = hl_g_op1(v->g, HL_OP_ID_exp, hl_g_scale(v->g, hl_g_op1(v->g, HL_OP_ID_square, x), -by));
    return hl_g_scale(v->g, e, scale);
}
static hl_status vjp_erf(hl_vjp *v)
{
    return times(v, bell(v, X, 1, 1.1283791670955126));
}
static hl_status vjp_relu(hl_vjp *v)
{
    v->grad_in[0] = hl_g_op2(v->g, HL_OP_ID_relu_slope, DY, X);
    return v->g->status;
}
static hl_status vjp_gelu(hl_vjp *v)
{
    v->grad_in[0] = hl_g_op2(v->g, HL_OP_ID_gelu_slope, DY, X);
    return v->g->status;
}
static hl_status vjp_gelu_tanh(hl_vjp *v)
{
    v->grad_in[0] = hl_g_op2(v->g, HL_OP_ID_gelu_tanh_slope, DY, X);
    return v->g->status;
}
/* Piecewise constant: the gradient is zero. */
static hl_status vjp_zero(hl_vjp *v)
{
    (void)v;
    return HL_OK;
}
#define vjp_is_finite vjp_zero
#define vjp_lt        vjp_zero
#define vjp_le        vjp_zero
#define vjp_eq        vjp_zero

/* Gradients ga and gb of the broadcast operands, summed to their shapes. */
static hl_status both(hl_vjp *v, hl_id ga, hl_id gb)
{
    v->grad_in[0] = v->needed[0] ? hl_g_sum_to(v->g, ga, v->in[0]) : HL_NONE;
    v->grad_in[1] = v->needed[1] ? hl_g_sum_to(v->g, gb, v->in[1]) : HL_NONE;
    return v->g->status;
}
#define A    (v->in[0])
#define B    (v->in[1])
#define IF_A(expr) (v->needed[0] ? (expr) : HL_NONE)
#define IF_B(expr) (v->needed[1] ? (expr) : HL_NONE)

static hl_status vjp_add(hl_vjp *v)
{
    return both(v, DY, DY);
}
static hl_status vjp_sub(hl_vjp *v)
{
    return both(v, DY, IF_B(hl_g_neg(v->g, DY)));
}
static hl_status vjp_mul(hl_vjp *v)
{
    return both(v, IF_A(hl_g_mul(v->g, DY, B)), IF_B(hl_g_mul(v->g, DY, A)));
}
static hl_status vjp_div(hl_vjp *v)
{
    return both(v, IF_A(hl_g_div(v->g, DY, B)),
                IF_B(hl_g_neg(v->g, hl_g_div(v->g, hl_g_mul(v->g, DY, Y), B))));
}
static hl_status vjp_pow(hl_vjp *v)
{
    hl_id less = hl_g_op2(v->g, HL_OP_ID_pow, A, hl_g_sub(v->g, B, num(v, 1)));
    return both(v, IF_A(hl_g_mul(v->g, DY, hl_g_mul(v->g, B, less))),
                IF_B(hl_g_mul(v->g, DY, hl_g_mul(v->g, Y, hl_g_op1(v->g, HL_OP_ID_log, A)))));
}
static hl_status vjp_pick(hl_vjp *v, hl_id takes_a)
{
    return both(v, IF_A(hl_g_mul(v->g, DY, takes_a)),
                IF_B(hl_g_mul(v->g, DY, hl_g_sub(v->g, num(v, 1), takes_a))));
}
static hl_status vjp_maximum(hl_vjp *v)
{
    return vjp_pick(v, hl_g_op2(v->g, HL_OP_ID_lt, B, A));
}
static hl_status vjp_minimum(hl_vjp *v)
{
    return vjp_pick(v, hl_g_op2(v->g, HL_OP_ID_lt, A, B));
}
static hl_status vjp_relu_slope(hl_vjp *v)
{
    return both(v, IF_A(hl_g_op2(v->g, HL_OP_ID_relu_slope, DY, B)), HL_NONE);
}
/* gelu''(b) = phi(b) (2 - b^2) */
static hl_status vjp_gelu_slope(hl_vjp *v)
{
    hl_id ga = IF_A(hl_g_op2(v->g, HL_OP_ID_gelu_slope, DY, B)), gb = HL_NONE;
    if (v->needed[1]) {
        hl_id second = hl_g_mul(v->g, bell(v, B, 0.5, 0.3989422804014327),
                                hl_g_sub(v->g, num(v, 2), hl_g_op1(v->g, HL_OP_ID_square, B)));
        gb = hl_g_mul(v->g, hl_g_mul(v->g, DY, A), second);
    }
    return both(v, ga, gb);
}
/* With u = c (b + k b^3), t = tanh u: gelu_tanh'' = (1 - t^2) (u' + b (u''/2 - t u'^2)). */
static hl_status vjp_gelu_tanh_slope(hl_vjp *v)
{
    hl_graph *g = v->g;
    hl_id ga = IF_A(hl_g_op2(g, HL_OP_ID_gelu_tanh_slope, DY, B)), gb = HL_NONE;
    if (v->needed[1]) {
        const double c = 0.7978845608028654, k = 0.044715;
        hl_id b2 = hl_g_op1(g, HL_OP_ID_square, B);
        hl_id u = hl_g_mul(g, B, hl_g_add(g, hl_g_scale(g, b2, c * k), num(v, c)));
        hl_id u1 = hl_g_add(g, hl_g_scale(g, b2, 3 * c * k), num(v, c));
        hl_id t = hl_g_op1(g, HL_OP_ID_tanh, u);
        hl_id flat = hl_g_sub(g, num(v, 1), hl_g_op1(g, HL_OP_ID_square, t));
        hl_id bend = hl_g_sub(g, hl_g_scale(g, B, 3 * c * k),
                              hl_g_mul(g, t, hl_g_op1(g, HL_OP_ID_square, u1)));
        hl_id second = hl_g_mul(g, flat, hl_g_add(g, u1, hl_g_mul(g, B, bend)));
        gb = hl_g_mul(g, hl_g_mul(g, DY, A), second);
    }
    return both(v, ga, gb);
}
#undef X
#undef Y
#undef DY
#undef A
#undef B

static double hl_ref_gelu_tanh_slope(double a, double b)
{
    double c = 0.7978845608028654, t = tanh(c * (b + 0.044715 * b * b * b));
    return a * (0.5 * (1 + t) + 0.5 * b * (1 - t * t) * c * (1 + 3 * 0.044715 * b * b));
}

/* --- the rows --- */

#define HL_EW1(nm, f32, f64, text, l, h, ab)                                                         \
    static double f_##nm(double x)                                                                 \
    {                                                                                              \
        return f64;                                                                                \
    }                                                                                              \
    static hl_status ref_##nm(const hl_op_run *r)                                                     \
    {                                                                                              \
        return ref_ew1(r, f_##nm);                                                                 \
    }                                                                                              \
    static hl_status cpu_##nm(const hl_op_run *r)                                                     \
    {                                                                                              \
        return cpu_ew1(r, HL_EW1_##nm);                                                            \
    }                                                                                              \
    static hl_status gpu_##nm(const hl_op_run *r)                                                     \
    {                                                                                              \
        hl_gpu_get()->ew1(r->exec->gpu, HL_EW1_##nm, hl_type_count(&r->call->out[0]),              \
                          hl_in_f(r, 0), hl_out_f(r, 0));                                          \
        return HL_OK;                                                                              \
    }                                                                                              \
    static const hl_case cases_##nm[] = {                                                          \
        {.what = "vector", HL_INS(HL_RANGE(l, h, 33))},                                            \
        {.what = "matrix", HL_INS(HL_RANGE(l, h, 7, 13))},                                         \
        {.what = "scalar", HL_INS(HL_SCALAR(0.5))},                                                \
        {.what = "empty", HL_INS(HL_RANGE(l, h, 0))},                                              \
        {.what = "long", HL_INS(HL_RANGE(l, h, 1025))},                                            \
        {.what = "integers", HL_INS(HL_INDEX(4, 5)), .expect = HL_E_DTYPE},                        \
    };                                                                                             \
    const hl_op hl_op_##nm = {.name = #nm, .doc = text, .ins = "x", .outs = "y",                   \
                              .flags = HL_OP_ELEMENTWISE, .inplace = 1, .shape = shape_same,       \
                              .ref = ref_##nm, .cpu = cpu_##nm, .gpu = gpu_##nm, .vjp = vjp_##nm, .tol_abs = ab, HL_CASES(cases_##nm)};
#define HL_EW2(nm, f32, f64, text, l, h, ab)                                                       \
    static double f_##nm(double a, double b)                                                       \
    {                                                                                              \
        return f64;                                                                                \
    }                                                                                              \
    static hl_status ref_##nm(const hl_op_run *r)                                                  \
    {                                                                                              \
        return ref_ew2(r, f_##nm);                                                                 \
    }                                                                                              \
    static hl_status cpu_##nm(const hl_op_run *r)                                                  \
    {                                                                                              \
        return cpu_ew2(r, HL_EW2_##nm);                                                            \
    }                                                                                              \
    static hl_status gpu_##nm(const hl_op_run *r)                                                  \
    {                                                                                              \
        return gpu_ew2(r, HL_EW2_##nm);                                                            \
    }                                                                                              \
    static const hl_case cases_##nm[] = {                                                          \
        {.what = "equal shapes", HL_INS(HL_RANGE(l, h, 3, 17), HL_RANGE(l, h, 3, 17))},            \
        {.what = "row", HL_INS(HL_RANGE(l, h, 5, 31), HL_RANGE(l, h, 31))},                        \
        {.what = "column", HL_INS(HL_RANGE(l, h, 5, 1), HL_RANGE(l, h, 5, 32))},                   \
        {.what = "scalar", HL_INS(HL_RANGE(l, h, 97), HL_SCALAR(1.5))},                            \
        {.what = "outer", HL_INS(HL_RANGE(l, h, 4, 1, 3), HL_RANGE(l, h, 1, 6, 1))},               \
        {.what = "middle", HL_INS(HL_RANGE(l, h, 2, 3, 4), HL_RANGE(l, h, 3, 1))},                 \
        {.what = "empty", HL_INS(HL_RANGE(l, h, 0, 3), HL_RANGE(l, h, 3))},                        \
        {.what = "sizes that do not fit",                                                          \
         HL_INS(HL_RANGE(l, h, 3), HL_RANGE(l, h, 4)),                                             \
         .expect = HL_E_SHAPE},                                                                    \
        {.what = "integers", HL_INS(HL_RANGE(l, h, 3), HL_INDEX(4, 3)), .expect = HL_E_DTYPE},     \
    };                                                                                             \
    const hl_op hl_op_##nm = {.name = #nm,                                                         \
                              .doc = text,                                                         \
                              .ins = "a b",                                                        \
                              .outs = "y",                                                         \
                              .flags = HL_OP_ELEMENTWISE,                                          \
                              .inplace = 3,                                                        \
                              .half_ins = 3,                                                       \
                              .half_outs = 1,                                                      \
                              .shape = shape_broadcast,                                            \
                              .ref = ref_##nm,                                                     \
                              .cpu = cpu_##nm,                                                     \
                              .gpu = gpu_##nm,                                                     \
                              .vjp = vjp_##nm,                                                     \
                              .tol_abs = ab,                                                       \
                              HL_CASES(cases_##nm)};
#include "kernels/ew/hl_ew.def"

/* --- where --- */

static hl_status shape_where(hl_call *c)
{
    for (int i = 0; i < 3; i++) {
        hl_status st = hl_want_float(c, i);
        if (st != HL_OK)
            return st;
    }
    if (!hl_type_equal(&c->in[0], &c->in[1]) || !hl_type_equal(&c->in[0], &c->in[2]))
        return hl_err_set(HL_E_SHAPE, "the three inputs must have one shape; use expand");
    hl_out_like(c, 0, 1);
    return HL_OK;
}

typedef struct where_job {
    const float *c, *a, *b;
    float *y;
} where_job;

static void where_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const where_job *j = arg;
    hl_cpu()->select(end - begin, j->c + begin, j->a + begin, j->b + begin, j->y + begin);
}

static hl_status cpu_where(const hl_op_run *r)
{
    where_job j = {hl_in_f(r, 0), hl_in_f(r, 1), hl_in_f(r, 2), hl_out_f(r, 0)};
    hl_parallel(r->exec, hl_type_count(&r->call->out[0]), 16, HL_GRAIN, where_part, &j);
    return HL_OK;
}

static hl_status gpu_where(const hl_op_run *r)
{
    hl_gpu_get()->select(r->exec->gpu, hl_type_count(&r->call->out[0]), hl_in_f(r, 0), hl_in_f(r, 1),
                         hl_in_f(r, 2), hl_out_f(r, 0));
    return HL_OK;
}

static hl_status ref_where(const hl_op_run *r)
{
    const int64_t n = hl_type_count(&r->call->out[0]);
    for (int64_t i = 0; i < n; i++)
        hl_out_d(r, 0)[i] = hl_in_d(r, 0)[i] != 0 ? hl_in_d(r, 1)[i] : hl_in_d(r, 2)[i];
    return HL_OK;
}

static hl_status vjp_where(hl_vjp *v)
{
    hl_id zero = hl_g_expand_like(v->g, hl_graph_const(v->g, 0), v->in[0]);
    hl_id with_a[3] = {v->in[0], v->grad_out[0], zero}, with_b[3] = {v->in[0], zero, v->grad_out[0]};
    v->grad_in[1] = hl_graph_append(v->g, hl_op_get(HL_OP_ID_where), with_a, 3, NULL);
    v->grad_in[2] = hl_graph_append(v->g, hl_op_get(HL_OP_ID_where), with_b, 3, NULL);
    return v->g->status;
}

static const hl_case cases_where[] = {
    {.what = "vector", HL_INS(HL_MASK01(65), HL_NORMAL(65), HL_NORMAL(65))},
    {.what = "matrix", HL_INS(HL_MASK01(4, 9), HL_NORMAL(4, 9), HL_NORMAL(4, 9))},
    {.what = "shapes that differ", HL_INS(HL_MASK01(4), HL_NORMAL(4), HL_NORMAL(5)),
     .expect = HL_E_SHAPE},
};
const hl_op hl_op_where = {
    .name = "where", .doc = "y = a where c is not 0, else b; one shape for all three",
    .ins = "c a b", .outs = "y", .shape = shape_where, .ref = ref_where, .cpu = cpu_where, .gpu = gpu_where,
    .vjp = vjp_where, .no_grad = 1, HL_CASES(cases_where)};

/* --- cast --- */

static const char *const castable[] = {"f32", "i32", "bool", NULL};

static hl_dtype cast_target(const hl_attrs *a)
{
    static const hl_dtype d[] = {HL_DTYPE_F32, HL_DTYPE_I32, HL_DTYPE_BOOL};
    return d[a->v[0].i];
}

static hl_status shape_cast(hl_call *c)
{
    hl_dtype from = c->in[0].dtype;
    if (!hl_dtype_is_float(from) && from != HL_DTYPE_I32 && from != HL_DTYPE_I8 &&
        from != HL_DTYPE_BOOL)
        return hl_err_set(HL_E_DTYPE, "cannot convert from %s", hl_dtype_name(from));
    hl_out_like(c, 0, 0);
    c->out[0].dtype = cast_target(&c->attrs);
    return HL_OK;
}

static hl_status run_cast(const hl_op_run *r)
{
    const hl_type *from = &r->call->in[0], *to = &r->call->out[0];
    const int64_t n = hl_type_count(to);
    for (int64_t i = 0; i < n; i++)
        hl_cast_element(r->in[0], from->dtype, r->out[0], to->dtype, i);
    return HL_OK;
}

static hl_status gpu_cast(const hl_op_run *r)
{
    const hl_type *from = &r->call->in[0], *to = &r->call->out[0];
    hl_gpu_get()->cast(r->exec->gpu, hl_type_count(to), from->dtype, r->in[0], to->dtype, r->out[0]);
    return HL_OK;
}

static hl_status vjp_cast(hl_vjp *v)
{
    if (hl_dtype_is_float(hl_graph_type(v->g, v->in[0])->dtype))
        v->grad_in[0] = v->grad_out[0];
    return HL_OK;
}

static const hl_case cases_cast[] = {
    {.what = "to integers", HL_INS(HL_RANGE(-9, 9, 40)), .attr = {1}, .attr_given = 1},
    {.what = "from integers", HL_INS(HL_INDEX(100, 40)), .attr = {0}, .attr_given = 1},
    {.what = "from bytes",
     HL_INS({HL_DTYPE_I8, 1, {40}, HL_FILL_RANGE, -128, 127, 0}),
     .attr = {0},
     .attr_given = 1},
    {.what = "to bool", HL_INS(HL_MASK01(40)), .attr = {2}, .attr_given = 1},
    {.what = "to its own type", HL_INS(HL_NORMAL(40)), .attr = {0}, .attr_given = 1},
};
const hl_op hl_op_cast = {
    .name = "cast",
    .doc = "convert the element type; floats are cut towards zero, values out of range saturate, "
           "NaN becomes 0",
    .ins = "x", .outs = "y",
    .attr = {{"to", HL_ATTR_ENUM, 0, 0, 0, castable}},
    .shape = shape_cast, .ref = run_cast, .cpu = run_cast, .gpu = gpu_cast, .vjp = vjp_cast, HL_CASES(cases_cast)};

/* --- by row, for nodes that hold several --- */

static const hl_op *const ops1[] = {
#define HL_EW1(name, f32, f64, doc, lo, hi, abs) &hl_op_##name,
#define HL_EW2(name, f32, f64, doc, lo, hi, abs)
#include "kernels/ew/hl_ew.def"
};
static const hl_op *const ops2[] = {
#define HL_EW1(name, f32, f64, doc, lo, hi, abs)
#define HL_EW2(name, f32, f64, doc, lo, hi, abs) &hl_op_##name,
#include "kernels/ew/hl_ew.def"
};

static int find_op(const hl_op *const *list, int n, const hl_op *op)
{
    for (int i = 0; i < n; i++)
        if (list[i] == op)
            return i;
    return -1;
}

int hl_ew_row(const hl_op *op)
{
    if (op == &hl_op_where)
        return 0;
    const int one = find_op(ops1, HL_EW1_COUNT, op);
    return one >= 0 ? one : find_op(ops2, HL_EW2_COUNT, op);
}

bool hl_ew_is(const hl_op *op)
{
    return hl_ew_row(op) >= 0;
}
