#define _POSIX_C_SOURCE 200809L

#include <criterion/criterion.h>

#include "data/data_test.h"
#include "data/tok/bpe_merge.h"
#include "data/tok/tok_bpe.h"
#include "data/tok/tok_unicode.h"
#include "engine/base/rng.h"
#include "engine/base/thread.h"

static hl_tok *open_bytes(const char *name, const char *s)
{
    hl_tok *t = NULL;
    const char *path = write_temp(name, s, strlen(s));
    cr_assert_eq(hl_tok_open(path, &t), HL_OK, "%s", hl_err_message());
    unlink(path);
    return t;
}

static void expect_refused(const char *name, const char *s, hl_status want, const char *message)
{
    hl_tok *t = NULL;
    const char *path = write_temp(name, s, strlen(s));
    const int64_t live = hl_mem_get_stats().live_bytes;
    cr_assert_eq(hl_tok_open(path, &t), want, "'%s': %s", s, hl_err_message());
    cr_assert_not_null(strstr(hl_err_message(), message), "'%s': %s", s, hl_err_message());
    cr_assert_eq(hl_mem_get_stats().live_bytes, live, "'%s'", s);
    unlink(path);
}

static void expect_ids(const hl_tok *t, const char *s, size_t n, const int32_t *want)
{
    int32_t ids[400];
    cr_assert_leq(hl_tok_room(t, strlen(s)), 400);
    cr_assert_eq(hl_tok_encode(t, s, strlen(s), ids), n, "'%s'", s);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(ids[i], want[i], "'%s' token %zu: %d", s, i, (int)ids[i]);
}
#define EXPECT_IDS(t, s, ...)                                                                      \
    expect_ids(t, s, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t), (int32_t[]){__VA_ARGS__})

