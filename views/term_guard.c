#define _GNU_SOURCE
#include "views/term_guard.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif
#if SANITIZED
#include <sanitizer/common_interface_defs.h>
#endif

#define WRITE_WAIT_MS    200 /* for a terminal that takes nothing */
#define IMPATIENCE_S     1
#define CRASH_STACK      ((size_t)128 * 1024)
#define STDERR_MAX_BYTES (1 << 20) /* kept when all of it has been fetched */

/* Requests and news, and crashes behind them. */
static const int signals[] = {SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT, SIGSEGV,
                              SIGBUS, SIGILL,  SIGFPE, SIGABRT, SIGSYS,   SIGXCPU, SIGXFSZ};
enum { N_SIGNALS = sizeof signals / sizeof *signals };

static struct {
    hl_guard_plan plan;
    size_t enter_bytes, leave_bytes;
    pid_t owner;                /* 0: nothing is taken */
    volatile sig_atomic_t on;   /* our modes are on */
    volatile sig_atomic_t gone; /* the terminal is */
    volatile sig_atomic_t quit, resized, suspend, continued;
    volatile sig_atomic_t end_signal;
    struct timespec quit_time;
    int pipe[2];
    struct sigaction before[N_SIGNALS];
    bool installed[N_SIGNALS];
    int stderr_real, stderr_text; /* -1: stderr is not redirected */
    off_t stderr_taken;
    char trace_path[512]; /* "": none */
    void *crash_stack;
    stack_t stack_before;
    bool has_atexit;
} guard = {.pipe = {-1, -1}, .stderr_real = -1, .stderr_text = -1};

/* ---- giving back; all of this is safe in a signal handler ---- */

static void write_terminal(const char *bytes, size_t n)
{
    while (n > 0 && !guard.gone) {
        struct pollfd p = {.fd = guard.plan.fd, .events = POLLOUT};
        int ready = poll(&p, 1, WRITE_WAIT_MS);
        if (ready == 0 || (ready < 0 && errno != EINTR))
            return;
        if (ready < 0)
            continue;
        ssize_t done = write(guard.plan.fd, bytes, n);
        if (done < 0 && errno != EINTR && errno != EAGAIN)
            return;
        bytes += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
}

static void set_modes(const struct termios *modes)
{
    while (!guard.gone && tcsetattr(guard.plan.fd, TCSANOW, modes) != 0 && errno == EINTR)
        ;
}

void hl_guard_leave(void)
{
    if (!guard.on || guard.owner != getpid())
        return;
    guard.on = 0;
    write_terminal(guard.plan.leave, guard.leave_bytes);
    pid_t owner_group = tcgetpgrp(guard.plan.fd);
    if (owner_group == -1 || owner_group == getpgrp())
        set_modes(&guard.plan.found); /* else they are the shell's by now */
}

static void print(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno != EINTR)
            return;
        bytes += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
}

static void give_back_stderr(void)
{
    if (guard.stderr_real < 0)
        return;
    char text[1024];
    ssize_t n;
    dup2(guard.stderr_real, STDERR_FILENO);
    while ((n = pread(guard.stderr_text, text, sizeof text, guard.stderr_taken)) > 0) {
        print(STDERR_FILENO, text, (size_t)n);
        guard.stderr_taken += n;
    }
}

/* ---- handlers ---- */

static void wake(void)
{
    int saved = errno;
    if (write(guard.pipe[1], "", 1) < 0)
        errno = saved; /* full: it is readable then */
}

static void die_by(int signal_number)
{
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    sigset_t only;
    sigaction(signal_number, &by_default, NULL);
    sigemptyset(&only);
    sigaddset(&only, signal_number);
    raise(signal_number);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
}

static void on_request(int signal_number)
{
    if (guard.owner != getpid()) {
        die_by(signal_number);
        return;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (guard.quit && now.tv_sec - guard.quit_time.tv_sec > IMPATIENCE_S) {
        hl_guard_leave();
        give_back_stderr();
        die_by(signal_number);
        return;
    }
    if (!guard.quit)
        guard.quit_time = now;
    guard.quit = signal_number;
    wake();
}

static void on_news(int signal_number)
{
    if (signal_number == SIGWINCH)
        guard.resized = 1;
    else if (signal_number == SIGTSTP)
        guard.suspend = 1;
    else
        guard.continued = 1;
    wake();
}

static size_t put_number(char *to, unsigned value)
{
    char digits[12];
    size_t n = 0, i = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n > 0)
        to[i++] = digits[--n];
    return i;
}

