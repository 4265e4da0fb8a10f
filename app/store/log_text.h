/* The lines of a run's log, one after the other as its events are read. */
#ifndef HL_STORE_LOG_TEXT_H
#define HL_STORE_LOG_TEXT_H

#include <stddef.h>
#include <stdint.h>

typedef struct hl_log_text {
    uint64_t said; /* hash of the last state that the log had */
    char s[600];   /* the line */
} hl_log_text;     /* {0} before the first one */

/* The line that an event makes, its n bytes of JSON: gives its level as hl_event_line does, 0 for
 * none. A state that the log said last is said again after each pause for something else: that is
 * no line. */
char hl_log_text_make(hl_log_text *t, const char *tag, const char *content, const char *json,
                      size_t n);
/* The line that the start of a resumed run's later part makes. */
void hl_log_text_resumed(hl_log_text *t, int64_t step);

#endif
