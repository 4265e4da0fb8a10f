#include "engine/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static hl_log_sink current_sink;
static void *current_arg;

void hl_log_set_sink(hl_log_sink sink, void *arg)
{
    pthread_mutex_lock(&lock);
    current_sink = sink;
    current_arg = arg;
    pthread_mutex_unlock(&lock);
}

void hl_log(hl_log_level level, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&lock);
    if (current_sink)
        current_sink(current_arg, level, text);
    pthread_mutex_unlock(&lock);
}

const char *hl_log_level_name(hl_log_level level)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    return names[level];
}
