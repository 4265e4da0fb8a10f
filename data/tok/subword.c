#include "data/tok/subword.h"

#include "data/tok/tok_unicode.h"
#include "engine/base/mem.h"

/* ---- specials in text ------------------------------------------------------------------------ */

/* The longest added token at s, or NULL. Few tokens share a first byte, so a list will do. */
static const hl_added *added_at(const hl_subword *w, const unsigned char *s, size_t n, size_t *len)
{
    const hl_added *best = NULL;
    *len = 0;
    for (size_t i = 0; i < w->added.n; i++) {
        size_t m;
        const char *text = hl_pieces_at(&w->pieces, w->added.at[i].id, &m);
        if (m > *len && m <= n && memcmp(s, text, m) == 0) {
            best = &w->added.at[i];
            *len = m;
        }
    }
    return best;
}

static size_t skip_space(const unsigned char *s, size_t at, size_t n)
{
    while (at < n) {
        uint32_t code;
        bool is_valid;
        const size_t len = hl_uni_read(s + at, n - at, &code, &is_valid);
        if (!hl_uni_is_space(code))
            break;
        at += len;
    }
    return at;
}

/* Where the white space that ends at `end` begins, not before `from`. */
static size_t space_before(const unsigned char *s, size_t from, size_t end)
{
    while (end > from) {
        size_t at = end - 1;
        while (at > from && end - at < 4 && (s[at] & 0xC0) == 0x80)
            at--;
        uint32_t code;
        bool is_valid;
        if (hl_uni_read(s + at, end - at, &code, &is_valid) != end - at || !hl_uni_is_space(code))
            break;
        end = at;
    }
    return end;
}

size_t hl_subword_encode(const hl_subword *w, const unsigned char *s, size_t n, int32_t *ids,
                         hl_subword_segment segment)
{
    size_t n_ids = 0, from = 0, at = 0;
    while (at < n) {
        size_t len = 0;
        const hl_added *a = w->first[s[at]] ? added_at(w, s + at, n - at, &len) : NULL;
        if (!a) {
            at++;
            continue;
        }
        const size_t end = a->lstrip ? space_before(s, from, at) : at;
        n_ids += segment(w, s + from, end - from, ids + n_ids);
        ids[n_ids++] = a->id;
        at += len;
        if (a->rstrip)
            at = skip_space(s, at, n);
        from = at;
    }
    return n_ids + segment(w, s + from, n - from, ids + n_ids);
}

/* ---- making ---------------------------------------------------------------------------------- */

hl_status hl_subword_add_special(hl_subword *w, hl_added added)
{
    if (added.id < 0 || (size_t)added.id >= w->pieces.n)
        return hl_err_set(HL_E_FORMAT, "special token %d is outside the vocabulary of %zu",
                          (int)added.id, w->pieces.n);
    for (size_t i = 0; i < w->added.n; i++)
        if (w->added.at[i].id == added.id)
            return hl_err_set(HL_E_FORMAT, "special token %d is there twice", (int)added.id);
    size_t n;
    w->first[(unsigned char)hl_pieces_at(&w->pieces, added.id, &n)[0]] = true;
    return hl_vec_push(&w->added, added);
}

/* The spellings of BERT, then those of RoBERTa and OPT, then GPT-2's single one, which ends texts.
 */
static int32_t find_role(const hl_pieces *p, hl_tok_special role)
{
    static const char *const names[HL_TOK_SPECIAL_COUNT][3] = {{"[PAD]", "<pad>", NULL},
                                                               {"[UNK]", "<unk>", NULL},
                                                               {"[CLS]", "<s>", NULL},
                                                               {"[SEP]", "</s>", "<|endoftext|>"},
                                                               {"[MASK]", "<mask>", NULL}};
    for (int i = 0; i < 3 && names[role][i]; i++) {
        const int32_t id = hl_pieces_find(p, names[role][i], strlen(names[role][i]));
        if (id >= 0)
            return id;
    }
    return -1;
}

