/* The kernels of a device against the rows' double references: every case of every row that has
 * one, updates, gradients, and a training step that is captured and replayed. A plain program: it
 * also runs where there is nothing but nvcc (tests/gpu/run.sh). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/exec/device.h"
#include "engine/pass/pass.h"
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
    faults();
    failures += tile_check(&compared);
    failures += attention_check(device->gpu, &compared);
    hl_device_close(device);
    printf("%d comparisons, %d failed; %d of %d ops have kernels\n", compared, failures, on_device,
           (int)HL_OP_COUNT);
    return failures != 0;
}
