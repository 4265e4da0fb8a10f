/* What people do to runs that are there: one table for the command line and the screen. */
#ifndef HL_STORE_RUN_EDIT_H
#define HL_STORE_RUN_EDIT_H

#include "engine/base/err.h"

/* name, what it is done with ("": nothing), help, what has been done */
#define HL_RUN_EDITS(X)                                                                            \
    X(TAG, "tag", "TAG[,TAG]", "give runs a tag", "tagged")                                        \
    X(UNTAG, "untag", "TAG[,TAG]", "take a tag away", "untagged")                                  \
    X(NOTE, "note", "TEXT", "write a note about runs; \"\" removes it", "noted")                   \
    X(RENAME, "rename", "NAME", "give runs another name; \"\" their own", "renamed")               \
    X(PIN, "pin", "", "put runs first in lists", "pinned")                                         \
    X(UNPIN, "unpin", "", "back to their place", "unpinned")                                       \
    X(ARCHIVE, "archive", "", "leave runs out of lists that do not ask for them", "archived")      \
    X(UNARCHIVE, "unarchive", "", "back into all lists", "unarchived")                             \
    X(DELETE, "delete", "", "move runs to the trash; gc empties it", "deleted")                    \
    X(RESTORE, "restore", "", "bring deleted runs back, by their ids", "restored")

typedef enum hl_run_edit {
#define HL_RUN_EDIT_ENUM(upper, name, text, help, done) HL_EDIT_##upper,
    HL_RUN_EDITS(HL_RUN_EDIT_ENUM)
#undef HL_RUN_EDIT_ENUM
        HL_EDIT_COUNT
} hl_run_edit;

typedef struct hl_run_edit_row {
    const char *name, *text, *help, *done;
} hl_run_edit_row;
const hl_run_edit_row *hl_run_edit_get(hl_run_edit e);

/* text: NULL where the row has none. Errors: as hl_run_notes_edit, hl_run_discard, hl_run_restore.
 */
HL_MUST_CHECK hl_status hl_run_edit_do(hl_run_edit e, const char *text, const char *dir);

#endif
