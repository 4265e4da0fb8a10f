#include "app/watch/outbox.h"

#include <unistd.h>

void hl_eventfd_signal(int fd)
{
    const uint64_t one = 1;
    if (write(fd, &one, sizeof one) < 0)
        return; /* it is readable already, which is all that is wanted */
}

bool hl_outbox_add_now(hl_outbox *out, const hl_watch_item *item)
{
    if (!hl_ring_push(out->ring, item))
        return false;
    out->untold = true;
    return true;
}

bool hl_outbox_add(hl_outbox *out, hl_watch_item *item)
{
    if (out->waiting.n == 0 && hl_outbox_add_now(out, item))
        return true;
    if (hl_vec_push(&out->waiting, *item) == HL_OK)
        return true;
    hl_watch_item_done(item);
    return false;
}

bool hl_outbox_flush(hl_outbox *out)
{
    while (out->at < out->waiting.n && hl_outbox_add_now(out, &out->waiting.at[out->at]))
        out->at++;
    if (out->at == out->waiting.n)
        out->at = out->waiting.n = 0;
    if (out->untold) {
        out->untold = false;
        hl_eventfd_signal(out->fd);
    }
    return out->waiting.n == 0;
}

void hl_outbox_drop(hl_outbox *out, int slot)
{
    size_t n = 0;
    for (size_t i = out->at; i < out->waiting.n; i++) {
        hl_watch_item *item = &out->waiting.at[i];
        if (item->slot == slot)
            hl_watch_item_done(item);
        else
            out->waiting.at[n++] = *item;
    }
    out->waiting.n = n;
    out->at = 0;
}

void hl_outbox_done(hl_outbox *out)
{
    for (size_t i = out->at; i < out->waiting.n; i++)
        hl_watch_item_done(&out->waiting.at[i]);
    hl_vec_done(&out->waiting);
}
