#define _POSIX_C_SOURCE 200809L

#include <criterion/criterion.h>
#include <math.h>

#include "data/data_test.h"
#include "engine/base/clock.h"

static hl_status corpus_of(const hl_text *train, const hl_text *eval, const char *kind,
                           double holdout, hl_corpus **out)
{
    hl_corpus_params p = hl_corpus_params_default();
    p.train = train;
    p.eval = eval;
    p.tok_kind = kind;
    p.holdout = holdout;
    return hl_corpus_new(&p, out);
}

static void expect_refused(hl_corpus_params p, hl_status code, const char *part1, const char *part2)
{
    hl_corpus *c = NULL;
    int64_t live = hl_mem_get_stats().live_bytes;
    cr_assert_eq(hl_corpus_new(&p, &c), code, "%s", hl_err_message());
    cr_assert_null(c);
    cr_assert_not_null(strstr(hl_err_message(), part1), "%s", hl_err_message());
    cr_assert_not_null(strstr(hl_err_message(), part2), "%s", hl_err_message());
    cr_assert_eq(hl_mem_get_stats().live_bytes, live);
}

Test(corpus, bytes_of_both_parts_are_the_text)
{
    const char *s =
        "line one\nline two\nline three\nline four\nfive\nsix\nseven\neight\nnine\nten\n";
    hl_text *t = text_of(s);
    hl_corpus *c = NULL;
    cr_assert_eq(corpus_of(t, NULL, "bytes", 0.3, &c), HL_OK, "%s", hl_err_message());
    hl_text_close(t);
    const hl_corpus_info *info = hl_corpus_get_info(c);
    const hl_corpus_part_info *a = &info->part[HL_PART_TRAIN], *b = &info->part[HL_PART_EVAL];
    size_t n = strlen(s);
    cr_assert_eq(a->n_tokens + b->n_tokens, (int64_t)n);
    cr_assert_eq(a->n_bytes, a->n_tokens);
    cr_assert_eq(a->bytes_per_token, 1.0);
    cr_assert(b->n_bytes <= (int64_t)(0.3 * (double)n) && b->n_bytes > (int64_t)(0.15 * (double)n));
    cr_assert_eq(s[a->n_bytes - 1], '\n', "the cut is at a line start");
    int32_t ids[200];
    cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, 0, a->n_tokens, ids), HL_OK);
    cr_assert_eq(hl_corpus_read(c, HL_PART_EVAL, 0, b->n_tokens, ids + a->n_tokens), HL_OK);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(ids[i], (unsigned char)s[i]);
    cr_assert_eq(info->token_bytes, 1);
    cr_assert_eq(info->mem_bytes, (int64_t)n);
    cr_assert_str_eq(info->label, "test.txt");
    cr_assert_str_eq(b->label, "test.txt (last 30 %)");
    cr_assert(!info->is_generated);
    hl_corpus_unref(c);
}

Test(corpus, reads_are_checked)
{
    hl_text *t = text_of("some text to read");
    hl_corpus *c = NULL;
    cr_assert_eq(corpus_of(t, NULL, "bytes", 0, &c), HL_OK);
    hl_text_close(t);
    int32_t ids[32];
    cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, 17, 0, ids), HL_OK);
    cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, 10, 8, ids), HL_E_ARG);
    cr_assert_not_null(strstr(hl_err_message(), "8 tokens from token 10"));
    cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, INT64_MAX, INT64_MAX, ids), HL_E_ARG);
    cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, -1, 2, ids), HL_E_ARG);
    cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, 0, -2, ids), HL_E_ARG);
    cr_assert_eq(hl_corpus_read(c, HL_PART_EVAL, 0, 1, ids), HL_E_ARG);
    cr_assert_eq(hl_corpus_read(c, (hl_part)7, 0, 1, ids), HL_E_ARG);
    hl_corpus_unref(c);
}

