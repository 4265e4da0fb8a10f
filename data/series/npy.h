/* Arrays of float32 as NPY files (version 1.0), written piece by piece. */
#ifndef HL_DATA_NPY_H
#define HL_DATA_NPY_H

#include "engine/base/err.h"

typedef struct hl_npy hl_npy;

/* A file beside `path` until hl_npy_close. dim: sizes, row-major, rank 1 .. 6. Errors: ARG, IO,
 * NOMEM. */
HL_MUST_CHECK hl_status hl_npy_open(const char *path, const int64_t *dim, int rank, hl_npy **out);
HL_MUST_CHECK hl_status hl_npy_add(hl_npy *f, const float *v, int64_t n); /* Errors: IO */
/* Puts the file at its path. Errors: STATE (fewer or more numbers than `dim` says), IO; then
 * nothing at the path has changed. f is gone in any case. */
HL_MUST_CHECK hl_status hl_npy_close(hl_npy *f);
void hl_npy_discard(hl_npy *f); /* NULL is fine */

#endif
