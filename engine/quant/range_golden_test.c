/* Quantizers and range estimators against reference numbers (tests/golden/README.md): what is
 * defined to the bit is equal, searches attain the reference's loss. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/ckpt/safetensors.h"
#include "engine/quant/range.h"

typedef struct golden {
    hl_safetensors *f;
    int n_compared; /* tensors */
} golden;

static golden open_golden(const char *file)
{
    golden g = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/quantization/%s.safetensors",
             getenv("HOPLAB_SOURCE"), file);
    cr_assert_eq(hl_safetensors_open(path, &g.f), HL_OK, "%s", hl_err_message());
    return g;
}

static const hl_tensor_entry *find(const golden *g, const char *prefix, const char *leaf)
{
    char name[256];
    snprintf(name, sizeof name, "%s%s", prefix, leaf);
    return hl_safetensors_find(g->f, name);
}

static const hl_tensor_entry *need(const golden *g, const char *prefix, const char *leaf)
{
    const hl_tensor_entry *e = find(g, prefix, leaf);
    cr_assert(e, "no %s%s", prefix, leaf);
    return e;
}

static int64_t count(const hl_tensor_entry *e)
{
    return hl_type_count(&e->type);
}

static float at(const hl_tensor_entry *e, int64_t i)
{
    return ((const float *)e->data)[i];
}

/* A double is stored as two floats. */
static double double_at(const golden *g, const char *prefix, const char *leaf, int64_t i)
{
    char low[80];
    snprintf(low, sizeof low, "%s_lo", leaf);
    const hl_tensor_entry *lo = find(g, prefix, low);
    return (double)at(need(g, prefix, leaf), i) + (lo ? (double)at(lo, i) : 0);
}

/* The double rounded as it was stored: to the sum of two floats. */
static double as_stored(double x)
{
    return (double)(float)x + (double)(float)(x - (double)(float)x);
}

/* --- one quantizer --- */

typedef struct kind {
    hl_quant_options o;
    double tol; /* relative, of scale and outputs; 0: equal */
} kind;

/* "…sym_b8…" or "…asym_ties…" */
static kind kind_of(const char *name, int64_t n_channels)
{
    const char *bits = strstr(name, "sym_b");
    kind k = {.o = {.scheme = strstr(name, "asym") ? HL_QUANT_ASYMMETRIC : HL_QUANT_SYMMETRIC,
                    .bits = bits ? atoi(bits + 5) : 8,
                    .n_channels = n_channels,
                    .log_scale = strncmp(name, "log_", 4) == 0}};
    k.tol = k.o.log_scale ? 1e-6 : 0;
    return k;
}

static void same_values(golden *g, const char *prefix, const char *leaf, double tol, int64_t n,
                        const float *got)
{
    const hl_tensor_entry *e = find(g, prefix, leaf);
    if (!e)
        return;
    cr_assert_eq(count(e), n, "%s%s", prefix, leaf);
    for (int64_t i = 0; i < n; i++)
        cr_expect(fabs((double)(got[i] - at(e, i))) <= tol * fabs((double)at(e, i)),
                  "%s%s[%lld]: %.9g, not %.9g", prefix, leaf, (long long)i, (double)got[i],
                  (double)at(e, i));
    g->n_compared++;
}

static void same_doubles(golden *g, const char *prefix, const char *leaf, double tol, int64_t n,
                         const double *got)
{
    const hl_tensor_entry *e = find(g, prefix, leaf);
    if (!e)
        return;
    cr_assert_eq(count(e), n, "%s%s", prefix, leaf);
    for (int64_t i = 0; i < n; i++) {
        const double want = double_at(g, prefix, leaf, i);
        cr_expect(fabs(as_stored(got[i]) - want) <= tol * fabs(want),
                  "%s%s[%lld]: %.17g, not %.17g", prefix, leaf, (long long)i, got[i], want);
    }
    g->n_compared++;
}

static void same_number(golden *g, const char *prefix, const char *leaf, float got)
{
    same_values(g, prefix, leaf, 0, 1, &got);
}

