#define _GNU_SOURCE
#include "tests/screens/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tests/screens/harness_internal.h"

/* ---- modes that the program has set ---- */

static struct mode *mode_of(screen *s, int number)
{
    for (int i = 0; i < s->n_modes; i++)
        if (s->mode[i].number == number)
            return &s->mode[i];
    if (s->n_modes == MAX_MODES)
        return &s->mode[0];
    s->mode[s->n_modes] = (struct mode){.number = number, .on = number == 25};
    return &s->mode[s->n_modes++];
}

static void set_modes(screen *s, bool on)
{
    for (int i = 0; i <= s->scan_n_args && i < MAX_ARGS; i++) {
        struct mode *m = mode_of(s, s->scan_arg[i]);
        m->on = on;
        m->was_on |= on;
    }
}

/* Follows ESC [ ? 1 ; 2 h in the stream, byte by byte. */
static void scan(screen *s, unsigned char c)
{
    static const char begin[] = "\033[?";
    if (s->scan_at < 3) {
        s->scan_at = c == (unsigned char)begin[s->scan_at] ? s->scan_at + 1 : c == '\033';
        memset(s->scan_arg, 0, sizeof s->scan_arg);
        s->scan_n_args = 0;
        return;
    }
    if (c >= '0' && c <= '9') {
        int i = s->scan_n_args < MAX_ARGS ? s->scan_n_args : MAX_ARGS - 1;
        s->scan_arg[i] = s->scan_arg[i] * 10 + (c - '0');
        return;
    }
    if (c == ';') {
        s->scan_n_args++;
        return;
    }
    if (c == 'h' || c == 'l')
        set_modes(s, c == 'h');
    s->scan_at = c == '\033';
}

bool screen_mode(const screen *s, int mode)
{
    return mode_of((screen *)s, mode)->on;
}

bool screen_was_set(const screen *s, int mode)
{
    return mode_of((screen *)s, mode)->was_on;
}

/* ---- the emulator ---- */

static void emulator_says(const char *bytes, size_t n, void *user)
{
    static const char unknown[] = "\033[?2026;0$y", known[] = "\033[?2026;2$y";
    screen *s = user;
    if (s->silent && !s->pressing)
        return;
    bool sync = s->knows_sync && n == sizeof unknown - 1 && memcmp(bytes, unknown, n) == 0;
    screen_send_bytes(s, sync ? known : bytes, n);
}

static bool start_emulator(screen *s)
{
    s->vt = vterm_new(s->rows, s->cols);
    if (!s->vt)
        return false;
    vterm_set_utf8(s->vt, 1);
    vterm_output_set_callback(s->vt, emulator_says, s);
    s->picture = vterm_obtain_screen(s->vt);
    vterm_screen_enable_altscreen(s->picture, 1);
    vterm_screen_reset(s->picture, 1);
    return true;
}

static void keep_bytes(screen *s, const char *bytes, size_t n)
{
    if (s->n_printed + n + 1 > s->cap_printed) {
        s->cap_printed = (s->n_printed + n + 1) * 2;
        s->printed = realloc(s->printed, s->cap_printed);
        if (!s->printed)
            abort();
    }
    memcpy(s->printed + s->n_printed, bytes, n);
    s->n_printed += n;
    s->printed[s->n_printed] = '\0';
}

/* libvterm does not know REP (CSI n b: the last character n times more), which curses uses on
 * xterm: it is spelled out. Sequences that are cut between two reads are rare enough: curses
 * writes a frame at once. */
static void show_bytes(screen *s, const char *bytes, size_t n)
{
    size_t shown = 0;
    for (size_t i = 1; i + 2 < n; i++) {
        if (bytes[i] != '\033' || bytes[i + 1] != '[')
            continue;
        char *end;
        const long times = strtol(bytes + i + 2, &end, 10);
        if (end == bytes + i + 2 || end >= bytes + n || *end != 'b' || times > 500)
            continue;
        vterm_input_write(s->vt, bytes + shown, i - shown);
        for (long k = 0; k < times; k++)
            vterm_input_write(s->vt, bytes + i - 1, 1);
        shown = (size_t)(end + 1 - bytes);
        i = shown - 1;
    }
    vterm_input_write(s->vt, bytes + shown, n - shown);
}

