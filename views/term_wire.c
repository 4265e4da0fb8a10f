#define _GNU_SOURCE
#include "views/term_wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"

#define IN_FD           STDIN_FILENO
#define OUT_FD          STDOUT_FILENO
#define ANSWER_LIMIT_NS 1000000000
#define SETTLE_MS       200
#define GIVE_UP_AFTER   3     /* questions without an answer */
#define COPY_MAX_BYTES  74994 /* that many terminals take */
#define MODE_SYNC       2026

static const char mouse_on[] = "\033[?1000h\033[?1002h\033[?1006h";
static const char mouse_off[] = "\033[?1006l\033[?1002l\033[?1000l";
static const char paste_on[] = "\033[?2004h";
static const char sync_begin[] = "\033[?2026h";
static const char sync_end[] = "\033[?2026l";
static const char ask_sync[] = "\033[?2026$p";
static const char ask_status[] = "\033[5n";

/* ---- who is there ---- */

hl_status hl_wire_check(void)
{
    static const char instead[] = "hoplab ls lists runs, hoplab show RUN tells about one";
    const char *name = getenv("TERM");
    if (!isatty(IN_FD) || !isatty(OUT_FD))
        return hl_err_set(HL_E_STATE, "the screen needs a terminal, and %s is none; %s",
                          isatty(IN_FD) ? "stdout" : "stdin", instead);
    if (!name || !*name || strcmp(name, "dumb") == 0)
        return hl_err_set(HL_E_STATE,
                          "the screen needs a terminal that can be drawn on, and TERM is %s; %s",
                          name && *name ? name : "not set", instead);
    pid_t front = tcgetpgrp(IN_FD);
    if (front != -1 && front != getpgrp())
        return hl_err_set(HL_E_STATE,
                          "the screen cannot start in the background, the terminal belongs to "
                          "another job; %s",
                          instead);
    return HL_OK;
}

static bool is_modern(const char *name)
{
    static const char *const known[] = {"xterm",     "tmux",    "screen",  "rxvt", "foot", "kitty",
                                        "alacritty", "wezterm", "ghostty", "st",   NULL};
    for (const char *const *k = known; *k; k++) {
        size_t n = strlen(*k);
        if (strncmp(name, *k, n) == 0 && (!name[n] || name[n] == '-' || name[n] == '.'))
            return true;
    }
    return false;
}

static int escape_delay(void)
{
    enum { LOCAL_MS = 25, SSH_MS = 100, MOST_MS = 10000 };
    const char *told = getenv("ESCDELAY"), *ssh = getenv("SSH_CONNECTION");
    int64_t ms = 0;
    if (told && hl_parse_i64(told, &ms) == HL_OK && ms >= 0 && ms <= MOST_MS)
        return (int)ms;
    hl_err_clear();
    return ssh && *ssh ? SSH_MS : LOCAL_MS;
}

void hl_wire_init(hl_wire *w, const char *term_name, bool mouse)
{
    *w = (hl_wire){
        .modern = is_modern(term_name), .escape_delay_ms = escape_delay(), .round_trip_ms = -1.0};
    w->mouse_on = mouse && w->modern;
}

void hl_wire_know_modes(hl_wire *w, const struct termios *found)
{
    w->in.erase = found->c_cc[VERASE] == HL_CTRL('h') ? HL_CTRL('h') : 0;
}

void hl_wire_done(hl_wire *w)
{
    hl_decoder_done(&w->in);
}

/* ---- out ---- */

