/* The signal thread: a poll loop over a signalfd and a stop descriptor. */
#define _GNU_SOURCE
#include "app/proc/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

struct hl_signals {
    hl_signals_options options;
    int signal_fd, stop_fd;
    bool ignore_hup;
    bool terminal[3]; /* the standard streams that led to one at the start: only they leave it */
    hl_thread *thread;
    char *log_path; /* written once, before has_log */
    hl_flag has_log;
    hl_flag stop, deadline_ns, checkpoint, status, hung_up;
};

void hl_signals_die(int signal_number)
{
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    sigaction(signal_number, &by_default, NULL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(signal_number);
    _exit(128 + signal_number); /* a signal that does not kill by default */
}

/* Those of the standard streams that are wanted: stdin from /dev/null, the others to log_path. */
static hl_status redirect(const char *log_path, const bool wanted[3])
{
    hl_status st = HL_OK;
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC), out = -1;
    if (in < 0)
        HL_FAIL(HL_E_IO, "cannot open /dev/null: %s", strerror(errno));
    if (!log_path)
        log_path = "/dev/null";
    out = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (out < 0)
        HL_FAIL(HL_E_IO, "cannot write %s: %s", log_path, strerror(errno));
    for (int fd = 0; fd < 3; fd++)
        if (wanted[fd] && dup2(fd == 0 ? in : out, fd) < 0)
            HL_FAIL(HL_E_IO, "cannot redirect the standard streams: %s", strerror(errno));
out:
    /* 0, 1 or 2 themselves if the streams were closed before */
    if (in > 2)
        close(in);
    if (out > 2)
        close(out);
    return st;
}

hl_status hl_streams_redirect(const char *log_path)
{
    return redirect(log_path, (const bool[3]){true, true, true});
}

static void request_stop(hl_signals *s, int signal_number)
{
    hl_flag_set(&s->stop, signal_number);
    if (signal_number == SIGTERM)
        hl_flag_set(&s->deadline_ns, hl_clock_mono_ns() + s->options.grace_ms * 1000000);
}

static const char *log_path(const hl_signals *s)
{
    return hl_flag_get(&s->has_log) ? s->log_path : NULL;
}

static void handle(hl_signals *s, int signal_number)
{
    int64_t stop = hl_flag_get(&s->stop);
    if (signal_number == SIGUSR1 && s->options.usr1_stops)
        signal_number = SIGTERM;
    switch (signal_number) {
    case SIGINT:
        if (stop)
            hl_signals_die(SIGINT);
        request_stop(s, SIGINT);
        break;
    case SIGTERM:
        if (stop == SIGTERM)
            return;
        request_stop(s, SIGTERM);
        break;
    case SIGUSR1:
        hl_flag_set(&s->checkpoint, 1);
        break;
    case SIGUSR2:
        hl_flag_set(&s->status, 1);
        break;
    case SIGHUP:
        if (s->ignore_hup || hl_flag_exchange(&s->hung_up, 1))
            return;
        if (redirect(log_path(s), s->terminal) != HL_OK && redirect(NULL, s->terminal) != HL_OK)
            return; /* writing to the dead terminal fails, and that ends the printing only */
        break;
    default:
        return;
    }
    if (s->options.on_signal)
        s->options.on_signal(s->options.arg, signal_number);
}

static void signal_main(void *arg)
{
    hl_signals *s = arg;
    for (;;) {
        struct pollfd fd[2] = {{.fd = s->signal_fd, .events = POLLIN},
                               {.fd = s->stop_fd, .events = POLLIN}};
        int64_t deadline = hl_flag_get(&s->deadline_ns), timeout_ms = -1;
        if (deadline) {
            timeout_ms = (deadline - hl_clock_mono_ns() + 999999) / 1000000;
            if (timeout_ms <= 0)
                hl_signals_die(SIGTERM);
        }
        if (poll(fd, 2, timeout_ms > 3600000 ? 3600000 : (int)timeout_ms) < 0)
            continue;
        if (fd[1].revents)
            return;
        struct signalfd_siginfo info;
        if (fd[0].revents && read(s->signal_fd, &info, sizeof info) == sizeof info)
            handle(s, (int)info.ssi_signo);
    }
}

static void ignore(int signal_number)
{
    struct sigaction action = {.sa_handler = SIG_IGN};
    sigaction(signal_number, &action, NULL);
}

