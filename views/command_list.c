/* Commands of the list of runs, and `:yank`. */
#include <stdio.h>
#include <string.h>

#include "views/screen.h"

/* Nobody is typing it: what is wrong is refused as a whole. */
void hl_list_filter(hl_screen *s, const char *text)
{
    hl_filter *f;
    if (hl_lua_filter_is(text)) {
        hl_screen_remember(s);
        snprintf(s->look.filter, sizeof s->look.filter, "%s", text);
        hl_screen_order(s); /* its answer says how many fit */
        return;
    }
    if (hl_filter_new(text, s->model.rows, &f) != HL_OK) {
        hl_screen_say_error(s);
        return;
    }
    const hl_filter_bad *bad = hl_filter_trouble(f);
    if (bad) {
        hl_screen_say(s, HL_ROLE_BAD, "%s (at: %.*s)", bad->message, (int)bad->n, text + bad->at);
        hl_filter_free(f);
        return;
    }
    hl_filter_free(f);
    hl_screen_remember(s);
    snprintf(s->look.filter, sizeof s->look.filter, "%s", text);
    hl_screen_order(s);
    hl_screen_stay(s);
    hl_screen_say(s, HL_ROLE_TEXT, "%zu runs fit", s->order.n);
}

void hl_list_sort(hl_screen *s, const char *text)
{
    const bool reverse = *text == '-';
    hl_run_key key;
    if (hl_run_key_find(text + reverse, s->model.rows, &key) != HL_OK) {
        hl_screen_say_error(s);
        return;
    }
    hl_screen_remember(s);
    snprintf(s->look.sort, sizeof s->look.sort, "%s", text + reverse);
    s->look.reverse = reverse;
    hl_screen_order(s);
}

void hl_list_group(hl_screen *s, char *const *words, int n)
{
    hl_run_key key;
    hl_str keys = {0};
    for (int i = 0; i < n; i++) {
        if (strcmp(words[i], "seeds") != 0 &&
            hl_run_key_find(words[i], s->model.rows, &key) != HL_OK) {
            hl_screen_say_error(s);
            hl_str_done(&keys);
            return;
        }
        hl_str_addf(&keys, "%s%s", i > 0 ? " " : "", words[i]);
    }
    if (keys.n >= sizeof s->look.group) {
        hl_screen_say(s, HL_ROLE_BAD, "so many keys to group by");
    } else {
        hl_screen_remember(s);
        snprintf(s->look.group, sizeof s->look.group, "%s", hl_str_text(&keys));
        hl_screen_order(s);
    }
    hl_str_done(&keys);
}

void hl_list_columns(hl_screen *s, const char *change)
{
    char text[HL_COLUMNS_TEXT];
    if (change && hl_columns_change(s, change) != HL_OK) {
        hl_screen_say_error(s);
        return;
    }
    hl_columns_text(s, text, sizeof text);
    hl_screen_say(s, HL_ROLE_TEXT, "columns %s", text);
}

void hl_list_show(hl_screen *s)
{
    hl_screen_remember(s);
    s->look.n_hidden = 0;
    hl_screen_order(s);
}

void hl_list_hide(hl_screen *s, const char *run)
{
    const char *dir = run ? hl_screen_open_run(s, run) : s->selected;
    if (!dir) {
        hl_screen_say(s, HL_ROLE_BAD, "no run '%s'; Tab completes", run ? run : "");
        return;
    }
    if (run)
        hl_screen_select(s, dir);
    hl_screen_hide(s);
}

/* ---- copies ---- */

static const char *const yanks[] = {"view", "name", "id", "path", "screen"};
enum { VIEW, NAME, ID, PATH, SCREEN, N_YANKS };

const char *hl_yank_name(int i)
{
    return i >= 0 && i < N_YANKS ? yanks[i] : NULL;
}

static void yank_screen(hl_screen *s)
{
    hl_str picture = {0};
    hl_grid_print(&s->grid, &picture);
    if (hl_str_status(&picture) == HL_OK)
        hl_screen_copy(s, hl_str_text(&picture));
    if (hl_str_starts(s->notice, "copied hoplab") || strchr(s->notice, '\n'))
        hl_screen_say(s, HL_ROLE_TEXT, "copied the screen"); /* not all of it again */
    hl_str_done(&picture);
}

void hl_yank(hl_screen *s, const char *what)
{
    const hl_run_row *row = hl_screen_row(s);
    int i = 0;
    while (what && i < N_YANKS && strcmp(yanks[i], what) != 0)
        i++;
    if (what && i == N_YANKS) {
        const int near = hl_str_nearest(what, yanks, N_YANKS);
        hl_screen_say(s, HL_ROLE_BAD, "yank knows no '%s'%s%s", what,
                      near >= 0 ? "; did you mean " : "; Tab lists what it knows",
                      near >= 0 ? yanks[near] : "");
    } else if (!what || i == VIEW) {
        hl_screen_act(s, what ? HL_ACTION_COPY_VIEW : HL_ACTION_COPY);
    } else if (i == SCREEN) {
        yank_screen(s);
    } else if (row) {
        hl_screen_copy(s, i == NAME ? row->name : i == ID ? row->id : row->dir);
    } else {
        hl_screen_say(s, HL_ROLE_WARN, "there is no run under the cursor");
    }
}
