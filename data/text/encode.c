/* DESIGN. Bytes are encoded in chunks that end at a line start or white space, into a scratch array
 * of i32; the chunk size is fixed, so tokens depend on neither memory nor threads. A row longer
 * than a chunk is encoded in several, too. */
#include "data/text/encode.h"

#include "data/tok/tok_internal.h"
#include "engine/base/mem.h"

#define CHUNK_BYTES  ((size_t)256 << 10)
#define CHUNK_WINDOW ((size_t)4096)

/* The bytes of the job from `at` on that lie in one file. */
static hl_text_span span_at(const hl_encode_job *job, size_t at)
{
    size_t start = 0, i = 0;
    hl_text_span s = hl_text_file(job->text, 0);
    while (at - start >= s.n) {
        start += s.n;
        s = hl_text_file(job->text, ++i);
    }
    return hl_text_slice(s, at - start, job->to - at);
}

static size_t chunk_end(const hl_encode_job *job, hl_text_span s, size_t at)
{
    if (s.n - at <= CHUNK_BYTES)
        return s.n;
    return job->tok->ops->keeps_space_ahead ? hl_text_break_ahead(s, at + CHUNK_BYTES, CHUNK_WINDOW)
                                            : hl_text_break(s, at + CHUNK_BYTES, CHUNK_WINDOW);
}

size_t hl_encode_unit_end(const hl_encode_job *job, size_t from)
{
    hl_text_span s = span_at(job, from);
    if (job->rows == HL_ROWS_NONE)
        return from + chunk_end(job, s, 0);
    size_t in_file = 0;
    for (int n = 0; n < HL_ROWS_GROUP;) {
        if (in_file == s.n) {
            from += s.n;
            if (from == job->to)
                return from;
            s = span_at(job, from);
            in_file = 0;
        }
        const hl_row row = hl_row_next(s, in_file, job->rows);
        in_file = row.end;
        n += !row.is_gap;
    }
    return from + in_file;
}

int32_t *hl_encode_scratch(const hl_encode_job *job)
{
    return hl_alloc_zero(hl_tok_room(job->tok, CHUNK_BYTES + CHUNK_WINDOW + 8), sizeof(int32_t));
}

static hl_status encode_chunk(const hl_encode_job *job, const unsigned char *bytes, size_t n,
                              int32_t *scratch, hl_token_list *list)
{
    const size_t n_ids = hl_tok_encode(job->tok, bytes, n, scratch);
    HL_ASSERT(n_ids <= hl_tok_room(job->tok, n));
    return hl_token_list_append(list, scratch, n_ids, job->width);
}

static hl_status encode_span(const hl_encode_job *job, hl_text_span s, int32_t *scratch,
                             hl_token_list *list)
{
    hl_status st = HL_OK;
    for (size_t at = 0, end; st == HL_OK && at < s.n; at = end) {
        end = chunk_end(job, s, at);
        st = encode_chunk(job, s.bytes + at, end - at, scratch, list);
    }
    return st;
}

static hl_status put_id(const hl_encode_job *job, int32_t id, hl_token_list *list)
{
    return id < 0 ? HL_OK : hl_token_list_append(list, &id, 1, job->width);
}

static hl_status encode_row(const hl_encode_job *job, hl_text_span text, int32_t *scratch,
                            hl_token_list *list)
{
    hl_status st = put_id(job, job->frame.head, list);
    if (st == HL_OK)
        st = encode_span(job, text, scratch, list);
    return st == HL_OK ? put_id(job, job->frame.tail, list) : st;
}

/* Bytes of text behind the whole blocks so far, moved on each time a row completes one. */
typedef struct group {
    size_t first;       /* in the list */
    size_t n_bytes;     /* of the rows so far */
    size_t kept, bytes; /* tokens of whole blocks, and bytes of text */
} group;

static void end_row(const hl_encode_job *job, group *g, size_t n_before, size_t n, size_t row_bytes)
{
    const size_t whole = (n - g->first) / job->seq_len * job->seq_len;
    if (whole > g->kept) {
        const size_t part = g->first + whole - n_before;
        g->kept = whole;
        g->bytes = g->n_bytes + row_bytes * part / (n - n_before);
    }
    g->n_bytes += row_bytes;
}

static hl_status encode_group(const hl_encode_job *job, size_t from, size_t to, int32_t *scratch,
                              hl_token_list *list, size_t *n_bytes)
{
    group g = {.first = list->n};
    while (from < to) {
        const hl_text_span s = hl_text_slice(span_at(job, from), 0, to - from);
        for (size_t at = 0; at < s.n;) {
            const hl_row row = hl_row_next(s, at, job->rows);
            const size_t n_before = list->n;
            hl_status st = row.is_gap ? HL_OK : encode_row(job, row.text, scratch, list);
            if (st != HL_OK)
                return st;
            end_row(job, &g, n_before, list->n, row.end - at);
            at = row.end;
        }
        from += s.n;
    }
    list->n = g.first + g.kept;
    *n_bytes = g.bytes;
    return HL_OK;
}

hl_status hl_encode_unit(const hl_encode_job *job, size_t from, size_t to, int32_t *scratch,
                         hl_token_list *list, size_t *n_bytes)
{
    if (job->rows != HL_ROWS_NONE)
        return encode_group(job, from, to, scratch, list, n_bytes);
    *n_bytes = to - from;
    return encode_chunk(job, span_at(job, from).bytes, to - from, scratch, list);
}
