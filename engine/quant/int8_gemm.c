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

/* Of these sizes, without memory. */
static hl_status empty(hl_int8_weights *w, int64_t n, int64_t k)
{
    *w = (hl_int8_weights){.n = n, .k = k, .group = (int)hl_cpu()->int8_group()};
    if (n < 1 || k < 1)
        return hl_err_set(HL_E_SHAPE, "INT8 weights of %lld by %lld", (long long)n, (long long)k);
    if (k > HL_INT8_K_MAX)
        return hl_err_set(HL_E_SHAPE,
                          "INT8 products over %lld numbers: above %d their sum could overflow",
                          (long long)k, HL_INT8_K_MAX);
    return HL_OK;
}

static int64_t part_of(int64_t n, int64_t first)
{
    return n - first < HL_INT8_PART ? n - first : HL_INT8_PART;
}

/* In a part: bytes are followed by sums. */
static size_t sums_at(int64_t n, int64_t k)
{
    return hl_align64(hl_cpu()->int8_packed_bytes((int)hl_cpu()->int8_group(), n, k));
}

static size_t part_at(int64_t k, int64_t first)
{
    const size_t each = hl_align64(sums_at(HL_INT8_PART, k) + HL_INT8_PART * sizeof(int32_t));
    return (size_t)(first / HL_INT8_PART) * each;
}

size_t hl_int8_weights_bytes(int64_t n, int64_t k)
{
    const int64_t rest = n % HL_INT8_PART;
    return part_at(k, n) + (rest ? sums_at(rest, k) + (size_t)rest * sizeof(int32_t) : 0);
}

void hl_int8_weights_pack(int64_t n, int64_t k, const int8_t *values, void *packed)
{
    for (int64_t first = 0; first < n; first += HL_INT8_PART) {
        unsigned char *to = (unsigned char *)packed + part_at(k, first);
        const int64_t rows = part_of(n, first);
        hl_cpu()->int8_pack((int)hl_cpu()->int8_group(), rows, k, values + first * k, (void *)to);
        add_up(rows, k, values + first * k, (void *)(to + sums_at(rows, k)));
    }
}

hl_status hl_int8_weights_borrow(hl_int8_weights *w, int64_t n, int64_t k, int64_t first,
                                 const void *packed)
{
    const int64_t rows = part_of(n, first);
    hl_status st = empty(w, rows, k);
    if (st == HL_OK && packed) {
        unsigned char *from = (unsigned char *)(uintptr_t)packed + part_at(k, first);
        w->packed = (void *)from;
        w->sums = (void *)(from + sums_at(rows, k));
    }
    return st;
}

hl_status hl_int8_weights_init(hl_int8_weights *w, int64_t n, int64_t k, const int8_t *values)
{
    hl_status st = HL_OK;
    HL_TRY(empty(w, n, k));
    w->packed = hl_alloc(hl_cpu()->int8_packed_bytes(w->group, n, k));
    w->sums = hl_alloc_zero((size_t)n, sizeof *w->sums);
    if (!w->packed || !w->sums) {
        st = HL_E_NOMEM;
        goto out;
    }
    hl_cpu()->int8_pack(w->group, n, k, values, w->packed);
    add_up(n, k, values, w->sums);
out:
    return st;
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
