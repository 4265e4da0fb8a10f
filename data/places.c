#include "data/places.h"

#include <stdlib.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"

const char *hl_data_place(size_t i)
{
    const char *own = getenv("HOPLAB_DATA");
    const char *const places[] = {own && *own ? own : NULL, "data", "../shared/data"};
    const size_t n = sizeof places / sizeof places[0];
    i += !places[0];
    return i < n ? places[i] : NULL;
}

char *hl_data_find(const char *path)
{
    const char *place;
    if (!*path)
        return NULL;
    if (hl_fs_exists(path))
        return hl_strdup(path);
    for (size_t i = 0; path[0] != '/' && (place = hl_data_place(i)); i++) {
        char *there = hl_fs_join(place, path);
        if (!there || hl_fs_exists(there))
            return there;
        hl_free(there);
    }
    return NULL;
}
