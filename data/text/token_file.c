#define _POSIX_C_SOURCE 200809L
#include "data/text/token_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/crc32c.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

/* Raised whenever a tokenizer, the cutting of rows or this format changes what comes out. */
#define VERSION 2

static const char magic[8] = "hlTOKENS";

typedef struct header {
    char magic[8];
    uint32_t version, width, rows, unused;
    uint64_t seq_len, tok_hash, text_hash;
    uint64_t n_tokens[HL_PART_COUNT], n_bytes[HL_PART_COUNT];
    uint64_t hash;
    unsigned char zero[36];
    uint32_t crc; /* of all before */
} header;

_Static_assert(sizeof(header) == HL_TOKEN_FILE_HEADER, "no padding");

uint64_t hl_token_file_key(const hl_token_identity *id)
{
    const uint64_t word[] = {VERSION,     id->tok_hash, id->text_hash,
                             id->seq_len, id->rows,     id->width};
    return hl_hash_bytes(HL_HASH_START, word, sizeof word);
}

static header header_of(const hl_token_identity *id, const hl_token_counts *counts, uint64_t hash)
{
    header h = {.version = VERSION,
                .width = id->width,
                .rows = id->rows,
                .seq_len = id->seq_len,
                .tok_hash = id->tok_hash,
                .text_hash = id->text_hash,
                .hash = hash};
    memcpy(h.magic, magic, sizeof magic);
    memcpy(h.n_tokens, counts->n_tokens, sizeof h.n_tokens);
    memcpy(h.n_bytes, counts->n_bytes, sizeof h.n_bytes);
    h.crc = hl_crc32c(0, &h, offsetof(header, crc));
    return h;
}

/* Bytes of a whole file; false: more than there can be. */
static bool file_bytes(const header *h, size_t *out)
{
    size_t n, n_bytes;
    return h->n_tokens[0] <= INT64_MAX && h->n_tokens[1] <= INT64_MAX &&
           hl_add_size(h->n_tokens[0], h->n_tokens[1], &n) && hl_mul_size(n, h->width, &n_bytes) &&
           hl_add_size(n_bytes, sizeof *h, out);
}

static const char *fault_of(const header *h, size_t n, const hl_token_identity *id)
{
    size_t want;
    if (memcmp(h->magic, magic, sizeof magic) != 0)
        return "it is no file of tokens";
    if (h->crc != hl_crc32c(0, h, offsetof(header, crc)))
        return "its header is damaged";
    if (h->version != VERSION)
        return "it is of another version";
    if (h->tok_hash != id->tok_hash)
        return "it is of another vocabulary";
    if (h->text_hash != id->text_hash)
        return "it is of another text";
    if (h->width != id->width || h->rows != id->rows || h->seq_len != id->seq_len)
        return "it is of other rows";
    if (!file_bytes(h, &want) || want != n)
        return "its size is not what its header says";
    return NULL;
}

hl_status hl_token_file_open(const char *path, const hl_token_identity *id, hl_token_file *out)
{
    hl_token_file f = {0};
    header h;
    hl_status st = hl_fs_map_open(path, &f.map);
    if (st != HL_OK)
        return st;
    const char *fault = "it is too short for a header";
    if (f.map.n >= sizeof h) {
        memcpy(&h, f.map.bytes, sizeof h);
        fault = fault_of(&h, f.map.n, id);
    }
    if (fault) {
        hl_fs_map_close(&f.map);
        return hl_err_set(HL_E_FORMAT, "%s cannot be used: %s", path, fault);
    }
    memcpy(f.counts.n_tokens, h.n_tokens, sizeof h.n_tokens);
    memcpy(f.counts.n_bytes, h.n_bytes, sizeof h.n_bytes);
    f.hash = h.hash;
    f.at[0] = f.map.bytes + sizeof h;
    f.at[1] = f.map.bytes + sizeof h + (size_t)h.n_tokens[0] * h.width;
    *out = f;
    return HL_OK;
}

void hl_token_file_close(hl_token_file *f)
{
    hl_fs_map_close(&f->map);
    *f = (hl_token_file){0};
}

hl_status hl_token_file_seal(int fd, const char *path, const hl_token_identity *id,
                             const hl_token_counts *counts, uint64_t hash)
{
    const header h = header_of(id, counts, hash);
    if (lseek(fd, 0, SEEK_SET) != 0)
        return hl_err_set(HL_E_IO, "cannot write %s: %s", path, strerror(errno));
    return hl_fs_write_all(fd, &h, sizeof h, path);
}

uint64_t hl_token_hash(const hl_token_identity *id, const hl_token_counts *counts,
                       const void *const at[HL_PART_COUNT])
{
    uint64_t h = id->tok_hash;
    const int64_t cut[] = {id->rows, (int64_t)id->seq_len};
    if (id->rows != HL_ROWS_NONE)
        h = hl_hash_bytes(h, cut, sizeof cut);
    for (int part = 0; part < HL_PART_COUNT; part++) {
        const size_t n = (size_t)counts->n_tokens[part];
        h = hl_hash_bytes(h, &n, sizeof n);
        h = hl_hash_bytes(h, at[part], n * id->width);
    }
    return h;
}