static const char words[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\naff\n,\ncafe\n"
                            "\xE4\xB8\xAD\n##a\n";

Test(subword, wordpiece)
{
    hl_tok *t = open_bytes("vocab.txt", words);
    cr_assert_str_eq(hl_tok_kind(t), "wordpiece");
    cr_assert_eq(hl_tok_n_vocab(t), 13);
    for (int i = 0; i < HL_TOK_SPECIAL_COUNT; i++)
        cr_assert_eq(hl_tok_special_id(t, (hl_tok_special)i), i);
    EXPECT_IDS(t, "UNaffable,  aff", 5, 6, 7, 9, 8);
    EXPECT_IDS(t, "unx Caf\xC3\xA9 caf\x65\xCC\x81 \xE4\xB8\xAD\xE4\xB8\xAD", 1, 10, 10, 11, 11);
    EXPECT_IDS(t, "un[MASK]aff[mask]\x01 [PAD]\xFF", 5, 4, 8, 1, 1, 1, 0);
    expect_ids(t, " \n\xFF\x01", 0, NULL);
    hl_str s = {0};
    cr_assert_eq(hl_tok_decode(t, (int32_t[]){5, 6, 7, 9, 4, 6}, 6, &s), HL_OK);
    cr_assert_str_eq(s.s, "unaffable , [MASK]aff");
    hl_str_clear(&s);
    cr_assert_eq(hl_tok_decode(t, (int32_t[]){13}, 1, &s), HL_E_ARG);
    hl_str_done(&s);
    hl_tok_unref(t);
}

Test(subword, wordpiece_words_of_101_characters_are_unknown)
{
    hl_tok *t = open_bytes("vocab.txt", "[UNK]\na\n##a\n");
    char s[120];
    int32_t ids[120];
    memset(s, 'a', sizeof s);
    cr_assert_eq(hl_tok_encode(t, s, 100, ids), 100);
    cr_assert_eq(ids[0], 1);
    cr_assert_eq(ids[99], 2);
    cr_assert_eq(hl_tok_encode(t, s, 101, ids), 1);
    cr_assert_eq(ids[0], 0);
    hl_tok_unref(t);
}

static const char vocab[] =
    "{\"a\":0,\"b\":1,\"c\":2,\"\xC4\xA0\":3,\"ab\":4,\"\xC4\xA0"
    "ab\":5,\"abc\":6,\"</s>\":7,"
    "\"\xC3\xAF\":8,\"\xC2\xBF\":9,\"\xC2\xBD\":10,\"<pad>\":11,\"\xC4\x8A\":12,\"<s>\":13}";
static const char merges[] = "#version: 0.2\na b\n\xC4\xA0 ab\nab c\n";

static hl_tok *open_bpe(const char *v, const char *m)
{
    char dir[200];
    hl_tok *t = NULL;
    snprintf(dir, sizeof dir, "%s/hoplab-bpe-%ld", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
             (long)getpid());
    cr_assert_eq(hl_fs_make_dir(dir), HL_OK);
    char *a = hl_fs_join(dir, "vocab.json"), *b = hl_fs_join(dir, "merges.txt");
    cr_assert_eq(hl_fs_write_atomic(a, v, strlen(v)), HL_OK);
    cr_assert_eq(hl_fs_write_atomic(b, m, strlen(m)), HL_OK);
    if (hl_tok_open(dir, &t) != HL_OK)
        t = NULL;
    HL_IGNORE(hl_fs_remove_tree(dir));
    hl_free(a);
    hl_free(b);
    return t;
}

Test(subword, bpe)
{
    hl_tok *t = open_bpe(vocab, merges);
    cr_assert_not_null(t, "%s", hl_err_message());
    cr_assert_str_eq(hl_tok_kind(t), "bpe");
    cr_assert_eq(hl_tok_special_id(t, HL_TOK_SPECIAL_SEP), 7);
    cr_assert_eq(hl_tok_special_id(t, HL_TOK_SPECIAL_CLS), 13);
    cr_assert_eq(hl_tok_special_id(t, HL_TOK_SPECIAL_MASK), -1);
    cr_assert_eq(hl_tok_room(t, 5), 15);
    EXPECT_IDS(t, "abc abc ab", 6, 5, 2, 5);
    EXPECT_IDS(t, "abab  abc", 4, 4, 3, 5, 2);
    EXPECT_IDS(t, "a\xFFzb </s>b<pad>", 0, 8, 9, 10, 1, 3, 7, 1, 11);
    EXPECT_IDS(t, "\n\na ", 12, 12, 0, 3);
    hl_str s = {0};
    cr_assert_eq(hl_tok_decode(t, (int32_t[]){5, 6, 7, 12, 8, 9, 10}, 7, &s), HL_OK);
    cr_assert_str_eq(s.s, " ababc</s>\n\xEF\xBF\xBD");
    hl_str_done(&s);
    hl_tok_unref(t);
}

static void expect_spelled(hl_tok *t, const char *const *want, int32_t n)
{
    hl_str s = {0};
    cr_assert_leq(n, hl_tok_n_vocab(t));
    for (int32_t id = 0; id < n; id++) {
        hl_str_clear(&s);
        hl_str_add(&s, "before:");
        cr_assert(hl_tok_spell(t, id, &s));
        cr_expect_str_eq(s.s + 7, want[id], "token %d: %s", (int)id, s.s);
    }
    hl_str_clear(&s);
    cr_expect_not(hl_tok_spell(t, hl_tok_n_vocab(t), &s), "beyond the vocabulary");
    cr_expect_not(hl_tok_spell(t, -1, &s));
    cr_expect_eq(s.n, 0);
    hl_str_done(&s);
    hl_tok_unref(t);
}
#define EXPECT_SPELLED(t, ...)                                                                     \
    expect_spelled(t, (const char *const[]){__VA_ARGS__},                                          \
                   sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* What cannot be seen is escaped, and what is long is cut between characters. */
Test(subword, tokens_are_spelled_for_people)
{
    hl_tok *bytes = NULL;
    hl_str s = {0};
    cr_assert_eq(hl_tok_new_bytes(true, &bytes), HL_OK);
    for (int32_t id = 0; id < 257; id++)
        cr_assert(hl_tok_spell(bytes, id, &s));
    cr_expect(hl_str_starts(s.s, "\\x00\\x01\\x02"));
    cr_expect(strstr(s.s, "\\x08\\t\\n\\x0b\\x0c\\r\\x0e"));
    cr_expect(strstr(s.s, "\\x1f !\\\"#$"));
    cr_expect(strstr(s.s, "[\\\\]^"));
    cr_expect(strstr(s.s, "}~\\x7f\\x80"));
    cr_expect(hl_str_ends(s.s, "\\xfe\\xff[MASK]"));
    hl_str_done(&s);
    hl_tok_unref(bytes);
    EXPECT_SPELLED(open_bytes("vocab.txt", words), "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
                   "un", "##aff", "##able", "aff", ",", "cafe", "\xE4\xB8\xAD", "##a");
    EXPECT_SPELLED(
        open_bytes("odd.txt", "[UNK]\na\xC2\xA0\n\xE2\x80\x8B\n\xCC\x81\n\xF3\xA0\x80\x81\n"
                              "\xEF\xBF\xBD\n\x7F\n"),
        "[UNK]", "a\\u00a0", "\\u200b", "\\u0301", "\\U000e0001", "\xEF\xBF\xBD", "\\x7f");
    EXPECT_SPELLED(open_bpe(vocab, merges), "a", "b", "c", " ", "ab", " ab", "abc", "</s>", "\\xef",
                   "\\xbf", "\\xbd", "<pad>", "\\n", "<s>");
    char list[400] = "[UNK]\n", cut[100] = "";
    for (int i = 0; i < 63; i++)
        strcat(list, "x");
    strcat(list, "\n");
    for (int i = 0; i < 64; i++)
        strcat(list, "x");
    strcat(list, "\n");
    for (int i = 0; i < 40; i++)
        strcat(list, "\xC3\xA9");
    for (int i = 0; i < 30; i++)
        strcat(cut, "\xC3\xA9");
    strcat(cut, "...");
    EXPECT_SPELLED(open_bytes("long.txt", list), "[UNK]",
                   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...", cut);
}

/* The pieces by the rule's own letter, joined by '|'. */
Test(subword, text_is_split_before_merging)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"it's  we'LL 're", "it|'s| | we|'|LL| '|re"},
        {"a1 b2.c!?'s", "a|1| b|2|.|c|!?'|s"},
        {"x \n y", "x| \n| y"},
        {"x   ", "x|   "},
        {"\xC3\xA9t\xC3\xA9\xC2\xA0\xC2\xA0z\xE4\xB8\xAD 9", "\xC3\xA9t\xC3\xA9|\xC2\xA0|\xC2\xA0|z"
                                                             "\xE4\xB8\xAD| 9"},
        {"'ve'vx ''s", "'ve|'|vx| ''|s"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const unsigned char *s = (const unsigned char *)cases[i].text;
        const size_t n = strlen(cases[i].text);
        hl_str got = {0};
        for (size_t at = 0; at < n;) {
            bool is_valid;
            const size_t len = hl_bpe_split(s + at, n - at, &is_valid);
            cr_assert(is_valid && len > 0 && len <= n - at);
            hl_str_addf(&got, "%s%.*s", at ? "|" : "", (int)len, s + at);
            at += len;
        }
        cr_assert_str_eq(got.s, cases[i].want);
        hl_str_done(&got);
    }
}

Test(subword, every_byte_is_a_character_and_back)
{
    for (int i = 0; i < 256; i++)
        cr_assert_eq(hl_bpe_byte_of(hl_bpe_char_of((unsigned char)i)), i);
    cr_assert_eq(hl_bpe_char_of(' '), 0x120);
    cr_assert_eq(hl_bpe_char_of(173), 0x143);
    for (uint32_t c = 0x144; c < 0x1000; c++)
        cr_assert_eq(hl_bpe_byte_of(c), -1);
}

/* Short words, long ones and long ones without memory are merged alike. */
Test(subword, merging_is_the_same_by_list_and_heap)
{
    enum { N = 2000, KINDS = 12, PAIRS = 60 };
    hl_rng rng = hl_rng_make(5, HL_RNG_TEST, 0, 0);
    for (int round = 0; round < 20; round++) {
        hl_merges m = {0};
        cr_assert_eq(hl_merges_alloc(&m, PAIRS), HL_OK);
        for (int32_t i = 0; i < PAIRS; i++) /* ranks in any order, results used again */
            hl_merges_put(&m, (hl_merge){.left = (int32_t)hl_rng_below(&rng, KINDS + PAIRS / 2),
                                         .right = (int32_t)hl_rng_below(&rng, KINDS + PAIRS / 2),
                                         .rank = (i * 37) % PAIRS,
                                         .id = KINDS + i});
        int32_t a[N], b[N];
        for (int i = 0; i < N; i++)
            a[i] = b[i] = (int32_t)hl_rng_below(&rng, round % 2 ? KINDS : 2);
        const size_t n = hl_merges_apply(&m, a, N);
        hl_mem_fail_after(0);
        const size_t n_slow = hl_merges_apply(&m, b, N);
        hl_mem_fail_after(-1);
        cr_assert_eq(n, n_slow);
        cr_assert_eq(memcmp(a, b, n * sizeof *a), 0, "round %d", round);
        cr_assert_eq(hl_merges_apply(&m, a, n), n, "nothing is left to merge");
        hl_merges_done(&m);
    }
}

Test(subword, invalid_bytes_become_one_character_per_piece)
{
    static const struct {
        const char *bytes;
        size_t n_chars;
    } cases[] = {{"\x80", 1},         {"\xE2\x82", 1},         {"\xE2\x82x", 2},
                 {"\xED\xA0\x80", 3}, {"\xF0\x9F\x98", 1},     {"\xF4\x90\x80\x80", 4},
                 {"\xC0\xAF", 2},     {"\xF0\x80\x80\x80", 4}, {"\xE0\x80\xC3\xA9", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const unsigned char *s = (const unsigned char *)cases[i].bytes;
        size_t n = strlen(cases[i].bytes), n_chars = 0;
        for (size_t at = 0; at < n; n_chars++) {
            uint32_t code;
            bool is_valid;
            at += hl_uni_read(s + at, n - at, &code, &is_valid);
            cr_assert(is_valid || code == HL_UNI_REPLACEMENT);
        }
        cr_assert_eq(n_chars, cases[i].n_chars, "case %zu: %zu", i, n_chars);
    }
}

static void expect_same_after_json(hl_tok *t)
{
    hl_str json = {0};
    hl_tok *u = NULL;
    cr_assert_eq(hl_tok_to_json(t, &json), HL_OK);
    cr_assert_eq(hl_tok_from_json(json.s, json.n, &u), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_tok_hash(u), hl_tok_hash(t));
    cr_assert_str_eq(hl_tok_kind(u), hl_tok_kind(t));
    const char *s = "Abc, ab <s> unaffable [MASK] \xFF\xE4\xB8\xAD </s>\n caf\xC3\xA9";
    int32_t a[400], b[400];
    const size_t n = hl_tok_encode(t, s, strlen(s), a);
    cr_assert_eq(hl_tok_encode(u, s, strlen(s), b), n);
    cr_assert_eq(memcmp(a, b, n * sizeof *a), 0);
    hl_str_done(&json);
    hl_tok_unref(u);
    hl_tok_unref(t);
}

Test(subword, json_carries_them)
{
    expect_same_after_json(open_bytes("vocab.txt", words));
    expect_same_after_json(open_bpe(vocab, merges));
    hl_tok *a = open_bytes("a.txt", words), *b = open_bytes("b.txt", words);
    hl_tok *c = open_bytes("c.txt", "[UNK]\na\n");
    cr_assert_eq(hl_tok_hash(a), hl_tok_hash(b));
    cr_assert_neq(hl_tok_hash(a), hl_tok_hash(c));
    hl_tok_unref(a);
    hl_tok_unref(b);
    hl_tok_unref(c);
    a = open_bpe(vocab, merges);
    b = open_bpe(vocab, "a b\nab c\n\xC4\xA0 ab\n");
    cr_assert_neq(hl_tok_hash(a), hl_tok_hash(b), "the order of merges counts");
    hl_tok_unref(a);
    hl_tok_unref(b);
}

Test(subword, what_is_wrong_is_said)
{
    hl_tok *t = NULL;
    expect_refused("v.txt", "[UNK]\na\n\nb\n", HL_E_FORMAT, "line 3");
    expect_refused("v.txt", "[UNK]\na\nb\na\n", HL_E_FORMAT, "line 4 (and 2): the token 'a'");
    expect_refused("v.txt", "[UNK]\na\xFF\n", HL_E_FORMAT, "line 2: not UTF-8");
    expect_refused("v.txt", "a\nb\n", HL_E_FORMAT, "[UNK]");
    expect_refused("v.txt", "", HL_E_FORMAT, "no tokens");
    expect_refused("v.json", "{\"a\":0", HL_E_FORMAT, "not valid JSON");
    expect_refused("v.json", "{\"a\":0}", HL_E_NOTFOUND, "merges.txt");
#define MODEL(type, rest) "{\"model\":{\"type\":\"" type "\"," rest "}"
    expect_refused("t.json", MODEL("Unigram", "\"vocab\":[]") "}", HL_E_UNSUPPORTED, "'Unigram'");
    expect_refused("t.json",
                   MODEL("WordPiece", "\"vocab\":{}") ",\"normalizer\":{\"type\":\"NFKC\"}}",
                   HL_E_UNSUPPORTED, "the normalizer 'NFKC' is not supported");
    expect_refused("t.json", MODEL("BPE", "\"vocab\":{}") "}", HL_E_UNSUPPORTED,
                   "pre_tokenizer ''");
#define BYTES ",\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
    expect_refused("t.json", MODEL("BPE", "\"ignore_merges\":true") BYTES "}", HL_E_UNSUPPORTED,
                   "\"ignore_merges\"");
    expect_refused("t.json", MODEL("BPE", "\"vocab\":{}") BYTES "}", HL_E_FORMAT, "1 to 1048576");
    expect_refused("t.json", MODEL("BPE", "\"vocab\":{\"a\":0,\"b\":2}") BYTES "}", HL_E_FORMAT,
                   "'b' has the id 2");
    expect_refused("t.json", MODEL("BPE", "\"vocab\":{\"a\":0},\"merges\":[\"a a\"]") BYTES "}",
                   HL_E_FORMAT, "line 1 of the merges: the merge 'a a': what it makes");
    expect_refused("t.json",
                   MODEL("BPE", "\"vocab\":{\"a\":0}") BYTES
                   ",\"added_tokens\":[{\"id\":7,\"content\":\"x\"}]}",
                   HL_E_FORMAT, "the added token 'x': its id 7");
    cr_assert_null(open_bpe(vocab, "a b\nb\n"));
    cr_assert_not_null(strstr(hl_err_message(), "line 2 of the merges"), "%s", hl_err_message());
    cr_assert_eq(hl_tok_open("/nowhere/vocab.txt", &t), HL_E_NOTFOUND);
    cr_assert_eq(hl_tok_open("/", &t), HL_E_NOTFOUND);
    cr_assert_not_null(strstr(hl_err_message(), "neither tokenizer.json nor"));
}

Test(subword, wordpiece_is_learnt)
{
    hl_text *text = text_of("Hug hugs hugging PUG pugs bun buns\nhug h\xC3\xBCg hugs bun\n");
    hl_tok_train_params p = {.kind = "wordpiece", .n_vocab = 30, .min_count = 2};
    hl_tok *t = NULL, *u = NULL;
    cr_assert_eq(hl_tok_train(text, &p, &t), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_tok_special_id(t, HL_TOK_SPECIAL_MASK), 4);
    int32_t ids[100];
    cr_assert_eq(hl_tok_encode(t, "hug", 3, ids), 1, "the most frequent word is one piece");
    hl_str s = {0};
    cr_assert_eq(hl_tok_decode(t, ids, 1, &s), HL_OK);
    cr_assert_str_eq(s.s, "hug");
    hl_str_done(&s);
    cr_assert_eq(hl_tok_train(text, &p, &u), HL_OK);
    cr_assert_eq(hl_tok_hash(t), hl_tok_hash(u), "the same again");
    hl_tok_unref(t);
    hl_tok_unref(u);
    p.n_vocab = 8;
    cr_assert_eq(hl_tok_train(text, &p, &t), HL_E_ARG);
    cr_assert_not_null(strstr(hl_err_message(), "8 tokens is too small"), "%s", hl_err_message());
    p.kind = "words";
    cr_assert_eq(hl_tok_train(text, &p, &t), HL_E_ARG);
    hl_text_close(text);
}

Test(subword, no_leak_when_memory_fails)
{
    hl_text *text = text_of("Hug hugs hugging PUG pugs bun buns\nhug h\xC3\xBCg hugs bun\n");
    const char *path = write_temp("vocab.txt", words, strlen(words));
    hl_tok *t = open_bpe(vocab, merges);
    hl_str json = {0};
    cr_assert_eq(hl_tok_to_json(t, &json), HL_OK);
    const int64_t live = hl_mem_get_stats().live_bytes;
    for (int what = 0; what < 4; what++) {
        const hl_tok_train_params p = {
            .kind = what == 0 ? "bpe" : "wordpiece", .n_vocab = 300, .min_count = 2};
        hl_status st = HL_E_NOMEM;
        for (int64_t n = 0; st != HL_OK; n++) {
            hl_tok *u = NULL;
            hl_mem_fail_after(n);
            st = what < 2    ? hl_tok_train(text, &p, &u)
                 : what == 2 ? hl_tok_from_json(json.s, json.n, &u)
                             : hl_tok_open(path, &u);
            hl_mem_fail_after(-1);
            hl_tok_unref(u);
            cr_assert_eq(hl_mem_get_stats().live_bytes, live, "%d, failure %lld", what,
                         (long long)n);
            cr_assert(st == HL_OK || st == HL_E_NOMEM, "%d: %s", what, hl_err_message());
        }
    }
    unlink(path);
    hl_str_done(&json);
    hl_tok_unref(t);
    hl_text_close(text);
}

typedef struct sharing {
    const hl_tok *t;
    size_t n_ids;
    uint64_t hash;
} sharing;

enum { SHARED_BYTES = 300000 };

static void encode_shared(void *arg)
{
    sharing *x = arg;
    unsigned char *bytes = hl_alloc(SHARED_BYTES);
    int32_t *ids = hl_alloc_zero(hl_tok_room(x->t, SHARED_BYTES), sizeof *ids);
    hl_rng rng = hl_rng_make(6, HL_RNG_TEST, 0, 0);
    for (size_t i = 0; i < SHARED_BYTES; i++) /* a long word now and then, for the heap */
        bytes[i] = i / 5000 % 2 ? 'a' : (unsigned char)(hl_rng_below(&rng, 5) ? 'a' + i % 3 : ' ');
    x->n_ids = hl_tok_encode(x->t, bytes, SHARED_BYTES, ids);
    x->hash = hl_hash_bytes(HL_HASH_START, ids, x->n_ids * sizeof *ids);
    hl_free(ids);
    hl_free(bytes);
}

Test(subword, threads_share_a_tokenizer)
{
    hl_tok *t = open_bpe(vocab, merges);
    sharing x[4];
    hl_thread *thread[4];
    for (int i = 0; i < 4; i++) {
        x[i] = (sharing){.t = t};
        cr_assert_eq(hl_thread_start("encode", encode_shared, &x[i], &thread[i]), HL_OK);
    }
    for (int i = 0; i < 4; i++)
        hl_thread_join(thread[i]);
    cr_assert_gt(x[0].n_ids, 0);
    for (int i = 1; i < 4; i++) {
        cr_assert_eq(x[i].n_ids, x[0].n_ids);
        cr_assert_eq(x[i].hash, x[0].hash);
    }
    hl_tok_unref(t);
}
