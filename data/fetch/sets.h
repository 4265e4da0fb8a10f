/* The public data sets that experiments use: what they are, whose, which files, and where these lie
 * below a data directory so that the readers find them. */
#ifndef HL_DATA_SETS_H
#define HL_DATA_SETS_H

#include "engine/base/err.h"

#define HL_SET_ADDRESSES_MAX 3

typedef struct hl_set_file {
    const char *path;                                /* below the data directory */
    int64_t n_bytes;                                 /* -1: not known here */
    const char *sha256;                              /* NULL: not known here */
    const char *addresses[HL_SET_ADDRESSES_MAX + 1]; /* ends with NULL */
} hl_set_file;

typedef struct hl_set {
    const char *name;
    const char *what;    /* one line */
    const char *licence; /* and whose it is */
    const char *note;    /* what is left to do, or why there are no files; NULL: nothing */
    const hl_set_file *files;
    size_t n_files; /* 0: there are no plain files to fetch */
} hl_set;

/* In the order of showing; NULL: i is past the last. */
const hl_set *hl_set_at(size_t i);
/* By name, upper and lower case alike; NULL: there is none. */
const hl_set *hl_set_find(const char *name);
/* The name most like this one, for "did you mean"; NULL: none is near. */
const char *hl_set_nearest(const char *name);

/* Where a file of a set lies: as fetched, or else unpacked (without .gz) or packed (with it), for
 * the readers take both. Owned. *is_there: whether there is one; else the path to fetch to.
 * NULL: NOMEM set. */
char *hl_set_path(const char *dir, const hl_set_file *file, bool *is_there);

#endif
