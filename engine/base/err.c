/* Thread-local error record. */
#include "engine/base/err.h"

#include <stdio.h>
#include <string.h>

static _Thread_local struct {
    hl_status code;
    int n_context;
    char message[HL_ERR_MESSAGE_MAX];
    char origin[64];
} err;

hl_status hl_err_set_at(hl_status code, const char *file, int line, const char *fmt, ...)
{
    /* The old message may be an argument of the new one. */
    char text[HL_ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(err.message, text, sizeof text);
    err.code = code;
    err.n_context = 0;
    const char *slash = strrchr(file, '/');
    snprintf(err.origin, sizeof err.origin, "%s:%d", slash ? slash + 1 : file, line);
    return code;
}

hl_status hl_err_context(const char *fmt, ...)
{
    if (err.code == HL_OK || err.n_context == 4)
        return err.code;
    char text[HL_ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text - 3)
        return err.code;
    int room = (int)sizeof text - n - 3;
    snprintf(text + n, sizeof text - (size_t)n, ": %.*s", room, err.message);
    memcpy(err.message, text, sizeof text);
    err.n_context++;
    return err.code;
}

const char *hl_err_message(void)
{
    return err.message;
}

hl_status hl_err_code(void)
{
    return err.code;
}

const char *hl_err_origin(void)
{
    return err.origin;
}

void hl_err_clear(void)
{
    err.code = HL_OK;
    err.n_context = 0;
    err.message[0] = err.origin[0] = '\0';
}

const char *hl_status_name(hl_status s)
{
    static const char *const names[HL_STATUS_COUNT] = {
        "OK",         "E_NOMEM",  "E_ARG",       "E_SHAPE",   "E_DTYPE",       "E_DEVICE",  "E_IO",
        "E_FORMAT",   "E_STATE",  "E_NOTFOUND",  "E_CANCELLED", "E_NUMERIC",   "E_UNSUPPORTED",
        "E_INTERNAL",
    };
    return (unsigned)s < HL_STATUS_COUNT ? names[s] : "E_INTERNAL";
}

hl_status hl_err_nomem(const char *what, size_t n_bytes)
{
    return hl_err_set(HL_E_NOMEM, "out of memory: %s needs %.1f MiB", what,
                      (double)n_bytes / (1024.0 * 1024.0));
}
