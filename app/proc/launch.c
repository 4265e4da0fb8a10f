#define _GNU_SOURCE
#include "app/proc/launch.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/thread.h"

struct hl_launch {
    hl_thread *thread;
    char **argv;
    int fd, give_up_fd;
    hl_flag done; /* set last by the thread: `result` is complete */
    hl_detach_result result;
    bool reaped;
};

static void launch(void *arg)
{
    hl_launch *l = arg;
    const uint64_t one = 1;
    const hl_detach_options o = {.argv = l->argv, .give_up_fd = l->give_up_fd};
    if (hl_detach_start(&o, &l->result) != HL_OK) {
        l->result.started = false;
        l->result.exit_status = 1;
        snprintf(l->result.message, sizeof l->result.message, "%s", hl_err_message());
    }
    hl_flag_set(&l->done, 1);
    if (write(l->fd, &one, sizeof one) < 0) /* a counter that is full is readable as well */
        return;
}

static void free_argv(char **argv)
{
    for (int i = 0; argv && argv[i]; i++)
        hl_free(argv[i]);
    hl_free(argv);
}

static char **copy_argv(char *const *argv)
{
    size_t n = 0;
    while (argv[n])
        n++;
    char **copy = hl_alloc_zero(n + 1, sizeof *copy);
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = hl_strdup(argv[i]);
        if (!copy[i]) {
            free_argv(copy);
            return NULL;
        }
    }
    return copy;
}

hl_status hl_launch_start(char *const *argv, hl_launch **out)
{
    hl_status st = HL_OK;
    hl_launch *l = hl_alloc_zero(1, sizeof *l);
    if (!l)
        return HL_E_NOMEM;
    l->argv = copy_argv(argv);
    l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->give_up_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!l->argv)
        st = HL_E_NOMEM;
    else if (l->fd < 0 || l->give_up_fd < 0)
        st = hl_err_set(HL_E_IO, "no file descriptor is left to start a run with");
    else
        st = hl_thread_start("launch", launch, l, &l->thread);
    if (st != HL_OK) {
        hl_launch_free(l);
        return st;
    }
    *out = l;
    return HL_OK;
}

int hl_launch_fd(const hl_launch *l)
{
    return l->fd;
}

bool hl_launch_result(const hl_launch *l, hl_detach_result *out)
{
    if (!hl_flag_get(&l->done))
        return false;
    *out = l->result;
    return true;
}

bool hl_launch_reap(hl_launch *l)
{
    if (!l->reaped && hl_flag_get(&l->done) && l->result.pid > 0)
        l->reaped = waitpid((pid_t)l->result.pid, NULL, WNOHANG) != 0;
    return l->reaped;
}

void hl_launch_free(hl_launch *l)
{
    if (!l)
        return;
    const uint64_t one = 1;
    if (l->thread && write(l->give_up_fd, &one, sizeof one) < 0) {
        /* it counts to 2^64 - 2: this cannot be; then the thread is waited for */
    }
    hl_thread_join(l->thread);
    if (l->fd >= 0)
        close(l->fd);
    if (l->give_up_fd >= 0)
        close(l->give_up_fd);
    free_argv(l->argv);
    hl_free(l);
}
