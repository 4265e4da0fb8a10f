/* The kernels of a device against the rows' double references: every case of every row that has
 * one, updates, gradients, and a training step that is captured and replayed. A plain program: it
 * also runs where there is nothing but nvcc (tests/gpu/run.sh). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/exec/device.h"
#include "engine/graph/build.h"
#include "engine/optim/train_graph.h"
#include "engine/pass/pass.h"
#include "engine/quant/range.h"
#include "tests/conform/conform.h"
#include "tests/cuda/device_checks.h"

static hl_device *device;
static int failures, compared;

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        compared++;                                                                                \
        if (!(condition)) {                                                                        \
            failures++;                                                                            \
            printf("FAILED: " __VA_ARGS__);                                                        \
            printf("\n");                                                                          \
        }                                                                                          \
    } while (0)

/* Runs on the CPU in doubles, on the device in floats. */
static hl_status run_both(case_data *d, const hl_graph *g, const hl_id *outs, int n, double **want,
                          double **got, int64_t *count)
{
    case_device = NULL;
    hl_status st = case_run(d, g, outs, n, true, NULL, want, count);
    case_device = device;
    return st == HL_OK ? case_run(d, g, outs, n, false, NULL, got, count) : st;
}

static void forward(case_data *d)
{
    hl_graph *g;
    hl_id leaves[HL_CASE_INPUTS], first, outs[HL_MAX_OUT];
    double *want[HL_MAX_OUT], *got[HL_MAX_OUT];
    int64_t count[HL_MAX_OUT];
    EXPECT(case_record(d, &g, leaves, &first) == HL_OK, "%s, %s", d->op->name, d->c->what);
    const int n = n_outputs(g, first);
    for (int i = 0; i < n; i++)
        outs[i] = first + i;
    const hl_status st = run_both(d, g, outs, n, want, got, count);
    EXPECT(st == HL_OK, "%s, %s: %s", d->op->name, d->c->what, hl_err_message());
    for (int i = 0; i < n && st == HL_OK; i++) {
        const double w = worst(d->op, got[i], want[i], count[i], tolerance(d->op));
        EXPECT(w <= 1, "%s, %s, output %d: error %.2f times the tolerance", d->op->name, d->c->what,
               i, w);
        free(want[i]);
        free(got[i]);
    }
    hl_graph_free(g);
}

static void updates(case_data *d)
{
    hl_graph *g;
    hl_id leaves[HL_CASE_INPUTS], first;
    double *out[2] = {NULL, NULL};
    int64_t count[1];
    if (!case_updates(d->op))
        return;
    EXPECT(case_record(d, &g, leaves, &first) == HL_OK, "%s, %s", d->op->name, d->c->what);
    const hl_status st = run_both(d, g, &first, 1, &out[0], &out[1], count);
    EXPECT(st == HL_OK, "%s, %s: %s", d->op->name, d->c->what, hl_err_message());
    for (int i = 0; i < d->c->n_in && st == HL_OK; i++) {
        const int64_t n = hl_type_count(&d->type[i]);
        double *got = malloc((size_t)n * sizeof *got + 8);
        for (int64_t k = 0; k < n; k++)
            got[k] = d->type[i].dtype == HL_DTYPE_F64 ? ((double *)d->as_f32[i])[k]
                                                      : (double)((float *)d->as_f32[i])[k];
        const double w = worst(d->op, got, d->as_f64[i], n, tolerance(d->op));
        EXPECT(w <= 1, "%s, %s, state %d: error %.2f times the tolerance", d->op->name, d->c->what,
               i, w);
        free(got);
    }
    free(out[0]);
    free(out[1]);
    hl_graph_free(g);
}

/* Gradients on the device against those in doubles; that those are right is conform_test's matter.
 */
