/* Text that a run is asked to evaluate between two steps (HL_REQUEST_LUA), in the script's own
 * interpreter. What it does to the run stays done; what it takes is limited. */
#include "app/exp/control.h"
#include "app/lua/host_internal.h"

/* Instructions are what ends a loop, so that it ends at the same place in a replay; time ends what
 * waits, and counts none of what the driver does for the text (an evaluation, a checkpoint). */
enum { INSTRUCTIONS = 100 * 1000 * 1000, SECONDS = 10 };

/* No more than is shown is kept, and one byte that tells of the rest. */
static void say(hl_str *to, const char *text, size_t n)
{
    const size_t room = to->n <= HL_ANSWER_MAX ? HL_ANSWER_MAX + 1 - to->n : 0;
    hl_str_addn(to, text, n < room ? n : room);
}

int hl_lua_print(lua_State *L)
{
    hl_str *to = hl_lua_of(L)->said;
    const int n = lua_gettop(L);
    if (!to) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_insert(L, 1);
        lua_call(L, n, 0);
        return 0;
    }
    for (int i = 1; i <= n; i++) {
        size_t bytes;
        const char *text = luaL_tolstring(L, i, &bytes);
        say(to, "\t", i > 1);
        say(to, text, bytes);
        lua_pop(L, 1);
    }
    say(to, "\n", 1);
    return 0;
}

typedef struct question {
    const char *code, *who;
    int run;
    bool compiled;
} question;

/* All that can run out of the interpreter's memory. */
static int ask(lua_State *L)
{
    question *q = lua_touserdata(L, 1);
    size_t n = 0;
    lua_getglobal(L, "require");
    lua_pushstring(L, "hop.console");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "answer");
    lua_pushstring(L, q->code);
    lua_rawgeti(L, LUA_REGISTRYINDEX, q->run);
    lua_pushstring(L, q->who);
    lua_call(L, 3, 2);
    q->compiled = lua_toboolean(L, -2);
    const char *text = luaL_checklstring(L, -1, &n);
    if (!q->compiled) {
        (void)hl_err_set(HL_E_FORMAT, "%s", text);
        return 0;
    }
    say(hl_lua_of(L)->said, text, n);
    return 0;
}

/* As far as it is shown, without a line end behind it. */
static hl_status take_answer(const hl_str *said, hl_str *out)
{
    size_t n = said->n < HL_ANSWER_MAX ? said->n : HL_ANSWER_MAX;
    const bool cut = said->n > n;
    while (cut && n && ((unsigned char)said->s[n] & 0xC0) == 0x80)
        n--;
    while (n && said->s[n - 1] == '\n')
        n--;
    hl_str_add_clean(out, hl_str_text(said), n);
    if (cut)
        hl_str_addf(out, "\n... (the answer is longer than %d bytes)", HL_ANSWER_MAX);
    return hl_str_status(out);
}

/* Of a text that raised, ended itself or ran for too long. */
static hl_status failed(hl_lua *h, hl_status st)
{
    const char *hint = hl_lua_hint(h);
    if (h->exiting)
        st = hl_err_set(HL_E_ARG, "hop.exit ends a script; run:stop() ends a run");
    else if (h->overran)
        st = hl_err_set(HL_E_ARG,
                        "stopped: more than %d instructions or %d s are not for a run that waits",
                        INSTRUCTIONS, SECONDS);
    else if (*hint)
        st = hl_err_set(HL_E_ARG, "%s; %s", hl_err_message(), hint);
    else
        st = hl_err_set(HL_E_ARG, "%s", hl_err_message());
    h->exiting = false;
    return st;
}

hl_status hl_lua_answer(hl_lua *h, const char *code, int run, const char *who, hl_str *out)
{
    hl_str said = {0};
    question q = {.code = code, .who = who, .run = run};
    h->said = &said;
    hl_lua_limit(h, true, INSTRUCTIONS, SECONDS);
    lua_pushcfunction(h->L, ask);
    lua_pushlightuserdata(h->L, &q);
    hl_status st = hl_lua_call(h, 1, 0);
    h->said = NULL;
    if (st != HL_OK)
        st = failed(h, st);
    else if (!q.compiled)
        st = HL_E_FORMAT;
    else
        st = take_answer(&said, out);
    hl_lua_limit(h, false, 0, 0);
    hl_str_clear(&h->traceback); /* they are not the run's */
    hl_str_clear(&h->hint);
    hl_str_done(&said);
    return st;
}
