/* Tokens as the reference gives them: tests/golden/tokenizers (tests/oracle/tokenizers.py). */
#define _POSIX_C_SOURCE 200809L

#include <criterion/criterion.h>

#include "data/data_test.h"
#include "data/tok/tok_internal.h"
#include "engine/base/hash.h"

static char *golden_path(const char *name)
{
    const char *source = getenv("HOPLAB_SOURCE");
    char *dir = hl_fs_join(source ? source : ".", "tests/golden/tokenizers");
    char *path = hl_fs_join(dir, name);
    hl_free(dir);
    return path;
}

static hl_tok *golden_tok(const char *name)
{
    hl_tok *t = NULL;
    char *path = golden_path(name);
    cr_assert_eq(hl_tok_open(path, &t), HL_OK, "%s", hl_err_message());
    hl_free(path);
    return t;
}

static hl_json *golden_strings(void)
{
    char *path = golden_path("strings.json"), *text = NULL;
    size_t n = 0;
    hl_json *root = NULL;
    cr_assert_eq(hl_fs_read(path, 1 << 24, &text, &n), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_json_parse(text, n, &root), HL_OK, "%s", hl_err_message());
    hl_free(text);
    hl_free(path);
    return root;
}

static hl_tok *published(const char *name)
{
    char at[200];
    hl_tok *t = NULL;
    snprintf(at, sizeof at, "tokenizers/%s", name);
    const char *path = find_data(at);
    if (path)
        cr_assert_eq(hl_tok_open(path, &t), HL_OK, "%s", hl_err_message());
    return t;
}

