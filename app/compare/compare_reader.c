/* Reads comparisons in a thread. DESIGN: one order and one result, each replaced by a newer one,
 * behind a mutex that is held for a few assignments; an eventfd tells of a result. */
#define _GNU_SOURCE
#include <sys/eventfd.h>
#include <unistd.h>

#include "app/compare/compare.h"
#include "app/hl_app.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"

typedef struct order {
    char **dirs;
    size_t n;
    int64_t at;
    bool scripts;
} order;

struct hl_compare_reader {
    hl_thread *thread;
    hl_mutex *lock;
    int fd;
    /* under the lock */
    order *next;
    bool reads, stop, has_news;
    hl_comparison *result;
    hl_status status;
};

static void order_free(order *o)
{
    for (size_t i = 0; o && o->dirs && i < o->n; i++)
        hl_free(o->dirs[i]);
    if (o)
        hl_free(o->dirs);
    hl_free(o);
}

static order *order_new(const hl_compare_wanted *w)
{
    order *o = hl_alloc_zero(1, sizeof *o);
    if (!o)
        return NULL;
    *o = (order){
        .at = w->at, .scripts = w->scripts, .dirs = hl_alloc_zero(w->n + 1, sizeof(char *))};
    for (; o->dirs && o->n < w->n; o->n++) {
        o->dirs[o->n] = hl_strdup(w->dirs[o->n]);
        if (!o->dirs[o->n])
            break;
    }
    if (o->dirs && o->n == w->n)
        return o;
    order_free(o);
    return NULL;
}

static void put_result(hl_compare_reader *r, hl_comparison *c, hl_status st)
{
    const uint64_t one = 1;
    hl_mutex_lock(r->lock);
    hl_comparison *old = r->result;
    r->result = c;
    r->status = st;
    r->has_news = true;
    r->reads = false;
    hl_mutex_unlock(r->lock);
    hl_comparison_free(old);
    if (write(r->fd, &one, sizeof one) < 0)
        return; /* a counter that is full is readable as well */
}

static void body(void *arg)
{
    hl_compare_reader *r = arg;
    for (;;) {
        hl_mutex_lock(r->lock);
        while (!r->next && !r->stop)
            hl_mutex_wait(r->lock, -1);
        order *o = r->next;
        const bool stop = r->stop;
        r->next = NULL;
        r->reads = !stop;
        hl_mutex_unlock(r->lock);
        if (stop) {
            order_free(o);
            return;
        }
        hl_comparison *c = NULL;
        const hl_compare_wanted w = {
            .dirs = (const char *const *)o->dirs, .n = o->n, .at = o->at, .scripts = o->scripts};
        const hl_status st = hl_comparison_new(&w, &c);
        order_free(o);
        put_result(r, c, st);
    }
}

hl_status hl_compare_reader_open(hl_compare_reader **out)
{
    hl_status st = HL_OK;
    hl_compare_reader *r = hl_alloc_zero(1, sizeof *r);
    if (!r)
        return HL_E_NOMEM;
    r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->fd < 0)
        HL_FAIL(HL_E_IO, "no file descriptor is left to compare runs with");
    HL_TRY(hl_mutex_new(&r->lock));
    HL_TRY(hl_thread_start("compare", body, r, &r->thread));
    *out = r;
    return HL_OK;
out:
    hl_compare_reader_close(r);
    return st;
}

void hl_compare_reader_close(hl_compare_reader *r)
{
    if (!r)
        return;
    if (r->thread) {
        hl_mutex_lock(r->lock);
        r->stop = true;
        hl_mutex_wake(r->lock);
        hl_mutex_unlock(r->lock);
        hl_thread_join(r->thread);
    }
    order_free(r->next);
    hl_comparison_free(r->result);
    hl_mutex_free(r->lock);
    if (r->fd >= 0)
        close(r->fd);
    hl_free(r);
}

hl_status hl_compare_reader_ask(hl_compare_reader *r, const hl_compare_wanted *w)
{
    order *o = order_new(w);
    if (!o)
        return HL_E_NOMEM;
    hl_mutex_lock(r->lock);
    order *old = r->next;
    r->next = o;
    hl_mutex_wake(r->lock);
    hl_mutex_unlock(r->lock);
    order_free(old);
    return HL_OK;
}

int hl_compare_reader_fd(const hl_compare_reader *r)
{
    return r->fd;
}

hl_comparison *hl_compare_reader_take(hl_compare_reader *r, hl_status *st)
{
    uint64_t count;
    if (read(r->fd, &count, sizeof count) < 0) {
        /* nothing was written since; there may be a result all the same */
    }
    hl_mutex_lock(r->lock);
    hl_comparison *c = r->has_news ? r->result : NULL;
    *st = r->has_news ? r->status : HL_OK;
    if (r->has_news)
        r->result = NULL;
    r->has_news = false;
    hl_mutex_unlock(r->lock);
    return c;
}

bool hl_compare_reader_is_busy(const hl_compare_reader *r)
{
    hl_mutex_lock(r->lock);
    const bool busy = r->next || r->reads || r->has_news;
    hl_mutex_unlock(r->lock);
    return busy;
}
