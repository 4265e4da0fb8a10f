#include "data/text/rows.h"

#include <string.h>

#include "data/tok/tok_internal.h"
#include "data/tok/tok_unicode.h"

static bool is_blank(const unsigned char *s, size_t n)
{
    for (size_t at = 0; at < n;) {
        uint32_t code;
        bool is_valid;
        at += hl_uni_read(s + at, n - at, &code, &is_valid);
        if (!hl_uni_is_space(code))
            return false;
    }
    return true;
}

static size_t line_end(hl_text_span s, size_t at)
{
    const unsigned char *end = memchr(s.bytes + at, '\n', s.n - at);
    return end ? (size_t)(end - s.bytes) + 1 : s.n;
}

/* Behind all lines from `at` on that are blank, or that are not. */
static size_t skip_lines(hl_text_span s, size_t at, bool blank)
{
    while (at < s.n) {
        const size_t end = line_end(s, at);
        if (is_blank(s.bytes + at, end - at) != blank)
            break;
        at = end;
    }
    return at;
}

static hl_row next_line(hl_text_span s, size_t at)
{
    const size_t end = line_end(s, at);
    const size_t n = is_blank(s.bytes + at, end - at) ? 0 : end - at;
    return (hl_row){.text = hl_text_slice(s, at, n), .end = end};
}

static hl_row next_document(hl_text_span s, size_t at)
{
    const size_t begin = skip_lines(s, at, true), behind = skip_lines(s, begin, false);
    size_t end = behind;
    if (end > begin && s.bytes[end - 1] == '\n')
        end--;
    if (end > begin && s.bytes[end - 1] == '\r')
        end--;
    return (hl_row){.text = hl_text_slice(s, begin, end - begin),
                    .end = skip_lines(s, behind, true),
                    .is_gap = begin == end};
}

/* The line end behind a row is not of its text. */
static hl_row next_of_file(hl_text_span s, size_t at)
{
    const size_t end = hl_text_row_end(s, at);
    if (end > s.n)
        return (hl_row){.text = hl_text_slice(s, at, s.n), .end = s.n};
    return (hl_row){.text = hl_text_slice(s, at, end - 1 - at), .end = end};
}

hl_row hl_row_next(hl_text_span s, size_t at, hl_rows kind)
{
    HL_ASSERT(at < s.n);
    if (s.row_ends)
        return next_of_file(s, at);
    return kind == HL_ROWS_DOCUMENT ? next_document(s, at) : next_line(s, at);
}

hl_status hl_row_frame_of(const hl_tok *tok, hl_row_frame *out)
{
    const bool is_bpe = tok->ops == &hl_tok_bpe_ops;
    const int32_t cls = tok->special[HL_TOK_SPECIAL_CLS], sep = tok->special[HL_TOK_SPECIAL_SEP];
    if (!is_bpe && tok->ops != &hl_tok_wordpiece_ops)
        return hl_err_set(HL_E_ARG,
                          "rows need a tokenizer with tokens for where they begin, and '%s' has "
                          "none; use one from a file (WordPiece or BPE), or rows = \"none\"",
                          hl_tok_kind(tok));
    if (sep < 0 || (!is_bpe && cls < 0))
        return hl_err_set(HL_E_ARG,
                          "rows need %s and this %s vocabulary has no such token; use another, or "
                          "rows = \"none\"",
                          is_bpe ? "</s> or <|endoftext|>" : "[CLS] and [SEP]", hl_tok_kind(tok));
    *out = is_bpe ? (hl_row_frame){sep, -1} : (hl_row_frame){cls, sep};
    return HL_OK;
}

static const char *const names[HL_ROWS_COUNT] = {"none", "line", "document"};

const char *hl_rows_name(hl_rows kind)
{
    return (unsigned)kind < HL_ROWS_COUNT ? names[kind] : "?";
}

hl_status hl_rows_of_name(const char *name, hl_rows *out)
{
    for (int i = 0; i < HL_ROWS_COUNT; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (hl_rows)i;
            return HL_OK;
        }
    return hl_err_set(HL_E_ARG, "rows are 'none', 'line' or 'document', not '%s'", name);
}