/* Every leaf that the file has for this quantizer. */
static void check_quantizer(golden *g, const char *prefix, double tol, const hl_quantizer *q,
                            const hl_tensor_entry *x)
{
    const int64_t n = count(x), n_channels = q->o.n_channels;
    const size_t bytes = (size_t)n * sizeof(float);
    float *y = malloc(bytes), *codes = malloc(bytes);
    int32_t *integers = malloc((size_t)n * sizeof *integers);
    hl_quantizer_apply(q, (hl_quant_part){n, 0, n}, x->data, y);
    hl_quantizer_encode(q, (hl_quant_part){n, 0, n}, x->data, HL_CODE_I32, integers);
    for (int64_t i = 0; i < n; i++)
        codes[i] = (float)integers[i];
    same_doubles(g, prefix, "delta", tol, n_channels, q->delta);
    same_values(g, prefix, "scale", tol, n_channels, q->scale);
    same_doubles(g, prefix, "zero_float", tol, n_channels, q->zero_float);
    same_values(g, prefix, "zero_point", 0, q->o.scheme == HL_QUANT_SYMMETRIC ? 1 : n_channels,
                q->zero_point);
    same_number(g, prefix, "signed", (float)(q->int_min < 0));
    same_number(g, prefix, "int_min", (float)q->int_min);
    same_number(g, prefix, "int_max", (float)q->int_max);
    same_values(g, prefix, "x_int", 0, n, codes);
    same_values(g, prefix, "x_q", tol, n, y);
    free(y);
    free(codes);
    free(integers);
}

static void set_range(hl_quantizer *q, const hl_quant_range *r)
{
    cr_assert_eq(hl_quantizer_set_range(q, r), HL_OK, "%s", hl_err_message());
}

/* A quantizer with the float ranges that the file names. */
static void check_given_range(golden *g, const char *prefix, const char *name,
                              const hl_tensor_entry *x, int64_t n, const float *lo, const float *hi)
{
    double ends[2][64];
    for (int64_t c = 0; c < n; c++) {
        ends[0][c] = (double)lo[c];
        ends[1][c] = (double)hi[c];
    }
    const kind k = kind_of(name, n);
    hl_quantizer q;
    cr_assert_eq(hl_quantizer_init(&q, &k.o), HL_OK, "%s", hl_err_message());
    set_range(&q, &(hl_quant_range){.n = n, .lo = ends[0], .hi = ends[1]});
    check_quantizer(g, prefix, k.tol, &q, x);
    hl_quantizer_done(&q);
}

/* "a/b/leaf" -> "a/b/" */
static bool prefix_of(const char *name, const char *leaf, char out[160])
{
    const size_t n = strlen(name), m = strlen(leaf);
    if (n < m + 1 || strcmp(name + n - m, leaf) != 0 || name[n - m - 1] != '/')
        return false;
    snprintf(out, 160, "%.*s", (int)(n - m), name);
    return true;
}

Test(quant_golden, given_ranges)
{
    golden g = open_golden("fixed_range");
    char prefix[160];
    int n_cases = 0;
    for (size_t i = 0; i < hl_safetensors_count(g.f); i++) {
        const char *name = hl_safetensors_at(g.f, i)->name;
        if (!prefix_of(name, "x_q", prefix))
            continue;
        n_cases++;
        if (strncmp(prefix, "pc/", 3) == 0) {
            check_given_range(&g, prefix, prefix + 3, need(&g, "pc/", "x"), 6,
                              need(&g, "pc/", "x_min")->data, need(&g, "pc/", "x_max")->data);
            continue;
        }
        static const float log_range[2] = {-1.7f, 2.3f};
        const hl_tensor_entry *own = find(&g, prefix, "x");
        const float *range =
            strncmp(prefix, "log_", 4) == 0 ? log_range : need(&g, prefix, "range")->data;
        check_given_range(&g, prefix, prefix, own ? own : need(&g, "", "x"), 1, range, range + 1);
    }
    cr_expect_eq(n_cases, 66, "%d cases", n_cases);
    cr_expect_eq(g.n_compared, 66 * 8, "%d tensors compared", g.n_compared);
    hl_safetensors_close(g.f);
}

