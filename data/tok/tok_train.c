/* Vocabularies learnt from a text, and the files they are kept in. */
#include <stdlib.h>

#include "data/text/text_internal.h"
#include "data/tok/pair_train.h"
#include "data/tok/tok_bpe.h"
#include "data/tok/tok_unicode.h"
#include "data/tok/tok_wordpiece.h"
#include "data/tok/word_count.h"
#include "engine/base/fs.h"

static const hl_word_rules bert_uncased = {true, true, true, true};
static const char *const bert_specials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

hl_tok_train_params hl_tok_train_params_default(void)
{
    return (hl_tok_train_params){.kind = "bpe", .n_vocab = 8192, .min_count = 2};
}

/* ---- counting words -------------------------------------------------------------------------- */

typedef struct counting {
    hl_word_count words;
    hl_status st;
} counting;

static void count_word(void *arg, const unsigned char *s, size_t n, bool is_long)
{
    counting *c = arg;
    if (c->st == HL_OK && !is_long)
        c->st = hl_word_count_add(&c->words, s, n, hl_hash_bytes(HL_HASH_START, s, n));
}

static void count_pieces(counting *c, const unsigned char *s, size_t n)
{
    for (size_t at = 0; at < n && c->st == HL_OK;) {
        bool is_valid;
        const size_t len = hl_bpe_split(s + at, n - at, &is_valid);
        if (is_valid)
            count_word(c, s + at, len, false);
        at += len;
    }
}

/* Line by line with its end, as the reference trainer reads files: "\n\n" is two pieces here. */
static hl_status count_text(counting *c, const hl_text *text, bool is_bpe)
{
    for (size_t i = 0; i < hl_text_n_files(text); i++) {
        const hl_text_span span = hl_text_file(text, i);
        for (size_t at = 0; at < span.n && c->st == HL_OK;) {
            const unsigned char *line = span.bytes + at;
            const unsigned char *end = memchr(line, '\n', span.n - at);
            const size_t n = end ? (size_t)(end - line) + 1 : span.n - at;
            if (is_bpe)
                count_pieces(c, line, n);
            else
                hl_word_split(&bert_uncased, line, n, count_word, c);
            at += n;
        }
    }
    return c->st;
}

/* ---- alphabets: what is there before the first merge ------------------------------------------
 */

static hl_status add_char(hl_pieces *p, const char *prefix, uint32_t code, int32_t *id)
{
    unsigned char s[8];
    const size_t n_prefix = strlen(prefix);
    memcpy(s, prefix, n_prefix);
    const size_t n = n_prefix + hl_uni_write(code, s + n_prefix);
    *id = hl_pieces_find(p, s, n);
    if (*id >= 0)
        return HL_OK;
    *id = (int32_t)p->n;
    return hl_pieces_add(p, s, n, NULL);
}

