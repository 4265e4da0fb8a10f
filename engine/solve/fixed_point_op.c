/* The fixed-point solve as an operation, and the gradient of a solution.
 *
 * DESIGN. fixed_point finds z = f(z, …) and has no derivative of its own: how to differentiate a
 * solution is a choice (spec deq 4 and 11), made by what is recorded behind it (scripts_lua/hop/
 * deq.lua). All choices are steps recorded as ordinary nodes, with two more ops: `adjoint`, the
 * identity whose cotangent g becomes the solution of u = J^T u + g, solved like any other fixed
 * point on the body's VJP graph; and `straight`, a value whose cotangent goes elsewhere. */
#include "engine/base/mem.h"
#include "engine/graph/body.h"
#include "engine/ops/op_common.h"
#include "engine/pass/pass.h"
#include "engine/solve/body_program.h"
#include "engine/solve/solve.h"

static const char *const solver_names[] = {"picard", "anderson", "broyden", NULL};
static const char *const stop_names[] = {"rel", "abs", NULL};
static const char *const per_names[] = {"sample", "batch", NULL};
static const char *const pick_names[] = {"last", "best", NULL};

enum {
    SOLVER,
    MAX_ITER,
    TOL,
    STOP,
    PER,
    PICK,
    MEMORY,
    TAU,
    RIDGE,
    RELATIVE,
    SAFEGUARD,
    LINE_SEARCH,
    KEEP,
    LIVE,
    N_ATTR
};

#define SOLVE_ATTRS                                                                                \
    {"solver", HL_ATTR_ENUM, 0, 0, 0, solver_names}, {"max_iter", HL_ATTR_INT, 40, 1, 1e5, NULL},  \
        {"tol", HL_ATTR_REAL, 0, 0, 1e30, NULL}, {"stop", HL_ATTR_ENUM, 0, 0, 0, stop_names},      \
        {"per", HL_ATTR_ENUM, 0, 0, 0, per_names}, {"pick", HL_ATTR_ENUM, 0, 0, 0, pick_names},    \
        {"memory", HL_ATTR_INT, 4, 1, HL_SOLVE_MEMORY, NULL},                                      \
        {"tau", HL_ATTR_REAL, 1, 1e-6, 2, NULL}, {"ridge", HL_ATTR_REAL, 1e-10, 0, 1e30, NULL},    \
        {"relative", HL_ATTR_BOOL, 0, 0, 0, NULL}, {"safeguard", HL_ATTR_BOOL, 1, 0, 0, NULL},     \
        {"line_search", HL_ATTR_BOOL, 0, 0, 0, NULL}, {"keep", HL_ATTR_BOOL, 0, 0, 0, NULL},       \
    {                                                                                              \
        "live", HL_ATTR_BOOL, 0, 0, 0, NULL                                                        \
    }

static hl_solve_options options_of(const hl_attrs *a)
{
    return (hl_solve_options){.solver = (hl_solver)a->v[SOLVER].i,
                              .max_iter = (int)a->v[MAX_ITER].i,
                              .tol = a->v[TOL].f,
                              .stop = (hl_solve_stop)a->v[STOP].i,
                              .per = (hl_solve_per)a->v[PER].i,
                              .pick = (hl_solve_pick)a->v[PICK].i,
                              .memory = (int)a->v[MEMORY].i,
                              .tau = a->v[TAU].f,
                              .ridge = a->v[RIDGE].f,
                              .relative = a->v[RELATIVE].i,
                              .safeguard = a->v[SAFEGUARD].i,
                              .line_search = a->v[LINE_SEARCH].i,
                              .keep = a->v[KEEP].i};
}

/* Reports behind the states. */
enum { RESIDUAL, ABS, MOVEMENT, ITERATIONS, ENDED, FALLBACK, CALLS, N_REPORTS };

static int n_parts(const hl_call *c)
{
    return c->body->n_out;
}

/* --- shapes --- */

static hl_status check_result(const hl_call *c, int i)
{
    char want[96], got[96];
    const hl_type *z = &c->in[i], *y = hl_graph_type(c->body->g, c->body->out[i]);
    if (hl_shape_equal(z, y) && hl_dtype_is_float(y->dtype))
        return HL_OK;
    return hl_err_set(HL_E_SHAPE,
                      "the step must give a state of the shape it is given, %s, not %s (state %d)",
                      hl_shape_text(want, z), hl_shape_text(got, y), i + 1);
}

