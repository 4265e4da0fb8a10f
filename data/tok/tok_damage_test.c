/* Damaged files give an error or a tokenizer that works, never a crash; for the sanitizers too. */
#define _POSIX_C_SOURCE 200809L

#include <criterion/criterion.h>

#include "data/data_test.h"
#include "engine/base/rng.h"

static char dir[200];

static void enter(void)
{
    snprintf(dir, sizeof dir, "%s/hoplab-damage-%ld", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
             (long)getpid());
    cr_assert_eq(hl_fs_make_dir(dir), HL_OK);
}

static void leave(void)
{
    HL_IGNORE(hl_fs_remove_tree(dir));
}

static void put(const char *name, const void *bytes, size_t n)
{
    char *path = hl_fs_join(dir, name);
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
    hl_free(path);
}

static char *read_golden(const char *name, size_t *n)
{
    const char *source = getenv("HOPLAB_SOURCE");
    char path[400], *text = NULL;
    snprintf(path, sizeof path, "%s/tests/golden/tokenizers/%s", source ? source : ".", name);
    cr_assert_eq(hl_fs_read(path, 1 << 24, &text, n), HL_OK, "%s", hl_err_message());
    return text;
}

/* Opens what lies in `dir`, and encodes random bytes with it. */
static bool try_open(const char *name, hl_rng *rng)
{
    hl_tok *t = NULL;
    char *path = hl_fs_join(dir, name);
    const int64_t live = hl_mem_get_stats().live_bytes;
    const hl_status st = hl_tok_open(path, &t);
    if (st == HL_OK) {
        unsigned char bytes[64];
        int32_t ids[3 * 64];
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (unsigned char)(i % 2 ? 'a' + hl_rng_below(rng, 6) : hl_rng_next(rng));
        const size_t n = hl_tok_encode(t, bytes, sizeof bytes, ids);
        cr_assert_leq(n, hl_tok_room(t, sizeof bytes));
        for (size_t i = 0; i < n; i++)
            cr_assert(ids[i] >= 0 && ids[i] < hl_tok_n_vocab(t));
        hl_tok_unref(t);
    } else {
        cr_assert(*hl_err_message());
    }
    cr_assert_eq(hl_mem_get_stats().live_bytes, live);
    hl_free(path);
    return st == HL_OK;
}

/* Bit flips, cuts, pieces repeated, long runs of one byte. */
static size_t damage(char *s, size_t n, size_t room, hl_rng *rng)
{
    for (uint32_t k = hl_rng_below(rng, 4); k > 0 && n > 8; k--) {
        const size_t at = hl_rng_below(rng, (uint32_t)n);
        size_t len = hl_rng_below(rng, 60);
        switch (hl_rng_below(rng, 6)) {
        case 0:
            n = at;
            break;
        case 1:
            s[at] = (char)hl_rng_next(rng);
            break;
        case 2: /* twice */
            len = len < n - at ? len : n - at;
            if (n + len <= room) {
                memmove(s + at + len, s + at, n - at);
                n += len;
            }
            break;
        case 3: /* gone */
            len = len < n - at ? len : n - at;
            memmove(s + at, s + at + len, n - at - len);
            n -= len;
            break;
        case 4:
            memset(s + at, "\0\n\" {9"[hl_rng_below(rng, 6)], len < n - at ? len : n - at);
            break;
        default:
            s[at] ^= (char)(1 << hl_rng_below(rng, 8));
        }
    }
    return n;
}

static void try_damaged(const char *golden, const char *name, int rounds)
{
    size_t n = 0;
    char *text = read_golden(golden, &n), *copy = hl_alloc(n + 300);
    hl_rng rng = hl_rng_make(8, HL_RNG_TEST, 0, 0);
    int n_read = 0;
    enter();
    for (int i = 0; i < rounds; i++) {
        memcpy(copy, text, n);
        put(name, copy, damage(copy, n, n + 300, &rng));
        n_read += try_open(name, &rng);
    }
    cr_assert_geq(n_read, rounds / 8, "undamaged ones are read");
    leave();
    hl_free(copy);
    hl_free(text);
}

Test(tok_damage, tokenizer_json)
{
    try_damaged("wordpiece.json", "tokenizer.json", 300);
    try_damaged("bpe.json", "tokenizer.json", 300);
}

