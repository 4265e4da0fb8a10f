/* DESIGN. Wave by wave: the calling thread cuts some units, all threads encode them, each into the
 * token list of its unit, and the calling thread hands the lists over in order. So a sink needs no
 * lock, and what it gets is the same for any number of threads. */
#include "data/text/encode.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"

#define UNITS_PER_THREAD 4
#define ALONE_BYTES      ((size_t)1 << 20) /* below this, starting threads does not pay */

typedef struct unit {
    size_t from, to, n_bytes;
    hl_token_list tokens;
    hl_status st;
} unit;

typedef struct wave {
    const hl_encode_job *job;
    int n_threads, n_units, n_used;
    unit *unit;
    int32_t **scratch; /* one per thread */
    hl_flag next;      /* the unit that nobody has taken yet */
    hl_team *team;     /* NULL: the calling thread alone */
    hl_team *own;      /* made here */
} wave;

static void work(void *arg, int worker, int n_workers)
{
    wave *w = arg;
    (void)n_workers;
    for (int64_t i; (i = hl_flag_add(&w->next, 1) - 1) < w->n_used;) {
        unit *u = &w->unit[i];
        u->tokens.n = 0;
        u->st = hl_encode_unit(w->job, u->from, u->to, w->scratch[worker], &u->tokens, &u->n_bytes);
    }
}

static hl_status open_wave(wave *w)
{
    if (!w->team && w->job->to - w->job->from >= ALONE_BYTES) {
        hl_status st = hl_team_new(0, &w->own);
        if (st != HL_OK)
            return st;
        w->team = w->own;
    }
    w->n_threads = w->team ? w->team->n : 1;
    w->n_units = w->n_threads == 1 ? 1 : w->n_threads * UNITS_PER_THREAD;
    w->unit = hl_alloc_zero((size_t)w->n_units, sizeof *w->unit);
    w->scratch = hl_alloc_zero((size_t)w->n_threads, sizeof *w->scratch);
    if (!w->unit || !w->scratch)
        return HL_E_NOMEM;
    for (int i = 0; i < w->n_threads; i++)
        if (!(w->scratch[i] = hl_encode_scratch(w->job)))
            return HL_E_NOMEM;
    return HL_OK;
}

static void close_wave(wave *w)
{
    hl_team_free(w->own);
    for (int i = 0; w->scratch && i < w->n_threads; i++)
        hl_free(w->scratch[i]);
    for (int i = 0; w->unit && i < w->n_units; i++)
        hl_token_list_done(&w->unit[i].tokens);
    hl_free(w->scratch);
    hl_free(w->unit);
}

/* From `at` on; returns where the next wave begins. */
static size_t encode_wave(wave *w, size_t at)
{
    for (w->n_used = 0; w->n_used < w->n_units && at < w->job->to; w->n_used++) {
        unit *u = &w->unit[w->n_used];
        u->from = at;
        u->to = at = hl_encode_unit_end(w->job, at);
    }
    hl_flag_set(&w->next, 0);
    if (w->team)
        w->team->run(w->team, work, w);
    else
        work(w, 0, 1);
    return at;
}

hl_status hl_encode_run(const hl_encode_job *job, hl_team *team, hl_encode_sink sink, void *arg)
{
    hl_status st = HL_OK;
    wave w = {.job = job, .team = team};
    HL_TRY(open_wave(&w));
    for (size_t at = job->from; at < job->to;) {
        at = encode_wave(&w, at);
        for (int i = 0; i < w.n_used; i++) {
            const unit *u = &w.unit[i];
            if (u->st != HL_OK) /* said in the thread it happened in */
                HL_TRY(hl_err_nomem("the tokens of a text", SIZE_MAX));
            HL_TRY(sink(arg, &u->tokens, u->n_bytes, u->to));
        }
    }
out:
    close_wave(&w);
    return st;
}
