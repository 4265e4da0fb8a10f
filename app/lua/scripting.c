/* The screen's Lua: a thread of its own with an interpreter, orders in, replies out.
 *
 * DESIGN. The thread sleeps on an eventfd until orders come, calls one function of hop/screen.lua
 * after the other, and hands over plain data: JSON text is made and parsed on its side, so the
 * owner gets finished trees. While the replies wait for their owner the thread waits too, so a
 * script that prints without end costs no memory. An interrupt names the order that it is meant
 * for; one that comes late finds another number and does nothing. */
#define _GNU_SOURCE
#include "app/lua/scripting.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "app/lua/host_internal.h"
#include "app/lua/lua_json.h"
#include "app/proc/signals.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem_thread.h"
#include "engine/base/thread.h"

enum {
    N_ORDERS = 256,
    N_REPLIES = 1024,
    MEMORY_LIMIT = 256 << 20, /* bytes of the interpreter, for scripts */
    TENSOR_LIMIT = 512 << 20, /* bytes of tensors and of what computes them */
    MEMORY_SLACK = 1 << 20,   /* more, for telling that they are used up */
    REPLY_MAX = 8 << 20,      /* bytes of one reply as JSON */
    RESEND_MS = 50, /* between two signals for one order: the first may have come too early */
    LEAVE_MS = 3000 /* what close waits for a thread that hangs in C code */
};

typedef struct order {
    int64_t ticket;
    int limit_ms;
    char name[16];
    char *argument; /* owned, or NULL */
} order;

struct hl_scripting {
    char *runs_dir;
    hl_thread *thread;
    hl_ring *orders, *replies;
    int orders_fd, replies_fd;
    hl_flag stop, ended;
    /* what runs: set by the thread, read by the owner and by the signal handler */
    hl_flag running, since_ns, limit_ms;
    hl_flag interrupted; /* the order that is to end */
    /* the owner's */
    int64_t next_ticket;
    int n_open;
    int64_t sent_ns; /* when the last signal was sent */
    /* the thread's */
    hl_lua *lua; /* NULL: could not be made */
    char trouble[HL_ERR_MESSAGE_MAX];
    hl_str text; /* of the value being handed over: an error raised meanwhile must not lose it */
};

/* ---- the thread: replies ---- */

static void signal_fd(int fd)
{
    const uint64_t one = 1;
    if (write(fd, &one, sizeof one) < 0)
        return; /* it is readable already */
}

/* Waits for room; false: the owner wants the thread to end. */
static bool hand_over(hl_scripting *s, hl_script_reply *r)
{
    while (!hl_ring_push(s->replies, r)) {
        signal_fd(s->replies_fd);
        if (hl_flag_get(&s->stop)) {
            hl_json_free(r->value);
            return false;
        }
        hl_clock_sleep_ms(2);
    }
    signal_fd(s->replies_fd);
    return true;
}

/* The value on top of the stack as a tree. */
static hl_status take_value(hl_scripting *s, hl_json **out)
{
    lua_State *L = s->lua->L;
    hl_str_clear(&s->text);
    *out = NULL;
    hl_status st = lua_isnil(L, -1) ? HL_OK : hl_lua_to_json(L, "the value", &s->text);
    if (st == HL_OK && s->text.n > REPLY_MAX)
        st = hl_err_set(HL_E_NOMEM, "too much to show: more than %d MiB of it", REPLY_MAX >> 20);
    if (st == HL_OK && s->text.n)
        st = hl_json_parse(s->text.s, s->text.n, out);
    return st;
}

/* emit(kind, value): a note to the screen while an order runs. Upvalue: the scripting. */
static int emit(lua_State *L)
{
    hl_scripting *s = lua_touserdata(L, lua_upvalueindex(1));
    hl_script_reply r = {.ticket = hl_flag_get(&s->running)};
    snprintf(r.kind, sizeof r.kind, "%s", luaL_checkstring(L, 1));
    lua_settop(L, 2);
    hl_status st = take_value(s, &r.value);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    if (!hand_over(s, &r) || hl_flag_get(&s->interrupted) == hl_flag_get(&s->running))
        return hl_lua_raise_cancel(L);
    return 0;
}

