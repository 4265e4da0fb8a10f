/* Notices that something in a directory changed, from the kernel (inotify). Where it cannot tell,
 * on a file system of another machine or when its limits are reached, the caller has to look by the
 * clock. */
#ifndef HL_WATCH_NOTICE_H
#define HL_WATCH_NOTICE_H

#include "kernels/hl_types.h"

typedef enum hl_notice_want {
    HL_NOTICE_NAMES, /* names come and go */
    HL_NOTICE_ONCE,  /* a file appears, is replaced or was written: told once, then no longer */
    HL_NOTICE_WRITES /* files appear, grow and go */
} hl_notice_want;

typedef struct hl_notice {
    int watch;        /* as from hl_notice_add; -1: notices were lost, look everywhere */
    bool gone;        /* the directory was deleted or moved, or this watch has ended */
    bool removed;     /* the name was */
    bool arrived;     /* moved to this name: what had it before is replaced */
    const char *name; /* in the directory; "" the directory itself */
} hl_notice;

int hl_notice_open(void); /* a descriptor for poll(), or -1 */
void hl_notice_close(int fd);

/* The number of the watch, the same for the same directory; larger than any before if new. -1: no
 * such directory, or may not be read. -2: look by the clock. */
int hl_notice_add(int fd, const char *dir, hl_notice_want want);
void hl_notice_remove(int fd, int watch);

/* All notices there are, without waiting. */
void hl_notice_read(int fd, void (*each)(void *self, const hl_notice *n), void *self);

#endif
