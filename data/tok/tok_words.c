/* The word vocabulary.
 *
 * DESIGN. Words lie one behind the other in `chars`; word w (id 5 + w) is chars[start[w] ..
 * start[w+1]-1], all distinct, none empty, each scanned by word_scan as one token (so decoded text
 * encodes to the same ids; words read from JSON are held to that too). Look-up is an open-addressed
 * table of ids at most half full; free entries are 0, which is no word's id. */
#include "data/tok/tok_internal.h"

#include <string.h>

#include "data/tok/word_count.h"
#include "data/tok/word_scan.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

#define N_SPECIALS HL_TOK_SPECIAL_COUNT

typedef struct words {
    hl_tok base;
    char *chars;
    uint32_t *start; /* n_words + 1 */
    int32_t *slot;
    size_t n_slots; /* power of two */
} words;

static const words *from_tok(const hl_tok *t)
{
    return (const words *)(const void *)t;
}

/* The slot of a word: its own, or the free one where it belongs. */
static size_t find_slot(const words *w, const void *word, size_t n, uint64_t hash)
{
    size_t k = (size_t)(hash ^ hash >> 32) & (w->n_slots - 1);
    for (; w->slot[k]; k = (k + 1) & (w->n_slots - 1)) {
        int32_t i = w->slot[k] - N_SPECIALS;
        if (w->start[i + 1] - w->start[i] == n && memcmp(w->chars + w->start[i], word, n) == 0)
            break;
    }
    return k;
}

static size_t words_encode(const hl_tok *t, const unsigned char *bytes, size_t n, int32_t *ids)
{
    const words *w = from_tok(t);
    hl_word_scan s = {.bytes = bytes, .n = n};
    size_t n_ids = 0;
    while (hl_word_scan_next(&s)) {
        int32_t id = s.n_word ? w->slot[find_slot(w, s.word, s.n_word, s.hash)] : 0;
        ids[n_ids++] = id ? id : HL_TOK_SPECIAL_UNK;
    }
    return n_ids;
}

static void words_decode(const hl_tok *t, int32_t id, bool is_first, hl_str *out)
{
    const words *w = from_tok(t);
    uint32_t from = w->start[id - N_SPECIALS], to = w->start[id - N_SPECIALS + 1];
    if (!is_first)
        hl_str_addc(out, ' ');
    hl_str_addn(out, w->chars + from, to - from);
}

/* One string, words separated by spaces: a list node per word would make reading quadratic. */
static void words_write(const hl_tok *t, hl_str *json)
{
    hl_str all = {0};
    for (int32_t id = N_SPECIALS; id < t->n_vocab; id++)
        words_decode(t, id, id == N_SPECIALS, &all);
    hl_json_put_str(json, "words", hl_str_text(&all));
    json->failed = json->failed || all.failed;
    hl_str_done(&all);
}

static void words_done(hl_tok *t)
{
    words *w = (words *)(void *)t;
    hl_free(w->chars);
    hl_free(w->start);
    hl_free(w->slot);
}

static words *words_alloc(size_t n_words, size_t n_chars)
{
    words *w = (words *)(void *)hl_tok_alloc(&hl_tok_words_ops, sizeof *w);
    if (!w)
        return NULL;
    w->n_slots = 16;
    while (w->n_slots < 2 * n_words)
        w->n_slots *= 2;
    w->chars = hl_alloc(n_chars);
    w->start = hl_alloc_zero(n_words + 1, sizeof *w->start);
    w->slot = hl_alloc_zero(w->n_slots, sizeof *w->slot);
    if (!w->chars || !w->start || !w->slot) {
        hl_tok_unref(&w->base);
        return NULL;
    }
    for (int i = 0; i < N_SPECIALS; i++)
        w->base.special[i] = i;
    w->base.n_vocab = w->base.n_plain = N_SPECIALS;
    return w;
}

/* Appends a word; false if it is there already. The caller has made room. */
static bool words_add(words *w, const void *word, size_t n, uint64_t hash)
{
    size_t k = find_slot(w, word, n, hash);
    if (w->slot[k])
        return false;
    int32_t i = w->base.n_vocab - N_SPECIALS;
    memcpy(w->chars + w->start[i], word, n);
    w->start[i + 1] = w->start[i] + (uint32_t)n;
    w->slot[k] = w->base.n_vocab++;
    w->base.n_plain = w->base.n_vocab;
    return true;
}

