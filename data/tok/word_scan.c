#include "data/tok/word_scan.h"

#include <string.h>

#include "data/text/utf8.h"
#include "engine/base/hash.h"

typedef enum char_class { CLASS_SPACE, CLASS_LETTER, CLASS_MARK, CLASS_BAD } char_class;

typedef struct range {
    uint32_t first, last;
} range;

static bool is_in(const range *table, size_t n, uint32_t code)
{
    for (size_t i = 0; i < n; i++)
        if (code >= table[i].first && code <= table[i].last)
            return true;
    return false;
}

/* Beyond ASCII: blanks and invisible characters separate; punctuation, symbols and the scripts
 * that write no spaces (CJK) stand alone; everything else is a letter. */
static char_class wide_class(uint32_t code)
{
    static const range space[] = {{0x80, 0xA0},     {0xAD, 0xAD},     {0x2000, 0x200F},
                                  {0x2028, 0x202F}, {0x205F, 0x206F}, {0x3000, 0x3000},
                                  {0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF}};
    static const range mark[] = {
        {0xA1, 0xA9},     {0xAB, 0xB4},     {0xB6, 0xB9},       {0xBB, 0xBF},      {0xD7, 0xD7},
        {0xF7, 0xF7},     {0x2010, 0x2027}, {0x2030, 0x205E},   {0x20A0, 0x2BFF},  {0x2E00, 0x9FFF},
        {0xF900, 0xFAFF}, {0xFF01, 0xFF0F}, {0x1F000, 0x1FAFF}, {0x20000, 0x3FFFF}};
    if (is_in(space, sizeof space / sizeof *space, code))
        return CLASS_SPACE;
    return is_in(mark, sizeof mark / sizeof *mark, code) ? CLASS_MARK : CLASS_LETTER;
}

static char_class read_class(const unsigned char *s, size_t n, size_t *len)
{
    unsigned char c = s[0];
    *len = 1;
    if (c < 0x80) {
        if ((unsigned)(c | 0x20) - 'a' < 26)
            return CLASS_LETTER;
        return c <= 0x20 || c == 0x7F ? CLASS_SPACE : CLASS_MARK;
    }
    uint32_t code;
    size_t k = hl_utf8_read(s, n, &code);
    if (k == 0)
        return CLASS_BAD;
    *len = k;
    return wide_class(code);
}

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

bool hl_word_scan_next(hl_word_scan *s)
{
    char_class class = CLASS_SPACE;
    size_t len = 0, begin = s->at;
    while (begin < s->n &&
           (class = read_class(s->bytes + begin, s->n - begin, &len)) == CLASS_SPACE)
        begin += len;
    s->at = begin;
    if (begin >= s->n)
        return false;
    size_t end = begin + len;
    while (class == CLASS_LETTER && end < s->n &&
           read_class(s->bytes + end, s->n - end, &len) == CLASS_LETTER)
        end += len;
    s->at = end;
    s->n_word = class == CLASS_BAD || end - begin > HL_WORD_BYTES_MAX ? 0 : end - begin;
    for (size_t i = 0; i < s->n_word; i++)
        s->word[i] = lower(s->bytes[begin + i]);
    s->hash = hl_hash_bytes(HL_HASH_START, s->word, s->n_word);
    return true;
}
