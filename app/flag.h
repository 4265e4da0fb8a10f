/* Flags: a place in a run's model that somebody marked ("layer.10/attn.out"), with a text. Part of
 * the run's record, as a table "flag/PLACE": {"place", "text", "step", "who"}, or {"place",
 * "removed": true}; the newest one of a place counts. The same object is the request to a live run.
 */
#ifndef HL_APP_FLAG_H
#define HL_APP_FLAG_H

#include "engine/base/err.h"
#include "engine/base/json.h"

#define HL_FLAG_TAG "flag/"

typedef struct hl_flag_note {
    const char *place;
    const char *text; /* may be "" */
    int64_t step;     /* that it is about; -1: none in particular */
    bool removed;
    const char *who; /* "" or NULL: not known */
} hl_flag_note;

HL_MUST_CHECK hl_status hl_flag_put(const hl_flag_note *n, hl_str *json);
/* Borrowed from v. ARG: no place. */
HL_MUST_CHECK hl_status hl_flag_read(const hl_json *v, hl_flag_note *out);

#endif
