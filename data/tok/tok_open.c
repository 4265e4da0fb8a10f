/* Tokenizers from the files they are published in: vocab.txt, vocab.json with merges.txt, and
 * directories; tokenizer.json is read by tok_json.c. Files are taken as hostile. */
#include "data/tok/tok_files.h"

#include "engine/base/fs.h"
#include "engine/base/json.h"

#define FILE_MAX ((size_t)256 << 20)

static hl_status add_specials(hl_subword *w, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        const int32_t id = hl_pieces_find(&w->pieces, names[i], strlen(names[i]));
        hl_status st = id >= 0 ? hl_subword_add_special(w, (hl_added){.id = id}) : HL_OK;
        if (st != HL_OK)
            return st;
    }
    return HL_OK;
}

/* ---- vocab.txt ------------------------------------------------------------------------------- */

static hl_status open_lines(const char *path, hl_tok **out)
{
    static const char *const specials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    hl_status st = HL_OK;
    char *text = NULL;
    size_t n = 0;
    hl_subword *w = hl_wordpiece_alloc();
    if (!w)
        return HL_E_NOMEM;
    HL_TRY(hl_fs_read(path, FILE_MAX, &text, &n));
    HL_TRY_CTX(hl_subword_read_lines(&w->pieces, text, n), "%s", path);
    HL_TRY_CTX(add_specials(w, specials, 5), "%s", path);
    w->unk = hl_pieces_find(&w->pieces, "[UNK]", 5);
    HL_TRY_CTX(hl_wordpiece_finish(w, (hl_word_rules){true, true, true, true}), "%s", path);
    *out = &w->base;
    w = NULL;
out:
    hl_free(text);
    if (w)
        hl_tok_unref(&w->base);
    return st;
}

/* ---- vocab.json and merges.txt --------------------------------------------------------------- */

hl_status hl_tok_read_vocab(const hl_json *object, hl_pieces *out)
{
    hl_status st = HL_OK;
    const size_t n = (size_t)hl_json_len(object);
    if (!hl_json_is_object(object) || n == 0 || n > HL_TOK_WORDS_MAX)
        return hl_err_set(HL_E_FORMAT, "the vocabulary is no object of 1 to %d tokens and ids",
                          HL_TOK_WORDS_MAX);
    const char **spelling = hl_alloc_zero(n, sizeof *spelling);
    if (!spelling)
        return HL_E_NOMEM;
    for (const hl_json *v = hl_json_at(object, 0); v; v = hl_json_next(v)) {
        const int64_t id = hl_json_int(v, -1);
        const char *key = hl_json_key(v);
        if (!hl_json_is_number(v) || id < 0 || id >= (int64_t)n || spelling[id])
            HL_FAIL(
                HL_E_FORMAT,
                "the token '%.40s' has the id %lld; %zu tokens have the ids 0 to %zu, each once",
                key, (long long)id, n, n - 1);
        if (!hl_subword_is_utf8(key, strlen(key)))
            HL_FAIL(HL_E_FORMAT, "token %lld is not UTF-8, or has a line end in it", (long long)id);
        spelling[id] = key;
    }
    for (size_t i = 0; i < n; i++)
        HL_TRY_CTX(hl_pieces_add(out, spelling[i], strlen(spelling[i]), NULL), "token %zu", i);
out:
    hl_free(spelling);
    return st;
}

/* OPT's own tokenizer knows </s> and <pad> only; <s>, <unk> and <mask> in text are spelt out. */
static hl_status add_bpe_specials(hl_subword *w)
{
    static const char *const opt[] = {"</s>", "<pad>"}, *const gpt[] = {"<|endoftext|>"};
    return hl_pieces_find(&w->pieces, "</s>", 4) >= 0 ? add_specials(w, opt, 2)
                                                      : add_specials(w, gpt, 1);
}

static hl_status open_pair(const char *path, const hl_json *vocab, hl_tok **out)
{
    hl_status st = HL_OK;
    size_t n = 0;
    char *merges = NULL, *dir = hl_fs_parent(path),
         *beside = dir ? hl_fs_join(dir, "merges.txt") : NULL;
    hl_subword *w = hl_bpe_alloc();
    if (!w || !beside)
        HL_TRY(HL_E_NOMEM);
    if (!hl_fs_exists(beside))
        HL_FAIL(HL_E_NOTFOUND,
                "no '%s'; a vocab.json needs the merges.txt of its tokenizer beside it", beside);
    HL_TRY(hl_fs_read(beside, FILE_MAX, &merges, &n));
    HL_TRY_CTX(hl_tok_read_vocab(vocab, &w->pieces), "%s", path);
    HL_TRY_CTX(add_bpe_specials(w), "%s", path);
    HL_TRY_CTX(hl_bpe_finish(w, merges, n), "%s", beside);
    *out = &w->base;
    w = NULL;
out:
    if (w)
        hl_tok_unref(&w->base);
    hl_free(merges);
    hl_free(beside);
    hl_free(dir);
    return st;
}

/* A JSON file is what is in it, whatever its name. */
static hl_status open_json(const char *path, hl_tok **out)
{
    hl_status st = HL_OK;
    char *text = NULL;
    size_t n = 0;
    hl_json *root = NULL;
    HL_TRY(hl_fs_read(path, FILE_MAX, &text, &n));
    HL_TRY_CTX(hl_json_parse(text, n, &root), "%s", path);
    if (hl_json_is_object(hl_json_get(root, "model")))
        HL_TRY_CTX(hl_tok_from_tokenizer_json(root, out), "%s", path);
    else if (hl_json_is_string(hl_json_get(root, "format")))
        HL_TRY_CTX(hl_tok_from_json(text, n, out), "%s", path);
    else
        HL_TRY(open_pair(path, root, out));
out:
    hl_json_free(root);
    hl_free(text);
    return st;
}

/* ---- a path ---------------------------------------------------------------------------------- */

static hl_status open_file(const char *path, hl_tok **out)
{
    return hl_str_ends(path, ".json") ? open_json(path, out) : open_lines(path, out);
}

static hl_status open_dir(const char *path, hl_tok **out)
{
    static const char *const names[] = {"tokenizer.json", "vocab.json", "vocab.txt"};
    for (int i = 0; i < 3; i++) {
        char *file = hl_fs_join(path, names[i]);
        if (!file)
            return HL_E_NOMEM;
        const bool is_there = hl_fs_exists(file);
        hl_status st = is_there ? open_file(file, out) : HL_OK;
        hl_free(file);
        if (is_there)
            return st;
    }
    return hl_err_set(HL_E_NOTFOUND,
                      "no tokenizer in the directory '%s': there is neither tokenizer.json nor "
                      "vocab.json (with merges.txt) nor vocab.txt",
                      path);
}

hl_status hl_tok_open(const char *path, hl_tok **out)
{
    if (hl_fs_is_dir(path))
        return open_dir(path, out);
    if (!hl_fs_exists(path))
        return hl_err_set(HL_E_NOTFOUND, "no tokenizer '%s'; check the path", path);
    return open_file(path, out);
}
