/* Tokens in the narrowest unsigned type that holds them: 1, 2 or 4 bytes each. */
#ifndef HL_DATA_TOKEN_LIST_H
#define HL_DATA_TOKEN_LIST_H

#include "engine/base/err.h"

typedef struct hl_token_list {
    void *at;      /* owned */
    size_t n, cap; /* in tokens */
} hl_token_list;

/* Errors of all three: NOMEM. The width is the same in all calls for a list. */
HL_MUST_CHECK hl_status hl_token_list_reserve(hl_token_list *list, size_t n_want, int width);
HL_MUST_CHECK hl_status hl_token_list_append(hl_token_list *list, const int32_t *ids, size_t n,
                                             int width);

HL_MUST_CHECK hl_status hl_token_list_join(hl_token_list *list, const hl_token_list *more,
                                           int width);

/* Gives back what growth left over; keeping it is no fault. */
void hl_token_list_shrink(hl_token_list *list, int width);
void hl_token_list_done(hl_token_list *list);

/* Widens tokens first .. first+n-1 of an array. */
void hl_token_list_read(const void *at, int width, size_t first, size_t n, int32_t *ids);

#endif