/* --- estimators --- */

static hl_range_estimator *estimator(const hl_range_options *o)
{
    hl_range_estimator *e = NULL;
    cr_assert_eq(hl_range_estimator_new(o, &e), HL_OK, "%s", hl_err_message());
    return e;
}

static hl_quant_range observe(hl_range_estimator *e, const hl_tensor_entry *x)
{
    hl_quant_range r;
    const int64_t n_rows = x->type.dim[0];
    cr_assert_eq(hl_range_estimator_observe(e, NULL, n_rows, count(x) / n_rows, x->data, &r), HL_OK,
                 "%s", hl_err_message());
    return r;
}

Test(quant_golden, current_minmax)
{
    golden g = open_golden("current_minmax");
    char prefix[160], input[160];
    int n_cases = 0;
    for (size_t i = 0; i < hl_safetensors_count(g.f); i++) {
        if (!prefix_of(hl_safetensors_at(g.f, i)->name, "x_q", prefix))
            continue;
        n_cases++;
        snprintf(input, sizeof input, "%.*s/", (int)strcspn(prefix, "/"), prefix);
        const hl_tensor_entry *x = need(&g, input, "x");
        const char *percentile = strstr(prefix, "percentile");
        const kind k = kind_of(prefix, strstr(prefix, "_pc/") ? x->type.dim[0] : 1);
        hl_range_options o = hl_range_defaults(HL_RANGE_CURRENT_MINMAX, k.o);
        o.percentile = percentile ? atof(percentile + 10) : 0;
        hl_range_estimator *e = estimator(&o);
        hl_quantizer q;
        cr_assert_eq(hl_quantizer_init(&q, &k.o), HL_OK);
        const hl_quant_range r = observe(e, x);
        same_doubles(&g, prefix, "x_min", 0, r.n, r.lo);
        same_doubles(&g, prefix, "x_max", 0, r.n, r.hi);
        set_range(&q, &r);
        check_quantizer(&g, prefix, 0, &q, x);
        hl_quantizer_done(&q);
        hl_range_estimator_free(e);
    }
    cr_expect_eq(n_cases, 56, "%d cases", n_cases);
    cr_expect_geq(g.n_compared, 56 * 9, "%d tensors compared", g.n_compared);
    hl_safetensors_close(g.f);
}

/* What a running estimate and its quantizer are after batch i. */
static void check_batch(golden *g, const char *prefix, int i, const hl_quant_range *r,
                        const hl_quantizer *q, const hl_tensor_entry *x)
{
    const int64_t n = count(x);
    float *y = malloc((size_t)n * sizeof *y);
    hl_quantizer_apply(q, (hl_quant_part){n, 0, n}, x->data, y);
    const struct {
        const char *leaf;
        double got;
    } numbers[] = {{"x_min", r->lo[0]},
                   {"x_max", r->hi[0]},
                   {"delta", q->delta[0]},
                   {"zero_float", q->zero_float[0]},
                   {"zero_point", (double)q->zero_point[0]}};
    for (int k = 0; k < 5; k++) {
        if (!find(g, prefix, numbers[k].leaf))
            continue; /* symmetric: no zero_float */
        const double want = double_at(g, prefix, numbers[k].leaf, i);
        cr_expect_eq(as_stored(numbers[k].got), want, "%s%s[%d]: %.17g, not %.17g", prefix,
                     numbers[k].leaf, i, numbers[k].got, want);
        g->n_compared++;
    }
    const float *outputs = (const float *)need(g, prefix, "x_q")->data + i * n;
    for (int64_t j = 0; j < n; j++)
        cr_assert_eq(y[j], outputs[j], "%sx_q[%d][%lld]", prefix, i, (long long)j);
    free(y);
}

