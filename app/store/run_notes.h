/* What people say of a run after it began: notes.json beside run.json, which stays as written.
 * Replaced as a whole by atomic rename; of two changes at one moment the later one wins. */
#ifndef HL_STORE_RUN_NOTES_H
#define HL_STORE_RUN_NOTES_H

#include "engine/base/err.h"

typedef struct hl_run_notes_change {
    const char *name;             /* another name; "" the run's own again; NULL: as it is */
    const char *note;             /* "" none; NULL: as it is */
    const char *const *tags_more; /* tags to add, and to take away; a tag has no blanks */
    size_t n_more;
    const char *const *tags_less;
    size_t n_less;
    int archived, pinned; /* 0, 1; < 0: as it is */
} hl_run_notes_change;

/* Errors: ARG (not a run, a tag with blanks or none, a text of more than 4000 bytes or one that is
 * not UTF-8), FORMAT (notes.json is damaged: it is left as it is), IO, NOMEM. */
HL_MUST_CHECK hl_status hl_run_notes_edit(const char *run_dir, const hl_run_notes_change *c);

#endif
