/* Texts: files mapped and looked at before anything is built on them.
 *
 * DESIGN. A text is a list of spans, one per file, each mapped or (generated, from a script,
 * unpacked, rows of JSONL) owned. gzip is told by its first bytes, rows by the name of the file.
 * Only the first 64 KiB of a file are judged: enough to tell a picture from a book, and no pass
 * over gigabytes. Control bytes are those below 0x20 but TAB, LF, VT, FF, CR, and DEL. */
#include "data/text/text_internal.h"

#include <math.h>
#include <string.h>

#include "data/gz/gz.h"
#include "data/text/unpack.h"
#include "data/text/utf8.h"
#include "data/tok/tok_unicode.h"
#include "engine/base/fs.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

#define LOOK_BYTES (64u << 10)

typedef struct text_file {
    hl_fs_map map; /* of a file */
    char *owned;   /* or bytes of our own */
    hl_text_span span;
    hl_row_ends row_ends;
    uint64_t identity; /* of a file: path, size, time */
    size_t n_file_bytes;
    bool is_packed;
} text_file;

struct hl_text {
    text_file *file;
    size_t n_files, n_bytes;
    char *label;
    bool is_generated;
};

static bool is_control(unsigned char c)
{
    return (c < 0x20 && !(c >= '\t' && c <= '\r')) || c == 0x7F;
}

/* What does not look like text: how many bytes, and where the first is. */
typedef struct suspects {
    size_t n_control, control_at, n_invalid, invalid_at;
} suspects;

static suspects look(const unsigned char *s, size_t n, bool is_whole)
{
    suspects found = {0};
    for (size_t i = 0; i < n;) {
        uint32_t code;
        size_t len = hl_utf8_read(s + i, n - i, &code);
        if (len == 0 && !is_whole && n - i < 4)
            break; /* perhaps a character cut by the end of what is looked at */
        if (len == 0 && found.n_invalid++ == 0)
            found.invalid_at = i;
        if (is_control(s[i]) && found.n_control++ == 0)
            found.control_at = i;
        i += len ? len : 1;
    }
    return found;
}

static hl_status check_bytes(const char *name, hl_text_span s)
{
    if (s.n == 0)
        return hl_err_set(
            HL_E_FORMAT, "'%s' is empty, or not a regular file; give a file with text in it", name);
    size_t n = s.n < LOOK_BYTES ? s.n : LOOK_BYTES;
    const unsigned char *nul = memchr(s.bytes, 0, n);
    if (nul)
        return hl_err_set(HL_E_FORMAT,
                          "'%s' looks binary: NUL byte at offset %zu; give plain text (a UTF-16 "
                          "file can be converted: iconv -f UTF-16 -t UTF-8)",
                          name, (size_t)(nul - s.bytes));
    suspects found = look(s.bytes, n, n == s.n);
    if (found.n_control * 20 > n)
        return hl_err_set(HL_E_FORMAT,
                          "'%s' looks binary: %zu of the first %zu bytes are control characters, "
                          "the first at offset %zu; give plain text",
                          name, found.n_control, n, found.control_at);
    if (found.n_invalid * 100 > n)
        return hl_err_set(HL_E_FORMAT,
                          "'%s' looks binary: %zu of the first %zu bytes are not UTF-8, the first "
                          "(0x%02X) at offset %zu; text in another encoding can be converted: "
                          "iconv -f LATIN1 -t UTF-8",
                          name, found.n_invalid, n, s.bytes[found.invalid_at], found.invalid_at);
    return HL_OK;
}

static hl_status identify(const char *path, text_file *f)
{
    const int64_t word[] = {(int64_t)f->n_file_bytes, hl_fs_changed_ns(path)};
    char *full = hl_fs_absolute(path);
    if (!full)
        return HL_E_NOMEM;
    f->identity = hl_hash_bytes(hl_hash_str(HL_HASH_START, full), word, sizeof word);
    hl_free(full);
    return HL_OK;
}

/* What is packed or holds rows becomes plain bytes of our own; the mapping is not needed then. */
static hl_status make_plain(const char *path, text_file *f)
{
    size_t n = f->map.n;
    const char *bytes = (const char *)f->map.bytes;
    f->is_packed = hl_gz_is(bytes, n);
    if (f->is_packed) {
        hl_status st = hl_text_unpack(path, bytes, n, &f->owned, &n);
        if (st != HL_OK)
            return st;
        bytes = f->owned;
    }
    if (hl_text_name_has_rows(path)) {
        if (!f->owned)
            f->owned = hl_alloc(n + 1);
        if (!f->owned)
            return HL_E_NOMEM;
        hl_status st = hl_text_rows(path, bytes, n, f->owned, &n, &f->row_ends);
        if (st != HL_OK)
            return st;
        f->span.n_rows = f->row_ends.n;
        f->span.row_ends = f->row_ends.at;
    }
    f->span.bytes = f->owned ? (const unsigned char *)f->owned : f->map.bytes;
    f->span.n = n;
    if (f->owned)
        hl_fs_map_close(&f->map);
    return HL_OK;
}

