#include "data/tok/word_split.h"

#include <string.h>

#include "data/tok/tok_unicode.h"

/* The word so far. Marks that stay (Mc, and Mn unknown to the tables) are kept in canonical order:
 * `run` is where those at its end begin. */
typedef struct splitter {
    hl_word_rules rules;
    hl_word_sink sink;
    void *arg;
    size_t n_bytes, n_chars, run;
    bool is_long;
    unsigned char word[4 * HL_WORD_CHARS_MAX];
} splitter;

static void flush(splitter *x)
{
    if (x->n_chars)
        x->sink(x->arg, x->word, x->n_bytes, x->is_long);
    x->n_bytes = x->n_chars = x->run = 0;
    x->is_long = false;
}

/* Where a character of combining class `order` belongs in the run. */
static size_t place(const splitter *x, int order)
{
    size_t at = x->run;
    while (at < x->n_bytes) {
        uint32_t code;
        bool is_valid;
        const size_t len = hl_uni_read(x->word + at, x->n_bytes - at, &code, &is_valid);
        if (hl_uni_order(code) > order)
            break;
        at += len;
    }
    return at;
}

static void append(splitter *x, uint32_t code)
{
    unsigned char utf8[4];
    if (x->n_chars == HL_WORD_CHARS_MAX) {
        x->is_long = true;
        return;
    }
    const size_t n = hl_uni_write(code, utf8);
    const int order = x->rules.strip_accents ? hl_uni_order(code) : 0;
    const size_t at = order ? place(x, order) : x->n_bytes;
    memmove(x->word + at + n, x->word + at, x->n_bytes - at);
    memcpy(x->word + at, utf8, n);
    x->n_bytes += n;
    x->n_chars++;
    if (!order)
        x->run = x->n_bytes;
}

static void alone(splitter *x, uint32_t code)
{
    flush(x);
    append(x, code);
    flush(x);
}

static void put_lowered(splitter *x, uint32_t code)
{
    uint32_t low[2] = {code};
    const size_t n = x->rules.lowercase ? hl_uni_lower(code, low) : 1;
    for (size_t i = 0; i < n; i++)
        if (hl_uni_is_punct(low[i]))
            alone(x, low[i]);
        else
            append(x, low[i]);
}

static void put_decomposed(splitter *x, uint32_t code)
{
    uint32_t part[HL_UNI_NFD_MAX] = {code};
    const size_t n = x->rules.strip_accents ? hl_uni_nfd(code, part) : 1;
    for (size_t i = 0; i < n; i++)
        if (!x->rules.strip_accents || !hl_uni_is_mark(part[i]))
            put_lowered(x, part[i]);
        else if (hl_uni_order(part[i]) == 0)
            x->run = x->n_bytes; /* nothing is ordered across it, though it goes */
}

static void put(splitter *x, uint32_t code)
{
    if (x->rules.clean && (code == 0 || code == HL_UNI_REPLACEMENT || hl_uni_is_control(code)))
        return;
    if (hl_uni_is_space(code)) {
        flush(x);
    } else if (x->rules.cjk && hl_uni_is_cjk(code)) {
        flush(x);
        put_decomposed(x, code);
        flush(x);
    } else {
        put_decomposed(x, code);
    }
}

/* The letters and digits of ASCII, which need none of the tables, as they come out; else 0. */
static unsigned char plain(unsigned char c, bool lowercase)
{
    if (c >= 'A' && c <= 'Z')
        return lowercase ? c | 0x20 : c;
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : 0;
}

void hl_word_split(const hl_word_rules *rules, const unsigned char *s, size_t n, hl_word_sink sink,
                   void *arg)
{
    splitter x = {.rules = *rules, .sink = sink, .arg = arg};
    unsigned char map[128];
    for (int c = 0; c < 128; c++)
        map[c] = plain((unsigned char)c, rules->lowercase);
    for (size_t at = 0; at < n;) {
        const unsigned char c = s[at];
        if (c < 0x80 && map[c] && x.n_chars < HL_WORD_CHARS_MAX) {
            x.word[x.n_bytes++] = map[c];
            x.n_chars++;
            x.run = x.n_bytes;
            at++;
        } else if (c == ' ') {
            flush(&x);
            at++;
        } else {
            uint32_t code;
            bool is_valid;
            at += hl_uni_read(s + at, n - at, &code, &is_valid);
            put(&x, code);
        }
    }
    flush(&x);
}