/* What this thread has worked: a busy machine makes no view slow. */
static int cpu_seconds(lua_State *L)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    lua_pushnumber(L, (double)t.tv_sec + (double)t.tv_nsec * 1e-9);
    return 1;
}

/* Frames of scripts only, without what is above the screen's own functions. */
static void add_traceback(hl_str *out, const char *text)
{
    for (const char *line = text; *line;) {
        const size_t n = strcspn(line, "\n");
        if (n && line[0] == '\t' && strncmp(line + 1, "hop/", 4) != 0 && line[1] != '[' &&
            line[1] != '(') { /* [C], (...tail calls...) */
            hl_str_add(out, out->n ? "\n" : "");
            hl_str_addn(out, line + 1, n - 1);
        }
        line += n + (line[n] == '\n');
    }
}

static hl_json *describe_failure(hl_scripting *s)
{
    hl_str text = {0}, frames = {0};
    hl_json *value = NULL;
    hl_json_begin(&text, '{');
    hl_json_put_str(&text, "message", hl_err_message());
    hl_json_put_bool(&text, "stopped", hl_err_code() == HL_E_CANCELLED);
    if (s->lua) {
        hl_json_put_str(&text, "hint", hl_lua_hint(s->lua));
        add_traceback(&frames, hl_lua_traceback(s->lua));
        hl_json_put_str(&text, "traceback", hl_str_text(&frames));
    }
    hl_json_end(&text, '}');
    if (hl_str_status(&text) == HL_OK && hl_json_parse(text.s, text.n, &value) != HL_OK)
        value = NULL;
    hl_str_done(&frames);
    hl_str_done(&text);
    return value;
}

/* ---- the thread: orders ---- */

typedef struct job {
    hl_scripting *s;
    hl_json *argument; /* NULL: none */
    const char *name;
    hl_json *value; /* what came back */
} job;

/* All of an order that can run out of the interpreter's memory. */
static int run_job(lua_State *L)
{
    job *j = lua_touserdata(L, 1);
    j->s->lua->limit = MEMORY_LIMIT;
    lua_getfield(L, LUA_REGISTRYINDEX, "hop.screen");
    lua_getfield(L, -1, j->name);
    hl_lua_push_json(L, j->argument);
    lua_call(L, 1, 1);
    hl_status st = take_value(j->s, &j->value);
    return st == HL_OK ? 0 : hl_lua_raise(L, st);
}

static hl_status call(hl_scripting *s, const order *o, hl_json **value)
{
    job j = {.s = s, .name = o->name};
    if (!s->lua)
        return hl_err_set(HL_E_STATE, "%s", s->trouble);
    hl_status st =
        o->argument ? hl_json_parse(o->argument, strlen(o->argument), &j.argument) : HL_OK;
    if (st == HL_OK) {
        lua_pushcfunction(s->lua->L, run_job);
        lua_pushlightuserdata(s->lua->L, &j);
        st = hl_lua_call(s->lua, 1, 0);
        s->lua->limit = MEMORY_LIMIT + MEMORY_SLACK;
    }
    hl_json_free(j.argument);
    *value = j.value;
    if (s->lua->exiting) {
        s->lua->exiting = false;
        return hl_err_set(HL_E_CANCELLED, "hop.exit ends a script; :q leaves the screen");
    }
    if (st == HL_E_CANCELLED && o->limit_ms > 0)
        return hl_err_set(st, "took longer than %d ms and was stopped", o->limit_ms);
    return st == HL_E_CANCELLED ? hl_err_set(st, "interrupted") : st;
}

static void run(hl_scripting *s, order *o)
{
    hl_script_reply r = {.ticket = o->ticket, .last = true};
    snprintf(r.kind, sizeof r.kind, "%s", o->name);
    hl_flag_set(&s->limit_ms, o->limit_ms);
    hl_flag_set(&s->since_ns, hl_clock_mono_ns());
    hl_flag_set(&s->running, o->ticket);
    if (hl_flag_get(&s->stop))
        (void)hl_err_set(HL_E_CANCELLED, "the screen ends");
    else if (call(s, o, &r.value) == HL_OK)
        goto done;
    r.failed = true;
    r.value = describe_failure(s);
done:
    hl_flag_set(&s->running, 0);
    hl_free(o->argument);
    (void)hand_over(s, &r);
}

