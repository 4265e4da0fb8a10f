#include "engine/base/str.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

static bool reserve(hl_str *b, size_t more)
{
    if (b->failed)
        return false;
    size_t want;
    if (!hl_add_size(b->n, more, &want) || !hl_add_size(want, 1, &want)) {
        b->failed = true;
        return false;
    }
    if (want <= b->cap)
        return true;
    size_t cap = b->cap * 2 > want ? b->cap * 2 : want;
    char *p = hl_realloc(b->s, cap < 64 ? 64 : cap);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->s = p;
    b->cap = cap < 64 ? 64 : cap;
    return true;
}

void hl_str_addn(hl_str *b, const char *bytes, size_t n)
{
    if (!reserve(b, n))
        return;
    if (n)
        memcpy(b->s + b->n, bytes, n);
    b->n += n;
    b->s[b->n] = '\0';
}

void hl_str_add(hl_str *b, const char *text)
{
    hl_str_addn(b, text, strlen(text));
}

void hl_str_addc(hl_str *b, char c)
{
    hl_str_addn(b, &c, 1);
}

void hl_str_add_csv(hl_str *b, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        hl_str_add(b, text);
        return;
    }
    hl_str_addc(b, '"');
    for (const char *p = text; *p; p++) {
        if (*p == '"')
            hl_str_addc(b, '"');
        hl_str_addc(b, *p);
    }
    hl_str_addc(b, '"');
}

void hl_str_addf(hl_str *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        b->failed = true;
    else if (reserve(b, (size_t)n)) {
        vsnprintf(b->s + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

void hl_str_add_clean(hl_str *b, const char *s, size_t n)
{
    for (const char *end = s + n; s < end; s++) {
        const unsigned char c = (unsigned char)*s, next = s + 1 < end ? (unsigned char)s[1] : 0;
        const bool c1 = c == 0xC2 && next >= 0x80 && next < 0xA0; /* U+0080..9F */
        const bool control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F || c1;
        hl_str_addn(b, control ? "?" : s, 1);
        s += c1;
    }
}

void hl_str_clear(hl_str *b)
{
    b->n = 0;
    b->failed = false;
    if (b->s)
        b->s[0] = '\0';
}

void hl_str_done(hl_str *b)
{
    hl_free(b->s);
    *b = (hl_str){0};
}

hl_status hl_str_status(const hl_str *b)
{
    return b->failed ? hl_err_nomem("a text", b->n) : HL_OK;
}

const char *hl_str_text(const hl_str *b)
{
    return b->s ? b->s : "";
}

hl_status hl_parse_i64(const char *text, int64_t *out)
{
    if (*text == '\0' || (*text != '-' && *text != '+' && (*text < '0' || *text > '9')))
        return hl_err_set(HL_E_ARG, "'%s' is not an integer", text);
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || *end)
        return hl_err_set(HL_E_ARG, "'%s' is not an integer%s", text,
                          errno ? " that fits 64 bits" : "");
    *out = v;
    return HL_OK;
}

hl_status hl_parse_f64(const char *text, double *out)
{
    char *end = NULL;
    const bool blank = *text == '\0' || strchr(" \t\n\v\f\r", *text);
    errno = 0;
    const double v = blank ? 0 : strtod(text, &end);
    if (blank || *end || end == text || (errno == ERANGE && isinf(v)))
        return hl_err_set(HL_E_ARG, "'%s' is not a number", text);
    *out = v;
    return HL_OK;
}

size_t hl_utf8_length(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    if (n == 0)
        return 0;
    const size_t want = s[0] < 0x80                   ? 1
                        : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
                        : (s[0] & 0xF0) == 0xE0       ? 3
                        : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                                      : 0;
    if (want == 0 || want > n)
        return 0;
    for (size_t i = 1; i < want; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return want;
}

bool hl_str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool hl_str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

enum { FAR = 1 << 29 };

/* Optimal string alignment distance; words over 63 bytes count as far away. */
static int edit_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > 63 || m > 63)
        return FAR;
    int d[3][64];
    int *two_back = d[0], *prev = d[1], *cur = d[2];
    for (size_t j = 0; j <= m; j++)
        prev[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        cur[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int best = prev[j - 1] + (a[i - 1] != b[j - 1]);
            if (prev[j] + 1 < best)
                best = prev[j] + 1;
            if (cur[j - 1] + 1 < best)
                best = cur[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                two_back[j - 2] + 1 < best)
                best = two_back[j - 2] + 1;
            cur[j] = best;
        }
        int *t = two_back;
        two_back = prev;
        prev = cur;
        cur = t;
    }
    return prev[m];
}

int hl_str_nearest(const char *word, const char *const *candidates, int n)
{
    int best = -1, best_cost = 2 * FAR;
    int len = (int)strlen(word);
    for (int i = 0; i < n; i++) {
        int cost = edit_distance(word, candidates[i]);
        bool contains = len >= 4 && (strstr(candidates[i], word) ||
                                     (strlen(candidates[i]) >= 4 && strstr(word, candidates[i])));
        if (cost > 1 + len / 3 && !contains)
            continue;
        if (cost < best_cost) {
            best_cost = cost;
            best = i;
        }
    }
    return best;
}

const char *hl_format_bytes(char buf[24], int64_t n_bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)n_bytes;
    int u = 0;
    while (fabs(v) >= 1024 && u < 4) {
        v /= 1024;
        u++;
    }
    snprintf(buf, 24, u == 0 ? "%.0f %s" : "%.1f %s", v, unit[u]);
    return buf;
}

const char *hl_format_duration(char buf[24], double seconds)
{
    if (!(seconds >= 0) || seconds > 1e9)
        snprintf(buf, 24, "?");
    else if (seconds < 0.9995)
        snprintf(buf, 24, "%.0fms", seconds * 1000);
    else if (seconds < 59.95)
        snprintf(buf, 24, "%.1fs", seconds);
    else if (seconds < 3600)
        snprintf(buf, 24, "%dm%02ds", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(buf, 24, "%dh%02dm", (int)(seconds / 3600), (int)seconds / 60 % 60);
    return buf;
}
