#define _POSIX_C_SOURCE 200809L

#include <math.h>

#include "data/loader/loader_test.h"
#include "engine/base/clock.h"

Test(loader, clm_labels_are_the_next_tokens)
{
    hl_corpus *c = corpus_of("bytes", 1000, 0);
    hl_loader_params p = params_of(c, HL_LOADER_TRAIN, HL_OBJECTIVE_CLM, 3, 16);
    hl_loader *l = open_of(&p);
    cr_assert_eq(hl_loader_n_blocks(l), 62);
    for (int step = 0; step < 100; step++) {
        const hl_batch *b = next_of(l);
        cr_assert(b->n_real == 3 && b->n_labelled == 3 * 15 && b->n_tokens == 48 &&
                  b->n_bytes == 48);
        for (int64_t row = 0; row < 3; row++) {
            int32_t want[16];
            cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, b->blocks[row] * 16, 16, want), HL_OK);
            cr_assert_eq(memcmp(want, b->ids + row * 16, sizeof want), 0);
            for (int t = 0; t < 15; t++)
                cr_assert_eq(b->labels[row * 16 + t], want[t + 1]);
            cr_assert_eq(b->labels[row * 16 + 15], HL_LABEL_NONE);
        }
        hl_loader_give_back(l, b);
    }
    hl_loader_totals totals = hl_loader_get_totals(l);
    cr_assert(totals.n_batches == 100 && totals.n_tokens == 4800 && totals.n_labelled == 4500 &&
              totals.n_bytes == 4800 && totals.wait_ns >= 0);
    hl_loader_close(l);
    hl_corpus_unref(c);
}

/* Every epoch holds every block once, in an order of its own; batches run on over the boundary. */
Test(loader, epochs_are_permutations)
{
    hl_corpus *c = corpus_of("bytes", 1000, 0);
    hl_loader_params p = params_of(c, HL_LOADER_TRAIN, HL_OBJECTIVE_CLM, 7, 10);
    hl_loader *l = open_of(&p);
    enum { N_BLOCKS = 100, N_EPOCHS = 14 };
    int64_t order[N_EPOCHS][N_BLOCKS], n = 0;
    while (n < N_EPOCHS * N_BLOCKS) {
        const hl_batch *b = next_of(l);
        cr_assert(b->at.epoch == n / N_BLOCKS && b->at.index == n % N_BLOCKS);
        for (int64_t row = 0; row < 7; row++, n++)
            order[n / N_BLOCKS][n % N_BLOCKS] = b->blocks[row];
        cr_assert(b->next.epoch == n / N_BLOCKS && b->next.index == n % N_BLOCKS);
        hl_loader_give_back(l, b);
    }
    int n_equal = 0, n_in_place = 0;
    for (int e = 0; e < N_EPOCHS; e++) {
        bool seen[N_BLOCKS] = {false};
        for (int i = 0; i < N_BLOCKS; i++) {
            cr_assert(!seen[order[e][i]]);
            seen[order[e][i]] = true;
            n_in_place += order[e][i] == i;
        }
        for (int k = 0; k < e; k++)
            n_equal += memcmp(order[e], order[k], sizeof order[e]) == 0;
    }
    cr_assert_eq(n_equal, 0);
    cr_assert_lt(n_in_place, 40); /* 14 expected, Poisson */
    hl_loader_close(l);
    hl_corpus_unref(c);
}

