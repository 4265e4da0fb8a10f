/* Which keys a row of scores [B,H,T,S] may see. */
#ifndef HL_SCORE_MASK_BODY_H
#define HL_SCORE_MASK_BODY_H

#include "kernels/hl_types.h"

typedef struct hl_score_mask {
    int64_t rows_each; /* queries of a batch element, all heads */
    int64_t t, s;
    const uint8_t *mask; /* [B,S], 0 = forbidden; NULL: all keys */
    bool causal;
} hl_score_mask;

HL_HD bool hl_may_see(const hl_score_mask *m, int64_t row, int64_t key)
{
    const int64_t query = row % m->t + (m->s - m->t);
    return !(m->causal && key > query) && (!m->mask || m->mask[row / m->rows_each * m->s + key]);
}

#endif
