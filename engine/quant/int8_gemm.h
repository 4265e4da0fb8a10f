/* Executed INT8: a product of unsigned activations with signed weights that are packed once.
 *
 * With a = s_a (q_a - z_a) and w = s_w q_w the product of the values is s_a s_w (acc - z_a sums),
 * where acc is what hl_int8_gemm gives, without rounding, and sums what is kept with the weights.
 */
#ifndef HL_QUANT_INT8_GEMM_H
#define HL_QUANT_INT8_GEMM_H

#include "kernels/hl_kernel.h"

typedef struct hl_int8_weights {
    int64_t n, k;
    int group;      /* of the packed form, chosen for this processor */
    int8_t *packed; /* owned */
    int32_t *sums;  /* [n], sum over k of a row of W; owned */
} hl_int8_weights;

/* From W [n,k], rows contiguous. Takes n * k bytes rounded up to panels and the sums; valid in this
 * process only. Errors: SHAPE (a side below 1, k above HL_INT8_K_MAX, where sums could wrap),
 * NOMEM. Free with hl_int8_weights_done, also after a failure. */
HL_MUST_CHECK hl_status hl_int8_weights_init(hl_int8_weights *w, int64_t n, int64_t k,
                                             const int8_t *values);
void hl_int8_weights_done(hl_int8_weights *w);

/* The same in one piece of memory of hl_int8_weights_bytes, aligned as by hl_alloc, that several
 * share: parts of HL_INT8_PART rows of W, the last of what is left, one after another, each with
 * its sums. */
enum { HL_INT8_PART = 256 };
size_t hl_int8_weights_bytes(int64_t n, int64_t k);
void hl_int8_weights_pack(int64_t n, int64_t k, const int8_t *values, void *packed);
/* The part with row `first` (a multiple of HL_INT8_PART) of such memory, which outlives w; packed
 * NULL: sizes only. Not for hl_int8_weights_done. Errors: SHAPE. */
HL_MUST_CHECK hl_status hl_int8_weights_borrow(hl_int8_weights *w, int64_t n, int64_t k,
                                               int64_t first, const void *packed);

/* C [m,n] = A [m,k] W^T, rows of A and C contiguous; exact. team may be NULL. scratch of
 * hl_int8_scratch_bytes for a team of that size. Cost: 2 m n k operations. */
void hl_int8_gemm(hl_team *team, const hl_int8_weights *w, int64_t m, const uint8_t *a, int32_t *c,
                  void *scratch);
size_t hl_int8_scratch_bytes(const hl_int8_weights *w, int n_workers);

#endif