/* A batch larger than the text spans several epochs. */
Test(loader, batches_larger_than_the_text)
{
    hl_corpus *c = corpus_of("bytes", 35, 0);
    hl_loader_params p = params_of(c, HL_LOADER_TRAIN, HL_OBJECTIVE_MLM, 8, 10);
    hl_loader *l = open_of(&p);
    const hl_batch *b = next_of(l);
    int count[3] = {0};
    for (int row = 0; row < 6; row++)
        count[b->blocks[row]]++;
    cr_assert(count[0] == 2 && count[1] == 2 && count[2] == 2);
    cr_assert(b->next.epoch == 2 && b->next.index == 2);
    hl_loader_close(l);
    p.mode = HL_LOADER_EVAL;
    p.objective = HL_OBJECTIVE_CLM;
    l = open_of(&p);
    b = next_of(l);
    cr_assert(b->n_real == 3 && b->n_tokens == 30 && b->n_labelled == 27);
    cr_assert(b->next.epoch == 0 && b->next.index == 3);
    for (int row = 3; row < 8; row++) {
        cr_assert_eq(b->blocks[row], -1);
        cr_assert_eq(memcmp(b->ids + row * 10, b->ids, 10 * sizeof *b->ids), 0);
        for (int t = 0; t < 10; t++)
            cr_assert_eq(b->labels[row * 10 + t], HL_LABEL_NONE);
    }
    hl_loader_give_back(l, b);
    cr_assert_null(next_of(l));
    hl_loader_close(l);
    hl_corpus_unref(c);
}

/* A resumed run sees the same data: from every position of three epochs the same batches come. */
static void check_resume(hl_corpus *c, hl_objective objective)
{
    enum { T = 12, B = 4, N_EPOCHS = 3, N_AFTER = 5, MAX_BLOCKS = 64 };
    hl_loader_params p = params_of(c, HL_LOADER_TRAIN, objective, 1, T);
    hl_loader *l = open_of(&p);
    int64_t n_blocks = hl_loader_n_blocks(l), n = N_EPOCHS * n_blocks + B * N_AFTER;
    cr_assert_leq(n_blocks, MAX_BLOCKS);
    int32_t ids[4 * MAX_BLOCKS][T], labels[4 * MAX_BLOCKS][T];
    for (int64_t i = 0; i < n; i++) {
        const hl_batch *b = next_of(l);
        memcpy(ids[i], b->ids, sizeof ids[i]);
        memcpy(labels[i], b->labels, sizeof labels[i]);
        hl_loader_give_back(l, b);
    }
    hl_loader_close(l);
    p.batch_size = B;
    hl_loader *seeker = open_of(&p);
    for (int64_t i = 0; i < N_EPOCHS * n_blocks; i++) {
        p.start = (hl_position){i / n_blocks, i % n_blocks};
        l = open_of(&p);
        cr_assert_eq(hl_loader_seek(seeker, p.start), HL_OK);
        for (int64_t k = 0; k < N_AFTER; k++) {
            const hl_batch *b = next_of(l), *s = next_of(seeker);
            cr_assert_eq(memcmp(b->ids, ids[i + k * B], sizeof ids[0] * B), 0);
            cr_assert_eq(memcmp(b->labels, labels[i + k * B], sizeof labels[0] * B), 0);
            cr_assert_eq(hash_of(b), hash_of(s));
            cr_assert_eq(b->at.epoch * n_blocks + b->at.index, i + k * B);
            hl_loader_give_back(l, b);
            hl_loader_give_back(seeker, s);
        }
        hl_loader_close(l);
    }
    hl_loader_close(seeker);
}

Test(loader, continues_from_every_position)
{
    hl_corpus *c = corpus_of("bytes", 12 * 37 + 5, 0);
    check_resume(c, HL_OBJECTIVE_CLM);
    check_resume(c, HL_OBJECTIVE_MLM);
    hl_corpus_unref(c);
    c = corpus_of("words", 3000, 0);
    check_resume(c, HL_OBJECTIVE_MLM);
    hl_corpus_unref(c);
}

