/* The byte-level BPE tokenizer.
 *
 * DESIGN. Text is pre-split (bpe_split.c), a piece becomes symbols, one per byte, and the merges
 * are applied in order of rank (bpe_merge.c). Most pieces are a token of the vocabulary: those
 * tokens that merging does reach are kept in a table by their bytes (`whole`) when the vocabulary
 * is read, so a common word costs one look-up. It is a cache that is filled once and never changes:
 * encoding writes nothing but its output, and any number of threads may share a tokenizer. Bytes
 * that are not UTF-8 are three symbols, U+FFFD, so encoding needs room for 3 ids per byte.
 * A byte that the vocabulary does not spell is left out, or the unknown token where one is named.
 * Source: Radford et al. 2019 (GPT-2); arXiv 1508.07909 for the merges. */
#include "data/tok/tok_bpe.h"

#include <stdlib.h>

#include "data/tok/bpe_merge.h"
#include "data/tok/tok_unicode.h"
#include "engine/base/mem.h"

typedef struct bpe {
    hl_subword sub;
    int32_t byte_id[256]; /* -1: no token spells this byte */
    hl_merges merges;
    hl_pieces whole;   /* bytes that become one token */
    int32_t *whole_id; /* which */
} bpe;

static const bpe *from_tok(const hl_tok *t)
{
    return (const bpe *)(const void *)t;
}

/* ---- encoding -------------------------------------------------------------------------------- */

static size_t put_byte(const bpe *b, unsigned char byte, int32_t *ids)
{
    const int32_t id = b->byte_id[byte] >= 0 ? b->byte_id[byte] : b->sub.unk;
    if (id < 0)
        return 0;
    ids[0] = id;
    return 1;
}

static size_t to_symbols(const bpe *b, const unsigned char *s, size_t n, bool is_valid,
                         int32_t *ids)
{
    size_t m = 0;
    for (size_t at = 0; at < n;) {
        uint32_t code;
        bool ok = true;
        const size_t len = is_valid ? 1 : hl_uni_read(s + at, n - at, &code, &ok);
        const unsigned char *from = ok ? s + at : (const unsigned char *)"\xEF\xBF\xBD";
        for (size_t i = 0; i < (ok ? len : 3); i++)
            m += put_byte(b, from[i], ids + m);
        at += len;
    }
    return m;
}

static size_t encode_segment(const hl_subword *sub, const unsigned char *s, size_t n, int32_t *ids)
{
    const bpe *b = from_tok(&sub->base);
    size_t n_ids = 0;
    for (size_t at = 0; at < n;) {
        bool is_valid;
        const size_t len = hl_bpe_split(s + at, n - at, &is_valid);
        const int32_t whole =
            is_valid && len <= b->whole.longest ? hl_pieces_find(&b->whole, s + at, len) : -1;
        if (whole >= 0) {
            ids[n_ids++] = b->whole_id[whole];
        } else {
            const size_t m = to_symbols(b, s + at, len, is_valid, ids + n_ids);
            n_ids += hl_merges_apply(&b->merges, ids + n_ids, m);
        }
        at += len;
    }
    return n_ids;
}

static size_t bpe_encode(const hl_tok *t, const unsigned char *s, size_t n, int32_t *ids)
{
    return hl_subword_encode(hl_subword_of(t), s, n, ids, encode_segment);
}

/* ---- decoding and storing -------------------------------------------------------------------- */

/* The bytes a token stands for; a token that is not spelt in the alphabet of bytes stands for
 * itself. out: room for n. */
static size_t to_bytes(const char *s, size_t n, unsigned char *out)
{
    size_t m = 0;
    for (size_t at = 0; at < n; m++) {
        uint32_t code;
        bool is_valid;
        at += hl_uni_read((const unsigned char *)s + at, n - at, &code, &is_valid);
        const int byte = hl_bpe_byte_of(code);
        if (!is_valid || byte < 0) {
            memcpy(out, s, n);
            return n;
        }
        out[m] = (unsigned char)byte;
    }
    return m;
}

