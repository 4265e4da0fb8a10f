/* The control socket with real clients: well-behaved, many, hostile, dying. A plain program, so
 * that it runs under TSan too. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/bus/bus.h"
#include "app/bus/client.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"
#include "tests/plain.h"

static char top[64]; /* scratch directory of this program */

static char *new_run_dir(const char *name)
{
    char *dir = hl_fs_join(top, name);
    CHECK(hl_fs_make_dir(dir) == HL_OK);
    return dir;
}

static int64_t now_ms(void)
{
    return hl_clock_mono_ns() / 1000000;
}

/* --- a control thread that answers everything ---------------------------------------------- */

typedef struct control {
    hl_bus *bus;
    hl_flag stop, n_taken;
    hl_thread *thread;
} control;

static void control_main(void *arg)
{
    control *c = arg;
    hl_bus_state s = {.state = "running", .step = 0, .steps = 1000000, .loss = 2.5};
    while (!hl_flag_get(&c->stop)) {
        hl_bus_request r;
        (void)hl_bus_wait(c->bus, 2);
        while (hl_bus_take(c->bus, &r)) {
            hl_flag_add(&c->n_taken, 1);
            if (r.cmd == HL_BUS_CMD_SET && !hl_json_get(r.args, "lr"))
                hl_bus_refuse(c->bus, r.id, "no knob \"%s\"", hl_json_key(hl_json_at(r.args, 0)));
            else
                hl_bus_answer(c->bus, r.id, s.step,
                              r.cmd == HL_BUS_CMD_EVAL ? "{\"ppl\":9.5}" : NULL);
        }
        s.step++;
        hl_bus_publish(c->bus, &s);
    }
}

static void control_start(control *c, const char *run_dir)
{
    *c = (control){0};
    hl_bus_options options = {.run_dir = run_dir, .half_line_ms = 200};
    CHECK(hl_bus_open(&options, &c->bus) == HL_OK);
    CHECK(hl_thread_start("control", control_main, c, &c->thread) == HL_OK);
}

static void control_end(control *c)
{
    hl_flag_set(&c->stop, 1);
    hl_thread_join(c->thread);
    hl_bus_close(c->bus);
}

/* --- raw clients ---------------------------------------------------------------------------- */

static int raw_open(const char *run_dir)
{
    hl_bus_client *c;
    if (hl_bus_client_open(run_dir, &c) != HL_OK)
        return -1;
    int fd = dup(hl_bus_client_fd(c));
    hl_bus_client_close(c);
    return fd;
}

static bool raw_send(int fd, const void *bytes, size_t n)
{
    for (size_t sent = 0; sent < n;) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (poll(&p, 1, 2000) <= 0)
            return false;
        ssize_t k = send(fd, (const char *)bytes + sent, n - sent, MSG_NOSIGNAL);
        if (k < 0 && errno != EAGAIN)
            return false;
        sent += k > 0 ? (size_t)k : 0;
    }
    return true;
}

static bool raw_line(int fd, const char *text)
{
    return raw_send(fd, text, strlen(text));
}

/* Reads until `wanted` appears (true), the end of the stream, or 3 s. */
static bool raw_expect(int fd, const char *wanted)
{
    char text[65536];
    size_t n = 0;
    int64_t end = now_ms() + 3000;
    while (now_ms() < end && n < sizeof text - 1) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 50) <= 0)
            continue;
        ssize_t k = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (k <= 0)
            break;
        n += (size_t)k;
        text[n] = '\0';
        if (strstr(text, wanted))
            return true;
    }
    text[n] = '\0';
    fprintf(stderr, "expected %s in: %s\n", wanted, text);
    return false;
}

/* The worker closed the connection (after any amount of output). */
static bool raw_is_closed(int fd)
{
    char text[4096];
    int64_t end = now_ms() + 5000;
    while (now_ms() < end) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t k = poll(&p, 1, 50) > 0 ? recv(fd, text, sizeof text, 0) : 1;
        if (k == 0 || (k < 0 && errno != EAGAIN && errno != EINTR))
            return true;
    }
    return false;
}

/* --- tests ---------------------------------------------------------------------------------- */

