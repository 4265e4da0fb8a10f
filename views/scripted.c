/* Views, keys and settings from scripts: what their notes ask for. */
#include "views/scripted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "views/screen_lua.h"

static const char *text_of(const hl_json *v, const char *key)
{
    return hl_json_str(hl_json_get(v, key), "");
}

/* ---- life ---- */

static void forget_view(hl_scripted_view *v)
{
    hl_free(v->title);
    hl_json_free(v->picture);
    hl_json_free(v->failure);
    *v = (hl_scripted_view){0};
}

static void forget_key(hl_scripted_key *k)
{
    hl_free(k->help);
    hl_free(k->where);
}

void hl_scripted_done(hl_scripted *p)
{
    for (size_t i = 0; i < p->views.n; i++)
        forget_view(&p->views.at[i]);
    for (size_t i = 0; i < p->keys.n; i++)
        forget_key(&p->keys.at[i]);
    for (size_t i = 0; i < p->mapped.n; i++)
        forget_key(&p->mapped.at[i]);
    for (size_t i = 0; i < p->commands.n; i++) {
        hl_free(p->commands.at[i].args);
        hl_free(p->commands.at[i].help);
    }
    for (size_t i = 0; i < p->sources.n; i++)
        hl_free(p->sources.at[i].where);
    hl_free(p->completed);
    hl_scripted_values_done(&p->values);
    hl_scripted_jobs_done(p);
    hl_vec_done(&p->views);
    hl_vec_done(&p->keys);
    hl_vec_done(&p->mapped);
    hl_vec_done(&p->commands);
    hl_vec_done(&p->sources);
    hl_vec_done(&p->timers);
    *p = (hl_scripted){0};
}

/* ---- complaints ---- */

/* In the console, and below: "config.lua:3: ..." */
void hl_scripted_complain(hl_screen *s, const char *where, const char *text)
{
    char line[HL_ERR_MESSAGE_MAX + 300];
    snprintf(line, sizeof line, "%s%s%s", where, *where ? ": " : "", text);
    hl_console_print(s, HL_ROLE_BAD, line);
    hl_screen_say(s, HL_ROLE_BAD, "%s", line);
}

/* ---- settings and where they come from ---- */

void hl_scripted_set_source(hl_screen *s, const char *name, const char *where)
{
    hl_scripted *p = &s->scripted;
    for (size_t i = 0; i < p->sources.n; i++)
        if (strcmp(p->sources.at[i].name, name) == 0) {
            hl_free(p->sources.at[i].where);
            p->sources.at[i].where = hl_strdup(where);
            return;
        }
    hl_setting_source fresh = {.where = hl_strdup(where)};
    snprintf(fresh.name, sizeof fresh.name, "%s", name);
    if (!fresh.where || hl_vec_push(&p->sources, fresh) != HL_OK)
        hl_free(fresh.where);
}

/* What stands above the files: the environment and the command line. */
static const char *stronger(const char *name)
{
    static const struct {
        const char *setting, *variable;
    } variables[] = {{"theme", "HOPLAB_THEME"}, {"glyphs", "HOPLAB_GLYPHS"}};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *value = getenv(variables[i].variable);
        if (strcmp(name, variables[i].setting) == 0 && value && *value)
            return variables[i].variable;
    }
    return NULL;
}

const char *hl_scripted_source(hl_screen *s, const char *name)
{
    for (size_t i = 0; i < s->scripted.sources.n; i++)
        if (strcmp(s->scripted.sources.at[i].name, name) == 0 && s->scripted.sources.at[i].where)
            return s->scripted.sources.at[i].where;
    const char *variable = stronger(name);
    return variable ? variable : "default";
}

static void take_setting(hl_screen *s, const hl_json *v)
{
    const char *name = text_of(v, "name"), *where = text_of(v, "where");
    if (stronger(name) || strcmp(hl_scripted_source(s, name), "command line") == 0)
        return;
    if (hl_option_set(s, name, text_of(v, "value")) != HL_OK)
        hl_scripted_complain(s, where, hl_err_message());
    else
        hl_scripted_set_source(s, name, where);
}

/* ---- keys ---- */

static bool same_place(const char *a, const char *b)
{
    return !*a || !*b || strcmp(a, b) == 0;
}

/* Keys of an action of the screen. A file that maps the same keys twice is told of both places. */
static void map_action(hl_screen *s, const hl_json *v)
{
    const char *keys = text_of(v, "keys"), *where = text_of(v, "where");
    char text[400];
    for (size_t i = 0; i < s->scripted.mapped.n; i++) {
        const hl_scripted_key *k = &s->scripted.mapped.at[i];
        if (strcmp(k->name, keys) != 0 || strcmp(k->help, text_of(v, "action")) == 0)
            continue;
        snprintf(text, sizeof text, "%s is mapped to %s at %s already, now to %s", keys, k->help,
                 k->where, text_of(v, "action"));
        hl_scripted_complain(s, where, text);
        return;
    }
    if (hl_keymap_bind(&s->keymap, keys, text_of(v, "action")) != HL_OK) {
        hl_scripted_complain(s, where, hl_err_message());
        return;
    }
    hl_scripted_key k = {.help = hl_strdup(text_of(v, "action")), .where = hl_strdup(where)};
    snprintf(k.name, sizeof k.name, "%s", keys);
    if (!k.help || !k.where || hl_vec_push(&s->scripted.mapped, k) != HL_OK)
        forget_key(&k);
}