Test(loader, seed_and_epoch_change_the_data_and_nothing_else_does)
{
    hl_corpus *c = corpus_of("bytes", 5000, 0);
    for (int objective = 0; objective < 2; objective++) {
        hl_loader_params p = params_of(c, HL_LOADER_TRAIN, (hl_objective)objective, 4, 32);
        uint64_t h[4];
        for (int k = 0; k < 4; k++) {
            p.seed = k < 2 ? 42 : UINT64_C(42) << 32 | (unsigned)k;
            hl_loader *l = open_of(&p);
            const hl_batch *b = next_of(l);
            h[k] = hash_of(b);
            hl_loader_close(l);
        }
        cr_assert_eq(h[0], h[1]);
        cr_assert(h[0] != h[2] && h[2] != h[3]);
    }
    hl_corpus_unref(c);
}

static void expect_refused(hl_loader_params p, hl_status code, const char *part1, const char *part2)
{
    hl_loader *l = NULL;
    int64_t live = hl_mem_get_stats().live_bytes, bytes = -7;
    cr_assert_eq(hl_loader_open(&p, &l), code, "%s", hl_err_message());
    cr_assert_null(l);
    cr_assert_not_null(strstr(hl_err_message(), part1), "%s", hl_err_message());
    cr_assert_not_null(strstr(hl_err_message(), part2), "%s", hl_err_message());
    cr_assert_eq(hl_mem_get_stats().live_bytes, live);
    cr_assert_eq(hl_loader_plan(&p, &bytes), code);
    cr_assert_eq(bytes, -7);
}

Test(loader, refuses_bad_parameters)
{
    hl_corpus *c = corpus_of("bytes", 1000, 0), *held = corpus_of("bytes", 1000, 0.02);
    hl_loader_params good = params_of(c, HL_LOADER_TRAIN, HL_OBJECTIVE_MLM, 4, 50), p = good;
    p.corpus = NULL;
    expect_refused(p, HL_E_ARG, "needs a corpus", "none is given");
    p = good;
    p.part = (hl_part)5;
    expect_refused(p, HL_E_ARG, "no part 5", "");
    p.part = HL_PART_EVAL;
    expect_refused(p, HL_E_ARG, "'generated' has no evaluation part", "set holdout > 0");
    p.corpus = held;
    expect_refused(p, HL_E_SHAPE, "fewer than one block of seq_len 50",
                   "a larger holdout or a smaller");
    cr_assert_not_null(strstr(hl_err_message(), "'generated (last 2 %)' has "), "%s",
                       hl_err_message());
    p = good;
    p.mode = (hl_loader_mode)9;
    expect_refused(p, HL_E_ARG, "unknown loader mode 9", "");
    p = good;
    p.objective = (hl_objective)9;
    expect_refused(p, HL_E_ARG, "unknown objective 9", "CLM and MLM");
    p = good;
    static const double bad_prob[] = {0, -0.1, 1.01, (double)NAN};
    for (size_t i = 0; i < 4; i++) {
        p.mask_prob = bad_prob[i];
        expect_refused(p, HL_E_ARG, "mask_prob = ", "0 < mask_prob <= 1");
    }
    hl_corpus_unref(c);
    hl_corpus_unref(held);
    hl_text *t = text_of("some text without a mask token in its vocabulary");
    hl_corpus_params cp = hl_corpus_params_default();
    cp.train = t;
    cr_assert_eq(hl_corpus_new(&cp, &c), HL_OK);
    p = good;
    p.corpus = c;
    p.seq_len = 4;
    expect_refused(p, HL_E_ARG, "MLM needs a [MASK] token and the bytes vocabulary of 'test.txt'",
                   "with_mask");
    hl_corpus_unref(c);
    hl_text_close(t);
}