static void test_round_trip(void)
{
    char *dir = new_run_dir("round");
    char *path = hl_fs_join(dir, "control.sock");
    control c;
    control_start(&c, dir);
    struct stat sb;
    CHECK(stat(path, &sb) == 0 && S_ISSOCK(sb.st_mode) && (sb.st_mode & 0777) == 0600);
    CHECK(strcmp(hl_bus_path(c.bus), path) == 0);
    hl_bus_client *client = NULL;
    CHECK(hl_bus_client_open(dir, &client) == HL_OK);
    hl_bus_reply r;
    CHECK(hl_bus_client_call(client, HL_BUS_CMD_SET, "{\"lr\":0.001}", 2000, 2000, &r) == HL_OK);
    CHECK(r.outcome == HL_BUS_OUTCOME_APPLIED && r.request == 1 && r.step >= 0);
    hl_bus_reply_done(&r);
    CHECK(hl_bus_client_call(client, HL_BUS_CMD_SET, "{\"lx\":1}", 2000, 2000, &r) == HL_OK);
    CHECK(r.outcome == HL_BUS_OUTCOME_REFUSED && strcmp(r.message, "no knob \"lx\"") == 0);
    hl_bus_reply_done(&r);
    CHECK(hl_bus_client_call(client, HL_BUS_CMD_EVAL, NULL, 2000, -1, &r) == HL_OK);
    CHECK(hl_json_num(hl_json_get(hl_json_get(r.line, "result"), "ppl"), 0) == 9.5);
    hl_bus_reply_done(&r);
    CHECK(hl_bus_client_call(client, HL_BUS_CMD_STATUS, NULL, 2000, 2000, &r) == HL_OK);
    CHECK(strcmp(hl_json_str(hl_json_get(r.line, "state"), ""), "running") == 0);
    CHECK(hl_json_num(hl_json_get(r.line, "loss"), 0) == 2.5);
    hl_bus_reply_done(&r);
    CHECK(hl_bus_client_call(client, HL_BUS_CMD_SET, NULL, 2000, 2000, &r) == HL_OK);
    CHECK(r.outcome == HL_BUS_OUTCOME_REFUSED && strstr(r.message, "at least one knob"));
    hl_bus_reply_done(&r);
    hl_bus_client_close(client);
    control_end(&c);
    CHECK(!hl_fs_exists(path));
    CHECK(hl_bus_client_open(dir, &client) == HL_E_NOTFOUND);
    CHECK(strstr(hl_err_message(), "not live"));
    hl_free(path);
    hl_free(dir);
}

static void test_subscription(void)
{
    char *dir = new_run_dir("events");
    control c;
    control_start(&c, dir);
    hl_bus_client *watcher = NULL, *asker = NULL;
    CHECK(hl_bus_client_open(dir, &watcher) == HL_OK && hl_bus_client_open(dir, &asker) == HL_OK);
    int64_t id, from = now_ms();
    CHECK(hl_bus_client_send(watcher, HL_BUS_CMD_STATUS, NULL, HL_BUS_ALL_EVENTS, &id) == HL_OK);
    hl_bus_reply r;
    CHECK(hl_bus_client_call(asker, HL_BUS_CMD_PAUSE, NULL, 2000, 2000, &r) == HL_OK);
    hl_bus_reply_done(&r);
    int n_steps = 0, n_accepted = 0, n_applied = 0;
    while (now_ms() < from + 1100) {
        hl_json *line = NULL;
        CHECK(hl_bus_client_read(watcher, 50, &line) == HL_OK);
        const char *ev = hl_json_str(hl_json_get(line, "ev"), "");
        const char *status = hl_json_str(hl_json_get(line, "status"), "");
        n_steps += strcmp(ev, "step") == 0;
        if (strcmp(ev, "request") == 0) {
            CHECK(hl_json_int(hl_json_get(line, "uid"), -1) == (int64_t)getuid());
            CHECK(hl_json_int(hl_json_get(line, "pid"), -1) == (int64_t)getpid());
            CHECK(strcmp(hl_json_str(hl_json_get(line, "cmd"), ""), "pause") == 0);
            n_accepted += strcmp(status, "accepted") == 0;
            n_applied += strcmp(status, "applied") == 0;
        }
        hl_json_free(line);
    }
    CHECK(n_steps >= 3 && n_steps <= 6);
    CHECK(n_accepted == 1 && n_applied == 1);
    hl_bus_client_close(watcher);
    hl_bus_client_close(asker);
    control_end(&c);
    hl_free(dir);
}

typedef struct caller {
    const char *dir;
    int n_calls, n_applied;
    hl_flag *gate;
    hl_thread *thread;
} caller;

static void caller_main(void *arg)
{
    caller *c = arg;
    hl_bus_client *client = NULL;
    if (hl_bus_client_open(c->dir, &client) != HL_OK)
        return;
    if (c->gate) {
        hl_flag_add(c->gate, 1);
        while (hl_flag_get(c->gate) < 32)
            hl_clock_sleep_ms(1);
    }
    for (int i = 0; i < c->n_calls; i++) {
        hl_bus_reply r;
        if (hl_bus_client_call(client, HL_BUS_CMD_SET, "{\"lr\":1}", 5000, 5000, &r) != HL_OK)
            break;
        c->n_applied += r.outcome == HL_BUS_OUTCOME_APPLIED;
        hl_bus_reply_done(&r);
    }
    hl_bus_client_close(client);
}

