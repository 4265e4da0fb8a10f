/* gzip taken apart, from bytes in memory to as many bytes as are asked for. */
#ifndef HL_DATA_GZ_H
#define HL_DATA_GZ_H

#include "engine/base/err.h"

typedef struct hl_gz hl_gz;

/* Whether n bytes begin like gzip; no text does. */
bool hl_gz_is(const void *bytes, size_t n);

/* The most that n packed bytes can unpack to: deflate spends at least two bits on 258 bytes. */
size_t hl_gz_most(size_t n);

/* path: for messages. Both are borrowed until hl_gz_close. All memory comes from hl_alloc.
 * Errors: NOMEM, INTERNAL (no zlib). */
HL_MUST_CHECK hl_status hl_gz_open(const char *path, const void *bytes, size_t n, hl_gz **out);

/* Up to `want` bytes; fewer only at the end, and then the check sums of all members were right.
 * Errors, naming file and offset: FORMAT (cut short, damaged, followed by something else), NOMEM.
 */
HL_MUST_CHECK hl_status hl_gz_read(hl_gz *z, void *to, size_t want, size_t *got);

void hl_gz_close(hl_gz *z); /* NULL is fine */

#endif