Test(loader, refuses_bad_sizes)
{
    hl_corpus *c = corpus_of("bytes", 1000, 0);
    hl_loader_params good = params_of(c, HL_LOADER_TRAIN, HL_OBJECTIVE_MLM, 4, 50), p = good;
    static const int64_t bad_len[] = {1, 0, -5, HL_BLOCK_TOKENS_MAX + 1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < 6; i++) {
        p.seq_len = bad_len[i];
        expect_refused(p, HL_E_ARG, "seq_len = ", "out of range: 2 .. 1048576 tokens");
    }
    p = good;
    static const int64_t bad_batch[] = {0, -1, INT64_MIN};
    for (size_t i = 0; i < 3; i++) {
        p.batch_size = bad_batch[i];
        expect_refused(p, HL_E_ARG, "batch_size = ", "at least 1 block");
    }
    static const int64_t big_batch[] = {INT64_MAX, (int64_t)INT32_MAX / 50 + 1};
    for (size_t i = 0; i < 2; i++) {
        p.batch_size = big_batch[i];
        expect_refused(p, HL_E_SHAPE, "x seq_len 50 is more than 2^31 - 1 tokens",
                       "lower one of them");
    }
    p = good;
    p.seq_len = 1001;
    expect_refused(p, HL_E_SHAPE,
                   "'generated' has 1000 tokens, fewer than one block of seq_len 1001",
                   "use a longer text or a smaller seq_len");
    p = good;
    static const hl_position bad_start[] = {
        {0, 20}, {0, -1}, {-1, 0}, {INT64_MAX, 0}, {0, INT64_MAX}};
    for (size_t i = 0; i < 5; i++) {
        p.start = bad_start[i];
        expect_refused(p, HL_E_ARG, "is out of range: epoch 0 .. 4294967295, block 0 .. 19",
                       "of another text or seq_len?");
    }
    p.mode = HL_LOADER_EVAL;
    p.start = (hl_position){1, 0};
    expect_refused(p, HL_E_ARG, "epoch 0 .. 0, block 0 .. 20", "");
    hl_corpus_unref(c);
}

Test(loader, holding_batches)
{
    hl_corpus *c = corpus_of("bytes", 1000, 0);
    hl_loader_params p = params_of(c, HL_LOADER_TRAIN, HL_OBJECTIVE_CLM, 2, 10);
    hl_loader *l = open_of(&p);
    hl_corpus_unref(c); /* the loader has a reference of its own */
    const hl_batch *held[HL_LOADER_DEPTH], *b = NULL;
    uint64_t h[HL_LOADER_DEPTH];
    for (int i = 0; i < HL_LOADER_DEPTH; i++) {
        held[i] = next_of(l);
        h[i] = hash_of(held[i]);
    }
    cr_assert_eq(hl_loader_next(l, &b), HL_E_STATE);
    cr_assert_not_null(
        strstr(hl_err_message(), "all 4 batches of the loader are held; give one back"));
    cr_assert_eq(hl_loader_seek(l, (hl_position){5, 3}), HL_OK);
    for (int i = 0; i < HL_LOADER_DEPTH; i++)
        cr_assert_eq(hash_of(held[i]), h[i], "a seek leaves batches alone");
    hl_loader_give_back(l, held[2]);
    hl_loader_give_back(l, NULL);
    b = next_of(l);
    cr_assert(b->at.epoch == 5 && b->at.index == 3);
    hl_loader_give_back(l, held[0]);
    hl_loader_give_back(l, held[3]);
    hl_loader_give_back(l, b);
    b = next_of(l);
    cr_assert(b->at.epoch == 5 && b->at.index == 5);
    cr_assert_eq(hash_of(held[1]), h[1]);
    cr_assert_eq(hl_loader_seek(l, (hl_position){0, 100}), HL_E_ARG);
    cr_assert_eq(hl_loader_seek(l, (hl_position){7, 99}), HL_OK);
    hl_loader_give_back(l, b);
    b = next_of(l);
    cr_assert(b->at.epoch == 7 && b->at.index == 99 && b->next.epoch == 8 && b->next.index == 1);
    hl_loader_cancel(l);
    cr_assert_eq(hl_loader_next(l, &b), HL_E_CANCELLED);
    cr_assert_eq(hl_loader_seek(l, (hl_position){0, 0}), HL_E_CANCELLED);
    hl_loader_close(l); /* with batches held */
    hl_loader_close(NULL);
}