Test(corpus, refuses_bad_parameters)
{
    hl_text *t = text_of("a few words of text"), *tiny = text_of("x"), *blank = text_of(" \n \n");
    hl_corpus_params p = hl_corpus_params_default();
    expect_refused(p, HL_E_ARG, "needs a training text", "none is given");
    p.train = t;
    static const double bad[] = {-0.1, 1, 7, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < 5; i++) {
        p.holdout = bad[i];
        expect_refused(p, HL_E_ARG, "holdout = ", "0 <= holdout < 1");
    }
    p.holdout = 0.01;
    expect_refused(p, HL_E_ARG, "leaves no text for evaluation", "name an evaluation text");
    p.holdout = 0.1;
    p.train = tiny;
    expect_refused(p, HL_E_ARG, "'test.txt' (1 bytes)", "use a longer text");
    p.train = t;
    p.tok_kind = "wrods";
    expect_refused(p, HL_E_ARG, "unknown tokenizer 'wrods'", "did you mean 'words'?");
    p.tok_kind = "sentencepieces";
    expect_refused(p, HL_E_ARG, "unknown tokenizer", "there are 'bytes' and 'words'");
    p.tok_kind = "words";
    p.max_vocab = 5;
    expect_refused(p, HL_E_ARG, "vocabulary of 5 tokens is out of range", "6 .. 1048576");
    p.max_vocab = HL_TOK_WORDS_MAX + 1;
    expect_refused(p, HL_E_ARG, "out of range", "specials included");
    p.max_vocab = 100;
    p.train = blank;
    p.holdout = 0;
    expect_refused(p, HL_E_ARG, "'test.txt' has no words", "use another text");
    p.train = t;
    p.eval = blank;
    expect_refused(p, HL_E_ARG, "evaluation text 'test.txt' gives no tokens", "use a longer text");
    hl_text_close(t);
    hl_text_close(tiny);
    hl_text_close(blank);
}

/* The vocabulary knows the training part only; a given evaluation text is used whole. */
Test(corpus, words_learn_from_the_training_part)
{
    hl_text *t = text_of("one two three one two one\nfour five\n");
    hl_text *e = text_of("six one");
    hl_corpus *c = NULL;
    cr_assert_eq(corpus_of(t, NULL, "words", 0.3, &c), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_tok_n_vocab(hl_corpus_tok(c)), 5 + 3);
    int32_t ids[4];
    cr_assert_eq(hl_corpus_get_info(c)->part[HL_PART_EVAL].n_tokens, 2);
    cr_assert_eq(hl_corpus_read(c, HL_PART_EVAL, 0, 2, ids), HL_OK);
    cr_assert(ids[0] == HL_TOK_SPECIAL_UNK && ids[1] == HL_TOK_SPECIAL_UNK);
    hl_corpus_unref(c);
    cr_assert_eq(corpus_of(t, e, "words", 0.3, &c), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_tok_n_vocab(hl_corpus_tok(c)), 5 + 5);
    cr_assert_eq(hl_corpus_read(c, HL_PART_EVAL, 0, 2, ids), HL_OK);
    cr_assert(ids[0] == HL_TOK_SPECIAL_UNK && ids[1] == 5);
    cr_assert_eq(hl_corpus_get_info(c)->part[HL_PART_EVAL].n_bytes, 7);
    cr_assert_eq(hl_corpus_get_info(c)->part[HL_PART_EVAL].bytes_per_token, 3.5);
    hl_tok *tok = hl_tok_ref(hl_corpus_tok(c));
    hl_corpus_unref(c);
    /* a vocabulary that is given is kept, as after loading a checkpoint */
    hl_corpus_params p = hl_corpus_params_default();
    p.train = e;
    p.holdout = 0;
    p.tok = tok;
    cr_assert_eq(hl_corpus_new(&p, &c), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_corpus_tok(c), tok);
    hl_tok_unref(tok);
    cr_assert_eq(hl_corpus_get_info(c)->part[HL_PART_EVAL].n_tokens, 0);
    hl_corpus_unref(c);
    hl_text_close(t);
    hl_text_close(e);
}

/* n distinct words of four letters, then a cut: the storage width follows the vocabulary. */
static hl_text *many_words(int n)
{
    hl_str b = {0};
    for (int i = 0; i < n; i++)
        hl_str_addf(&b, "%c%c%c%c ", 'a' + i / 17576 % 26, 'a' + i / 676 % 26, 'a' + i / 26 % 26,
                    'a' + i % 26);
    hl_text *t = NULL;
    hl_status st = hl_text_from_bytes("many", b.s, b.n, &t);
    hl_str_done(&b);
    return st == HL_OK ? t : NULL;
}