void hl_subword_finish(hl_subword *w)
{
    hl_tok *t = &w->base;
    t->n_vocab = t->n_plain = (int32_t)w->pieces.n;
    for (int i = 0; i < HL_TOK_SPECIAL_COUNT; i++)
        t->special[i] = find_role(&w->pieces, (hl_tok_special)i);
    uint64_t h = hl_hash_str(HL_HASH_START, t->ops->kind);
    h = hl_hash_bytes(h, w->pieces.start, (w->pieces.n + 1) * sizeof *w->pieces.start);
    h = hl_hash_bytes(h, w->pieces.chars, w->pieces.n_chars);
    for (size_t i = 0; i < w->added.n; i++) {
        const hl_added *a = &w->added.at[i];
        const int32_t word[3] = {a->id, a->lstrip, a->rstrip};
        h = hl_hash_bytes(h, word, sizeof word);
    }
    t->hash = hl_hash_bytes(h, &w->unk, sizeof w->unk);
}

bool hl_subword_is_utf8(const char *s, size_t n)
{
    for (size_t at = 0; at < n;) {
        uint32_t code;
        bool is_valid;
        at += hl_uni_read((const unsigned char *)s + at, n - at, &code, &is_valid);
        if (!is_valid || code == 0 || code == '\n' || code == '\r')
            return false;
    }
    return true;
}

hl_status hl_subword_read_lines(hl_pieces *p, const char *s, size_t n)
{
    size_t number = 0;
    for (size_t at = 0; at < n; number++) {
        const char *end = memchr(s + at, '\n', n - at);
        size_t len = end ? (size_t)(end - (s + at)) : n - at;
        const size_t next = at + len + 1;
        if (len && s[at + len - 1] == '\r')
            len--;
        int32_t twin = -1;
        hl_status st =
            hl_subword_is_utf8(s + at, len)
                ? hl_pieces_add(p, s + at, len, &twin)
                : hl_err_set(HL_E_FORMAT, "not UTF-8 text; a vocabulary has one token per line");
        if (st != HL_OK)
            return twin < 0 ? hl_err_context("line %zu", number + 1)
                            : hl_err_context("line %zu (and %d)", number + 1, (int)twin + 1);
        at = next;
    }
    return p->n ? HL_OK : hl_err_set(HL_E_FORMAT, "no tokens; a vocabulary has one per line");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* One string, a token per line: a list node per token would cost four times the memory. */
void hl_subword_write(const hl_subword *w, hl_str *json)
{
    hl_str all = {0};
    hl_pieces_join(&w->pieces, &all);
    hl_json_put_str(json, "tokens", hl_str_text(&all));
    json->failed = json->failed || all.failed;
    hl_str_done(&all);
    hl_json_put_int(json, "unk", w->unk);
    hl_json_add_key(json, "specials");
    hl_json_begin(json, '[');
    for (size_t i = 0; i < w->added.n; i++) {
        const hl_added *a = &w->added.at[i];
        hl_json_begin(json, '{');
        hl_json_put_int(json, "id", a->id);
        hl_json_put_bool(json, "lstrip", a->lstrip);
        hl_json_put_bool(json, "rstrip", a->rstrip);
        hl_json_end(json, '}');
    }
    hl_json_end(json, ']');
}

hl_status hl_subword_read(hl_subword *w, const hl_json *object)
{
    hl_status st = HL_OK;
    const char *all = hl_json_str(hl_json_get(object, "tokens"), "");
    HL_TRY_CTX(hl_subword_read_lines(&w->pieces, all, strlen(all)), "damaged tokenizer");
    const int64_t unk = hl_json_int(hl_json_get(object, "unk"), -1);
    if (unk < -1 || unk >= (int64_t)w->pieces.n)
        HL_FAIL(HL_E_FORMAT, "damaged tokenizer: the id of unknown words is %lld", (long long)unk);
    w->unk = (int32_t)unk;
    const hl_json *a = hl_json_at(hl_json_get(object, "specials"), 0);
    for (; a; a = hl_json_next(a)) {
        const int64_t id = hl_json_int(hl_json_get(a, "id"), -1);
        const hl_added added = {.id = id >= 0 && id < HL_TOK_WORDS_MAX ? (int32_t)id : -1,
                                .lstrip = hl_json_bool(hl_json_get(a, "lstrip"), false),
                                .rstrip = hl_json_bool(hl_json_get(a, "rstrip"), false)};
        HL_TRY_CTX(hl_subword_add_special(w, added), "damaged tokenizer");
    }
out:
    return st;
}

void hl_subword_done(hl_tok *t)
{
    hl_subword *w = (hl_subword *)(void *)t;
    hl_pieces_done(&w->pieces);
    hl_vec_done(&w->added);
}
