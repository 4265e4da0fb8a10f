/* The fixed-point solve as an operation, and the gradient of a solution.
 *
 * DESIGN. fixed_point finds z = f(z, …) and has no derivative of its own: how to differentiate a
 * solution is a choice (spec deq 4 and 11), made by what is recorded behind it (scripts_lua/hop/
 * deq.lua). All choices are steps recorded as ordinary nodes, with two more ops: `adjoint`, the
 * identity whose cotangent g becomes the solution of u = J^T u + g, solved like any other fixed
 * point on the body's VJP graph; and `straight`, a value whose cotangent goes elsewhere. */
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/graph/body.h"
#include "engine/ops/op_common.h"
#include "engine/solve/body_program.h"
#include "engine/solve/fixed_point.h"
#include "engine/solve/solve.h"

const char *const hl_solver_names[] = {"picard", "anderson", "broyden", NULL};
const char *const hl_solve_stop_names[] = {"rel", "abs", NULL};
const char *const hl_solve_per_names[] = {"sample", "batch", NULL};
const char *const hl_solve_pick_names[] = {"last", "best", NULL};
const char *const hl_solve_live_names[] = {"none", "damping", "all", NULL};

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

hl_status hl_solve_check_states(const hl_call *c)
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

/* {rows, batch, numbers of a sample's state}, behind the reports */
static hl_status add_path(hl_call *c, const int64_t matrix[2])
{
    const int k = n_parts(c);
    int64_t dims[3] = {matrix[0], matrix[1], 0};
    if (c->n_out >= HL_MAX_OUT)
        return hl_err_set(HL_E_ARG, "a path is kept of states of 1 to %d parts, not %d",
                          HL_MAX_OUT - HL_SOLVE_REPORTS - 1, k);
    for (int i = 0; i < k; i++)
        dims[2] += hl_type_cols(&c->in[i], 1);
    c->out[c->n_out++] = hl_type_make(c->in[0].dtype, 3, dims);
    return HL_OK;
}

static hl_status shape_fixed_point(hl_call *c)
{
    hl_status st = hl_solve_check_states(c);
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
    for (int i = 0; i < HL_SOLVE_REPORTS; i++)
        c->out[k + i] = i <= HL_SOLVE_MOVEMENT ? hl_type_make(t, 2, matrix)
                        : i >= HL_SOLVE_CALLS  ? hl_type_scalar(t)
                                               : hl_type_make(t, 1, matrix + 1);
    c->n_out = k + HL_SOLVE_REPORTS;
    return c->attrs.v[PATH].i ? add_path(c, matrix) : HL_OK;
}

/* --- running --- */

/* The body, and how it is solved: as recorded, or, where the recording said `live`, as told since.
 */
typedef struct solver {
    hl_body_program *body;
    hl_solve_options recorded, now;
    hl_solve_live live;
    double damping, damping_now; /* of the recorded step; asked for */
    double ms;                   /* that the newest solve took; NAN: there was none */
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
    s->live = (hl_solve_live)c->attrs.v[LIVE].i;
    s->damping = s->damping_now = c->attrs.v[DAMPING].f;
    s->ms = (double)NAN;
    *state = s;
    const hl_solve_options *o = &s->recorded;
    const bool shrinks = (o->tol > 0 || s->live == HL_LIVE_ALL) && o->per == HL_PER_SAMPLE &&
                         o->solver != HL_SOLVER_BROYDEN; /* its line search is the batch's */
    const hl_compile how = {.fp64 = fp64, .n_workers = n_workers};
    return hl_body_program_new(c->body, n_parts(c), shrinks, &how, &s->body);
}

/* On a device there is another body program, if all of it runs there. Line searches and paths are
 * the host's. */
