/* Corpora: the tokens of a training and an evaluation part.
 *
 * DESIGN. Tokens are stored in the narrowest unsigned type that holds what the tokenizer can give,
 * and never changed once made. With rows, only whole blocks are stored, one behind the other: to a
 * loader of the same block length they look like any stream. */
#include "data/text/corpus_internal.h"

#include <string.h>

#include "data/text/encode.h"
#include "data/tok/tok_internal.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

struct hl_corpus {
    hl_flag n_refs;
    hl_tok *tok;
    hl_corpus_info info;
    hl_token_list tokens[HL_PART_COUNT];
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

/* Bytes [from, to) of the concatenated files become a part. */
static hl_status encode_range(hl_corpus *c, hl_part part, hl_encode_job job)
{
    hl_status st = HL_OK;
    hl_token_list *list = &c->tokens[part];
    size_t n_bytes = 0;
    int32_t *scratch = hl_encode_scratch(&job);
    if (!scratch)
        return HL_E_NOMEM;
    if (c->tok->ops == &hl_tok_bytes_ops)
        HL_TRY(hl_token_list_reserve(list, job.to - job.from, job.width));
    for (size_t at = job.from; at < job.to;) {
        const size_t end = hl_encode_unit_end(&job, at);
        size_t n;
        HL_TRY(hl_encode_unit(&job, at, end, scratch, list, &n));
        n_bytes += n;
        at = end;
    }
    hl_token_list_shrink(list, job.width);
    hl_corpus_part_info *info = &c->info.part[part];
    info->n_tokens = (int64_t)list->n;
    info->n_bytes = (int64_t)n_bytes;
    info->bytes_per_token = list->n ? (double)n_bytes / (double)list->n : 0;
    if (list->n == 0)
        HL_TRY(no_tokens(&job, part));
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

static void finish_info(hl_corpus *c)
{
    uint64_t h = hl_tok_hash(c->tok);
    const int64_t cut[] = {c->info.rows, c->info.seq_len};
    if (c->info.rows != HL_ROWS_NONE)
        h = hl_hash_bytes(h, cut, sizeof cut);
    for (int part = 0; part < HL_PART_COUNT; part++) {
        const hl_token_list *list = &c->tokens[part];
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
    hl_encode_job job = {.tok = c->tok, .text = p->train, .to = cut, .width = c->info.token_bytes};
    HL_TRY(take_rows(c, p, &job));
    HL_TRY(encode_range(c, HL_PART_TRAIN, job));
    job.from = p->eval ? 0 : cut;
    job.text = p->eval ? p->eval : p->train;
    job.to = hl_text_n_bytes(job.text);
    if (job.from < job.to)
        HL_TRY(encode_range(c, HL_PART_EVAL, job));
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
        hl_token_list_done(&c->tokens[part]);
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
    hl_token_list_read(c->tokens[part].at, c->info.token_bytes, (size_t)first, (size_t)n, ids);
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
