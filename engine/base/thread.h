/* Threads and the channels between them: flags, a single-producer ring, a mailbox of lines, and
 * waiting. The only users of pthreads and C11 atomics are the files of engine/base. */
#ifndef HL_BASE_THREAD_H
#define HL_BASE_THREAD_H

#include "engine/base/err.h"

typedef struct hl_thread hl_thread;
/* All signals are blocked in the new thread. `name` is shown by ps and debuggers (15 bytes). */
HL_MUST_CHECK hl_status hl_thread_start(const char *name, void (*body)(void *), void *arg,
                                        hl_thread **out);
void hl_thread_join(hl_thread *t); /* frees it; NULL is fine */

typedef struct hl_mutex hl_mutex;
HL_MUST_CHECK hl_status hl_mutex_new(hl_mutex **out);
void hl_mutex_free(hl_mutex *m);
void hl_mutex_lock(hl_mutex *m);
void hl_mutex_unlock(hl_mutex *m);

/* Condition bound to one mutex. hl_mutex_wait returns after a wake or after ms (<0: no limit). */
void hl_mutex_wait(hl_mutex *m, int64_t ms);
void hl_mutex_wake(hl_mutex *m); /* all waiters; call with or without the lock */

/* A word that several threads and signal handlers may touch. */
typedef struct hl_flag {
    _Atomic int64_t v;
} hl_flag;
void hl_flag_set(hl_flag *f, int64_t v);
int64_t hl_flag_get(const hl_flag *f);
int64_t hl_flag_add(hl_flag *f, int64_t delta);      /* new value */
int64_t hl_flag_exchange(hl_flag *f, int64_t v);     /* old value */

/* Single producer, single consumer, fixed-size records, no system call, no allocation after init. */
typedef struct hl_ring hl_ring;
HL_MUST_CHECK hl_status hl_ring_new(size_t n_records, size_t record_bytes, hl_ring **out);
void hl_ring_free(hl_ring *r);
bool hl_ring_push(hl_ring *r, const void *record); /* false: full */
bool hl_ring_pop(hl_ring *r, void *record);        /* false: empty */
size_t hl_ring_used(const hl_ring *r);
size_t hl_ring_capacity(const hl_ring *r);

#endif