static void test_many_clients(void)
{
    char *dir = new_run_dir("many");
    control c;
    control_start(&c, dir);
    caller callers[32];
    hl_flag gate = {0};
    for (int i = 0; i < 32; i++) {
        callers[i] = (caller){.dir = dir, .n_calls = 10, .gate = &gate};
        CHECK(hl_thread_start("caller", caller_main, &callers[i], &callers[i].thread) == HL_OK);
    }
    int n = 0;
    for (int i = 0; i < 32; i++) {
        hl_thread_join(callers[i].thread);
        n += callers[i].n_applied;
    }
    CHECK(n == 320 && hl_flag_get(&c.n_taken) == 320);
    int fd[33];
    for (int i = 0; i < 33; i++)
        fd[i] = raw_open(dir);
    CHECK(raw_expect(fd[32], "32 clients are connected"));
    CHECK(raw_is_closed(fd[32]));
    CHECK(raw_line(fd[31], "{\"v\":1,\"id\":1,\"cmd\":\"pause\"}\n"));
    CHECK(raw_expect(fd[31], "\"applied\""));
    for (int i = 0; i < 33; i++)
        close(fd[i]);
    control_end(&c);
    hl_free(dir);
}

static void test_hostile_lines(void)
{
    char *dir = new_run_dir("hostile");
    control c;
    control_start(&c, dir);
    int good = raw_open(dir), bad = raw_open(dir);
    CHECK(raw_line(bad, "{\"v\":1,\"id\":1,\"cmd\":\"explode\"}\n\n"));
    CHECK(raw_expect(bad, "unknown command"));
    char noise[3000];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(i % 97 == 0 ? '\n' : (i * 7919) >> 3);
    (void)raw_send(bad, noise, sizeof noise);
    CHECK(raw_is_closed(bad));
    close(bad);

    bad = raw_open(dir);
    char *much = hl_alloc(100000);
    memset(much, ' ', 100000);
    (void)raw_send(bad, much, 100000);
    CHECK(raw_expect(bad, "64 KiB"));
    close(bad);
    bad = raw_open(dir);
    much[70000] = '\n';
    (void)raw_send(bad, much, 70001);
    CHECK(raw_expect(bad, "64 KiB") && raw_is_closed(bad));
    hl_free(much);
    close(bad);

    bad = raw_open(dir);
    CHECK(raw_line(bad, "{\"v\":1,"));
    CHECK(raw_expect(bad, "half a line") && raw_is_closed(bad));
    close(bad);

    bad = raw_open(dir); /* byte by byte, two lines in one piece, CR before the LF */
    const char *slow = "{\"v\":1,\"id\":5,\"cmd\":\"pause\"}\r\n";
    for (size_t i = 0; slow[i]; i++)
        CHECK(raw_send(bad, slow + i, 1));
    CHECK(raw_expect(bad, "\"id\":5,\"request\""));
    CHECK(raw_line(bad,
                   "{\"v\":1,\"id\":6,\"cmd\":\"pause\"}\n{\"v\":1,\"id\":7,\"cmd\":\"stop\"}\n"));
    CHECK(raw_expect(bad, "\"id\":7"));
    close(bad);

    bad = raw_open(dir); /* floods and never reads */
    for (int i = 0; i < 20000; i++)
        if (!raw_line(bad, "{\"v\":1,\"id\":1,\"cmd\":\"status\"}\n"))
            break;
    CHECK(raw_is_closed(bad));
    close(bad);

    CHECK(raw_line(good, "{\"v\":1,\"id\":2,\"cmd\":\"pause\"}\n"));
    CHECK(raw_expect(good, "\"applied\""));
    close(good);
    control_end(&c);
    hl_free(dir);
}

static void test_dying_clients(void)
{
    char *dir = new_run_dir("dying");
    control c;
    control_start(&c, dir);
    int64_t end = now_ms() + 10000;
    for (int i = 0; i < 100; i++) {
        int fd = raw_open(dir);
        CHECK(raw_line(fd, "{\"v\":1,\"id\":1,\"cmd\":\"pause\"}\n{\"v\":1,\"id\":"));
        close(fd);
        while (i % 16 == 15 && hl_flag_get(&c.n_taken) < i && now_ms() < end)
            hl_clock_sleep_ms(1); /* not more than 32 at a time */
    }
    while (hl_flag_get(&c.n_taken) < 100 && now_ms() < end)
        hl_clock_sleep_ms(5);
    CHECK(hl_flag_get(&c.n_taken) == 100); /* what was accepted stands */
    int fd = raw_open(dir); /* printf ... | nc -U: no more input, but the answer is read */
    CHECK(raw_line(fd, "{\"v\":1,\"id\":1,\"cmd\":\"pause\"}\n"));
    CHECK(shutdown(fd, SHUT_WR) == 0);
    CHECK(raw_expect(fd, "\"applied\"") && raw_is_closed(fd));
    close(fd);
    control_end(&c);
    hl_free(dir);
}

