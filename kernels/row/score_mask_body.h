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

/* The last key that a query of T may see among S, -1 or less if none; the keys end with the
 * queries. */
HL_HD int64_t hl_last_key(bool causal, int64_t t, int64_t s, int64_t query)
{
    return causal ? query + (s - t) : s - 1;
}

/* The first query that may see a key, T or more if none. */
HL_HD int64_t hl_first_query(bool causal, int64_t t, int64_t s, int64_t key)
{
    const int64_t query = key - (s - t);
    return causal && query > 0 ? query : 0;
}

HL_HD bool hl_may_see(const hl_score_mask *m, int64_t row, int64_t key)
{
    return key <= hl_last_key(m->causal, m->t, m->s, row % m->t) &&
           (!m->mask || m->mask[row / m->rows_each * m->s + key]);
}

#endif
