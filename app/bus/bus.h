/* The control socket of a run, worker side: a unix stream socket in the run directory that speaks
 * newline-delimited JSON.
 *   -> {"v":1,"id":7,"cmd":"set","args":{"lr":0.001}}
 *   <- {"v":1,"id":7,"request":3,"status":"accepted","state":"running",...}
 *   <- {"v":1,"id":7,"request":3,"status":"applied","step":1234,"result":{...}}
 *   <- {"v":1,"id":7,"request":3,"status":"refused","reason":"..."}       instead of either
 * "id" is the asker's own number, "request" counts within the run. "subscribe":true (with a command
 * or alone) asks for events; "quiet": all but those of steps:
 *   <- {"v":1,"ev":"state",...}   each change of state      <- {"v":1,"ev":"step",...}  at most 5/s
 *   <- {"v":1,"ev":"request","request":3,"cmd":"set","uid":..,"pid":..,"status":...}  who asked
 * what                          <- {"v":1,"ev":"holder","holder":{"uid":..,"pid":..}}  or null
 *
 * Answered at once, with no "accepted" before, even while the run does something long:
 *   status    state, "holder", and "requests" not yet answered
 *   take      the controls: until release, the end of the connection, or HL_BUS_HOLD_S without a
 *             request, requests of other processes are refused with who has them.
 *             "args":{"steal":true} takes them from whoever that is
 *   release   gives them back
 *   cancel    "args":{"request":3}: withdraws a request that the run has not begun
 *   stop      with "args":{"now":true}: the process ends, whatever it is doing
 *
 * One thread ("net") owns the sockets and never waits for the run, nor the run for it: requests are
 * checked there and put in a mailbox, which the control thread empties between steps. */
#ifndef HL_APP_BUS_BUS_H
#define HL_APP_BUS_BUS_H

#include "engine/base/err.h"
#include "engine/base/json.h"

#define HL_BUS_VERSION 1

#define HL_BUS_COMMANDS(X)                                                                         \
    X(PAUSE, "pause")                                                                              \
    X(RESUME, "resume")                                                                            \
    X(STOP, "stop")                                                                                \
    X(CHECKPOINT, "checkpoint")                                                                    \
    X(EVAL, "eval")                                                                                \
    X(QUANTIZE, "quantize")                                                                        \
    X(SET, "set")                                                                                  \
    X(KNOBS, "knobs")                                                                              \
    X(LUA, "lua")                                                                                  \
    X(FLAG, "flag")                                                                                \
    X(STATUS, "status")                                                                            \
    X(TAKE, "take")                                                                                \
    X(RELEASE, "release")                                                                          \
    X(CANCEL, "cancel")

typedef enum hl_bus_subscription {
    HL_BUS_NO_EVENTS,
    HL_BUS_QUIET, /* all but steps */
    HL_BUS_ALL_EVENTS
} hl_bus_subscription;

typedef enum hl_bus_cmd {
#define HL_BUS_CMD_ENUM(upper, name) HL_BUS_CMD_##upper,
    HL_BUS_COMMANDS(HL_BUS_CMD_ENUM)
#undef HL_BUS_CMD_ENUM
        HL_BUS_CMD_COUNT
} hl_bus_cmd;

const char *hl_bus_cmd_name(hl_bus_cmd cmd);
/* HL_E_ARG with the nearest known command in the message. */
HL_MUST_CHECK hl_status hl_bus_cmd_from_name(const char *name, hl_bus_cmd *out);

enum { HL_BUS_HOLD_S = 600, HL_BUS_CODE_MAX = 8192 };

/* Who has the controls. */
typedef struct hl_bus_holder {
    int64_t uid, pid;  /* pid 0: nobody */
    bool stolen;       /* taken from somebody */
    int64_t n_changes; /* since the run began */
} hl_bus_holder;

typedef struct hl_bus_request {
    int64_t id; /* its number in this run: 1, 2, ... */
    hl_bus_cmd cmd;
    const hl_json *args; /* an object or NULL; borrowed until the request is answered.
                          * SET: 1 to 64 members, each a finite number, a bool or a string
                          * LUA: "text", 1 to HL_BUS_CODE_MAX bytes
                          * FLAG: app/flag.h */
    int64_t uid, pid;    /* who asked, as the kernel knows it */
} hl_bus_request;

/* What a run says about itself. step -1: none yet, and the last three mean nothing; steps -1: no
 * total is known. */
typedef struct hl_bus_state {
    char state[16]; /* "starting" "running" "paused" "evaluating" ... */
    char doing[80]; /* for people, may be empty: "evaluating, 41 s left" */
    int64_t step, steps;
    double loss, lr, step_ms;
} hl_bus_state;

typedef struct hl_bus_options {
    const char *run_dir; /* must exist */
    /* Called on the net thread right after a request is accepted, NULL for none: a STOP may have to
     * interrupt what never comes back to the safe point. Must not block. */
    void (*on_accept)(void *arg, const hl_bus_request *request);
    void *arg;
    int64_t half_line_ms; /* a line must be complete within this time; 0: 10 s */
} hl_bus_options;

typedef struct hl_bus hl_bus;

/* Opens the socket (mode 0600; a dead worker's is replaced) and starts the net thread. If the run
 * directory cannot hold it, it goes to $XDG_RUNTIME_DIR/hoplab or a directory of this user under
 * the temporary directory, and <run_dir>/control.path names it.
 * STATE: a live worker listens there already. IO: no place takes a socket. */
HL_MUST_CHECK hl_status hl_bus_open(const hl_bus_options *options, hl_bus **out);
/* Refuses what was not answered, gives readers 200 ms, removes the socket. NULL is fine. */
void hl_bus_close(hl_bus *bus);
const char *hl_bus_path(const hl_bus *bus); /* of the socket; borrowed */

/* The rest is for the control thread, except hl_bus_wake. */

/* Oldest request not yet taken; false if there is none (one atomic load). Answer each one. */
bool hl_bus_take(hl_bus *bus, hl_bus_request *out);
/* Whether the controls went to somebody else since *seen (n_changes, from 0). One atomic load. */
bool hl_bus_holder_changed(hl_bus *bus, int64_t *seen, hl_bus_holder *out);
/* Sleeps until a request waits (true), hl_bus_wake was called or ms are over. */
bool hl_bus_wait(hl_bus *bus, int64_t ms);
void hl_bus_wake(hl_bus *bus); /* any thread */

/* Done at `step`; result_json is an object or NULL. Ids that are not open are ignored. */
void hl_bus_answer(hl_bus *bus, int64_t id, int64_t step, const char *result_json);
void hl_bus_refuse(hl_bus *bus, int64_t id, const char *fmt, ...) HL_PRINTF(3, 4);

/* Call after each step and at each change of state: copies, never blocks, never allocates. */
void hl_bus_publish(hl_bus *bus, const hl_bus_state *state);

#endif
