/* Items on their way to the owner of a watch: a ring, a descriptor that is readable while something
 * may be in it, and what does not fit, which waits in line. Belongs to the watch thread. */
#ifndef HL_WATCH_OUTBOX_H
#define HL_WATCH_OUTBOX_H

#include "app/hl_app.h"
#include "engine/base/thread.h"
#include "engine/base/vec.h"

typedef struct hl_outbox {
    hl_ring *ring; /* borrowed */
    int fd;        /* borrowed; counts up when something was put into the ring */
    HL_VEC(hl_watch_item) waiting;
    size_t at;   /* of them are in the ring already */
    bool untold; /* put into the ring since fd was written */
} hl_outbox;

/* Takes over what the item owns. false: no memory; the item is gone. */
bool hl_outbox_add(hl_outbox *out, hl_watch_item *item);
/* The same, into the ring or not at all; the item stays the caller's if not. */
bool hl_outbox_add_now(hl_outbox *out, const hl_watch_item *item);
/* Moves on what waits, as far as there is room, and wakes the reader. true: nothing waits. */
bool hl_outbox_flush(hl_outbox *out);
void hl_outbox_drop(hl_outbox *out, int slot); /* what still waits of this slot */
void hl_outbox_done(hl_outbox *out);

/* Adds one to an eventfd. */
void hl_eventfd_signal(int fd);

#endif