static void check_running(golden *g, const char *prefix, const hl_range_options *o)
{
    char name[160];
    hl_range_estimator *e = estimator(o);
    hl_quantizer q;
    cr_assert_eq(hl_quantizer_init(&q, &o->quantizer), HL_OK);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%.*s/x%d", (int)strcspn(prefix, "/"), prefix, i);
        const hl_tensor_entry *x = need(g, "", name);
        const hl_quant_range r = observe(e, x);
        set_range(&q, &r);
        check_batch(g, prefix, i, &r, &q, x);
    }
    snprintf(name, sizeof name, "%.*s/x0", (int)strcspn(prefix, "/"), prefix);
    const hl_tensor_entry *x = need(g, "", name);
    float *y = malloc((size_t)count(x) * sizeof *y);
    hl_quantizer_apply(&q, (hl_quant_part){count(x), 0, count(x)}, x->data, y);
    same_values(g, prefix, "x_q_fixed_on_x0", 0, count(x), y);
    free(y);
    hl_quantizer_done(&q);
    hl_range_estimator_free(e);
}

Test(quant_golden, running_minmax)
{
    golden g = open_golden("running_minmax");
    char prefix[160];
    int n_cases = 0;
    for (size_t i = 0; i < hl_safetensors_count(g.f); i++) {
        if (!prefix_of(hl_safetensors_at(g.f, i)->name, "x_q", prefix))
            continue;
        n_cases++;
        const kind k = kind_of(prefix, 1);
        const char *percentile = strstr(prefix, "_p"), *momentum = strstr(prefix, "_m");
        cr_assert(percentile && momentum);
        hl_range_options o = hl_range_defaults(HL_RANGE_RUNNING_MINMAX, k.o);
        o.percentile = atof(percentile + 2); /* "none": 0 */
        o.momentum = atof(momentum + 2);
        check_running(&g, prefix, &o);
    }
    cr_expect_eq(n_cases, 48, "%d cases", n_cases);
    cr_expect_geq(g.n_compared, 48 * (4 * 3 + 1), "%d tensors compared", g.n_compared);
    hl_safetensors_close(g.f);
}

Test(quant_golden, running_minmax_per_channel)
{
    golden g = open_golden("running_minmax");
    const kind k = kind_of("sym_b8", 3);
    hl_range_options o = hl_range_defaults(HL_RANGE_RUNNING_MINMAX, k.o);
    o.percentile = 99.9; /* is for tensors alone */
    hl_range_estimator *e = estimator(&o);
    hl_quantizer q;
    cr_assert_eq(hl_quantizer_init(&q, &k.o), HL_OK);
    for (int i = 0; i < 4; i++) {
        char name[40];
        snprintf(name, sizeof name, "act/x%d", i);
        const hl_tensor_entry *x = need(&g, "", name);
        const hl_quant_range r = observe(e, x);
        float y[3 * 7 * 16];
        set_range(&q, &r);
        hl_quantizer_apply(&q, (hl_quant_part){count(x), 0, count(x)}, x->data, y);
        snprintf(name, sizeof name, "x_min%d", i);
        same_doubles(&g, "act/sym_b8_pc/", name, 0, 3, r.lo);
        snprintf(name, sizeof name, "x_max%d", i);
        same_doubles(&g, "act/sym_b8_pc/", name, 0, 3, r.hi);
        snprintf(name, sizeof name, "x_q%d", i);
        same_values(&g, "act/sym_b8_pc/", name, 0, count(x), y);
    }
    cr_expect_eq(g.n_compared, 12);
    hl_quantizer_done(&q);
    hl_range_estimator_free(e);
    hl_safetensors_close(g.f);
}

/* --- searches --- */

/* Squared error on one row or, per tensor, all of them, from the definition. */
static double loss_of(const hl_quant_options *options, const hl_tensor_entry *x, int64_t channel,
                      double lo, double hi)
{
    const int64_t n = count(x) / options->n_channels;
    const float *p = (const float *)x->data + channel * n;
    hl_quant_options one = *options;
    one.n_channels = 1;
    hl_quantizer q;
    cr_assert_eq(hl_quantizer_init(&q, &one), HL_OK);
    set_range(&q, &(hl_quant_range){.n = 1, .lo = &lo, .hi = &hi});
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        float y;
        hl_quantizer_apply(&q, (hl_quant_part){1, 0, 1}, p + i, &y);
        sum += ((double)p[i] - (double)y) * ((double)p[i] - (double)y);
    }
    hl_quantizer_done(&q);
    return sum;
}

