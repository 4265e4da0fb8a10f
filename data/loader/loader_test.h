/* For the tests of the loader. */
#ifndef HL_DATA_LOADER_TEST_H
#define HL_DATA_LOADER_TEST_H

#include <criterion/criterion.h>

#include "data/data_test.h"
#include "engine/base/hash.h"

/* Generated text as a corpus; bytes with a mask, or words. */
HL_UNUSED static hl_corpus *corpus_of(const char *kind, size_t n_bytes, double holdout)
{
    hl_text *t = NULL;
    hl_corpus *c = NULL;
    cr_assert_eq(hl_synth_text(1, n_bytes, NULL, &t), HL_OK, "%s", hl_err_message());
    hl_corpus_params p = hl_corpus_params_default();
    p.train = t;
    p.tok_kind = kind;
    p.with_mask = true;
    p.holdout = holdout;
    cr_assert_eq(hl_corpus_new(&p, &c), HL_OK, "%s", hl_err_message());
    hl_text_close(t);
    return c;
}

HL_UNUSED static hl_loader_params params_of(hl_corpus *c, hl_loader_mode mode,
                                            hl_objective objective, int64_t batch_size,
                                            int64_t seq_len)
{
    hl_loader_params p = hl_loader_params_default();
    p.corpus = c;
    p.mode = mode;
    p.objective = objective;
    p.batch_size = batch_size;
    p.seq_len = seq_len;
    p.seed = 42;
    return p;
}

HL_UNUSED static hl_loader *open_of(const hl_loader_params *p)
{
    hl_loader *l = NULL;
    cr_assert_eq(hl_loader_open(p, &l), HL_OK, "%s", hl_err_message());
    return l;
}

HL_UNUSED static const hl_batch *next_of(hl_loader *l)
{
    const hl_batch *b = NULL;
    cr_assert_eq(hl_loader_next(l, &b), HL_OK, "%s", hl_err_message());
    return b;
}

/* Everything of a batch but the time it took. */
HL_UNUSED static uint64_t hash_of(const hl_batch *b)
{
    size_t n = (size_t)(b->batch_size * b->seq_len);
    uint64_t h = hl_hash_bytes(HL_HASH_START, b->ids, n * sizeof *b->ids);
    h = hl_hash_bytes(h, b->labels, n * sizeof *b->labels);
    h = hl_hash_bytes(h, b->blocks, (size_t)b->batch_size * sizeof *b->blocks);
    int64_t numbers[] = {b->n_real,     b->at.epoch, b->at.index,   b->next.epoch,
                         b->next.index, b->n_tokens, b->n_labelled, b->n_bytes};
    return hl_hash_bytes(h, numbers, sizeof numbers);
}

#endif
