/* Growable arrays: HL_VEC(int) v = {0}; HL_TRY(hl_vec_push(&v, 3)); v.at[0]; hl_vec_done(&v). */
#ifndef HL_BASE_VEC_H
#define HL_BASE_VEC_H

#include "engine/base/err.h"
#include "engine/base/mem.h"

#define HL_VEC(type)                                                                               \
    struct {                                                                                       \
        type *at;                                                                                  \
        size_t n, cap;                                                                             \
    }

/* Grows *at to hold n_want elements; n_want 0 is fine. */
HL_MUST_CHECK hl_status hl_vec_grow(void **at, size_t *cap, size_t n_want, size_t each_bytes);

#define hl_vec_reserve(v, n_want)                                                                  \
    hl_vec_grow((void **)&(v)->at, &(v)->cap, (n_want), sizeof *(v)->at)
#define hl_vec_push(v, value)                                                                      \
    (hl_vec_reserve(v, (v)->n + 1) == HL_OK ? ((v)->at[(v)->n++] = (value), HL_OK) : HL_E_NOMEM)
#define hl_vec_done(v)                                                                             \
    (hl_free((v)->at), (v)->at = NULL, (v)->n = 0, (v)->cap = 0)

#endif