/* The quantizer that the file's own last range gives. */
static void check_final_leaves(golden *g, const char *prefix, int last, const hl_tensor_entry *x,
                               int64_t n_channels)
{
    char leaf[40];
    snprintf(leaf, sizeof leaf, "x_min%d", last);
    const float *lo = need(g, prefix, leaf)->data;
    snprintf(leaf, sizeof leaf, "x_max%d", last);
    check_given_range(g, prefix, prefix, x, n_channels, lo, need(g, prefix, leaf)->data);
}

/* State of an estimator: batches, one-sided, ends, reach, thresholds, table. */
static double *state_of(const hl_range_estimator *e)
{
    double *s = malloc(hl_range_estimator_state_count(e) * sizeof *s);
    hl_range_estimator_get_state(e, s);
    return s;
}

static void check_table(golden *g, const char *prefix, const double *s, int64_t n_channels,
                        int n_candidates)
{
    const hl_tensor_entry *search = need(g, prefix, "search"),
                          *table = find(g, prefix, "loss_array");
    const double *space = s + 2 + 2 * n_channels;
    for (int i = 0; i < 3; i++)
        cr_expect_eq((float)space[i], at(search, i), "%ssearch[%d]", prefix, i);
    cr_expect_eq((float)(space[0] / n_candidates), at(search, 3), "%sstep", prefix);
    cr_expect_eq((float)s[1], at(search, 4), "%sone_sided", prefix);
    if (!table)
        return;
    for (int64_t i = 0; i < count(table); i++) {
        const double want = (double)at(table, i), got = space[3 + i];
        cr_expect(want == -1 ? isinf(got) : fabs(got - want) <= 3e-6 * want,
                  "%sloss_array[%lld]: %.9g, not %.9g", prefix, (long long)i, got, want);
    }
    g->n_compared++;
}

static double margin_of(const golden *g, const char *name, int i)
{
    char key[80];
    snprintf(key, sizeof key, "%s/margin%d", name, i);
    const char *margin = hl_safetensors_metadata(g->f, key);
    cr_assert(margin, "no %s", key);
    return atof(margin);
}

/* Where the best is best by more than rounding, it must be found. */
static void check_grid_batch(golden *g, const char *name, int i, const hl_quant_range *r,
                             const double *s)
{
    char prefix[80], leaf[40];
    snprintf(prefix, sizeof prefix, "%s/", name);
    const double *table = s + 2 + 2 * r->n + 3;
    snprintf(leaf, sizeof leaf, "min_loss%d", i);
    const hl_tensor_entry *best = need(g, prefix, leaf);
    const int64_t n = (int64_t)((s[1] == 0 && strstr(name, "asym") ? 1 : 0)
                                    ? 101 * (1 << atoi(strstr(name, "sym_b") + 5)) / 2
                                    : 101);
    for (int64_t c = 0; c < r->n; c++) {
        double least = INFINITY;
        for (int64_t k = 0; k < n; k++)
            least = fmin(least, table[c * n + k]);
        cr_expect_float_eq(least, (double)at(best, c), 3e-6 * (double)at(best, c),
                           "%s: %.9g, not %.9g", name, least, (double)at(best, c));
    }
    if (margin_of(g, name, i) > 1e-4) {
        snprintf(leaf, sizeof leaf, "x_min%d", i);
        same_doubles(g, prefix, leaf, 0, r->n, r->lo);
        snprintf(leaf, sizeof leaf, "x_max%d", i);
        same_doubles(g, prefix, leaf, 0, r->n, r->hi);
    }
    g->n_compared++;
}

