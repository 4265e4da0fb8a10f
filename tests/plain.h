/* Checks for test programs with a plain main(), which run under the thread sanitizer too. */
#ifndef HL_TESTS_PLAIN_H
#define HL_TESTS_PLAIN_H

#include <stdio.h>

#include "engine/base/err.h"

static int n_failed;

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: failed: %s   (%s)\n", __FILE__, __LINE__, #x,                  \
                    hl_err_message());                                                             \
            n_failed++;                                                                            \
        }                                                                                          \
    } while (0)

/* What main() returns. */
static inline int plain_end(void)
{
    printf(n_failed ? "%d checks failed\n" : "ok\n", n_failed);
    return n_failed != 0;
}

#endif
