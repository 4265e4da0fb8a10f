/* The control socket of a run, asker's side: command line and screen. One connection, used by one
 * thread. Nothing here waits longer than it was told to. */
#ifndef HL_APP_BUS_CLIENT_H
#define HL_APP_BUS_CLIENT_H

#include "app/bus/bus.h"

typedef struct hl_bus_client hl_bus_client;

/* NOTFOUND: the run is not live (or lives on another machine). IO: it belongs to another user. */
HL_MUST_CHECK hl_status hl_bus_client_open(const char *run_dir, hl_bus_client **out);
void hl_bus_client_close(hl_bus_client *c);
int hl_bus_client_fd(const hl_bus_client *c); /* for poll(): readable means hl_bus_client_read */

/* Sends one request without waiting for its answer; *id is the number that the answer carries.
 * args_json is an object or NULL; events: from now on, or as they were (NO_EVENTS). IO: the worker
 * closed the connection. */
HL_MUST_CHECK hl_status hl_bus_client_send(hl_bus_client *c, hl_bus_cmd cmd, const char *args_json,
                                           hl_bus_subscription events, int64_t *id);
/* Next line (answer or event), owned by the caller; *line NULL: none within ms. */
HL_MUST_CHECK hl_status hl_bus_client_read(hl_bus_client *c, int64_t ms, hl_json **line);

typedef enum hl_bus_outcome {
    HL_BUS_OUTCOME_APPLIED,
    HL_BUS_OUTCOME_REFUSED, /* message: why */
    HL_BUS_OUTCOME_ACCEPTED /* not applied in time; it stands. message: what the run does instead */
} hl_bus_outcome;

typedef struct hl_bus_reply {
    hl_bus_outcome outcome;
    int64_t request; /* its number in the run, 0 unknown */
    int64_t step;    /* APPLIED: at which; -1 unknown */
    char message[400];
    hl_json *line; /* the last answer, with "result" if the command has one */
} hl_bus_reply;

/* Sends and waits: accept_ms for any answer at all, then apply_ms (< 0: no limit) for the outcome.
 * STATE: no answer in time; the message says what the process is doing. IO: the connection broke.
 */
HL_MUST_CHECK hl_status hl_bus_client_call(hl_bus_client *c, hl_bus_cmd cmd, const char *args_json,
                                           int64_t accept_ms, int64_t apply_ms, hl_bus_reply *out);
void hl_bus_reply_done(hl_bus_reply *reply);

/* Is this line the answer to request `id`, or a refusal of the connection as a whole? Else it is an
 * event, or somebody else's answer. */
bool hl_bus_line_answers(const hl_json *line, int64_t id);

/* "lr=3e-4" into the arguments of SET; "lr=schedule" gives the schedule back, "lr=cosine:warmup=9"
 * replaces it (hl_schedule_read). Errors: ARG. */
HL_MUST_CHECK hl_status hl_bus_knob_args(const char *word, hl_str *out);
/* The name of a CHECKPOINT, what to EVAL on, the text for LUA, or --release of PAUSE. Errors: ARG.
 */
HL_MUST_CHECK hl_status hl_bus_word_args(hl_bus_cmd cmd, const char *word, hl_str *out);
/* "-s quantize.percentile=99.9 --sensitivity 8 --limit 4" into the arguments of QUANTIZE. Errors:
 * ARG (out is then half written). */
HL_MUST_CHECK hl_status hl_bus_quantize_args(char *const *words, int n, hl_str *out);

#endif
