/* hoplab data tokenize TEXT ...: what a tokenizer makes of texts, and learning one from them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/data_cmd.h"
#include "data/hl_data.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

enum { AT_ONCE = 1 << 16, VOCAB_MAX = HL_TOK_WORDS_MAX };

typedef struct job {
    hl_cli *cli;
    hl_text *text;
    hl_tok *tok; /* NULL: the corpus makes one, by --tokens */
    hl_corpus *corpus;
} job;

static hl_status open_texts(job *j)
{
    const size_t n = hl_cli_args_n(j->cli) - 1;
    const char **paths = hl_alloc_zero(n, sizeof *paths);
    if (!paths)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n; i++)
        paths[i] = hl_cli_arg(j->cli, i + 1);
    hl_status st = hl_text_open(paths, n, &j->text);
    hl_free(paths);
    return st;
}

static hl_status train(job *j)
{
    hl_tok_train_params p = hl_tok_train_params_default();
    p.kind = hl_cli_str(j->cli, "train");
    p.n_vocab = (int32_t)hl_cli_int(j->cli, "vocab");
    p.min_count = hl_cli_int(j->cli, "min-count");
    hl_status st = hl_tok_train(j->text, &p, &j->tok);
    return st == HL_OK ? hl_tok_save(j->tok, hl_cli_str(j->cli, "output")) : st;
}

static hl_status encode(job *j)
{
    hl_corpus_params p = hl_corpus_params_default();
    p.train = j->text;
    p.holdout = 0;
    p.tok = j->tok;
    p.tok_kind = hl_cli_str(j->cli, "tokens");
    p.max_vocab = (int32_t)hl_cli_int(j->cli, "vocab");
    return hl_corpus_new(&p, &j->corpus);
}

/* Goes over all tokens: prints them, one per line, or counts the unknown. */
static hl_status visit(const job *j, bool print, int64_t *n_unknown)
{
    const hl_corpus_part_info *part = &hl_corpus_get_info(j->corpus)->part[HL_PART_TRAIN];
    const int32_t unknown = hl_tok_special_id(hl_corpus_tok(j->corpus), HL_TOK_SPECIAL_UNK);
    FILE *out = hl_cli_out(j->cli);
    hl_status st = HL_OK;
    int32_t *ids = hl_alloc_zero(AT_ONCE, sizeof *ids);
    if (!ids)
        return HL_E_NOMEM;
    for (int64_t at = 0; at < part->n_tokens; at += AT_ONCE) {
        const int64_t n = part->n_tokens - at < AT_ONCE ? part->n_tokens - at : AT_ONCE;
        HL_TRY(hl_corpus_read(j->corpus, HL_PART_TRAIN, at, n, ids));
        for (int64_t i = 0; i < n; i++) {
            *n_unknown += ids[i] == unknown;
            if (print && fprintf(out, "%d\n", (int)ids[i]) < 0)
                goto out; /* nobody reads on */
        }
    }
out:
    hl_free(ids);
    return st;
}

static hl_status report(const job *j)
{
    int64_t n_unknown = 0;
    const bool ids = hl_cli_flag(j->cli, "ids");
    hl_status st = visit(j, ids, &n_unknown);
    if (st != HL_OK || ids)
        return st;
    const hl_corpus_part_info *part = &hl_corpus_get_info(j->corpus)->part[HL_PART_TRAIN];
    const hl_tok *t = hl_corpus_tok(j->corpus);
    FILE *out = hl_cli_out(j->cli);
    fprintf(out, "text       ");
    hl_cli_put_text(j->cli, part->label);
    fprintf(out, ", %lld bytes\ntokenizer  %s, %d tokens", (long long)part->n_bytes, hl_tok_kind(t),
            (int)hl_tok_n_vocab(t));
    if (hl_cli_given(j->cli, "train")) {
        fprintf(out, ", in ");
        hl_cli_put_text(j->cli, hl_cli_str(j->cli, "output"));
    }
    fprintf(out, "\ntokens     %lld, %.3f bytes each\nunknown    %lld (%.2f %%)\n",
            (long long)part->n_tokens, part->bytes_per_token, (long long)n_unknown,
            100.0 * (double)n_unknown / (double)part->n_tokens);
    return HL_OK;
}

/* A wrong word on the command line, or HL_EXIT_DONE. */
static int check_options(const hl_cli *cli)
{
    const char *kind = hl_cli_str(cli, "train");
    const int64_t n_vocab = hl_cli_int(cli, "vocab");
    if (kind && strcmp(kind, "bpe") != 0 && strcmp(kind, "wordpiece") != 0)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--train takes bpe or wordpiece, not '%s'",
                               kind);
    if (kind && !hl_cli_given(cli, "output"))
        return hl_cli_complain(cli, HL_EXIT_USAGE,
                               "say where the vocabulary goes: --output DIRECTORY");
    if (kind && hl_cli_given(cli, "tokens"))
        return hl_cli_complain(cli, HL_EXIT_USAGE,
                               "--train makes a tokenizer, --tokens takes "
                               "one; give one of them");
    if (n_vocab < 1 || n_vocab > VOCAB_MAX || hl_cli_int(cli, "min-count") < 0)
        return hl_cli_complain(cli, HL_EXIT_USAGE,
                               "--vocab takes 1 to %d, --min-count nothing below 0", VOCAB_MAX);
    return HL_EXIT_DONE;
}

static int run(hl_cli *cli)
{
    job j = {.cli = cli};
    int status = check_options(cli);
    if (status != HL_EXIT_DONE)
        return status;
    hl_status st = open_texts(&j);
    if (st == HL_OK && hl_cli_given(cli, "train"))
        st = train(&j);
    if (st == HL_OK)
        st = encode(&j);
    if (st == HL_OK)
        st = report(&j);
    /* a tokenizer that cannot be read is bad input here, not a failed run */
    if (st == HL_E_UNSUPPORTED)
        status = hl_cli_complain(cli, HL_EXIT_INPUT, "%s", hl_err_message());
    else if (st != HL_OK)
        status = hl_cli_fail(cli, st);
    hl_corpus_unref(j.corpus);
    hl_tok_unref(j.tok);
    hl_text_close(j.text);
    return status;
}

const hl_data_command hl_data_cmd_tokenize = {.name = "tokenize",
                                              .usage = "TEXT ...",
                                              .options = "tokens ids train vocab min-count output",
                                              .n_args_min = 1,
                                              .n_args_max = -1,
                                              .run = run};
