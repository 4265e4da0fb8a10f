#define _POSIX_C_SOURCE 200809L

#include <criterion/criterion.h>
#include <math.h>

#include "data/data_test.h"
#include "data/tok/tok_internal.h"
#include "engine/base/clock.h"
#include "engine/base/rng.h"

static hl_tok *words_of(const char *s, int32_t max_vocab)
{
    hl_text *t = text_of(s);
    hl_tok *tok = NULL;
    cr_assert_eq(hl_tok_new_words(t, strlen(s), max_vocab, &tok), HL_OK, "%s", hl_err_message());
    hl_text_close(t);
    return tok;
}

/* the vocabulary as one string */
static void expect_words(const hl_tok *t, const char *want)
{
    hl_str s = {0};
    for (int32_t id = HL_TOK_SPECIAL_COUNT; id < hl_tok_n_vocab(t); id++)
        t->ops->decode(t, id, id == HL_TOK_SPECIAL_COUNT, &s);
    cr_assert_str_eq(hl_str_text(&s), want);
    hl_str_done(&s);
}

static void expect_ids(const hl_tok *t, const char *s, size_t n, const int32_t *want)
{
    int32_t ids[64];
    cr_assert_eq(hl_tok_encode(t, s, strlen(s), ids), n, "'%s'", s);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(ids[i], want[i], "'%s' token %zu: %d", s, i, (int)ids[i]);
}

Test(tok, bytes)
{
    hl_tok *t = NULL, *m = NULL;
    cr_assert_eq(hl_tok_new_bytes(false, &t), HL_OK);
    cr_assert_eq(hl_tok_new_bytes(true, &m), HL_OK);
    cr_assert_eq(hl_tok_n_vocab(t), 256);
    cr_assert_eq(hl_tok_n_vocab(m), 257);
    cr_assert_eq(hl_tok_special_id(t, HL_TOK_SPECIAL_MASK), -1);
    cr_assert_eq(hl_tok_special_id(m, HL_TOK_SPECIAL_MASK), 256);
    cr_assert_eq(hl_tok_special_id(m, HL_TOK_SPECIAL_PAD), -1);
    cr_assert_eq(hl_tok_special_id(m, (hl_tok_special)99), -1);
    cr_assert_neq(hl_tok_hash(t), hl_tok_hash(m));
    unsigned char all[256];
    int32_t ids[257];
    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    cr_assert_eq(hl_tok_encode(t, all, 256, ids), 256);
    hl_str s = {0};
    cr_assert_eq(hl_tok_decode(t, ids, 256, &s), HL_OK);
    cr_assert_eq(s.n, 256);
    cr_assert_eq(memcmp(s.s, all, 256), 0);
    hl_str_clear(&s);
    cr_assert_eq(hl_tok_decode(m, (int32_t[]){'a', 256, 'b'}, 3, &s), HL_OK);
    cr_assert_str_eq(s.s, "a[MASK]b");
    hl_str_clear(&s);
    cr_assert_eq(hl_tok_decode(t, (int32_t[]){'a', 256}, 2, &s), HL_E_ARG);
    cr_assert_str_eq(hl_err_message(),
                     "token id 256 is outside the bytes vocabulary of 256 ids (0 .. 255)");
    cr_assert_eq(hl_tok_decode(t, (int32_t[]){-1}, 1, &s), HL_E_ARG);
    cr_assert_eq(hl_tok_decode(t, NULL, 0, &s), HL_OK);
    cr_assert_eq(s.n, 0, "nothing is added on failure");
    hl_str_done(&s);
    hl_tok_unref(t);
    hl_tok_unref(m);
    hl_tok_unref(NULL);
}

Test(tok, words_are_the_most_frequent_ties_by_first_appearance)
{
    hl_tok *t = words_of("b a c a d. c a e, d!", 100);
    expect_words(t, "a c d b . e , !");
    cr_assert_eq(hl_tok_n_vocab(t), 13);
    cr_assert_eq(hl_tok_special_id(t, HL_TOK_SPECIAL_MASK), 4);
    hl_tok_unref(t);
    t = words_of("b a c a d. c a e, d!", 9);
    expect_words(t, "a c d b");
    expect_ids(t, "A e d!", 4, (int32_t[]){5, 1, 7, 1});
    hl_tok_unref(t);
    hl_text *text = text_of("first second third");
    cr_assert_eq(hl_tok_new_words(text, 12, 100, &t), HL_OK, "only the first bytes count");
    expect_words(t, "first second");
    hl_tok_unref(t);
    hl_text_close(text);
}

