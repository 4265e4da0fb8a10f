/* Commands from scripts, and the files that configure the screen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/fs.h"
#include "views/screen_lua.h"
#include "views/term_theme.h"

enum { FILE_MAX = 1 << 20 };

static const char *text_of(const hl_json *v, const char *key)
{
    return hl_json_str(hl_json_get(v, key), "");
}

/* ---- commands ---- */

void hl_scripted_add_command(hl_screen *s, const hl_json *v)
{
    hl_scripted *p = &s->scripted;
    const char *name = text_of(v, "name");
    char usage[HL_USAGE_MAX], text[80];
    const char *help;
    for (int i = 0; hl_command_help(i, usage, &help); i++) {
        const size_t n = strcspn(usage + 1, " ");
        if (strlen(name) == n && memcmp(usage + 1, name, n) == 0) {
            snprintf(text, sizeof text, ":%s is a command of the screen", name);
            hl_scripted_complain(s, text_of(v, "where"), text);
            return;
        }
    }
    for (size_t i = 0; i < p->commands.n; i++)
        if (strcmp(p->commands.at[i].name, name) == 0)
            return; /* defined anew: Lua has the new function */
    hl_scripted_command c = {.args = hl_strdup(text_of(v, "args")),
                             .help = hl_strdup(text_of(v, "help"))};
    snprintf(c.name, sizeof c.name, "%s", name);
    if (!c.args || !c.help || hl_vec_push(&p->commands, c) != HL_OK) {
        hl_free(c.args);
        hl_free(c.help);
    }
}

static void put_words(hl_str *b, const char *head, const char *end)
{
    hl_json_add_key(b, "words");
    hl_json_begin(b, '[');
    for (head += strspn(head, " "); head < end; head += strspn(head, " ")) {
        char word[200];
        const size_t n = strcspn(head, " ");
        snprintf(word, sizeof word, "%.*s", (int)n, head);
        hl_json_add_str(b, word);
        head += n;
    }
    hl_json_end(b, ']');
}

void hl_scripted_complete(hl_screen *s, const char *head)
{
    hl_scripted *p = &s->scripted;
    const size_t n = strcspn(head, " ");
    const char *word = strrchr(head, ' ');
    for (size_t i = 0; word && i < p->commands.n && p->completing == 0; i++) {
        const char *name = p->commands.at[i].name;
        if (strlen(name) != n || memcmp(name, head, n) != 0)
            continue;
        hl_str b = {0};
        hl_json_begin(&b, '{');
        hl_json_put_str(&b, "name", name);
        hl_json_put_str(&b, "word", word + 1);
        put_words(&b, head + n, word);
        hl_json_end(&b, '}');
        hl_free(p->completed);
        p->completed = hl_strdup(head);
        if (p->completed && hl_str_status(&b) == HL_OK)
            p->completing = hl_console_order(s, "args", hl_str_text(&b), HL_SCRIPTED_LIMIT_MS);
        p->completing = p->completing > 0 ? p->completing : 0;
        hl_str_done(&b);
    }
}

/* Of a line that is another by now nothing is shown. */
bool hl_scripted_completed(hl_screen *s, const hl_script_reply *r)
{
    hl_scripted *p = &s->scripted;
    if (!p->completing || p->completing != r->ticket)
        return false;
    p->completing = 0;
    if (r->failed) {
        hl_scripted_complain(s, "", text_of(r->value, "message"));
        return true;
    }
    const size_t n = strlen(p->completed);
    if (s->mode != HL_MODE_COMMAND || s->completions.n || n != s->line.cursor ||
        memcmp(p->completed, hl_str_text(&s->line.text), n) != 0)
        return true;
    const char *word = strrchr(p->completed, ' ') + 1;
    const hl_json *list = hl_json_get(r->value, "list");
    s->completion_from = (size_t)(word - p->completed);
    for (const hl_json *v = hl_json_at(list, 0); v; v = hl_json_next(v))
        hl_screen_add_completion(s, hl_json_str(v, ""), word);
    hl_screen_completed(s);
    return true;
}

bool hl_scripted_run_command(hl_screen *s, char *const *words, int n)
{
    const hl_scripted *p = &s->scripted;
    for (size_t i = 0; i < p->commands.n; i++) {
        if (strcmp(p->commands.at[i].name, words[0]) != 0)
            continue;
        hl_str b = {0};
        hl_json_begin(&b, '{');
        hl_json_put_str(&b, "name", words[0]);
        hl_json_add_key(&b, "words");
        hl_json_begin(&b, '[');
        for (int k = 1; k < n; k++)
            hl_json_add_str(&b, words[k]);
        hl_json_end(&b, ']');
        hl_json_end(&b, '}');
        if (hl_str_status(&b) == HL_OK)
            (void)hl_console_order(s, "command", hl_str_text(&b), HL_SCRIPTED_LIMIT_MS);
        hl_str_done(&b);
        return true;
    }
    return false;
}

/* { name, base, roles: { role: look } } */
void hl_scripted_add_theme(hl_screen *s, const hl_json *v)
{
    const hl_theme *base = NULL;
    hl_theme theme;
    const char *name = text_of(v, "name"), *on = text_of(v, "base");
    hl_status st = hl_term_find_theme(s->term, on, &base);
    if (st == HL_OK)
        theme = *base;
    for (const hl_json *r = hl_json_at(hl_json_get(v, "roles"), 0); r && st == HL_OK;
         r = hl_json_next(r))
        st = hl_theme_change(&theme, hl_json_key(r), hl_json_str(r, ""));
    if (st == HL_OK)
        st = hl_term_add_theme(s->term, name, &theme);
    if (st != HL_OK)
        hl_scripted_complain(s, text_of(v, "where"), hl_err_message());
    s->dirty = true;
}

