#define _POSIX_C_SOURCE 200809L

#include <math.h>

#include "data/loader/loader_internal.h"
#include "data/loader/loader_test.h"

/* Selected 15 %; of these 80 % [MASK], 10 % random over the whole vocabulary, 10 % unchanged. All
 * counts within 4 standard deviations, random ids by a chi-square. */
static void check_mask_statistics(hl_corpus *c, hl_loader_mode mode)
{
    enum { B = 32, T = 128, N_STEPS = 500, V_MAX = 300 };
    int32_t mask = hl_tok_special_id(hl_corpus_tok(c), HL_TOK_SPECIAL_MASK);
    int32_t n_vocab = hl_tok_n_vocab(hl_corpus_tok(c));
    hl_loader_params p = params_of(c, mode, HL_OBJECTIVE_MLM, B, T);
    hl_loader *l = open_of(&p);
    double n = 0, n_selected = 0, n_mask = 0, n_kept = 0, n_random = 0, count[V_MAX] = {0};
    int32_t truth[T];
    for (int step = 0; step < N_STEPS; step++) {
        const hl_batch *b = next_of(l);
        if (!b)
            break;
        int64_t n_labelled = 0;
        for (int64_t i = 0; i < b->n_real * T; i++) {
            if (i % T == 0)
                cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, b->blocks[i / T] * T, T, truth),
                             HL_OK);
            int32_t was = truth[i % T], is = b->ids[i], label = b->labels[i];
            n++;
            cr_assert(label == was || (label == HL_LABEL_NONE && is == was));
            if (label == HL_LABEL_NONE)
                continue;
            n_labelled++;
            n_mask += is == mask;
            n_kept += is == was;
            if (is != mask && is != was) {
                n_random++;
                count[is < V_MAX ? is : 0]++;
            }
        }
        cr_assert_eq(n_labelled, b->n_labelled);
        n_selected += (double)n_labelled;
        hl_loader_give_back(l, b);
    }
    hl_loader_close(l);
    double v = n_vocab, p_mask = 0.8 + 0.1 / v, p_kept = 0.1 + 0.1 / v, p_random = 0.1 - 0.2 / v;
    cr_assert_gt(n, 100000);
#define WITHIN(x, total, p)                                                                        \
    cr_assert(fabs((x) - (total) * (p)) < 4 * sqrt((total) * (p) * (1 - (p))), "%s: %g of %g", #x, \
              (x), (total))
    WITHIN(n_selected, n, 0.15);
    WITHIN(n_mask, n_selected, p_mask);
    WITHIN(n_kept, n_selected, p_kept);
    WITHIN(n_random, n_selected, p_random);
    /* ids seldom in the text are hit as often as common ones */
    if (n_vocab > V_MAX)
        return;
    double chi = 0, each = n_random / (v - 1); /* not [MASK]; "not what it was" changes little */
    for (int32_t id = 0; id < n_vocab; id++)
        chi += id == mask ? 0 : (count[id] - each) * (count[id] - each) / each;
    cr_assert(fabs(chi - (v - 2)) < 6 * sqrt(2 * v), "chi-square %g for %g", chi, v - 2);
}

Test(loader, mask_statistics)
{
    hl_corpus *c = corpus_of("bytes", 400000, 0);
    check_mask_statistics(c, HL_LOADER_TRAIN);
    check_mask_statistics(c, HL_LOADER_EVAL);
    hl_corpus_unref(c);
    c = corpus_of("words", 1000000, 0);
    check_mask_statistics(c, HL_LOADER_TRAIN);
    hl_corpus_unref(c);
}

/* Training: a block is masked anew each epoch, independently. Evaluation: always alike. */
Test(loader, masks_change_by_epoch_in_training_only)
{
    hl_corpus *c = corpus_of("bytes", 64, 0);
    hl_loader_params p = params_of(c, HL_LOADER_TRAIN, HL_OBJECTIVE_MLM, 1, 64);
    p.mask_prob = 0.5;
    hl_loader *l = open_of(&p);
    bool last[64] = {false};
    int n_same = 0;
    for (int epoch = 0; epoch < 201; epoch++) {
        const hl_batch *b = next_of(l);
        for (int t = 0; t < 64; t++) {
            n_same += epoch > 0 && last[t] == (b->labels[t] != HL_LABEL_NONE);
            last[t] = b->labels[t] != HL_LABEL_NONE;
        }
        hl_loader_give_back(l, b);
    }
    cr_assert(abs(n_same - 6400) < 4 * 57, "%d of 12800", n_same);
    hl_loader_close(l);
    p.mode = HL_LOADER_EVAL;
    l = open_of(&p);
    uint64_t h = 0;
    for (int pass = 0; pass < 3; pass++) {
        const hl_batch *b = next_of(l);
        cr_assert(pass == 0 || hash_of(b) == h);
        h = hash_of(b);
        hl_loader_give_back(l, b);
        cr_assert_null(next_of(l));
        cr_assert_null(next_of(l));
        cr_assert_eq(hl_loader_seek(l, (hl_position){0, 0}), HL_OK);
    }
    hl_loader_close(l);
    p.mask_prob = 1;
    l = open_of(&p);
    const hl_batch *b = next_of(l);
    cr_assert_eq(b->n_labelled, 64);
    hl_loader_close(l);
    hl_corpus_unref(c);
}

