/* Corpora: the tokens of a training and an evaluation part.
 *
 * DESIGN. A text is encoded in chunks that end at a line start or white space, into a scratch array
 * of i32, and stored in the narrowest unsigned type that holds what the tokenizer can give. The
 * chunk size is fixed, so tokens do not depend on memory or threads. Never changed once made. */
#include "data/text/corpus_internal.h"

#include <string.h>

#include "data/text/text_internal.h"
#include "data/tok/tok_internal.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

#define CHUNK_BYTES  ((size_t)256 << 10)
#define CHUNK_WINDOW ((size_t)4096)

typedef struct token_list {
    void *at;
    size_t n, cap; /* in tokens */
} token_list;

struct hl_corpus {
    hl_flag n_refs;
    hl_tok *tok;
    hl_corpus_info info;
    token_list tokens[HL_PART_COUNT];
    char *label[HL_PART_COUNT];
};

hl_corpus_params hl_corpus_params_default(void)
{
    return (hl_corpus_params){.holdout = 0.1, .tok_kind = "bytes", .max_vocab = 8192};
}

static hl_status reserve(token_list *list, size_t n_want, int width)
{
    if (n_want <= list->cap)
        return HL_OK;
    size_t n = list->cap + list->cap / 2, n_bytes;
    if (n < n_want)
        n = n_want;
    if (!hl_mul_size(n, (size_t)width, &n_bytes))
        return hl_err_nomem("the tokens of a text", SIZE_MAX);
    void *p = hl_realloc(list->at, n_bytes);
    if (!p)
        return HL_E_NOMEM;
    list->at = p;
    list->cap = n;
    return HL_OK;
}

static hl_status append(token_list *list, const int32_t *ids, size_t n, int width)
{
    hl_status st = reserve(list, list->n + n, width);
    if (st != HL_OK)
        return st;
    if (width == 1)
        for (size_t i = 0; i < n; i++)
            ((uint8_t *)list->at)[list->n + i] = (uint8_t)ids[i];
    else if (width == 2)
        for (size_t i = 0; i < n; i++)
            ((uint16_t *)list->at)[list->n + i] = (uint16_t)ids[i];
    else
        for (size_t i = 0; i < n; i++)
            ((uint32_t *)list->at)[list->n + i] = (uint32_t)ids[i];
    list->n += n;
    return HL_OK;
}

/* Gives back what growth left over; keeping it is no fault. */
static void shrink(token_list *list, int width)
{
    void *p = list->n && list->n < list->cap ? hl_realloc(list->at, list->n * (size_t)width) : NULL;
    if (p) {
        list->at = p;
        list->cap = list->n;
    } else {
        hl_err_clear();
    }
}

static hl_status encode_span(hl_corpus *c, hl_text_span s, int32_t *scratch, token_list *list)
{
    for (size_t at = 0; at < s.n;) {
        size_t end = s.n;
        if (s.n - at > CHUNK_BYTES)
            end = c->tok->ops->keeps_space_ahead
                      ? hl_text_break_ahead(s, at + CHUNK_BYTES, CHUNK_WINDOW)
                      : hl_text_break(s, at + CHUNK_BYTES, CHUNK_WINDOW);
        size_t n = hl_tok_encode(c->tok, s.bytes + at, end - at, scratch);
        HL_ASSERT(n <= hl_tok_room(c->tok, end - at));
        hl_status st = append(list, scratch, n, c->info.token_bytes);
        if (st != HL_OK)
            return st;
        at = end;
    }
    return HL_OK;
}