static void bpe_decode(const hl_tok *t, int32_t id, bool is_first, hl_str *out)
{
    (void)is_first;
    unsigned char bytes[256];
    size_t n;
    const char *s = hl_pieces_at(&hl_subword_of(t)->pieces, id, &n);
    if (n <= sizeof bytes) {
        hl_str_addn(out, (const char *)bytes, to_bytes(s, n, bytes));
        return;
    }
    unsigned char *big = hl_alloc(n);
    if (big)
        hl_str_addn(out, (const char *)big, to_bytes(s, n, big));
    out->failed = out->failed || !big;
    hl_free(big);
}

static int by_rank(const void *a, const void *b)
{
    const hl_merge *x = a, *y = b;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

void hl_bpe_write_merges(const hl_subword *w, hl_str *out)
{
    const bpe *b = from_tok(&w->base);
    hl_merge *all = hl_alloc_zero(b->merges.n + 1, sizeof *all);
    out->failed = out->failed || !all;
    size_t n = 0;
    for (size_t k = 0; all && k < b->merges.n_slots; k++)
        if (b->merges.slot[k].rank >= 0)
            all[n++] = b->merges.slot[k];
    if (n)
        qsort(all, n, sizeof *all, by_rank);
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *s = hl_pieces_at(&w->pieces, all[i].left, &len);
        hl_str_addn(out, s, len);
        hl_str_addc(out, ' ');
        s = hl_pieces_at(&w->pieces, all[i].right, &len);
        hl_str_addn(out, s, len);
        hl_str_addc(out, '\n');
    }
    hl_free(all);
}

static void bpe_write(const hl_tok *t, hl_str *json)
{
    hl_str merges = {0};
    hl_subword_write(hl_subword_of(t), json);
    hl_bpe_write_merges(hl_subword_of(t), &merges);
    hl_json_put_str(json, "merges", hl_str_text(&merges));
    json->failed = json->failed || merges.failed;
    hl_str_done(&merges);
}

static hl_status bpe_read(const hl_json *object, hl_tok **out)
{
    hl_status st = HL_OK;
    hl_subword *w = hl_bpe_alloc();
    if (!w)
        return HL_E_NOMEM;
    const char *merges = hl_json_str(hl_json_get(object, "merges"), "");
    HL_TRY(hl_subword_read(w, object));
    HL_TRY_CTX(hl_bpe_finish(w, merges, strlen(merges)), "damaged tokenizer");
    *out = &w->base;
    w = NULL;
out:
    if (w)
        hl_tok_unref(&w->base);
    return st;
}

static void bpe_done(hl_tok *t)
{
    bpe *b = (bpe *)(void *)t;
    hl_merges_done(&b->merges);
    hl_pieces_done(&b->whole);
    hl_free(b->whole_id);
    hl_subword_done(t);
}

const hl_tok_ops hl_tok_bpe_ops = {.kind = "bpe",
                                   .encode = bpe_encode,
                                   .decode = bpe_decode,
                                   .decodes_specials = true,
                                   .keeps_space_ahead = true,
                                   .ids_per_byte = 3,
                                   .separator = "",
                                   .write = bpe_write,
                                   .read = bpe_read,
                                   .done = bpe_done};

/* ---- making ---------------------------------------------------------------------------------- */

hl_subword *hl_bpe_alloc(void)
{
    hl_tok *t = hl_tok_alloc(&hl_tok_bpe_ops, sizeof(bpe));
    hl_subword *w = (hl_subword *)(void *)t;
    if (w)
        w->unk = -1;
    return w;
}

static void find_bytes(bpe *b)
{
    for (int i = 0; i < 256; i++) {
        unsigned char utf8[4];
        const size_t n = hl_uni_write(hl_bpe_char_of((unsigned char)i), utf8);
        b->byte_id[i] = hl_pieces_find(&b->sub.pieces, utf8, n);
    }
}

