/* Commands from scripts, and the files that configure the screen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/fs.h"
#include "views/screen.h"

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

/* Scripts may look, and nothing else: a file that came with somebody's project must not start or
 * stop anything. */
void hl_scripted_execute(hl_screen *s, const char *line, const char *where)
{
    static const char *const allowed[] = {"open", "view",  "filter", "sort",   "mark",
                                          "set",  "theme", "help",   "compare"};
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

static void source(hl_screen *s, const char *path)
{
    char *text = NULL;
    size_t n = 0;
    hl_str b = {0};
    if (hl_fs_read(path, FILE_MAX, &text, &n) != HL_OK) {
        hl_scripted_complain(s, "", hl_err_message());
        return;
    }
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "path", path);
    hl_json_put_str(&b, "text", text);
    hl_json_end(&b, '}');
    hl_free(text);
    if (hl_str_status(&b) == HL_OK)
        (void)hl_console_order(s, "source", hl_str_text(&b), HL_SCRIPTED_LIMIT_MS);
    hl_str_done(&b);
}

void hl_scripted_source_file(hl_screen *s, const char *path)
{
    source(s, path);
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
                source(s, path);
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
        source(s, given);
    } else if (config_dir(dir, sizeof dir)) {
        char *path = hl_fs_join(dir, "config.lua");
        if (path && hl_fs_exists(path))
            source(s, path);
        hl_free(path);
        source_views(s, dir);
    }
    char *project = hl_project_find();
    if (project)
        source(s, project);
    hl_free(project);
}
