/* The screen's Lua as its owner meets it: orders and replies, limits, interrupts of whatever loops,
 * and a state that is closed in the middle of something. A plain program: it runs under the thread
 * sanitizer. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/lua/scripting.h"
#include "engine/base/clock.h"

static const hl_scripting_class *const lua = &hl_lua_scripting;
static int failures;

/* The thread sanitizer hands a signal over at the next system call, which a loop never makes. */
#ifdef __SANITIZE_THREAD__
static const bool has_signals = false;
#else
static const bool has_signals = true;
#endif

static void check(bool ok, const char *what, const char *got)
{
    if (ok)
        return;
    failures++;
    fprintf(stderr, "FAILED: %s: %s\n", what, got);
}

typedef struct answer {
    bool failed;
    int n_notes;
    char text[400], last_note[400];
    double seconds;
} answer;

static void keep(char to[400], const hl_json *v, const char *key)
{
    snprintf(to, 400, "%s", hl_json_str(hl_json_get(v, key), ""));
}

/* Replies until the order is done; interrupts it after so many milliseconds (0: never). */
static answer wait_for(hl_scripting *s, int64_t ticket, int interrupt_ms)
{
    answer a = {0};
    const int64_t begun = hl_clock_mono_ns();
    bool sent = false;
    hl_script_reply r;
    for (;;) {
        struct pollfd fd = {.fd = lua->fd(s), .events = POLLIN};
        const int ms = lua->tick(s);
        (void)poll(&fd, 1, ms < 0 || ms > 20 ? 20 : ms);
        a.seconds = (double)(hl_clock_mono_ns() - begun) * 1e-9;
        if (interrupt_ms && !sent && a.seconds * 1000 > interrupt_ms) {
            lua->interrupt(s);
            sent = true;
        }
        while (lua->take(s, &r)) {
            const bool done = r.last && r.ticket == ticket;
            if (!r.last) {
                a.n_notes++;
                keep(a.last_note, r.value, "text");
            } else if (done) {
                a.failed = r.failed;
                keep(a.text, r.value, r.failed ? "message" : "text");
            }
            hl_json_free(r.value);
            if (done)
                return a;
        }
        if (a.seconds > 60) {
            snprintf(a.text, sizeof a.text, "no answer within a minute");
            a.failed = true;
            return a;
        }
    }
}

static int64_t order(hl_scripting *s, const char *name, const char *text, int limit_ms)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "text", text);
    hl_json_put_str(&b, "path", "test");
    hl_json_end(&b, '}');
    const int64_t ticket = lua->order(s, name, hl_str_text(&b), limit_ms);
    hl_str_done(&b);
    return ticket;
}

static answer evaluate(hl_scripting *s, const char *text)
{
    return wait_for(s, order(s, "eval", text, 0), 0);
}

static void evaluates(hl_scripting *s)
{
    answer a = evaluate(s, "1 + 1");
    check(!a.failed && strcmp(a.text, "2") == 0, "1 + 1", a.text);
    a = evaluate(s, "for i = 1, 3000 do print(i) end"); /* more than the ring of replies holds */
    check(!a.failed && a.n_notes == 3001 && strcmp(a.last_note, "3000") == 0, "print", a.last_note);
    a = evaluate(s, "error { hint = 1 }");
    check(a.failed && strstr(a.text, "error()"), "an error that is no text", a.text);
    a = evaluate(s, "print(('x'):rep(9 << 20))");
    check(a.failed && strstr(a.text, "too much to show"), "a value without end", a.text);
    a = evaluate(s, "hop.exit(3)");
    check(a.failed && strstr(a.text, "leaves the screen"), "hop.exit", a.text);
    a = wait_for(s, lua->order(s, "no_such_order", NULL, 0), 0);
    check(a.failed, "an order that there is not", a.text);
    a = wait_for(s, lua->order(s, "eval", "{ no json", 0), 0);
    check(a.failed, "an argument that is no JSON", a.text);
}