/* Scripts may look, and nothing else: a file that came with somebody's project must not start or
 * stop anything. */
void hl_scripted_execute(hl_screen *s, const char *line, const char *where)
{
    static const char *const allowed[] = {"open", "view",  "filter", "sort",    "mark",
                                          "set",  "theme", "help",   "compare", "columns"};
    const size_t n = strcspn(line, " ");
    char text[200];
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (strlen(allowed[i]) == n && memcmp(line, allowed[i], n) == 0) {
            hl_screen_command(s, line);
            return;
        }
    snprintf(text, sizeof text, "a script cannot give the command '%.*s': only those that look",
             (int)(n < 60 ? n : 60), line);
    hl_scripted_complain(s, where, text);
}

bool hl_scripted_help(const hl_screen *s, int i, char usage[HL_USAGE_MAX], const char **help)
{
    const hl_scripted *p = &s->scripted;
    if ((size_t)i < p->commands.n) {
        const hl_scripted_command *c = &p->commands.at[i];
        snprintf(usage, HL_USAGE_MAX, ":%s%s%s", c->name, *c->args ? " " : "", c->args);
        *help = c->help;
        return true;
    }
    i -= (int)p->commands.n;
    if ((size_t)i < p->values.at.n) {
        const hl_scripted_value *v = &p->values.at.at[i];
        snprintf(usage, HL_USAGE_MAX, "%s  %s", v->name, v->is_filter ? "in a filter" : "a column");
        *help = v->help;
        return true;
    }
    i -= (int)p->values.at.n;
    if ((size_t)i >= p->keys.n)
        return false;
    const hl_scripted_key *k = &p->keys.at[i];
    snprintf(usage, HL_USAGE_MAX, "%s%s%s", k->name, *k->view ? "  in " : "", k->view);
    *help = *k->help ? k->help : k->where;
    return true;
}

/* ---- the row of views: the screen's own, then those of scripts ---- */

int hl_screen_tabs(const hl_screen *s)
{
    return HL_VIEW_SCRIPTED + (int)s->scripted.views.n;
}

const char *hl_screen_tab(const hl_screen *s, int i, char key[24])
{
    key[0] = 0;
    if (i < HL_VIEW_SCRIPTED) {
        if (hl_view_digit((hl_view)i))
            snprintf(key, 24, "%d", hl_view_digit((hl_view)i));
        return hl_view_get((hl_view)i)->name;
    }
    const hl_scripted_view *v = &s->scripted.views.at[i - HL_VIEW_SCRIPTED];
    if (v->key)
        hl_key_name(key, v->key);
    return v->name;
}

int hl_screen_tab_now(const hl_screen *s)
{
    return (int)s->look.view + (s->look.view == HL_VIEW_SCRIPTED ? s->scripted.shown : 0);
}

void hl_screen_show_tab(hl_screen *s, int i)
{
    if (i < HL_VIEW_SCRIPTED)
        hl_screen_set_view(s, (hl_view)i);
    else
        hl_scripted_show(s, i - HL_VIEW_SCRIPTED);
}

/* ---- files ---- */

/* Gives the order's ticket; 0 or less: there is none. */
static int64_t source(hl_screen *s, const char *path)
{
    int64_t ticket = 0;
    char *text = NULL;
    size_t n = 0;
    hl_str b = {0};
    if (hl_fs_read(path, FILE_MAX, &text, &n) != HL_OK) {
        hl_scripted_complain(s, "", hl_err_message());
        return 0;
    }
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "path", path);
    hl_json_put_str(&b, "text", text);
    hl_json_end(&b, '}');
    hl_free(text);
    if (hl_str_status(&b) == HL_OK)
        ticket = hl_console_order(s, "source", hl_str_text(&b), HL_SCRIPTED_LIMIT_MS);
    hl_str_done(&b);
    return ticket;
}

void hl_scripted_source_file(hl_screen *s, const char *path)
{
    (void)source(s, path);
}

static bool config_dir(char *buf, size_t n)
{
    const char *own = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (own && own[0] == '/')
        return snprintf(buf, n, "%s/hoplab", own) < (int)n;
    return home && home[0] == '/' && snprintf(buf, n, "%s/.config/hoplab", home) < (int)n;
}

static void source_views(hl_screen *s, const char *dir)
{
    char *folder = hl_fs_join(dir, "views");
    hl_fs_list names = {0};
    if (folder && hl_fs_is_dir(folder) && hl_fs_list_dir(folder, &names) == HL_OK) {
        for (size_t i = 0; i < names.n; i++) {
            char *path =
                hl_str_ends(names.name[i], ".lua") ? hl_fs_join(folder, names.name[i]) : NULL;
            if (path)
                (void)source(s, path);
            hl_free(path);
        }
        hl_fs_list_free(&names);
    }
    hl_free(folder);
}

/* The user's file, then the project's, which wins. */
void hl_scripted_configure(hl_screen *s)
{
    char dir[1000];
    const char *given = getenv("HOPLAB_CONFIG");
    if (!s->console.lua)
        return;
    if (given && *given) {
        (void)source(s, given);
    } else if (config_dir(dir, sizeof dir)) {
        char *path = hl_fs_join(dir, "config.lua");
        if (path && hl_fs_exists(path))
            (void)source(s, path);
        hl_free(path);
        source_views(s, dir);
    }
    char *project = hl_project_find();
    if (project)
        s->scripted.project = source(s, project);
    if (s->scripted.project < 0) /* not run after all */
        s->scripted.project = 0;
    hl_free(project);
}
