/* Filters of the run list that are a function in Lua: "lua(r) r.loss < 2". The screen's Lua answers
 * in its own time; until then the list is as the answer before had it, or whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/hash.h"
#include "views/screen_lua.h"

enum { LIMIT_MS = 1000 };

bool hl_lua_filter_is(const char *text)
{
    const char *at = text + strspn(text, " ");
    if (!hl_str_starts(at, "lua"))
        return false;
    at += 3;
    return at[strspn(at, " ")] == '(';
}

void hl_lua_filter_ask(hl_screen *s)
{
    hl_lua_filter *f = &s->lua_filter;
    const char *text = s->look.filter + strspn(s->look.filter, " ");
    if (!hl_lua_filter_is(text) || f->ticket > 0 ||
        (f->of_list == s->model.n_lists && strcmp(f->text, text) == 0))
        return;
    if (strcmp(f->text, text) != 0)
        f->is_known = false;
    snprintf(f->text, sizeof f->text, "%s", text);
    f->of_list = s->model.n_lists;
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "text", text);
    hl_json_end(&b, '}');
    f->ticket =
        hl_str_status(&b) == HL_OK ? hl_console_order(s, "filter", hl_str_text(&b), LIMIT_MS) : -1;
    hl_str_done(&b);
}

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t name_of(const char *dir)
{
    return hl_hash_str(HL_HASH_START, hl_fs_base(dir));
}

bool hl_lua_filter_fits(const hl_screen *s, const hl_run_row *row)
{
    const hl_lua_filter *f = &s->lua_filter;
    if (!f->is_known || !hl_lua_filter_is(s->look.filter))
        return true;
    const uint64_t name = name_of(row->dir);
    return f->fits.n && bsearch(&name, f->fits.at, f->fits.n, sizeof name, by_size);
}

/* While it is typed, what is wrong with it is no surprise. */
static void complain(hl_screen *s, const char *text)
{
    hl_screen_say(s, s->mode == HL_MODE_FILTER ? HL_ROLE_WARN : HL_ROLE_BAD, "filter: %.*s",
                  (int)strcspn(text, "\n"), text);
}

bool hl_lua_filter_reply(hl_screen *s, const hl_script_reply *r)
{
    hl_lua_filter *f = &s->lua_filter;
    if (f->ticket <= 0 || r->ticket != f->ticket)
        return false;
    const hl_json *names = hl_json_get(r->value, "names");
    const char *trouble = hl_json_str(hl_json_get(r->value, r->failed ? "message" : "trouble"), "");
    f->ticket = 0;
    f->fits.n = 0;
    f->is_known = !r->failed;
    for (const hl_json *v = hl_json_at(names, 0); v && f->is_known; v = hl_json_next(v))
        f->is_known = hl_vec_push(&f->fits, name_of(hl_json_str(v, ""))) == HL_OK;
    if (f->fits.n)
        qsort(f->fits.at, f->fits.n, sizeof *f->fits.at, by_size);
    hl_screen_order(s); /* asks again, if it is another filter by now */
    hl_screen_stay(s);
    if (*trouble)
        complain(s, trouble);
    else if (s->mode != HL_MODE_FILTER && !s->notice[0])
        hl_screen_say(s, HL_ROLE_TEXT, "%zu runs fit", s->order.n);
    return true;
}

void hl_lua_filter_done(hl_lua_filter *f)
{
    hl_vec_done(&f->fits);
}
