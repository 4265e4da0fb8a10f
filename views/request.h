/* What the screen asks of runs: each request goes its way sent -> accepted -> applied at step N, or
 * refused and why. One connection for each run that was asked something; whoever asks takes the
 * controls if nobody has them, and keeps them while the screen is there. Never waits for a run. */
#ifndef HL_VIEWS_REQUEST_H
#define HL_VIEWS_REQUEST_H

#include <poll.h>

#include "app/hl_app.h"
#include "engine/base/vec.h"

typedef enum hl_request_state {
    HL_ASKED_SENT,
    HL_ASKED_LATE, /* not accepted within 2 s: `message` says so */
    HL_ASKED_ACCEPTED,
    HL_ASKED_APPLIED,
    HL_ASKED_REFUSED,
    HL_ASKED_FAILED /* the run is not live, or the connection broke */
} hl_request_state;

typedef struct hl_asked {
    char run[64]; /* its name, for people */
    char *dir;
    char what[80]; /* "pause", "set lr=0.001" */
    hl_bus_cmd cmd;
    hl_request_state state;
    int64_t number;    /* within the run; 0: not known yet */
    int64_t step;      /* APPLIED: at which; -1: not known */
    char *answer;      /* of LUA, once it has come: all of it, until the screen has shown it */
    char message[300]; /* ACCEPTED: what the run does now; APPLIED: what came of it; else why */
    int64_t t_us, sent_ns;
    bool is_open; /* an answer will come */
    int64_t id;
} hl_asked;

/* A connection. */
typedef struct hl_link {
    char *dir;
    hl_bus_client *client;
    int64_t take_id;     /* of the newest wish for the controls; 0: none */
    int64_t my_pid;      /* as the run knows this process; 0: not known yet */
    int64_t holder, uid; /* process that has the controls, 0: nobody; and whose */
    char doing[80];
} hl_link;

enum { HL_ASKED_KEPT = 64, HL_LINKS_MAX = 8 };

typedef struct hl_requests {
    HL_VEC(hl_asked) asked; /* oldest first */
    HL_VEC(hl_link) links;  /* the one used last at the end */
} hl_requests;

void hl_requests_done(hl_requests *r);
/* Asks; what becomes of it is in the newest entry, at once if it failed. args_json as in
 * hl_bus_client_send. NOMEM only. */
HL_MUST_CHECK hl_status hl_requests_send(hl_requests *r, const hl_run_row *row, hl_bus_cmd cmd,
                                         const char *args_json, const char *what);
/* Descriptors to wait for; gives how many. */
int hl_requests_fds(const hl_requests *r, struct pollfd *fds, int n_max);
int hl_requests_timeout_ms(const hl_requests *r); /* until one becomes late; -1: none */
/* Takes answers that have come; true if anything changed: *news is the entry with an answer (the
 * last one), or NULL. */
bool hl_requests_update(hl_requests *r, const hl_asked **news);
/* The run does not answer: asking it again might have to wait. */
bool hl_requests_is_late(const hl_requests *r, const char *dir);
/* The newest request of this screen that the run has not answered; NULL: none. */
const hl_asked *hl_requests_open(const hl_requests *r, const char *dir);
/* NULL: the run was asked nothing. */
const hl_link *hl_requests_link(const hl_requests *r, const char *dir);

/* "set lr=0.001: applied at step 1240" into buf */
const char *hl_asked_text(const hl_asked *a, char *buf, size_t n);

#endif
