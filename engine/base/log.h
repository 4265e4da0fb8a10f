/* Messages for people. The library only hands them to the sink that the program installed; without
 * one they are dropped. A function either handles a fault (and may log) or returns it, never both. */
#ifndef HL_BASE_LOG_H
#define HL_BASE_LOG_H

#include "kernels/hl_types.h"

typedef enum hl_log_level { HL_LOG_DEBUG, HL_LOG_INFO, HL_LOG_WARN, HL_LOG_ERROR } hl_log_level;

/* Called by any thread, one call at a time. */
typedef void (*hl_log_sink)(void *arg, hl_log_level level, const char *message);

void hl_log_set_sink(hl_log_sink sink, void *arg); /* NULL removes it */
void hl_log(hl_log_level level, const char *fmt, ...) HL_PRINTF(2, 3);
const char *hl_log_level_name(hl_log_level level); /* "debug" "info" "warning" "error" */

#endif
