/* How a token is written for people. */
#include "data/tok/tok_internal.h"

#include <stdio.h>
#include <string.h>

#include "data/tok/tok_unicode.h"

static void spell_byte(char to[16], unsigned char byte)
{
    static const char known[] = "\n\t\r\"\\", letters[] = "ntr\"\\";
    const char *at = byte ? strchr(known, byte) : NULL;
    if (at)
        snprintf(to, 16, "\\%c", letters[at - known]);
    else
        snprintf(to, 16, byte >= 0x20 && byte < 0x7F ? "%c" : "\\x%02x", byte);
}

/* The character or byte at s as it is written; gives the bytes it took. */
static size_t spell_next(const unsigned char *s, size_t n, char to[16])
{
    uint32_t code;
    bool is_valid;
    const size_t len = hl_uni_read(s, n, &code, &is_valid);
    if (code < 0x80 || !is_valid) {
        spell_byte(to, s[0]);
        return 1;
    }
    if (hl_uni_is_space(code) || hl_uni_is_control(code) || hl_uni_is_mark(code))
        snprintf(to, 16, code > 0xFFFF ? "\\U%08x" : "\\u%04x", (unsigned)code);
    else
        snprintf(to, 16, "%.*s", (int)len, (const char *)s);
    return len;
}

/* The text of the token itself is put behind what is there, read, and taken away again, so that a
 * builder with room allocates nothing. */
bool hl_tok_spell(const hl_tok *t, int32_t id, hl_str *out)
{
    static const char more[] = "...";
    char all[HL_TOK_SPELLING_BYTES], one[16];
    const size_t start = out->n;
    size_t n = 0, n_cut = 0; /* n_cut: of whole characters that leave room for `more` */
    if (id < 0 || id >= t->n_vocab || hl_tok_decode(t, &id, 1, out) != HL_OK)
        return false;
    for (size_t at = start; at < out->n;) {
        at += spell_next((const unsigned char *)out->s + at, out->n - at, one);
        const size_t len = strlen(one);
        if (n + len >= sizeof all) {
            memcpy(all + n_cut, more, sizeof more);
            n = n_cut + sizeof more - 1;
            break;
        }
        memcpy(all + n, one, len);
        n += len;
        n_cut = n + sizeof more <= sizeof all ? n : n_cut;
    }
    out->n = start;
    hl_str_addn(out, all, n);
    return !out->failed;
}
