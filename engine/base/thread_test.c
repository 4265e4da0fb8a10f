/* Threads, flags, mutexes and rings under load. A plain program, so that it runs under TSan too:
 * most of what it tests is that a value handed over this way is seen whole. */
#define _GNU_SOURCE
#include "engine/base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "tests/plain.h"

static hl_thread *start(const char *name, void (*body)(void *), void *arg)
{
    hl_thread *t = NULL;
    CHECK(hl_thread_start(name, body, arg, &t) == HL_OK);
    return t;
}

/* --- threads --- */

typedef struct about {
    char name[32];
    sigset_t blocked;
    hl_status code_at_start, code_at_end;
} about;

static void look_around(void *arg)
{
    about *a = arg;
    a->code_at_start = hl_err_code();
    pthread_getname_np(pthread_self(), a->name, sizeof a->name);
    pthread_sigmask(SIG_SETMASK, NULL, &a->blocked);
    a->code_at_end = hl_err_set(HL_E_NUMERIC, "of this thread");
}

static void test_thread(void)
{
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    (void)hl_err_set(HL_E_SHAPE, "of the first thread");
    about a = {.code_at_start = HL_E_INTERNAL};
    hl_thread_join(start("a name longer than fifteen", look_around, &a));
    CHECK(strcmp(a.name, "a name longer t") == 0);
    CHECK(sigismember(&a.blocked, SIGINT) == 1 && sigismember(&a.blocked, SIGTERM) == 1 &&
          sigismember(&a.blocked, SIGUSR1) == 1);
    CHECK(a.code_at_start == HL_OK && a.code_at_end == HL_E_NUMERIC);
    CHECK(hl_err_code() == HL_E_SHAPE && strcmp(hl_err_message(), "of the first thread") == 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    CHECK(sigismember(&before, SIGINT) == sigismember(&after, SIGINT));
    CHECK(sigismember(&after, SIGTERM) == 0);
    hl_thread_join(NULL);

    hl_mem_fail_after(0);
    hl_thread *t = NULL;
    CHECK(hl_thread_start("x", look_around, &a, &t) == HL_E_NOMEM && t == NULL);
    hl_mem_fail_after(-1);
}

static void add_one(void *arg)
{
    hl_flag_add(arg, 1);
}

static void test_many_threads(void)
{
    const int64_t live = hl_mem_get_stats().live_bytes;
    hl_flag sum = {0};
    for (int round = 0; round < 10; round++) {
        hl_thread *t[20];
        for (int i = 0; i < 20; i++)
            t[i] = start("many", add_one, &sum);
        for (int i = 0; i < 20; i++)
            hl_thread_join(t[i]);
    }
    CHECK(hl_flag_get(&sum) == 200);
    CHECK(hl_mem_get_stats().live_bytes == live);
}

/* --- flags --- */

enum { N_ADD = 50000 };

typedef struct shared {
    hl_flag sum, token;
    hl_mutex *lock;
    int64_t guarded; /* by the token, or by the lock */
} shared;

static void add_many(void *arg)
{
    shared *s = arg;
    for (int i = 0; i < N_ADD; i++)
        hl_flag_add(&s->sum, i % 3);
}

static void add_with_token(void *arg)
{
    shared *s = arg;
    for (int i = 0; i < 2000; i++) {
        while (hl_flag_exchange(&s->token, 1) != 0)
            sched_yield();
        s->guarded++;
        hl_flag_set(&s->token, 0);
    }
}

static void on_threads(int n, void (*body)(void *), void *arg)
{
    hl_thread *t[8];
    for (int i = 0; i < n; i++)
        t[i] = start("worker", body, arg);
    for (int i = 0; i < n; i++)
        hl_thread_join(t[i]);
}

static void test_flags(void)
{
    hl_flag f = {0};
    CHECK(hl_flag_add(&f, 5) == 5 && hl_flag_add(&f, -7) == -2);
    CHECK(hl_flag_exchange(&f, INT64_MIN) == -2 && hl_flag_get(&f) == INT64_MIN);
    shared s = {0};
    on_threads(4, add_many, &s);
    int64_t each = 0;
    for (int i = 0; i < N_ADD; i++)
        each += i % 3;
    CHECK(hl_flag_get(&s.sum) == 4 * each);
    on_threads(4, add_with_token, &s);
    CHECK(s.guarded == 4 * 2000);
}

/* --- mutex --- */

static void add_with_lock(void *arg)
{
    shared *s = arg;
    for (int i = 0; i < 10000; i++) {
        hl_mutex_lock(s->lock);
        s->guarded++;
        hl_mutex_unlock(s->lock);
    }
}

typedef struct ball {
    hl_mutex *lock;
    int64_t turn, n_turns; /* even: ping plays */
    int64_t n_waiting, go;
} ball;

static void play(ball *b, int64_t side)
{
    hl_mutex_lock(b->lock);
    while (b->turn < b->n_turns) {
        if (b->turn % 2 == side) {
            b->turn++;
            hl_mutex_wake(b->lock);
        } else {
            hl_mutex_wait(b->lock, -1);
        }
    }
    hl_mutex_unlock(b->lock);
}

static void play_pong(void *arg)
{
    play(arg, 1);
}

static void wait_for_go(void *arg)
{
    ball *b = arg;
    hl_mutex_lock(b->lock);
    b->n_waiting++;
    while (!b->go)
        hl_mutex_wait(b->lock, -1);
    b->n_waiting--;
    hl_mutex_unlock(b->lock);
}

static void test_wake_reaches_all(hl_mutex *lock)
{
    ball b = {.lock = lock};
    hl_thread *t[5];
    for (int i = 0; i < 5; i++)
        t[i] = start("waiter", wait_for_go, &b);
    for (int64_t seen = 0; seen < 5;) {
        hl_clock_sleep_ms(1);
        hl_mutex_lock(lock);
        seen = b.n_waiting;
        hl_mutex_unlock(lock);
    }
    hl_mutex_lock(lock);
    b.go = 1;
    hl_mutex_unlock(lock);
    hl_mutex_wake(lock); /* without the lock */
    for (int i = 0; i < 5; i++)
        hl_thread_join(t[i]);
    CHECK(b.n_waiting == 0);
}

static void test_mutex(void)
{
    shared s = {0};
    CHECK(hl_mutex_new(&s.lock) == HL_OK);
    on_threads(4, add_with_lock, &s);
    CHECK(s.guarded == 4 * 10000);

    const int64_t ms[] = {0, 1, 30, 1001};
    for (int i = 0; i < 4; i++) {
        hl_mutex_lock(s.lock);
        const int64_t begin = hl_clock_mono_ns();
        int64_t waited = 0;
        /* a wait may end early without a wake, but not often */
        int n_waits = 0;
        do {
            hl_mutex_wait(s.lock, ms[i] - waited / 1000000);
            waited = hl_clock_mono_ns() - begin;
            n_waits++;
        } while (waited < ms[i] * 1000000 && n_waits < 10);
        hl_mutex_unlock(s.lock);
        CHECK(waited >= ms[i] * 1000000 && n_waits < 5);
    }

    ball b = {.lock = s.lock, .n_turns = 5000};
    hl_thread *pong = start("pong", play_pong, &b);
    play(&b, 0);
    hl_thread_join(pong);
    CHECK(b.turn == b.n_turns);
    test_wake_reaches_all(s.lock);
    hl_mutex_free(s.lock);
    hl_mutex_free(NULL);
    hl_mem_fail_after(0);
    CHECK(hl_mutex_new(&s.lock) == HL_E_NOMEM);
    hl_mem_fail_after(-1);
}

/* --- ring --- */

typedef struct record { /* of an odd size */
    uint64_t number;
    uint32_t check[3];
    unsigned char tail;
} __attribute__((packed)) record;

static record record_of(uint64_t i)
{
    record r = {.number = i, .tail = (unsigned char)(i * 7)};
    for (uint32_t k = 0; k < 3; k++)
        r.check[k] = (uint32_t)(i * 2654435761u) + k;
    return r;
}

typedef struct line {
    hl_ring *ring;
    uint64_t n;
    hl_flag n_wrong, n_odd, stop;
} line;

static void produce(void *arg)
{
    line *l = arg;
    for (uint64_t i = 0; i < l->n; i++) {
        const record r = record_of(i);
        while (!hl_ring_push(l->ring, &r)) {
            CHECK(hl_ring_used(l->ring) <= hl_ring_capacity(l->ring));
            sched_yield();
        }
    }
}

/* Neither producer nor consumer: sees some number between none and all. */
static void observe(void *arg)
{
    line *l = arg;
    while (!hl_flag_get(&l->stop))
        if (hl_ring_used(l->ring) > hl_ring_capacity(l->ring))
            hl_flag_add(&l->n_odd, 1);
}

static void test_ring_across_threads(size_t capacity, uint64_t n)
{
    line l = {.n = n};
    CHECK(hl_ring_new(capacity, sizeof(record), &l.ring) == HL_OK);
    hl_thread *from = start("producer", produce, &l), *third = start("observer", observe, &l);
    for (uint64_t i = 0; i < n;) {
        record got;
        if (!hl_ring_pop(l.ring, &got)) {
            sched_yield();
            continue;
        }
        const record want = record_of(i);
        if (memcmp(&got, &want, sizeof got) != 0)
            hl_flag_add(&l.n_wrong, 1);
        i++;
    }
    hl_thread_join(from);
    hl_flag_set(&l.stop, 1);
    hl_thread_join(third);
    record got;
    CHECK(!hl_ring_pop(l.ring, &got));
    CHECK(hl_ring_used(l.ring) == 0);
    CHECK(hl_flag_get(&l.n_wrong) == 0);
    CHECK(hl_flag_get(&l.n_odd) == 0);
    hl_ring_free(l.ring);
}

static void test_ring_alone(size_t capacity)
{
    hl_ring *r;
    CHECK(hl_ring_new(capacity, sizeof(int), &r) == HL_OK);
    CHECK(hl_ring_capacity(r) == capacity && hl_ring_used(r) == 0);
    int next_in = 0, next_out = 0, got = -1;
    for (int round = 0; round < 50; round++) {
        for (int k = 0; k <= round % ((int)capacity + 1); k++)
            if (hl_ring_push(r, &next_in))
                next_in++;
        CHECK(hl_ring_used(r) == (size_t)(next_in - next_out));
        for (int k = 0; k <= round * 3 % ((int)capacity + 1); k++)
            if (hl_ring_pop(r, &got))
                CHECK(got == next_out++);
    }
    while (hl_ring_push(r, &next_in))
        next_in++;
    CHECK(hl_ring_used(r) == capacity);
    while (hl_ring_pop(r, &got))
        CHECK(got == next_out++);
    CHECK(next_in == next_out && hl_ring_used(r) == 0);
    hl_ring_free(r);
}

static void test_ring(void)
{
    const int64_t live = hl_mem_get_stats().live_bytes;
    for (size_t capacity = 0; capacity < 6; capacity++)
        test_ring_alone(capacity);
    test_ring_across_threads(1, 3000);
    test_ring_across_threads(3, 20000);
    test_ring_across_threads(64, 200000);
    test_ring_across_threads(1000, 200000);
    hl_ring *r = NULL;
    CHECK(hl_ring_new(SIZE_MAX / 2, 16, &r) == HL_E_NOMEM && r == NULL);
    for (int n = 0; n < 2; n++) {
        hl_mem_fail_after(n);
        CHECK(hl_ring_new(4, 16, &r) == HL_E_NOMEM && r == NULL);
        hl_mem_fail_after(-1);
    }
    hl_ring_free(NULL);
    CHECK(hl_mem_get_stats().live_bytes == live);
}

/* --- what else of this layer is used by many threads --- */

static void allocate_and_free(void *arg)
{
    hl_flag *n_null = arg;
    for (size_t i = 0; i < 3000; i++) {
        char *p = hl_alloc(i % 400), *q = hl_block_new(100);
        if (p)
            p = hl_realloc(p, i % 900);
        if (!p || !q)
            hl_flag_add(n_null, 1);
        hl_free(p);
        hl_block_free(q, 100);
    }
}

static void test_memory(void)
{
    hl_flag n_null = {0};
    const hl_mem_stats before = hl_mem_get_stats();
    on_threads(4, allocate_and_free, &n_null);
    const hl_mem_stats after = hl_mem_get_stats();
    CHECK(after.live_bytes == before.live_bytes);
    CHECK(after.peak_bytes >= before.live_bytes + 4096);
    CHECK(after.n_alloc == before.n_alloc + 4 * 3000 * 3 + 4); /* 4 thread records */
    CHECK(hl_flag_get(&n_null) == 0);
}

typedef struct gate {
    hl_flag open, n_failures;
} gate;

static void allocate_behind_gate(void *arg)
{
    gate *g = arg;
    while (!hl_flag_get(&g->open))
        sched_yield();
    for (int i = 0; i < 2000; i++) {
        void *p = hl_alloc(8);
        if (!p)
            hl_flag_add(&g->n_failures, 1);
        hl_free(p);
    }
}

/* However many threads allocate, exactly one allocation fails. */
static void test_memory_fails_once(void)
{
    for (int64_t n = 0; n < 5000; n += 250) {
        gate g = {0};
        hl_thread *t[3];
        for (int i = 0; i < 3; i++)
            t[i] = start("allocates", allocate_behind_gate, &g);
        hl_mem_fail_after(n);
        hl_flag_set(&g.open, 1);
        for (int i = 0; i < 3; i++)
            hl_thread_join(t[i]);
        hl_mem_fail_after(-1);
        CHECK(hl_flag_get(&g.n_failures) == 1);
    }
}

typedef struct listener {
    int n_inside, n_heard; /* plain: calls come one at a time */
} listener;

static void listen(void *arg, hl_log_level level, const char *message)
{
    listener *l = arg;
    (void)level;
    CHECK(l->n_inside++ == 0);
    CHECK(strncmp(message, "number ", 7) == 0);
    sched_yield(); /* room for another call to come in between */
    l->n_heard++;
    l->n_inside--;
}

static void talk(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++)
        hl_log(HL_LOG_INFO, "number %d", i);
}

static void test_log(void)
{
    listener l = {0};
    hl_log_set_sink(listen, &l);
    on_threads(4, talk, NULL);
    hl_log_set_sink(NULL, NULL);
    CHECK(l.n_heard == 4000 && l.n_inside == 0);
}

int main(void)
{
    alarm(240); /* a lost wake-up ends here rather than never */
    test_thread();
    test_many_threads();
    test_flags();
    test_mutex();
    test_ring();
    test_memory();
    test_memory_fails_once();
    test_log();
    return plain_end();
}
