/* Bump allocator for things that die together: one graph, one parse, one frame. */
#ifndef HL_BASE_ARENA_H
#define HL_BASE_ARENA_H

#include "kernels/hl_types.h"

typedef struct hl_arena {
    struct hl_arena_chunk *head;
} hl_arena; /* {0} is a valid empty arena */

void *hl_arena_alloc(hl_arena *a, size_t n_bytes); /* 16-byte aligned, zeroed; NULL: NOMEM set */
char *hl_arena_strdup(hl_arena *a, const char *s);
char *hl_arena_printf(hl_arena *a, const char *fmt, ...) HL_PRINTF(2, 3);
void hl_arena_done(hl_arena *a); /* frees all; the arena is empty and usable again */

#endif