static void write_trace(void)
{
    enum { FRAMES = 64 };
    void *frames[FRAMES];
    int fd = guard.trace_path[0]
                 ? open(guard.trace_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)
                 : -1;
    if (fd < 0)
        return;
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES), fd);
    close(fd);
    print(STDERR_FILENO, ", trace in ", 11);
    print(STDERR_FILENO, guard.trace_path, strlen(guard.trace_path));
}

static void on_crash(int signal_number)
{
    if (guard.owner == getpid()) {
        char text[48] = "hoplab: crashed, signal ";
        size_t n = strlen(text);
        hl_guard_leave();
        give_back_stderr();
        n += put_number(text + n, (unsigned)signal_number);
        print(STDERR_FILENO, text, n);
        write_trace();
        print(STDERR_FILENO, "; runs go on\n", 13);
    }
    die_by(signal_number);
}

#if SANITIZED
static void on_sanitizer_death(void)
{
    hl_guard_leave();
    give_back_stderr();
}

/* The undefined-behaviour sanitizer calls it before its report, and then ends the process without
 * the callback above. */
__attribute__((visibility("default"))) void __ubsan_on_report(void);
void __ubsan_on_report(void)
{
    on_sanitizer_death();
}
#endif

static bool is_left_alone(int signal_number, const struct sigaction *before)
{
    if (SANITIZED && (signal_number == SIGSEGV || signal_number == SIGBUS ||
                      signal_number == SIGILL || signal_number == SIGFPE))
        return true;                                                   /* its report is better */
    return before->sa_handler == SIG_IGN && signal_number != SIGWINCH; /* nohup, background */
}

static void install_handlers(void)
{
    for (size_t i = 0; i < N_SIGNALS; i++) {
        int s = signals[i];
        bool request = s == SIGHUP || s == SIGTERM || s == SIGINT || s == SIGQUIT;
        bool news = s == SIGWINCH || s == SIGTSTP || s == SIGCONT;
        struct sigaction action = {.sa_handler = request ? on_request : news ? on_news : on_crash};
        action.sa_flags = request || news ? SA_RESTART : (int)(SA_ONSTACK | SA_RESETHAND);
        sigfillset(&action.sa_mask);
        sigaction(s, NULL, &guard.before[i]);
        guard.installed[i] = !is_left_alone(s, &guard.before[i]);
        if (guard.installed[i])
            sigaction(s, &action, NULL);
    }
#if SANITIZED
    __sanitizer_set_death_callback(on_sanitizer_death);
#endif
}

static void remove_handlers(void)
{
    for (size_t i = 0; i < N_SIGNALS; i++)
        if (guard.installed[i])
            sigaction(signals[i], &guard.before[i], NULL);
#if SANITIZED
    __sanitizer_set_death_callback(NULL);
#endif
}

/* ---- preparations ---- */

/* The trace of a crash goes to a place that is made now. Without one there is no trace. */
static void prepare_trace(void)
{
    char dir[440];
    guard.trace_path[0] = '\0';
    if (hl_fs_state_dir(dir, sizeof dir) && hl_fs_make_dir(dir) == HL_OK)
        snprintf(guard.trace_path, sizeof guard.trace_path, "%s/crash-%ld.txt", dir,
                 (long)getpid());
    hl_err_clear();
    void *frame;
    backtrace(&frame, 1); /* loads what it needs, which is not safe in a handler */
}

/* Handlers of a crash by stack overflow need another stack. */
static void prepare_stack(void)
{
    guard.crash_stack = SANITIZED ? NULL : hl_alloc(CRASH_STACK);
    stack_t s = {.ss_sp = guard.crash_stack, .ss_size = CRASH_STACK};
    if (guard.crash_stack && sigaltstack(&s, &guard.stack_before) != 0) {
        hl_free(guard.crash_stack);
        guard.crash_stack = NULL;
    }
}