/* A subscriber that never reads is dropped; the publishing thread never waits for it. */
static void test_slow_reader(void)
{
    char *dir = new_run_dir("slow");
    hl_bus *bus = NULL;
    hl_bus_options options = {.run_dir = dir};
    CHECK(hl_bus_open(&options, &bus) == HL_OK);
    int slow = raw_open(dir), good = raw_open(dir);
    CHECK(raw_line(slow, "{\"v\":1,\"id\":1,\"subscribe\":true}\n"));
    CHECK(raw_expect(slow, "\"subscribed\":true"));
    hl_bus_state s = {.state = "running", .steps = -1};
    int64_t worst = 0;
    for (int i = 0; i < 20000; i++) { /* each a change of state */
        snprintf(s.doing, sizeof s.doing, "%070d", i);
        int64_t t = hl_clock_mono_ns();
        hl_bus_publish(bus, &s);
        t = hl_clock_mono_ns() - t;
        worst = t > worst ? t : worst;
        if (i % 8 == 0)
            hl_clock_sleep_ms(i % 64 == 0);
    }
    CHECK(worst < 500000000); /* generous: one may be descheduled on a busy machine */
    CHECK(raw_is_closed(slow));
    CHECK(raw_line(good, "{\"v\":1,\"id\":1,\"cmd\":\"status\"}\n") && raw_expect(good, "019999"));
    close(slow);
    close(good);
    hl_bus_close(bus);
    hl_free(dir);
}

static void test_full_mailbox(void)
{
    char *dir = new_run_dir("full");
    hl_bus *bus = NULL;
    hl_bus_options options = {.run_dir = dir};
    CHECK(hl_bus_open(&options, &bus) == HL_OK);
    int fd = raw_open(dir);
    for (int i = 0; i < 64; i++) {
        char line[80];
        snprintf(line, sizeof line, "{\"v\":1,\"id\":%d,\"cmd\":\"checkpoint\"}\n", i);
        CHECK(raw_line(fd, line));
    }
    CHECK(raw_expect(fd, "\"request\":64,\"status\":\"accepted\""));
    CHECK(raw_line(fd, "{\"v\":1,\"id\":64,\"cmd\":\"checkpoint\"}\n"));
    CHECK(raw_expect(fd, "64 requests wait already"));
    hl_bus_request r;
    for (int i = 0; i < 60; i++) {
        CHECK(hl_bus_take(bus, &r) && r.id == i + 1 && r.cmd == HL_BUS_CMD_CHECKPOINT);
        hl_bus_answer(bus, r.id, i, NULL);
        hl_bus_answer(bus, r.id, i, NULL); /* a second answer has no effect */
    }
    CHECK(raw_expect(fd, "\"request\":60,\"status\":\"applied\",\"step\":59"));
    CHECK(raw_line(fd, "{\"v\":1,\"id\":65,\"cmd\":\"checkpoint\"}\n"));
    CHECK(raw_expect(fd, "\"request\":65,\"status\":\"accepted\""));
    hl_bus_close(bus); /* five are open */
    CHECK(raw_expect(fd, "\"request\":65,\"status\":\"refused\",\"reason\":\"the run has ended\""));
    close(fd);
    hl_free(dir);
}

static void wake_main(void *arg)
{
    hl_clock_sleep_ms(50);
    hl_bus_wake(arg);
}

static void test_wait(void)
{
    char *dir = new_run_dir("wait");
    hl_bus *bus = NULL;
    hl_bus_options options = {.run_dir = dir};
    CHECK(hl_bus_open(&options, &bus) == HL_OK);
    int64_t t = now_ms();
    CHECK(!hl_bus_wait(bus, 40) && now_ms() - t >= 39);
    hl_bus_wake(bus);
    t = now_ms();
    CHECK(!hl_bus_wait(bus, 5000) && now_ms() - t < 2000);
    hl_thread *waker;
    CHECK(hl_thread_start("waker", wake_main, bus, &waker) == HL_OK);
    CHECK(!hl_bus_wait(bus, 5000) && now_ms() - t < 4000);
    hl_thread_join(waker);
    int fd = raw_open(dir);
    CHECK(raw_line(fd, "{\"v\":1,\"id\":1,\"cmd\":\"resume\"}\n"));
    CHECK(hl_bus_wait(bus, 5000) && now_ms() - t < 4000);
    hl_bus_request r;
    CHECK(hl_bus_take(bus, &r) && r.cmd == HL_BUS_CMD_RESUME && r.uid == (int64_t)getuid());
    CHECK(!hl_bus_take(bus, &r));
    close(fd);
    hl_bus_close(bus);
    hl_free(dir);
}

