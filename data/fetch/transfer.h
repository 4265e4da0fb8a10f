/* One request to one address, its answer written into an open file. The only thing here that knows
 * a network library. */
#ifndef HL_DATA_FETCH_TRANSFER_H
#define HL_DATA_FETCH_TRANSFER_H

#include "engine/base/err.h"
#include "engine/base/thread.h"

#define HL_VALIDATOR_MAX 256

typedef enum hl_transfer_end {
    HL_TRANSFER_DONE,
    HL_TRANSFER_BROKEN,  /* no connection, or it ended early: asking again may help */
    HL_TRANSFER_REFUSED, /* this address has no such file, or one of another size */
    HL_TRANSFER_STALE,   /* the part does not belong to the file behind this address */
    HL_TRANSFER_FATAL    /* disk, memory, stop: no other address helps */
} hl_transfer_end;

typedef struct hl_transfer {
    const char *address;
    int fd; /* of the part, open for writing */
    const char *path;
    int64_t offset;  /* ask for what follows; 0: the whole file */
    int64_t n_bytes; /* of the whole file; -1: unknown */
    int64_t max_bytes;
    bool refuse_pages; /* no sum will tell a page that says "moved" or "log in" from the file */
    int64_t connect_ms, stall_ms;
    const hl_flag *stop; /* may be NULL */
    /* Once, before the first byte of the file is written: whether it begins at 0 (then the part
     * has been cut to nothing) and what the server calls this version ("" if it does not say). */
    hl_status (*on_start)(void *arg, bool from_zero, const char *validator);
    void (*on_bytes)(void *arg, int64_t have, int64_t total);
    void *arg;
    /* In: what the part's version is called, "" if unknown. */
    char validator[HL_VALIDATOR_MAX];
    /* Out. */
    int64_t have;   /* bytes in the part now */
    bool from_zero; /* the part holds nothing from before */
    hl_transfer_end end;
} hl_transfer;

/* Status and t->end: DONE with OK; BROKEN, REFUSED and STALE with IO or FORMAT and a message
 * without the address; FATAL with IO, NOMEM or CANCELLED. */
HL_MUST_CHECK hl_status hl_transfer_run(hl_transfer *t);

bool hl_transfer_is_built_in(void);

#endif