static hl_status check_dependence(const hl_call *c)
{
    const hl_body *b = c->body;
    bool any = false, *depends = hl_alloc(b->g->values.n + 1);
    if (!depends)
        return HL_E_NOMEM;
    hl_graph_depends(b->g, b->in, b->n_out, depends);
    for (int i = 0; i < b->n_out; i++)
        any = any || depends[b->out[i]];
    hl_free(depends);
    return any ? HL_OK
               : hl_err_set(HL_E_ARG, "the step does not depend on the state: there is nothing to "
                                      "iterate");
}

static hl_status check_states(const hl_call *c)
{
    hl_status st = HL_OK;
    if (!c->body)
        return hl_err_set(HL_E_ARG, "has no body");
    const int k = n_parts(c);
    if (k < 1 || k > HL_SOLVE_PARTS)
        return hl_err_set(HL_E_ARG, "a state has 1 to %d parts, not %d", HL_SOLVE_PARTS, k);
    if (c->n_in != c->body->n_in)
        return hl_err_set(HL_E_ARG, "the body takes %d inputs, not %d", c->body->n_in, c->n_in);
    for (int i = 0; i < k && st == HL_OK; i++) {
        if (hl_type_absent(&c->in[i]) || !hl_dtype_is_float(c->in[i].dtype) || c->in[i].rank < 1)
            return hl_err_set(HL_E_SHAPE, "state %d must be a float tensor with a batch dimension",
                              i + 1);
        if (c->in[i].dim[0] != c->in[0].dim[0])
            return hl_err_set(HL_E_SHAPE, "the states have batches of %lld and %lld",
                              (long long)c->in[0].dim[0], (long long)c->in[i].dim[0]);
        st = check_result(c, i);
    }
    return st;
}

static hl_status shape_fixed_point(hl_call *c)
{
    hl_status st = check_states(c);
    if (st == HL_OK)
        st = check_dependence(c);
    if (st != HL_OK)
        return st;
    const int k = n_parts(c);
    const hl_solve_options o = options_of(&c->attrs);
    const hl_dtype t = c->in[0].dtype;
    const int64_t matrix[2] = {hl_solve_rows(&o), c->in[0].dim[0]};
    for (int i = 0; i < k; i++)
        c->out[i] = c->in[i];
    for (int i = 0; i < N_REPORTS; i++)
        c->out[k + i] = i <= MOVEMENT ? hl_type_make(t, 2, matrix)
                        : i == CALLS  ? hl_type_scalar(t)
                                      : hl_type_make(t, 1, matrix + 1);
    c->n_out = k + N_REPORTS;
    return HL_OK;
}

/* --- running --- */

/* The body, and how it is solved: as recorded, or, where the recording said `live`, as told since.
 */
typedef struct solver {
    hl_body_program *body;
    hl_solve_options recorded, now;
    bool live;
} solver;

static void release(void *state)
{
    solver *s = state;
    if (s)
        hl_body_program_free(s->body);
    hl_free(s);
}

static hl_status prepare(const hl_call *c, bool fp64, int n_workers, void **state)
{
    solver *s = hl_alloc_zero(1, sizeof *s);
    if (!s)
        return HL_E_NOMEM;
    s->recorded = s->now = options_of(&c->attrs);
    s->live = c->attrs.v[LIVE].i;
    *state = s;
    const hl_solve_options *o = &s->recorded;
    const bool shrinks = (o->tol > 0 || s->live) && o->per == HL_PER_SAMPLE &&
                         o->solver != HL_SOLVER_BROYDEN; /* its line search is the batch's */
    const hl_compile how = {.fp64 = fp64, .n_workers = n_workers};
    return hl_body_program_new(c->body, n_parts(c), shrinks, &how, &s->body);
}

/* On a device there is another body program, if all of it runs there. Line searches are the host's.
 */
static hl_status gpu_prepare(const hl_call *c, hl_device *d, bool *there)
{
    solver *s = c->state;
    hl_body_program *body = NULL;
    if (s->recorded.solver == HL_SOLVER_BROYDEN && s->recorded.line_search) {
        *there = false;
        return HL_OK;
    }
    const hl_compile how = {.n_workers = 1, .device = d};
    const hl_status st = hl_body_program_new(c->body, n_parts(c), false, &how, &body);
    *there = st == HL_OK && hl_body_program_stays_there(body);
    hl_body_program_free(*there ? s->body : body);
    if (*there)
        s->body = body;
    return st;
}

/* An integer knob: from 1 to what there is memory for. */
static double turn(int *at, int recorded, const double *set)
{
    if (set && isnan(*set))
        *at = recorded;
    else if (set && *set >= 1 && *set <= recorded && *set == floor(*set))
        *at = (int)*set;
    return *at;
}

