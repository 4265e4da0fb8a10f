/* Characters, by utf8proc and a few exceptions.
 *
 * DESIGN. Tokens must be those a published model was trained with, so the reference tokenizers'
 * tables win over newer Unicode. BERT's reference knows categories as of Unicode 7 and combining
 * classes as of Unicode 9, but lower case as of Unicode 17; byte-level BPE's regular expressions
 * know letters and numbers as of Unicode 16. What differs from utf8proc is listed here, found by
 * asking both about every code point (tests/oracle/tokenizers.py tables). */
#include "data/tok/tok_unicode.h"

#include <utf8proc.h>

typedef struct hl_range {
    uint32_t first, last;
} hl_range;

/* Later than Unicode 7: neither mark nor punctuation nor format character to the reference. Ranges
 * run on over code points that are none of these anyway. */
static const hl_range late_category[] = {
    {0x061D, 0x061D},   {0x07FD, 0x07FD},   {0x0890, 0x08E2},   {0x09FD, 0x09FE},
    {0x0A76, 0x0A76},   {0x0AFA, 0x0AFF},   {0x0B55, 0x0B55},   {0x0C04, 0x0C3C},
    {0x0C77, 0x0C77},   {0x0C84, 0x0C84},   {0x0D00, 0x0D00},   {0x0D3B, 0x0D3C},
    {0x0D81, 0x0D81},   {0x0EBA, 0x0EBA},   {0x0ECE, 0x0ECE},   {0x180F, 0x1886},
    {0x1ABF, 0x1ACE},   {0x1B7D, 0x1B7E},   {0x1DF6, 0x1DFB},   {0x2E43, 0x2E5D},
    {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},   {0xA8FF, 0xA8FF},   {0xA9BD, 0xA9BD},
    {0x10D24, 0x10F89}, {0x11070, 0x11074}, {0x110C2, 0x110CD}, {0x111C9, 0x111C9},
    {0x111CF, 0x111CF}, {0x1123E, 0x11241}, {0x1133B, 0x1133B}, {0x11438, 0x1145E},
    {0x11660, 0x1166C}, {0x116B9, 0x116B9}, {0x1182F, 0x11FFF}, {0x12FF1, 0x13455},
    {0x16E97, 0x16F4F}, {0x16FE2, 0x16FE4}, {0x1CF00, 0x1CF46}, {0x1E000, 0x1E4EF},
    {0x1E944, 0x1E95F}};

/* Later than Unicode 9, or changed since: combining class 0 to the reference. */
static const hl_range late_order[] = {
    {0x07FD, 0x07FD},   {0x0898, 0x089F},   {0x08CA, 0x08D3},   {0x09FE, 0x09FE},
    {0x0C3C, 0x0C3C},   {0x0D3B, 0x0D3C},   {0x0EBA, 0x0EBA},   {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27},
    {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
    {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45},
    {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F},
    {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}};

/* Unicode 16, which utf8proc does not know. */
static const hl_range late_letter[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3},
    {0x10D4A, 0x10D65}, {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389},
    {0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113B7},
    {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0}, {0x13460, 0x143FA},
    {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED},
    {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D}};
static const hl_range late_number[] = {{0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9},
                                       {0x16130, 0x16139}, {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9},
                                       {0x1E5F1, 0x1E5FA}};

/* Lower case as of Unicode 17, by what is added to the code point (modulo 2^32). */
static const struct {
    uint32_t first, last, add;
} late_lower[] = {{0x1C89, 0x1C89, 1},      {0xA7CB, 0xA7CB, 0x264u - 0xA7CB},
                  {0xA7CC, 0xA7CC, 1},      {0xA7CE, 0xA7CE, 1},
                  {0xA7D2, 0xA7D2, 1},      {0xA7D4, 0xA7D4, 1},
                  {0xA7DA, 0xA7DA, 1},      {0xA7DC, 0xA7DC, 0x19Bu - 0xA7DC},
                  {0x10D50, 0x10D65, 0x20}, {0x16EA0, 0x16EB8, 0x1B}};

#define IN(table, code) is_in(table, sizeof table / sizeof *table, code)

/* Binary search. */
static bool is_in(const hl_range *table, size_t n, uint32_t code)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t mid = (low + high) / 2;
        if (code > table[mid].last)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && code >= table[low].first;
}

