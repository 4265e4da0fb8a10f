/* The worker pool: every worker of every region runs exactly once, whatever the number of workers
 * and cores, and nothing is lost between spinning, sleeping and waking. A plain program, so that it
 * runs under TSan too. */
#define _GNU_SOURCE
#include "engine/base/team.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"
#include "tests/plain.h"

enum { MAX_N = 32, LINE = 16 };

/* Plain memory: what workers write in one region, the caller reads after it. */
typedef struct board {
    int64_t n_run[MAX_N][LINE]; /* a cache line each */
    int64_t input;              /* written by the caller before each region */
    int64_t seen[MAX_N][LINE];
    int n_wrong;
    int n_workers;
} board;

static void mark(void *arg, int worker, int n_workers)
{
    board *b = arg;
    if (n_workers != b->n_workers || worker < 0 || worker >= n_workers) {
        fprintf(stderr, "worker %d of %d in a team of %d\n", worker, n_workers, b->n_workers);
        _exit(1);
    }
    b->n_run[worker][0]++;
    b->seen[worker][0] = b->input;
}

static void run_regions(hl_team *team, board *b, int64_t n)
{
    const int64_t start = b->n_run[0][0];
    for (int64_t i = 1; i <= n; i++) {
        b->input = start + i;
        team->run(team, mark, b);
        for (int w = 0; w < team->n; w++)
            b->n_wrong += b->n_run[w][0] != start + i || b->seen[w][0] != start + i;
    }
}

static hl_team *team_of(int n)
{
    hl_team *team = NULL;
    CHECK(hl_team_new(n, &team) == HL_OK);
    return team;
}

static void test_tiny_regions(int n, int64_t n_regions)
{
    const int cores = hl_team_cores();
    hl_team *team = team_of(n);
    CHECK(team->n == n);
    static board b;
    b = (board){.n_workers = n};
    const int64_t start = hl_clock_mono_ns();
    run_regions(team, &b, n_regions);
    const double us = (double)(hl_clock_mono_ns() - start) / 1e3 / (double)n_regions;
    CHECK(b.n_wrong == 0);
    printf("%d workers on %d cores: %.2f us per region\n", n, cores, us);
    hl_team_free(team);
}

/* Workers fall asleep between regions (they spin for well under a millisecond). */
static void test_sleep_and_wake(int n)
{
    hl_team *team = team_of(n);
    static board b;
    b = (board){.n_workers = n};
    for (int i = 0; i < 60; i++) {
        hl_clock_sleep_ms(1);
        run_regions(team, &b, 1 + i % 3);
    }
    CHECK(b.n_wrong == 0);
    hl_team_free(team);
}

/* Gaps around the moment at which a worker goes to sleep: where a wake-up could be lost. */
static void test_gaps_around_sleep(int n)
{
    hl_team *team = team_of(n);
    static board b;
    b = (board){.n_workers = n};
    for (int64_t gap_ns = 0; gap_ns < 150000; gap_ns += 100) {
        run_regions(team, &b, 1);
        const int64_t start = hl_clock_mono_ns();
        while (hl_clock_mono_ns() - start < gap_ns)
            ;
    }
    CHECK(b.n_wrong == 0);
    hl_team_free(team);
}

/* --- one team, several callers, one after another --- */

typedef struct caller {
    hl_team *team;
    board *b;
} caller;

static void call(void *arg)
{
    caller *c = arg;
    run_regions(c->team, c->b, 200);
}

static void test_callers_in_turn(int n)
{
    hl_team *team = team_of(n);
    static board b;
    b = (board){.n_workers = n};
    caller c = {team, &b};
    for (int i = 0; i < 10; i++) {
        hl_thread *t;
        CHECK(hl_thread_start("caller", call, &c, &t) == HL_OK);
        hl_thread_join(t);
        run_regions(team, &b, 50);
    }
    CHECK(b.n_wrong == 0 && b.n_run[n - 1][0] == 10 * 250);
    hl_team_free(team);
}

/* --- work of uneven length: the caller waits for the last one --- */

typedef struct uneven {
    int64_t sum[MAX_N][LINE];
    int slow;
} uneven;

static void work_unevenly(void *arg, int worker, int n_workers)
{
    (void)n_workers;
    uneven *u = arg;
    if (worker == u->slow)
        hl_clock_sleep_ms(2);
    u->sum[worker][0]++;
}