static size_t from_hex(const char *hex, unsigned char *out)
{
    size_t n = 0;
    for (unsigned byte; sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
        out[n] = (unsigned char)byte;
    return n;
}

static uint64_t hash_ids(const int32_t *ids, size_t n)
{
    return hl_hash_bytes(HL_HASH_START, ids, n * sizeof *ids);
}

/* want: a list of ids, or the hash of one */
static void expect(const hl_tok *t, const hl_json *c, const char *name)
{
    const char *hex = hl_json_str(hl_json_get(c, "hex"), "");
    const hl_json *want = hl_json_get(c, name);
    unsigned char bytes[2000];
    int32_t ids[6000];
    cr_assert_leq(strlen(hex) / 2, sizeof bytes);
    const size_t n = from_hex(hex, bytes), n_ids = hl_tok_encode(t, bytes, n, ids);
    cr_assert_leq(n_ids, hl_tok_room(t, n));
    if (hl_json_is_string(want)) {
        cr_expect_eq(hash_ids(ids, n_ids), strtoull(hl_json_str(want, ""), NULL, 16), "%s: %s",
                     name, hex);
        return;
    }
    cr_assert(hl_json_is_array(want));
    cr_expect_eq(n_ids, (size_t)hl_json_len(want), "%s: %s", name, hex);
    const hl_json *v = hl_json_at(want, 0);
    for (size_t i = 0; i < n_ids && v; i++, v = hl_json_next(v))
        cr_assert_eq(ids[i], hl_json_int(v, -1), "%s: %s, token %zu is %d", name, hex, i,
                     (int)ids[i]);
}

static void expect_all(const hl_tok *t, const hl_json *root, const char *name)
{
    int n = 0;
    for (const hl_json *c = hl_json_at(hl_json_get(root, "cases"), 0); c; c = hl_json_next(c), n++)
        expect(t, c, name);
    cr_assert_geq(n, 300);
}

Test(tok_golden, nasty_strings_by_small_vocabularies)
{
    hl_json *root = golden_strings();
    hl_tok *word = golden_tok("wordpiece.json"), *byte = golden_tok("bpe.json");
    cr_assert_str_eq(hl_tok_kind(word), "wordpiece");
    cr_assert_str_eq(hl_tok_kind(byte), "bpe");
    expect_all(word, root, "wordpiece");
    expect_all(byte, root, "bpe");
    hl_tok_unref(word);
    hl_tok_unref(byte);
    hl_json_free(root);
}

Test(tok_golden, nasty_strings_by_published_vocabularies)
{
    static const char *const names[] = {"bert-base-uncased/vocab.txt", "gpt2/vocab.json",
                                        "opt/vocab.json"};
    hl_json *root = golden_strings();
    for (int i = 0; i < 3; i++) {
        hl_tok *t = published(names[i]);
        if (!t)
            cr_skip_test("no tokenizers/%s in HOPLAB_DATA or ../shared/data", names[i]);
        expect_all(t, root, names[i]);
        hl_tok_unref(t);
    }
    hl_json_free(root);
}

/* Learnt merges, ties and lines included. */
Test(tok_golden, merges_are_learnt_as_the_reference_does)
{
    char *path = golden_path("training.json"), *json = NULL, *merges = NULL;
    char dir[200];
    size_t n = 0;
    hl_json *root = NULL;
    hl_text *text = NULL;
    hl_tok *t = NULL, *u = NULL;
    cr_assert_eq(hl_fs_read(path, 1 << 24, &json, &n), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_json_parse(json, n, &root), HL_OK, "%s", hl_err_message());
    const char *s = hl_json_str(hl_json_get(root, "text"), "");
    cr_assert_eq(hl_text_from_bytes("training", s, strlen(s), &text), HL_OK);
    hl_tok_train_params p = hl_tok_train_params_default();
    p.n_vocab = 600;
    cr_assert_eq(hl_tok_train(text, &p, &t), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_tok_n_vocab(t), hl_json_int(hl_json_get(root, "n_vocab"), -1));
    snprintf(dir, sizeof dir, "%s/hoplab-train-%ld", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
             (long)getpid());
    cr_assert_eq(hl_tok_save(t, dir), HL_OK, "%s", hl_err_message());
    hl_free(path);
    path = hl_fs_join(dir, "merges.txt");
    cr_assert_eq(hl_fs_read(path, 1 << 24, &merges, &n), HL_OK);
    cr_assert_str_eq(merges, hl_json_str(hl_json_get(root, "merges"), ""));
    cr_assert_eq(hl_tok_open(dir, &u), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_tok_hash(u), hl_tok_hash(t), "what is saved is what is opened");
    HL_IGNORE(hl_fs_remove_tree(dir));
    hl_tok_unref(u);
    hl_tok_unref(t);
    hl_text_close(text);
    hl_json_free(root);
    hl_free(path);
    hl_free(json);
    hl_free(merges);
}

/* Whole texts at once, and through a corpus, which encodes them in chunks. */
Test(tok_golden, whole_texts)
{
    hl_json *root = golden_strings();
    const hl_json *f = hl_json_at(hl_json_get(root, "files"), 0);
    for (; f; f = hl_json_next(f)) {
        char at[200];
        snprintf(at, sizeof at, "text/%s", hl_json_str(hl_json_get(f, "text"), ""));
        hl_tok *t = published(hl_json_str(hl_json_get(f, "tokens"), ""));
        const char *path = find_data(at);
        if (!t || !path)
            cr_skip_test("no %s in HOPLAB_DATA or ../shared/data", at);
        hl_text *text = NULL;
        hl_corpus *corpus = NULL;
        hl_corpus_params p = hl_corpus_params_default();
        cr_assert_eq(hl_text_open(&path, 1, &text), HL_OK, "%s", hl_err_message());
        p.train = text;
        p.holdout = 0;
        p.tok = t;
        cr_assert_eq(hl_corpus_new(&p, &corpus), HL_OK, "%s", hl_err_message());
        const int64_t n = hl_corpus_get_info(corpus)->part[HL_PART_TRAIN].n_tokens;
        cr_expect_eq(n, hl_json_int(hl_json_get(f, "n"), -1), "%s: %lld tokens", at, (long long)n);
        int32_t *ids = hl_alloc_zero((size_t)n, sizeof *ids);
        cr_assert_eq(hl_corpus_read(corpus, HL_PART_TRAIN, 0, n, ids), HL_OK);
        const char *want = hl_json_str(hl_json_get(f, "fnv1a"), "");
        cr_expect_eq(hash_ids(ids, (size_t)n), strtoull(want, NULL, 16), "%s by %s", at,
                     hl_json_str(hl_json_get(f, "tokens"), ""));
        hl_free(ids);
        hl_corpus_unref(corpus);
        hl_text_close(text);
        hl_tok_unref(t);
    }
    hl_json_free(root);
}