static void gradient(case_data *d)
{
    hl_graph *g;
    hl_id leaves[HL_CASE_INPUTS], first, weights[8], wrt[HL_CASE_INPUTS], grads[HL_CASE_INPUTS];
    hl_id reached[HL_CASE_INPUTS];
    int which[HL_CASE_INPUTS], n = 0, m = 0, n_weights = 0;
    evaluator want, got;
    if (!d->op->vjp || case_updates(d->op) || (d->op->flags & HL_OP_OTHER_GRADIENT))
        return;
    EXPECT(case_record(d, &g, leaves, &first) == HL_OK, "%s, %s", d->op->name, d->c->what);
    for (int i = 0; i < d->c->n_in; i++)
        if (leaves[i] != HL_NONE && is_float(&d->type[i]) && !(d->op->no_grad >> i & 1))
            wrt[n++] = leaves[i];
    if (n == 0 || !is_float(hl_graph_type(g, first))) {
        hl_graph_free(g);
        return;
    }
    const hl_id target = weighted_sum(g, d->op, first, 1, weights, &n_weights);
    EXPECT(hl_pass_grad(g, target, wrt, n, grads) == HL_OK, "%s: %s", d->op->name,
           hl_err_message());
    for (int i = 0; i < n; i++)
        if (grads[i] != HL_NONE) {
            reached[m] = grads[i];
            which[m++] = i;
        }
    case_device = NULL;
    hl_status st = m ? evaluator_open(&want, d, g, reached, m, true) : HL_E_STATE;
    case_device = device;
    if (st == HL_OK)
        st = evaluator_open(&got, d, g, reached, m, false);
    for (int again = 0; again < 3 && st == HL_OK; again++) /* step by step, captured, replayed */
        st = again ? evaluate(&got) : evaluate(&want);
    EXPECT(m == 0 || st == HL_OK, "%s, %s: gradient: %s", d->op->name, d->c->what,
           hl_err_message());
    for (int w = 0; w < m && st == HL_OK; w++) {
        const int64_t count = hl_type_count(hl_program_output_type(want.p, w));
        double size = 0, off = 0;
        for (int64_t k = 0; k < count; k++)
            size += value_at(&want, w, k) * value_at(&want, w, k);
        size = count ? sqrt(size / (double)count) : 0;
        for (int64_t k = 0; k < count; k++) {
            const double e = fabs(value_at(&got, w, k) - value_at(&want, w, k)) /
                             (size + fabs(value_at(&want, w, k)) + 1e-4);
            off = e > off || isnan(e) ? e : off;
        }
        EXPECT(off < 1e-3, "%s, %s: gradient of input %d is off by %.2e", d->op->name, d->c->what,
               which[w], off);
    }
    if (m) {
        evaluator_close(&want);
        evaluator_close(&got);
    }
    hl_graph_free(g);
}

/* --- sizes at which kernels take another way --- */

#define RANDOM(...)                                                                                \
    {                                                                                              \
        HL_DTYPE_F32, 2, {__VA_ARGS__}, HL_FILL_NORMAL, 0, 1, 0                                    \
    }
/* Rows whose means are not near 0, where no float is right to a part of the mean. */
#define SHIFTED(...)                                                                               \
    {                                                                                              \
        HL_DTYPE_F32, 2, {__VA_ARGS__}, HL_FILL_RANGE, -1, 2, 0                                    \
    }
#define VECTOR(n)                                                                                  \
    {                                                                                              \
        HL_DTYPE_F32, 1, {n}, HL_FILL_NORMAL, 0, 1, 0                                              \
    }
#define SQUARES(n)                                                                                 \
    {                                                                                              \
        HL_DTYPE_F32, 1, {n}, HL_FILL_POSITIVE, 0, 1, 0                                            \
    }
#define NUMBER(x)                                                                                  \
    {                                                                                              \
        HL_DTYPE_F32, 0, {0}, HL_FILL_CONST, x, x, 0                                               \
    }

static void try_case(hl_op_id id, const hl_case *c)
{
    case_data d;
    case_open(&d, hl_op_get(id), c);
    forward(&d);
    updates(&d);
    gradient(&d);
    case_close(&d);
}

/* Layer normalisation: rows kept by a warp or a block in all its forms, and those that are not;
 * more rows than there are parts of their sums. */