Test(corpus, tokens_are_stored_in_the_narrowest_type)
{
    static const struct {
        int n_words, width;
    } cases[] = {{251, 1}, {252, 2}, {65531, 2}, {65532, 4}};
    int32_t *ids = hl_alloc_zero(70000, sizeof *ids);
    for (size_t k = 0; k < 4; k++) {
        hl_text *t = many_words(cases[k].n_words);
        hl_corpus_params p = hl_corpus_params_default();
        hl_corpus *c = NULL;
        p.train = t;
        p.holdout = 0;
        p.tok_kind = "words";
        p.max_vocab = 1 << 17;
        cr_assert_eq(hl_corpus_new(&p, &c), HL_OK, "%s", hl_err_message());
        const hl_corpus_info *info = hl_corpus_get_info(c);
        cr_assert_eq(info->token_bytes, cases[k].width);
        cr_assert_eq(info->part[0].n_tokens, cases[k].n_words);
        cr_assert_eq(info->mem_bytes, (int64_t)cases[k].n_words * cases[k].width);
        cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, 0, cases[k].n_words, ids), HL_OK);
        for (int i = 0; i < cases[k].n_words; i++)
            cr_assert_eq(ids[i], 5 + i);
        hl_corpus_unref(c);
        hl_text_close(t);
    }
    hl_free(ids);
}

/* Chunked encoding gives what encoding in one go gives, also when chunks meet long words. */
Test(corpus, chunks_do_not_show)
{
    hl_text *t = NULL;
    cr_assert_eq(hl_synth_text(3, 900000, NULL, &t), HL_OK);
    hl_corpus *c = NULL;
    cr_assert_eq(corpus_of(t, NULL, "words", 0, &c), HL_OK, "%s", hl_err_message());
    cr_assert(hl_corpus_get_info(c)->is_generated);
    cr_assert_str_eq(hl_corpus_get_info(c)->label, "generated");
    hl_text *whole = NULL;
    cr_assert_eq(hl_synth_text(3, 900000, NULL, &whole), HL_OK);
    int64_t n = hl_corpus_get_info(c)->part[0].n_tokens;
    int32_t *ids = hl_alloc_zero(900000, sizeof *ids), *got = hl_alloc_zero(900000, sizeof *got);
    hl_corpus *b = NULL;
    cr_assert_eq(corpus_of(whole, NULL, "bytes", 0, &b), HL_OK);
    char *bytes = hl_alloc(900000);
    cr_assert_eq(hl_corpus_read(b, HL_PART_TRAIN, 0, 900000, ids), HL_OK);
    for (int i = 0; i < 900000; i++)
        bytes[i] = (char)ids[i];
    cr_assert_eq((int64_t)hl_tok_encode(hl_corpus_tok(c), bytes, 900000, ids), n);
    cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, 0, n, got), HL_OK);
    cr_assert_eq(memcmp(ids, got, (size_t)n * sizeof *ids), 0);
    hl_free(ids);
    hl_free(got);
    hl_free(bytes);
    hl_corpus_unref(b);
    hl_corpus_unref(c);
    hl_text_close(t);
    hl_text_close(whole);
}

Test(corpus, a_text_without_blanks_is_cut_between_characters)
{
    enum { N = 600001 };
    char *s = hl_alloc(N);
    for (int i = 0; i + 1 < N; i += 2)
        memcpy(s + i, "\xC3\xA9", 2);
    hl_text *t = NULL;
    hl_corpus *c = NULL;
    cr_assert_eq(hl_text_from_bytes("long", s, N - 1, &t), HL_OK, "%s", hl_err_message());
    cr_assert_eq(corpus_of(t, NULL, "bytes", 0.25, &c), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_corpus_get_info(c)->part[HL_PART_TRAIN].n_bytes % 2, 0);
    cr_assert_eq(hl_corpus_get_info(c)->part[HL_PART_EVAL].n_bytes, (N - 1) / 4);
    hl_corpus_unref(c);
    hl_text_close(t);
    hl_free(s);
}