static void redirect_stderr(void)
{
    guard.stderr_taken = 0;
    if (!isatty(STDERR_FILENO))
        return; /* the user sends it somewhere */
    guard.stderr_text = memfd_create("hoplab-stderr", MFD_CLOEXEC);
    guard.stderr_real = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (guard.stderr_text >= 0 && guard.stderr_real >= 0) {
        fflush(stderr);
        fcntl(guard.stderr_text, F_SETFL, O_APPEND);
        dup2(guard.stderr_text, STDERR_FILENO);
        return;
    }
    close(guard.stderr_text);
    close(guard.stderr_real);
    guard.stderr_text = guard.stderr_real = -1;
}

hl_status hl_guard_take(const hl_guard_plan *plan)
{
    if (guard.owner)
        return hl_err_set(HL_E_STATE, "this process has taken its terminal already");
    if (pipe2(guard.pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        return hl_err_set(HL_E_IO, "no pipe for signals: %s", strerror(errno));
    guard.plan = *plan;
    guard.enter_bytes = strlen(plan->enter);
    guard.leave_bytes = strlen(plan->leave);
    guard.gone = guard.quit = guard.resized = guard.suspend = guard.continued = 0;
    guard.end_signal = 0;
    prepare_trace();
    prepare_stack();
    redirect_stderr();
    guard.owner = getpid();
    guard.on = 1;
    if (!guard.has_atexit)
        guard.has_atexit = atexit(hl_guard_release) == 0;
    install_handlers();
    return HL_OK;
}

void hl_guard_release(void)
{
    if (guard.owner != getpid())
        return;
    hl_guard_leave();
    remove_handlers();
    fflush(stderr);
    give_back_stderr();
    guard.owner = 0;
    if (guard.crash_stack)
        sigaltstack(&guard.stack_before, NULL);
    hl_free(guard.crash_stack);
    guard.crash_stack = NULL;
    int *fds[] = {&guard.pipe[0], &guard.pipe[1], &guard.stderr_text, &guard.stderr_real};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

void hl_guard_enter(void)
{
    if (guard.owner != getpid())
        return;
    guard.on = 1;
    set_modes(&guard.plan.ours);
    write_terminal(guard.plan.enter, guard.enter_bytes);
}

/* A crash in between finds the old length. */
bool hl_guard_add(const char *enter, const char *leave)
{
    const size_t e = strlen(enter), l = strlen(leave);
    if (guard.enter_bytes + e >= HL_GUARD_BYTES || guard.leave_bytes + l >= HL_GUARD_BYTES)
        return false;
    memcpy(guard.plan.enter + guard.enter_bytes, enter, e + 1);
    memcpy(guard.plan.leave + guard.leave_bytes, leave, l + 1);
    guard.enter_bytes += e;
    guard.leave_bytes += l;
    return true;
}

void hl_guard_lose(void)
{
    guard.gone = 1;
    guard.on = 0;
    if (!guard.end_signal)
        guard.end_signal = SIGHUP;
}

/* ---- events ---- */

int hl_guard_fd(void)
{
    return guard.pipe[0];
}

int hl_guard_end_signal(void)
{
    return (int)guard.end_signal;
}

hl_guard_event hl_guard_next(void)
{
    char bytes[64];
    while (read(guard.pipe[0], bytes, sizeof bytes) > 0)
        ;
    if (guard.quit) {
        guard.end_signal = guard.quit;
        guard.quit = 0;
        return HL_GUARD_QUIT;
    }
    if (guard.continued) {
        guard.continued = 0;
        return HL_GUARD_CONTINUED;
    }
    if (guard.resized) {
        guard.resized = 0;
        return HL_GUARD_RESIZED;
    }
    if (guard.suspend) {
        guard.suspend = 0;
        return HL_GUARD_SUSPEND;
    }
    return HL_GUARD_NONE;
}

void hl_guard_stop(void)
{
    struct sigaction by_default = {.sa_handler = SIG_DFL}, ours;
    sigaction(SIGTSTP, &by_default, &ours);
    kill(0, SIGTSTP);
    sigaction(SIGTSTP, &ours, NULL);
    guard.continued = 0;
}

size_t hl_guard_take_stderr(char *buf, size_t n)
{
    if (guard.stderr_text < 0)
        return 0;
    ssize_t got = pread(guard.stderr_text, buf, n, guard.stderr_taken);
    if (got > 0)
        guard.stderr_taken += got;
    else if (guard.stderr_taken > STDERR_MAX_BYTES && ftruncate(guard.stderr_text, 0) == 0)
        guard.stderr_taken = 0;
    return got > 0 ? (size_t)got : 0;
}