int64_t screen_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Lets bytes through that come within ms; false: none did. */
static bool pump(screen *s, int ms)
{
    char bytes[65536 + 1];
    struct pollfd p = {.fd = s->master, .events = POLLIN};
    if (s->master < 0) {
        poll(NULL, 0, ms);
        return false;
    }
    if (poll(&p, 1, ms) != 1)
        return false;
    ssize_t n = read(s->master, bytes, sizeof bytes - 1);
    if (n <= 0) {
        if (n == 0 || errno == EIO) /* nobody holds the other end at this moment */
            poll(NULL, 0, ms < 5 ? ms : 5);
        return false;
    }
    bytes[n] = '\0';
    keep_bytes(s, bytes, (size_t)n);
    for (ssize_t i = 0; i < n; i++)
        scan(s, (unsigned char)bytes[i]);
    show_bytes(s, bytes, (size_t)n);
    return true;
}

/* ---- the program ---- */

static void set_variables(const screen_options *o)
{
    static const char *const looks[] = {
        "NO_COLOR",      "COLORTERM",    "COLORFGBG",      "LINES",
        "COLUMNS",       "ESCDELAY",     "SSH_CONNECTION", "LC_CTYPE",
        "HOPLAB_GLYPHS", "HOPLAB_THEME", "TMUX",           "STY",
        "TERM",          "TERMINFO",     "HOPLAB_COLOR",   NULL};
    for (const char *const *name = looks; *name; name++)
        unsetenv(*name);
    const char *term = o->term ? o->term : "xterm-256color";
    if (*term)
        setenv("TERM", term, 1);
    setenv("LC_ALL", o->lang ? o->lang : "C.UTF-8", 1);
    setenv("LANG", o->lang ? o->lang : "C.UTF-8", 1);
    setenv("TZ", "UTC", 1);
    for (const char *const *e = o->env; e && *e; e++) {
        char name[64];
        const char *value = strchr(*e, '=');
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*e, "="), *e);
        if (value)
            setenv(name, value + 1, 1);
        else
            unsetenv(name);
    }
}

