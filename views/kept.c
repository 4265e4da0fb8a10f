/* What is kept for each store in a file of the user's state directory: a line with the store's
 * directory, a tab and the text. */
#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "views/screen.h"

enum { BYTES_MAX = 4 << 20 };

static char *file_path(const char *name)
{
    char state[440];
    return hl_fs_state_dir(state, sizeof state) ? hl_fs_join(state, name) : NULL;
}

static char *store_of(const hl_screen *s)
{
    return hl_fs_absolute(s->model.runs_dir);
}

/* The line of the store in the file's text; its end in *end. NULL: none. */
static const char *find_line(const char *text, const char *store, const char **end)
{
    const size_t n = strlen(store);
    for (const char *at = text; *at;) {
        const size_t k = strcspn(at, "\n");
        if (k > n && memcmp(at, store, n) == 0 && at[n] == '\t') {
            *end = at + k;
            return at + n + 1;
        }
        at += k + (at[k] != 0);
    }
    return NULL;
}

char *hl_kept_load(const hl_screen *s, const char *name)
{
    char *path = file_path(name), *store = store_of(s), *text = NULL, *out = NULL;
    const char *end;
    size_t n;
    if (path && store && hl_fs_read(path, BYTES_MAX, &text, &n) == HL_OK) {
        const char *line = find_line(text, store, &end);
        if (line)
            out = hl_strndup(line, (size_t)(end - line));
    }
    hl_err_clear(); /* nothing was kept yet */
    hl_free(text);
    hl_free(store);
    hl_free(path);
    return out;
}

void hl_kept_save(const hl_screen *s, const char *name, const char *text)
{
    char *path = file_path(name), *store = store_of(s), *was = NULL;
    char *folder = path ? hl_fs_parent(path) : NULL;
    hl_str b = {0};
    size_t n;
    if (folder && store && !strchr(store, '\n') && hl_fs_make_dir(folder) == HL_OK) {
        const char *end = NULL;
        const char *old = hl_fs_read(path, BYTES_MAX, &was, &n) == HL_OK ? was : "";
        const char *line = find_line(old, store, &end);
        if (line)
            hl_str_addn(&b, old, (size_t)(line - old) - strlen(store) - 1);
        if (line && *end)
            hl_str_add(&b, end + 1);
        if (!line)
            hl_str_add(&b, old);
        if (*text)
            hl_str_addf(&b, "%s\t%s\n", store, text);
        if (hl_str_status(&b) == HL_OK)
            HL_IGNORE(hl_fs_write_soon(path, hl_str_text(&b), b.n)); /* it is a convenience */
    }
    hl_err_clear();
    hl_str_done(&b);
    hl_free(folder);
    hl_free(was);
    hl_free(store);
    hl_free(path);
}
