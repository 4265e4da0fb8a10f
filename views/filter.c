#include "views/filter.h"

#include <string.h>

#include "views/row_field.h"

enum { WORD_MAX = 128 };

/* ---- text against patterns ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Does text begin with the pattern of n bytes? `*` is anything. Goes back to the last star only,
 * which is enough for patterns without classes. */
static bool begins(const char *pattern, size_t n, const char *text)
{
    size_t p = 0, star = n;
    const char *retry = text;
    while (p < n) {
        if (pattern[p] == '*') {
            star = ++p;
            retry = text;
        } else if (*text && lower(*text) == lower(pattern[p])) {
            p++;
            text++;
        } else if (star < n && *retry) {
            p = star;
            text = ++retry;
        } else {
            return false;
        }
    }
    return true;
}

static bool contains(const char *text, const char *pattern, size_t n)
{
    do {
        if (begins(pattern, n, text))
            return true;
    } while (*text++);
    return false;
}

/* One of the alternatives "a,b,c". */
static bool contains_any(const char *text, const char *patterns)
{
    for (;;) {
        const size_t n = strcspn(patterns, ",");
        if (contains(text, patterns, n))
            return true;
        if (patterns[n] == 0)
            return false;
        patterns += n + 1;
    }
}

static bool same_text(const char *a, const char *b)
{
    while (*a && lower(*a) == lower(*b))
        a++, b++;
    return lower(*a) == lower(*b);
}

/* ---- one word ---- */

typedef enum verdict { NO, YES, MEANINGLESS } verdict;

static verdict compare(double a, const char *op, double b)
{
    if (op[0] == '=')
        return a == b || (a != a && b != b) ? YES : NO;
    if (op[0] == '!')
        return a == b || (a != a && b != b) ? NO : YES;
    if (op[0] == '<')
        return a < b || (op[1] == '=' && a == b) ? YES : NO;
    return a > b || (op[1] == '=' && a == b) ? YES : NO;
}

static verdict judge_key(const hl_row_field *k, const char *op, const char *operand,
                         const hl_run_row *row)
{
    double have, want;
    if (k->text) {
        if (op[0] == ':')
            return contains_any(k->text(row), operand) ? YES : NO;
        if (op[0] == '=' || op[0] == '!')
            return same_text(k->text(row), operand) == (op[0] == '=') ? YES : NO;
        return MEANINGLESS;
    }
    if (hl_parse_f64(operand, &want) != HL_OK)
        return MEANINGLESS;
    return k->number(row, &have) ? compare(have, op[0] == ':' ? "=" : op, want) : NO;
}

static verdict judge_word(const char *word, const hl_run_row *row)
{
    const size_t n = strcspn(word, ":=!<>");
    const char *op = word + n;
    if (*op == 0) {
        const char *const texts[] = {row->name, row->id, row->tags, row->variant, row->host};
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
            if (contains(texts[i], word, n))
                return YES;
        return NO;
    }
    if (*op == '!' && op[1] != '=')
        return MEANINGLESS;
    const char *operand =
        op + ((op[0] == '!' || ((op[0] == '<' || op[0] == '>') && op[1] == '=')) ? 2 : 1);
    if (*operand == 0)
        return MEANINGLESS;
    const hl_row_field *k;
    for (int i = 0; (k = hl_row_filter_field(i)); i++)
        if (strlen(k->name) == n && memcmp(k->name, word, n) == 0)
            return judge_key(k, op, operand, row);
    return MEANINGLESS;
}

/* The next word without its quotes; gives the rest, or NULL at the end. *at: where it began. */
static const char *next_word(const char *s, char word[WORD_MAX], const char **at)
{
    size_t n = 0;
    bool quoted = false;
    while (*s == ' ')
        s++;
    *at = s;
    if (!*s)
        return NULL;
    for (; *s && (quoted || *s != ' '); s++) {
        if (*s == '"')
            quoted = !quoted;
        else if (n < WORD_MAX - 1)
            word[n++] = *s;
    }
    word[n] = 0;
    return s;
}

bool hl_filter_fits(const char *filter, const hl_run_row *row, int *bad)
{
    char word[WORD_MAX];
    const char *at, *s = filter;
    bool fits = true;
    if (bad)
        *bad = -1;
    while ((s = next_word(s, word, &at))) {
        const bool negated = word[0] == '!' && word[1];
        const verdict v = judge_word(word + negated, row);
        if (v == MEANINGLESS && bad && *bad < 0)
            *bad = (int)(at - filter);
        if (v != MEANINGLESS && (v == YES) == negated)
            fits = false;
    }
    return fits;
}

bool hl_filter_fits_text(const char *filter, const char *text)
{
    char word[WORD_MAX];
    const char *at;
    while ((filter = next_word(filter, word, &at))) {
        const bool negated = word[0] == '!' && word[1];
        if (contains(text, word + negated, strlen(word + negated)) == negated)
            return false;
    }
    return true;
}
