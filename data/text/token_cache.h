/* Finds the file of a tokenised corpus in a directory, or makes it. */
#ifndef HL_DATA_TOKEN_CACHE_H
#define HL_DATA_TOKEN_CACHE_H

#include "data/text/encode.h"
#include "data/text/token_file.h"

typedef struct hl_token_cache {
    const char *dir; /* made if it is not there */
    hl_token_identity id;
    hl_encode_job part[HL_PART_COUNT]; /* from == to: there is no such part */
    hl_team *team;                     /* NULL: one made for it */
    size_t sync_bytes;                 /* of text between two records of progress; 0: 64 MiB */
    bool (*on_progress)(void *arg, int64_t n_done, int64_t n_total); /* as in hl_corpus_params */
    void *progress_arg;
} hl_token_cache;

/* DIR/KEY.tokens, mapped. Where it is missing, or not what it should be (a notice says so), it is
 * made: as KEY.partial, beside which KEY.progress tells how much of it is on disk, so that a build
 * that was killed goes on from there. KEY.lock is held meanwhile: who comes second waits, and opens
 * what the first has made, or goes on where that was killed.
 * Errors: IO, NOTFOUND (the directory), NOMEM, CANCELLED (on_progress said so). */
HL_MUST_CHECK hl_status hl_token_cache_open(const hl_token_cache *c, hl_token_file *out);

#endif
