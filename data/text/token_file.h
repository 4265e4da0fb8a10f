/* A tokenised corpus as a file: a header, the tokens of the training part, those of the evaluation
 * part, nothing else. Numbers are in the byte order of the machine that wrote them; on another the
 * version differs. */
#ifndef HL_DATA_TOKEN_FILE_H
#define HL_DATA_TOKEN_FILE_H

#include "data/hl_data.h"
#include "engine/base/fs.h"

#define HL_TOKEN_FILE_HEADER 128 /* bytes; what it does not use is 0 */

/* What the tokens are made of; two of the same identity are the same tokens. */
typedef struct hl_token_identity {
    uint64_t tok_hash,
        text_hash;    /* text_hash: of both texts' fingerprints and where they are cut */
    uint64_t seq_len; /* 0 unless there are rows */
    uint32_t rows, width;
} hl_token_identity;

typedef struct hl_token_counts {
    uint64_t n_tokens[HL_PART_COUNT], n_bytes[HL_PART_COUNT];
} hl_token_counts;

typedef struct hl_token_file {
    hl_fs_map map;
    const void *at[HL_PART_COUNT]; /* in the map */
    hl_token_counts counts;
    uint64_t hash; /* of the corpus */
} hl_token_file;

/* A name for files: of the identity and the version of tokens and format. */
uint64_t hl_token_file_key(const hl_token_identity *id);

/* Maps a file of this identity. Header, sizes and identity are checked, tokens are not read.
 * Errors: NOTFOUND; FORMAT (not such a file, damaged, of another identity); IO. */
HL_MUST_CHECK hl_status hl_token_file_open(const char *path, const hl_token_identity *id,
                                           hl_token_file *out);
void hl_token_file_close(hl_token_file *f);

/* Writes the header of a file whose tokens are there and complete. Errors: IO. */
HL_MUST_CHECK hl_status hl_token_file_seal(int fd, const char *path, const hl_token_identity *id,
                                           const hl_token_counts *counts, uint64_t hash);

/* Hash of a corpus: of vocabulary, rows and tokens. Cost: a pass over the tokens. */
uint64_t hl_token_hash(const hl_token_identity *id, const hl_token_counts *counts,
                       const void *const at[HL_PART_COUNT]);

#endif