/* ---- the thread: life ---- */

/* Only one thread of a process runs a screen's Lua; the handler has no argument. */
static hl_scripting *interruptible;

static void in_handler(void)
{
    hl_scripting *s = interruptible;
    if (s && s->lua && hl_flag_get(&s->interrupted) == hl_flag_get(&s->running))
        hl_lua_interrupt(s->lua);
}

static int no_writing(lua_State *L)
{
    (void)hl_err_set(HL_E_UNSUPPORTED, "the screen's Lua writes no files");
    return hl_lua_raise_hint(L, HL_E_UNSUPPORTED, "hoplab lua FILE runs a script that may");
}

static hl_status open_state(hl_scripting *s)
{
    hl_status st = HL_OK;
    const hl_lua_options o = {.sandbox = true, .memory_limit = MEMORY_LIMIT + MEMORY_SLACK};
    HL_TRY(hl_lua_new(&o, &s->lua));
    lua_State *L = s->lua->L;
    lua_getfield(L, LUA_REGISTRYINDEX, "hop.core"); /* before the library takes them from there */
    lua_pushcfunction(L, no_writing);
    lua_setfield(L, -2, "save");
    lua_pushcfunction(L, no_writing);
    lua_setfield(L, -2, "save_dir");
    lua_settop(L, 0);
    HL_TRY(hl_lua_make_console(s->lua));
    lua_getfield(L, LUA_REGISTRYINDEX, "hop.core");
    lua_pushlightuserdata(L, s);
    lua_pushcclosure(L, emit, 1);
    lua_setfield(L, -2, "emit");
    lua_pushcfunction(L, cpu_seconds);
    lua_setfield(L, -2, "cpu_seconds");
    lua_pushstring(L, s->runs_dir);
    lua_setfield(L, -2, "runs_dir");
    lua_settop(L, 0);
    lua_getglobal(L, "require");
    lua_pushstring(L, "hop.screen");
    HL_TRY(hl_lua_call(s->lua, 1, 1));
    lua_setfield(L, LUA_REGISTRYINDEX, "hop.screen");
    HL_TRY(hl_interrupt_arm(in_handler));
    interruptible = s;
out:
    return st;
}

static void body(void *arg)
{
    hl_scripting *s = arg;
    order o;
    uint64_t count;
    hl_mem_set_thread_limit(TENSOR_LIMIT);
    if (open_state(s) != HL_OK) {
        snprintf(s->trouble, sizeof s->trouble, "Lua cannot start: %s", hl_err_message());
        hl_lua_free(s->lua);
        s->lua = NULL;
    }
    while (!hl_flag_get(&s->stop)) {
        struct pollfd fd = {.fd = s->orders_fd, .events = POLLIN};
        (void)poll(&fd, 1, -1);
        if (read(s->orders_fd, &count, sizeof count) < 0)
            continue;
        while (hl_ring_pop(s->orders, &o))
            run(s, &o);
    }
    if (s->lua) {
        hl_interrupt_disarm();
        interruptible = NULL;
    }
    hl_lua_free(s->lua);
    hl_flag_set(&s->ended, 1);
}

/* ---- the owner ---- */

static void free_all(hl_scripting *s)
{
    order o;
    hl_script_reply r;
    while (s->orders && hl_ring_pop(s->orders, &o))
        hl_free(o.argument);
    while (s->replies && hl_ring_pop(s->replies, &r))
        hl_json_free(r.value);
    hl_ring_free(s->orders);
    hl_ring_free(s->replies);
    if (s->orders_fd >= 0)
        close(s->orders_fd);
    if (s->replies_fd >= 0)
        close(s->replies_fd);
    hl_str_done(&s->text);
    hl_free(s->runs_dir);
    hl_free(s);
}

static void scripting_interrupt(hl_scripting *s)
{
    hl_flag_set(&s->interrupted, hl_flag_get(&s->running));
    s->sent_ns = hl_clock_mono_ns();
    hl_interrupt_send();
}

