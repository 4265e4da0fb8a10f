#define _GNU_SOURCE
#include "engine/base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/base/mem.h"
#include "engine/base/team.h"

struct hl_thread {
    pthread_t id;
    void (*body)(void *);
    void *arg;
    char name[16];
};

static void *thread_main(void *p)
{
    hl_thread *t = p;
    pthread_setname_np(pthread_self(), t->name);
    hl_team_unpin_self();
    t->body(t->arg);
    return NULL;
}

hl_status hl_thread_start(const char *name, void (*body)(void *), void *arg, hl_thread **out)
{
    hl_thread *t = hl_alloc_zero(1, sizeof *t);
    if (!t)
        return HL_E_NOMEM;
    t->body = body;
    t->arg = arg;
    snprintf(t->name, sizeof t->name, "%s", name);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&t->id, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e) {
        hl_free(t);
        return hl_err_set(HL_E_NOMEM, "cannot start thread %s: %s", name, strerror(e));
    }
    *out = t;
    return HL_OK;
}

void hl_thread_join(hl_thread *t)
{
    if (!t)
        return;
    pthread_join(t->id, NULL);
    hl_free(t);
}

struct hl_mutex {
    pthread_mutex_t m;
    pthread_cond_t c;
};

hl_status hl_mutex_new(hl_mutex **out)
{
    hl_mutex *m = hl_alloc_zero(1, sizeof *m);
    if (!m)
        return HL_E_NOMEM;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&m->m, NULL);
    pthread_cond_init(&m->c, &attr);
    pthread_condattr_destroy(&attr);
    *out = m;
    return HL_OK;
}

void hl_mutex_free(hl_mutex *m)
{
    if (!m)
        return;
    pthread_cond_destroy(&m->c);
    pthread_mutex_destroy(&m->m);
    hl_free(m);
}

void hl_mutex_lock(hl_mutex *m)
{
    pthread_mutex_lock(&m->m);
}

void hl_mutex_unlock(hl_mutex *m)
{
    pthread_mutex_unlock(&m->m);
}

void hl_mutex_wait(hl_mutex *m, int64_t ms)
{
    if (ms < 0) {
        pthread_cond_wait(&m->c, &m->m);
        return;
    }
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&m->c, &m->m, &t);
}

void hl_mutex_wake(hl_mutex *m)
{
    pthread_cond_broadcast(&m->c);
}

void hl_flag_set(hl_flag *f, int64_t v)
{
    atomic_store(&f->v, v);
}

int64_t hl_flag_get(const hl_flag *f)
{
    return atomic_load(&f->v);
}

int64_t hl_flag_add(hl_flag *f, int64_t delta)
{
    return atomic_fetch_add(&f->v, delta) + delta;
}

int64_t hl_flag_exchange(hl_flag *f, int64_t v)
{
    return atomic_exchange(&f->v, v);
}

/* head counts pushes, tail counts pops; each is written by one side only. */
struct hl_ring {
    _Alignas(64) _Atomic size_t head;
    _Alignas(64) _Atomic size_t tail;
    _Alignas(64) size_t n, record_bytes;
    unsigned char *records;
};

hl_status hl_ring_new(size_t n_records, size_t record_bytes, hl_ring **out)
{
    hl_ring *r = hl_block_new(sizeof *r);
    if (!r)
        return HL_E_NOMEM;
    r->records = hl_alloc_zero(n_records, record_bytes);
    if (!r->records) {
        hl_block_free(r, sizeof *r);
        return HL_E_NOMEM;
    }
    r->n = n_records;
    r->record_bytes = record_bytes;
    *out = r;
    return HL_OK;
}

void hl_ring_free(hl_ring *r)
{
    if (!r)
        return;
    hl_free(r->records);
    hl_block_free(r, sizeof *r);
}

bool hl_ring_push(hl_ring *r, const void *record)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&r->tail, memory_order_acquire) == r->n)
        return false;
    memcpy(r->records + head % r->n * r->record_bytes, record, r->record_bytes);
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
    return true;
}

bool hl_ring_pop(hl_ring *r, void *record)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (tail == atomic_load_explicit(&r->head, memory_order_acquire))
        return false;
    memcpy(record, r->records + tail % r->n * r->record_bytes, r->record_bytes);
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    return true;
}

size_t hl_ring_used(const hl_ring *r)
{
    /* tail first: a third thread that looks while both move must not see a negative number */
    const size_t tail = atomic_load(&r->tail), n = atomic_load(&r->head) - tail;
    return n < r->n ? n : r->n;
}

size_t hl_ring_capacity(const hl_ring *r)
{
    return r->n;
}
