/* Inside a watch: the list and the followed runs as its thread keeps them.
 *
 * DESIGN. The thread does one small thing at a time: a look at the list, or a slice of the events
 * of one run. What it learns goes into the outbox; while something waits there for room, nothing
 * more is read. Whatever can be looked at has a pace: when its next look is due, and that after a
 * look it is left alone for a while however much happens in it. Asleep, the thread waits for
 * orders, for notices of the kernel, and for the earliest due time, if there is any. */
#ifndef HL_WATCH_INTERNAL_H
#define HL_WATCH_INTERNAL_H

#include "app/hl_app.h"
#include "app/store/follow.h"
#include "app/store/log_reader.h"
#include "app/watch/notice.h"
#include "app/watch/outbox.h"
#include "engine/base/thread.h"

/* ---- pace ---- */

#define HL_PACE_NEVER   INT64_MAX
#define HL_PACE_GAP_NS  200000000  /* between looks that notices cause */
#define HL_PACE_TICK_NS 1000000000 /* between looks by the clock */

typedef struct hl_pace {
    int64_t due_ns; /* monotonic; HL_PACE_NEVER */
    bool hinted;    /* due because something happened: further notices change nothing */
} hl_pace;          /* {0} is due at once */

/* Something happened. worked_ns: when the thread last looked at anything, 0: never. All that is
 * hinted at meanwhile comes due at the same moment, and the thread wakes once for it. */
static inline void hl_pace_hint(hl_pace *p, int64_t worked_ns)
{
    const int64_t due_ns = worked_ns ? worked_ns + HL_PACE_GAP_NS : 0;
    p->hinted = true;
    p->due_ns = due_ns < p->due_ns ? due_ns : p->due_ns;
}

static inline void hl_pace_looked(hl_pace *p, int64_t due_ns)
{
    *p = (hl_pace){.due_ns = due_ns};
}

/* ---- the list ---- */

typedef struct hl_watch_list {
    char *dir;         /* absolute */
    hl_run_list *list; /* NULL: not read yet */
    hl_pace pace;
    int64_t worked_ns; /* for the notices being read */
    int fd;            /* notices, or -1 */
    int root;          /* the watch of dir, or, while that is missing, of a directory above; -1 */
    bool root_is_dir;
    bool by_clock;      /* no notices to rely on */
    bool quiet_changed; /* a run that nobody wrote has changed: its watch is used up */
    size_t n_quiet;     /* runs that nobody wrote, at the last look */
    int newest_watch;
    hl_deep_keys keys;   /* values wanted from the events of all runs */
    bool digging;        /* some of them are still to be read */
    int n_dug_due;       /* orders for which it is to be said when they are */
    int64_t dig_told_ns; /* when the list was told last while they are read */
    bool told; /* the list as of n_changes */
    int64_t n_changes;
    char *failure; /* the message told, or NULL */
} hl_watch_list;

HL_MUST_CHECK hl_status hl_watch_list_init(hl_watch_list *l, const char *dir);
void hl_watch_list_done(hl_watch_list *l);
void hl_watch_list_look(hl_watch_list *l, hl_outbox *out, int64_t now_ns);
/* Other values from the events are wanted. */
void hl_watch_list_want(hl_watch_list *l, const hl_deep_keys *keys);
/* Reads on for some milliseconds. */
void hl_watch_list_dig(hl_watch_list *l, hl_outbox *out, int64_t now_ns);
void hl_watch_list_notices(hl_watch_list *l, int64_t worked_ns);

/* ---- a followed run ---- */

/* Made by the owner, then the thread's alone. */
typedef struct hl_watch_run {
    struct hl_watch_run *next;
    int slot;
    char *dir;
    hl_outbox *out;    /* borrowed */
    bool leaving;      /* unfollowed, and that is still to be said */
    hl_follow *follow; /* NULL: to be opened */
    hl_log_reader *log; /* of its lines; NULL with it */
    hl_log_want want;   /* of the log, as soon as it is open; n 0: nothing */
    hl_series_table series;
    size_t n_told; /* of the series */
    bool has_config;
    bool lost;     /* an item was lost for lack of memory: read anew */
    char *failure; /* the message told, or NULL */
    hl_pace pace;
    int watch; /* notices of dir, or -1 */
    bool by_clock;
    bool told_progress; /* of the rest, what was told last */
    int64_t done, damages;
    bool caught_up;
} hl_watch_run;

HL_MUST_CHECK hl_status hl_watch_run_new(int slot, const char *dir, hl_watch_run **out);
void hl_watch_run_free(hl_watch_run *r); /* NULL is fine */
/* Opens it or reads a slice. fd: for notices. */
void hl_watch_run_look(hl_watch_run *r, int fd, int64_t now_ns);
void hl_watch_run_want_log(hl_watch_run *r, const hl_log_want *want);
/* Reads a piece of the log, if one is wanted; false: none is. */
bool hl_watch_run_read_log(hl_watch_run *r);
void hl_watch_run_notice(hl_watch_run *r, const hl_notice *n, int64_t worked_ns);

/* ---- the watch ---- */

typedef struct hl_watch_edit_order {
    int what, n;
    char *text;  /* owned, or NULL */
    char **dirs; /* owned */
} hl_watch_edit_order;
void hl_watch_edit_free(hl_watch_edit_order *e); /* NULL is fine */

typedef struct hl_watch_order {
    int slot;                  /* unfollow it, or */
    hl_watch_run *run;         /* follow this, if not NULL, or */
    hl_watch_edit_order *edit; /* do this, or */
    hl_deep_keys *keys;        /* read these (owned), or */
    hl_log_want *want;         /* read this of the log of the slot (owned) */
} hl_watch_order;

struct hl_watch {
    /* between the threads */
    hl_ring *items, *orders;
    int items_fd, orders_fd;
    hl_flag stop, look, n_wakeups;
    hl_thread *thread;
    /* the owner's */
    bool is_open[HL_WATCH_SLOTS];
    size_t n_open;
    /* the thread's */
    hl_outbox out;
    hl_watch_list list;
    hl_watch_run *runs; /* whose turn it is first */
    int runs_fd;        /* notices of their directories, or -1 */
    int64_t worked_ns;  /* the last look at anything */
};

void hl_watch_thread(void *watch);

#endif
