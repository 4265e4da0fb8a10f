/* A web server inside a test program: one thread, one connection at a time, on a loopback port. It
 * has four mirrors of one file, /a to /d, and does to each request what the mirror's script says;
 * the last act of a script is repeated. */
#ifndef HL_DATA_FETCH_SERVER_TEST_H
#define HL_DATA_FETCH_SERVER_TEST_H

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/thread.h"

typedef enum act_kind {
    SERVE,       /* with ranges, If-Range, 416 */
    NO_RANGE,    /* always the whole file */
    DROP,        /* serves, and breaks off after n bytes of body */
    WRONG,       /* serves bytes that are not the file's */
    MISSING,     /* 404 */
    REDIRECT,    /* to `to`, or to itself */
    HANG,        /* headers, n bytes, then silence */
    SILENT,      /* not even headers */
    UNSIZED,     /* no length; n bytes of the file (more than it has: zeros), then the end */
    WRONG_RANGE, /* 206 with another range than was asked for */
    LARGER,      /* announces n bytes */
    PAGE         /* 200, and a page that says no */
} act_kind;

typedef struct act {
    act_kind kind;
    size_t n;
    const char *etag; /* NULL: none */
    const char *to;
} act;

enum { MIRRORS = 4, ACTS_MAX = 8, REQUESTS_MAX = 64 };

typedef struct request_seen {
    char mirror;
    long offset; /* -1: no Range */
    bool if_range;
} request_seen;

typedef struct server {
    int fd, port;
    const char *bytes;
    size_t n_bytes;
    act script[MIRRORS][ACTS_MAX];
    int n_acts[MIRRORS], at[MIRRORS];
    request_seen seen[REQUESTS_MAX];
    hl_flag n_seen, stop;
    hl_thread *thread;
} server;

static void put(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        p += sent;
        n -= (size_t)sent;
    }
}

/* Until the client goes away or the test ends. */
static void hold(server *s, int fd)
{
    char c;
    while (!hl_flag_get(&s->stop)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 20) > 0 && recv(fd, &c, 1, 0) <= 0)
            return;
    }
}

static void put_head(int fd, const char *status, long length, const char *more)
{
    char head[1024];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nConnection: close\r\n%s", status, more);
    if (length >= 0)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %ld\r\n", length);
    n += snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    put(fd, head, (size_t)n);
}

static const char *header(const char *request, const char *name)
{
    const char *p = strcasestr(request, name);
    return p ? p + strlen(name) : NULL;
}

static void put_body(const server *s, int fd, const act *a, long from)
{
    size_t n = s->n_bytes - (size_t)from;
    if ((a->kind == DROP || a->kind == HANG) && a->n < n)
        n = a->n;
    if (a->kind != WRONG) {
        put(fd, s->bytes + from, n);
        return;
    }
    char *wrong = malloc(n);
    memcpy(wrong, s->bytes + from, n);
    wrong[n / 2] ^= 1;
    put(fd, wrong, n);
    free(wrong);
}

static void serve(server *s, int fd, const act *a, const char *request)
{
    char more[512] = "", line[128];
    const char *range = header(request, "\r\nRange: bytes="), *if_range;
    long from = range && a->kind != NO_RANGE ? strtol(range, NULL, 10) : 0;
    if (a->etag)
        snprintf(more, sizeof more, "ETag: %s\r\n", a->etag);
    if_range = header(request, "\r\nIf-Range: ");
    if (from > 0 && if_range && (!a->etag || strncmp(if_range, a->etag, strlen(a->etag)) != 0))
        from = 0;
    if (from >= (long)s->n_bytes) {
        snprintf(line, sizeof line, "Content-Range: bytes */%zu\r\n", s->n_bytes);
        put_head(fd, "416 Range Not Satisfiable", 0, line);
        return;
    }
    const long told = a->kind == WRONG_RANGE ? from - 1 : from;
    if (from > 0) {
        snprintf(line, sizeof line, "Content-Range: bytes %ld-%zu/%zu\r\n", told, s->n_bytes - 1,
                 s->n_bytes);
        strcat(more, line);
    }
    put_head(fd, from > 0 ? "206 Partial Content" : "200 OK", (long)s->n_bytes - from, more);
    put_body(s, fd, a, from);
    if (a->kind == HANG)
        hold(s, fd);
}