static void rows_of_norms(void)
{
    static const int64_t sizes[][2] = {{3, 4},    {9, 132},  {5, 260},  {3, 600},  {2, 1000},
                                       {3, 1500}, {2, 3000}, {2, 5000}, {2, 8196}, {2100, 8}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const int64_t m = sizes[i][0], n = sizes[i][1];
        const hl_case plain = {
            .what = "sizes", .in = {SHIFTED(m, n), SQUARES(n), VECTOR(n)}, .n_in = 3};
        const hl_case residual = {.what = "sizes",
                                  .in = {SHIFTED(m, n), SHIFTED(m, n), SQUARES(n), VECTOR(n)},
                                  .n_in = 4,
                                  .attr = {1e-5, i % 2 ? 0.25 : 0},
                                  .attr_given = 3};
        try_case(HL_OP_ID_layernorm, &plain);
        try_case(HL_OP_ID_residual_norm, &residual);
    }
}

/* Normalisers: several rows to a warp, a row too long for shared memory; logits at any alignment,
 * and dropout by fours. */
static void rows_of_scores(void)
{
    for (int base = HL_NORM_SOFTMAX; base <= HL_NORM_SPARSEMAX; base++) {
        const hl_case narrow = {
            .what = "16 keys", .in = {RANDOM(7, 13)}, .n_in = 1, .attr = {base}, .attr_given = 1};
        try_case(HL_OP_ID_normalise, &narrow);
    }
    const hl_case learned = {.what = "16 keys",
                             .in = {RANDOM(9, 11), VECTOR(1)},
                             .n_in = 2,
                             .attr = {HL_NORM_ENTMAX},
                             .attr_given = 1};
    hl_case c = learned;
    c.in[1] = (hl_case_input){HL_DTYPE_F32, 1, {1}, HL_FILL_CONST, 1.3, 1.3, 0};
    try_case(HL_OP_ID_normalise, &c);
    const hl_case longest = {.what = "12300 keys", .in = {RANDOM(1, 12300)}, .n_in = 1};
    try_case(HL_OP_ID_normalise, &longest);
    for (int64_t n = 1; n < 8; n += 2) {
        const hl_case logits = {
            .what = "alignment",
            .in = {RANDOM(5, 300 + n), {HL_DTYPE_I32, 1, {5}, HL_FILL_INDEX, 0, 300, 0}},
            .n_in = 2};
        try_case(HL_OP_ID_cross_entropy, &logits);
    }
    const hl_case dropped = {
        .what = "fours", .in = {RANDOM(6, 44)}, .n_in = 1, .attr = {0.3}, .attr_given = 1};
    try_case(HL_OP_ID_dropout, &dropped);
}

/* More than one block of a tensor, several tensors, one of them empty; rows in parts. */
static void many_numbers(void)
{
    const hl_case adamw = {.what = "two blocks",
                           .in = {NUMBER(0.01), NUMBER(3), NUMBER(0.5), NUMBER(1), VECTOR(8196),
                                  VECTOR(8196), VECTOR(8196), SQUARES(8196)},
                           .n_in = 8};
    const hl_case sgd = {.what = "two tensors",
                         .in = {NUMBER(0.1), NUMBER(0.5), NUMBER(1), VECTOR(4097), VECTOR(4097),
                                VECTOR(4097), VECTOR(9), VECTOR(9), VECTOR(9)},
                         .n_in = 9,
                         .attr = {0.9, 0.01},
                         .attr_given = 3};
    const hl_case norm = {.what = "blocks and nothing",
                          .in = {VECTOR(4096), VECTOR(0), VECTOR(5000), VECTOR(3)},
                          .n_in = 4};
    const hl_case moments = {.what = "parts of rows",
                             .in = {RANDOM(2, 20000)},
                             .n_in = 1,
                             .attr = {1, 1},
                             .attr_given = 3};
    try_case(HL_OP_ID_adamw, &adamw);
    try_case(HL_OP_ID_sgd, &sgd);
    try_case(HL_OP_ID_global_norm, &norm);
    try_case(HL_OP_ID_moments, &moments);
}

/* Products of codes over several tiles, of weights whose rows lie at odd places. */
static void codes_of_sizes(void)
{
    static const int64_t sizes[][3] = {{70, 130, 150}, {65, 67, 66}, {1, 5, 16}};
    for (size_t i = 0; i < 3; i++) {
        const int64_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
        const hl_case c = {.what = "tiles",
                           .in = {RANDOM(m, k),
                                  {HL_DTYPE_F64, 1, {7}, HL_FILL_RANGE, -2, 2, 0},
                                  {HL_DTYPE_I8, 2, {n, k}, HL_FILL_RANGE, -128, 127, 0},
                                  SQUARES(n)},
                           .n_in = 4};
        try_case(HL_OP_ID_linear_int8, &c);
    }
}