/* Bytes [from, to) of the concatenated files become a part. */
static hl_status encode_range(hl_corpus *c, hl_part part, const hl_text *text, size_t from,
                              size_t to)
{
    hl_status st = HL_OK;
    token_list *list = &c->tokens[part];
    int32_t *scratch =
        hl_alloc_zero(hl_tok_room(c->tok, CHUNK_BYTES + CHUNK_WINDOW + 8), sizeof *scratch);
    if (!scratch)
        return HL_E_NOMEM;
    if (c->tok->ops == &hl_tok_bytes_ops)
        HL_TRY(reserve(list, to - from, c->info.token_bytes));
    size_t start = 0;
    for (size_t i = 0; i < hl_text_n_files(text); i++) {
        hl_text_span s = hl_text_file(text, i);
        size_t begin = from > start ? from - start : 0, end = to > start ? to - start : 0;
        start += s.n;
        if (end > s.n)
            end = s.n;
        if (begin < end)
            HL_TRY(encode_span(c, (hl_text_span){s.bytes + begin, end - begin}, scratch, list));
    }
    shrink(list, c->info.token_bytes);
    hl_corpus_part_info *info = &c->info.part[part];
    info->n_tokens = (int64_t)list->n;
    info->n_bytes = (int64_t)(to - from);
    info->bytes_per_token = list->n ? (double)info->n_bytes / (double)list->n : 0;
    if (list->n == 0)
        HL_FAIL(HL_E_ARG, "the %s text '%s' gives no tokens; use a longer text",
                part == HL_PART_TRAIN ? "training" : "evaluation", hl_text_label(text));
out:
    hl_free(scratch);
    return st;
}

/* Where the training part ends in params->train. */
static hl_status find_cut(const hl_corpus_params *p, size_t *cut)
{
    size_t n = hl_text_n_bytes(p->train);
    *cut = n;
    if (p->eval)
        return HL_OK;
    if (!(p->holdout >= 0 && p->holdout < 1))
        return hl_err_set(HL_E_ARG,
                          "holdout = %g is out of range: 0 <= holdout < 1, e.g. 0.1 for "
                          "the last tenth",
                          p->holdout);
    if (p->holdout == 0.0)
        return HL_OK;
    *cut = hl_text_cut(p->train, p->holdout);
    if (*cut == 0 || *cut == n)
        return hl_err_set(HL_E_ARG,
                          "holdout = %g of '%s' (%zu bytes) leaves no text for %s; use a longer "
                          "text or name an evaluation text",
                          p->holdout, hl_text_label(p->train), n,
                          *cut == n ? "evaluation" : "training");
    return HL_OK;
}

static hl_status make_tok(const hl_corpus_params *p, size_t cut, hl_tok **out)
{
    if (p->tok) {
        *out = hl_tok_ref(p->tok);
        return HL_OK;
    }
    const char *kind = p->tok_kind ? p->tok_kind : "bytes";
    if (hl_tok_is_path(kind))
        return hl_tok_open(kind, out);
    hl_status st = hl_tok_check_kind(kind);
    if (st != HL_OK)
        return st;
    if (strcmp(kind, hl_tok_words_ops.kind) == 0)
        return hl_tok_new_words(p->train, cut, p->max_vocab, out);
    return hl_tok_new_bytes(p->with_mask, out);
}

static hl_status make_labels(hl_corpus *c, const hl_corpus_params *p)
{
    hl_str eval = {0};
    if (p->eval)
        hl_str_add(&eval, hl_text_label(p->eval));
    else if (p->holdout == 0.0)
        hl_str_add(&eval, "(no evaluation part)");
    else
        hl_str_addf(&eval, "%s (last %.3g %%)", hl_text_label(p->train), 100 * p->holdout);
    c->label[HL_PART_EVAL] = eval.s;
    hl_status st = hl_str_status(&eval);
    if (st != HL_OK)
        return st;
    c->label[HL_PART_TRAIN] = hl_strdup(hl_text_label(p->train));
    if (!c->label[HL_PART_TRAIN])
        return HL_E_NOMEM;
    c->info.label = c->info.part[HL_PART_TRAIN].label = c->label[HL_PART_TRAIN];
    c->info.part[HL_PART_EVAL].label = c->label[HL_PART_EVAL];
    return HL_OK;
}

