/* For the tests of this folder: temporary files, texts from strings, the real data if it is there.
 * Included once per test program. */
#ifndef HL_DATA_TEST_H
#define HL_DATA_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/hl_data.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

/* Writes a file in the temporary directory of this process; the path is static. */
HL_UNUSED static const char *write_temp(const char *name, const void *bytes, size_t n)
{
    static char path[8][256];
    static int next;
    const char *dir = getenv("TMPDIR");
    char *p = path[next++ % 8];
    snprintf(p, 256, "%s/hoplab-data-test-%ld-%s", dir ? dir : "/tmp", (long)getpid(), name);
    FILE *f = fopen(p, "wb");
    if (!f || (n && fwrite(bytes, 1, n, f) != n) || fclose(f) != 0)
        return NULL;
    return p;
}

HL_UNUSED static hl_text *text_of(const char *s)
{
    hl_text *t = NULL;
    return hl_text_from_bytes("test.txt", s, strlen(s), &t) == HL_OK ? t : NULL;
}

/* Path of a public data file, NULL if there is none here: $HOPLAB_DATA, else ../shared/data. */
HL_UNUSED static const char *find_data(const char *name)
{
    static char path[512];
    const char *data = getenv("HOPLAB_DATA"), *source = getenv("HOPLAB_SOURCE");
    if (data)
        snprintf(path, sizeof path, "%s/%s", data, name);
    else
        snprintf(path, sizeof path, "%s/../shared/data/%s", source ? source : ".", name);
    return hl_fs_exists(path) ? path : NULL;
}

#endif