static void do_act(server *s, int fd, const act *a, const char *request)
{
    char line[256];
    switch (a->kind) {
    case MISSING:
        put_head(fd, "404 Not Found", 9, "Content-Type: text/html\r\n");
        put(fd, "not here\n", 9);
        break;
    case REDIRECT:
        if (a->to)
            snprintf(line, sizeof line, "Location: %s\r\n", a->to);
        else
            snprintf(line, sizeof line, "Location: http://127.0.0.1:%d/%c\r\n", s->port,
                     request[5]);
        put_head(fd, "302 Found", 6, line);
        put(fd, "moved\n", 6);
        break;
    case SILENT:
        hold(s, fd);
        break;
    case UNSIZED:
        put_head(fd, "200 OK", -1, "");
        put(fd, s->bytes, a->n < s->n_bytes ? a->n : s->n_bytes);
        for (size_t i = s->n_bytes; i < a->n; i++)
            put(fd, "", 1);
        break;
    case LARGER:
        put_head(fd, "200 OK", (long)a->n, "");
        put(fd, s->bytes, s->n_bytes);
        break;
    case PAGE:
        put_head(fd, "200 OK", 12, "Content-Type: text/html; charset=utf-8\r\n");
        put(fd, "please log in", 12);
        break;
    default:
        serve(s, fd, a, request);
    }
}

static void answer(server *s, int fd)
{
    char request[4096];
    size_t n = 0;
    while (n + 1 < sizeof request) {
        ssize_t got = recv(fd, request + n, sizeof request - 1 - n, 0);
        if (got <= 0)
            return;
        n += (size_t)got;
        request[n] = '\0';
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    const int m = request[5] - 'a';
    if (m < 0 || m >= MIRRORS || s->n_acts[m] == 0) {
        put_head(fd, "404 Not Found", 0, "");
        return;
    }
    const char *range = header(request, "\r\nRange: bytes=");
    const int64_t i = hl_flag_get(&s->n_seen);
    if (i < REQUESTS_MAX)
        s->seen[i] = (request_seen){request[5], range ? strtol(range, NULL, 10) : -1,
                                    header(request, "\r\nIf-Range: ") != NULL};
    hl_flag_add(&s->n_seen, 1);
    const int k = s->at[m] < s->n_acts[m] ? s->at[m]++ : s->n_acts[m] - 1;
    do_act(s, fd, &s->script[m][k], request);
}

static void serve_all(void *arg)
{
    server *s = arg;
    while (!hl_flag_get(&s->stop)) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        if (poll(&p, 1, 20) <= 0)
            continue;
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            continue;
        answer(s, fd);
        shutdown(fd, SHUT_RDWR);
        close(fd);
    }
}

static void server_start(server *s, const char *bytes, size_t n)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    s->bytes = bytes;
    s->n_bytes = n;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(s->fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(s->fd, 16) != 0 ||
        getsockname(s->fd, (struct sockaddr *)&at, &len) != 0 ||
        hl_thread_start("server", serve_all, s, &s->thread) != HL_OK)
        abort();
    s->port = ntohs(at.sin_port);
}

/* The next act of mirror 'a' .. 'd'. */
static void server_add(server *s, char mirror, act a)
{
    s->script[mirror - 'a'][s->n_acts[mirror - 'a']++] = a;
}

static void server_stop(server *s)
{
    hl_flag_set(&s->stop, 1);
    hl_thread_join(s->thread);
    close(s->fd);
}

#endif