/* --- quantization: the bits of the CPU --- */

/* Is the call one whose result depends on no order of sums of floats? */
static bool is_exact(const case_data *d)
{
    static const hl_op_id ops[] = {HL_OP_ID_observe,      HL_OP_ID_fake_quant,
                                   HL_OP_ID_quant_encode, HL_OP_ID_quant_decode,
                                   HL_OP_ID_vector_quant, HL_OP_ID_fake_fp8,
                                   HL_OP_ID_linear_int8,  HL_OP_ID_embedding_int8,
                                   HL_OP_ID_rescale,      HL_OP_ID_attention_quant};
    const int act = hl_op_attr(d->op, "act"), measure = hl_op_attr(d->op, "measure");
    if (act >= 0 && d->attrs.v[act].i == HL_ACT_GELU)
        return false; /* contracted on the CPU */
    if (measure >= 0 && d->attrs.v[measure].i)
        return false; /* sums of errors */
    if (d->op == hl_op_get(HL_OP_ID_attention_quant) && d->c->n_in < 8)
        return false; /* products of floats */
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (d->op == hl_op_get(ops[i]))
            return true;
    return false;
}

static size_t bytes_of(const case_data *d, int i)
{
    return d->c->in[i].absent ? 0 : hl_type_bytes(&d->type[i]);
}

/* Outputs and states, twice with the same inputs. */
static void same_bits(case_data *d)
{
    hl_graph *g;
    hl_id leaves[HL_CASE_INPUTS], first, outs[HL_MAX_OUT];
    double *out[2][HL_MAX_OUT];
    unsigned char *before[HL_CASE_INPUTS], *after[HL_CASE_INPUTS];
    int64_t count[HL_MAX_OUT];
    hl_status st = HL_OK;
    if (!is_exact(d))
        return;
    EXPECT(d->op->gpu != NULL, "%s has no kernel", d->op->name);
    EXPECT(case_record(d, &g, leaves, &first) == HL_OK, "%s, %s", d->op->name, d->c->what);
    const int n = n_outputs(g, first);
    for (int i = 0; i < n; i++)
        outs[i] = first + i;
    for (int i = 0; i < d->c->n_in; i++) {
        before[i] = malloc(bytes_of(d, i) + 1);
        after[i] = malloc(bytes_of(d, i) + 1);
        if (bytes_of(d, i))
            memcpy(before[i], d->as_f32[i], bytes_of(d, i));
    }
    for (int on_device = 0; on_device < 2 && st == HL_OK; on_device++) {
        for (int i = 0; on_device && i < d->c->n_in; i++)
            if (bytes_of(d, i)) {
                memcpy(after[i], d->as_f32[i], bytes_of(d, i));
                memcpy(d->as_f32[i], before[i], bytes_of(d, i));
            }
        case_device = on_device ? device : NULL;
        st = case_run(d, g, outs, n, false, NULL, out[on_device], count);
    }
    case_device = device;
    EXPECT(st == HL_OK, "%s, %s: %s", d->op->name, d->c->what, hl_err_message());
    for (int i = 0; i < n && st == HL_OK; i++) {
        EXPECT(memcmp(out[0][i], out[1][i], (size_t)count[i] * sizeof(double)) == 0,
               "%s, %s: other bits of output %d", d->op->name, d->c->what, i);
        free(out[0][i]);
        free(out[1][i]);
    }
    for (int i = 0; i < d->c->n_in; i++) {
        EXPECT(st != HL_OK || !bytes_of(d, i) ||
                   memcmp(after[i], d->as_f32[i], bytes_of(d, i)) == 0,
               "%s, %s: other bits of input %d", d->op->name, d->c->what, i);
        free(before[i]);
        free(after[i]);
    }
    hl_graph_free(g);
}

