/* The lock of a run directory: says who writes it, and keeps a second writer out.
 *
 * The file `lock` names the holder (process id with start time, boot, host), and its holder keeps
 * an advisory lock on it, which the system drops when the process ends, however it ends. Released,
 * the file is empty. It is never removed: whoever came in between would lock a file without a name.
 */
#ifndef HL_STORE_LOCK_H
#define HL_STORE_LOCK_H

#include "engine/base/err.h"

typedef struct hl_lock hl_lock;

/* STATE: somebody else holds it; the message names the process and says what to do. */
HL_MUST_CHECK hl_status hl_lock_take(const char *run_dir, hl_lock **out);
void hl_lock_release(hl_lock *lock); /* NULL is fine */

typedef enum hl_tristate { HL_NO, HL_YES, HL_UNKNOWN } hl_tristate;

typedef struct hl_lock_view {
    bool exists; /* there is a lock file that can be read */
    bool named;  /* it names a holder; false: released, or never taken */
    int64_t pid;
    char host[80];
    hl_tristate locked;  /* the advisory lock is held right now, by anybody */
    hl_tristate process; /* the named process lives; UNKNOWN: it is not of this machine */
} hl_lock_view;

/* Never fails: what cannot be seen is unknown. */
void hl_lock_look(const char *run_dir, hl_lock_view *out);

/* Is somebody writing this run now? */
hl_tristate hl_lock_is_live(const hl_lock_view *v);

/* This machine's name, safe in file names, at most 63 bytes. */
const char *hl_host_name(char buf[80]);

#endif
