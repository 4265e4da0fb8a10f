#include "data/tok/tok_bpe.h"
#include "data/tok/tok_unicode.h"

/* Bytes 33 .. 126, 161 .. 172 and 174 .. 255 stand for themselves; the others for U+0100 and on. */
static bool is_itself(unsigned byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
}

uint32_t hl_bpe_char_of(unsigned char byte)
{
    if (is_itself(byte))
        return byte;
    return 0x100 + (byte <= 32u ? byte : byte <= 160u ? byte - 127u + 33u : 67u);
}

int hl_bpe_byte_of(uint32_t code)
{
    if (code < 0x100)
        return is_itself(code) ? (int)code : -1;
    const uint32_t i = code - 0x100;
    return i <= 32 ? (int)i : i <= 66 ? (int)(i - 33 + 127) : i == 67 ? 173 : -1;
}

static hl_uni_class class_at(const unsigned char *s, size_t n, size_t *len, bool *is_valid)
{
    uint32_t code;
    const unsigned char c = s[0];
    *len = 1;
    *is_valid = true;
    if (c < 0x80) {
        if ((unsigned)(c | 0x20) - 'a' < 26)
            return HL_UNI_LETTER;
        if ((unsigned)c - '0' < 10)
            return HL_UNI_NUMBER;
        return c == ' ' || (c >= 9 && c <= 13) ? HL_UNI_SPACE : HL_UNI_OTHER;
    }
    *len = hl_uni_read(s, n, &code, is_valid);
    return hl_uni_class_of(code);
}

/* Length of 's, 't, 're, 've, 'm, 'll, 'd behind the apostrophe, else 0. */
static size_t contraction(const unsigned char *s, size_t n)
{
    if (n >= 2 && (s[1] == 's' || s[1] == 't' || s[1] == 'm' || s[1] == 'd'))
        return 2;
    if (n >= 3 && ((s[1] == 'r' && s[2] == 'e') || (s[1] == 'v' && s[2] == 'e') ||
                   (s[1] == 'l' && s[2] == 'l')))
        return 3;
    return 0;
}

/* White space from s on: all of it at the end of the text, else all but its last character, which
 * may belong to what follows; a single one is a piece. */
static size_t space_run(const unsigned char *s, size_t n)
{
    size_t at = 0, last = 0, len;
    bool is_valid;
    while (at < n && class_at(s + at, n - at, &len, &is_valid) == HL_UNI_SPACE) {
        last = at;
        at += len;
    }
    return at == n || last == 0 ? at : last;
}

size_t hl_bpe_split(const unsigned char *s, size_t n, bool *is_valid)
{
    size_t len, at = 0;
    bool ok;
    *is_valid = true;
    if (s[0] == '\'') {
        len = contraction(s, n);
        if (len)
            return len;
    }
    if (s[0] == ' ' && n > 1)
        at = 1;
    const hl_uni_class class = class_at(s + at, n - at, &len, &ok);
    if (class == HL_UNI_SPACE)
        return space_run(s, n);
    do {
        *is_valid &= ok;
        at += len;
    } while (at < n && class_at(s + at, n - at, &len, &ok) == class);
    return at;
}