/* Everything but a mapping that the system refuses is found before the file is opened: opening a
 * pipe would wait for a writer. */
static hl_status open_file(const char *path, text_file *f)
{
    if (!path || !*path)
        return hl_err_set(HL_E_ARG, "the path of a text file is empty; name a file");
    if (!hl_fs_exists(path)) {
        char *full = hl_fs_absolute(path);
        hl_status st =
            !full ? HL_E_NOMEM
                  : hl_err_set(HL_E_NOTFOUND, "no text file '%s' (looked for %s); check the path",
                               path, full);
        hl_free(full);
        return st;
    }
    if (hl_fs_is_dir(path))
        return hl_err_set(HL_E_IO, "'%s' is a directory; name a text file in it", path);
    if (hl_fs_size(path) == 0)
        return check_bytes(path, (hl_text_span){0});
    hl_status st = hl_fs_map_open(path, &f->map);
    if (st != HL_OK)
        return st;
    f->n_file_bytes = f->map.n;
    st = identify(path, f);
    if (st == HL_OK)
        st = make_plain(path, f);
    return st == HL_OK ? check_bytes(path, f->span) : st;
}

/* Directory and name say more than a name: half of all texts are called input.txt. */
static const char *short_name(const char *path)
{
    const char *base = hl_fs_base(path);
    if (base - path < 2)
        return path;
    const char *dir = base - 1;
    while (dir > path && dir[-1] != '/')
        dir--;
    return dir[0] == '.' ? base : dir;
}

static hl_status make_label(const char *const *paths, size_t n_paths, char **out)
{
    hl_str b = {0};
    hl_str_add(&b, short_name(paths[0]));
    if (n_paths > 1)
        hl_str_addf(&b, " + %zu more", n_paths - 1);
    hl_status st = hl_str_status(&b);
    if (st == HL_OK)
        *out = b.s;
    else
        hl_str_done(&b);
    return st;
}

hl_status hl_text_open(const char *const *paths, size_t n_paths, hl_text **out)
{
    hl_status st = HL_OK;
    hl_text *t = NULL;
    if (n_paths == 0 || !paths)
        return hl_err_set(HL_E_ARG, "no text file is named; give at least one path");
    t = hl_alloc_zero(1, sizeof *t);
    if (t)
        t->file = hl_alloc_zero(n_paths, sizeof *t->file);
    if (!t || !t->file)
        HL_TRY(HL_E_NOMEM);
    for (size_t i = 0; i < n_paths; i++) {
        t->n_files = i + 1;
        HL_TRY(open_file(paths[i], &t->file[i]));
        if (!hl_add_size(t->n_bytes, t->file[i].span.n, &t->n_bytes))
            HL_FAIL(HL_E_ARG, "the %zu text files together are too large", n_paths);
    }
    HL_TRY(make_label(paths, n_paths, &t->label));
    *out = t;
    t = NULL;
out:
    hl_text_close(t);
    return st;
}

hl_status hl_text_from_owned(const char *label, char *bytes, size_t n, bool is_generated,
                             hl_text **out)
{
    hl_text *t = hl_alloc_zero(1, sizeof *t);
    if (t) {
        t->file = hl_alloc_zero(1, sizeof *t->file);
        t->label = hl_strdup(label);
    }
    if (!t || !t->file || !t->label) {
        hl_text_close(t);
        return HL_E_NOMEM;
    }
    t->file->owned = bytes;
    t->file->span = (hl_text_span){.bytes = (const unsigned char *)bytes, .n = n};
    t->file->n_file_bytes = n;
    t->n_files = 1;
    t->n_bytes = n;
    t->is_generated = is_generated;
    *out = t;
    return HL_OK;
}

hl_status hl_text_from_bytes(const char *label, const void *bytes, size_t n, hl_text **out)
{
    hl_status st = check_bytes(label, (hl_text_span){.bytes = bytes, .n = n});
    if (st != HL_OK)
        return st;
    char *copy = hl_strndup(bytes, n);
    st = copy ? hl_text_from_owned(label, copy, n, false, out) : HL_E_NOMEM;
    if (st != HL_OK)
        hl_free(copy);
    return st;
}

void hl_text_close(hl_text *t)
{
    if (!t)
        return;
    for (size_t i = 0; t->file && i < t->n_files; i++) {
        hl_fs_map_close(&t->file[i].map);
        hl_free(t->file[i].owned);
        hl_vec_done(&t->file[i].row_ends);
    }
    hl_free(t->file);
    hl_free(t->label);
    hl_free(t);
}

size_t hl_text_n_bytes(const hl_text *t)
{
    return t->n_bytes;
}

const char *hl_text_label(const hl_text *t)
{
    return t->label;
}

bool hl_text_is_generated(const hl_text *t)
{
    return t->is_generated;
}