/* NULL: free; else who has it. */
static const char *owner_of(hl_screen *s, const char *view, int key, char text[160])
{
    const hl_action a = hl_keymap_find(&s->keymap, HL_PANE_SCRIPTED, &key, 1);
    if (a != HL_ACTION_NONE) {
        snprintf(text, 160, "%s of the screen",
                 a == HL_ACTION_PENDING ? "the beginning of other keys" : hl_action_get(a)->name);
        return text;
    }
    for (size_t i = 0; i < s->scripted.keys.n; i++) {
        const hl_scripted_key *k = &s->scripted.keys.at[i];
        if (k->key != key || !same_place(k->view, view))
            continue;
        snprintf(text, 160, "%.60s (%.80s)", *k->help ? k->help : "another function", k->where);
        return text;
    }
    return NULL;
}

static void add_key(hl_screen *s, const hl_scripted_key *proto, const char *help, const char *where)
{
    hl_scripted_key k = *proto;
    char owner[160], text[400];
    if (!hl_key_from(k.name, &k.key)) {
        snprintf(text, sizeof text, "'%s' is no key; write a letter, C-x, A-x, Enter, PgUp, F1 ...",
                 k.name);
        hl_scripted_complain(s, where, text);
        return;
    }
    if (owner_of(s, k.view, k.key, owner)) {
        snprintf(text, sizeof text, "%s belongs to %s; %s does not get it", k.name, owner,
                 *help ? help : "this function");
        hl_scripted_complain(s, where, text);
        return;
    }
    k.help = hl_strdup(help);
    k.where = hl_strdup(where);
    if (!k.help || !k.where || hl_vec_push(&s->scripted.keys, k) != HL_OK)
        forget_key(&k);
}

static void take_map(hl_screen *s, const hl_json *v)
{
    if (*text_of(v, "action")) {
        map_action(s, v);
        return;
    }
    const char *view = text_of(v, "view");
    hl_scripted_key k = {.number = (int)hl_json_int(hl_json_get(v, "number"), 0)};
    snprintf(k.view, sizeof k.view, "%s", strcmp(view, "any") == 0 ? "" : view);
    snprintf(k.name, sizeof k.name, "%s", text_of(v, "keys"));
    add_key(s, &k, text_of(v, "help"), text_of(v, "where"));
}

/* ---- orders ---- */

static int64_t order_number(hl_screen *s, const char *name, int number)
{
    char text[40];
    snprintf(text, sizeof text, "{\"number\":%d}", number);
    return hl_console_order(s, name, text, HL_SCRIPTED_LIMIT_MS);
}

static const char *view_name(const hl_screen *s)
{
    const hl_scripted *p = &s->scripted;
    if (s->look.view != HL_VIEW_SCRIPTED)
        return hl_view_get(s->look.view)->name;
    return (size_t)p->shown < p->views.n ? p->views.at[p->shown].name : "";
}

bool hl_scripted_press(hl_screen *s, int key)
{
    hl_scripted *p = &s->scripted;
    for (size_t i = 0; i < p->views.n; i++)
        if (p->views.at[i].key == key && key) {
            hl_scripted_show(s, (int)i);
            return true;
        }
    for (size_t i = 0; i < p->keys.n; i++) {
        const hl_scripted_key *k = &p->keys.at[i];
        if (k->key != key || (*k->view && strcmp(k->view, view_name(s)) != 0))
            continue;
        if (k->number) {
            (void)order_number(s, "mapped", k->number);
            return true;
        }
        hl_str b = {0};
        hl_json_begin(&b, '{');
        hl_json_put_str(&b, "name", k->view);
        hl_json_put_str(&b, "key", k->name);
        hl_json_end(&b, '}');
        if (hl_str_status(&b) == HL_OK)
            (void)hl_console_order(s, "key", hl_str_text(&b), HL_SCRIPTED_LIMIT_MS);
        hl_str_done(&b);
        p->views.at[p->shown].changes++;
        return true;
    }
    return false;
}

void hl_scripted_show(hl_screen *s, int i)
{
    if (s->look.view == HL_VIEW_SCRIPTED && s->scripted.shown != i)
        s->look.zoom = false;
    s->scripted.shown = i;
    hl_screen_set_view(s, HL_VIEW_SCRIPTED);
    s->dirty = true;
}

/* ---- timers ---- */

static void take_timer(hl_screen *s, const hl_json *v)
{
    hl_scripted *p = &s->scripted;
    const int number = (int)hl_json_int(hl_json_get(v, "number"), 0);
    const double seconds = hl_json_num(hl_json_get(v, "seconds"), 0);
    for (size_t i = 0; i < p->timers.n; i++)
        if (p->timers.at[i].number == number) {
            p->timers.at[i] = p->timers.at[--p->timers.n];
            break;
        }
    if (!(seconds > 0))
        return;
    const int64_t every = (int64_t)(seconds * 1e9);
    HL_IGNORE(hl_vec_push(&p->timers, ((hl_scripted_timer){.number = number,
                                                           .every_ns = every,
                                                           .due_ns = hl_clock_mono_ns() + every})));
}

