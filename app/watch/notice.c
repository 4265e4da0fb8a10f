#define _GNU_SOURCE
#include "app/watch/notice.h"

#include <errno.h>
#include <stdalign.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>

/* File systems whose changes may be made by another machine, by their magic numbers (statfs(2)). */
static const uint32_t shared_kinds[] = {
    0x6969,     /* nfs */
    0x517b,     /* smb */
    0xff534d42, /* cifs */
    0xfe534d42, /* smb2 */
    0x0bd00bd0, /* lustre */
    0x65735546, /* fuse: sshfs and the like */
    0x00c36400, /* ceph */
    0x47504653, /* gpfs */
    0x5346414f, /* afs */
    0x6b414653, /* kafs */
    0x01021997, /* 9p */
    0x19830326, /* beegfs */
    0xaad7aaea, /* panfs */
    0x7461636f, /* ocfs2 */
    0x01161970, /* gfs2 */
    0x73757245, /* coda */
};

static bool is_shared(const char *dir)
{
    struct statfs sb;
    if (statfs(dir, &sb) != 0)
        return false;
    for (size_t i = 0; i < sizeof shared_kinds / sizeof shared_kinds[0]; i++)
        if ((uint32_t)sb.f_type == shared_kinds[i])
            return true;
    return false;
}

int hl_notice_open(void)
{
    return inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
}

void hl_notice_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

int hl_notice_add(int fd, const char *dir, hl_notice_want want)
{
    static const uint32_t masks[] = {
        [HL_NOTICE_NAMES] = IN_CREATE | IN_DELETE | IN_MOVE | IN_DELETE_SELF | IN_MOVE_SELF,
        [HL_NOTICE_ONCE] = IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONESHOT,
        [HL_NOTICE_WRITES] =
            IN_CREATE | IN_MODIFY | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF,
    };
    if (fd < 0 || (want != HL_NOTICE_ONCE && is_shared(dir)))
        return -2;
    const int watch = inotify_add_watch(fd, dir, masks[want] | IN_ONLYDIR);
    if (watch >= 0)
        return watch;
    return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? -1 : -2;
}

void hl_notice_remove(int fd, int watch)
{
    if (fd >= 0 && watch >= 0)
        (void)inotify_rm_watch(fd, watch); /* it may have ended by itself */
}

void hl_notice_read(int fd, void (*each)(void *self, const hl_notice *n), void *self)
{
    alignas(struct inotify_event) char buf[8192];
    ssize_t n;
    while (fd >= 0 && (n = read(fd, buf, sizeof buf)) > 0) {
        for (size_t at = 0; at < (size_t)n;) {
            const struct inotify_event *ev = (const void *)(buf + at);
            hl_notice notice = {
                .watch = ev->mask & IN_Q_OVERFLOW ? -1 : ev->wd,
                .gone = (ev->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) != 0,
                .removed = (ev->mask & IN_DELETE) != 0,
                .arrived = (ev->mask & IN_MOVED_TO) != 0,
                .name = ev->len ? ev->name : "",
            };
            each(self, &notice);
            at += sizeof *ev + ev->len;
        }
    }
}