static double knob(void *state, const char *name, const double *set)
{
    solver *s = state;
    if (!s->live)
        return (double)NAN;
    if (strcmp(name, "deq.max_iter") == 0)
        return turn(&s->now.max_iter, s->recorded.max_iter, set);
    if (strcmp(name, "deq.memory") == 0)
        return turn(&s->now.memory, s->recorded.memory, set);
    if (strcmp(name, "deq.tol") != 0)
        return (double)NAN;
    if (set && (isnan(*set) || (*set >= 0 && *set < 1e30)))
        s->now.tol = isnan(*set) ? s->recorded.tol : *set;
    return s->now.tol;
}

static hl_problem problem_of(const hl_call *c, bool doubles)
{
    hl_problem p = {.n_parts = n_parts(c), .batch = c->in[0].dim[0], .doubles = doubles};
    for (int i = 0; i < p.n_parts; i++)
        p.width[i] = hl_type_cols(&c->in[i], 1);
    return p;
}

static size_t scratch_fixed_point(const hl_call *c, int n_workers)
{
    (void)n_workers;
    const solver *s = c->state;
    const hl_problem p = problem_of(c, true); /* enough for floats too */
    return hl_body_program_bytes(s->body) + hl_solve_bytes(&p, &s->recorded);
}

typedef struct evaluation {
    hl_body_program *p;
    const hl_exec *x;
} evaluation;

static hl_status eval(void *self, void *const *x, const unsigned char *done, const void **y)
{
    const evaluation *e = self;
    return hl_body_program_eval(e->p, x, done, y, e->x);
}

static hl_solve_report report_of(const hl_op_run *r)
{
    const int k = n_parts(r->call);
    hl_solve_report report = {.rows = (int)r->call->out[k + RESIDUAL].dim[0],
                              .residual = r->out[k + RESIDUAL],
                              .abs = r->out[k + ABS],
                              .movement = r->out[k + MOVEMENT],
                              .iterations = r->out[k + ITERATIONS],
                              .ended = r->out[k + ENDED],
                              .fallback = r->out[k + FALLBACK],
                              .calls = r->out[k + CALLS]};
    for (int i = 0; i < k; i++)
        report.z[i] = r->out[i];
    return report;
}

static hl_status run(const hl_op_run *r, bool doubles)
{
    const hl_call *c = r->call;
    const solver *s = c->state;
    evaluation e = {.p = s->body, .x = r->exec};
    hl_problem p = problem_of(c, doubles);
    p.eval = eval;
    p.self = &e;
    p.exec = r->exec;
    hl_solve_report report = report_of(r);
    for (int i = 0; i < n_parts(c); i++)
        memcpy(r->out[i], r->in[i], hl_type_bytes(&c->out[i]));
    unsigned char *work = (unsigned char *)r->scratch + hl_body_program_bytes(e.p);
    hl_status st = hl_body_program_begin(e.p, r->in, r->scratch, r->exec);
    if (st == HL_OK)
        st = hl_solve(&p, &s->now, &report, work);
    if (st == HL_OK && r->flops)
        *r->flops = hl_body_program_done(e.p);
    return st;
}

static hl_status cpu_fixed_point(const hl_op_run *r)
{
    return run(r, r->call->in[0].dtype == HL_DTYPE_F64);
}

static size_t gpu_scratch_fixed_point(const hl_call *c)
{
    const solver *s = c->state;
    const hl_problem p = problem_of(c, false);
    return hl_align64(hl_body_program_bytes(s->body)) + hl_solve_gpu_bytes(&p, &s->recorded);
}

static hl_status gpu_fixed_point(const hl_op_run *r)
{
    const hl_call *c = r->call;
    const solver *s = c->state;
    hl_exec x = *r->exec;
    x.team = NULL;
    evaluation e = {.p = s->body, .x = &x};
    hl_problem p = problem_of(c, false);
    p.eval = eval;
    p.self = &e;
    p.exec = r->exec;
    const hl_solve_report report = report_of(r);
    for (int i = 0; i < n_parts(c); i++)
        hl_gpu_get()->copy(r->exec->gpu, r->out[i], r->in[i], hl_type_bytes(&c->out[i]));
    hl_status st = hl_body_program_begin(e.p, r->in, r->scratch, &x);
    if (st == HL_OK)
        st = hl_solve_gpu(&p, &s->now, &report,
                          (unsigned char *)r->scratch + hl_align64(hl_body_program_bytes(e.p)));
    return st;
}

