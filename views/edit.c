/* Tags, notes, names, pins, the archive and the trash, from the screen: orders to the watch thread,
 * which touches the files. */
#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "views/screen.h"

typedef HL_VEC(const char *) dir_list;

/* ---- which runs ---- */

static bool add_marked(const hl_screen *s, dir_list *out)
{
    for (size_t i = 0; i < s->marks.n; i++)
        if (hl_model_row(&s->model, s->marks.at[i].dir) &&
            hl_vec_push(out, s->marks.at[i].dir) != HL_OK)
            return false;
    return true;
}

/* All runs of the group under the cursor, or the run. */
static bool add_now(const hl_screen *s, dir_list *out)
{
    const int line = hl_screen_line(s), group = line >= 0 ? s->lines.at[line].group : -1;
    const hl_run_row *row = hl_screen_row(s);
    if (!row || !s->on_group || group < 0)
        return row && hl_vec_push(out, row->dir) == HL_OK;
    const hl_run_group *g = &s->groups.at[group];
    for (int i = 0; i < g->n; i++)
        if (hl_vec_push(out, s->model.rows->at[s->order.at[g->first + i]].dir) != HL_OK)
            return false;
    return true;
}

static bool add_named(hl_screen *s, const char *word, dir_list *out)
{
    if (strcmp(word, "%marked") == 0)
        return add_marked(s, out);
    const char *dir = hl_screen_open_run(s, word);
    if (!dir)
        hl_screen_say(s, HL_ROLE_BAD, "no run '%s'; Tab completes", word);
    return dir && hl_vec_push(out, dir) == HL_OK;
}

/* ---- orders ---- */

static void order(hl_screen *s, hl_run_edit what, const char *text, const char *const *dirs, int n)
{
    if (n == 0)
        hl_screen_say(s, HL_ROLE_WARN, "no run is %s",
                      s->marks.n ? "under the cursor" : "marked, or under the cursor");
    else if (hl_watch_edit(s->model.watch, (int)what, text, dirs, n) != HL_OK)
        hl_screen_say_error(s);
    else
        s->model.n_edits++;
}

static void forget_question(hl_screen *s)
{
    for (size_t i = 0; i < s->deleting.n; i++)
        hl_free(s->deleting.at[i]);
    s->deleting.n = 0;
}

static void ask(hl_screen *s, const dir_list *dirs)
{
    forget_question(s);
    for (size_t i = 0; i < dirs->n; i++) {
        char *copy = hl_strdup(dirs->at[i]);
        if (!copy || hl_vec_push(&s->deleting, copy) != HL_OK)
            hl_free(copy);
    }
    if (s->deleting.n)
        hl_screen_popup(s, &hl_popup_delete);
}

/* A deleted run is in no list: its place is told by its id. */
static void restore(hl_screen *s, char *const *words, int n)
{
    char *places[16] = {0};
    int k = 0;
    for (; k < n && k < 16; k++)
        if (strchr(words[k], '/') || words[k][0] == '.' ||
            !(places[k] = hl_fs_join(s->model.runs_dir, words[k])))
            break;
    if (k < n || n == 0)
        hl_screen_say(s, HL_ROLE_BAD, "restore takes ids of deleted runs");
    else
        order(s, HL_EDIT_RESTORE, NULL, (const char *const *)places, n);
    for (int i = 0; i < k; i++)
        hl_free(places[i]);
}

void hl_edit_command(hl_screen *s, hl_run_edit what, char *const *words, int n)
{
    const int first = *hl_run_edit_get(what)->text != 0;
    dir_list dirs = {0};
    if (what == HL_EDIT_RESTORE) {
        restore(s, words, n);
        return;
    }
    bool good = n > first || add_now(s, &dirs);
    for (int i = first; good && i < n; i++)
        good = add_named(s, words[i], &dirs);
    if (good && what == HL_EDIT_DELETE)
        ask(s, &dirs);
    else if (good)
        order(s, what, first ? words[0] : NULL, dirs.at, (int)dirs.n);
    else if (n <= first)
        order(s, what, NULL, NULL, 0);
    hl_vec_done(&dirs);
}

void hl_edit_tell(hl_screen *s)
{
    hl_model *m = &s->model;
    if (!m->has_edited)
        return;
    m->has_edited = false;
    if (m->edited == HL_EDIT_ARCHIVE || m->edited == HL_EDIT_DELETE)
        hl_screen_stay(s);
    const hl_run_edit_row *row = hl_run_edit_get((hl_run_edit)m->edited);
    if (m->edit_trouble[0])
        hl_screen_say(s, HL_ROLE_BAD, "%s: %s", row->name, m->edit_trouble);
    else
        hl_screen_say(s, HL_ROLE_GOOD, "%s %d run%s%s", row->done, m->n_edited,
                      m->n_edited == 1 ? "" : "s",
                      m->edited == HL_EDIT_DELETE ? "; :restore ID brings them back, hoplab gc "
                                                    "removes them"
                                                  : "");
}

/* ---- the question ---- */

static void delete_size(hl_screen *s, int *w, int *h)
{
    *w = 56;
    *h = (int)s->deleting.n + 3 > 14 ? 14 : (int)s->deleting.n + 3;
}

static void delete_draw(hl_screen *s, hl_canvas c)
{
    const char *const answers[] = {"n  keep", "y  move to the trash"};
    const int room = c.r.h - 3;
    hl_putf(c, 0, 0, HL_STYLE(DIM), "delete %zu run%s?", s->deleting.n,
            s->deleting.n == 1 ? "" : "s");
    for (int i = 0; i < room && i < (int)s->deleting.n; i++) {
        const hl_run_row *row = hl_model_row(&s->model, s->deleting.at[i]);
        if (i + 1 == room && room < (int)s->deleting.n)
            hl_putf(c, 2, 1 + i, HL_STYLE(DIM), "and %d more", (int)s->deleting.n - i);
        else
            hl_put_cut(c, 2, 1 + i, c.r.w - 2, HL_STYLE(TEXT),
                       row ? row->name : hl_fs_base(s->deleting.at[i]));
    }
    for (int i = 0; i < 2; i++) {
        const bool now = i == s->popup_row;
        const int y = c.r.h - 2 + i;
        if (now)
            hl_blank(c, 0, y, c.r.w, 1, HL_STYLE(SELECT));
        hl_put_cut(c, 1, y, c.r.w - 1, now ? HL_STYLE(SELECT) : HL_STYLE(TEXT), answers[i]);
    }
}

static void delete_key(hl_screen *s, int key)
{
    const bool yes = key == 'y' || (key == HL_KEY_ENTER && s->popup_row == 1);
    if (key == HL_KEY_DOWN || key == 'j') {
        s->popup_row = 1;
    } else if (key == HL_KEY_UP || key == 'k') {
        s->popup_row = 0;
    } else if (yes) {
        hl_screen_close_popup(s);
        order(s, HL_EDIT_DELETE, NULL, (const char *const *)s->deleting.at, (int)s->deleting.n);
        forget_question(s);
    } else if (key == 'n' || key == 'q' || key == HL_KEY_ENTER || key == HL_KEY_ESC ||
               key == HL_CTRL('c')) {
        hl_screen_close_popup(s);
        forget_question(s);
    }
}

const hl_popup_class hl_popup_delete = {
    .title = "delete", .size = delete_size, .draw = delete_draw, .key = delete_key};