Test(tok, words_are_cut_as_documented)
{
    /* letters, digits, marks, other scripts, blanks of all kinds */
    hl_tok *t = words_of(
        "Don't  PAY 1805\r\n\tP\xC3\xA9tya\xE2\x80\x94yes\xC2\xA0no \xE4\xB8\xAD\xE6\x96\x87", 100);
    expect_words(t,
                 "don ' t pay 1 8 0 5 p\xC3\xA9tya \xE2\x80\x94 yes no \xE4\xB8\xAD \xE6\x96\x87");
    hl_tok_unref(t);
    char longest[140];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "ok ", 3);
    longest[103] = '\0';
    t = words_of(longest, 100);
    cr_assert_eq(hl_tok_n_vocab(t), 7, "100 bytes are a word");
    expect_ids(t, longest, 2, (int32_t[]){5, 6});
    longest[103] = 'x';
    longest[104] = '\0';
    expect_ids(t, longest, 2, (int32_t[]){5, 1});
    hl_tok_unref(t);
    t = words_of(longest, 100);
    cr_assert_eq(hl_tok_n_vocab(t), 6, "101 bytes are none");
    expect_ids(t, "ok\xFFok \xC3", 4, (int32_t[]){5, 1, 5, 1});
    expect_ids(t, "", 0, NULL);
    expect_ids(t, " \n ", 0, NULL);
    expect_ids(t, "[MASK]", 3, (int32_t[]){1, 1, 1});
    hl_tok_unref(t);
}

Test(tok, decoded_words_encode_to_the_same_ids)
{
    hl_text *text = NULL;
    hl_tok *t = NULL;
    enum { N = 100000 };
    cr_assert_eq(hl_synth_text(5, N, NULL, &text), HL_OK);
    cr_assert_eq(hl_tok_new_words(text, N, 1000, &t), HL_OK);
    int32_t *ids = hl_alloc_zero(N, sizeof *ids), *again = hl_alloc_zero(N, sizeof *again);
    hl_rng rng = hl_rng_make(1, HL_RNG_TEST, 0, 0);
    size_t n = 3000;
    for (size_t i = 0; i < n; i++)
        ids[i] = 5 + (int32_t)hl_rng_below(&rng, (uint32_t)hl_tok_n_vocab(t) - 5);
    hl_str s = {0};
    cr_assert_eq(hl_tok_decode(t, ids, n, &s), HL_OK);
    cr_assert_eq(hl_tok_encode(t, s.s, s.n, again), n);
    cr_assert_eq(memcmp(ids, again, n * sizeof *ids), 0);
    hl_str_clear(&s);
    cr_assert_eq(hl_tok_decode(t, (int32_t[]){5, 4, 6, 1}, 4, &s), HL_OK);
    cr_assert_not_null(strstr(s.s, " [MASK] "));
    cr_assert(hl_str_ends(s.s, " [UNK]"));
    hl_str_done(&s);
    hl_free(ids);
    hl_free(again);
    hl_tok_unref(t);
    hl_text_close(text);
}

Test(tok, json_carries_the_vocabulary)
{
    hl_tok *t[3] = {0};
    cr_assert_eq(hl_tok_new_bytes(false, &t[0]), HL_OK);
    cr_assert_eq(hl_tok_new_bytes(true, &t[1]), HL_OK);
    t[2] = words_of("say \"yes\" \\ or P\xC3\xA9tya / no", 50);
    for (int i = 0; i < 3; i++) {
        hl_str json = {0};
        hl_tok *u = NULL;
        cr_assert_eq(hl_tok_to_json(t[i], &json), HL_OK);
        cr_assert_eq(hl_tok_from_json(json.s, json.n, &u), HL_OK, "%s", hl_err_message());
        cr_assert_eq(hl_tok_hash(u), hl_tok_hash(t[i]));
        cr_assert_eq(hl_tok_n_vocab(u), hl_tok_n_vocab(t[i]));
        cr_assert_str_eq(hl_tok_kind(u), hl_tok_kind(t[i]));
        int32_t a[64], b[64];
        const char *s = "P\xC3\xA9tya said \"no\" \\";
        size_t n = hl_tok_encode(t[i], s, strlen(s), a);
        cr_assert_eq(hl_tok_encode(u, s, strlen(s), b), n);
        cr_assert_eq(memcmp(a, b, n * sizeof *a), 0);
        hl_str_done(&json);
        hl_tok_unref(u);
        hl_tok_unref(t[i]);
    }
}

