/* Runs a command on an emulated terminal, presses keys, prints the screen (at the end, unless the
 * script says when).
 *
 *   hl_shoot [--size 80x24] [--term xterm-256color] [--lang C.UTF-8] [--keys SCRIPT] [--wait TEXT]
 *            [--limit MS] [--looks] -- COMMAND ARGUMENT...
 *
 * The script is that of harness.h. --wait is waited for after it. Exit status: 0; 1 when a wait was
 * in vain or the script is wrong; 2 for wrong use. */
#include <stdlib.h>
#include <string.h>

#include "tests/screens/harness.h"

typedef struct request {
    screen_options start;
    const char *keys, *wait;
    int limit_ms;
    bool looks;
} request;

static int usage(const char *fault)
{
    fprintf(stderr,
            "hl_shoot: %s\nusage: hl_shoot [--size 80x24] [--term NAME] [--lang LOCALE] "
            "[--keys SCRIPT] [--wait TEXT] [--limit MS] [--looks] -- COMMAND ARGUMENT...\n",
            fault);
    return 2;
}

/* Gives the fault, NULL for none. */
static const char *read_arguments(int argc, char **argv, request *r)
{
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(name, "--looks") == 0) {
            r->looks = true;
            continue;
        }
        if (!value)
            return "an option has no value";
        if (strcmp(name, "--size") == 0) {
            if (!screen_read_size(value, &r->start.cols, &r->start.rows))
                return "--size is COLSxROWS";
        } else if (strcmp(name, "--term") == 0) {
            r->start.term = value;
        } else if (strcmp(name, "--lang") == 0) {
            r->start.lang = value;
        } else if (strcmp(name, "--keys") == 0) {
            r->keys = value;
        } else if (strcmp(name, "--wait") == 0) {
            r->wait = value;
        } else if (strcmp(name, "--limit") == 0) {
            r->limit_ms = (int)strtol(value, NULL, 10);
        } else {
            return "unknown option";
        }
        i++;
    }
    if (i + 1 >= argc)
        return "no command";
    r->start.argv = (const char *const *)argv + i + 1;
    return NULL;
}

int main(int argc, char **argv)
{
    request r = {.keys = "", .limit_ms = 10000};
    const char *fault = read_arguments(argc, argv, &r);
    if (fault)
        return usage(fault);
    screen *s = screen_start(&r.start);
    if (!s)
        return 2;
    screen_set_limit(s, r.limit_ms);
    screen_wait_quiet(s, 150, 2000);
    bool good = screen_run_script(s, r.keys, stdout);
    if (good && r.wait && !screen_wait_text(s, r.wait, r.limit_ms)) {
        fprintf(stderr, "hl_shoot: \"%s\" has not come\n", r.wait);
        good = false;
    }
    screen_wait_quiet(s, 200, 2000);
    if (!strstr(r.keys, "<shot>")) {
        char *picture = r.looks ? screen_looks(s) : screen_text(s);
        fputs(picture, stdout);
        free(picture);
    }
    screen_end(s);
    return good ? 0 : 1;
}
