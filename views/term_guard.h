/* Gives the terminal back, whatever happens to the process.
 *
 * DESIGN. The state is static, because signal handlers and atexit have no other way to it; there is
 * one terminal in a process. While it is taken, all that must be undone is one string of bytes and
 * one termios, both made beforehand: normal end, suspension, atexit and the crash handlers write
 * the same. Handlers of HUP, TERM, INT, QUIT, WINCH, TSTP and CONT set a flag and write a byte to a
 * pipe; a second request to end, a second after one that nobody took notice of, ends the process.
 * Handlers of crashes run on their own stack, use only functions that are safe there, leave a trace
 * file and raise the signal again. stderr goes into memory while the terminal is taken, if it is a
 * terminal itself. Only the process that called hl_guard_take is guarded, not its children. */
#ifndef HL_VIEWS_TERM_GUARD_H
#define HL_VIEWS_TERM_GUARD_H

#include <stdbool.h>
#include <termios.h>

#include "engine/base/err.h"

#define HL_GUARD_BYTES 512

typedef struct hl_guard_plan {
    int fd;                     /* the terminal, for reading modes and for writing */
    struct termios found, ours; /* modes before and while the screen is up */
    char enter[HL_GUARD_BYTES]; /* what switches our modes on ... */
    char leave[HL_GUARD_BYTES]; /* ... and off */
} hl_guard_plan;

/* The terminal is taken already: modes are on. From here on it is given back. STATE: twice. IO. */
HL_MUST_CHECK hl_status hl_guard_take(const hl_guard_plan *plan);
void hl_guard_release(void); /* gives it back; what stderr was told is printed */

/* Around a suspension: modes off and on again. */
void hl_guard_leave(void);
void hl_guard_enter(void);
/* More to do when the terminal is taken again and given back; false: no room for it. */
bool hl_guard_add(const char *enter, const char *leave);
void hl_guard_lose(void); /* the terminal is gone: nothing is written any more */

typedef enum hl_guard_event {
    HL_GUARD_NONE,
    HL_GUARD_QUIT,
    HL_GUARD_CONTINUED, /* after a stop from outside: our modes may be gone */
    HL_GUARD_RESIZED,
    HL_GUARD_SUSPEND
} hl_guard_event;

int hl_guard_fd(void); /* readable when there is an event */
hl_guard_event hl_guard_next(void);
int hl_guard_end_signal(void); /* that made the last QUIT; 0: none */
/* Stops the process group as Ctrl-Z does; returns when it goes on. */
void hl_guard_stop(void);
size_t hl_guard_take_stderr(char *buf, size_t n);

#endif
