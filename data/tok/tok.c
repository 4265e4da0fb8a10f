/* What all tokenizers share: life time, JSON frame, specials in decoded text. */
#include "data/tok/tok_internal.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define FORMAT  "hoplab-tokenizer"
#define VERSION 1

/* the first two are made from a text alone */
static const hl_tok_ops *const kinds[] = {&hl_tok_bytes_ops, &hl_tok_words_ops,
                                          &hl_tok_wordpiece_ops, &hl_tok_bpe_ops};
static const char *const own_kinds[] = {"bytes", "words"};
#define N_KINDS (int)(sizeof kinds / sizeof *kinds)
#define N_OWN   (int)(sizeof own_kinds / sizeof *own_kinds)

const char *hl_tok_special_name(hl_tok_special which)
{
    static const char *const names[HL_TOK_SPECIAL_COUNT] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]",
                                                            "[MASK]"};
    return names[which];
}

hl_tok *hl_tok_alloc(const hl_tok_ops *ops, size_t size)
{
    hl_tok *t = hl_alloc_zero(1, size);
    if (!t)
        return NULL;
    t->ops = ops;
    hl_flag_set(&t->n_refs, 1);
    for (int i = 0; i < HL_TOK_SPECIAL_COUNT; i++)
        t->special[i] = -1;
    return t;
}

hl_tok *hl_tok_ref(hl_tok *t)
{
    hl_flag_add(&t->n_refs, 1);
    return t;
}

void hl_tok_unref(hl_tok *t)
{
    if (!t || hl_flag_add(&t->n_refs, -1) > 0)
        return;
    if (t->ops->done)
        t->ops->done(t);
    hl_free(t);
}

const char *hl_tok_kind(const hl_tok *t)
{
    return t->ops->kind;
}

int32_t hl_tok_n_vocab(const hl_tok *t)
{
    return t->n_vocab;
}

uint64_t hl_tok_hash(const hl_tok *t)
{
    return t->hash;
}

int32_t hl_tok_special_id(const hl_tok *t, hl_tok_special which)
{
    return (unsigned)which < HL_TOK_SPECIAL_COUNT ? t->special[which] : -1;
}

size_t hl_tok_encode(const hl_tok *t, const void *bytes, size_t n, int32_t *ids)
{
    return t->ops->encode(t, bytes, n, ids);
}

size_t hl_tok_room(const hl_tok *t, size_t n)
{
    return t->ops->ids_per_byte ? n * (size_t)t->ops->ids_per_byte : n;
}

static const char *special_text(const hl_tok *t, int32_t id)
{
    if (t->ops->decodes_specials)
        return NULL;
    for (int i = 0; i < HL_TOK_SPECIAL_COUNT; i++)
        if (t->special[i] == id)
            return hl_tok_special_name((hl_tok_special)i);
    return NULL;
}

hl_status hl_tok_decode(const hl_tok *t, const int32_t *ids, size_t n, hl_str *out)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= t->n_vocab)
            return hl_err_set(HL_E_ARG,
                              "token id %d is outside the %s vocabulary of %d ids (0 .. %d)",
                              (int)ids[i], t->ops->kind, (int)t->n_vocab, (int)t->n_vocab - 1);
    for (size_t i = 0; i < n; i++) {
        const char *special = special_text(t, ids[i]);
        if (special && i > 0)
            hl_str_add(out, t->ops->separator);
        if (special)
            hl_str_add(out, special);
        else
            t->ops->decode(t, ids[i], i == 0, out);
    }
    return hl_str_status(out);
}

bool hl_tok_is_path(const char *kind)
{
    for (int i = 0; i < N_OWN; i++)
        if (strcmp(own_kinds[i], kind) == 0)
            return false;
    return strchr(kind, '/') || hl_fs_exists(kind);
}

hl_status hl_tok_check_kind(const char *kind)
{
    for (int i = 0; i < N_OWN; i++)
        if (strcmp(own_kinds[i], kind) == 0)
            return HL_OK;
    for (int i = N_OWN; i < N_KINDS; i++)
        if (strcmp(kinds[i]->kind, kind) == 0)
            return hl_err_set(HL_E_ARG,
                              "a %s tokenizer needs a vocabulary; name its file or directory, e.g. "
                              "\"bert-base-uncased/vocab.txt\"",
                              kind);
    int near = hl_str_nearest(kind, own_kinds, N_OWN);
    if (near >= 0)
        return hl_err_set(HL_E_ARG, "unknown tokenizer '%s' (did you mean '%s'?)", kind,
                          own_kinds[near]);
    return hl_err_set(HL_E_ARG,
                      "unknown tokenizer '%s'; there are 'bytes' and 'words', or give the path of "
                      "a vocabulary (vocab.txt, tokenizer.json, or a directory with one)",
                      kind);
}

static const char *format_hash(char buf[20], uint64_t hash)
{
    snprintf(buf, 20, "%016llx", (unsigned long long)hash);
    return buf;
}

hl_status hl_tok_to_json(const hl_tok *t, hl_str *out)
{
    char hash[20];
    hl_json_begin(out, '{');
    hl_json_put_str(out, "format", FORMAT);
    hl_json_put_int(out, "version", VERSION);
    hl_json_put_str(out, "kind", t->ops->kind);
    hl_json_put_int(out, "n_vocab", t->n_vocab);
    hl_json_put_str(out, "hash", format_hash(hash, t->hash));
    t->ops->write(t, out);
    hl_json_end(out, '}');
    return hl_str_status(out);
}

static hl_status read_kind(const hl_json *root, hl_tok **out)
{
    const char *kind = hl_json_str(hl_json_get(root, "kind"), "");
    for (int i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i]->kind, kind) == 0)
            return kinds[i]->read(root, out);
    return hl_err_set(HL_E_UNSUPPORTED,
                      "this is a '%s' tokenizer; 'bytes', 'words', 'wordpiece' and 'bpe' can be "
                      "read",
                      kind);
}

hl_status hl_tok_from_json(const char *json, size_t n, hl_tok **out)
{
    hl_status st = HL_OK;
    hl_json *root = NULL;
    hl_tok *t = NULL;
    char hash[20];
    HL_TRY_CTX(hl_json_parse(json, n, &root), "tokenizer");
    if (strcmp(hl_json_str(hl_json_get(root, "format"), ""), FORMAT) != 0)
        HL_FAIL(HL_E_FORMAT, "not a tokenizer: the member \"format\" is not \"" FORMAT "\"");
    if (hl_json_int(hl_json_get(root, "version"), 0) != VERSION)
        HL_FAIL(HL_E_UNSUPPORTED, "tokenizer of version %lld; this program reads version %d",
                (long long)hl_json_int(hl_json_get(root, "version"), 0), VERSION);
    HL_TRY(read_kind(root, &t));
    if (HL_NEVER(!t))
        HL_FAIL(HL_E_INTERNAL, "reading a tokenizer gave none");
    if (hl_json_int(hl_json_get(root, "n_vocab"), -1) != t->n_vocab ||
        strcmp(hl_json_str(hl_json_get(root, "hash"), ""), format_hash(hash, t->hash)) != 0)
        HL_FAIL(HL_E_FORMAT,
                "damaged tokenizer: its %d tokens do not fit the size and hash stored with them",
                (int)t->n_vocab);
    *out = t;
    t = NULL;
out:
    hl_tok_unref(t);
    hl_json_free(root);
    return st;
}
