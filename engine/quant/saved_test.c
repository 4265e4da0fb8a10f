/* Tensors of quantized checkpoints: what fits a quantizer is taken, the rest refused by name, and
 * no damage of the file does harm. */
#define _GNU_SOURCE
#include "engine/quant/saved.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/quant/int8_gemm.h"

static char dir[64], path[128];

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/hoplab-saved-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.safetensors", dir);
}

static void remove_dir(void)
{
    HL_IGNORE(hl_fs_remove_tree(dir));
}

TestSuite(saved, .init = make_dir, .fini = remove_dir);

/* A weight {2, 3}, an activation and a bias as a file should have them. */
typedef struct content {
    int8_t codes[6];
    float scale[2], act_scale, act_zero, bias[2];
    double range[2];
    hl_tensor_entry e[6];
    size_t n;
} content;

enum { CODES, SCALE, RANGE, ACT_SCALE, ACT_ZERO, BIAS };

static hl_quant_site weight_site(int bits, int64_t channels)
{
    return (hl_quant_site){.name = (char *)"fc.weight",
                           .role = HL_QUANT_WEIGHT,
                           .is_on = true,
                           .how = {.quantizer = {HL_QUANT_SYMMETRIC, bits, channels, false}},
                           .type = {.dtype = HL_DTYPE_F32, .rank = 2, .dim = {2, 3}}};
}

static hl_quant_site act_site(void)
{
    return (hl_quant_site){.name = (char *)"fc",
                           .role = HL_QUANT_ACT,
                           .is_on = true,
                           .how = {.quantizer = {HL_QUANT_ASYMMETRIC, 8, 1, false}}};
}

/* Entries point into *c. */
static void fill(content *c)
{
    hl_quantizer q;
    const hl_quant_site act = act_site();
    double state[HL_QUANT_RANGE_FIELDS] = {1, -1, 3};
    *c = (content){.codes = {-8, 7, 0, 1, -1, 3},
                   .scale = {0.5f, 0.25f},
                   .range = {-1, 3},
                   .bias = {1, 2},
                   .n = 6};
    cr_assert_eq(hl_quantizer_init(&q, &act.how.quantizer), HL_OK);
    cr_assert_eq(hl_quantizer_take_state(&q, state, false), HL_OK);
    c->act_scale = q.scale[0];
    c->act_zero = q.zero_point[0];
    hl_quantizer_done(&q);
    const hl_tensor_entry e[6] = {
        {"fc.weight", {HL_DTYPE_I8, 2, {2, 3}}, c->codes},
        {"fc.weight.scale", {HL_DTYPE_F32, 1, {2}}, c->scale},
        {"fc.range", {HL_DTYPE_F64, 1, {2}}, c->range},
        {"fc.scale", {HL_DTYPE_F32, 1, {1}}, &c->act_scale},
        {"fc.zero_point", {HL_DTYPE_F32, 1, {1}}, &c->act_zero},
        {"fc.bias", {HL_DTYPE_F32, 1, {2}}, c->bias},
    };
    memcpy(c->e, e, sizeof e);
}

/* Takes the weight (4 bits, a scale for each row), the range and the bias of the file, as a model
 * would. */
static hl_status take_all(const hl_quant_site *weight, hl_quantizer *q, float *decoded)
{
    hl_status st = HL_OK;
    hl_quant_saved *s = NULL;
    hl_quantizer act = {0};
    hl_storage *bias = NULL;
    const hl_quant_site site = act_site();
    const hl_tensor_entry *codes = NULL;
    const hl_type vector = {HL_DTYPE_F32, 1, {2}};
    double range[HL_QUANT_RANGE_FIELDS] = {0};
    *q = (hl_quantizer){0};
    HL_TRY(hl_quant_saved_open(path, &s));
    HL_TRY(hl_quant_saved_weight(s, weight, q, &codes));
    HL_TRY(hl_quantizer_init(&act, &site.how.quantizer));
    HL_TRY(hl_quant_saved_range(s, &site, &act, range));
    HL_TRY(hl_storage_new(&vector, false, &bias));
    const hl_quant_float f = {"fc.bias", bias, false};
    HL_TRY(hl_quant_saved_float(s, &f));
    HL_TRY(hl_quant_saved_end(s));
    if (decoded)
        hl_quantizer_decode(q, (hl_quant_part){6, 0, 6}, hl_quantizer_code_type(q), codes->data,
                            decoded);
out:
    hl_quantizer_done(&act);
    hl_storage_unref(bias);
    hl_quant_saved_close(s);
    return st;
}

static void write_content(const content *c)
{
    cr_assert_eq(hl_safetensors_write(path, c->e, c->n, NULL), HL_OK, "%s", hl_err_message());
}

Test(saved, a_weight_comes_back_as_it_was)
{
    content c;
    hl_quantizer q;
    float y[6];
    const hl_quant_site site = weight_site(4, 2);
    fill(&c);
    write_content(&c);
    cr_assert_eq(take_all(&site, &q, y), HL_OK, "%s", hl_err_message());
    cr_assert_eq(q.int_min, -8);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(y[i], c.scale[i / 3] * (float)c.codes[i]);
    hl_quantizer_done(&q);
}

/* Refused with both words in the message. */
static void refuses(const content *c, const hl_quant_site *site, const char *a, const char *b)
{
    hl_quantizer q;
    write_content(c);
    const hl_status st = take_all(site, &q, NULL);
    hl_quantizer_done(&q);
    cr_assert(st == HL_E_FORMAT || st == HL_E_NUMERIC, "'%s' was taken", a);
    cr_assert(strstr(hl_err_message(), path), "%s", hl_err_message());
    cr_assert(strstr(hl_err_message(), a) && strstr(hl_err_message(), b), "%s", hl_err_message());
}