static void note_accept(void *arg, const hl_bus_request *r)
{
    if (r->cmd == HL_BUS_CMD_STOP &&
        strcmp(hl_json_str(hl_json_get(r->args, "mode"), ""), "abort") == 0)
        hl_flag_set(arg, r->id);
}

static void test_accept_hook_and_delay(void)
{
    char *dir = new_run_dir("hook");
    hl_flag hooked = {0};
    hl_bus *bus = NULL;
    hl_bus_options options = {.run_dir = dir, .on_accept = note_accept, .arg = &hooked};
    CHECK(hl_bus_open(&options, &bus) == HL_OK);
    hl_bus_state s = {.state = "evaluating", .doing = "evaluating, 41 s left", .steps = -1};
    hl_bus_publish(bus, &s);
    hl_bus_client *client = NULL;
    CHECK(hl_bus_client_open(dir, &client) == HL_OK);
    hl_bus_reply r;
    CHECK(hl_bus_client_call(client, HL_BUS_CMD_STOP, "{\"mode\":\"abort\"}", 2000, 100, &r) ==
          HL_OK);
    CHECK(r.outcome == HL_BUS_OUTCOME_ACCEPTED && r.request == 1);
    CHECK(strcmp(r.message,
                 "accepted, but not applied within 0.1 s; the run is evaluating, 41 s left") == 0);
    CHECK(hl_flag_get(&hooked) == 1);
    hl_bus_reply_done(&r);
    hl_bus_client_close(client);
    hl_bus_close(bus);
    hl_free(dir);
}

/* Sets or removes a variable for the length of a test. */
static void set_env(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static void check_outside(const char *dir, const char *where)
{
    hl_bus *bus = NULL, *second = NULL;
    hl_bus_options options = {.run_dir = dir};
    CHECK(hl_bus_open(&options, &bus) == HL_OK);
    if (!bus)
        return;
    CHECK(strncmp(hl_bus_path(bus), where, strlen(where)) == 0);
    char *pointer = hl_fs_join(dir, "control.path"), *text = NULL;
    CHECK(hl_fs_read(pointer, 4096, &text, NULL) == HL_OK);
    CHECK(text && strncmp(text, hl_bus_path(bus), strlen(hl_bus_path(bus))) == 0);
    hl_bus_client *client = NULL;
    CHECK(hl_bus_client_open(dir, &client) == HL_OK);
    hl_bus_reply r;
    CHECK(hl_bus_client_call(client, HL_BUS_CMD_STATUS, NULL, 2000, 2000, &r) == HL_OK);
    hl_bus_reply_done(&r);
    hl_bus_client_close(client);
    CHECK(hl_bus_open(&options, &second) == HL_E_STATE);
    /* a copy of the run directory must not reach the run */
    char *copy = new_run_dir("copy"), *copied = hl_fs_join(copy, "control.path");
    CHECK(text && hl_fs_write_atomic(copied, text, strlen(text)) == HL_OK);
    CHECK(hl_bus_client_open(copy, &client) == HL_E_NOTFOUND && strstr(hl_err_message(), "copied"));
    char *path = hl_strdup(hl_bus_path(bus));
    hl_bus_close(bus);
    CHECK(!hl_fs_exists(path) && !hl_fs_exists(pointer));
    CHECK(hl_bus_client_open(dir, &client) == HL_E_NOTFOUND);
    hl_free(path);
    hl_free(copied);
    hl_free(copy);
    hl_free(text);
    hl_free(pointer);
}

static void test_long_path(void)
{
    char name[140];
    memset(name, 'd', sizeof name);
    name[sizeof name - 1] = '\0';
    char *dir = new_run_dir(name), *runtime = new_run_dir("runtime"), *temp = new_run_dir("temp");
    set_env("XDG_RUNTIME_DIR", runtime);
    set_env("TMPDIR", temp);
    char *inside = hl_fs_join(runtime, "hoplab");
    check_outside(dir, inside);
    /* what others may enter is not used */
    CHECK(chmod(inside, 0755) == 0);
    check_outside(dir, temp);
    set_env("XDG_RUNTIME_DIR", NULL);
    check_outside(dir, temp);
    set_env("XDG_RUNTIME_DIR", "relative");
    set_env("TMPDIR", "/nonexistent-directory");
    check_outside(dir, "/tmp/hoplab-");
    set_env("XDG_RUNTIME_DIR", NULL);
    set_env("TMPDIR", NULL);
    hl_free(inside);
    hl_free(runtime);
    hl_free(temp);
    hl_free(dir);
}

static void test_stale_socket(void)
{
    char *dir = new_run_dir("stale"), *path = hl_fs_join(dir, "control.sock");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1) == 0);
    close(fd); /* its owner died: the file stays */
    hl_bus_client *client = NULL;
    CHECK(hl_bus_client_open(dir, &client) == HL_E_NOTFOUND);
    hl_bus *bus = NULL, *second = NULL;
    hl_bus_options options = {.run_dir = dir};
    CHECK(hl_bus_open(&options, &bus) == HL_OK);
    CHECK(hl_bus_open(&options, &second) == HL_E_STATE && strstr(hl_err_message(), "live"));
    CHECK(hl_bus_client_open(dir, &client) == HL_OK);
    hl_bus_client_close(client);
    /* a socket that is not ours any more is left alone */
    CHECK(unlink(path) == 0);
    CHECK(hl_fs_write_atomic(path, "x", 1) == HL_OK);
    hl_bus_close(bus);
    CHECK(hl_fs_exists(path));
    /* a file in the way: another place is used */
    CHECK(hl_bus_open(&options, &bus) == HL_OK);
    CHECK(strcmp(hl_bus_path(bus), path) != 0);
    hl_bus_close(bus);
    options.run_dir = "/nonexistent-directory";
    CHECK(hl_bus_open(&options, &bus) != HL_OK);
    CHECK(hl_bus_client_open(options.run_dir, &client) == HL_E_NOTFOUND);
    hl_free(path);
    hl_free(dir);
}