static void test_waits_for_the_last(int n)
{
    hl_team *team = team_of(n);
    static uneven u;
    u = (uneven){0};
    for (int i = 0; i < 20; i++) {
        u.slow = i % n;
        team->run(team, work_unevenly, &u);
        for (int w = 0; w < n; w++)
            CHECK(u.sum[w][0] == i + 1);
    }
    hl_team_free(team);
}

/* --- pinning, names, signals --- */

typedef struct looks {
    cpu_set_t mask[MAX_N];
    sigset_t blocked[MAX_N];
    char name[MAX_N][16];
} looks;

static void look(void *arg, int worker, int n_workers)
{
    (void)n_workers;
    looks *l = arg;
    sched_getaffinity(0, sizeof l->mask[worker], &l->mask[worker]);
    pthread_sigmask(SIG_SETMASK, NULL, &l->blocked[worker]);
    pthread_getname_np(pthread_self(), l->name[worker], sizeof l->name[worker]);
}

static void test_pinning(void)
{
    cpu_set_t before, after;
    sched_getaffinity(0, sizeof before, &before);
    const int cores = CPU_COUNT(&before);
    CHECK(hl_team_cores() == cores);
    for (int n = 1; n <= cores + 1 && n < MAX_N; n++) {
        hl_team *team = team_of(n);
        looks l = {0};
        team->run(team, look, &l);
        const bool pinned = n > 1 && n == cores; /* each worker to a core of its own */
        cpu_set_t all = l.mask[0];
        for (int w = 0; w < n; w++) {
            CHECK(CPU_COUNT(&l.mask[w]) == (pinned ? 1 : cores));
            CPU_OR(&all, &all, &l.mask[w]);
        }
        CHECK(CPU_EQUAL(&all, &before));
        for (int w = 1; w < n; w++) {
            char name[16];
            snprintf(name, sizeof name, "pool-%d", w);
            CHECK(strcmp(l.name[w], name) == 0);
            CHECK(sigismember(&l.blocked[w], SIGINT) == 1 &&
                  sigismember(&l.blocked[w], SIGTERM) == 1);
        }
        CHECK(sigismember(&l.blocked[0], SIGTERM) == 0);
        hl_team_free(team);
        sched_getaffinity(0, sizeof after, &after);
        CHECK(CPU_EQUAL(&before, &after));
    }
    hl_team *team = team_of(0);
    CHECK(team->n == cores);
    hl_team_free(team);
}

/* --- new and free --- */

static void test_new_and_free(void)
{
    const int64_t live = hl_mem_get_stats().live_bytes;
    for (int i = 0; i < 60; i++) {
        hl_team *team = team_of(1 + i % 5);
        static board b;
        b = (board){.n_workers = team->n};
        if (i % 2) /* half of them are freed before a worker may even have started */
            run_regions(team, &b, 3);
        CHECK(b.n_wrong == 0);
        hl_team_free(team);
    }
    hl_team_free(NULL);
    hl_team *team = NULL;
    CHECK(hl_team_new(-1, &team) == HL_E_ARG && team == NULL);
    CHECK(hl_team_new(257, &team) == HL_E_ARG && team == NULL);
    for (int n = 0; n < 2; n++) {
        hl_mem_fail_after(n);
        CHECK(hl_team_new(3, &team) == HL_E_NOMEM && team == NULL);
        hl_mem_fail_after(-1);
    }
    CHECK(hl_mem_get_stats().live_bytes == live);
}

int main(void)
{
    alarm(240); /* a lost wake-up ends here rather than never */
    const int cores_at_start = hl_team_cores();
    test_pinning(); /* before anything could have changed the mask */
    const int sizes[] = {1, 2, 3, 8};
    for (int i = 0; i < 4; i++) {
        const int n = sizes[i], cores = hl_team_cores();
        test_tiny_regions(n, n > cores ? 300 : 20000);
        test_sleep_and_wake(n);
        if (n <= cores)
            test_gaps_around_sleep(n);
        test_callers_in_turn(n);
        test_waits_for_the_last(n);
    }
    test_new_and_free();
    CHECK(hl_team_cores() == cores_at_start);
    return plain_end();
}
