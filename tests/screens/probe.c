#define _GNU_SOURCE
#include "tests/screens/probe.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static char state_dir[] = "/tmp/hl_term_XXXXXX";

void probe_make_state(void)
{
    cr_assert(mkdtemp(state_dir) != NULL);
    setenv("XDG_STATE_HOME", state_dir, 1);
}

void probe_remove_state(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", state_dir);
    cr_expect_eq(system(command), 0);
}

const char *probe_state(void)
{
    return state_dir;
}

screen *probe_start(screen_options o)
{
    static const char *const probe[] = {TERM_PROBE, NULL};
    if (!o.argv)
        o.argv = probe;
    screen *s = screen_start(&o);
    cr_assert(s != NULL);
    return s;
}

screen *probe_start_shown(screen_options o)
{
    screen *s = probe_start(o);
    cr_assert(screen_wait_text(s, "probe ", PROBE_LIMIT_MS));
    cr_assert(screen_wait_quiet(s, 80, PROBE_LIMIT_MS));
    return s;
}

void probe_expect_said(screen *s, const char *what)
{
    char text[256];
    snprintf(text, sizeof text, "said: %s", what);
    bool come = screen_wait_text(s, text, PROBE_LIMIT_MS);
    char *now = screen_text(s);
    cr_expect(come, "\"%s\" is not on the screen:\n%s", text, now);
    free(now);
}

void probe_expect_exit(screen *s, int code)
{
    int status = -1;
    cr_assert(screen_wait_exit(s, PROBE_LIMIT_MS, &status));
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == code, "status %#x", (unsigned)status);
    cr_expect(screen_is_given_back(s));
}

bool probe_printed(const screen *s, size_t from, const char *bytes)
{
    size_t n;
    const char *all = screen_printed(s, &n);
    return memmem(all + from, n - from, bytes, strlen(bytes)) != NULL;
}