static hl_status gpu_prepare(const hl_call *c, hl_device *d, bool *there)
{
    solver *s = c->state;
    hl_body_program *body = NULL;
    if ((s->recorded.solver == HL_SOLVER_BROYDEN && s->recorded.line_search) ||
        c->attrs.v[PATH].i) {
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

static double turn_damping(solver *s, const double *set)
{
    if (set && isnan(*set))
        s->damping_now = s->damping;
    else if (set && *set >= 0 && *set <= HL_DAMPING_MAX)
        s->damping_now = *set;
    return s->damping_now;
}

static double knob(void *state, const char *name, const double *set)
{
    solver *s = state;
    if (s->live == HL_LIVE_NONE)
        return (double)NAN;
    if (strcmp(name, HL_KNOB_DAMPING) == 0)
        return turn_damping(s, set);
    if (strcmp(name, s->live == HL_LIVE_ALL ? HL_KNOB_SOLVE_MS : HL_KNOB_BACKWARD_MS) == 0)
        return s->ms;
    if (s->live != HL_LIVE_ALL)
        return (double)NAN;
    if (strcmp(name, HL_KNOB_MAX_ITER) == 0)
        return turn(&s->now.max_iter, s->recorded.max_iter, set);
    if (strcmp(name, HL_KNOB_MEMORY) == 0)
        return turn(&s->now.memory, s->recorded.memory, set);
    if (strcmp(name, HL_KNOB_TOL) != 0)
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
    return hl_body_program_bytes(s->body) + hl_solve_bytes(&p, &s->recorded) +
           (s->live ? hl_solve_damped_bytes(&p) : 0);
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

/* The share of the recorded step that is taken: f is damped * z + (1 - damped) * what was damped
 * before, with which it is damped as asked for. 1: it is as recorded, to the bit. */
static double step_of(const solver *s)
{
    return s->damping_now == s->damping ? 1 : (1 - s->damping_now) / (1 - s->damping);
}

static void put_step(void *out, double step, bool doubles)
{
    if (doubles)
        *(double *)out = step;
    else
        *(float *)out = (float)step;
}

static hl_solve_report report_of(const hl_op_run *r)
{
    const int k = n_parts(r->call);
    hl_solve_report report = {.rows = (int)r->call->out[k + HL_SOLVE_RESIDUAL].dim[0],
                              .residual = r->out[k + HL_SOLVE_RESIDUAL],
                              .abs = r->out[k + HL_SOLVE_ABS],
                              .movement = r->out[k + HL_SOLVE_MOVEMENT],
                              .iterations = r->out[k + HL_SOLVE_ITERATIONS],
                              .ended = r->out[k + HL_SOLVE_ENDED],
                              .fallback = r->out[k + HL_SOLVE_FALLBACK],
                              .calls = r->out[k + HL_SOLVE_CALLS],
                              .path = r->call->attrs.v[PATH].i ? r->out[k + HL_SOLVE_REPORTS]
                                                               : NULL};
    for (int i = 0; i < k; i++)
        report.z[i] = r->out[i];
    return report;
}

static hl_status run(const hl_op_run *r, bool doubles)
{
    const hl_call *c = r->call;
    solver *s = c->state;
    const int64_t start_ns = hl_clock_mono_ns();
    evaluation e = {.p = s->body, .x = r->exec};
    hl_problem p = problem_of(c, doubles);
    p.eval = eval;
    p.self = &e;
    p.exec = r->exec;
    hl_solve_report report = report_of(r);
    for (int i = 0; i < n_parts(c); i++)
        memcpy(r->out[i], r->in[i], hl_type_bytes(&c->out[i]));
    unsigned char *work = (unsigned char *)r->scratch + hl_body_program_bytes(e.p);
    hl_solve_damped d = {.step = step_of(s), .of = p};
    if (d.step != 1)
        hl_solve_damp(&d, &p, &work);
    put_step(r->out[p.n_parts + HL_SOLVE_STEP], d.step, doubles);
    hl_status st = hl_body_program_begin(e.p, r->in, r->scratch, r->exec);
    if (st == HL_OK)
        st = hl_solve(&p, &s->now, &report, work);
    s->ms = (double)(hl_clock_mono_ns() - start_ns) * 1e-6;
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
    return hl_align64(hl_body_program_bytes(s->body)) + hl_solve_gpu_bytes(&p, &s->recorded) +
           (s->live ? hl_solve_damped_bytes(&p) : 0);
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
    unsigned char *work = (unsigned char *)r->scratch + hl_align64(hl_body_program_bytes(e.p));
    hl_solve_damped d = {.step = step_of(s), .on_device = true, .of = p};
    if (d.step != 1)
        hl_solve_damp(&d, &p, &work);
    hl_gpu_get()->iota(r->exec->gpu, 1, d.step, 0, r->out[p.n_parts + HL_SOLVE_STEP]);
    hl_status st = hl_body_program_begin(e.p, r->in, r->scratch, &x);
    if (st == HL_OK)
        st = hl_solve_gpu(&p, &s->now, &report, work);
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

hl_id hl_solve_case_tanh(hl_graph *g, const hl_id *leaf)
{
    return hl_g_op1(g, HL_OP_ID_tanh,
                    hl_g_add(g, hl_g_matmul(g, leaf[0], false, leaf[1], false), leaf[2]));
}

static hl_id body_constant(hl_graph *g, const hl_id *leaf)
{
    return hl_g_matmul(g, leaf[1], false, leaf[2], false);
}

hl_id hl_solve_case_wider(hl_graph *g, const hl_id *leaf)
{
    return hl_g_matmul(g, leaf[0], false, leaf[1], false);
}

#define LARGE                                                                                      \
    HL_INS(HL_NORMAL(64, 300), HL_RANGE(-0.03, 0.03, 300, 300), HL_NORMAL(64, 300)),               \
        .body = hl_solve_case_tanh

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
     .body = hl_solve_case_wider,
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
    .outs = "z* residual abs movement iterations ended fallback calls step path?",
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