static void become_program(const char *tty, const screen_options *o)
{
    setsid();
    int fd = open(tty, O_RDWR);
    if (fd < 0 || ioctl(fd, TIOCSCTTY, 0) != 0)
        _exit(126);
    for (int i = 0; i < 3; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    for (int i = 1; i < 32; i++)
        sigaction(i, &by_default, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    set_variables(o);
    execvp(o->argv[0], (char *const *)(uintptr_t)o->argv);
    fprintf(stderr, "%s: %s\n", o->argv[0], strerror(errno));
    _exit(127);
}

void screen_tell_size(screen *s, int cols, int rows)
{
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
    ioctl(s->master, TIOCSWINSZ, &size);
}

screen *screen_start(const screen_options *o)
{
    screen *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (screen){.cols = o->cols ? o->cols : 80,
                  .rows = o->rows ? o->rows : 24,
                  .slave = -1,
                  .silent = o->silent,
                  .knows_sync = o->knows_sync,
                  .limit_ms = 10000};
    const char *tty = NULL;
    s->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (s->master >= 0 && grantpt(s->master) == 0 && unlockpt(s->master) == 0)
        tty = ptsname(s->master);
    s->slave = tty ? open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
    if (s->slave < 0 || !start_emulator(s)) {
        fprintf(stderr, "harness: no pseudo-terminal: %s\n", strerror(errno));
        screen_end(s);
        return NULL;
    }
    keep_bytes(s, "", 0);
    screen_tell_size(s, s->cols, s->rows);
    tcgetattr(s->slave, &s->found);
    fflush(NULL);
    s->pid = fork();
    if (s->pid == 0)
        become_program(tty, o);
    return s;
}

static bool has_ended(screen *s)
{
    if (!s->ended && s->pid > 0 && waitpid(s->pid, &s->status, WNOHANG) == s->pid)
        s->ended = true;
    return s->ended;
}

void screen_end(screen *s)
{
    if (!s)
        return;
    int ignored;
    if (s->pid > 0 && !has_ended(s)) {
        kill(s->pid, SIGHUP);
        kill(s->pid, SIGCONT);
        if (!screen_wait_exit(s, 2000, &ignored)) {
            kill(-s->pid, SIGKILL);
            waitpid(s->pid, &ignored, 0);
        }
    }
    screen_hang_up(s);
    if (s->slave >= 0)
        close(s->slave);
    if (s->vt)
        vterm_free(s->vt);
    free(s->printed);
    free(s);
}

int screen_pid(const screen *s)
{
    return s->pid;
}

void screen_kill(screen *s, int signal_number)
{
    if (!has_ended(s))
        kill(s->pid, signal_number);
}

void screen_hang_up(screen *s)
{
    if (s->master >= 0)
        close(s->master);
    s->master = -1;
}

void screen_reset_termios(screen *s)
{
    tcsetattr(s->slave, TCSANOW, &s->found);
}

/* ---- to the program ---- */

void screen_send_bytes(screen *s, const char *bytes, size_t n)
{
    while (n > 0 && s->master >= 0) {
        struct pollfd p = {.fd = s->master, .events = POLLOUT};
        if (poll(&p, 1, 1000) != 1)
            return;
        ssize_t done = write(s->master, bytes, n);
        if (done < 0 && errno != EINTR)
            return;
        bytes += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
}

void screen_send(screen *s, const char *bytes)
{
    screen_send_bytes(s, bytes, strlen(bytes));
}

void screen_resize(screen *s, int cols, int rows)
{
    screen_let_pass(s, 0);
    s->cols = cols;
    s->rows = rows;
    vterm_set_size(s->vt, rows, cols);
    screen_tell_size(s, cols, rows);
}

/* ---- waiting ---- */

void screen_let_pass(screen *s, int ms)
{
    int64_t until = screen_now_ms() + ms;
    for (int64_t left = ms; left >= 0; left = until - screen_now_ms())
        if (!pump(s, (int)left) && left == 0)
            return;
}

bool screen_wait_quiet(screen *s, int quiet_ms, int limit_ms)
{
    int64_t until = screen_now_ms() + limit_ms, quiet_since = screen_now_ms();
    while (screen_now_ms() < until) {
        if (pump(s, 5))
            quiet_since = screen_now_ms();
        else if (screen_now_ms() - quiet_since >= quiet_ms)
            return true;
    }
    return false;
}

bool screen_wait_text(screen *s, const char *text, int limit_ms)
{
    int64_t until = screen_now_ms() + limit_ms;
    bool found = false;
    do {
        char *now = screen_text(s);
        found = strstr(now, text) != NULL;
        free(now);
    } while (!found && (pump(s, 10) || screen_now_ms() < until));
    return found;
}

bool screen_wait_printed(screen *s, const char *bytes, int limit_ms)
{
    int64_t until = screen_now_ms() + limit_ms;
    size_t n = strlen(bytes);
    while (!memmem(s->printed, s->n_printed, bytes, n))
        if (!pump(s, 10) && screen_now_ms() >= until)
            return false;
    return true;
}

bool screen_wait_exit(screen *s, int limit_ms, int *status)
{
    int64_t until = screen_now_ms() + limit_ms;
    while (!has_ended(s)) {
        pump(s, 5);
        if (screen_now_ms() >= until)
            return false;
    }
    while (pump(s, 0))
        ;
    *status = s->status;
    return true;
}

void screen_set_limit(screen *s, int limit_ms)
{
    s->limit_ms = limit_ms;
}

/* ---- what is there ---- */

const char *screen_printed(const screen *s, size_t *n)
{
    *n = s->n_printed;
    return s->printed;
}

size_t screen_mark(const screen *s)
{
    return s->n_printed;
}

static bool same_termios(const struct termios *a, const struct termios *b)
{
    return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
           a->c_lflag == b->c_lflag && memcmp(a->c_cc, b->c_cc, sizeof a->c_cc) == 0;
}

bool screen_is_raw(const screen *s)
{
    struct termios now;
    return tcgetattr(s->slave, &now) == 0 && !(now.c_lflag & (ICANON | ECHO | ISIG));
}

bool screen_is_given_back(const screen *s)
{
    static const int off[] = {1, 47, 1047, 1049, 1000, 1002, 1003, 1006, 2004, 2026};
    struct termios now;
    bool good = true;
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        if (screen_mode(s, off[i])) {
            fprintf(stderr, "harness: mode %d is still on\n", off[i]);
            good = false;
        }
    if (!screen_mode(s, 25)) {
        fprintf(stderr, "harness: the cursor is still hidden\n");
        good = false;
    }
    if (s->master >= 0 && tcgetattr(s->slave, &now) == 0 && !same_termios(&now, &s->found)) {
        fprintf(stderr, "harness: termios: lflag %x, was %x; iflag %x, was %x; oflag %x, was %x\n",
                now.c_lflag, s->found.c_lflag, now.c_iflag, s->found.c_iflag, now.c_oflag,
                s->found.c_oflag);
        good = false;
    }
    return good;
}
