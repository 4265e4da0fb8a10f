/* The tokenizer without a vocabulary: id = byte. */
#include "data/tok/tok_internal.h"

#include "engine/base/hash.h"

static size_t bytes_encode(const hl_tok *t, const unsigned char *bytes, size_t n, int32_t *ids)
{
    (void)t;
    for (size_t i = 0; i < n; i++)
        ids[i] = bytes[i];
    return n;
}

static void bytes_decode(const hl_tok *t, int32_t id, bool is_first, hl_str *out)
{
    (void)t;
    (void)is_first;
    hl_str_addc(out, (char)id);
}

static void bytes_write(const hl_tok *t, hl_str *json)
{
    hl_json_put_bool(json, "mask", t->special[HL_TOK_SPECIAL_MASK] >= 0);
}

static hl_status bytes_read(const hl_json *object, hl_tok **out)
{
    return hl_tok_new_bytes(hl_json_bool(hl_json_get(object, "mask"), false), out);
}

const hl_tok_ops hl_tok_bytes_ops = {.kind = "bytes",
                                     .encode = bytes_encode,
                                     .decode = bytes_decode,
                                     .separator = "",
                                     .write = bytes_write,
                                     .read = bytes_read};

hl_status hl_tok_new_bytes(bool with_mask, hl_tok **out)
{
    hl_tok *t = hl_tok_alloc(&hl_tok_bytes_ops, sizeof *t);
    if (!t)
        return HL_E_NOMEM;
    t->n_plain = 256;
    t->n_vocab = with_mask ? 257 : 256;
    if (with_mask)
        t->special[HL_TOK_SPECIAL_MASK] = 256;
    t->hash = hl_hash_str(HL_HASH_START, with_mask ? "bytes+mask" : "bytes");
    *out = t;
    return HL_OK;
}