Test(tok, json_is_read_as_hostile)
{
#define HEAD "{\"format\":\"hoplab-tokenizer\",\"version\":1,"
#define TAIL "\"n_vocab\":7,\"hash\":\"0\"}"
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"", "not valid JSON"},
        {"{", "tokenizer: not valid JSON"},
        {"[]", "not a tokenizer"},
        {"{}", "not a tokenizer"},
        {"{\"format\":\"hoplab-tokenizer\",\"version\":2}", "tokenizer of version 2"},
        {HEAD "\"kind\":\"unigram\"}", "this is a 'unigram' tokenizer"},
        {HEAD "\"kind\":7}", "this is a '' tokenizer"},
        {HEAD "\"kind\":\"words\"}", "it has no list of words"},
        {HEAD "\"kind\":\"words\",\"words\":\"\"," TAIL, "it has no list of words"},
        {HEAD "\"kind\":\"words\",\"words\":[\"a\"]," TAIL, "it has no list of words"},
        {HEAD "\"kind\":\"words\",\"words\":\"a  b\"," TAIL, "word 2 ('') is not a single token"},
        {HEAD "\"kind\":\"words\",\"words\":\"a \"," TAIL, "word 2 ('') is not a single token"},
        {HEAD "\"kind\":\"words\",\"words\":\"a B\"," TAIL, "word 2 ('B') is not a single token"},
        {HEAD "\"kind\":\"words\",\"words\":\"a 12\"," TAIL, "word 2 ('12') is not a single token"},
        {HEAD "\"kind\":\"words\",\"words\":\"a b\\t\"," TAIL, "is not a single token"},
        {HEAD "\"kind\":\"words\",\"words\":\"a b a\"," TAIL, "word 3 ('a') is there twice"},
        {HEAD "\"kind\":\"words\",\"words\":\"a b\"," TAIL, "do not fit the size and hash"},
        {HEAD "\"kind\":\"bytes\",\"mask\":true," TAIL, "its 257 tokens do not fit"},
    };
    int64_t live = hl_mem_get_stats().live_bytes;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hl_tok *t = NULL;
        hl_status st = hl_tok_from_json(cases[i].json, strlen(cases[i].json), &t);
        cr_assert_neq(st, HL_OK, "case %zu", i);
        cr_assert_null(t);
        cr_assert_not_null(strstr(hl_err_message(), cases[i].message), "case %zu: %s", i,
                           hl_err_message());
        cr_assert_eq(hl_mem_get_stats().live_bytes, live, "case %zu", i);
    }
    /* a changed word is noticed by the hash */
    hl_tok *t = words_of("some words to store", 50), *u = NULL;
    hl_str json = {0};
    cr_assert_eq(hl_tok_to_json(t, &json), HL_OK);
    *strstr(json.s, "words to") = 'l';
    cr_assert_eq(hl_tok_from_json(json.s, json.n, &u), HL_E_FORMAT);
    cr_assert_not_null(strstr(hl_err_message(), "damaged tokenizer"));
    /* and so is a list too long */
    hl_str_clear(&json);
    hl_str_add(&json, HEAD "\"kind\":\"words\",\"words\":\"");
    for (int i = 0; i < HL_TOK_WORDS_MAX; i++)
        hl_str_add(&json, "a ");
    hl_str_add(&json, "b\"," TAIL);
    cr_assert_eq(hl_tok_from_json(json.s, json.n, &u), HL_E_FORMAT);
    cr_assert_not_null(strstr(hl_err_message(), "at most 1048571"), "%s", hl_err_message());
    hl_str_done(&json);
    hl_tok_unref(t);
}