static void set_of_ours(sigset_t *set)
{
    static const int ours[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP};
    sigemptyset(set);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        sigaddset(set, ours[i]);
}

hl_status hl_signals_start(const hl_signals_options *options, hl_signals **out)
{
    hl_status st = HL_OK;
    hl_signals *s = hl_alloc_zero(1, sizeof *s);
    if (!s)
        return HL_E_NOMEM;
    s->options = *options;
    if (s->options.grace_ms <= 0)
        s->options.grace_ms = 25000;
    s->signal_fd = s->stop_fd = -1;
    for (int fd = 0; fd < 3; fd++)
        s->terminal[fd] = isatty(fd) == 1;
    struct sigaction hup;
    s->ignore_hup =
        options->detached || (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler == SIG_IGN);
    sigset_t set;
    set_of_ours(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    ignore(SIGPIPE);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->signal_fd < 0 || s->stop_fd < 0)
        HL_FAIL(HL_E_IO, "cannot make a signal descriptor: %s", strerror(errno));
    HL_TRY(hl_thread_start("signals", signal_main, s, &s->thread));
    *out = s;
    s = NULL;
out:
    hl_signals_stop(s);
    return st;
}

void hl_signals_stop(hl_signals *s)
{
    if (!s)
        return;
    if (s->thread) {
        uint64_t one = 1;
        while (write(s->stop_fd, &one, sizeof one) < 0 && errno == EINTR)
            ;
        hl_thread_join(s->thread);
    }
    if (s->signal_fd >= 0)
        close(s->signal_fd);
    if (s->stop_fd >= 0)
        close(s->stop_fd);
    /* Ignoring discards what is pending: a late SIGUSR2 must not end a run that is done. */
    ignore(SIGUSR1);
    ignore(SIGUSR2);
    ignore(SIGHUP);
    sigset_t set;
    set_of_ours(&set);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    hl_free(s->log_path);
    hl_free(s);
}

hl_status hl_signals_set_log(hl_signals *s, const char *path)
{
    if (log_path(s))
        return hl_err_set(HL_E_STATE, "the log of the signal thread is set already");
    s->log_path = hl_strdup(path);
    if (!s->log_path)
        return HL_E_NOMEM;
    hl_flag_set(&s->has_log, 1);
    return HL_OK;
}

int hl_signals_stop_signal(const hl_signals *s)
{
    return (int)hl_flag_get(&s->stop);
}

int64_t hl_signals_deadline_ns(const hl_signals *s)
{
    return hl_flag_get(&s->deadline_ns);
}

bool hl_signals_take_checkpoint(hl_signals *s)
{
    return hl_flag_get(&s->checkpoint) && hl_flag_exchange(&s->checkpoint, 0);
}

bool hl_signals_take_status(hl_signals *s)
{
    return hl_flag_get(&s->status) && hl_flag_exchange(&s->status, 0);
}

bool hl_signals_hung_up(const hl_signals *s)
{
    return hl_flag_get(&s->hung_up) != 0;
}

/* The interrupt of the interpreter: process-wide, as signal handlers are. */
static hl_flag interrupt_thread;
static void (*interrupt_function)(void);

static void interrupt_handler(int signal_number)
{
    (void)signal_number;
    int saved = errno;
    if (interrupt_function)
        interrupt_function();
    errno = saved;
}

hl_status hl_interrupt_arm(void (*in_handler)(void))
{
    if (hl_flag_get(&interrupt_thread))
        return hl_err_set(HL_E_STATE, "the script interrupt is armed already");
    struct sigaction action = {.sa_handler = interrupt_handler, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    interrupt_function = in_handler;
    if (sigaction(SIGRTMIN, &action, NULL) != 0)
        return hl_err_set(HL_E_INTERNAL, "cannot install the script interrupt: %s",
                          strerror(errno));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    struct timespec now = {0};
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    while (sigtimedwait(&set, NULL, &now) > 0)
        ; /* meant for a script that is over */
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    hl_flag_set(&interrupt_thread, gettid());
    return HL_OK;
}

void hl_interrupt_disarm(void)
{
    hl_flag_set(&interrupt_thread, 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    /* A signal still on its way stays pending in this thread, blocked, and harms nobody. */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    interrupt_function = NULL;
}

void hl_interrupt_send(void)
{
    pid_t thread = (pid_t)hl_flag_get(&interrupt_thread);
    if (thread)
        tgkill(getpid(), thread, SIGRTMIN);
}
