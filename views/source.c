/* `:source`: commands from a file. */
#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "views/screen_lua.h"

void hl_screen_source(hl_screen *s, const char *name)
{
    enum { BYTES_MAX = 1 << 20 };
    char *text = NULL;
    size_t n;
    int line = 1;
    const char *dot = strrchr(name, '.');
    if (dot && strcmp(dot, ".lua") == 0) {
        hl_scripted_source_file(s, name);
        return;
    }
    if (s->sourcing) {
        hl_screen_say(s, HL_ROLE_BAD, "a file of commands names no other one");
        return;
    }
    if (hl_fs_read(name, BYTES_MAX, &text, &n) != HL_OK) {
        hl_screen_say_error(s);
        return;
    }
    s->sourcing = true;
    for (char *at = text; *at; line++) {
        char *end = at + strcspn(at, "\n");
        const bool more = *end != 0;
        *end = 0;
        s->notice[0] = 0;
        if (*at != '#')
            hl_screen_command(s, at + (*at == ':'));
        if (s->notice[0] && s->notice_role == HL_ROLE_BAD) {
            char what[300];
            snprintf(what, sizeof what, "%.299s", s->notice);
            hl_screen_say(s, HL_ROLE_BAD, "%s:%d: %s", name, line, what);
            break;
        }
        at = end + more;
    }
    s->sourcing = false;
    hl_free(text);
}