static void test_close_under_load(void)
{
    for (int round = 0; round < 5; round++) {
        char *dir = new_run_dir("load");
        control c;
        control_start(&c, dir);
        caller callers[16];
        for (int i = 0; i < 16; i++) {
            callers[i] = (caller){.dir = dir, .n_calls = 1000000};
            CHECK(hl_thread_start("caller", caller_main, &callers[i], &callers[i].thread) == HL_OK);
        }
        int silent = raw_open(dir); /* has answers waiting that it never reads */
        (void)raw_line(silent, "{\"v\":1,\"id\":1,\"subscribe\":true}\n");
        hl_clock_sleep_ms(100);
        hl_flag_set(&c.stop, 1);
        hl_thread_join(c.thread);
        int64_t t = now_ms();
        hl_bus_close(c.bus);
        CHECK(now_ms() - t < 2000);
        for (int i = 0; i < 16; i++)
            hl_thread_join(callers[i].thread);
        close(silent);
        hl_free(dir);
    }
}

/* Each allocation may fail, on either side: an error, a lost connection, never more. */
static void test_no_memory(void)
{
    char *dir = new_run_dir("memory");
    hl_bus_options options = {.run_dir = dir};
    for (int n = 1; n < 15; n++) {
        hl_bus *bus = NULL;
        hl_mem_fail_after(n);
        hl_status st = hl_bus_open(&options, &bus);
        hl_mem_fail_after(-1);
        CHECK(st == HL_OK || st == HL_E_NOMEM);
        hl_bus_close(bus);
    }
    control c;
    control_start(&c, dir);
    for (int n = 1; n < 60; n++) {
        hl_bus_client *client = NULL;
        hl_bus_reply r = {0};
        hl_mem_fail_after(n);
        if (hl_bus_client_open(dir, &client) == HL_OK &&
            hl_bus_client_call(client, HL_BUS_CMD_EVAL, NULL, 300, 300, &r) == HL_OK)
            hl_bus_reply_done(&r);
        hl_mem_fail_after(-1);
        hl_bus_client_close(client);
    }
    hl_bus_client *client = NULL;
    hl_bus_reply r = {0};
    CHECK(hl_bus_client_open(dir, &client) == HL_OK);
    CHECK(hl_bus_client_call(client, HL_BUS_CMD_EVAL, NULL, 2000, 2000, &r) == HL_OK);
    CHECK(r.outcome == HL_BUS_OUTCOME_APPLIED);
    hl_bus_reply_done(&r);
    hl_bus_client_close(client);
    control_end(&c);
    hl_free(dir);
}

/* A worker process that is stopped, then killed. First of all tests: it forks. */
static void test_process(void)
{
    char *dir = new_run_dir("process");
    pid_t pid = fork();
    if (pid == 0) {
        hl_bus *bus = NULL;
        hl_bus_options options = {.run_dir = dir};
        if (hl_bus_open(&options, &bus) != HL_OK)
            _exit(1);
        for (;;)
            hl_clock_sleep_ms(1000);
    }
    hl_bus_client *client = NULL;
    int64_t end = now_ms() + 5000;
    while (hl_bus_client_open(dir, &client) != HL_OK && now_ms() < end)
        hl_clock_sleep_ms(10);
    CHECK(client);
    if (!client)
        return;
    hl_bus_reply r;
    CHECK(hl_bus_client_call(client, HL_BUS_CMD_STATUS, NULL, 3000, 0, &r) == HL_OK);
    hl_bus_reply_done(&r);
    CHECK(kill(pid, SIGSTOP) == 0);
    int status;
    CHECK(waitpid(pid, &status, WUNTRACED) == pid);
    CHECK(hl_bus_client_call(client, HL_BUS_CMD_PAUSE, NULL, 100, 100, &r) == HL_E_STATE);
    CHECK(strstr(hl_err_message(), "did not answer within 0.1 s; it is stopped"));
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    CHECK(hl_bus_client_call(client, HL_BUS_CMD_PAUSE, NULL, 1000, 100, &r) == HL_E_IO);
    hl_bus_client_close(client);
    CHECK(hl_bus_client_open(dir, &client) == HL_E_NOTFOUND);
    hl_bus *bus = NULL;
    hl_bus_options options = {.run_dir = dir};
    CHECK(hl_bus_open(&options, &bus) == HL_OK);
    hl_bus_close(bus);
    hl_free(dir);
}