Test(saved, what_does_not_fit_is_refused_by_name)
{
    content c;
    const hl_quant_site site = weight_site(4, 2), narrow = weight_site(3, 2),
                        one_scale = weight_site(4, 1), wide = weight_site(16, 2);
    fill(&c);
    refuses(&c, &narrow, "the code -8 at element 0", "from -4 to 3");
    refuses(&c, &one_scale, "'fc.weight.scale' has shape {2}", "needs {1}");
    refuses(&c, &wide, "'fc.weight' holds i8", "f32");
    c.e[CODES].type.dim[0] = 1;
    refuses(&c, &site, "'fc.weight' has shape {1, 3}", "needs {2, 3}");
    fill(&c);
    c.e[BIAS].name = "bias";
    refuses(&c, &site, "no tensor 'fc.bias'", "another model");
    fill(&c);
    c.n = BIAS;
    refuses(&c, &site, "no tensor 'fc.bias'", "another model");
    fill(&c);
    c.e[SCALE].type = (hl_type){HL_DTYPE_I32, 1, {2}};
    refuses(&c, &site, "'fc.weight.scale' holds i32", "f32");
    const float bad[] = {0, -1, NAN, INFINITY};
    for (int i = 0; i < 4; i++) {
        fill(&c);
        c.scale[1] = bad[i];
        refuses(&c, &site, "'fc.weight.scale': scale 1", "positive");
        fill(&c);
        c.bias[0] = bad[i];
        if (i > 1)
            refuses(&c, &site, "'fc.bias'", "element 0");
    }
    fill(&c);
    c.range[0] = 4;
    refuses(&c, &site, "'fc.range'", "from 4 to 3");
    fill(&c);
    c.range[1] = NAN;
    refuses(&c, &site, "'fc.range'", "nan");
    fill(&c);
    c.act_scale = 1;
    refuses(&c, &site, "'fc.scale' is 1", "the range gives");
    fill(&c);
    c.act_zero++;
    refuses(&c, &site, "'fc.zero_point'", "the range gives");
}

Test(saved, a_tensor_too_many_is_refused)
{
    content c;
    hl_quantizer q;
    const hl_quant_site site = weight_site(4, 2);
    hl_tensor_entry e[7];
    fill(&c);
    memcpy(e, c.e, sizeof c.e);
    e[6] = (hl_tensor_entry){"fc2.bias", {HL_DTYPE_F32, 1, {2}}, c.bias};
    cr_assert_eq(hl_safetensors_write(path, e, 7, NULL), HL_OK);
    cr_assert_eq(take_all(&site, &q, NULL), HL_E_FORMAT);
    cr_assert(strstr(hl_err_message(), "'fc2.bias'"), "%s", hl_err_message());
    hl_quantizer_done(&q);
}

Test(saved, no_damaged_byte_does_harm)
{
    content c;
    hl_quantizer q;
    char *bytes;
    size_t n;
    int n_refused = 0;
    const hl_quant_site site = weight_site(4, 2);
    fill(&c);
    write_content(&c);
    cr_assert_eq(hl_fs_read(path, 1 << 20, &bytes, &n), HL_OK);
    for (size_t i = 0; i < n; i++) {
        const char was = bytes[i];
        bytes[i] = (char)~was;
        FILE *f = fopen(path, "wb");
        cr_assert(f && fwrite(bytes, 1, n, f) == n);
        fclose(f);
        n_refused += take_all(&site, &q, NULL) != HL_OK;
        hl_quantizer_done(&q);
        bytes[i] = was;
    }
    cr_assert_gt(n_refused, (int)(n * 3 / 4)); /* floats have values of all bytes */
    hl_free(bytes);
}

/* Two parts and what is left, each as if it were packed alone. */
Test(saved, weights_packed_in_one_piece_are_those_packed_apart)
{
    enum { N = 2 * HL_INT8_PART + 37, K = 70, M = 5 };
    static int8_t w[N * K];
    static uint8_t a[M * K];
    static int32_t one[M * HL_INT8_PART], other[M * HL_INT8_PART];
    for (int i = 0; i < N * K; i++)
        w[i] = (int8_t)(i * 37 % 255 - 127);
    for (int i = 0; i < M * K; i++)
        a[i] = (uint8_t)(i * 91 % 256);
    void *memory = hl_alloc(hl_int8_weights_bytes(N, K));
    cr_assert(memory);
    hl_int8_weights_pack(N, K, w, memory);
    for (int64_t first = 0; first < N; first += HL_INT8_PART) {
        hl_int8_weights apart, part;
        const int64_t n = first + HL_INT8_PART > N ? N - first : HL_INT8_PART;
        cr_assert_eq(hl_int8_weights_borrow(&part, N, K, first, memory), HL_OK);
        cr_assert_eq(part.n, n);
        cr_assert_eq(hl_int8_weights_init(&apart, n, K, w + first * K), HL_OK);
        const size_t bytes = hl_int8_scratch_bytes(&apart, 1) + 64;
        void *scratch = hl_block_new(bytes);
        hl_int8_gemm(NULL, &apart, M, a, one, scratch);
        hl_int8_gemm(NULL, &part, M, a, other, scratch);
        cr_assert_eq(memcmp(one, other, (size_t)(M * n) * sizeof *one), 0);
        cr_assert_eq(memcmp(part.sums, apart.sums, (size_t)n * sizeof *part.sums), 0);
        hl_block_free(scratch, bytes);
        hl_int8_weights_done(&apart);
    }
    hl_free(memory);
}
