/* DESIGN. A region is announced by raising `epoch`; workers watch it. Two spinning threads that the
 * scheduler leaves on one core cost a time slice per region (milliseconds instead of microseconds),
 * hence the pinning. After SPIN_NS without work a worker sleeps on a futex, so that the store,
 * socket and loader threads get the core; raising the epoch wakes it. */
#define _GNU_SOURCE
#include "engine/base/team.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

enum { SPIN_NS = 60000, MAX_WORKERS = 256 };

typedef struct worker {
    struct team *team;
    int index;
    pthread_t id;
} worker;

typedef struct team {
    hl_team base; /* first */
    _Atomic uint32_t epoch;
    _Atomic int n_sleeping;
    _Atomic int n_running; /* workers that have not finished the region */
    _Atomic bool quit;
    hl_team_fn fn;
    void *arg;
    bool pinned;
    worker *workers; /* base.n - 1 of them; index 0 is the caller */
} team;

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, MAX_WORKERS, NULL, NULL, 0);
}

/* Waits until the epoch differs from `seen`; returns it. */
static uint32_t await_epoch(team *t, uint32_t seen)
{
    int64_t start = hl_clock_mono_ns();
    for (;;) {
        for (int i = 0; i < 200; i++) {
            uint32_t now = atomic_load_explicit(&t->epoch, memory_order_acquire);
            if (now != seen)
                return now;
            relax();
        }
        if (hl_clock_mono_ns() - start < SPIN_NS)
            continue;
        atomic_fetch_add(&t->n_sleeping, 1);
        futex_wait(&t->epoch, seen); /* returns at once if the epoch has moved */
        atomic_fetch_sub(&t->n_sleeping, 1);
    }
}

static void announce(team *t)
{
    /* Sequentially consistent with n_sleeping: either the sleeper sees the new epoch or we see it. */
    atomic_fetch_add(&t->epoch, 1);
    if (atomic_load(&t->n_sleeping) > 0)
        futex_wake_all(&t->epoch);
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    team *t = w->team;
    char name[16];
    snprintf(name, sizeof name, "pool-%d", w->index);
    pthread_setname_np(pthread_self(), name);
    uint32_t seen = 0;
    for (;;) {
        seen = await_epoch(t, seen);
        if (atomic_load(&t->quit))
            return NULL;
        t->fn(t->arg, w->index, t->base.n);
        atomic_fetch_sub_explicit(&t->n_running, 1, memory_order_release);
    }
}

static void run(hl_team *base, hl_team_fn fn, void *arg)
{
    team *t = (team *)base;
    if (base->n == 1) {
        fn(arg, 0, 1);
        return;
    }
    t->fn = fn;
    t->arg = arg;
    atomic_store_explicit(&t->n_running, base->n - 1, memory_order_relaxed);
    announce(t);
    fn(arg, 0, base->n);
    while (atomic_load_explicit(&t->n_running, memory_order_acquire) > 0)
        relax();
}

/* The mask of the process before a team pinned its caller: threads that are started later inherit
 * the caller's single core, and must be given the rest back. */
static cpu_set_t free_mask;
static _Atomic bool have_free_mask;

static cpu_set_t usable_cores(void)
{
    cpu_set_t mask;
    if (atomic_load(&have_free_mask))
        return free_mask;
    CPU_ZERO(&mask);
    if (sched_getaffinity(0, sizeof mask, &mask) != 0)
        CPU_SET(0, &mask);
    return mask;
}

int hl_team_cores(void)
{
    const cpu_set_t mask = usable_cores();
    return CPU_COUNT(&mask);
}

void hl_team_unpin_self(void)
{
    if (atomic_load(&have_free_mask))
        pthread_setaffinity_np(pthread_self(), sizeof free_mask, &free_mask);
}

static void pin(pthread_t id, const cpu_set_t *mask, int index)
{
    for (int cpu = 0, k = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, mask) || k++ != index)
            continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET((size_t)cpu, &one);
        pthread_setaffinity_np(id, sizeof one, &one);
        return;
    }
}

static hl_status start_workers(team *t)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int started = 1, e = 0;
    for (; started < t->base.n && e == 0; started++) {
        worker *w = &t->workers[started - 1];
        *w = (worker){.team = t, .index = started};
        e = pthread_create(&w->id, NULL, worker_main, w);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e == 0)
        return HL_OK;
    t->base.n = started - 1;
    return hl_err_set(HL_E_NOMEM, "cannot start worker thread %d: %s", started, strerror(e));
}

hl_status hl_team_new(int n_threads, hl_team **out)
{
    const cpu_set_t mask = usable_cores();
    const int cores = CPU_COUNT(&mask);
    if (n_threads == 0)
        n_threads = cores < MAX_WORKERS ? cores : MAX_WORKERS;
    if (n_threads < 1 || n_threads > MAX_WORKERS)
        return hl_err_set(HL_E_ARG, "threads must be 1 to %d, not %d", MAX_WORKERS, n_threads);
    team *t = hl_block_new(sizeof *t);
    worker *workers = hl_alloc_zero((size_t)n_threads, sizeof *workers);
    if (!t || !workers) {
        hl_block_free(t, sizeof *t);
        hl_free(workers);
        return HL_E_NOMEM;
    }
    t->base.n = n_threads;
    t->base.run = run;
    t->workers = workers;
    hl_status st = start_workers(t);
    if (st != HL_OK) {
        hl_team_free(&t->base);
        return st;
    }
    /* A small team on a large mask is left free: another process's would sit on the same cores. */
    t->pinned = n_threads > 1 && n_threads == cores && !atomic_load(&have_free_mask);
    if (t->pinned) {
        free_mask = mask;
        atomic_store(&have_free_mask, true);
        pin(pthread_self(), &mask, 0);
        for (int i = 1; i < n_threads; i++)
            pin(workers[i - 1].id, &mask, i);
    }
    *out = &t->base;
    return HL_OK;
}

void hl_team_free(hl_team *base)
{
    if (!base)
        return;
    team *t = (team *)base;
    atomic_store(&t->quit, true);
    announce(t);
    for (int i = 1; i < base->n; i++)
        pthread_join(t->workers[i - 1].id, NULL);
    if (t->pinned) {
        hl_team_unpin_self();
        atomic_store(&have_free_mask, false);
    }
    hl_free(t->workers);
    hl_block_free(t, sizeof *t);
}