/* Asks and gives the outcome; message gets the reason. */
static hl_bus_outcome ask(hl_bus_client *c, hl_bus_cmd cmd, const char *args, char message[400])
{
    hl_bus_reply r = {.outcome = HL_BUS_OUTCOME_ACCEPTED};
    CHECK(hl_bus_client_call(c, cmd, args, 2000, 2000, &r) == HL_OK);
    snprintf(message, 400, "%s", r.message);
    hl_bus_reply_done(&r);
    return r.outcome;
}

/* A process of its own with a connection of its own: the parent asks for what it wants done. */
static void other_screen(const char *dir, int in, int out)
{
    hl_bus_client *c = NULL;
    char order, message[400];
    int64_t end = now_ms() + 3000;
    while (hl_bus_client_open(dir, &c) != HL_OK && now_ms() < end)
        hl_clock_sleep_ms(5);
    while (c && read(in, &order, 1) == 1) {
        hl_bus_outcome o = HL_BUS_OUTCOME_REFUSED;
        if (order == 't')
            o = ask(c, HL_BUS_CMD_TAKE, NULL, message);
        if (order == 'p')
            o = ask(c, HL_BUS_CMD_PAUSE, NULL, message);
        const char answer = o == HL_BUS_OUTCOME_APPLIED ? 'y' : 'n';
        if (write(out, &answer, 1) != 1)
            break;
    }
    hl_bus_client_close(c);
}

static char order(const int to[2], const int from[2], char what)
{
    char answer = '?';
    CHECK(write(to[1], &what, 1) == 1 && read(from[0], &answer, 1) == 1);
    return answer;
}

static void hold_worker(const char *dir, int in)
{
    control c;
    char byte;
    control_start(&c, dir);
    while (read(in, &byte, 1) > 0)
        ;
    control_end(&c);
}

/* Two screens: one has the controls, the other is told who, and may take them. */
static void check_hold(const char *dir, const int to[2], const int from[2], pid_t screen)
{
    hl_bus_client *c = NULL;
    char message[400], pid[40];
    int64_t end = now_ms() + 3000;
    while (hl_bus_client_open(dir, &c) != HL_OK && now_ms() < end)
        hl_clock_sleep_ms(5);
    snprintf(pid, sizeof pid, "process %d of", (int)screen);
    CHECK(ask(c, HL_BUS_CMD_PAUSE, NULL, message) == HL_BUS_OUTCOME_APPLIED); /* nobody has them */
    CHECK(ask(c, HL_BUS_CMD_RELEASE, NULL, message) == HL_BUS_OUTCOME_REFUSED);
    CHECK(order(to, from, 't') == 'y');
    CHECK(ask(c, HL_BUS_CMD_PAUSE, NULL, message) == HL_BUS_OUTCOME_REFUSED);
    CHECK(strstr(message, pid) && strstr(message, "steal"));
    CHECK(ask(c, HL_BUS_CMD_STOP, "{\"now\":true}", message) == HL_BUS_OUTCOME_REFUSED);
    CHECK(ask(c, HL_BUS_CMD_TAKE, NULL, message) == HL_BUS_OUTCOME_REFUSED && strstr(message, pid));
    CHECK(ask(c, HL_BUS_CMD_KNOBS, NULL, message) == HL_BUS_OUTCOME_APPLIED); /* changes nothing */
    CHECK(order(to, from, 'p') == 'y');
    hl_bus_reply r;
    CHECK(hl_bus_client_call(c, HL_BUS_CMD_STATUS, NULL, 2000, 2000, &r) == HL_OK);
    CHECK(hl_json_int(hl_json_get(hl_json_get(r.line, "holder"), "pid"), 0) == screen);
    CHECK(hl_json_is_array(hl_json_get(r.line, "requests")));
    hl_bus_reply_done(&r);
    CHECK(ask(c, HL_BUS_CMD_TAKE, "{\"steal\":true}", message) == HL_BUS_OUTCOME_APPLIED);
    CHECK(ask(c, HL_BUS_CMD_PAUSE, NULL, message) == HL_BUS_OUTCOME_APPLIED);
    CHECK(order(to, from, 'p') == 'n' && order(to, from, 't') == 'n');
    CHECK(ask(c, HL_BUS_CMD_RELEASE, NULL, message) == HL_BUS_OUTCOME_APPLIED);
    CHECK(order(to, from, 't') == 'y');
    kill(screen, SIGKILL); /* its hold goes with it */
    waitpid(screen, NULL, 0);
    hl_bus_outcome o = HL_BUS_OUTCOME_REFUSED;
    for (end = now_ms() + 3000; o != HL_BUS_OUTCOME_APPLIED && now_ms() < end;)
        o = ask(c, HL_BUS_CMD_PAUSE, NULL, message);
    CHECK(o == HL_BUS_OUTCOME_APPLIED);
    hl_bus_client_close(c);
}

