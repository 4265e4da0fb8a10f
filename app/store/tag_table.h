/* Names numbered from 0 in order of arrival: series tags. */
#ifndef HL_STORE_TAG_TABLE_H
#define HL_STORE_TAG_TABLE_H

#include "engine/base/err.h"

typedef struct hl_tag_table {
    char **name; /* name[i], owned */
    size_t n, cap;
    uint32_t *slot; /* index + 1 of the name; 0: free; n_slots is a power of two */
    size_t n_slots;
} hl_tag_table; /* {0} is empty */

int64_t hl_tag_table_find(const hl_tag_table *t, const char *name, size_t n_bytes); /* -1: new */
/* The number of the name, given to it now if it is new. Names hold no NUL. */
HL_MUST_CHECK hl_status hl_tag_table_add(hl_tag_table *t, const char *name, size_t n_bytes,
                                         size_t *out);
void hl_tag_table_done(hl_tag_table *t);

#endif