/* Whatever loops ends when it is asked to, and what comes next works. */
static void is_interrupted(hl_scripting *s)
{
    static const char *const loops[] = {
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(error, function() end) end",
        "coroutine.wrap(function() while true do end end)()",
        "local t = setmetatable({}, { __index = function(t, k) while true do end end }) return t.x",
        "for _ in function() return 1 end do end",
        "while true do (('x'):rep(1000)):gsub('x', 'y') end",
        "while true do print(1) end",
        "local function f() return f() end f()",
        "setmetatable({}, { __gc = function() end }) while true do local t = {} end",
    };
    for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++) {
        const answer a = wait_for(s, order(s, "eval", loops[i], 0), 30);
        check(a.failed && strcmp(a.text, "interrupted") == 0, loops[i], a.text);
        const answer next = evaluate(s, "6 * 7");
        check(strcmp(next.text, "42") == 0, "after it", next.text);
    }
    const answer a = wait_for(s, order(s, "source", "while true do end", 60), 0);
    check(a.failed && strstr(a.text, "longer than 60 ms"), "a limit of time", a.text);
    lua->interrupt(s); /* nothing runs: nothing happens, neither now nor to the next one */
    const answer next = evaluate(s, "6 * 7");
    check(strcmp(next.text, "42") == 0, "after an interrupt of nothing", next.text);
}

static void runs_out_of_memory(hl_scripting *s)
{
    answer a = evaluate(s, "all = {} for i = 1, 9 do all[i] = ('x'):rep(1000):rep(50000) end");
    check(a.failed && strstr(a.text, "limit of 25"), "memory", a.text);
    a = evaluate(s, "all = nil return 6 * 7");
    check(strcmp(a.text, "42") == 0, "after it", a.text);
    a = evaluate(s, "T.randn { 20000, 20000 }:sum()");
    check(a.failed && strstr(a.text, "the program needs 1.5 GiB"), "a large tensor", a.text);
    a = evaluate(s, "all = {} for i = 1, 1e6 do all[i] = T.zeros { 127, 127 } end");
    check(a.failed && strstr(a.text, "limit of 512.0 MiB"), "many small tensors", a.text);
    a = evaluate(s, "all = nil collectgarbage() return T.zeros { 1000, 1000 }:sum():item()");
    check(!a.failed && strcmp(a.text, "0.0") == 0, "after them", a.text);
    a = evaluate(s, "local function f() return 1 + f() end f()");
    check(a.failed && strstr(a.text, "stack overflow"), "a stack without end", a.text);
}

static void takes_no_more_than_it_can(hl_scripting *s)
{
    int64_t last = 0, n = 0;
    order(s, "eval", "while true do end", 0);
    for (int i = 0; i < 1000; i++) {
        const int64_t ticket = order(s, "eval", "1", 0);
        n += ticket > 0;
        last = ticket > 0 ? ticket : last;
    }
    check(n > 100 && n < 1000, "orders are refused at some time", "none was, or all");
    hl_clock_sleep_ms(20);
    const answer a = wait_for(s, last, 1);
    check(!a.failed && strcmp(a.text, "1") == 0, "the last one that was taken", a.text);
}

int main(void)
{
    enum { TIMES = 12 };
    hl_scripting *s = NULL;
    if (lua->open("runs", &s) != HL_OK) {
        fprintf(stderr, "FAILED: %s\n", hl_err_message());
        return 1;
    }
    evaluates(s);
    if (has_signals)
        is_interrupted(s);
    else
        fprintf(stderr, "skipped under the thread sanitizer: interrupts\n");
    runs_out_of_memory(s);
    if (has_signals)
        takes_no_more_than_it_can(s);
    lua->close(s);
    for (int i = 0; i < TIMES; i++) { /* closed while it starts, works, prints, or rests */
        static const char *const work[] = {"while true do end", "while true do print(1) end", "1"};
        if (lua->open("runs", &s) != HL_OK)
            return 1;
        if (i % 4 && (has_signals || i % 4 == 3))
            order(s, "eval", work[i % 4 - 1], 0);
        if (i % 3)
            hl_clock_sleep_ms(5 * (i % 3));
        const int64_t begun = hl_clock_mono_ns();
        lua->close(s);
        check(hl_clock_mono_ns() - begun < (int64_t)10 * 1000000000, "closing", "took long");
    }
    return failures != 0;
}