static int by_code(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* All 256 bytes, in the order of the characters that stand for them. */
static hl_status byte_alphabet(hl_pieces *p, int32_t id[256])
{
    uint32_t code[256];
    hl_status st = HL_OK;
    for (int i = 0; i < 256; i++)
        code[i] = hl_bpe_char_of((unsigned char)i);
    qsort(code, 256, sizeof *code, by_code);
    for (int i = 0; i < 256; i++)
        HL_TRY(add_char(p, "", code[i], &id[hl_bpe_byte_of(code[i])]));
out:
    return st;
}

static hl_status bytes_of_words(hl_pair_train *t, const hl_word_count *count)
{
    int32_t id[256];
    hl_status st = byte_alphabet(t->pieces, id);
    for (size_t i = 0; st == HL_OK && i < count->words.n; i++) {
        const hl_word_entry *e = &count->words.at[i];
        const hl_train_word w = {.start = t->symbols.n, .n = e->len, .count = e->count};
        for (uint32_t k = 0; st == HL_OK && k < e->len; k++)
            st = hl_vec_push(&t->symbols, id[(unsigned char)count->chars.at[e->start + k]]);
        if (st == HL_OK)
            st = hl_vec_push(&t->words, w);
    }
    return st;
}

static hl_status char_alphabet(hl_pieces *p, const hl_word_count *count)
{
    hl_status st = HL_OK;
    HL_VEC(uint32_t) seen = {0};
    const size_t n_codes = 0x110000;
    bool *is_seen = hl_alloc_zero(n_codes, sizeof *is_seen);
    if (!is_seen)
        return HL_E_NOMEM;
    const unsigned char *s = (const unsigned char *)count->chars.at;
    for (size_t at = 0; at < count->chars.n;) {
        uint32_t code;
        bool is_valid;
        at += hl_uni_read(s + at, count->chars.n - at, &code, &is_valid);
        is_seen[code] = true;
    }
    for (uint32_t code = 0; code < n_codes; code++)
        if (is_seen[code])
            HL_TRY(hl_vec_push(&seen, code));
    for (size_t i = 0; i < seen.n; i++) {
        int32_t id;
        HL_TRY(add_char(p, "", seen.at[i], &id));
    }
out:
    hl_vec_done(&seen);
    hl_free(is_seen);
    return st;
}

static hl_status chars_of_words(hl_pair_train *t, const hl_word_count *count)
{
    hl_status st = char_alphabet(t->pieces, count);
    for (size_t i = 0; st == HL_OK && i < count->words.n; i++) {
        const hl_word_entry *e = &count->words.at[i];
        hl_train_word w = {.start = t->symbols.n, .count = e->count};
        for (size_t at = 0; st == HL_OK && at < e->len; w.n++) {
            uint32_t code;
            bool is_valid;
            int32_t id = -1;
            const unsigned char *s = (const unsigned char *)count->chars.at + e->start + at;
            at += hl_uni_read(s, e->len - at, &code, &is_valid);
            st = add_char(t->pieces, w.n ? "##" : "", code, &id);
            if (st == HL_OK)
                st = hl_vec_push(&t->symbols, id);
        }
        if (st == HL_OK)
            st = hl_vec_push(&t->words, w);
    }
    return st;
}

/* ---- training -------------------------------------------------------------------------------- */

static hl_status learn(hl_subword *w, const hl_text *text, const hl_tok_train_params *p,
                       hl_pair_train *t)
{
    hl_status st = HL_OK;
    counting c = {0};
    const bool is_bpe = w->base.ops == &hl_tok_bpe_ops;
    HL_TRY(count_text(&c, text, is_bpe));
    if (c.words.words.n == 0)
        HL_FAIL(HL_E_ARG, "the text '%s' has no words to make a vocabulary of; use another text",
                hl_text_label(text));
    HL_TRY(is_bpe ? bytes_of_words(t, &c.words) : chars_of_words(t, &c.words));
    if (w->pieces.n > (size_t)p->n_vocab)
        HL_FAIL(HL_E_ARG,
                "a vocabulary of %d tokens is too small for '%s': its characters and the specials "
                "alone are %zu",
                (int)p->n_vocab, hl_text_label(text), w->pieces.n);
    HL_TRY(hl_pair_train_run(t));
out:
    hl_word_count_done(&c.words);
    return st;
}

static hl_status add_specials(hl_subword *w, const char *const *names, int n)
{
    hl_status st = HL_OK;
    for (int i = 0; i < n; i++) {
        HL_TRY(hl_pieces_add(&w->pieces, names[i], strlen(names[i]), NULL));
        HL_TRY(hl_subword_add_special(w, (hl_added){.id = i}));
    }
out:
    return st;
}

static hl_status finish_bpe(hl_subword *w, const hl_pair_train *t)
{
    hl_str lines = {0};
    for (size_t i = 0; i < t->merges.n; i++) {
        size_t n;
        const char *s = hl_pieces_at(&w->pieces, t->merges.at[i].left, &n);
        hl_str_addn(&lines, s, n);
        hl_str_addc(&lines, ' ');
        s = hl_pieces_at(&w->pieces, t->merges.at[i].right, &n);
        hl_str_addn(&lines, s, n);
        hl_str_addc(&lines, '\n');
    }
    hl_status st = hl_str_status(&lines);
    if (st == HL_OK)
        st = hl_bpe_finish(w, hl_str_text(&lines), lines.n);
    hl_str_done(&lines);
    return st;
}

hl_status hl_tok_train(const hl_text *text, const hl_tok_train_params *p, hl_tok **out)
{
    static const char *const gpt[] = {"<|endoftext|>"};
    hl_status st = HL_OK;
    const bool is_bpe = strcmp(p->kind, "bpe") == 0;
    if (!is_bpe && strcmp(p->kind, "wordpiece") != 0)
        return hl_err_set(HL_E_ARG, "'%s' is not learnt from a text; wordpiece and bpe are",
                          p->kind);
    if (p->n_vocab < 1 || p->n_vocab > HL_TOK_WORDS_MAX || p->min_count < 0)
        return hl_err_set(HL_E_ARG, "a vocabulary of %d tokens is out of range: 1 .. %d",
                          (int)p->n_vocab, HL_TOK_WORDS_MAX);
    hl_subword *w = is_bpe ? hl_bpe_alloc() : hl_wordpiece_alloc();
    if (!w)
        return HL_E_NOMEM;
    hl_pair_train t = {.pieces = &w->pieces,
                       .n_vocab = (size_t)p->n_vocab,
                       .min_count = p->min_count,
                       .prefix = is_bpe ? "" : "##"};
    HL_TRY(is_bpe ? add_specials(w, gpt, 1) : add_specials(w, bert_specials, 5));
    HL_TRY(learn(w, text, p, &t));
    w->unk = is_bpe ? -1 : HL_TOK_SPECIAL_UNK;
    HL_TRY(is_bpe ? finish_bpe(w, &t) : hl_wordpiece_finish(w, bert_uncased));
    *out = &w->base;
    w = NULL;
out:
    hl_pair_train_done(&t);
    if (w)
        hl_tok_unref(&w->base);
    return st;
}

/* ---- files ----------------------------------------------------------------------------------- */

static hl_status save_in(const char *dir, const char *name, const hl_str *text)
{
    hl_status st = hl_str_status(text);
    char *path = st == HL_OK ? hl_fs_join(dir, name) : NULL;
    if (path)
        st = hl_fs_write_atomic(path, hl_str_text(text), text->n);
    else if (st == HL_OK)
        st = HL_E_NOMEM;
    hl_free(path);
    return st;
}

static void write_vocab(const hl_pieces *p, hl_str *json)
{
    hl_str key = {0};
    hl_json_begin(json, '{');
    for (size_t i = 0; i < p->n; i++) {
        size_t n;
        const char *s = hl_pieces_at(p, (int32_t)i, &n);
        hl_str_clear(&key);
        hl_str_addn(&key, s, n);
        hl_json_put_int(json, hl_str_text(&key), (int64_t)i);
    }
    hl_json_end(json, '}');
    json->failed = json->failed || key.failed;
    hl_str_done(&key);
}

hl_status hl_tok_save(const hl_tok *t, const char *dir)
{
    hl_status st = HL_OK;
    hl_str vocab = {0}, merges = {0};
    const bool is_bpe = t->ops == &hl_tok_bpe_ops;
    if (!is_bpe && t->ops != &hl_tok_wordpiece_ops)
        return hl_err_set(HL_E_UNSUPPORTED, "a '%s' tokenizer has no files of its own",
                          t->ops->kind);
    HL_TRY(hl_fs_make_dir(dir));
    if (is_bpe) {
        hl_str_add(&merges, "#version: 0.2\n");
        hl_bpe_write_merges(hl_subword_of(t), &merges);
        write_vocab(&hl_subword_of(t)->pieces, &vocab);
        HL_TRY(save_in(dir, "merges.txt", &merges));
        HL_TRY(save_in(dir, "vocab.json", &vocab));
    } else {
        hl_pieces_join(&hl_subword_of(t)->pieces, &vocab);
        hl_str_addc(&vocab, '\n');
        HL_TRY(save_in(dir, "vocab.txt", &vocab));
    }
out:
    hl_str_done(&vocab);
    hl_str_done(&merges);
    return st;
}
