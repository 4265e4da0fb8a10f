/* What the tests of the terminal layer share: the probe on a screen, and what is expected of it. */
#ifndef HL_TESTS_SCREENS_PROBE_H
#define HL_TESTS_SCREENS_PROBE_H

#include "tests/screens/harness.h"

#define PROBE_LIMIT_MS 10000

/* All of them fail the test that calls them. argv NULL: the probe itself. */
screen *probe_start(screen_options o);
screen *probe_start_shown(screen_options o); /* and its first picture is there */
void probe_expect_said(screen *s, const char *what);
void probe_expect_exit(screen *s, int code); /* and everything is given back */
bool probe_printed(const screen *s, size_t from, const char *bytes);
/* A place for traces of crashes, as of XDG_STATE_HOME. */
void probe_make_state(void);
void probe_remove_state(void);
const char *probe_state(void);

#endif