static void test_hold(void)
{
    char *dir = new_run_dir("hold");
    int to[2], from[2], alive[2];
    CHECK(pipe(to) == 0 && pipe(from) == 0 && pipe(alive) == 0);
    const pid_t worker = fork();
    if (worker == 0) {
        close(alive[1]);
        hold_worker(dir, alive[0]);
        _exit(n_failed != 0);
    }
    const pid_t screen = fork();
    if (screen == 0) {
        close(alive[1]);
        other_screen(dir, to[0], from[1]);
        _exit(0);
    }
    check_hold(dir, to, from, screen);
    close(alive[1]);
    int status = -1;
    CHECK(waitpid(worker, &status, 0) == worker && status == 0);
    for (int i = 0; i < 2; i++) {
        close(to[i]);
        close(from[i]);
    }
    close(alive[0]);
    hl_free(dir);
}

/* What waits can be withdrawn, what has begun cannot; a holder's changes are told. */
static void test_cancel(void)
{
    char *dir = new_run_dir("cancel");
    char message[400];
    hl_bus *bus = NULL;
    hl_bus_options options = {.run_dir = dir};
    CHECK(hl_bus_open(&options, &bus) == HL_OK);
    hl_bus_client *c = NULL;
    hl_bus_request r;
    hl_bus_holder h;
    int64_t id, seen = 0;
    CHECK(hl_bus_client_open(dir, &c) == HL_OK);
    for (int i = 0; i < 2; i++)
        CHECK(hl_bus_client_send(c, HL_BUS_CMD_EVAL, NULL, HL_BUS_NO_EVENTS, &id) == HL_OK);
    CHECK(hl_bus_wait(bus, 2000));
    while (!hl_bus_take(bus, &r))
        hl_clock_sleep_ms(1);
    CHECK(ask(c, HL_BUS_CMD_CANCEL, "{\"request\":1}", message) == HL_BUS_OUTCOME_REFUSED);
    CHECK(strstr(message, "has begun"));
    CHECK(ask(c, HL_BUS_CMD_CANCEL, "{\"request\":2}", message) == HL_BUS_OUTCOME_APPLIED);
    CHECK(ask(c, HL_BUS_CMD_CANCEL, "{\"request\":2}", message) == HL_BUS_OUTCOME_REFUSED);
    CHECK(ask(c, HL_BUS_CMD_CANCEL, NULL, message) == HL_BUS_OUTCOME_REFUSED);
    CHECK(!hl_bus_take(bus, &r));
    CHECK(!hl_bus_holder_changed(bus, &seen, &h));
    CHECK(ask(c, HL_BUS_CMD_TAKE, NULL, message) == HL_BUS_OUTCOME_APPLIED);
    CHECK(hl_bus_holder_changed(bus, &seen, &h) && h.pid == getpid() && !h.stolen);
    CHECK(!hl_bus_holder_changed(bus, &seen, &h));
    hl_bus_client_close(c);
    for (int64_t end = now_ms() + 3000; h.pid && now_ms() < end;)
        (void)hl_bus_holder_changed(bus, &seen, &h);
    CHECK(h.pid == 0 && seen == 2);
    hl_bus_close(bus);
    hl_free(dir);
}

int main(void)
{
    snprintf(top, sizeof top, "/tmp/hoplab-bus-test-XXXXXX");
    if (!mkdtemp(top))
        return 1;
    unsetenv("XDG_RUNTIME_DIR");
    test_process();
    test_hold();
    test_cancel();
    test_round_trip();
    test_subscription();
    test_many_clients();
    test_hostile_lines();
    test_dying_clients();
    test_slow_reader();
    test_full_mailbox();
    test_wait();
    test_accept_hook_and_delay();
    test_long_path();
    test_stale_socket();
    test_close_under_load();
    test_no_memory();
    CHECK(hl_fs_remove_tree(top) == HL_OK);
    snprintf(top, sizeof top, "/tmp/hoplab-%lu", (unsigned long)geteuid());
    (void)rmdir(top); /* of test_long_path; only if it is empty */
    return plain_end();
}
