#include "app/project.h"

#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"

char *hl_project_find(void)
{
    char *dir = hl_fs_absolute(".");
    for (int up = 0; dir && up < 32; up++) {
        char *path = hl_fs_join(dir, "hoplab.lua"), *parent = hl_fs_parent(dir);
        const bool top = !parent || strcmp(parent, dir) == 0 || strcmp(parent, ".") == 0;
        hl_free(dir);
        dir = parent;
        if (path && hl_fs_exists(path)) {
            hl_free(dir);
            return path;
        }
        hl_free(path);
        if (top)
            break;
    }
    hl_free(dir);
    return NULL;
}