/* The small tokenizers again, as the files of a model. */
static hl_tok *golden_tok(const char *name)
{
    const char *source = getenv("HOPLAB_SOURCE");
    char path[400];
    hl_tok *t = NULL;
    snprintf(path, sizeof path, "%s/tests/golden/tokenizers/%s", source ? source : ".", name);
    cr_assert_eq(hl_tok_open(path, &t), HL_OK, "%s", hl_err_message());
    return t;
}

Test(tok_damage, vocab_and_merges)
{
    static const char *const names[] = {"vocab.txt", "vocab.json", "merges.txt"};
    hl_rng rng = hl_rng_make(9, HL_RNG_TEST, 0, 0);
    hl_tok *word = golden_tok("wordpiece.json"), *byte = golden_tok("bpe.json");
    enter();
    cr_assert_eq(hl_tok_save(word, dir), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_tok_save(byte, dir), HL_OK, "%s", hl_err_message());
    for (int f = 0; f < 3; f++) {
        char *path = hl_fs_join(dir, names[f]), *text = NULL;
        size_t n = 0;
        int n_read = 0;
        cr_assert_eq(hl_fs_read(path, 1 << 24, &text, &n), HL_OK);
        char *copy = hl_alloc(n + 300);
        for (int i = 0; i < 300; i++) {
            memcpy(copy, text, n);
            put(names[f], copy, damage(copy, n, n + 300, &rng));
            n_read += try_open(f == 0 ? "vocab.txt" : "vocab.json", &rng);
        }
        cr_assert_geq(n_read, 35, "%s", names[f]);
        put(names[f], text, n);
        hl_free(copy);
        hl_free(text);
        hl_free(path);
    }
    leave();
    hl_tok_unref(word);
    hl_tok_unref(byte);
}

Test(tok_damage, stored_json)
{
    static const char *const names[] = {"wordpiece.json", "bpe.json"};
    hl_rng rng = hl_rng_make(10, HL_RNG_TEST, 0, 0);
    for (int k = 0; k < 2; k++) {
        hl_tok *t = golden_tok(names[k]);
        hl_str json = {0};
        cr_assert_eq(hl_tok_to_json(t, &json), HL_OK);
        char *copy = hl_alloc(json.n + 300);
        int n_read = 0;
        for (int i = 0; i < 300; i++) {
            hl_tok *u = NULL;
            memcpy(copy, json.s, json.n);
            if (hl_tok_from_json(copy, damage(copy, json.n, json.n + 300, &rng), &u) != HL_OK)
                continue;
            n_read++;
            cr_assert_eq(hl_tok_hash(u), hl_tok_hash(t), "what is read is what was stored");
            hl_tok_unref(u);
        }
        cr_assert_geq(n_read, 35);
        hl_free(copy);
        hl_str_done(&json);
        hl_tok_unref(t);
    }
}

Test(tok_damage, sizes)
{
    enum { MANY = (1 << 20) + 1 };
    hl_rng rng = hl_rng_make(11, HL_RNG_TEST, 0, 0);
    hl_str s = {0};
    enter();
    hl_str_add(&s, "[UNK]\n");
    for (int i = 1; i < MANY; i++)
        hl_str_addf(&s, "%x\n", (unsigned)i);
    put("vocab.txt", s.s, s.n);
    cr_assert(!try_open("vocab.txt", &rng));
    cr_assert_not_null(strstr(hl_err_message(), "more than 1048576 tokens"), "%s",
                       hl_err_message());
    hl_str_clear(&s);
    hl_str_add(&s, "[UNK]\n"); /* one token of a MB */
    for (int i = 0; i < 1 << 20; i++)
        hl_str_addc(&s, 'a');
    put("vocab.txt", s.s, s.n);
    cr_assert(try_open("vocab.txt", &rng));
    put("vocab.json", "{\"a\":0,\"aa\":1}", 14);
    hl_str_clear(&s);
    for (int i = 0; i < MANY; i++)
        hl_str_add(&s, "a a\n");
    put("merges.txt", s.s, s.n);
    cr_assert(!try_open("vocab.json", &rng));
    cr_assert_not_null(strstr(hl_err_message(), "1048577 merges"), "%s", hl_err_message());
    hl_str_clear(&s);
    for (int i = 0; i < 100000; i++)
        hl_str_add(&s, "[{");
    put("tokenizer.json", s.s, s.n);
    cr_assert(!try_open("tokenizer.json", &rng));
    hl_str_done(&s);
    leave();
}
