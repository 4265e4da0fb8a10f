/* Rows of a store's list as they were read last, in one file of the user's cache directory: opening
 * a list of a thousand runs then looks at each run's files and reads none. The file can be deleted
 * at any time. What is damaged, of another program or of another version counts as nothing. */
#ifndef HL_STORE_LIST_CACHE_H
#define HL_STORE_LIST_CACHE_H

#include "app/store/run_row.h"

/* The version of what a row was read from: summary.json and notes.json, or without a summary
 * run.json and the events. */
typedef struct hl_row_version {
    int64_t inode, size, t_ns; /* inode 0: there is nothing */
} hl_row_version;

enum { HL_LIST_CACHED_MIN = 64 }; /* runs of a store that is worth a file */

typedef struct hl_list_cache hl_list_cache;
/* NULL: there is none. */
hl_list_cache *hl_list_cache_open(const char *runs_dir);
void hl_list_cache_close(hl_list_cache *c); /* NULL is fine */
/* The row of runs_dir/name if it was read from that version. Its state is to be judged anew. */
bool hl_list_cache_get(const hl_list_cache *c, const char *dir, hl_row_version version,
                       hl_row_store *out);

/* Writes the file anew. */
typedef struct hl_list_saving hl_list_saving;
hl_list_saving *hl_list_saving_begin(void); /* NULL: no memory */
void hl_list_saving_add(hl_list_saving *s, const hl_row_store *row, hl_row_version version);
void hl_list_saving_end(hl_list_saving *s, const char *runs_dir); /* frees it; NULL is fine */

#endif
