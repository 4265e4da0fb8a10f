/* Executed INT8: the identity with the zero point, and what is refused. */
#include "engine/quant/int8_gemm.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"
#include "engine/quant/quantizer.h"

static uint32_t draws;
static float uniform(double lo, double hi)
{
    const hl_philox_key key = hl_philox_key_make(81, 0xF0000006u, 0);
    return (float)(lo + (hi - lo) * (double)hl_philox_u32(key, draws++) * 0x1p-32);
}

static hl_quantizer quantizer(hl_quant_scheme scheme, double lo, double hi)
{
    hl_quantizer q;
    cr_assert_eq(hl_quantizer_init(&q, &(hl_quant_options){scheme, 8, 1, false}), HL_OK);
    cr_assert_eq(hl_quantizer_set_range(&q, &(hl_quant_range){1, false, &lo, &hi}), HL_OK);
    return q;
}

/* Codes, product, zero point and scales give the product of the fake-quantized values. */
Test(int8, executed_is_simulated)
{
    enum { M = 9, N = 21, K = 70 };
    float x[M * K], w[N * K], xq[M * K], wq[N * K];
    uint8_t a[M * K];
    int8_t codes[N * K];
    int32_t c[M * N];
    hl_quantizer qx = quantizer(HL_QUANT_ASYMMETRIC, -1.3, 2.1);
    hl_quantizer qw = quantizer(HL_QUANT_SYMMETRIC, -0.5, 0.4);
    for (int i = 0; i < M * K; i++)
        x[i] = uniform(-1.5, 2.5);
    for (int i = 0; i < N * K; i++)
        w[i] = uniform(-0.6, 0.5);
    hl_quantizer_apply(&qx, (hl_quant_part){M * K, 0, M * K}, x, xq);
    hl_quantizer_apply(&qw, (hl_quant_part){N * K, 0, N * K}, w, wq);
    hl_quantizer_encode(&qx, (hl_quant_part){M * K, 0, M * K}, x, HL_CODE_U8, a);
    hl_quantizer_encode(&qw, (hl_quant_part){N * K, 0, N * K}, w, HL_CODE_I8, codes);
    hl_int8_weights packed;
    cr_assert_eq(hl_int8_weights_init(&packed, N, K, codes), HL_OK, "%s", hl_err_message());
    void *scratch = malloc(hl_int8_scratch_bytes(&packed, 1));
    hl_int8_gemm(NULL, &packed, M, a, c, scratch);
    const double scale = (double)qx.scale[0] * (double)qw.scale[0];
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double want = 0, size = 0;
            for (int k = 0; k < K; k++) {
                want += (double)xq[i * K + k] * (double)wq[j * K + k];
                size += fabs((double)xq[i * K + k] * (double)wq[j * K + k]);
            }
            const double got = scale * (c[i * N + j] - (double)qx.zero_point[0] * packed.sums[j]);
            cr_expect_float_eq(got, want, 1e-6 * size, "%d %d: %g, not %g", i, j, got, want);
        }
    free(scratch);
    hl_int8_weights_done(&packed);
    hl_quantizer_done(&qx);
    hl_quantizer_done(&qw);
}

Test(int8, impossible_weights_are_refused)
{
    hl_int8_weights w;
    const int8_t values[4] = {1, 2, 3, 4};
    cr_expect_eq(hl_int8_weights_init(&w, 0, 4, values), HL_E_SHAPE);
    hl_int8_weights_done(&w);
    cr_expect_eq(hl_int8_weights_init(&w, 4, 0, values), HL_E_SHAPE);
    hl_int8_weights_done(&w);
    cr_expect_eq(hl_int8_weights_init(&w, 1, HL_INT8_K_MAX + 1, values), HL_E_SHAPE);
    hl_int8_weights_done(&w);
    for (int n = 0; n < 2; n++) {
        hl_mem_fail_after(n);
        cr_expect_eq(hl_int8_weights_init(&w, 2, 2, values), HL_E_NOMEM);
        hl_mem_fail_after(-1);
        hl_int8_weights_done(&w);
    }
}