/* Damage anywhere is refused or harmless; for the sanitizers. */
Test(tok, json_survives_damage)
{
    hl_tok *t = words_of("say \"yes\" \\ or P\xC3\xA9tya / no 1 2 3", 50);
    hl_str json = {0};
    cr_assert_eq(hl_tok_to_json(t, &json), HL_OK);
    hl_rng rng = hl_rng_make(3, HL_RNG_TEST, 0, 0);
    char *copy = hl_alloc(json.n);
    int n_read = 0;
    for (int i = 0; i < 20000; i++) {
        size_t n = i % 4 ? json.n : hl_rng_below(&rng, (uint32_t)json.n);
        memcpy(copy, json.s, json.n);
        for (uint32_t k = hl_rng_below(&rng, 4); k > 0; k--)
            copy[hl_rng_below(&rng, (uint32_t)json.n)] = (char)hl_rng_next(&rng);
        hl_tok *u = NULL;
        if (hl_tok_from_json(copy, n, &u) != HL_OK)
            continue;
        n_read++;
        cr_assert_eq(hl_tok_hash(u), hl_tok_hash(t));
        hl_tok_unref(u);
    }
    cr_assert_geq(n_read, 1000, "undamaged ones are read");
    hl_free(copy);
    hl_str_done(&json);
    hl_tok_unref(t);
}

/* Arbitrary bytes encode to ids inside the vocabulary, at most one per byte. */
Test(tok, any_bytes_can_be_encoded)
{
    hl_tok *t = words_of("a b c 1 . P\xC3\xA9tya", 50);
    hl_rng rng = hl_rng_make(4, HL_RNG_TEST, 0, 0);
    unsigned char *bytes = hl_alloc(300);
    int32_t *ids = hl_alloc_zero(300, sizeof *ids);
    for (int i = 0; i < 20000; i++) {
        size_t n = hl_rng_below(&rng, 300);
        for (size_t k = 0; k < n; k++)
            bytes[300 - n + k] = (unsigned char)hl_rng_next(&rng);
        size_t n_ids = hl_tok_encode(t, bytes + 300 - n, n, ids);
        cr_assert_leq(n_ids, n);
        for (size_t k = 0; k < n_ids; k++)
            cr_assert(ids[k] >= 1 && ids[k] < hl_tok_n_vocab(t));
    }
    hl_free(bytes);
    hl_free(ids);
    hl_tok_unref(t);
}

/* The largest vocabulary goes through JSON in a blink: nothing in it is quadratic. */
Test(tok, big_vocabularies_are_read_quickly)
{
    hl_str b = {0};
    for (int i = 0; i < 200000; i++)
        hl_str_addf(&b, "%c%c%c%c ", 'a' + i / 17576 % 26, 'a' + i / 676 % 26, 'a' + i / 26 % 26,
                    'a' + i % 26);
    hl_tok *t = words_of(b.s, HL_TOK_WORDS_MAX), *u = NULL;
    cr_assert_eq(hl_tok_n_vocab(t), 200005);
    hl_str json = {0};
    int64_t since = hl_clock_mono_ns();
    cr_assert_eq(hl_tok_to_json(t, &json), HL_OK);
    cr_assert_eq(hl_tok_from_json(json.s, json.n, &u), HL_OK, "%s", hl_err_message());
    cr_assert_lt(hl_clock_mono_ns() - since, INT64_C(5000000000));
    hl_str_done(&json);
    hl_str_done(&b);
    hl_tok_unref(t);
    hl_tok_unref(u);
}

Test(tok, no_leak_when_memory_fails)
{
    hl_text *text = NULL;
    hl_tok *t = NULL;
    cr_assert_eq(hl_synth_text(2, 5000, NULL, &text), HL_OK);
    cr_assert_eq(hl_tok_new_words(text, 5000, 200, &t), HL_OK);
    hl_str json = {0};
    cr_assert_eq(hl_tok_to_json(t, &json), HL_OK);
    int64_t live = hl_mem_get_stats().live_bytes;
    for (int what = 0; what < 4; what++) {
        int n_failed = 0;
        for (int64_t n = 0;; n++, n_failed++) {
            hl_tok *u = NULL;
            hl_str s = {0};
            hl_mem_fail_after(n);
            hl_status st = what == 0   ? hl_tok_new_words(text, 5000, 200, &u)
                           : what == 1 ? hl_tok_from_json(json.s, json.n, &u)
                           : what == 2 ? hl_tok_new_bytes(true, &u)
                                       : hl_tok_to_json(t, &s);
            hl_mem_fail_after(-1);
            hl_tok_unref(u);
            hl_str_done(&s);
            cr_assert_eq(hl_mem_get_stats().live_bytes, live, "%d, failure %lld", what,
                         (long long)n);
            if (st == HL_OK)
                break;
            cr_assert_eq(st, HL_E_NOMEM, "%s", hl_err_message());
        }
        cr_assert_geq(n_failed, what == 2 ? 1 : 4);
    }
    hl_str_done(&json);
    hl_tok_unref(t);
    hl_text_close(text);
}
