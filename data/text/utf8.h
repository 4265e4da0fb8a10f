/* One UTF-8 character at a time, strict: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef HL_DATA_UTF8_H
#define HL_DATA_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length of the character at s (n >= 1 bytes left) and its code point; 0 if there is none. */
static inline size_t hl_utf8_read(const unsigned char *s, size_t n, uint32_t *code)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (len == 0 || s[0] > 0xF4 || len > n)
        return 0;
    uint32_t c = len == 1 ? s[0] : s[0] & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3F);
    }
    if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 0;
    *code = c;
    return len;
}

#endif
