/* The gradient of a solution by an adjoint solve, and values whose gradients go elsewhere. DESIGN:
 * fixed_point_op.c. */
#include "engine/base/mem.h"
#include "engine/graph/body.h"
#include "engine/ops/op_common.h"
#include "engine/pass/pass.h"
#include "engine/solve/fixed_point.h"
#include "engine/solve/solve.h"

/* v, z, captured values, g -> J(z)^T v + g */
static hl_status build_adjoint(const hl_body *b, hl_body **out)
{
    hl_status st = HL_OK;
    const int k = b->n_out, n = b->n_in;
    hl_graph *g = NULL;
    hl_id y[HL_SOLVE_PARTS], grads[HL_SOLVE_PARTS];
    hl_cotangent v[HL_SOLVE_PARTS];
    hl_id *map = hl_alloc((b->g->values.n + 1) * sizeof *map);
    hl_id *all = hl_alloc((size_t)(n + 3 * k + 1) * sizeof *all);
    if (!map || !all) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (int i = 0; i < k + n; i++)
        all[i] = i < k ? b->out[i] : b->in[i - k];
    HL_TRY(hl_graph_extract(b->g, all, k + n, &g, map));
    for (int i = 0; i < k; i++)
        y[i] = map[b->out[i]];
    for (int i = 0; i < n; i++)
        all[k + i] = map[b->in[i]];
    for (int i = 0; i < k; i++) {
        all[i] = hl_graph_input(g, "v", *hl_graph_type(g, y[i]));
        v[i] = (hl_cotangent){y[i], all[i]};
        all[k + n + i] = hl_graph_input(g, "g", *hl_graph_type(g, y[i]));
    }
    HL_TRY(g->status);
    HL_TRY(hl_pass_vjp_of(g, v, k, all + k, k, grads));
    bool flows = false;
    for (int i = 0; i < k; i++)
        flows = flows || grads[i] != HL_NONE;
    if (!flows)
        HL_FAIL(HL_E_ARG, "no gradient flows through the step from its new state to the old one; "
                          "is the state detached in it, or used under no_grad?");
    for (int i = 0; i < k; i++)
        y[i] = grads[i] == HL_NONE ? all[k + n + i] : hl_g_add(g, grads[i], all[k + n + i]);
    HL_TRY(g->status);
    st = hl_body_new(g, all, 2 * k + n, y, k, out);
out:
    hl_graph_free(g);
    hl_free(map);
    hl_free(all);
    return st;
}

static hl_status shape_adjoint(hl_call *c)
{
    hl_status st = hl_solve_check_states(c);
    for (int i = 0; st == HL_OK && i < c->body->n_out; i++)
        hl_out_like(c, i, i);
    return st;
}

static hl_status run_adjoint(const hl_op_run *r)
{
    for (int i = 0; i < r->call->n_out; i++)
        memcpy(r->out[i], r->in[i], hl_type_bytes(&r->call->out[i]));
    return HL_OK;
}

static hl_status gpu_adjoint(const hl_op_run *r)
{
    for (int i = 0; i < r->call->n_out; i++)
        hl_gpu_get()->copy(r->exec->gpu, r->out[i], r->in[i], hl_type_bytes(&r->call->out[i]));
    return HL_OK;
}

static hl_id zeros_like(hl_graph *g, hl_id x)
{
    return hl_g_expand_like(g, hl_graph_const(g, 0), x);
}

static hl_status vjp_adjoint(hl_vjp *v)
{
    hl_status st = HL_OK;
    hl_graph *g = v->g;
    hl_body *b = NULL;
    const int k = v->body->n_out, n = v->body->n_in;
    hl_id *in = hl_alloc((size_t)(n + 2 * k + 1) * sizeof *in);
    if (!in)
        return HL_E_NOMEM;
    for (int i = 0; i < k; i++) {
        in[i] = zeros_like(g, v->out[i]);
        in[k + n + i] = v->grad_out[i] == HL_NONE ? in[i] : v->grad_out[i];
    }
    for (int i = 0; i < n; i++)
        in[k + i] = v->in[i];
    HL_TRY(build_adjoint(v->body, &b));
    const hl_id u =
        hl_graph_append_body(g, hl_op_get(HL_OP_ID_fixed_point), in, n + 2 * k, v->attrs, b);
    HL_TRY(g->status);
    for (int i = 0; i < k; i++)
        v->grad_in[i] = u + i;
out:
    hl_body_unref(b);
    hl_free(in);
    return st;
}

static const hl_case cases_adjoint[] = {
    {.what = "identity", CONTRACTION, .attr = {HL_SOLVER_PICARD, 8}, .attr_given = 3},
    {.what = "another shape",
     HL_INS(HL_NORMAL(5, 8), HL_NORMAL(8, 9)),
     .body = hl_solve_case_wider,
     .expect = HL_E_SHAPE},
};

const hl_op hl_op_adjoint = {
    .name = "adjoint",
    .doc = "z itself; its cotangent g becomes the solution u of u = J^T u + g, J the derivative of "
           "the body at z, solved as the options say (implicit function theorem)",
    .ins = "values*",
    .outs = "z*",
    .attr = {SOLVE_ATTRS},
    .flags = HL_OP_BODY | HL_OP_NO_LUA | HL_OP_OTHER_GRADIENT,
    .shape = shape_adjoint,
    .ref = run_adjoint,
    .cpu = run_adjoint,
    .gpu = gpu_adjoint,
    .vjp = vjp_adjoint,
    .grad_outs = (1u << HL_SOLVE_PARTS) - 1,
    .no_second = true,
    HL_CASES(cases_adjoint)};

/* --- straight --- */

static hl_status shape_straight(hl_call *c)
{
    if (!hl_type_equal(&c->in[0], &c->in[1]))
        return hl_err_set(HL_E_SHAPE, "both must have one type and shape");
    hl_out_like(c, 0, 0);
    return HL_OK;
}

static hl_status vjp_straight(hl_vjp *v)
{
    if (v->needed[1])
        v->grad_in[1] = v->grad_out[0];
    return HL_OK;
}

static hl_status run_straight(const hl_op_run *r)
{
    memcpy(r->out[0], r->in[0], hl_type_bytes(&r->call->out[0]));
    return HL_OK;
}

static const hl_case cases_straight[] = {
    {.what = "two", HL_INS(HL_NORMAL(5, 8), HL_NORMAL(5, 8))},
    {.what = "shapes differ", HL_INS(HL_NORMAL(5, 8), HL_NORMAL(5, 9)), .expect = HL_E_SHAPE},
};

const hl_op hl_op_straight = {.name = "straight",
                              .doc = "The value a, whose cotangent goes to b (straight-through).",
                              .ins = "a b",
                              .outs = "y",
                              .flags = HL_OP_VIEW | HL_OP_OTHER_GRADIENT,
                              .shape = shape_straight,
                              .ref = run_straight,
                              .cpu = run_straight,
                              .vjp = vjp_straight,
                              .no_grad = 1,
                              HL_CASES(cases_straight)};