static void check_grid_case(golden *g, const char *name)
{
    char prefix[80], leaf[40];
    snprintf(prefix, sizeof prefix, "%s/", name);
    const hl_tensor_entry *x = need(g, prefix, "x0"), *last = x;
    const kind k = kind_of(name, strstr(name, "_pc") ? x->type.dim[0] : 1);
    const hl_range_options o = hl_range_defaults(HL_RANGE_MSE_GRID, k.o);
    hl_range_estimator *e = estimator(&o);
    int i = 0;
    for (; x; i++) {
        const hl_quant_range r = observe(e, x);
        double *s = state_of(e);
        check_grid_batch(g, name, i, &r, s);
        free(s);
        last = x;
        snprintf(leaf, sizeof leaf, "x%d", i + 1);
        x = find(g, prefix, leaf);
    }
    double *s = state_of(e);
    check_table(g, prefix, s, k.o.n_channels, o.n_candidates);
    free(s);
    check_final_leaves(g, prefix, i - 1, last, k.o.n_channels);
    hl_range_estimator_free(e);
}

Test(quant_golden, mse_grid)
{
    static const char *const names[] = {
        "w_sym_b2",     "w_sym_b4",     "w_sym_b8",     "w_sym_b4_pc",  "w_sym_b8_pc",
        "gamma_sym_b4", "gamma_sym_b8", "relu_asym_b4", "relu_asym_b8", "act_sym_b4",
        "act_sym_b8",   "act_asym_b2",  "act_asym_b4",  "act_asym_b8",  "w_asym_b4_pc"};
    golden g = open_golden("mse_grid");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        check_grid_case(&g, names[i]);
    cr_expect_geq(g.n_compared, 15 * 8);
    hl_safetensors_close(g.f);
}

static void check_golden_section_batch(golden *g, const char *name, int i,
                                       const hl_range_options *o, const hl_quant_range *r,
                                       const hl_tensor_entry *x)
{
    char prefix[80], leaf[40];
    snprintf(prefix, sizeof prefix, "%s/", name);
    snprintf(leaf, sizeof leaf, "loss%d", i);
    const hl_tensor_entry *loss = need(g, prefix, leaf);
    for (int64_t c = 0; c < r->n; c++) {
        const double want = (double)at(loss, c),
                     got = loss_of(&o->quantizer, x, c, r->lo[c], r->hi[c]);
        cr_expect(got <= want * (1 + 1e-4) && got >= want * (1 - 1e-4),
                  "%s batch %d channel %lld: loss %.9g, not %.9g", name, i, (long long)c, got,
                  want);
    }
    g->n_compared++;
    if (strncmp(name, "act_asym", 8) == 0)
        return;
    snprintf(leaf, sizeof leaf, "x_min%d", i);
    same_doubles(g, prefix, leaf, 2e-4, r->n, r->lo);
    snprintf(leaf, sizeof leaf, "x_max%d", i);
    same_doubles(g, prefix, leaf, 2e-4, r->n, r->hi);
}

Test(quant_golden, mse_golden_section)
{
    static const char *const names[] = {"w_sym_b4",     "w_sym_b8",     "w_sym_b4_pc",
                                        "relu_asym_b4", "relu_asym_b8", "act_asym_b4",
                                        "act_asym_b8"};
    golden g = open_golden("mse_golden_section");
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        char prefix[80], leaf[40];
        snprintf(prefix, sizeof prefix, "%s/", names[n]);
        const hl_tensor_entry *x = need(&g, prefix, "x0"), *last = x;
        const kind k = kind_of(names[n], strstr(names[n], "_pc") ? x->type.dim[0] : 1);
        const hl_range_options o = hl_range_defaults(HL_RANGE_MSE_GOLDEN_SECTION, k.o);
        hl_range_estimator *e = estimator(&o);
        int i = 0;
        for (; x; i++) {
            const hl_quant_range r = observe(e, x);
            check_golden_section_batch(&g, names[n], i, &o, &r, x);
            last = x;
            snprintf(leaf, sizeof leaf, "x%d", i + 1);
            x = find(&g, prefix, leaf);
        }
        double *s = state_of(e);
        const double reach = s[2 + 2 * k.o.n_channels];
        cr_expect_eq((float)reach, at(need(&g, prefix, "bounds"), 1), "%s", names[n]);
        free(s);
        check_final_leaves(&g, prefix, i - 1, last, k.o.n_channels);
        hl_range_estimator_free(e);
    }
    cr_expect_geq(g.n_compared, 7 * 8);
    hl_safetensors_close(g.f);
}
