#include "engine/quant/int8_gemm.h"

#include "engine/base/err.h"
#include "engine/base/mem.h"

static void add_up(int64_t n, int64_t k, const int8_t *values, int32_t *sums)
{
    for (int64_t i = 0; i < n; i++) {
        int32_t sum = 0;
        for (int64_t j = 0; j < k; j++)
            sum += values[i * k + j];
        sums[i] = sum;
    }
}

hl_status hl_int8_weights_init(hl_int8_weights *w, int64_t n, int64_t k, const int8_t *values)
{
    hl_status st = HL_OK;
    *w = (hl_int8_weights){.n = n, .k = k, .group = (int)hl_cpu()->int8_group()};
    if (n < 1 || k < 1)
        HL_FAIL(HL_E_SHAPE, "INT8 weights of %lld by %lld", (long long)n, (long long)k);
    if (k > HL_INT8_K_MAX)
        HL_FAIL(HL_E_SHAPE, "INT8 products over %lld numbers: above %d their sum could overflow",
                (long long)k, HL_INT8_K_MAX);
    w->packed = hl_alloc(hl_cpu()->int8_packed_bytes(w->group, n, k));
    w->sums = hl_alloc_zero((size_t)n, sizeof *w->sums);
    if (!w->packed || !w->sums) {
        st = HL_E_NOMEM;
        goto out;
    }
    hl_int8_weights_set(w, values);
out:
    return st;
}

void hl_int8_weights_set(hl_int8_weights *w, const int8_t *values)
{
    hl_cpu()->int8_pack(w->group, w->n, w->k, values, w->packed);
    add_up(w->n, w->k, values, w->sums);
}

void hl_int8_weights_done(hl_int8_weights *w)
{
    hl_free(w->packed);
    hl_free(w->sums);
    *w = (hl_int8_weights){0};
}

size_t hl_int8_scratch_bytes(const hl_int8_weights *w, int n_workers)
{
    return hl_cpu()->int8_scratch_bytes(w->group, n_workers);
}

void hl_int8_gemm(hl_team *team, const hl_int8_weights *w, int64_t m, const uint8_t *a, int32_t *c,
                  void *scratch)
{
    const hl_int8_gemm_args g = {.group = w->group,
                                 .m = m,
                                 .n = w->n,
                                 .k = w->k,
                                 .a = a,
                                 .a_row = w->k,
                                 .packed_b = w->packed,
                                 .c = c,
                                 .c_row = w->n};
    hl_cpu()->int8_gemm(team, &g, scratch);
}