static void words_finish(words *w)
{
    size_t n_words = (size_t)(w->base.n_vocab - N_SPECIALS);
    uint64_t h = hl_hash_str(HL_HASH_START, "words");
    h = hl_hash_bytes(h, w->start, (n_words + 1) * sizeof *w->start);
    w->base.hash = hl_hash_bytes(h, w->chars, w->start[n_words]);
}

/* Adds one word of a stored list after checking that scanning gives it back unchanged. */
static hl_status read_word(words *w, const char *word, size_t n, size_t number)
{
    hl_word_scan s = {.bytes = (const unsigned char *)word, .n = n};
    bool is_token =
        hl_word_scan_next(&s) && s.at == n && s.n_word == n && memcmp(s.word, word, n) == 0;
    if (!is_token)
        return hl_err_set(HL_E_FORMAT, "damaged tokenizer: word %zu ('%.*s') is not a single token",
                          number, n < 40 ? (int)n : 40, word);
    if (!words_add(w, word, n, s.hash))
        return hl_err_set(HL_E_FORMAT, "damaged tokenizer: word %zu ('%.*s') is there twice",
                          number, (int)n, word);
    return HL_OK;
}

static hl_status words_read(const hl_json *object, hl_tok **out)
{
    hl_status st = HL_OK;
    const char *all = hl_json_str(hl_json_get(object, "words"), NULL);
    if (!all || !*all)
        return hl_err_set(HL_E_FORMAT, "damaged tokenizer: it has no list of words");
    size_t n = strlen(all), n_words = 1;
    for (size_t i = 0; i < n; i++)
        n_words += all[i] == ' ';
    if (n_words > HL_TOK_WORDS_MAX - N_SPECIALS)
        return hl_err_set(HL_E_FORMAT, "damaged tokenizer: %zu words; at most %d can be", n_words,
                          HL_TOK_WORDS_MAX - N_SPECIALS);
    words *w = words_alloc(n_words, n);
    if (!w)
        return HL_E_NOMEM;
    size_t at = 0;
    for (size_t i = 0; i < n_words; i++) {
        const char *end = memchr(all + at, ' ', n - at);
        size_t len = end ? (size_t)(end - (all + at)) : n - at;
        HL_TRY(read_word(w, all + at, len, i + 1));
        at += len + 1;
    }
    words_finish(w);
    *out = &w->base;
    w = NULL;
out:
    if (w)
        hl_tok_unref(&w->base);
    return st;
}

const hl_tok_ops hl_tok_words_ops = {.kind = "words",
                                     .encode = words_encode,
                                     .decode = words_decode,
                                     .separator = " ",
                                     .write = words_write,
                                     .read = words_read,
                                     .done = words_done};

hl_status hl_tok_new_words(const hl_text *text, size_t n_bytes, int32_t max_vocab, hl_tok **out)
{
    hl_status st = HL_OK;
    hl_word_count count = {0};
    if (max_vocab <= N_SPECIALS || max_vocab > HL_TOK_WORDS_MAX)
        HL_FAIL(HL_E_ARG, "a vocabulary of %d tokens is out of range: %d .. %d, specials included",
                (int)max_vocab, N_SPECIALS + 1, HL_TOK_WORDS_MAX);
    HL_TRY(hl_word_count_text(&count, text, n_bytes));
    hl_word_count_sort(&count);
    size_t n_words = (size_t)(max_vocab - N_SPECIALS), n_chars = 0;
    if (count.words.n < n_words)
        n_words = count.words.n;
    if (n_words == 0)
        HL_FAIL(HL_E_ARG, "the text '%s' has no words to make a vocabulary of; use another text",
                hl_text_label(text));
    for (size_t i = 0; i < n_words; i++)
        n_chars += count.words.at[i].len;
    words *w = words_alloc(n_words, n_chars);
    if (!w)
        HL_TRY(HL_E_NOMEM);
    for (size_t i = 0; i < n_words; i++) {
        const hl_word_entry *e = &count.words.at[i];
        (void)words_add(w, count.chars.at + e->start, e->len, e->hash);
    }
    words_finish(w);
    *out = &w->base;
out:
    hl_word_count_done(&count);
    return st;
}
