/* In what runs differ: keys of their configurations. */
#include <string.h>

#include "views/screen.h"

static const char *text_of(const hl_run_row *row, const char *key)
{
    const hl_run_value *v = hl_run_row_value(row, key);
    return v ? v->text : NULL;
}

static bool is_same(const hl_run_row *const *rows, int n, const char *key)
{
    const char *first = text_of(rows[0], key);
    for (int i = 1; i < n; i++) {
        const char *text = text_of(rows[i], key);
        if (!text != !first || (text && strcmp(text, first) != 0))
            return false;
    }
    return true;
}

/* Where a run was started is no setting; another script is. */
static bool is_setting(const char *key)
{
    return !hl_str_starts(key, "run.") || strcmp(key, "run.script") == 0;
}

int hl_differing(const hl_run_row *const *rows, int n, const char *out[HL_DIFFER_MAX])
{
    int n_out = 0;
    for (int i = 0; i < n; i++) {
        const hl_run_values *v = rows[i]->config;
        for (size_t k = 0; v && k < v->n && n_out < HL_DIFFER_MAX; k++) {
            const char *key = v->at[k].key;
            bool met = false;
            for (int r = 0; r < i && !met; r++) /* an earlier run has it: it was looked at there */
                met = text_of(rows[r], key) != NULL;
            if (!met && is_setting(key) && !is_same(rows, n, key))
                out[n_out++] = key;
        }
    }
    return n_out;
}

int hl_screen_marked_rows(const hl_screen *s, const hl_run_row **out, int n_max)
{
    const hl_run_row *now = hl_screen_row(s);
    int n = 0;
    if (now && !hl_screen_is_marked(s, now->dir) && n < n_max)
        out[n++] = now;
    for (size_t i = 0; i < s->marks.n && n < n_max; i++) {
        const hl_run_row *row = hl_model_row(&s->model, s->marks.at[i].dir);
        if (row)
            out[n++] = row;
    }
    return n;
}
