/* From what a user types to a run directory. */
#include "app/hl_app.h"

#include <string.h>

#include "app/store/run_dir.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define CANDIDATES_SHOWN 5

typedef bool (*matcher)(const hl_run_row *row, const char *text);

static bool has_id(const hl_run_row *row, const char *text)
{
    return strcmp(row->id, text) == 0 || strcmp(hl_fs_base(row->dir), text) == 0;
}

static bool has_name(const hl_run_row *row, const char *text)
{
    return strcmp(row->name, text) == 0;
}

static bool has_head(const hl_run_row *row, const char *text)
{
    return hl_str_starts(hl_fs_base(row->dir), text);
}

static bool has_tail(const hl_run_row *row, const char *text)
{
    return hl_str_ends(hl_fs_base(row->dir), text);
}

static hl_status ambiguous(const hl_run_list *list, const char *text, matcher match, size_t n)
{
    hl_str names = {0};
    size_t shown = 0;
    for (size_t i = hl_run_list_n(list); i-- > 0 && shown < CANDIDATES_SHOWN;) {
        const hl_run_row *row = hl_run_list_at(list, i);
        if (match(row, text))
            hl_str_addf(&names, "%s%s", shown++ ? ", " : "", hl_fs_base(row->dir));
    }
    hl_status st = hl_err_set(HL_E_NOTFOUND, "'%s' fits %zu runs (%s%s); give more of the id", text,
                              n, hl_str_text(&names), n > shown ? ", ..." : "");
    hl_str_done(&names);
    return st;
}

/* OK with *row = NULL: nothing matches. */
static hl_status only_match(const hl_run_list *list, const char *text, matcher match,
                            const hl_run_row **row)
{
    size_t n = 0;
    *row = NULL;
    for (size_t i = 0; i < hl_run_list_n(list); i++)
        if (match(hl_run_list_at(list, i), text)) {
            *row = hl_run_list_at(list, i);
            n++;
        }
    return n > 1 ? ambiguous(list, text, match, n) : HL_OK;
}

static hl_status no_such_run(const hl_run_list *list, const char *runs_dir, const char *text)
{
    size_t n = hl_run_list_n(list);
    if (n == 0)
        return hl_err_set(HL_E_NOTFOUND,
                          "no run '%s': there are no runs in %s (--runs DIR names another place)",
                          text, runs_dir);
    const char **names = hl_alloc_zero(2 * n, sizeof *names);
    int near = -1;
    if (names) {
        for (size_t i = 0; i < n; i++) {
            names[i] = hl_run_list_at(list, i)->name;
            names[n + i] = hl_fs_base(hl_run_list_at(list, i)->dir);
        }
        near = hl_str_nearest(text, names, n < 5000 ? (int)(2 * n) : 10000);
    }
    hl_status st = near >= 0
                       ? hl_err_set(HL_E_NOTFOUND, "no run '%s' in %s; did you mean '%s'?", text,
                                    runs_dir, names[near])
                       : hl_err_set(HL_E_NOTFOUND, "no run '%s' in %s; 'hoplab ls' lists them",
                                    text, runs_dir);
    hl_free(names);
    return st;
}

static hl_status find_in_list(const hl_run_list *list, const char *runs_dir, const char *text,
                              const hl_run_row **row)
{
    static const matcher order[] = {has_id, has_name, has_head, has_tail};
    *row = NULL;
    if (strcmp(text, "last") == 0 && hl_run_list_n(list)) {
        *row = hl_run_list_at(list, hl_run_list_n(list) - 1);
        return HL_OK;
    }
    for (size_t i = 0; i < sizeof order / sizeof order[0] && !*row && *text; i++) {
        hl_status st = only_match(list, text, order[i], row);
        if (st != HL_OK)
            return st;
    }
    return *row ? HL_OK : no_such_run(list, runs_dir, text);
}

static hl_status find_path(const char *path, char **dir)
{
    if (!hl_run_dir_is_run(path))
        return hl_err_set(HL_E_NOTFOUND, "%s %s", path,
                          hl_fs_exists(path) ? "is not a run: it has no run.json and no events"
                                             : "does not exist");
    char *copy = hl_strdup(path);
    for (size_t n = copy ? strlen(copy) : 0; n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    if (!copy)
        return HL_E_NOMEM;
    *dir = copy;
    return HL_OK;
}

hl_status hl_run_find(const char *runs_dir, const char *run, char **dir)
{
    if (strchr(run, '/') || strcmp(run, ".") == 0 || strcmp(run, "..") == 0)
        return find_path(run, dir);
    if (hl_run_id_is_valid(run) && strcmp(run, "last") != 0) { /* the whole id needs no list */
        char *path = hl_fs_join(runs_dir, run);
        if (!path)
            return HL_E_NOMEM;
        if (hl_run_dir_is_run(path)) {
            *dir = path;
            return HL_OK;
        }
        hl_free(path);
    }
    hl_run_list *list;
    const hl_run_row *row = NULL;
    hl_status st = hl_run_list_open(runs_dir, &list);
    if (st != HL_OK)
        return st;
    st = find_in_list(list, runs_dir, run, &row);
    if (st == HL_OK && row) {
        char *copy = hl_strdup(row->dir);
        if (copy)
            *dir = copy;
        else
            st = HL_E_NOMEM;
    }
    hl_run_list_close(list);
    return st;
}
