/* Requests to live runs, waiting for them, and their checkpoints, for scripts. hop/runs.lua gives
 * these to users. What waits looks up four times a second, so a script can be interrupted. */
#include <stdio.h>
#include <string.h>

#include "app/bus/client.h"
#include "app/lua/host_internal.h"
#include "app/store/run_dir.h"
#include "engine/base/clock.h"

enum { SLICE_MS = 250 };

static hl_status args_of(hl_bus_cmd cmd, const char *word, hl_str *out)
{
    if (!word)
        return HL_OK;
    if (cmd == HL_BUS_CMD_SET)
        return hl_bus_knob_args(word, out);
    if (cmd == HL_BUS_CMD_STOP) {
        hl_str_add(out, "{\"checkpoint\":false}");
        return hl_str_status(out);
    }
    return hl_bus_word_args(cmd, word, out);
}

/* Until the request is answered, the time is over (STATE) or the script is interrupted (*step is -2
 * then, and what comes next raises). */
static hl_status await(hl_lua *h, hl_bus_client *c, int64_t id, double seconds, int64_t *step,
                       hl_str *text)
{
    hl_status st = HL_OK;
    const int64_t end_ns = hl_clock_mono_ns() + (int64_t)(seconds * 1e9);
    char doing[80] = "nothing was heard of it";
    *step = -2;
    while (!h->interrupted) {
        hl_json *line = NULL;
        st = hl_bus_client_read(c, SLICE_MS, &line);
        const bool mine = st == HL_OK && line && hl_bus_line_answers(line, id);
        const char *status = hl_json_str(hl_json_get(line, "status"), "");
        const bool accepted = mine && strcmp(status, "accepted") == 0;
        if (accepted)
            snprintf(doing, sizeof doing, "the run is %.60s",
                     hl_json_str(hl_json_get(line, "doing"),
                                 hl_json_str(hl_json_get(line, "state"), "")));
        if (mine && strcmp(status, "applied") == 0) {
            *step = hl_json_int(hl_json_get(line, "step"), -1);
            hl_str_add(text, hl_json_str(hl_json_get(hl_json_get(line, "result"), "text"), ""));
        } else if (mine && !accepted) {
            st = hl_err_set(HL_E_STATE, "refused: %s",
                            hl_json_str(hl_json_get(line, "reason"), "no reason was given"));
        }
        hl_json_free(line);
        if (st != HL_OK || (mine && !accepted))
            return st;
        if (hl_clock_mono_ns() >= end_ns)
            return hl_err_set(HL_E_STATE, "not applied within %g s; %s", seconds, doing);
    }
    return st;
}

/* run_ask(dir, command, word or nil, seconds): the step it was applied at, and what came of it */
static int run_ask(lua_State *L)
{
    hl_status st = HL_OK;
    const char *dir = luaL_checkstring(L, 1), *name = luaL_checkstring(L, 2);
    const char *word = luaL_optstring(L, 3, NULL);
    const double seconds = luaL_checknumber(L, 4);
    hl_bus_client *c = NULL;
    hl_str args = {0}, text = {0};
    hl_bus_cmd cmd;
    int64_t id, step = -2;
    HL_TRY(hl_bus_cmd_from_name(name, &cmd));
    HL_TRY(args_of(cmd, word, &args));
    HL_TRY(hl_bus_client_open(dir, &c));
    HL_TRY(hl_bus_client_send(c, cmd, args.n ? args.s : NULL, HL_BUS_NO_EVENTS, &id));
    HL_TRY(await(hl_lua_of(L), c, id, seconds, &step, &text));
    HL_TRY(hl_str_status(&text));
out:
    hl_bus_client_close(c);
    hl_str_done(&args);
    if (st != HL_OK) {
        hl_str_done(&text);
        return hl_lua_raise(L, st);
    }
    lua_pushinteger(L, step);
    lua_pushstring(L, hl_str_text(&text));
    hl_str_done(&text);
    return 2;
}

/* run_rest(seconds): sleeps, at most a quarter of one */
static int run_rest(lua_State *L)
{
    const double seconds = luaL_checknumber(L, 1);
    if (!hl_lua_of(L)->interrupted && seconds > 0)
        hl_clock_sleep_ms(seconds < SLICE_MS * 1e-3 ? (int64_t)(seconds * 1e3) + 1 : SLICE_MS);
    return 0;
}

/* run_checkpoint(dir, name): the directory of "best", "last" or a checkpoint's own name */
static int run_checkpoint(lua_State *L)
{
    const char *dir = luaL_checkstring(L, 1), *name = luaL_checkstring(L, 2);
    char pointed[64];
    hl_run_dir_read_pointer(dir, strchr(name, '/') ? "" : name, pointed);
    const char *own = *pointed ? pointed : name;
    if (strchr(own, '/') || own[0] == '.' || !hl_run_dir_has_checkpoint(dir, own)) {
        (void)hl_err_set(HL_E_NOTFOUND, "the run has no checkpoint '%.80s'", name);
        return hl_lua_raise(L, HL_E_NOTFOUND);
    }
    lua_pushfstring(L, "%s/ckpt/%s/model.safetensors", dir, own);
    return 1;
}

void hl_lua_open_control(lua_State *L)
{
    static const luaL_Reg functions[] = {{"run_ask", run_ask},
                                         {"run_rest", run_rest},
                                         {"run_checkpoint", run_checkpoint},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
