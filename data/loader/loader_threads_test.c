/* The loader under ThreadSanitizer: plain main, no test framework. Nothing here may hang; a
 * watchdog ends the program if it does. */
#define _POSIX_C_SOURCE 200809L

#include "data/data_test.h"
#include "engine/base/clock.h"
#include "engine/base/hash.h"
#include "engine/base/thread.h"

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #x, hl_err_message());          \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static hl_corpus *corpus;

static hl_loader *open_loader(hl_loader_mode mode, int64_t batch_size, int64_t seq_len)
{
    hl_loader_params p = hl_loader_params_default();
    hl_loader *l = NULL;
    p.corpus = corpus;
    p.mode = mode;
    p.objective = HL_OBJECTIVE_MLM;
    p.batch_size = batch_size;
    p.seq_len = seq_len;
    CHECK(hl_loader_open(&p, &l) == HL_OK);
    return l;
}

static uint64_t hash_ids(uint64_t h, const hl_batch *b)
{
    size_t n = (size_t)(b->batch_size * b->seq_len);
    return hl_hash_bytes(hl_hash_bytes(h, b->ids, n * 4), b->labels, n * 4);
}

/* Fast, slow and hoarding consumers all see the same stream. */
static uint64_t consume(int how)
{
    hl_loader *l = open_loader(HL_LOADER_TRAIN, 5, 33);
    const hl_batch *held[HL_LOADER_DEPTH] = {0};
    uint64_t h = HL_HASH_START;
    for (int i = 0; i < 60; i++) {
        int slot = how == 2 ? i % 3 : 0;
        const hl_batch *b = NULL;
        CHECK(hl_loader_next(l, &b) == HL_OK && b);
        h = hash_ids(h, b);
        CHECK(b->wait_ns >= 0);
        hl_loader_give_back(l, held[slot]);
        held[slot] = b;
        if (how == 1 && i % 5 == 0)
            hl_clock_sleep_ms(2);
    }
    hl_loader_close(l);
    return h;
}

static void test_consumers_agree(void)
{
    uint64_t h = consume(0);
    CHECK(consume(1) == h);
    CHECK(consume(2) == h);
}

static void test_open_and_close(void)
{
    for (int i = 0; i < 300; i++) {
        hl_loader *l = open_loader(i % 2 ? HL_LOADER_TRAIN : HL_LOADER_EVAL, 1 + i % 9, 20);
        const hl_batch *b = NULL;
        for (int k = 0; k < i % 7; k++) {
            CHECK(hl_loader_next(l, &b) == HL_OK);
            if (k % 2)
                hl_loader_give_back(l, b);
        }
        hl_loader_close(l);
    }
}

/* Seeks at every moment: before, while and after the prefetch thread fills, at the end of a pass.
 */
static void test_seek(void)
{
    hl_loader *l = open_loader(HL_LOADER_EVAL, 16, 64);
    int64_t n_blocks = hl_loader_n_blocks(l);
    for (int64_t i = 0; i < 600; i++) {
        hl_position to = {0, i * 7919 % (n_blocks + 1)};
        CHECK(hl_loader_seek(l, to) == HL_OK);
        if (i % 4 == 0)
            continue;
        const hl_batch *b = NULL;
        for (int k = 0; k < i % 5; k++) {
            CHECK(hl_loader_next(l, &b) == HL_OK);
            CHECK(b ? b->at.index == to.index : to.index == n_blocks);
            to = b ? b->next : to;
            hl_loader_give_back(l, b);
        }
    }
    hl_loader_close(l);
}

static void cancel_soon(void *arg)
{
    hl_clock_sleep_ms(3);
    hl_loader_cancel(arg);
}

/* A consumer that waits for a batch that takes half a second returns at once when cancelled;
 * closing does not wait for the batch either. */
static void test_cancel(void)
{
    for (int i = 0; i < 20; i++) {
        hl_loader *l = open_loader(HL_LOADER_TRAIN, 20000, 1000);
        hl_thread *t = NULL;
        const hl_batch *b = NULL;
        CHECK(hl_thread_start("cancel", cancel_soon, l, &t) == HL_OK);
        int64_t since = hl_clock_mono_ns();
        CHECK(hl_loader_next(l, &b) == HL_E_CANCELLED);
        hl_thread_join(t);
        CHECK(hl_loader_next(l, &b) == HL_E_CANCELLED);
        hl_loader_close(l);
        CHECK(hl_clock_mono_ns() - since < INT64_C(1000000000));
    }
}

static void consume_one(void *arg)
{
    *(uint64_t *)arg = consume(1);
}

/* Loaders in several threads share one corpus. */
static void test_shared_corpus(void)
{
    enum { N = 4 };
    hl_thread *t[N] = {0};
    uint64_t h[N] = {0};
    for (int i = 0; i < N; i++)
        CHECK(hl_thread_start("consumer", consume_one, &h[i], &t[i]) == HL_OK);
    for (int i = 0; i < N; i++)
        hl_thread_join(t[i]);
    for (int i = 1; i < N; i++)
        CHECK(h[i] == h[0]);
}

int main(void)
{
    alarm(250);
    hl_text *text = NULL;
    hl_corpus_params p = hl_corpus_params_default();
    CHECK(hl_synth_text(9, 200000, NULL, &text) == HL_OK);
    p.train = text;
    p.holdout = 0;
    p.with_mask = true;
    CHECK(hl_corpus_new(&p, &corpus) == HL_OK);
    hl_text_close(text);
    test_consumers_agree();
    test_open_and_close();
    test_seek();
    test_cancel();
    test_shared_corpus();
    hl_corpus_unref(corpus);
    CHECK(hl_mem_get_stats().live_bytes == 0);
    puts("loader threads: ok");
    return 0;
}
