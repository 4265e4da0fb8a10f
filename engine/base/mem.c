/* Allocation, counted. Counters are relaxed atomics: exact in sum, no order implied. */
#define _GNU_SOURCE
#include "engine/base/mem.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/mem_thread.h"
#include "engine/base/str.h"

static _Atomic int64_t live_bytes, peak_bytes, n_alloc, limit_bytes;
static _Atomic int64_t fail_countdown = -1;

static _Thread_local int64_t thread_bytes, thread_limit;

void hl_mem_set_thread_limit(int64_t bytes)
{
    thread_limit = bytes;
}

bool hl_mem_thread_add(int64_t bytes)
{
    char limit[24];
    if (bytes > 0 && thread_limit && bytes > thread_limit - thread_bytes) {
        (void)hl_err_set(HL_E_NOMEM, "tensors are at their limit of %s here",
                         hl_format_bytes(limit, thread_limit));
        return false;
    }
    thread_bytes += bytes;
    return true;
}

static void count(int64_t delta)
{
    int64_t now = atomic_fetch_add_explicit(&live_bytes, delta, memory_order_relaxed) + delta;
    int64_t peak = atomic_load_explicit(&peak_bytes, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak_explicit(
                             &peak_bytes, &peak, now, memory_order_relaxed, memory_order_relaxed))
        ;
}

static void read_environment(void)
{
    const char *n = getenv("HOPLAB_FAIL_ALLOC");
    if (n)
        atomic_store(&fail_countdown, atoll(n) - 1);
}

static bool may_alloc(size_t n_more)
{
    static pthread_once_t asked = PTHREAD_ONCE_INIT;
    pthread_once(&asked, read_environment);
    atomic_fetch_add_explicit(&n_alloc, 1, memory_order_relaxed);
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) >= 0 &&
        atomic_fetch_sub_explicit(&fail_countdown, 1, memory_order_relaxed) == 0)
        return false;
    int64_t limit = atomic_load_explicit(&limit_bytes, memory_order_relaxed);
    return limit == 0 || n_more == 0 ||
           (int64_t)n_more <= limit - atomic_load_explicit(&live_bytes, memory_order_relaxed);
}

void *hl_alloc(size_t n_bytes)
{
    void *p = n_bytes <= PTRDIFF_MAX && may_alloc(n_bytes) ? malloc(n_bytes ? n_bytes : 1) : NULL;
    if (p)
        count((int64_t)malloc_usable_size(p));
    else
        (void)hl_err_nomem("an allocation", n_bytes);
    return p;
}

void *hl_alloc_zero(size_t n, size_t each_bytes)
{
    size_t n_bytes;
    if (!hl_mul_size(n, each_bytes, &n_bytes)) {
        (void)hl_err_nomem("an allocation", SIZE_MAX);
        return NULL;
    }
    void *p = hl_alloc(n_bytes);
    if (p)
        memset(p, 0, n_bytes);
    return p;
}

void *hl_realloc(void *p, size_t n_bytes)
{
    const size_t old = p ? malloc_usable_size(p) : 0, n_more = n_bytes > old ? n_bytes - old : 0;
    void *q =
        n_bytes <= PTRDIFF_MAX && may_alloc(n_more) ? realloc(p, n_bytes ? n_bytes : 1) : NULL;
    if (q)
        count((int64_t)malloc_usable_size(q) - (int64_t)old);
    else
        (void)hl_err_nomem("an allocation", n_bytes);
    return q;
}

char *hl_strndup(const char *s, size_t n)
{
    char *p = hl_alloc(n < SIZE_MAX ? n + 1 : n);
    if (p) {
        memcpy(p, s, n);
        p[n] = '\0';
    }
    return p;
}

char *hl_strdup(const char *s)
{
    return hl_strndup(s, strlen(s));
}

void hl_free(void *p)
{
    if (!p)
        return;
    count(-(int64_t)malloc_usable_size(p));
    free(p);
}

static size_t block_round(size_t n_bytes)
{
    const size_t page = 4096;
    return (n_bytes + page - 1) / page * page;
}

void *hl_block_new(size_t n_bytes)
{
    if (n_bytes > PTRDIFF_MAX || !may_alloc(n_bytes)) {
        (void)hl_err_nomem("a block", n_bytes);
        return NULL;
    }
    size_t n = block_round(n_bytes ? n_bytes : 1);
    if (!hl_mem_thread_add((int64_t)n))
        return NULL;
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        (void)hl_mem_thread_add(-(int64_t)n);
        (void)hl_err_nomem("a block", n_bytes);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    if (n >= (4u << 20))
        (void)madvise(p, n, MADV_HUGEPAGE);
#endif
    count((int64_t)n);
    return p;
}

void hl_block_free(void *p, size_t n_bytes)
{
    if (!p)
        return;
    size_t n = block_round(n_bytes ? n_bytes : 1);
    munmap(p, n);
    (void)hl_mem_thread_add(-(int64_t)n);
    count(-(int64_t)n);
}

bool hl_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool hl_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

hl_mem_stats hl_mem_get_stats(void)
{
    return (hl_mem_stats){.live_bytes = atomic_load(&live_bytes),
                          .peak_bytes = atomic_load(&peak_bytes),
                          .n_alloc = atomic_load(&n_alloc)};
}

void hl_mem_set_limit(int64_t bytes)
{
    atomic_store(&limit_bytes, bytes);
}

void hl_mem_fail_after(int64_t n_more)
{
    atomic_store(&fail_countdown, n_more);
}

static int64_t status_field_bytes(const char *field)
{
    FILE *f = fopen("/proc/self/status", "r");
    if (!f)
        return -1;
    char line[256];
    long long kib = -1;
    size_t n = strlen(field);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, field, n) == 0 && sscanf(line + n, ": %lld", &kib) == 1)
            break;
    fclose(f);
    return kib < 0 ? -1 : (int64_t)kib * 1024;
}

int64_t hl_mem_process_bytes(void)
{
    return status_field_bytes("VmRSS");
}

int64_t hl_mem_process_peak_bytes(void)
{
    return status_field_bytes("VmHWM");
}

void hl_mem_process_peak_reset(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f)
        return;
    fputs("5\n", f);
    fclose(f);
}

static int64_t read_number_file(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return -1;
    long long v = -1;
    if (fscanf(f, "%lld", &v) != 1)
        v = -1;
    fclose(f);
    return v;
}

int64_t hl_mem_available_bytes(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    if (!f)
        return -1;
    char line[256];
    long long kib = -1;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld", &kib) == 1)
            break;
    fclose(f);
    int64_t avail = kib < 0 ? -1 : (int64_t)kib * 1024;
    int64_t cap = read_number_file("/sys/fs/cgroup/memory.max");
    int64_t used = read_number_file("/sys/fs/cgroup/memory.current");
    if (cap > 0 && used >= 0 && (avail < 0 || cap - used < avail))
        avail = cap > used ? cap - used : 0;
    return avail;
}