/* A function that has not come back yet is not called again. */
int hl_scripted_timers_ms(hl_screen *s)
{
    const int64_t now = hl_clock_mono_ns();
    int ms = -1;
    for (size_t i = 0; i < s->scripted.timers.n; i++) {
        hl_scripted_timer *t = &s->scripted.timers.at[i];
        if (t->ticket)
            continue;
        if (t->due_ns <= now) {
            t->due_ns = now + t->every_ns;
            const int64_t ticket = order_number(s, "mapped", t->number);
            t->ticket = ticket > 0 ? ticket : 0;
            continue;
        }
        const int left = (int)((t->due_ns - now) / 1000000) + 1;
        ms = ms < 0 || left < ms ? left : ms;
    }
    return ms;
}

/* One that raised has said so, and is over. */
bool hl_scripted_timer_reply(hl_screen *s, const hl_script_reply *r)
{
    hl_scripted *p = &s->scripted;
    for (size_t i = 0; i < p->timers.n; i++) {
        if (!p->timers.at[i].ticket || p->timers.at[i].ticket != r->ticket)
            continue;
        p->timers.at[i].ticket = 0;
        if (r->failed)
            p->timers.at[i] = p->timers.at[--p->timers.n];
        return true;
    }
    return false;
}

/* ---- views ---- */

static hl_scripted_view *find_view(hl_scripted *p, const char *name)
{
    for (size_t i = 0; i < p->views.n; i++)
        if (strcmp(p->views.at[i].name, name) == 0)
            return &p->views.at[i];
    return NULL;
}

static void drop_keys_of(hl_scripted *p, const char *view)
{
    size_t n = 0;
    for (size_t i = 0; i < p->keys.n; i++) {
        if (strcmp(p->keys.at[i].view, view) == 0 && p->keys.at[i].number == 0)
            forget_key(&p->keys.at[i]);
        else
            p->keys.at[n++] = p->keys.at[i];
    }
    p->keys.n = n;
}

static int key_of_view(hl_screen *s, const char *name, const char *where)
{
    char owner[160], text[400];
    int key = 0;
    if (!*name)
        return 0;
    if (!hl_key_from(name, &key))
        snprintf(text, sizeof text, "'%s' is no key", name);
    else if (owner_of(s, "", key, owner))
        snprintf(text, sizeof text, "%s belongs to %s; the view is shown by :view and gt", name,
                 owner);
    else
        return key;
    hl_scripted_complain(s, where, text);
    return 0;
}

/* A view of a name that is there replaces it. */
static void take_view(hl_screen *s, const hl_json *v)
{
    hl_scripted *p = &s->scripted;
    const char *name = text_of(v, "name"), *where = text_of(v, "where");
    hl_scripted_view *view = find_view(p, name);
    if (view) {
        forget_view(view);
        drop_keys_of(p, name);
    } else if (hl_vec_push(&p->views, (hl_scripted_view){0}) == HL_OK) {
        view = &p->views.at[p->views.n - 1];
    } else {
        return;
    }
    snprintf(view->name, sizeof view->name, "%s", name);
    view->title = hl_strdup(text_of(v, "title"));
    view->key = key_of_view(s, text_of(v, "key"), where);
    for (const hl_json *k = hl_json_at(hl_json_get(v, "keys"), 0); k; k = hl_json_next(k)) {
        hl_scripted_key key = {0};
        snprintf(key.view, sizeof key.view, "%s", name);
        snprintf(key.name, sizeof key.name, "%s", text_of(k, "key"));
        add_key(s, &key, text_of(k, "help"), where);
    }
}

static void take_redraw(hl_screen *s, const hl_json *v)
{
    hl_scripted_view *view = find_view(&s->scripted, text_of(v, "name"));
    if (view)
        view->changes++;
}

/* ---- what comes back ---- */

bool hl_scripted_note(hl_screen *s, const char *kind, const hl_json *v)
{
    static const struct {
        const char *kind;
        void (*take)(hl_screen *s, const hl_json *v);
    } kinds[] = {{"view", take_view},
                 {"map", take_map},
                 {"set", take_setting},
                 {"timer", take_timer},
                 {"redraw", take_redraw},
                 {"theme", hl_scripted_add_theme},
                 {"value", hl_scripted_add_value},
                 {"job", hl_scripted_take_job},
                 {"command", hl_scripted_add_command}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kind, kinds[i].kind) == 0) {
            kinds[i].take(s, v);
            return true;
        }
    if (strcmp(kind, "notice") == 0)
        hl_screen_say(s, HL_ROLE_TEXT, "%s", text_of(v, "text"));
    else if (strcmp(kind, "execute") == 0)
        hl_scripted_execute(s, text_of(v, "line"), text_of(v, "where"));
    else
        return false;
    return true;
}