/* The masks of an evaluation are the same at every batch size. */
Test(loader, evaluation_does_not_depend_on_batch_size)
{
    hl_corpus *c = corpus_of("words", 30000, 0.3);
    enum { T = 16, MAX = 4096 };
    int32_t *first = hl_alloc_zero(2 * MAX * T, sizeof *first);
    int64_t n_labelled = 0;
    for (int64_t batch = 1; batch < 70; batch = 2 * batch + 1) {
        hl_loader_params p = params_of(c, HL_LOADER_EVAL, HL_OBJECTIVE_MLM, batch, T);
        p.part = HL_PART_EVAL;
        hl_loader *l = open_of(&p);
        int64_t n = 0;
        for (const hl_batch *b; (b = next_of(l));) {
            cr_assert(n + b->n_real <= MAX &&
                      (b->n_real == batch || b->next.index == hl_loader_n_blocks(l)));
            size_t bytes = (size_t)(b->n_real * T) * sizeof *first;
            if (batch == 1) {
                memcpy(first + n * T, b->ids, bytes);
                memcpy(first + (MAX + n) * T, b->labels, bytes);
            }
            cr_assert_eq(memcmp(first + n * T, b->ids, bytes), 0);
            cr_assert_eq(memcmp(first + (MAX + n) * T, b->labels, bytes), 0);
            for (int64_t row = 0; row < b->n_real; row++)
                cr_assert_eq(b->blocks[row], n + row);
            n += b->n_real;
            hl_loader_give_back(l, b);
        }
        cr_assert_eq(n, hl_loader_n_blocks(l));
        hl_loader_totals totals = hl_loader_get_totals(l);
        cr_assert_eq(totals.n_tokens, n * T);
        cr_assert(batch == 1 || totals.n_labelled == n_labelled);
        n_labelled = totals.n_labelled;
        double ratio = hl_corpus_get_info(c)->part[HL_PART_EVAL].bytes_per_token;
        cr_assert(fabs((double)totals.n_bytes - (double)(n * T) * ratio) <= (double)n);
        hl_loader_close(l);
    }
    hl_free(first);
    hl_corpus_unref(c);
}

/* Specials cannot come out of text, so byte values stand in for them here. */
Test(loader, specials_are_never_selected)
{
    hl_corpus *c = corpus_of("bytes", 4000, 0);
    enum { T = 1000 };
    int32_t ids[T], labels[T];
    int64_t blocks[1];
    hl_loader_slot slot = {.ids = ids, .labels = labels, .blocks = blocks};
    hl_loader_filler f = {.corpus = c,
                          .is_mlm = true,
                          .batch_size = 1,
                          .seq_len = T,
                          .n_blocks = 4,
                          .mask_below = UINT64_C(1) << 32,
                          .n_vocab = 257,
                          .mask_id = 256,
                          .exempt = {'e', ' ', 't'},
                          .bytes_per_token = 1};
    for (int pass = 0; pass < 4; pass++) {
        int32_t truth[T];
        int64_t n_exempt = 0;
        cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, pass * T, T, truth), HL_OK);
        cr_assert(hl_loader_fill(&f, &slot));
        for (int t = 0; t < T; t++) {
            bool is_exempt = truth[t] == 'e' || truth[t] == ' ' || truth[t] == 't';
            n_exempt += is_exempt;
            cr_assert_eq(labels[t], is_exempt ? HL_LABEL_NONE : truth[t]);
            cr_assert(!is_exempt || ids[t] == truth[t]);
        }
        cr_assert_eq(slot.batch.n_labelled, T - n_exempt);
        cr_assert_gt(n_exempt, 100);
    }
    hl_corpus_unref(c);
}

/* Random ids come from the whole vocabulary, its last id included. */
Test(loader, random_ids_cover_the_vocabulary)
{
    hl_corpus *c = corpus_of("bytes", 4000, 0);
    enum { T = 4000, V = 3 };
    static int32_t ids[T], labels[T];
    int64_t blocks[1], count[V] = {0};
    hl_loader_slot slot = {.ids = ids, .labels = labels, .blocks = blocks};
    hl_loader_filler f = {.corpus = c,
                          .is_mlm = true,
                          .batch_size = 1,
                          .seq_len = T,
                          .n_blocks = 1,
                          .mask_below = UINT64_C(1) << 32,
                          .n_vocab = V,
                          .mask_id = 256,
                          .exempt = {-1, -1, -1},
                          .bytes_per_token = 1};
    cr_assert(hl_loader_fill(&f, &slot));
    for (int t = 0; t < T; t++)
        if (ids[t] < V) /* no byte of the text is */
            count[ids[t]]++;
    for (int i = 0; i < V; i++)
        cr_assert(llabs(count[i] - T / 10 / V) < 46, "id %d: %d", i, (int)count[i]); /* 4 sigma */
    hl_corpus_unref(c);
}

/* [UNK] is a token like others. */
Test(loader, unknown_words_are_selected)
{
    hl_text *t = text_of("known known known known\n"),
            *u = text_of("a b c d e f g h i j k l m n o p\n");
    hl_tok *tok = NULL;
    hl_corpus *c = NULL;
    cr_assert_eq(hl_tok_new_words(t, hl_text_n_bytes(t), 10, &tok), HL_OK);
    hl_corpus_params cp = hl_corpus_params_default();
    cp.train = u;
    cp.holdout = 0;
    cp.tok = tok;
    cr_assert_eq(hl_corpus_new(&cp, &c), HL_OK);
    hl_loader_params p = params_of(c, HL_LOADER_TRAIN, HL_OBJECTIVE_MLM, 1, 16);
    p.mask_prob = 1;
    hl_loader *l = open_of(&p);
    cr_assert_eq(next_of(l)->n_labelled, 16);
    hl_loader_close(l);
    hl_corpus_unref(c);
    hl_tok_unref(tok);
    hl_text_close(t);
    hl_text_close(u);
}