size_t hl_uni_read(const unsigned char *s, size_t n, uint32_t *code, bool *is_valid)
{
    const unsigned char c = s[0];
    *code = c;
    *is_valid = true;
    if (c < 0x80)
        return 1;
    const size_t len = c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    /* the second byte excludes overlong forms, surrogates and what lies above U+10FFFF */
    const unsigned char low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    size_t have = 1;
    uint32_t value = len ? c & (0x7Fu >> len) : 0;
    while (have < len && have < n && s[have] >= (have == 1 ? low : 0x80) &&
           s[have] <= (have == 1 ? high : 0xBF))
        value = value << 6 | (s[have++] & 0x3F);
    *is_valid = len && have == len;
    *code = *is_valid ? value : HL_UNI_REPLACEMENT;
    return have;
}

size_t hl_uni_write(uint32_t code, unsigned char s[4])
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)code, s);
}

static utf8proc_category_t category(uint32_t code)
{
    return utf8proc_category((utf8proc_int32_t)code);
}

bool hl_uni_is_space(uint32_t code)
{
    if (code < 0x80)
        return code == ' ' || (code >= 9 && code <= 13);
    return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
           code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

hl_uni_class hl_uni_class_of(uint32_t code)
{
    const utf8proc_category_t c = category(code);
    if (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO)
        return HL_UNI_LETTER;
    if (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO)
        return HL_UNI_NUMBER;
    if (hl_uni_is_space(code))
        return HL_UNI_SPACE;
    if (c != UTF8PROC_CATEGORY_CN)
        return HL_UNI_OTHER;
    return IN(late_letter, code)   ? HL_UNI_LETTER
           : IN(late_number, code) ? HL_UNI_NUMBER
                                   : HL_UNI_OTHER;
}

bool hl_uni_is_control(uint32_t code)
{
    const utf8proc_category_t c = category(code);
    if (c == UTF8PROC_CATEGORY_CC)
        return code != '\t' && code != '\n' && code != '\r';
    return c == UTF8PROC_CATEGORY_CO || (c == UTF8PROC_CATEGORY_CF && !IN(late_category, code));
}

bool hl_uni_is_punct(uint32_t code)
{
    if (code < 0x80) /* '$', '+' and their like are symbols elsewhere */
        return code > 32 && code < 127 && !(code >= '0' && code <= '9') &&
               !((code | 32) >= 'a' && (code | 32) <= 'z');
    const utf8proc_category_t c = category(code);
    if (code == 0x166D || code == 0x111C9) /* punctuation in Unicode 7 */
        return true;
    return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO && !IN(late_category, code);
}

bool hl_uni_is_mark(uint32_t code)
{
    if (code == 0x1734) /* Mn in Unicode 7 */
        return true;
    return category(code) == UTF8PROC_CATEGORY_MN && !IN(late_category, code);
}

bool hl_uni_is_cjk(uint32_t code)
{
    /* the gap before U+2B920 is the reference's */
    static const hl_range cjk[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                                   {0x20000, 0x2A6DF}, {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF},
                                   {0x2F800, 0x2FA1F}};
    return code >= 0x3400 && IN(cjk, code);
}

size_t hl_uni_nfd(uint32_t code, uint32_t out[HL_UNI_NFD_MAX])
{
    utf8proc_int32_t parts[HL_UNI_NFD_MAX];
    int boundary = 0;
    const utf8proc_ssize_t n = utf8proc_decompose_char(
        (utf8proc_int32_t)code, parts, HL_UNI_NFD_MAX, UTF8PROC_DECOMPOSE, &boundary);
    out[0] = code;
    if (n < 1 || n > HL_UNI_NFD_MAX || code == 0x11938) /* its decomposition is of Unicode 13 */
        return 1;
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out[i] = (uint32_t)parts[i];
    return (size_t)n;
}

int hl_uni_order(uint32_t code)
{
    const int order = utf8proc_get_property((utf8proc_int32_t)code)->combining_class;
    return order && IN(late_order, code) ? 0 : order;
}

size_t hl_uni_lower(uint32_t code, uint32_t out[2])
{
    if (code == 0x130) {
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    for (size_t i = 0; code >= 0x1C89 && i < sizeof late_lower / sizeof *late_lower; i++)
        if (code >= late_lower[i].first && code <= late_lower[i].last) {
            out[0] = code + late_lower[i].add;
            return 1;
        }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    return 1;
}
