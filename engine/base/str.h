/* String builder, numbers from text, small string tools. */
#ifndef HL_BASE_STR_H
#define HL_BASE_STR_H

#include "engine/base/err.h"

/* {0} is an empty builder. Failure is sticky: add as much as you like, look at hl_str_status
 * once. `s` is NUL-terminated whenever it is not NULL. */
typedef struct hl_str {
    char *s;
    size_t n, cap;
    bool failed;
} hl_str;

void hl_str_add(hl_str *b, const char *text);
void hl_str_addn(hl_str *b, const char *bytes, size_t n);
void hl_str_addf(hl_str *b, const char *fmt, ...) HL_PRINTF(2, 3);
void hl_str_addc(hl_str *b, char c);
/* n bytes without what drives a terminal: control characters but \n and \t become '?'. */
void hl_str_add_clean(hl_str *b, const char *s, size_t n);
void hl_str_add_csv(hl_str *b, const char *text); /* a field, quoted where it must be (RFC 4180) */
void hl_str_clear(hl_str *b); /* keeps the memory */
void hl_str_done(hl_str *b);
HL_MUST_CHECK hl_status hl_str_status(const hl_str *b);
const char *hl_str_text(const hl_str *b); /* never NULL */

/* Whole string must be a number; no locale, no overflow, no surrounding space. */
HL_MUST_CHECK hl_status hl_parse_i64(const char *text, int64_t *out);
HL_MUST_CHECK hl_status hl_parse_f64(const char *text, double *out); /* inf and nan accepted */

/* Bytes of the UTF-8 sequence at s, of which n are left; 0: there is no valid one. */
size_t hl_utf8_length(const char *s, size_t n);

bool hl_str_starts(const char *s, const char *prefix);
bool hl_str_ends(const char *s, const char *suffix);

/* Index of the candidate closest to `word` by edit distance (one letter and a third of its length
 * may be wrong, or one of four letters and more contains the other), -1 if none is near. For "did
 * you mean". */
int hl_str_nearest(const char *word, const char *const *candidates, int n);

/* "1.2 GiB", "34.0 KiB" into buf, which is returned. */
const char *hl_format_bytes(char buf[24], int64_t n_bytes);
/* "2h14m", "3m05s", "12.3s", "450ms" */
const char *hl_format_duration(char buf[24], double seconds);

#endif
