/* Arena in chunks of at least 16 KiB, newest first. */
#include "engine/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"

struct hl_arena_chunk {
    struct hl_arena_chunk *next;
    size_t used, cap;
    _Alignas(16) unsigned char bytes[];
};

void *hl_arena_alloc(hl_arena *a, size_t n_bytes)
{
    size_t n = (n_bytes + 15) & ~(size_t)15;
    if (n_bytes > PTRDIFF_MAX) {
        (void)hl_err_nomem("an arena", n_bytes);
        return NULL;
    }
    struct hl_arena_chunk *c = a->head;
    if (!c || c->cap - c->used < n) {
        size_t cap = n > 16384 ? n : 16384;
        c = hl_alloc(sizeof *c + cap);
        if (!c)
            return NULL;
        c->next = a->head;
        c->used = 0;
        c->cap = cap;
        a->head = c;
    }
    void *p = c->bytes + c->used;
    c->used += n;
    memset(p, 0, n);
    return p;
}

char *hl_arena_strdup(hl_arena *a, const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = hl_arena_alloc(a, n);
    if (p)
        memcpy(p, s, n);
    return p;
}

char *hl_arena_printf(hl_arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : hl_arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

void hl_arena_done(hl_arena *a)
{
    while (a->head) {
        struct hl_arena_chunk *next = a->head->next;
        hl_free(a->head);
        a->head = next;
    }
}
