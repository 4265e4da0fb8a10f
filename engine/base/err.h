/* Errors: a status travels up, the message is set once where the fault is known.
 * The record is thread-local: who works for another thread hands over code and message itself. */
#ifndef HL_BASE_ERR_H
#define HL_BASE_ERR_H

#include <stdarg.h>

#include "kernels/hl_types.h"

#define HL_ERR_MESSAGE_MAX 1024

/* Stores code and message (with the source line for bug reports) and returns the code. */
hl_status hl_err_set_at(hl_status code, const char *file, int line, const char *fmt, ...)
    HL_PRINTF(4, 5);
#define hl_err_set(code, ...) hl_err_set_at((code), __FILE__, __LINE__, __VA_ARGS__)

/* Puts "what: " in front of the stored message, at most 4 times; returns the stored code. */
hl_status hl_err_context(const char *fmt, ...) HL_PRINTF(1, 2);

const char *hl_err_message(void); /* borrowed until the next hl_err_* call of this thread */
hl_status hl_err_code(void);
const char *hl_err_origin(void); /* "file.c:123" of hl_err_set */
void hl_err_clear(void);

const char *hl_status_name(hl_status s); /* "E_SHAPE"; "OK" */

/* Reports malloc failure in the user's terms: what was wanted and how much. */
hl_status hl_err_nomem(const char *what, size_t n_bytes);

/* For functions with `hl_status st = HL_OK;` and a label `out:` that frees in reverse order. */
#define HL_TRY(expr)                                                                               \
    do {                                                                                           \
        st = (expr);                                                                               \
        if (st != HL_OK)                                                                           \
            goto out;                                                                              \
    } while (0)
#define HL_TRY_CTX(expr, ...)                                                                      \
    do {                                                                                           \
        st = (expr);                                                                               \
        if (st != HL_OK) {                                                                         \
            (void)hl_err_context(__VA_ARGS__);                                                     \
            goto out;                                                                              \
        }                                                                                          \
    } while (0)
#define HL_FAIL(code, ...)                                                                         \
    do {                                                                                           \
        st = hl_err_set((code), __VA_ARGS__);                                                      \
        goto out;                                                                                  \
    } while (0)

/* For clean-up whose failure changes nothing. */
#define HL_IGNORE(expr)                                                                            \
    do {                                                                                           \
        if ((expr) != HL_OK) {                                                                     \
        }                                                                                          \
    } while (0)

/* Programmer errors only. HL_NEVER(x): asserts in debug builds, is a handled branch in release. */
#ifdef HL_DEBUG
#include <assert.h>
#define HL_ASSERT(x) assert(x)
#define HL_NEVER(x)  (assert(!(x)), false)
#else
#define HL_ASSERT(x) ((void)0)
#define HL_NEVER(x)  (x)
#endif

#endif
