/* Shared by the files of app/bus only. */
#ifndef HL_APP_BUS_BUS_INTERNAL_H
#define HL_APP_BUS_BUS_INTERNAL_H

#include "app/bus/bus.h"
#include "engine/base/thread.h"

enum {
    HL_BUS_PEERS = 32,            /* clients at a time */
    HL_BUS_SLOTS = 64,            /* requests not yet answered */
    HL_BUS_EVENTS = 16,           /* states not yet pushed; the newest replaces the last */
    HL_BUS_LINE_MAX = 64 * 1024,  /* bytes of a request line */
    HL_BUS_OUT_MAX = 256 * 1024,  /* unread bytes that make a client too slow */
    HL_BUS_PATH_MAX = 108,        /* sun_path with its NUL */
    HL_BUS_BAD_LINES = 8,         /* in a row, then the client is dropped */
    HL_BUS_LINES_PER_SECOND = 500 /* then the client is dropped */
};

typedef enum hl_bus_slot_state {
    HL_BUS_SLOT_FREE,
    HL_BUS_SLOT_WAITING,  /* filled by net */
    HL_BUS_SLOT_TAKEN,    /* by the control thread */
    HL_BUS_SLOT_ANSWERED, /* by the control thread; net sends it and frees the slot */
} hl_bus_slot_state;

typedef struct hl_bus_slot {
    hl_bus_slot_state state;
    hl_bus_request request;
    int64_t peer;    /* serial number of the client, which may be gone */
    int64_t peer_id; /* the client's number for the request */
    hl_json *root;   /* owns request.args */
    hl_str answer;   /* members of the final line: "status":"applied",... */
} hl_bus_slot;

typedef struct hl_bus_event {
    hl_bus_state state;
    bool is_step;
} hl_bus_event;

typedef struct hl_bus_peer {
    int fd;
    int64_t serial; /* 0: no client here */
    int64_t uid, pid;
    int subscribed; /* hl_bus_subscription */
    bool dropped;
    bool eof;   /* sends no more, but may read what its requests became */
    int n_open; /* its requests not yet answered */
    hl_str in, out;
    size_t out_sent;
    int64_t half_since_ns; /* when the line now in `in` began; 0: none */
    int64_t second;        /* for the rate of lines */
    int n_in_second, n_bad;
} hl_bus_peer;

struct hl_bus {
    hl_bus_options options;
    char *run_dir;
    char path[HL_BUS_PATH_MAX];
    uint64_t device, inode; /* of the socket file, so that only ours is removed */
    int listen_fd, wake_fd;
    hl_thread *net;
    hl_flag n_waiting, n_subscribed, n_step_readers, closing;
    hl_flag n_holders; /* that there have been: holder.n_changes */
    int64_t pushed_ns; /* control thread only */

    hl_mutex *lock; /* guards the block below; never held across a system call but the wake-up */
    hl_bus_slot slot[HL_BUS_SLOTS];
    int64_t last_request;
    bool woken;
    hl_bus_state state;
    hl_bus_event event[HL_BUS_EVENTS];
    int n_events;
    hl_bus_holder holder;

    int64_t holder_peer, holder_ns; /* its connection; its last request. Net thread only, */
    hl_bus_peer peer[HL_BUS_PEERS]; /* as all below */
    int64_t last_serial;
    int64_t accept_after_ns;
    int n_full; /* rounds without a free place */
};

/* address.c: where the socket of a run is. */
HL_MUST_CHECK hl_status hl_bus_address_listen(const char *run_dir, int *fd,
                                              char path[HL_BUS_PATH_MAX]);
/* A non-blocking connection. NOTFOUND: the run is not live; IO: refused for another reason. */
HL_MUST_CHECK hl_status hl_bus_address_connect(const char *run_dir, int *fd);
void hl_bus_address_remove(const hl_bus *bus);

/* request.c: one line of a client, checked. */
typedef struct hl_bus_line {
    hl_json *root; /* owned */
    int64_t id;    /* -1: could not be read */
    hl_bus_cmd cmd;
    const hl_json *args;
    int subscribe; /* hl_bus_subscription; -1: not said */
} hl_bus_line;
/* On failure only out->id is set, as far as it could be read. */
HL_MUST_CHECK hl_status hl_bus_line_parse(const char *text, size_t n, hl_bus_line *out);
void hl_bus_line_done(hl_bus_line *line);
/* May this be evaluated in a run? Errors: ARG (NULL, empty, too long). */
HL_MUST_CHECK hl_status hl_bus_check_code(const char *text);
/* Appends the members of a state, without braces. */
void hl_bus_state_add(hl_str *b, const hl_bus_state *s);

/* hold.c: who has the controls; all on the net thread. */
/* Takes, releases, refuses a request: its answer's members. */
void hl_bus_hold_take(hl_bus *bus, const hl_bus_peer *p, bool steal, hl_str *answer);
void hl_bus_hold_release(hl_bus *bus, const hl_bus_peer *p, hl_str *answer);
/* May this client ask for something? Else why not. */
bool hl_bus_hold_allows(hl_bus *bus, const hl_bus_peer *p, char *why, size_t n);
void hl_bus_hold_left(hl_bus *bus, const hl_bus_peer *p); /* its connection is over */
/* ,"holder":{...} or null */
void hl_bus_hold_add(const hl_bus *bus, hl_str *b);

/* net.c */
void hl_bus_net_broadcast(hl_bus *bus, const hl_str *line, bool is_step);
void hl_bus_net_main(void *bus);
void hl_bus_net_wake(hl_bus *bus);

#endif
