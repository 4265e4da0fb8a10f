/* Public files over the network: one file from the first of several addresses that has it.
 *
 *   PATH.part        what has arrived; a later call continues it
 *   PATH.part.from   where it came from and the server's word for this version of the file
 *   PATH             the whole file, its sum checked, on disk; never replaced when it is there
 *
 * Built on libcurl where there is one; nothing is printed. */
#ifndef HL_DATA_FETCH_H
#define HL_DATA_FETCH_H

#include "engine/base/err.h"
#include "engine/base/sha256.h"
#include "engine/base/thread.h"

typedef enum hl_fetch_event_kind {
    HL_FETCH_BEGIN, /* an address is asked; have > 0: for the rest of a part */
    HL_FETCH_BYTES, /* at most 20 times a second */
    HL_FETCH_SUM,   /* the file is being read again for its sum; have: read so far */
    HL_FETCH_FAULT  /* message: what went wrong with this address; another try may follow */
} hl_fetch_event_kind;

typedef struct hl_fetch_event {
    hl_fetch_event_kind kind;
    const char *address;
    int64_t have, total; /* bytes; total -1: unknown */
    const char *message;
} hl_fetch_event;

/* Start from hl_fetch_params_default. All pointers are borrowed for the call. */
typedef struct hl_fetch_params {
    const char *const *addresses; /* http://, https:// or file://, in the order of trying */
    size_t n_addresses;
    const char *path;   /* where the file shall be; its directory is made */
    int64_t n_bytes;    /* expected; -1: unknown */
    const char *sha256; /* expected, 64 hexadecimal digits in lower case; NULL: unknown */
    int64_t max_bytes;  /* never more than this where n_bytes is unknown: 16 GiB */
    int64_t connect_ms; /* until a connection stands: 20 s */
    int64_t stall_ms;   /* an address that sends next to nothing for so long is left: 30 s */
    int64_t pause_ms;   /* before a broken connection is tried again: 1 s */
    int n_tries;        /* of an address that breaks off but brings something each time: 5 */
    void (*on_event)(void *arg, const hl_fetch_event *event); /* on the calling thread; or NULL */
    void *arg;
    const hl_flag *stop; /* not 0: end within 0.2 s (a sum: within 1 MiB); may be NULL */
} hl_fetch_params;
hl_fetch_params hl_fetch_params_default(void);

typedef struct hl_fetch_result {
    bool was_there;      /* nothing was fetched: the file was there, and good as far as known */
    int64_t n_bytes;     /* of the file */
    int64_t n_resumed;   /* of these, already there in a part */
    const char *address; /* borrowed from the parameters; NULL: was there */
    char sha256[HL_SHA256_HEX];
} hl_fetch_result;

/* Fetches one file. An address is left for the next one when it cannot be reached, refuses, is
 * slow, breaks off without bringing anything, gives a file of another size or sum or, where there
 * is no sum, a web page; a part that
 * turns out wrong is thrown away and its address asked for the whole file once. Parts without a sum
 * to check them by are continued only from the address that began them, and only if its file is
 * still the same (If-Range). At most 5 redirects, never away from https to http or file.
 * Errors: IO (no address worked; the disk), FORMAT (all that came was wrong; or a file with another
 * size or sum is there already and is left alone), STATE (another process fetches it), CANCELLED
 * (the part stays), UNSUPPORTED (no libcurl: the message says what to download by hand), ARG,
 * NOMEM. Cost: two passes over the file, one for its sum. */
HL_MUST_CHECK hl_status hl_fetch(const hl_fetch_params *params, hl_fetch_result *out);

bool hl_fetch_is_built_in(void);

/* The sum of a file. Errors: IO, NOTFOUND, CANCELLED. stop may be NULL. */
HL_MUST_CHECK hl_status hl_file_sha256(const char *path, const hl_flag *stop,
                                       char hex[HL_SHA256_HEX]);

#endif
