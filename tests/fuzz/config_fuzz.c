/* Any bytes as the config.json of a model. */
#include <stdio.h>
#include <stdlib.h>

#include "app/lua/host.h"
#include "tests/fuzz/fuzz.h"

static hl_lua *lua;

static void close_lua(void)
{
    hl_lua_free(lua);
}

/* A model to put the file beside. */
static void open_lua(void)
{
    char text[300];
    const hl_lua_options o = {.team = NULL};
    snprintf(text, sizeof text,
             "local hop = require 'hop' hop.save_hf('%s/m', hop.nn.opt { layers = 1, width = 4, "
             "heads = 2, ffn = 4, vocab = 6, max_len = 4 })",
             fuzz_dir());
    if (hl_lua_new(&o, &lua) != HL_OK || hl_lua_run_text(lua, "make", text) != HL_OK)
        abort();
    atexit(close_lua);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char text[300];
    if (!lua)
        open_lua();
    fuzz_file("m/config.json", bytes, n);
    snprintf(text, sizeof text, "require('hop').nn.from_hf('%s/m'):parameters()", fuzz_dir());
    HL_IGNORE(hl_lua_run_text(lua, "load", text));
    return 0;
}
