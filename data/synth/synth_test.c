#define _POSIX_C_SOURCE 200809L

#include <criterion/criterion.h>
#include <math.h>

#include "data/data_test.h"
#include "data/text/text_internal.h"
#include "data/tok/tok_internal.h"
#include "engine/base/clock.h"
#include "engine/base/hash.h"

static hl_text_span make(uint64_t seed, size_t n, double *bits, hl_text **out)
{
    cr_assert_eq(hl_synth_text(seed, n, bits, out), HL_OK, "%s", hl_err_message());
    return hl_text_file(*out, 0);
}

Test(synth, is_a_function_of_the_seed_and_longer_begins_with_shorter)
{
    hl_text *a, *b, *c, *one;
    hl_text_span x = make(7, 50000, NULL, &a), y = make(7, 20001, NULL, &b),
                 z = make(8, 20000, NULL, &c), u = make(7, 1, NULL, &one);
    cr_assert(x.n == 50000 && y.n == 20001 && z.n == 20000 && u.n == 1);
    cr_assert_eq(memcmp(x.bytes, y.bytes, y.n), 0);
    cr_assert_neq(memcmp(x.bytes, z.bytes, z.n), 0);
    cr_assert_str_eq(hl_text_label(a), "generated");
    cr_assert(hl_text_is_generated(a));
    for (size_t i = 0; i < x.n; i++)
        cr_assert((x.bytes[i] >= ' ' && x.bytes[i] < 0x7F) || x.bytes[i] == '\n');
    /* the text of this seed is fixed: results on it compare between versions and machines */
    cr_assert_eq(hl_hash_bytes(HL_HASH_START, x.bytes, x.n), UINT64_C(0x36a1d59471f4873),
                 "0x%llx\n%.1500s", (unsigned long long)hl_hash_bytes(HL_HASH_START, x.bytes, x.n),
                 (const char *)x.bytes);
    hl_text_close(a);
    hl_text_close(b);
    hl_text_close(c);
    hl_text_close(one);
}

Test(synth, sizes_are_checked)
{
    hl_text *t = NULL;
    cr_assert_eq(hl_synth_text(1, 0, NULL, &t), HL_E_ARG);
    cr_assert_str_eq(hl_err_message(),
                     "a generated text of 0 bytes is out of range: 1 .. 1073741824");
    cr_assert_eq(hl_synth_text(1, SIZE_MAX, NULL, &t), HL_E_ARG);
    cr_assert_null(t);
    int64_t live = hl_mem_get_stats().live_bytes;
    int n_failed = 0;
    for (int64_t n = 0;; n++, n_failed++) {
        hl_mem_fail_after(n);
        hl_status st = hl_synth_text(1, 10000, NULL, &t);
        hl_mem_fail_after(-1);
        if (st == HL_OK)
            break;
        cr_assert_eq(st, HL_E_NOMEM);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live);
    }
    cr_assert_geq(n_failed, 4);
    hl_text_close(t);
}

/* Quotes and brackets match within every paragraph. */
Test(synth, marks_match)
{
    hl_text *t;
    hl_text_span s = make(11, 400000, NULL, &t);
    int n_quotes = 0, depth = 0, n_paragraphs = 0, n_asides = 0;
    for (size_t i = 0; i < s.n; i++) {
        n_quotes += s.bytes[i] == '"';
        n_asides += s.bytes[i] == '(';
        depth += (s.bytes[i] == '(') - (s.bytes[i] == ')');
        cr_assert(depth == 0 || depth == 1);
        if (s.bytes[i] == '\n' && i && s.bytes[i - 1] == '\n') {
            cr_assert(n_quotes % 2 == 0 && depth == 0, "paragraph %d", n_paragraphs);
            n_paragraphs++;
        }
    }
    cr_assert(n_paragraphs > 300 && n_quotes > 500 && n_asides > 100, "%d %d %d", n_paragraphs,
              n_quotes, n_asides);
    hl_text_close(t);
}

/* ---- how much a model can learn -------------------------------------------------------------- */

/* Bits per symbol of a held-out tail under a k-gram model: each order interpolated with the next
 * lower one by Witten-Bell weights, counts hashed exactly (the table is far larger than needed). */
typedef struct gram {
    uint64_t key;
    uint32_t count, n_types; /* as a symbol; as a context: total in count */
} gram;

