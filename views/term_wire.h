/* What goes to the real terminal and comes from it beside the picture: keys in, questions out and
 * their answers, mouse and paste modes, clipboard.
 *
 * Questions (ESC[5n and the like) go only to terminals known to understand them. The first answer
 * to ESC[5n turns pacing on: one frame is under way at a time, so a slow link is never behind by
 * more than that. */
#ifndef HL_VIEWS_TERM_WIRE_H
#define HL_VIEWS_TERM_WIRE_H

#include <termios.h>

#include "views/term_input.h"

#define HL_WIRE_ASKED 8
/* Undoes the modes that are switched on here. */
#define HL_WIRE_LEAVE "\033[?2026l\033[?1006l\033[?1002l\033[?1000l\033[?2004l"

typedef struct hl_wire {
    bool modern; /* understands questions, mouse, paste */
    bool mouse_on;
    bool lost;  /* nobody is there any more */
    bool sync;  /* frames go out in marks */
    bool paced; /* the terminal has answered */
    int escape_delay_ms;
    int n_asked, n_answered;
    int64_t asked_ns[HL_WIRE_ASKED]; /* of the latest questions */
    double round_trip_ms;
    hl_decoder in;
} hl_wire;

/* STATE: stdin and stdout are no terminal that this process may take; says what to use instead. */
HL_MUST_CHECK hl_status hl_wire_check(void);

void hl_wire_init(hl_wire *w, const char *term_name, bool mouse);
void hl_wire_know_modes(hl_wire *w, const struct termios *found);
void hl_wire_done(hl_wire *w);
void hl_wire_start(hl_wire *w);  /* switches modes on and asks; the terminal is taken */
void hl_wire_settle(hl_wire *w); /* waits a little, so that no answer reaches the shell */

void hl_wire_put(hl_wire *w, const char *bytes, size_t n);
bool hl_wire_read(hl_wire *w, hl_input *out);
bool hl_wire_ready(hl_wire *w);
void hl_wire_begin_frame(hl_wire *w);
void hl_wire_end_frame(hl_wire *w);
void hl_wire_set_mouse(hl_wire *w, bool on);
bool hl_wire_copy(hl_wire *w, const char *text);

#endif