Test(loader, plan_tells_the_memory_and_stepping_allocates_nothing)
{
    hl_corpus *c = corpus_of("bytes", 300000, 0);
    static const int64_t shapes[][2] = {{1, 2}, {3, 17}, {64, 128}, {256, 512}};
    for (size_t k = 0; k < 8; k++) {
        hl_loader_params p = params_of(c, k % 2 ? HL_LOADER_TRAIN : HL_LOADER_EVAL,
                                       HL_OBJECTIVE_MLM, shapes[k / 2][0], shapes[k / 2][1]);
        int64_t planned = 0, before = hl_mem_get_stats().live_bytes;
        cr_assert_eq(hl_loader_plan(&p, &planned), HL_OK);
        cr_assert_eq(hl_mem_get_stats().live_bytes, before);
        hl_loader *l = open_of(&p);
        int64_t took = hl_mem_get_stats().live_bytes - before;
        cr_assert(took <= planned && took > planned - 16384, "%lld planned, %lld taken",
                  (long long)planned, (long long)took);
        int64_t n_alloc = hl_mem_get_stats().n_alloc;
        for (int i = 0; i < 30; i++) {
            hl_loader_give_back(l, next_of(l));
            if (i % 10 == 0)
                cr_assert_eq(hl_loader_seek(l, (hl_position){0, 0}), HL_OK);
        }
        cr_assert_eq(hl_mem_get_stats().n_alloc, n_alloc);
        hl_loader_close(l);
        cr_assert_eq(hl_mem_get_stats().live_bytes, before);
    }
    hl_corpus_unref(c);
}

Test(loader, no_leak_when_memory_fails)
{
    hl_corpus *c = corpus_of("bytes", 1000, 0);
    hl_loader_params p = params_of(c, HL_LOADER_TRAIN, HL_OBJECTIVE_CLM, 2, 10);
    int64_t live = hl_mem_get_stats().live_bytes;
    int n_failed = 0;
    for (int64_t n = 0;; n++, n_failed++) {
        hl_loader *l = NULL;
        hl_mem_fail_after(n);
        hl_status st = hl_loader_open(&p, &l);
        hl_mem_fail_after(-1);
        hl_loader_close(l);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live, "failure %lld", (long long)n);
        if (st == HL_OK)
            break;
        cr_assert_eq(st, HL_E_NOMEM);
        cr_assert_null(l);
    }
    cr_assert_geq(n_failed, 7);
    hl_mem_set_limit(live + 100000);
    p.batch_size = 10000;
    hl_loader *l = NULL;
    cr_assert_eq(hl_loader_open(&p, &l), HL_E_NOMEM);
    cr_assert_not_null(strstr(hl_err_message(), "lower batch_size or seq_len"), "%s",
                       hl_err_message());
    hl_mem_set_limit(0);
    hl_corpus_unref(c);
}

Test(loader, speed)
{
    hl_corpus *c = corpus_of("bytes", 4000000, 0);
    for (int k = 0; k < 2; k++) {
        hl_loader_params p = params_of(c, HL_LOADER_TRAIN, (hl_objective)k, 32, 256);
        hl_loader *l = open_of(&p);
        int64_t since = hl_clock_mono_ns();
        for (int i = 0; i < 1000; i++)
            hl_loader_give_back(l, next_of(l));
        double s = (double)(hl_clock_mono_ns() - since) * 1e-9;
        hl_loader_totals t = hl_loader_get_totals(l);
        fprintf(stderr, "# %s: %.1f Mtoken/s, waited %.0f %%\n", k ? "MLM" : "CLM",
                (double)t.n_tokens / s * 1e-6, (double)t.wait_ns * 1e-7 / s);
        cr_assert(t.wait_ns >= 0 && (double)t.wait_ns * 1e-9 <= s * 1.01);
        hl_loader_close(l);
    }
    hl_corpus_unref(c);
}
