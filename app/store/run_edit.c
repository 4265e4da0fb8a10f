#include "app/store/run_edit.h"

#include <stdio.h>
#include <string.h>

#include "app/store/retention.h"
#include "app/store/run_notes.h"

static const hl_run_edit_row rows[HL_EDIT_COUNT] = {
#define HL_RUN_EDIT_ROW(upper, name, text, help, done) [HL_EDIT_##upper] = {name, text, help, done},
    HL_RUN_EDITS(HL_RUN_EDIT_ROW)
#undef HL_RUN_EDIT_ROW
};

const hl_run_edit_row *hl_run_edit_get(hl_run_edit e)
{
    return &rows[e];
}

/* "a,b c" */
static hl_status edit_tags(const char *dir, const char *text, bool takes_away)
{
    enum { TAGS_MAX = 32 };
    char words[512];
    const char *tags[TAGS_MAX];
    size_t n = 0;
    if (strlen(text) >= sizeof words)
        return hl_err_set(HL_E_ARG, "these tags are too long: %zu letters at most",
                          sizeof words - 1);
    snprintf(words, sizeof words, "%s", text);
    for (char *at = words + strspn(words, " ,"); *at && n < TAGS_MAX; at += strspn(at, " ,")) {
        tags[n++] = at;
        at += strcspn(at, " ,");
        if (*at)
            *at++ = 0;
    }
    if (n == 0)
        return hl_err_set(HL_E_ARG, "'%s' is no tag", text);
    hl_run_notes_change c = {.archived = -1, .pinned = -1};
    if (takes_away) {
        c.tags_less = tags;
        c.n_less = n;
    } else {
        c.tags_more = tags;
        c.n_more = n;
    }
    return hl_run_notes_edit(dir, &c);
}

hl_status hl_run_edit_do(hl_run_edit e, const char *text, const char *dir)
{
    hl_run_notes_change c = {.archived = -1, .pinned = -1};
    switch (e) {
    case HL_EDIT_TAG:
    case HL_EDIT_UNTAG:
        return edit_tags(dir, text, e == HL_EDIT_UNTAG);
    case HL_EDIT_NOTE:
        c.note = text;
        break;
    case HL_EDIT_RENAME:
        c.name = text;
        break;
    case HL_EDIT_PIN:
    case HL_EDIT_UNPIN:
        c.pinned = e == HL_EDIT_PIN;
        break;
    case HL_EDIT_ARCHIVE:
    case HL_EDIT_UNARCHIVE:
        c.archived = e == HL_EDIT_ARCHIVE;
        break;
    case HL_EDIT_DELETE:
        return hl_run_discard(dir);
    default:
        return hl_run_restore(dir);
    }
    return hl_run_notes_edit(dir, &c);
}
