#include "views/script_color.h"

#include <string.h>

#include "views/cell.h"

static const char *const keywords[] = {"and",   "break", "do",       "else", "elseif", "end",
                                       "false", "for",   "function", "goto", "if",     "in",
                                       "local", "nil",   "not",      "or",   "repeat", "return",
                                       "then",  "true",  "until",    "while"};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return c == '_' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* "[[" or "[==[" at s: its level and 1; 0: it is none. */
static int long_bracket(const char *s)
{
    size_t n = 1;
    if (*s != '[')
        return 0;
    while (s[n] == '=')
        n++;
    return s[n] == '[' ? (int)n : 0;
}

/* Bytes up to the end of the long bracket, with it; of one that stays open all of them. */
static size_t inside_long(hl_lua_state *x, const char *s)
{
    const size_t level = (size_t)x->level;
    for (const char *at = strchr(s, ']'); at; at = strchr(at + 1, ']'))
        if (strspn(at + 1, "=") == level - 1 && at[level] == ']') {
            x->level = 0;
            return (size_t)(at - s) + level + 1;
        }
    return strlen(s);
}

static size_t in_quotes(const char *s)
{
    size_t n = 1;
    while (s[n] && s[n] != s[0])
        n += s[n] == '\\' && s[n + 1] ? 2 : 1;
    return n + (s[n] != 0);
}

static size_t word(const char *s, hl_role *role)
{
    size_t n = 0;
    while (is_letter(s[n]) || is_digit(s[n]))
        n++;
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
        if (strlen(keywords[i]) == n && memcmp(keywords[i], s, n) == 0)
            *role = HL_ROLE_KEY;
    return n;
}

static size_t number(const char *s)
{
    size_t n = 0;
    while (is_digit(s[n]) || is_letter(s[n]) || s[n] == '.' ||
           ((s[n] == '-' || s[n] == '+') && (s[n - 1] | 0x20) == 'e'))
        n++;
    return n;
}

/* The next piece of text: how long it is and what it looks like. */
static size_t piece(hl_lua_state *x, const char *s, hl_role *role)
{
    *role = HL_ROLE_TEXT;
    if (x->level) {
        *role = x->is_comment ? HL_ROLE_DIM : HL_ROLE_GOOD;
        return inside_long(x, s);
    }
    const bool comment = s[0] == '-' && s[1] == '-';
    const int level = long_bracket(comment ? s + 2 : s);
    if (level) {
        *role = comment ? HL_ROLE_DIM : HL_ROLE_GOOD;
        x->level = level;
        x->is_comment = comment;
        return (size_t)level + 1 + (comment ? 2 : 0);
    }
    if (comment) {
        *role = HL_ROLE_DIM;
        return strlen(s);
    }
    if (*s == '"' || *s == '\'') {
        *role = HL_ROLE_GOOD;
        return in_quotes(s);
    }
    if (is_letter(*s))
        return word(s, role);
    if (is_digit(*s)) {
        *role = HL_ROLE_SERIES + 3;
        return number(s);
    }
    return 1;
}

void hl_lua_color(hl_lua_state *x, const char *line, uint8_t *role, size_t n)
{
    for (size_t at = 0; line[at];) {
        hl_role r;
        const size_t k = piece(x, line + at, &r);
        for (size_t i = at; role && i < at + k && i < n; i++)
            role[i] = (uint8_t)r;
        at += k;
    }
}
