/* gzip and JSONL to plain bytes in memory.
 *
 * DESIGN. A packed file does not say reliably how much it holds (the size in its trailer is that of
 * the last member, modulo 4 GiB), so the buffer doubles, and from 64 MiB on asks the machine first:
 * Linux would give the pages and kill later.
 * A row's JSON is longer than its text: escapes shrink, and the braces and the key make up for the
 * line end. So rows can be taken out in place. */
#include "data/text/unpack.h"

#include <stdio.h>
#include <string.h>

#include "data/gz/gz.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

#define START_BYTES ((size_t)256 << 10)
#define ASK_BYTES   ((size_t)64 << 20)

bool hl_text_name_has_rows(const char *path)
{
    return hl_str_ends(path, ".jsonl") || hl_str_ends(path, ".jsonl.gz") ||
           hl_str_ends(path, ".ndjson") || hl_str_ends(path, ".ndjson.gz");
}

/* ---- gzip ------------------------------------------------------------------------------------ */

typedef struct buffer {
    char *bytes;
    size_t n, cap;
} buffer;

static hl_status widen(const char *path, size_t n_most, buffer *b)
{
    size_t cap = b->cap ? b->cap : START_BYTES / 2;
    if (!hl_mul_size(cap, 2, &cap))
        return hl_err_nomem("an unpacked text", SIZE_MAX);
    if (cap > n_most && n_most > b->cap)
        cap = n_most;
    const int64_t left = hl_mem_available_bytes();
    if (cap >= ASK_BYTES && left >= 0 && cap > (size_t)left) {
        char have[24], want[24];
        return hl_err_set(
            HL_E_NOMEM,
            "'%s' unpacks to more than %s, and this machine has %s left; unpack it to "
            "a file (gunzip -k) and name that: plain text is not held in memory",
            path, hl_format_bytes(want, (int64_t)b->n), hl_format_bytes(have, left));
    }
    char *bytes = hl_realloc(b->bytes, cap + 1); /* a NUL may be put behind */
    if (!bytes)
        return HL_E_NOMEM;
    b->bytes = bytes;
    b->cap = cap;
    return HL_OK;
}

hl_status hl_text_unpack(const char *path, const void *bytes, size_t n, char **out, size_t *n_out)
{
    hl_status st = HL_OK;
    hl_gz *gz = NULL;
    buffer b = {0};
    HL_TRY(hl_gz_open(path, bytes, n, &gz));
    for (;;) {
        size_t got = 0;
        if (b.n == b.cap)
            HL_TRY(widen(path, hl_gz_most(n), &b));
        HL_TRY(hl_gz_read(gz, b.bytes + b.n, b.cap - b.n, &got));
        b.n += got;
        if (b.n < b.cap)
            break;
    }
    char *exact = hl_realloc(b.bytes, b.n + 1);
    *out = exact ? exact : b.bytes;
    *n_out = b.n;
    b.bytes = NULL;
out:
    hl_gz_close(gz);
    hl_free(b.bytes);
    return st;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static bool is_blank(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r')
            return false;
    return true;
}

/* A parsed string would end there, silently. */
static bool has_nul(const char *s, size_t n)
{
    if (memchr(s, 0, n))
        return true;
    for (size_t i = 0; i + 6 <= n; i++) {
        if (s[i] != '\\')
            continue;
        if (memcmp(s + i + 1, "u0000", 5) == 0)
            return true;
        i++; /* what is escaped escapes nothing */
    }
    return false;
}

static const char *kind_of(const hl_json *v)
{
    return !v                     ? "absent"
           : hl_json_is_null(v)   ? "null"
           : hl_json_is_bool(v)   ? "a boolean"
           : hl_json_is_array(v)  ? "an array"
           : hl_json_is_object(v) ? "an object"
                                  : "a number";
}

/* Keeps the file and line in front of what is wrong. */
static hl_status row_fault(const char *path, int64_t line, const char *what)
{
    return hl_err_set(HL_E_FORMAT,
                      "'%s', line %lld: %s; a JSON object with a string \"" HL_ROW_FIELD
                      "\" was expected on every line",
                      path, (long long)line, what);
}

static hl_status take_row(const char *path, int64_t line, const char *s, size_t n, char *to,
                          size_t *n_to)
{
    hl_json *row = NULL;
    char what[96];
    if (has_nul(s, n))
        return row_fault(path, line, "there is a NUL character in it");
    hl_status st = hl_json_parse(s, n, &row);
    if (st == HL_E_NOMEM)
        return st;
    if (st != HL_OK) {
        snprintf(what, sizeof what, "this is not JSON (%zu bytes)", n);
        return row_fault(path, line, what);
    }
    const hl_json *text = hl_json_get(row, HL_ROW_FIELD);
    if (!hl_json_is_object(row)) {
        st = row_fault(path, line, "this is not a JSON object");
    } else if (!hl_json_is_string(text)) {
        snprintf(what, sizeof what, "the field \"" HL_ROW_FIELD "\" is %s", kind_of(text));
        st = row_fault(path, line, what);
    } else {
        const char *taken = hl_json_str(text, "");
        const size_t n_taken = strlen(taken);
        HL_ASSERT(n_taken < n);
        memcpy(to, taken, n_taken + 1);
        to[n_taken] = '\n';
        *n_to = n_taken + 1;
    }
    hl_json_free(row);
    return st;
}

hl_status hl_text_rows(const char *path, const char *bytes, size_t n, char *to, size_t *n_to,
                       hl_row_ends *row_ends)
{
    hl_status st = HL_OK;
    size_t at = 0, put = 0;
    *row_ends = (hl_row_ends){0};
    for (int64_t line = 1; at < n; line++) {
        const char *end = memchr(bytes + at, '\n', n - at);
        const size_t len = end ? (size_t)(end - bytes) - at : n - at;
        size_t added = 0;
        if (!is_blank(bytes + at, len)) {
            HL_TRY(take_row(path, line, bytes + at, len, to + put, &added));
            put += added;
            HL_TRY(hl_vec_push(row_ends, put));
        }
        at += len + (end != NULL);
    }
    *n_to = put;
out:
    if (st != HL_OK)
        hl_vec_done(row_ends);
    return st;
}
