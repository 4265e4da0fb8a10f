/* The one allocator: counted, cappable, failable. Everything on the heap goes through it; big
 * numeric blocks come from hl_block_new (own mapping, huge pages asked for).
 * HOPLAB_FAIL_ALLOC=n makes the n-th allocation of the process fail (tests). */
#ifndef HL_BASE_MEM_H
#define HL_BASE_MEM_H

#include "kernels/hl_types.h"

typedef struct hl_mem_stats {
    int64_t live_bytes; /* heap and blocks now in use */
    int64_t peak_bytes;
    int64_t n_alloc; /* calls since start, reallocations included */
} hl_mem_stats;

/* All return NULL on failure with HL_E_NOMEM set (hl_err_message). Owned by the caller. */
void *hl_alloc(size_t n_bytes);
void *hl_alloc_zero(size_t n, size_t each_bytes); /* product checked */
void *hl_realloc(void *p, size_t n_bytes);        /* p stays valid on failure */
char *hl_strdup(const char *s);
char *hl_strndup(const char *s, size_t n);
void hl_free(void *p);

/* Zeroed, 64-byte aligned, page-backed. Length is needed again to free. NULL on failure. */
void *hl_block_new(size_t n_bytes);
void hl_block_free(void *p, size_t n_bytes);

/* false on overflow */
bool hl_mul_size(size_t a, size_t b, size_t *out);
bool hl_add_size(size_t a, size_t b, size_t *out);

/* n rounded up to the alignment of buffers in an arena. */
static inline size_t hl_align64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

hl_mem_stats hl_mem_get_stats(void);
void hl_mem_set_limit(int64_t bytes);   /* 0 = none */
void hl_mem_fail_after(int64_t n_more); /* n more succeed, the next fails, once; -1 = off */

int64_t hl_mem_process_bytes(void);      /* resident set now; -1 unknown */
int64_t hl_mem_process_peak_bytes(void); /* its high-water mark; -1 unknown */
void hl_mem_process_peak_reset(void);    /* the mark starts again from here, where the kernel can */
int64_t hl_mem_available_bytes(void);    /* what the machine (or its cgroup) can still give; -1 */

#endif
