/* The Lua host: one interpreter with the hop library, used by one thread. Nothing above this folder
 * sees lua.h. */
#ifndef HL_LUA_HOST_H
#define HL_LUA_HOST_H

#include "engine/hl_engine.h"

typedef struct hl_lua hl_lua;

typedef struct hl_lua_options {
    hl_team *team;          /* borrowed; NULL: one thread */
    bool fp64;              /* all programs run on the double references */
    bool fp16;              /* as bf16, on a device that uses half floats */
    bool bf16;              /* training steps multiply in bf16; not with fp64 */
    uint64_t seed;
    int64_t memory_limit;   /* bytes of the interpreter itself; 0: 2 GiB */
    const char *script_dir; /* where require looks first; NULL: none */
    const char *scripts;    /* directory that replaces the embedded library (development), or NULL */
    bool sandbox;           /* script from somebody else: no files, no processes */
} hl_lua_options;

HL_MUST_CHECK hl_status hl_lua_new(const hl_lua_options *o, hl_lua **out);
void hl_lua_free(hl_lua *h);

/* Runs a file (or a text under a name). A failure's message starts with the script line; its
 * traceback is hl_lua_traceback. */
HL_MUST_CHECK hl_status hl_lua_run_file(hl_lua *h, const char *path, int argc, char *const *argv);
HL_MUST_CHECK hl_status hl_lua_run_text(hl_lua *h, const char *name, const char *text);
/* For typing by hand: names may be given without `local`; hop, T and help are there. */
HL_MUST_CHECK hl_status hl_lua_make_console(hl_lua *h);
/* Evaluates a line of the console: an expression is printed by `print`. *incomplete: the line wants
 * more. */
HL_MUST_CHECK hl_status hl_lua_console_line(hl_lua *h, const char *text, bool *incomplete);
const char *hl_lua_traceback(const hl_lua *h); /* of the last failure, or "" */
const char *hl_lua_hint(const hl_lua *h);      /* what to do about it, or "" */

/* For the signal handler of the thread that runs Lua (hl_interrupt_arm): the script raises a
 * cancellation at its next instruction, which no pcall can swallow. */
void hl_lua_interrupt(hl_lua *h);
bool hl_lua_was_interrupted(const hl_lua *h);

/* Files beside the script that require loaded, for the run's record. */
int hl_lua_n_files(const hl_lua *h);
const char *hl_lua_file(const hl_lua *h, int i);

/* Did the script end itself with hop.exit? */
bool hl_lua_exited(const hl_lua *h, int *status);

int64_t hl_lua_memory(const hl_lua *h);
int64_t hl_lua_calls(const hl_lua *h); /* entries from C into Lua since birth */

/* All of the API as text: "help" one page, "stubs" LuaCATS, "markdown" docs/lua-api.md, "luacheck". */
HL_MUST_CHECK hl_status hl_lua_describe(hl_lua *h, const char *form, hl_str *out);

#endif