Test(corpus, hash_tells_corpora_apart)
{
    hl_text *a = text_of("the same text, line one\nline two\n"),
            *b = text_of("another text, line\n");
    hl_corpus *c[5] = {0};
    cr_assert_eq(corpus_of(a, NULL, "bytes", 0.2, &c[0]), HL_OK);
    cr_assert_eq(corpus_of(a, NULL, "bytes", 0.2, &c[1]), HL_OK);
    cr_assert_eq(corpus_of(a, NULL, "bytes", 0, &c[2]), HL_OK);
    cr_assert_eq(corpus_of(b, NULL, "bytes", 0, &c[3]), HL_OK);
    cr_assert_eq(corpus_of(a, NULL, "words", 0.2, &c[4]), HL_OK);
    cr_assert_eq(hl_corpus_get_info(c[0])->hash, hl_corpus_get_info(c[1])->hash);
    for (int i = 1; i < 5; i++)
        for (int k = i + 1; k < 5; k++)
            cr_assert_neq(hl_corpus_get_info(c[i])->hash, hl_corpus_get_info(c[k])->hash);
    for (int i = 0; i < 5; i++)
        hl_corpus_unref(c[i]);
    hl_text_close(a);
    hl_text_close(b);
}

Test(corpus, no_leak_when_memory_fails)
{
    hl_text *t = NULL;
    cr_assert_eq(hl_synth_text(1, 20000, NULL, &t), HL_OK);
    static const char *const kinds[] = {"bytes", "words"};
    for (int k = 0; k < 2; k++) {
        int64_t live = hl_mem_get_stats().live_bytes;
        int n_failed = 0;
        for (int64_t n = 0;; n++) {
            hl_corpus *c = NULL;
            hl_mem_fail_after(n);
            hl_status st = corpus_of(t, NULL, kinds[k], 0.1, &c);
            hl_mem_fail_after(-1);
            hl_corpus_unref(c);
            cr_assert_eq(hl_mem_get_stats().live_bytes, live, "%s, failure %lld", kinds[k],
                         (long long)n);
            if (st == HL_OK && n > 100)
                break;
            cr_assert(st == HL_OK || st == HL_E_NOMEM, "%s", hl_err_message());
            n_failed += st != HL_OK;
        }
        cr_assert_geq(n_failed, 6);
    }
    hl_text_close(t);
}

Test(corpus, war_and_peace)
{
    const char *path = find_data("text/war-and-peace/input.txt");
    if (!path)
        cr_skip_test("no text/war-and-peace/input.txt in $HOPLAB_DATA or ../shared/data");
    static const char *const kinds[] = {"bytes", "words"};
    for (int k = 0; k < 2; k++) {
        hl_text *t = NULL;
        hl_corpus *c = NULL;
        cr_assert_eq(hl_text_open(&path, 1, &t), HL_OK, "%s", hl_err_message());
        int64_t since = hl_clock_mono_ns();
        cr_assert_eq(corpus_of(t, NULL, kinds[k], 0.1, &c), HL_OK, "%s", hl_err_message());
        double s = (double)(hl_clock_mono_ns() - since) * 1e-9;
        const hl_corpus_info *info = hl_corpus_get_info(c);
        int64_t n = info->part[0].n_tokens + info->part[1].n_tokens;
        fprintf(stderr, "# %s: %lld tokens, vocabulary %d, %d bytes each, %.0f ms, %.1f Mtoken/s\n",
                kinds[k], (long long)n, (int)hl_tok_n_vocab(hl_corpus_tok(c)), info->token_bytes,
                s * 1e3, (double)n / s * 1e-6);
        cr_assert_str_eq(info->label, "war-and-peace/input.txt");
        cr_assert_eq(info->part[0].n_bytes + info->part[1].n_bytes, (int64_t)hl_text_n_bytes(t));
        cr_assert(fabs((double)info->part[1].n_bytes / (double)hl_text_n_bytes(t) - 0.1) < 0.001);
        hl_text_close(t);
        if (k == 0)
            cr_assert_eq(n, 3196230);
        else
            cr_assert(n > 561693 && n < 800000, "%lld", (long long)n);
        hl_corpus_unref(c);
    }
}
