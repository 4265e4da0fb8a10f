/* IDX files, the format of MNIST and EMNIST: bytes 0 0, element type, rank, one big-endian u32 per
 * dimension, then the elements in row-major order. Read here: unsigned bytes (type 0x08), rank
 * 1 .. 4, plain or gzip as the first two bytes say; the name plays no part. */
#ifndef HL_DATA_IDX_H
#define HL_DATA_IDX_H

#include "engine/base/err.h"

#define HL_IDX_RANK_MAX  4
#define HL_IDX_BYTES_MAX ((size_t)2 << 30) /* of a file, and of the elements in it */

typedef struct hl_idx {
    uint8_t *at; /* owned; dim[0] * .. * dim[rank-1] elements */
    size_t n;
    int rank;
    size_t dim[HL_IDX_RANK_MAX];
} hl_idx;

/* The file is taken as hostile: nothing is allocated for elements before the header has been held
 * against the size of the file (gzip: against what it can unpack to, 1032 times its size), and it
 * must end where the elements end. rank: the one expected, 0 for any.
 * Errors, each naming the file, what was found and what was expected: NOTFOUND, IO, FORMAT (not
 * IDX, another type or rank, too short, too long, a damaged or cut gzip stream, too large),
 * NOMEM. */
HL_MUST_CHECK hl_status hl_idx_read(const char *path, int rank, hl_idx *out);
void hl_idx_done(hl_idx *x);

#endif