hl_text_measures hl_text_measure(const hl_text *t)
{
    hl_text_measures m = {.n_rows = -1, .invalid_at = -1};
    for (size_t i = 0; i < t->n_files; i++) {
        const text_file *f = &t->file[i];
        const unsigned char *s = f->span.bytes;
        m.n_file_bytes += (int64_t)f->n_file_bytes;
        m.is_packed |= f->is_packed;
        if (f->span.row_ends)
            m.n_rows = (m.n_rows > 0 ? m.n_rows : 0) + (int64_t)f->span.n_rows;
        for (size_t at = 0; at < f->span.n;) {
            uint32_t code;
            const size_t len = s[at] < 0x80 ? 1 : hl_utf8_read(s + at, f->span.n - at, &code);
            if (len == 0 && m.invalid_at < 0)
                m.invalid_at = m.n_bytes + (int64_t)at;
            m.n_lines += s[at] == '\n';
            at += len ? len : 1;
        }
        m.n_bytes += (int64_t)f->span.n;
    }
    return m;
}

size_t hl_text_n_files(const hl_text *t)
{
    return t->n_files;
}

hl_text_span hl_text_file(const hl_text *t, size_t i)
{
    HL_ASSERT(i < t->n_files);
    return t->file[i].span;
}

void hl_text_cut_file(hl_text *t, size_t i, size_t n)
{
    hl_text_span *s = &t->file[i].span;
    HL_ASSERT(i < t->n_files && n <= s->n);
    while (s->n_rows && s->row_ends[s->n_rows - 1] > n)
        s->n_rows--;
    t->n_bytes -= s->n - n;
    s->n = n;
}

uint64_t hl_text_fingerprint(const hl_text *t)
{
    uint64_t h = HL_HASH_START;
    for (size_t i = 0; i < t->n_files; i++) {
        const text_file *f = &t->file[i];
        const uint64_t word[] = {f->identity, f->span.n};
        h = f->identity ? hl_hash_bytes(h, word, sizeof word)
                        : hl_hash_bytes(h, f->span.bytes, f->span.n);
    }
    return h;
}

hl_text_span hl_text_slice(hl_text_span s, size_t from, size_t n)
{
    HL_ASSERT(from <= s.n);
    const size_t left = s.n - from;
    s.bytes += from;
    s.offset += from;
    s.n = n < left ? n : left;
    return s;
}

size_t hl_text_row_end(hl_text_span s, size_t at)
{
    size_t low = 0, high = s.n_rows - 1; /* the answer is row low .. high */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (s.row_ends[middle] > s.offset + at)
            high = middle;
        else
            low = middle + 1;
    }
    return s.row_ends[low] - s.offset;
}

size_t hl_text_break(hl_text_span s, size_t at, size_t window)
{
    HL_ASSERT(at <= s.n);
    if (at == 0 || at == s.n)
        return at;
    /* `at` itself is a line start if a line end stands before it */
    const unsigned char *from = s.bytes + at - 1;
    size_t n = window < s.n - at ? window + 1 : s.n - at + 1;
    const unsigned char *end = memchr(from, '\n', n);
    if (end)
        return (size_t)(end - s.bytes) + 1;
    for (size_t i = 0; i < n; i++)
        if (from[i] == ' ' || from[i] == '\t')
            return at + i;
    for (size_t i = 0; i < 3 && at < s.n && (s.bytes[at] & 0xC0) == 0x80; i++)
        at++;
    return at;
}

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Whether the character that ends before n > 0 is white space. */
static bool ends_blank(const unsigned char *s, size_t n)
{
    size_t at = n - 1;
    while (at > 0 && n - at < 3 && (s[at] & 0xC0) == 0x80)
        at--;
    uint32_t code;
    bool is_valid;
    return hl_uni_read(s + at, n - at, &code, &is_valid) == n - at && hl_uni_is_space(code);
}

size_t hl_text_break_ahead(hl_text_span s, size_t at, size_t window)
{
    HL_ASSERT(at <= s.n);
    if (at == 0 || at == s.n)
        return at;
    const size_t end = window < s.n - at ? at + window : s.n;
    for (size_t i = at; i < end; i++)
        if (is_blank(s.bytes[i]) && !ends_blank(s.bytes, i))
            return i;
    return hl_text_break(s, at, window);
}

size_t hl_text_cut(const hl_text *t, double share)
{
    size_t tail = (size_t)floor(share * (double)t->n_bytes);
    size_t at = t->n_bytes - (tail < t->n_bytes ? tail : t->n_bytes);
    size_t start = 0;
    for (size_t i = 0; i < t->n_files; i++) {
        hl_text_span s = t->file[i].span;
        if (at - start < s.n && s.row_ends)
            return start + hl_text_row_end(s, at - start);
        if (at - start < s.n) {
            /* never give more than half of the tail to the part before it */
            size_t window = tail / 2 < 4096 ? tail / 2 : 4096;
            return start + hl_text_break(s, at - start, window);
        }
        start += s.n;
    }
    return t->n_bytes;
}