static void finish_info(hl_corpus *c)
{
    uint64_t h = hl_tok_hash(c->tok);
    for (int part = 0; part < HL_PART_COUNT; part++) {
        const token_list *list = &c->tokens[part];
        h = hl_hash_bytes(h, &list->n, sizeof list->n);
        h = hl_hash_bytes(h, list->at, list->n * (size_t)c->info.token_bytes);
        c->info.mem_bytes += (int64_t)(list->cap * (size_t)c->info.token_bytes);
    }
    c->info.hash = h;
}

hl_status hl_corpus_new(const hl_corpus_params *p, hl_corpus **out)
{
    hl_status st = HL_OK;
    size_t cut;
    if (!p->train)
        return hl_err_set(HL_E_ARG, "a corpus needs a training text; none is given");
    hl_corpus *c = hl_alloc_zero(1, sizeof *c);
    if (!c)
        return HL_E_NOMEM;
    hl_flag_set(&c->n_refs, 1);
    HL_TRY(find_cut(p, &cut));
    HL_TRY(make_tok(p, cut, &c->tok));
    HL_TRY(make_labels(c, p));
    c->info.is_generated =
        hl_text_is_generated(p->train) || (p->eval && hl_text_is_generated(p->eval));
    c->info.token_bytes = c->tok->n_plain <= 1 << 8 ? 1 : c->tok->n_plain <= 1 << 16 ? 2 : 4;
    HL_TRY(encode_range(c, HL_PART_TRAIN, p->train, 0, cut));
    if (p->eval)
        HL_TRY(encode_range(c, HL_PART_EVAL, p->eval, 0, hl_text_n_bytes(p->eval)));
    else if (cut < hl_text_n_bytes(p->train))
        HL_TRY(encode_range(c, HL_PART_EVAL, p->train, cut, hl_text_n_bytes(p->train)));
    finish_info(c);
    *out = c;
    c = NULL;
out:
    hl_corpus_unref(c);
    return st;
}

hl_corpus *hl_corpus_ref(hl_corpus *c)
{
    hl_flag_add(&c->n_refs, 1);
    return c;
}

void hl_corpus_unref(hl_corpus *c)
{
    if (!c || hl_flag_add(&c->n_refs, -1) > 0)
        return;
    for (int part = 0; part < HL_PART_COUNT; part++) {
        hl_free(c->tokens[part].at);
        hl_free(c->label[part]);
    }
    hl_tok_unref(c->tok);
    hl_free(c);
}

const hl_corpus_info *hl_corpus_get_info(const hl_corpus *c)
{
    return &c->info;
}

hl_tok *hl_corpus_tok(const hl_corpus *c)
{
    return c->tok;
}

void hl_corpus_copy(const hl_corpus *c, hl_part part, int64_t first, int64_t n, int32_t *ids)
{
    HL_ASSERT(first >= 0 && n >= 0 && first + n <= c->info.part[part].n_tokens);
    const void *at = c->tokens[part].at;
    if (c->info.token_bytes == 1)
        for (int64_t i = 0; i < n; i++)
            ids[i] = ((const uint8_t *)at)[first + i];
    else if (c->info.token_bytes == 2)
        for (int64_t i = 0; i < n; i++)
            ids[i] = ((const uint16_t *)at)[first + i];
    else
        for (int64_t i = 0; i < n; i++)
            ids[i] = (int32_t)((const uint32_t *)at)[first + i];
}

hl_status hl_corpus_read(const hl_corpus *c, hl_part part, int64_t first, int64_t n, int32_t *ids)
{
    if ((unsigned)part >= HL_PART_COUNT)
        return hl_err_set(HL_E_ARG, "corpus '%s' has no part %d", c->info.label, (int)part);
    int64_t have = c->info.part[part].n_tokens;
    if (first < 0 || n < 0 || first > have || n > have - first)
        return hl_err_set(
            HL_E_ARG, "%lld tokens from token %lld are outside the part '%s', which has %lld",
            (long long)n, (long long)first, c->info.part[part].label, (long long)have);
    hl_corpus_copy(c, part, first, n, ids);
    return HL_OK;
}