/* Each estimator finds the same range of three batches, here and there. */
static void ranges(void)
{
    enum { ROWS = 6, COLS = 3001, BATCHES = 3, N = ROWS * COLS };
    static float x[N];
    const hl_gpu_backend *b = hl_gpu_get();
    void *there = b->alloc(device->gpu, sizeof x);
    for (int k = 0; k < 10; k++) {
        const hl_quant_options q = {k % 2 ? HL_QUANT_ASYMMETRIC : HL_QUANT_SYMMETRIC, 3, 1, false};
        hl_range_options o = hl_range_defaults((hl_range_method)(k / 2 % 4), q);
        hl_range_estimator *e[2] = {NULL, NULL};
        hl_range_device on = {.gpu = device->gpu};
        o.n_candidates = 20;
        o.percentile = k >= 8 ? 3 : k / 2 == 1 ? 99.5 : 0;
        EXPECT(hl_range_estimator_new(&o, &e[0]) == HL_OK &&
                   hl_range_estimator_new(&o, &e[1]) == HL_OK,
               "estimator %d: %s", k, hl_err_message());
        for (int batch = 0; e[1] && batch < BATCHES; batch++) {
            hl_quant_range want, got;
            for (int i = 0; i < N; i++)
                x[i] = (float)case_noise(5 + (uint32_t)batch, i) * (batch == 1 ? 3.0f : 1.0f);
            b->copy(device->gpu, there, x, sizeof x);
            const hl_status st[2] = {
                hl_range_estimator_observe(e[0], NULL, ROWS, COLS, x, &want),
                hl_range_estimator_observe_on(e[1], &on, &(hl_range_rows){ROWS, COLS, there}, false,
                                              &got)};
            EXPECT(st[0] == HL_OK && st[1] == HL_OK, "estimator %d: %s", k, hl_err_message());
            EXPECT(st[0] != HL_OK || st[1] != HL_OK ||
                       (want.lo[0] == got.lo[0] && want.hi[0] == got.hi[0]),
                   "estimator %d, batch %d: %.17g to %.17g, not %.17g to %.17g", k, batch,
                   got.lo[0], got.hi[0], want.lo[0], want.hi[0]);
        }
        hl_range_estimator_free(e[0]);
        hl_range_estimator_free(e[1]);
        hl_range_device_done(&on);
    }
    b->free(device->gpu, there);
}

/* Ids and labels outside of their tables: the message of the CPU, and no update. */
static void faults(void)
{
    const int64_t table[2] = {5, 4}, n[1] = {3};
    float w[20] = {0}, before[20];
    int32_t ids[3] = {0, 7, 1};
    hl_graph *g;
    hl_program *p = NULL;
    for (int i = 0; i < 20; i++)
        before[i] = w[i] = (float)i;
    EXPECT(hl_graph_new(&g) == HL_OK, "graph");
    const hl_id state = hl_graph_state(g, "w", hl_type_make(HL_DTYPE_F32, 2, table));
    const hl_id rows = hl_graph_input(g, "ids", hl_type_make(HL_DTYPE_I32, 1, n));
    const hl_id in[2] = {state, rows};
    const hl_id y = hl_graph_append(g, hl_op_get(HL_OP_ID_embedding), in, 2, NULL);
    const hl_id b = hl_graph_state(g, "b", hl_type_make(HL_DTYPE_F32, 2, table));
    const hl_id one = hl_graph_const(g, 1),
                zero_grad = hl_graph_input(g, "g", hl_type_make(HL_DTYPE_F32, 2, table));
    const hl_id sgd[6] = {one, one, one, state, zero_grad, b};
    const hl_id done = hl_graph_append(g, hl_op_get(HL_OP_ID_sgd), sgd, 6, NULL),
                outs[2] = {y, done};
    const hl_compile how = {.outputs = outs, .n_outputs = 2, .n_workers = 1, .device = device};
    EXPECT(hl_program_new(g, &how, &p) == HL_OK, "%s", hl_err_message());
    float grad[20], momentum[20] = {0};
    for (int i = 0; i < 20; i++)
        grad[i] = 1;
    for (int i = 0; p && i < hl_program_n_bindings(p); i++) {
        const char *name = hl_program_binding(p, i)->name;
        hl_program_bind(p, i,
                        strcmp(name, "w") == 0     ? (void *)w
                        : strcmp(name, "ids") == 0 ? (void *)ids
                        : strcmp(name, "g") == 0   ? (void *)grad
                                                   : (void *)momentum);
    }
    const hl_exec x = {.seed = 1};
    EXPECT(hl_program_run(p, &x) == HL_E_ARG, "an id outside of the table");
    EXPECT(strstr(hl_err_message(), "id 7 at position 2 is outside the table of 5 rows") != NULL &&
               strstr(hl_err_message(), "embedding") != NULL,
           "message: %s", hl_err_message());
    EXPECT(memcmp(w, before, sizeof w) == 0, "an update after a fault");
    ids[1] = 4;
    EXPECT(hl_program_run(p, &x) == HL_OK, "%s", hl_err_message());
    EXPECT(w[3] == before[3] - 1, "no update without a fault");
    hl_program_free(p);
    hl_graph_free(g);
}