static hl_status ref_fixed_point(const hl_op_run *r)
{
    return run(r, true);
}

static bool mutates_fixed_point(const hl_call *c, int input)
{
    return c->body && c->body->writes[input];
}

static double flops_fixed_point(const hl_call *c)
{
    const solver *s = c->state;
    return s ? hl_body_program_flops(s->body) * (double)c->attrs.v[MAX_ITER].i : 0;
}

static hl_id body_tanh(hl_graph *g, const hl_id *leaf)
{
    return hl_g_op1(g, HL_OP_ID_tanh,
                    hl_g_add(g, hl_g_matmul(g, leaf[0], false, leaf[1], false), leaf[2]));
}

static hl_id body_constant(hl_graph *g, const hl_id *leaf)
{
    return hl_g_matmul(g, leaf[1], false, leaf[2], false);
}

static hl_id body_wider(hl_graph *g, const hl_id *leaf)
{
    return hl_g_matmul(g, leaf[0], false, leaf[1], false);
}

/* z = tanh(z w + u), a contraction for these weights */
#define CONTRACTION                                                                                \
    HL_INS(HL_NORMAL(5, 8), HL_RANGE(-0.2, 0.2, 8, 8), HL_NORMAL(5, 8)), .body = body_tanh
#define LARGE                                                                                      \
    HL_INS(HL_NORMAL(64, 300), HL_RANGE(-0.03, 0.03, 300, 300), HL_NORMAL(64, 300)),               \
        .body = body_tanh

static const hl_case cases_fixed_point[] = {
    {.what = "picard", CONTRACTION, .attr = {HL_SOLVER_PICARD, 8}, .attr_given = 3},
    {.what = "one iteration", CONTRACTION, .attr = {HL_SOLVER_PICARD, 1}, .attr_given = 3},
    {.what = "damped",
     CONTRACTION,
     .attr = {[MAX_ITER] = 9, [TAU] = 0.7},
     .attr_given = 1u << MAX_ITER | 1u << TAU},
    {.what = "anderson", CONTRACTION, .attr = {HL_SOLVER_ANDERSON, 5}, .attr_given = 3},
    {.what = "broyden", CONTRACTION, .attr = {HL_SOLVER_BROYDEN, 5}, .attr_given = 3},
    {.what = "several workers", LARGE, .attr = {HL_SOLVER_ANDERSON, 5}, .attr_given = 3},
    {.what = "tolerance",
     CONTRACTION,
     .attr = {[MAX_ITER] = 30, [TOL] = 1e-2},
     .attr_given = 1u << MAX_ITER | 1u << TOL},
    {.what = "the step does not depend on the state",
     HL_INS(HL_NORMAL(5, 8), HL_NORMAL(5, 8), HL_NORMAL(8, 8)),
     .body = body_constant,
     .expect = HL_E_ARG},
    {.what = "another shape",
     HL_INS(HL_NORMAL(5, 8), HL_NORMAL(8, 9)),
     .body = body_wider,
     .expect = HL_E_SHAPE},
    {.what = "no iterations",
     CONTRACTION,
     .attr = {HL_SOLVER_PICARD, 0},
     .attr_given = 3,
     .expect = HL_E_ARG},
    {.what = "negative tolerance",
     CONTRACTION,
     .attr = {[TOL] = -1},
     .attr_given = 1u << TOL,
     .expect = HL_E_ARG},
};

const hl_op hl_op_fixed_point = {
    .name = "fixed_point",
    .doc = "z = f(z, …) by Picard, Anderson or Broyden iteration, for each sample of a batch; f is "
           "the body, its first inputs the states",
    .ins = "values*",
    .outs = "z* residual abs movement iterations ended fallback calls",
    .attr = {SOLVE_ATTRS},
    .flags = HL_OP_BODY | HL_OP_NO_LUA | HL_OP_EFFECT | HL_OP_MIXED | HL_OP_WAITS,
    .shape = shape_fixed_point,
    .ref = ref_fixed_point,
    .cpu = cpu_fixed_point,
    .gpu = gpu_fixed_point,
    .gpu_scratch = gpu_scratch_fixed_point,
    .gpu_prepare = gpu_prepare,
    .scratch = scratch_fixed_point,
    .prepare = prepare,
    .release = release,
    .knob = knob,
    .mutates = mutates_fixed_point,
    .flops = flops_fixed_point,
    HL_CASES(cases_fixed_point),
    .tol = 256};

/* --- adjoint --- */

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
    hl_status st = check_states(c);
    for (int i = 0; st == HL_OK && i < n_parts(c); i++)
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
     .body = body_wider,
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
