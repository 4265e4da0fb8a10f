/* tokenizer.json, as far as it is WordPiece or byte-level BPE. What would change a token and is not
 * known here is refused by name; what is put around texts (post_processor, truncation, padding) and
 * the decoder do not concern the tokens of a text and are passed over. */
#include "data/tok/tok_files.h"

#include "engine/base/mem.h"

static const char *type_of(const hl_json *part)
{
    return hl_json_str(hl_json_get(part, "type"), "");
}

static bool is_absent(const hl_json *v)
{
    return !v || hl_json_is_null(v);
}

static hl_status unsupported(const char *part, const char *type, const char *known)
{
    return hl_err_set(HL_E_UNSUPPORTED, "the %s '%s' is not supported (%s is)", part, type, known);
}

/* A switch that must stand as it is supported. */
static hl_status expect_bool(const hl_json *object, const char *key, bool want)
{
    if (hl_json_bool(hl_json_get(object, key), want) == want)
        return HL_OK;
    return hl_err_set(HL_E_UNSUPPORTED, "\"%s\": %s is not supported", key,
                      want ? "false" : "true");
}

/* ---- added tokens ---------------------------------------------------------------------------- */

/* Those beyond the model's vocabulary come in order of their ids, which the file keeps. */
static hl_status add_token(hl_subword *w, const hl_json *a, bool has_normalizer)
{
    const char *text = hl_json_str(hl_json_get(a, "content"), "");
    const int64_t id = hl_json_int(hl_json_get(a, "id"), -1);
    const size_t n = strlen(text);
    hl_status st = HL_OK;
    HL_TRY(expect_bool(a, "single_word", false));
    if (has_normalizer)
        HL_TRY(expect_bool(a, "normalized", false));
    if (!hl_subword_is_utf8(text, n))
        HL_FAIL(HL_E_FORMAT, "not UTF-8, or a line end in it");
    if (id == (int64_t)w->pieces.n)
        HL_TRY(hl_pieces_add(&w->pieces, text, n, NULL));
    if (n == 0 || hl_pieces_find(&w->pieces, text, n) != id)
        HL_FAIL(HL_E_FORMAT, "its id %lld is not that of the vocabulary, and not the next after it",
                (long long)id);
    const hl_added added = {.id = (int32_t)id,
                            .lstrip = hl_json_bool(hl_json_get(a, "lstrip"), false),
                            .rstrip = hl_json_bool(hl_json_get(a, "rstrip"), false)};
    HL_TRY(hl_subword_add_special(w, added));
out:
    return st == HL_OK ? st : hl_err_context("the added token '%.40s'", text);
}

static hl_status read_added(hl_subword *w, const hl_json *root, bool has_normalizer)
{
    const hl_json *a = hl_json_at(hl_json_get(root, "added_tokens"), 0);
    hl_status st = HL_OK;
    for (; st == HL_OK && a; a = hl_json_next(a))
        st = add_token(w, a, has_normalizer);
    return st;
}

static hl_status read_unk(hl_subword *w, const hl_json *model)
{
    const char *unk = hl_json_str(hl_json_get(model, "unk_token"), NULL);
    if (!unk)
        return HL_OK;
    w->unk = hl_pieces_find(&w->pieces, unk, strlen(unk));
    return w->unk >= 0
               ? HL_OK
               : hl_err_set(HL_E_FORMAT, "the unk_token '%.40s' is not in the vocabulary", unk);
}

/* ---- WordPiece ------------------------------------------------------------------------------- */

static hl_status read_rules(const hl_json *normalizer, hl_word_rules *out)
{
    if (is_absent(normalizer)) {
        *out = (hl_word_rules){0};
        return HL_OK;
    }
    if (strcmp(type_of(normalizer), "BertNormalizer") != 0)
        return unsupported("normalizer", type_of(normalizer), "BertNormalizer");
    out->lowercase = hl_json_bool(hl_json_get(normalizer, "lowercase"), true);
    out->clean = hl_json_bool(hl_json_get(normalizer, "clean_text"), true);
    out->cjk = hl_json_bool(hl_json_get(normalizer, "handle_chinese_chars"), true);
    out->strip_accents = hl_json_bool(hl_json_get(normalizer, "strip_accents"), out->lowercase);
    return HL_OK;
}