/* Labels on few of many rows: how many is not asked for, so the program is captured, and tiles
 * without labels are left out when it is replayed. All its runs give the same bits, those of more
 * and of fewer labels too. */
static void labels_alone(void)
{
    enum { ROWS = 2100, D = 4, V = 5, OUTS = 5 };
    static float h[ROWS * D], w[V * D], bias[V], gloss[1] = {1};
    static int32_t labels[ROWS];
    static const int every[2] = {3, 1}; /* 700 rows, which lie in the first tile, and all */
    const int64_t hs[2] = {ROWS, D}, ws[2] = {V, D}, n_rows = ROWS, n_bias = V;
    static double first[OUTS][ROWS * D];
    hl_graph *g;
    hl_program *p = NULL;
    EXPECT(hl_graph_new(&g) == HL_OK, "graph");
    const hl_id in[5] = {hl_graph_input(g, "g", hl_type_scalar(HL_DTYPE_F32)),
                         hl_graph_input(g, "h", hl_type_make(HL_DTYPE_F32, 2, hs)),
                         hl_graph_input(g, "w", hl_type_make(HL_DTYPE_F32, 2, ws)),
                         hl_graph_input(g, "b", hl_type_make(HL_DTYPE_F32, 1, &n_bias)),
                         hl_graph_input(g, "l", hl_type_make(HL_DTYPE_I32, 1, &n_rows))};
    const hl_id y = hl_graph_append(g, hl_op_get(HL_OP_ID_lm_loss_grad), in, 5, NULL);
    const hl_id outs[OUTS] = {y, y + 1, y + 2, y + 3, y + 4};
    const hl_compile how = {.outputs = outs, .n_outputs = OUTS, .n_workers = 1, .device = device};
    void *const data[5] = {gloss, h, w, bias, labels};
    EXPECT(hl_program_new(g, &how, &p) == HL_OK, "%s", hl_err_message());
    for (int i = 0; i < ROWS * D; i++)
        h[i] = sinf((float)i);
    for (int i = 0; i < V * D; i++)
        w[i] = cosf((float)i);
    for (int i = 0; p && i < hl_program_n_bindings(p); i++)
        for (int k = 0; k < 5; k++)
            if (strcmp(hl_program_binding(p, i)->name,
                       (const char *[]){"g", "h", "w", "b", "l"}[k]) == 0)
                hl_program_bind(p, i, data[k]);
    for (int again = 0; p && again < 4; again++) {
        const int k = again % 2;
        double count = 0, loss = 0;
        const hl_exec x = {.seed = 1};
        for (int r = 0; r < ROWS; r++) {
            double logit[V], s = 0;
            labels[r] = r % every[k] == 0 ? r % V : -100;
            for (int c = 0; c < V; c++) {
                logit[c] = (double)bias[c];
                for (int e = 0; e < D; e++)
                    logit[c] += (double)h[r * D + e] * (double)w[c * D + e];
                s += exp(logit[c]);
            }
            if (labels[r] >= 0) {
                count++;
                loss += log(s) - logit[labels[r]];
            }
        }
        EXPECT(hl_program_run(p, &x) == HL_OK, "%s", hl_err_message());
        EXPECT((double)*(const float *)hl_program_output(p, 1) == count, "labels counted");
        EXPECT(fabs((double)*(const float *)hl_program_output(p, 0) - loss / count) < 1e-5, "loss");
        for (int o = 0; k == 0 && o < OUTS; o++) {
            const size_t bytes = hl_type_bytes(hl_program_output_type(p, o));
            if (again == 0)
                memcpy(first[o], hl_program_output(p, o), bytes);
            else
                EXPECT(memcmp(first[o], hl_program_output(p, o), bytes) == 0,
                       "output %d: other bits where it is replayed", o);
        }
    }
    EXPECT(p && hl_program_get_info(p).n_replayed == 3, "replayed");
    hl_program_free(p);
    hl_graph_free(g);
}

