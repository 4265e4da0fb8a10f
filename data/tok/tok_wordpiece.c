/* WordPiece: each word is cut from the left into the longest pieces of the vocabulary; pieces that
 * do not begin a word carry "##". A word that cannot be cut so, or of more than 100 characters, is
 * one unknown token. Source: arXiv 1810.04805 (BERT) and its reference tokenizer, whose tokens
 * these are, specials spelled in running text included. */
#include "data/tok/tok_wordpiece.h"

#include "engine/base/mem.h"

typedef struct wordpiece {
    hl_subword sub;
    hl_word_rules rules;
    uint64_t hash_tail; /* of "##" */
} wordpiece;

static const wordpiece *from_tok(const hl_tok *t)
{
    return (const wordpiece *)(const void *)t;
}

typedef struct encoding {
    const wordpiece *w;
    int32_t *ids;
    size_t n;
} encoding;

/* The longest piece that begins s, its id and length; -1: none. is_tail: with "##" before it. */
static int32_t longest_piece(const wordpiece *w, const unsigned char *s, size_t n, bool is_tail,
                             size_t *len)
{
    uint64_t hash[HL_WORD_CHARS_MAX], h = is_tail ? w->hash_tail : HL_HASH_START;
    size_t end[HL_WORD_CHARS_MAX], n_ends = 0;
    const size_t head = is_tail ? 2 : 0;
    const size_t most = w->sub.pieces.longest > head ? w->sub.pieces.longest - head : 0;
    for (size_t i = 0; i < n && i < most; i++) {
        h = hl_piece_hash(h, s + i, 1);
        if (i + 1 == n || (s[i + 1] & 0xC0) != 0x80) {
            hash[n_ends] = h;
            end[n_ends++] = i + 1;
        }
    }
    while (n_ends-- > 0) {
        const int32_t id =
            hl_pieces_find_tail(&w->sub.pieces, "##", head, s, end[n_ends], hash[n_ends]);
        if (id >= 0) {
            *len = end[n_ends];
            return id;
        }
    }
    return -1;
}

static void encode_word(void *arg, const unsigned char *s, size_t n, bool is_long)
{
    encoding *e = arg;
    const size_t start = e->n;
    size_t at = 0, len = 0;
    while (at < n && !is_long) {
        const int32_t id = longest_piece(e->w, s + at, n - at, at > 0, &len);
        if (id < 0)
            break;
        e->ids[e->n++] = id;
        at += len;
    }
    if (at < n) {
        e->n = start;
        e->ids[e->n++] = e->w->sub.unk;
    }
}

static size_t encode_segment(const hl_subword *sub, const unsigned char *s, size_t n, int32_t *ids)
{
    encoding e = {.w = from_tok(&sub->base), .ids = ids};
    hl_word_split(&e.w->rules, s, n, encode_word, &e);
    return e.n;
}

static size_t wordpiece_encode(const hl_tok *t, const unsigned char *s, size_t n, int32_t *ids)
{
    return hl_subword_encode(hl_subword_of(t), s, n, ids, encode_segment);
}

static void wordpiece_decode(const hl_tok *t, int32_t id, bool is_first, hl_str *out)
{
    size_t n;
    const char *s = hl_pieces_at(&hl_subword_of(t)->pieces, id, &n);
    const bool is_tail = n > 2 && s[0] == '#' && s[1] == '#' && !is_first;
    if (!is_tail && !is_first)
        hl_str_addc(out, ' ');
    hl_str_addn(out, is_tail ? s + 2 : s, is_tail ? n - 2 : n);
}

static void wordpiece_write(const hl_tok *t, hl_str *json)
{
    const hl_word_rules *r = &from_tok(t)->rules;
    hl_json_put_bool(json, "clean", r->clean);
    hl_json_put_bool(json, "cjk", r->cjk);
    hl_json_put_bool(json, "strip_accents", r->strip_accents);
    hl_json_put_bool(json, "lowercase", r->lowercase);
    hl_subword_write(hl_subword_of(t), json);
}

static hl_status wordpiece_read(const hl_json *object, hl_tok **out)
{
    hl_status st = HL_OK;
    const hl_word_rules rules = {.clean = hl_json_bool(hl_json_get(object, "clean"), true),
                                 .cjk = hl_json_bool(hl_json_get(object, "cjk"), true),
                                 .strip_accents =
                                     hl_json_bool(hl_json_get(object, "strip_accents"), true),
                                 .lowercase = hl_json_bool(hl_json_get(object, "lowercase"), true)};
    hl_subword *w = hl_wordpiece_alloc();
    if (!w)
        return HL_E_NOMEM;
    HL_TRY(hl_subword_read(w, object));
    HL_TRY(hl_wordpiece_finish(w, rules));
    *out = &w->base;
    w = NULL;
out:
    if (w)
        hl_tok_unref(&w->base);
    return st;
}

const hl_tok_ops hl_tok_wordpiece_ops = {.kind = "wordpiece",
                                         .encode = wordpiece_encode,
                                         .decode = wordpiece_decode,
                                         .decodes_specials = true,
                                         .separator = " ",
                                         .write = wordpiece_write,
                                         .read = wordpiece_read,
                                         .done = hl_subword_done};

hl_subword *hl_wordpiece_alloc(void)
{
    hl_tok *t = hl_tok_alloc(&hl_tok_wordpiece_ops, sizeof(wordpiece));
    hl_subword *w = (hl_subword *)(void *)t;
    if (w)
        w->unk = -1;
    return w;
}

hl_status hl_wordpiece_finish(hl_subword *sub, hl_word_rules rules)
{
    wordpiece *w = (wordpiece *)(void *)sub;
    if (sub->unk < 0)
        return hl_err_set(HL_E_FORMAT, "a WordPiece vocabulary needs a token for unknown words, "
                                       "[UNK]; add it, or use another vocabulary");
    w->rules = rules;
    w->hash_tail = hl_piece_hash(HL_HASH_START, (const unsigned char *)"##", 2);
    hl_subword_finish(sub);
    const bool word[4] = {rules.clean, rules.cjk, rules.strip_accents, rules.lowercase};
    sub->base.hash = hl_hash_bytes(sub->base.hash, word, sizeof word);
    return HL_OK;
}