void hl_wire_put(hl_wire *w, const char *bytes, size_t n)
{
    while (n > 0 && !w->lost) {
        ssize_t done = write(OUT_FD, bytes, n);
        if (done < 0 && errno != EINTR)
            return;
        bytes += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
}

static void put_text(hl_wire *w, const char *text)
{
    hl_wire_put(w, text, strlen(text));
}

static void ask(hl_wire *w)
{
    w->asked_ns[w->n_asked % HL_WIRE_ASKED] = hl_clock_mono_ns();
    w->n_asked++;
    put_text(w, ask_status);
}

void hl_wire_start(hl_wire *w)
{
    if (!w->modern)
        return;
    w->n_answered = w->n_asked;
    put_text(w, paste_on);
    if (w->mouse_on)
        put_text(w, mouse_on);
    put_text(w, ask_sync);
    ask(w);
}

void hl_wire_begin_frame(hl_wire *w)
{
    if (w->sync)
        put_text(w, sync_begin);
}

void hl_wire_end_frame(hl_wire *w)
{
    if (w->sync)
        put_text(w, sync_end);
    if (w->paced)
        ask(w);
}

bool hl_wire_ready(hl_wire *w)
{
    if (w->lost)
        return true;
    if (w->paced && w->n_answered < w->n_asked) {
        int64_t asked = w->asked_ns[(w->n_asked - 1) % HL_WIRE_ASKED];
        if (hl_clock_mono_ns() - asked < ANSWER_LIMIT_NS)
            return false;
    }
    struct pollfd p = {.fd = OUT_FD, .events = POLLOUT};
    if (poll(&p, 1, 0) != 1)
        return false;
    if (w->paced && w->n_asked - w->n_answered >= GIVE_UP_AFTER) {
        w->paced = false;
        w->n_answered = w->n_asked;
    }
    return true;
}

void hl_wire_set_mouse(hl_wire *w, bool on)
{
    if (!w->modern || on == w->mouse_on)
        return;
    w->mouse_on = on;
    put_text(w, on ? mouse_on : mouse_off);
}

bool hl_wire_copy(hl_wire *w, const char *text)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strlen(text);
    if (!w->modern || w->lost || n > COPY_MAX_BYTES)
        return false;
    hl_str out = {0};
    hl_str_add(&out, "\033]52;c;");
    for (size_t i = 0; i < n; i += 3) {
        size_t has = n - i < 3 ? n - i : 3;
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < has ? (unsigned char)text[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            hl_str_addc(&out, k <= has ? digit[bits >> (18 - 6 * k) & 63] : '=');
    }
    hl_str_addc(&out, '\a');
    bool good = hl_str_status(&out) == HL_OK;
    if (good)
        hl_wire_put(w, out.s, out.n);
    hl_str_done(&out);
    return good;
}

/* ---- in ---- */

/* Takes what is there within ms; false: nothing. */
static bool take_bytes(hl_wire *w, int ms)
{
    struct pollfd p = {.fd = IN_FD, .events = POLLIN};
    size_t room;
    unsigned char *to = hl_decoder_space(&w->in, &room);
    if (w->lost || room == 0 || poll(&p, 1, ms) != 1)
        return false;
    ssize_t n = read(IN_FD, to, room);
    if (n > 0) {
        hl_decoder_fed(&w->in, (size_t)n, hl_clock_mono_ns());
        return true;
    }
    w->lost = n == 0 || (errno != EINTR && errno != EAGAIN);
    return false;
}

static void take_answer(hl_wire *w)
{
    if (w->n_answered >= w->n_asked)
        return;
    int64_t asked = w->asked_ns[w->n_answered % HL_WIRE_ASKED];
    w->n_answered++;
    w->paced = true;
    w->round_trip_ms = (double)(hl_clock_mono_ns() - asked) / 1e6;
}

bool hl_wire_read(hl_wire *w, hl_input *out)
{
    for (bool last = false;;) {
        hl_token token = hl_decoder_next(&w->in, last, out);
        last = false;
        switch (token) {
        case HL_TOKEN_KEY:
            return true;
        case HL_TOKEN_STATUS:
            take_answer(w);
            break;
        case HL_TOKEN_MODE:
            if (w->in.mode == MODE_SYNC)
                w->sync = w->in.mode_value == 1 || w->in.mode_value == 2;
            break;
        case HL_TOKEN_MORE:
            last = !take_bytes(w, w->escape_delay_ms);
            break;
        case HL_TOKEN_NONE:
            if (!take_bytes(w, 0))
                return false;
        }
    }
}

void hl_wire_settle(hl_wire *w)
{
    int64_t now = hl_clock_mono_ns(), until = now + (int64_t)SETTLE_MS * 1000000;
    hl_input key;
    if (w->n_asked && now - w->asked_ns[(w->n_asked - 1) % HL_WIRE_ASKED] > ANSWER_LIMIT_NS)
        w->n_answered = w->n_asked; /* none will come */
    while (w->modern && !w->lost && w->n_answered < w->n_asked) {
        int64_t left_ms = (until - hl_clock_mono_ns()) / 1000000;
        if (left_ms <= 0 || !take_bytes(w, (int)left_ms)) {
            tcflush(IN_FD, TCIFLUSH);
            return;
        }
        while (hl_wire_read(w, &key))
            ;
    }
}