/* "left right" */
static hl_status read_pair(const bpe *b, const char *s, size_t n, hl_merge *out)
{
    const hl_pieces *p = &b->sub.pieces;
    const char *space = memchr(s, ' ', n);
    const size_t left = space ? (size_t)(space - s) : n;
    if (!space || left == 0 || left + 1 == n || memchr(space + 1, ' ', n - left - 1))
        return hl_err_set(HL_E_FORMAT,
                          "'%.*s' is no pair; a merge is two tokens with a space "
                          "between them",
                          n < 40 ? (int)n : 40, s);
    const char *right = space + 1;
    const size_t n_right = n - left - 1;
    out->left = hl_pieces_find(p, s, left);
    out->right = hl_pieces_find(p, right, n_right);
    const uint64_t h = hl_piece_hash(HL_HASH_START, (const unsigned char *)s, left);
    out->id = hl_pieces_find_tail(p, s, left, right, n_right,
                                  hl_piece_hash(h, (const unsigned char *)right, n_right));
    if (out->left < 0 || out->right < 0 || out->id < 0)
        return hl_err_set(HL_E_FORMAT,
                          "the merge '%.*s': %s is not in the vocabulary; are these two files of "
                          "one tokenizer?",
                          n < 80 ? (int)n : 80, s,
                          out->left < 0    ? "its left token"
                          : out->right < 0 ? "its right token"
                                           : "what it makes");
    return HL_OK;
}

/* At most: lines that are not empty. */
static size_t count_merges(const char *s, size_t n)
{
    size_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += s[i] != '\n' && (i + 1 == n || s[i + 1] == '\n');
    return lines;
}

static hl_status read_merges(bpe *b, const char *s, size_t n)
{
    int32_t rank = 0;
    const size_t n_merges = count_merges(s, n);
    if (n_merges > HL_TOK_WORDS_MAX)
        return hl_err_set(HL_E_FORMAT, "%zu merges; at most %d can be", n_merges, HL_TOK_WORDS_MAX);
    hl_status st = hl_merges_alloc(&b->merges, n_merges);
    size_t number = 1;
    for (size_t at = 0; st == HL_OK && at < n; number++) {
        const char *end = memchr(s + at, '\n', n - at);
        size_t len = end ? (size_t)(end - (s + at)) : n - at;
        const size_t next = at + len + 1;
        if (len && s[at + len - 1] == '\r')
            len--;
        hl_merge pair = {.rank = rank};
        if (len && !(len >= 8 && memcmp(s + at, "#version", 8) == 0)) {
            st = read_pair(b, s + at, len, &pair);
            if (st == HL_OK)
                hl_merges_put(&b->merges, pair);
            rank++;
        }
        at = next;
    }
    return st == HL_OK ? st : hl_err_context("line %zu of the merges", number - 1);
}

/* Every token that merging its own bytes gives back. */
static hl_status fill_whole(bpe *b)
{
    hl_status st = HL_OK;
    const hl_pieces *p = &b->sub.pieces;
    unsigned char *bytes = hl_alloc(p->longest);
    int32_t *symbols = hl_alloc_zero(3 * p->longest, sizeof *symbols);
    b->whole_id = hl_alloc_zero(p->n, sizeof *b->whole_id);
    if (!bytes || !symbols || !b->whole_id)
        HL_TRY(HL_E_NOMEM);
    for (size_t i = 0; i < p->n; i++) {
        size_t n;
        const char *s = hl_pieces_at(p, (int32_t)i, &n);
        n = to_bytes(s, n, bytes);
        const size_t m = to_symbols(b, bytes, n, true, symbols);
        if (hl_merges_apply(&b->merges, symbols, m) == 1 && symbols[0] == (int32_t)i) {
            HL_TRY(hl_pieces_add(&b->whole, bytes, n, NULL));
            b->whole_id[b->whole.n - 1] = (int32_t)i;
        }
    }
out:
    hl_free(symbols);
    hl_free(bytes);
    return st;
}

hl_status hl_bpe_finish(hl_subword *w, const char *merges, size_t n)
{
    hl_status st = HL_OK;
    bpe *b = (bpe *)(void *)w;
    find_bytes(b);
    HL_TRY(read_merges(b, merges, n));
    HL_TRY(fill_whole(b));
    hl_subword_finish(w);
    hl_str all = {0};
    hl_bpe_write_merges(w, &all);
    w->base.hash = hl_hash_bytes(w->base.hash, hl_str_text(&all), all.n);
    st = hl_str_status(&all);
    hl_str_done(&all);
out:
    return st;
}