static void scripting_close(hl_scripting *s)
{
    if (!s)
        return;
    hl_flag_set(&s->stop, 1);
    if (s->thread) {
        signal_fd(s->orders_fd);
        for (int ms = 0; ms < LEAVE_MS && !hl_flag_get(&s->ended); ms++) {
            if (ms % RESEND_MS == 0)
                scripting_interrupt(s);
            hl_clock_sleep_ms(1);
        }
        if (!hl_flag_get(&s->ended))
            return; /* it hangs in C code, and what it uses stays with it */
        hl_thread_join(s->thread);
    }
    free_all(s);
}

static hl_status scripting_open(const char *runs_dir, hl_scripting **out)
{
    hl_status st = HL_OK;
    hl_scripting *s = hl_alloc_zero(1, sizeof *s);
    if (!s)
        return HL_E_NOMEM;
    s->orders_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->replies_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->orders_fd < 0 || s->replies_fd < 0)
        HL_FAIL(HL_E_IO, "no event descriptor for Lua: %s", strerror(errno));
    s->runs_dir = hl_fs_absolute(runs_dir);
    if (!s->runs_dir)
        HL_FAIL(HL_E_NOMEM, "out of memory");
    HL_TRY(hl_ring_new(N_ORDERS, sizeof(order), &s->orders));
    HL_TRY(hl_ring_new(N_REPLIES, sizeof(hl_script_reply), &s->replies));
    HL_TRY(hl_thread_start("lua", body, s, &s->thread));
    *out = s;
    s = NULL;
out:
    if (s)
        free_all(s);
    return st;
}

static int scripting_fd(const hl_scripting *s)
{
    return s->replies_fd;
}

static int64_t scripting_order(hl_scripting *s, const char *name, const char *argument,
                               int limit_ms)
{
    order o = {.ticket = s->next_ticket + 1, .limit_ms = limit_ms};
    snprintf(o.name, sizeof o.name, "%s", name);
    o.argument = argument ? hl_strdup(argument) : NULL;
    if ((argument && !o.argument) || !hl_ring_push(s->orders, &o)) {
        hl_free(o.argument);
        return -1;
    }
    s->next_ticket++;
    s->n_open++;
    signal_fd(s->orders_fd);
    return o.ticket;
}

static bool scripting_take(hl_scripting *s, hl_script_reply *out)
{
    uint64_t count;
    if (!hl_ring_pop(s->replies, out)) {
        if (read(s->replies_fd, &count, sizeof count) < 0 || !hl_ring_pop(s->replies, out))
            return false;
        signal_fd(s->replies_fd); /* what came between the two looks has lost its signal */
    }
    s->n_open -= out->last;
    return true;
}

static int scripting_tick(hl_scripting *s)
{
    const int64_t running = hl_flag_get(&s->running), limit = hl_flag_get(&s->limit_ms);
    if (s->n_open == 0)
        return -1;
    if (running == 0 || limit <= 0)
        return hl_flag_get(&s->interrupted) == running && running ? RESEND_MS : 100;
    const int64_t now = hl_clock_mono_ns();
    const int64_t left_ms = limit - (now - hl_flag_get(&s->since_ns)) / 1000000;
    if (left_ms > 0)
        return (int)left_ms + 1;
    if (hl_flag_get(&s->interrupted) != running || now - s->sent_ns > RESEND_MS * 1000000)
        scripting_interrupt(s);
    return RESEND_MS;
}

static int scripting_busy(hl_scripting *s, int64_t *running_ns)
{
    *running_ns = hl_flag_get(&s->running) ? hl_clock_mono_ns() - hl_flag_get(&s->since_ns) : 0;
    return s->n_open;
}

const hl_scripting_class hl_lua_scripting = {.open = scripting_open,
                                             .close = scripting_close,
                                             .fd = scripting_fd,
                                             .order = scripting_order,
                                             .take = scripting_take,
                                             .tick = scripting_tick,
                                             .interrupt = scripting_interrupt,
                                             .busy = scripting_busy};
