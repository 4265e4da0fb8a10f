/* Corpora: the tokens of a training and an evaluation part.
 *
 * DESIGN. Tokens are stored in the narrowest unsigned type that holds what the tokenizer can give,
 * and never changed once made. With rows, only whole blocks are stored, one behind the other: to a
 * loader of the same block length they look like any stream. */
#include "data/text/corpus_internal.h"

#include <string.h>

#include "data/text/token_cache.h"
#include "data/tok/tok_internal.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

struct hl_corpus {
    hl_flag n_refs;
    hl_tok *tok;
    hl_corpus_info info;
    hl_token_list tokens[HL_PART_COUNT]; /* in memory, or: */
    hl_token_file file;
    const void *at[HL_PART_COUNT]; /* in either */
    char *label[HL_PART_COUNT];
};

hl_corpus_params hl_corpus_params_default(void)
{
    return (hl_corpus_params){.holdout = 0.1, .tok_kind = "bytes", .max_vocab = 8192};
}

static hl_status no_tokens(const hl_encode_job *job, hl_part part)
{
    const char *which = part == HL_PART_TRAIN ? "training" : "evaluation";
    if (job->rows == HL_ROWS_NONE)
        return hl_err_set(HL_E_ARG, "the %s text '%s' gives no tokens; use a longer text", which,
                          hl_text_label(job->text));
    return hl_err_set(HL_E_ARG,
                      "no %d rows of the %s text '%s' fill a block of seq_len %zu, and blocks do "
                      "not go beyond them; use a longer text%s, a smaller seq_len, or rows = "
                      "\"none\"",
                      HL_ROWS_GROUP, which, hl_text_label(job->text), job->seq_len,
                      part == HL_PART_EVAL ? " or a larger holdout" : "");
}

/* The token list of a part while it is filled. */
typedef struct growth {
    hl_token_list *list;
    int width;
    uint64_t n_bytes;
} growth;

static hl_status grow(void *arg, const hl_token_list *tokens, size_t n_bytes, size_t at)
{
    growth *g = arg;
    (void)at;
    g->n_bytes += n_bytes;
    return hl_token_list_join(g->list, tokens, g->width);
}

static hl_status encode_in_memory(hl_corpus *c, hl_team *team,
                                  const hl_encode_job job[HL_PART_COUNT], hl_token_counts *counts)
{
    hl_status st = HL_OK;
    for (int part = 0; part < HL_PART_COUNT && st == HL_OK; part++) {
        const size_t n = job[part].to - job[part].from;
        growth g = {.list = &c->tokens[part], .width = job[part].width};
        if (c->tok->ops == &hl_tok_bytes_ops)
            st = hl_token_list_reserve(g.list, n, g.width);
        if (st == HL_OK && n)
            st = hl_encode_run(&job[part], team, grow, &g);
        hl_token_list_shrink(g.list, g.width);
        c->at[part] = g.list->at;
        counts->n_tokens[part] = g.list->n;
        counts->n_bytes[part] = g.n_bytes;
        c->info.mem_bytes += (int64_t)(g.list->cap * (size_t)g.width);
    }
    return st;
}

static hl_status encode_in_cache(hl_corpus *c, const hl_corpus_params *p,
                                 const hl_token_identity *id,
                                 const hl_encode_job job[HL_PART_COUNT], hl_token_counts *counts)
{
    const hl_token_cache cache = {.dir = p->cache,
                                  .id = *id,
                                  .part = {job[0], job[1]},
                                  .team = p->team,
                                  .on_progress = p->on_progress,
                                  .progress_arg = p->progress_arg};
    hl_status st = hl_token_cache_open(&cache, &c->file);
    if (st != HL_OK)
        return st;
    memcpy(c->at, c->file.at, sizeof c->at);
    *counts = c->file.counts;
    c->info.is_mapped = true;
    c->info.hash = c->file.hash;
    return HL_OK;
}

static hl_status take_counts(hl_corpus *c, const hl_encode_job job[HL_PART_COUNT],
                             const hl_token_counts *counts)
{
    for (int part = 0; part < HL_PART_COUNT; part++) {
        hl_corpus_part_info *info = &c->info.part[part];
        info->n_tokens = (int64_t)counts->n_tokens[part];
        info->n_bytes = (int64_t)counts->n_bytes[part];
        if (info->n_tokens)
            info->bytes_per_token = (double)info->n_bytes / (double)info->n_tokens;
        else if (job[part].from < job[part].to)
            return no_tokens(&job[part], (hl_part)part);
    }
    return HL_OK;
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

static hl_status take_rows(hl_corpus *c, const hl_corpus_params *p, hl_encode_job *job)
{
    job->rows = p->rows;
    if (p->rows == HL_ROWS_NONE)
        return HL_OK;
    if ((unsigned)p->rows >= HL_ROWS_COUNT)
        return hl_err_set(HL_E_ARG, "there are no rows of kind %d", (int)p->rows);
    if (p->seq_len < 2 || p->seq_len > HL_BLOCK_TOKENS_MAX)
        return hl_err_set(HL_E_ARG, "rows = \"%s\" needs a seq_len of 2 .. %d tokens, not %lld",
                          hl_rows_name(p->rows), HL_BLOCK_TOKENS_MAX, (long long)p->seq_len);
    job->seq_len = (size_t)p->seq_len;
    c->info.rows = p->rows;
    c->info.seq_len = p->seq_len;
    return hl_row_frame_of(c->tok, &job->frame);
}

static uint64_t hash_texts(const hl_corpus_params *p, size_t cut)
{
    const uint64_t word[] = {hl_text_fingerprint(p->train), cut,
                             p->eval ? hl_text_fingerprint(p->eval) : 0};
    return hl_hash_bytes(HL_HASH_START, word, sizeof word);
}

/* Both parts become tokens, wherever these are kept. */
static hl_status encode_parts(hl_corpus *c, const hl_corpus_params *p, size_t cut)
{
    const hl_text *eval = p->eval ? p->eval : p->train;
    hl_encode_job job[HL_PART_COUNT] = {
        {.tok = c->tok, .text = p->train, .to = cut, .width = c->info.token_bytes}};
    hl_token_counts counts = {{0}, {0}};
    hl_status st = take_rows(c, p, &job[0]);
    if (st != HL_OK)
        return st;
    job[1] = job[0];
    job[1].text = eval;
    job[1].from = p->eval ? 0 : cut;
    job[1].to = hl_text_n_bytes(eval);
    const hl_token_identity id = {.tok_hash = hl_tok_hash(c->tok),
                                  .text_hash = p->cache ? hash_texts(p, cut) : 0,
                                  .seq_len = (uint64_t)c->info.seq_len,
                                  .rows = (uint32_t)c->info.rows,
                                  .width = (uint32_t)c->info.token_bytes};
    st = p->cache ? encode_in_cache(c, p, &id, job, &counts)
                  : encode_in_memory(c, p->team, job, &counts);
    if (st == HL_OK)
        st = take_counts(c, job, &counts);
    if (st == HL_OK && !p->cache)
        c->info.hash = hl_token_hash(&id, &counts, c->at);
    return st;
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
    HL_TRY(encode_parts(c, p, cut));
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
        hl_token_list_done(&c->tokens[part]);
        hl_free(c->label[part]);
    }
    hl_token_file_close(&c->file);
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
    hl_token_list_read(c->at[part], c->info.token_bytes, (size_t)first, (size_t)n, ids);
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