/* A step of fp16 on y = h w2, h = x w1, with a loss of 1e-9 of y: its gradients are nothing in half
 * floats unless the loss is scaled. */
typedef struct scaled {
    float x[4], w1[16], w2[16], m1[16], m2[16], t, lr, scale, good;
    hl_program *p;
} scaled;

static hl_status scaled_open(scaled *s)
{
    static const char *const names[] = {"x",
                                        "w1",
                                        "w2",
                                        "w1.momentum",
                                        "w2.momentum",
                                        "optim.t",
                                        "lr",
                                        "optim.loss_scale",
                                        "optim.good_steps"};
    void *const data[] = {s->x, s->w1, s->w2, s->m1, s->m2, &s->t, &s->lr, &s->scale, &s->good};
    const int64_t xs[2] = {1, 4}, ws[2] = {4, 4};
    hl_graph *g;
    hl_train_graph tg = {0};
    *s = (scaled){.lr = 1e6F, .x = {1, 2, 3, 4}};
    for (int i = 0; i < 16; i++)
        s->w1[i] = s->w2[i] = 0.25F + 0.125F * (float)(i % 3);
    hl_status st = hl_graph_new(&g);
    const hl_id x = hl_graph_input(g, "x", hl_type_make(HL_DTYPE_F32, 2, xs));
    const hl_id w1 = hl_graph_state(g, "w1", hl_type_make(HL_DTYPE_F32, 2, ws));
    const hl_id w2 = hl_graph_state(g, "w2", hl_type_make(HL_DTYPE_F32, 2, ws));
    const hl_id y = hl_g_matmul(g, hl_g_matmul(g, x, false, w1, false), false, w2, false);
    const hl_id loss = hl_g_scale(g, hl_g_sum(g, y, 0, false), 1e-9);
    const hl_train_options o = {.optim = {.kind = HL_OPTIM_SGD}, .fp16 = true};
    if (st == HL_OK)
        st = hl_train_graph_new(g, loss, &o, &tg);
    const hl_compile how = {
        .outputs = tg.outputs, .n_outputs = tg.n_outputs, .n_workers = 1, .device = device};
    if (st == HL_OK)
        st = hl_program_new(tg.g, &how, &s->p);
    for (int i = 0; st == HL_OK && i < hl_program_n_bindings(s->p); i++)
        for (size_t k = 0; k < sizeof data / sizeof data[0]; k++)
            if (strcmp(hl_program_binding(s->p, i)->name, names[k]) == 0)
                hl_program_bind(s->p, i, data[k]);
    hl_train_graph_done(&tg);
    hl_graph_free(g);
    return st;
}