#define N_GRAMS (1u << 22)
static gram *grams;

static gram *find_gram(const int32_t *s, int n, int what)
{
    int tag = 2 * n + what;
    uint64_t key = hl_hash_bytes(HL_HASH_START, &tag, sizeof tag);
    key = hl_hash_bytes(key, s, (size_t)n * sizeof *s);
    uint32_t k = (uint32_t)(key ^ key >> 32) & (N_GRAMS - 1);
    while (grams[k].key && grams[k].key != key)
        k = (k + 1) & (N_GRAMS - 1);
    grams[k].key = key;
    return &grams[k];
}

static double n_gram_bits(const int32_t *ids, size_t n_train, size_t n, int order, int32_t n_vocab)
{
    memset(grams, 0, N_GRAMS * sizeof *grams);
    for (size_t i = (size_t)order; i < n_train; i++)
        for (int k = 1; k <= order; k++) {
            gram *seen = find_gram(ids + i + 1 - k, k, 0),
                 *context = find_gram(ids + i + 1 - k, k - 1, 1);
            context->n_types += seen->count++ == 0;
            context->count++;
        }
    double bits = 0;
    for (size_t i = n_train; i < n; i++) {
        double p = 1.0 / n_vocab;
        for (int k = 1; k <= order; k++) {
            const gram *seen = find_gram(ids + i + 1 - k, k, 0);
            const gram *context = find_gram(ids + i + 1 - k, k - 1, 1);
            if (context->count)
                p = (seen->count + context->n_types * p) / (context->count + context->n_types);
        }
        bits -= log2(p);
    }
    return bits;
}

Test(synth, long_memory_is_worth_learning)
{
    enum { N = 2000000 };
    grams = hl_block_new(N_GRAMS * sizeof *grams);
    hl_text *t;
    double bits = 0;
    hl_text_span s = make(1, N, &bits, &t);
    double bound = bits / N, byte_bits[7];
    int32_t *ids = hl_alloc_zero(N, sizeof *ids);
    for (size_t i = 0; i < N; i++)
        ids[i] = s.bytes[i];
    for (int order = 1; order <= 6; order++)
        byte_bits[order] = n_gram_bits(ids, N - N / 10, N, order, 256) / (N / 10);
    hl_tok *tok = NULL;
    cr_assert_eq(hl_tok_new_words(t, N, 1000, &tok), HL_OK);
    size_t n_tail = hl_tok_encode(tok, s.bytes + (N - N / 10), N / 10, ids);
    size_t n_words = hl_tok_encode(tok, s.bytes, N, ids);
    double word_bits[5];
    for (int order = 1; order <= 4; order++)
        word_bits[order] =
            n_gram_bits(ids, n_words - n_tail, n_words, order, hl_tok_n_vocab(tok)) / (N / 10);
    fprintf(stderr,
            "# bits per byte: grammar %.3f; byte n-grams %.3f %.3f %.3f %.3f %.3f %.3f; "
            "word n-grams %.3f %.3f %.3f %.3f (%d words)\n",
            bound, byte_bits[1], byte_bits[2], byte_bits[3], byte_bits[4], byte_bits[5],
            byte_bits[6], word_bits[1], word_bits[2], word_bits[3], word_bits[4],
            (int)hl_tok_n_vocab(tok));
    /* every step of context helps a byte model, and a bigram is far from what the grammar allows */
    for (int order = 2; order <= 5; order++)
        cr_assert_lt(byte_bits[order], byte_bits[order - 1] - 0.1);
    cr_assert_gt(byte_bits[2], 3 * bound);
    cr_assert_gt(byte_bits[4], 1.5 * bound);
    /* words without case and blanks, given the whole vocabulary: still local models fall short */
    cr_assert_gt(word_bits[2], 1.4 * bound);
    cr_assert_gt(word_bits[3], 1.3 * bound);
    hl_tok_unref(tok);
    hl_free(ids);
    hl_text_close(t);
    hl_block_free(grams, N_GRAMS * sizeof *grams);
}

Test(synth, speed)
{
    hl_text *t;
    int64_t since = hl_clock_mono_ns();
    (void)make(1, 5000000, NULL, &t);
    double s = (double)(hl_clock_mono_ns() - since) * 1e-9;
    fprintf(stderr, "# generated text: %.1f MB/s\n", 5 / s);
    hl_text_close(t);
}