static hl_status read_wordpiece(const hl_json *root, const hl_json *model, hl_subword *w)
{
    hl_status st = HL_OK;
    hl_word_rules rules;
    const hl_json *split = hl_json_get(root, "pre_tokenizer");
    HL_TRY(read_rules(hl_json_get(root, "normalizer"), &rules));
    if (strcmp(type_of(split), "BertPreTokenizer") != 0)
        HL_TRY(unsupported("pre_tokenizer", type_of(split), "BertPreTokenizer"));
    const char *prefix = hl_json_str(hl_json_get(model, "continuing_subword_prefix"), "##");
    if (strcmp(prefix, "##") != 0)
        HL_TRY(unsupported("continuing_subword_prefix", prefix, "##"));
    if (hl_json_int(hl_json_get(model, "max_input_chars_per_word"), 100) != HL_WORD_CHARS_MAX)
        HL_FAIL(HL_E_UNSUPPORTED, "max_input_chars_per_word is not %d, which alone is supported",
                HL_WORD_CHARS_MAX);
    HL_TRY(hl_tok_read_vocab(hl_json_get(model, "vocab"), &w->pieces));
    HL_TRY(read_unk(w, model));
    HL_TRY(read_added(w, root, !is_absent(hl_json_get(root, "normalizer"))));
    HL_TRY(hl_wordpiece_finish(w, rules));
out:
    return st;
}

/* ---- BPE ------------------------------------------------------------------------------------- */

static hl_status check_bpe(const hl_json *root, const hl_json *model)
{
    static const char *const off[] = {"fuse_unk", "byte_fallback", "ignore_merges"};
    static const char *const affix[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    hl_status st = HL_OK;
    const hl_json *split = hl_json_get(root, "pre_tokenizer");
    if (!is_absent(hl_json_get(root, "normalizer")))
        HL_TRY(unsupported("normalizer", type_of(hl_json_get(root, "normalizer")), "none"));
    if (strcmp(type_of(split), "ByteLevel") != 0)
        HL_TRY(unsupported("pre_tokenizer", type_of(split), "ByteLevel"));
    HL_TRY(expect_bool(split, "add_prefix_space", false));
    HL_TRY(expect_bool(split, "use_regex", true));
    for (int i = 0; i < 3; i++)
        HL_TRY(expect_bool(model, off[i], false));
    for (int i = 0; i < 2; i++)
        if (*hl_json_str(hl_json_get(model, affix[i]), ""))
            HL_TRY(unsupported(affix[i], hl_json_str(hl_json_get(model, affix[i]), ""), "none"));
    if (hl_json_num(hl_json_get(model, "dropout"), 0) != 0)
        HL_FAIL(HL_E_UNSUPPORTED, "\"dropout\" is not supported: tokens would be random");
out:
    return st;
}

/* "left right", or ["left", "right"], to lines. */
static hl_status join_merges(const hl_json *list, hl_str *out)
{
    size_t number = 0;
    for (const hl_json *m = hl_json_at(list, 0); m; m = hl_json_next(m), number++) {
        const char *left = hl_json_str(m, hl_json_str(hl_json_at(m, 0), NULL));
        const char *right = hl_json_is_array(m) ? hl_json_str(hl_json_at(m, 1), NULL) : "";
        if (!left || !right || strchr(left, '\n') || strchr(right, '\n'))
            return hl_err_set(HL_E_FORMAT, "merge %zu is no pair of tokens", number);
        hl_str_add(out, left);
        if (*right)
            hl_str_addc(out, ' ');
        hl_str_add(out, right);
        hl_str_addc(out, '\n');
    }
    return hl_str_status(out);
}

static hl_status read_bpe(const hl_json *root, const hl_json *model, hl_subword *w)
{
    hl_status st = HL_OK;
    hl_str merges = {0};
    HL_TRY(check_bpe(root, model));
    HL_TRY(hl_tok_read_vocab(hl_json_get(model, "vocab"), &w->pieces));
    HL_TRY(read_unk(w, model));
    HL_TRY(read_added(w, root, false));
    HL_TRY(join_merges(hl_json_get(model, "merges"), &merges));
    HL_TRY(hl_bpe_finish(w, hl_str_text(&merges), merges.n));
out:
    hl_str_done(&merges);
    return st;
}

/* Files of before 2021 name no type; WordPiece alone has this member. */
static bool is_wordpiece(const hl_json *model)
{
    return strcmp(type_of(model), "WordPiece") == 0 ||
           (!*type_of(model) && hl_json_get(model, "max_input_chars_per_word"));
}

hl_status hl_tok_from_tokenizer_json(const hl_json *root, hl_tok **out)
{
    hl_status st = HL_OK;
    const hl_json *model = hl_json_get(root, "model");
    const bool wordpiece = is_wordpiece(model);
    if (!wordpiece && strcmp(type_of(model), "BPE") != 0 && *type_of(model))
        return unsupported("model", type_of(model), "WordPiece or BPE");
    hl_subword *w = wordpiece ? hl_wordpiece_alloc() : hl_bpe_alloc();
    if (!w)
        return HL_E_NOMEM;
    HL_TRY(wordpiece ? read_wordpiece(root, model, w) : read_bpe(root, model, w));
    *out = &w->base;
    w = NULL;
out:
    if (w)
        hl_tok_unref(&w->base);
    return st;
}