static void loss_scale(void)
{
    scaled s;
    const hl_exec x = {.seed = 1};
    hl_gpu_get()->use_f16(device->gpu, true);
    EXPECT(scaled_open(&s) == HL_OK && hl_program_run(s.p, &x) == HL_OK, "%s", hl_err_message());
    /* d loss / d w1[i, k] = 1e-9 x[i] sum over c of w2[k, c]; steps of 1e6 */
    const float sum = 0.25F * 4 + 0.125F * 3, moved = 1e-3F * 2 * sum, before = 0.25F + 0.125F;
    EXPECT(fabsf(s.w1[4] - (before - moved)) < 0.01F * moved, "scaled: w1 is %g", (double)s.w1[4]);
    EXPECT(s.scale == 65536 && s.good == 1 && s.t == 1, "scale %g", (double)s.scale);
    s.scale = 1; /* as good as none: the gradient of h vanishes, w1 stays */
    const float w1 = s.w1[4], w2 = s.w2[4];
    s.good = 1999;
    EXPECT(hl_program_run(s.p, &x) == HL_OK, "%s", hl_err_message());
    EXPECT(s.w1[4] == w1, "unscaled: w1 is %g", (double)s.w1[4]);
    EXPECT(s.scale == 2 && s.good == 0 && s.t == 2, "not doubled: %g", (double)s.scale);
    /* too large: skipped, halved, everything else untouched */
    const float m1 = s.m1[4], now = s.w1[4], w2_now = s.w2[4];
    s.scale = 0x1p47F;
    s.good = 5;
    for (int i = 0; i < 2; i++) { /* captured, replayed */
        EXPECT(hl_program_run(s.p, &x) == HL_OK, "%s", hl_err_message());
        EXPECT(*(const float *)hl_program_output(s.p, HL_TRAIN_OK) == 0, "an update");
        EXPECT(s.w1[4] == now && s.w2[4] == w2_now && s.m1[4] == m1 && s.t == 2, "not skipped");
        s.scale *= i == 0 ? 0x1p7F : 1; /* from the most that there may be */
    }
    EXPECT(s.scale == 0x1p40F && s.good == 0, "not halved: %g", (double)s.scale);
    (void)w2;
    hl_program_free(s.p);
    hl_gpu_get()->use_f16(device->gpu, false);
}

/* Data handed in ahead: copied beside the run, in order, over what is bound; taken back. */
static void ahead(void)
{
    const int64_t n = 300;
    static float x[300], bound[300];
    hl_graph *g;
    hl_program *p = NULL;
    const hl_exec e = {.seed = 1};
    EXPECT(hl_graph_new(&g) == HL_OK, "graph");
    const hl_id y = hl_g_scale(g, hl_graph_input(g, "x", hl_type_make(HL_DTYPE_F32, 1, &n)), 2);
    const hl_compile how = {.outputs = &y, .n_outputs = 1, .n_workers = 1, .device = device};
    EXPECT(hl_program_new(g, &how, &p) == HL_OK, "%s", hl_err_message());
    hl_program_bind(p, 0, bound);
    for (int i = 0; i < 7; i++) {
        const float *out;
        for (int k = i == 0 ? 0 : 1; k < 2; k++) { /* the one of this run, and the next */
            x[299] = (float)(i + k);
            EXPECT(hl_program_ahead(p, 0, x) == HL_OK, "%s", hl_err_message());
            x[299] = -1;
        }
        EXPECT(hl_program_ahead(p, 0, x) == HL_E_STATE, "a third");
        EXPECT(hl_program_run(p, &e) == HL_OK, "%s", hl_err_message());
        out = hl_program_output(p, 0);
        EXPECT(out[299] == 2 * (float)i, "run %d has %g", i, (double)out[299]);
    }
    EXPECT(hl_program_get_info(p).n_replayed == 6, "not replayed");
    const float *back = hl_program_ahead_drop(p, 0);
    EXPECT(back && back[299] == 7 && !hl_program_ahead_drop(p, 0), "not taken back");
    bound[299] = 30;
    EXPECT(hl_program_run(p, &e) == HL_OK, "%s", hl_err_message());
    EXPECT(((const float *)hl_program_output(p, 0))[299] == 60, "what is bound");
    hl_program_free(p);
    hl_graph_free(g);
}

int main(int argc, char **argv)
{
    int on_device = 0;
    if (hl_device_open(argc > 1 ? argv[1] : "cuda", &device) != HL_OK) {
        printf("%s\n", hl_err_message());
        return 77;
    }
    printf("%s: %s\n", hl_gpu_get()->name, device->info.name);
    for (int i = 0; i < HL_OP_COUNT; i++)
        on_device += hl_op_get((hl_op_id)i)->gpu != NULL;
    each_case(forward, HL_OK);
    each_case(updates, HL_OK);
    each_case(gradient, HL_OK);
    each_case(same_bits, HL_OK);
    ranges();
    rows_of_norms();
    rows_of_scores();
    many_numbers();
    codes_of_sizes();
    faults();
    labels_alone();
    loss_scale();
    ahead();
    failures += tile_check(&compared);
    failures += attention_check(device->gpu, &compared);
    hl_device_close(device);
    printf("%d comparisons, %d failed; %d of %d ops have kernels\n", compared, failures, on_device,
           (int)HL_OP_COUNT);
    return failures != 0;
}
