/* One request through libcurl.
 *
 * DESIGN. The request is driven by curl's multi interface in slices of at most 100 ms, so that a
 * stop is seen soon whatever the network does. Headers are collected per answer (a redirect begins
 * a new one) and judged when the first byte of the body comes: then it is known whether the server
 * continues the part or sends the whole file, and how long it says the file is. From there on every
 * byte goes straight to the file. curl calls back from curl_multi_perform only, on this thread. */
#define _POSIX_C_SOURCE 200809L
#include "data/fetch/transfer.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/str.h"

#define SLICE_MS      100
#define EVENT_NS      INT64_C(50000000)
#define REDIRECTS_MAX 5
#define LEAST_RATE    64 /* bytes per second, below which a connection counts as stalled */

typedef struct request {
    hl_transfer *t;
    CURL *easy;
    char etag[HL_VALIDATOR_MAX], modified[HL_VALIDATOR_MAX];
    int64_t range_from, range_total; /* of Content-Range; -1: not said */
    int64_t total;                   /* of the whole file; -1: unknown */
    bool started;
    hl_status st; /* of what the callbacks did */
    char message[CURL_ERROR_SIZE];
} request;

bool hl_transfer_is_built_in(void)
{
    return true;
}

static hl_status ends(hl_transfer *t, hl_transfer_end end, hl_status st)
{
    t->end = end;
    return st;
}

/* ---- headers --------------------------------------------------------------------------------- */

/* The value of the header line, trimmed, if it has this name. */
static bool take_header(const char *line, size_t n, const char *name, char value[HL_VALIDATOR_MAX])
{
    const size_t n_name = strlen(name);
    if (n <= n_name || strncasecmp(line, name, n_name) != 0 || line[n_name] != ':')
        return false;
    const char *from = line + n_name + 1, *end = line + n;
    while (from < end && (*from == ' ' || *from == '\t'))
        from++;
    while (end > from && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    if ((size_t)(end - from) >= HL_VALIDATOR_MAX)
        return false;
    memcpy(value, from, (size_t)(end - from));
    value[end - from] = '\0';
    return true;
}

/* "bytes 100-199/200"; either side of the slash may be a star for unknown. */
static void read_range(request *r, char *text)
{
    char *slash = strchr(text, '/'), *dash = strchr(text, '-');
    if (strncasecmp(text, "bytes ", 6) != 0 || !slash)
        return;
    *slash = '\0';
    if (dash && dash < slash)
        *dash = '\0';
    if (hl_parse_i64(text + 6, &r->range_from) != HL_OK)
        r->range_from = -1;
    if (hl_parse_i64(slash + 1, &r->range_total) != HL_OK)
        r->range_total = -1;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    request *r = arg;
    char value[HL_VALIDATOR_MAX];
    if (n > 5 && strncmp(line, "HTTP/", 5) == 0) {
        r->etag[0] = r->modified[0] = '\0';
        r->range_from = r->range_total = -1;
    } else if (take_header(line, n, "ETag", value) && strncmp(value, "W/", 2) != 0) {
        memcpy(r->etag, value, sizeof value); /* a weak one does not promise the same bytes */
    } else if (take_header(line, n, "Last-Modified", value)) {
        memcpy(r->modified, value, sizeof value);
    } else if (take_header(line, n, "Content-Range", value)) {
        read_range(r, value);
    }
    return size * n;
}

/* ---- body ------------------------------------------------------------------------------------ */

static bool is_file(const request *r)
{
    return strncasecmp(r->t->address, "file:", 5) == 0;
}

static hl_status check_total(request *r)
{
    hl_transfer *t = r->t;
    if (t->n_bytes >= 0 && r->total >= 0 && r->total != t->n_bytes)
        return ends(t, HL_TRANSFER_REFUSED,
                    hl_err_set(HL_E_FORMAT, "it offers %lld bytes; the file has %lld",
                               (long long)r->total, (long long)t->n_bytes));
    if (r->total > t->max_bytes)
        return ends(t, HL_TRANSFER_REFUSED,
                    hl_err_set(HL_E_FORMAT, "it offers %lld bytes; at most %lld are taken",
                               (long long)r->total, (long long)t->max_bytes));
    return HL_OK;
}

static hl_status check_kind(request *r)
{
    const char *type = NULL;
    curl_easy_getinfo(r->easy, CURLINFO_CONTENT_TYPE, &type);
    if (!r->t->refuse_pages || !type || strncasecmp(type, "text/html", 9) != 0)
        return HL_OK;
    return ends(r->t, HL_TRANSFER_REFUSED,
                hl_err_set(HL_E_FORMAT, "it gives a web page (text/html), not the file"));
}

static hl_status start_body(request *r)
{
    hl_transfer *t = r->t;
    long code = 0;
    curl_off_t length = -1;
    curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_getinfo(r->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    const bool continues = t->offset > 0 && (is_file(r) || code == 206);
    if (continues && !is_file(r) && r->range_from != t->offset)
        return ends(t, HL_TRANSFER_STALE,
                    hl_err_set(HL_E_FORMAT,
                               "it was asked for what follows byte %lld and gave "
                               "something else",
                               (long long)t->offset));
    t->from_zero = !continues;
    t->have = continues ? t->offset : 0;
    r->total = r->range_total >= 0 ? r->range_total : length >= 0 ? t->have + length : -1;
    hl_status st = check_kind(r);
    if (st == HL_OK)
        st = check_total(r);
    if (st != HL_OK)
        return st;
    if (lseek(t->fd, (off_t)t->have, SEEK_SET) < 0 || ftruncate(t->fd, (off_t)t->have) != 0)
        return ends(t, HL_TRANSFER_FATAL, hl_err_set(HL_E_IO, "cannot write '%s'", t->path));
    st = t->on_start(t->arg, t->from_zero, r->etag[0] ? r->etag : r->modified);
    return st == HL_OK ? st : ends(t, HL_TRANSFER_FATAL, st);
}

static hl_status take_body(request *r, const char *bytes, size_t n)
{
    hl_transfer *t = r->t;
    if (!r->started) {
        r->started = true;
        hl_status st = start_body(r);
        if (st != HL_OK)
            return st;
    }
    const int64_t most = t->n_bytes >= 0 ? t->n_bytes : t->max_bytes;
    if ((int64_t)n > most - t->have)
        return ends(
            t, HL_TRANSFER_REFUSED,
            hl_err_set(HL_E_FORMAT, "it sends more than %lld bytes, %s", (long long)most,
                       t->n_bytes >= 0 ? "the size of the file" : "the most that are taken"));
    hl_status st = hl_fs_write_all(t->fd, bytes, n, t->path);
    if (st != HL_OK)
        return ends(t, HL_TRANSFER_FATAL, st);
    t->have += (int64_t)n;
    return HL_OK;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
    request *r = arg;
    r->st = take_body(r, bytes, n);
    return r->st == HL_OK ? size * n : size * n + 1; /* any other count makes curl give up */
}

/* ---- the request ----------------------------------------------------------------------------- */

static void set_protocols(CURL *easy, const char *address)
{
    const bool is_safe = strncasecmp(address, "https:", 6) == 0;
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https,file");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, is_safe ? "https" : "http,https");
#else
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
                     (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS | CURLPROTO_FILE));
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS,
                     (long)(is_safe ? CURLPROTO_HTTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static hl_status set_up(request *r, struct curl_slist **headers)
{
    hl_transfer *t = r->t;
    char text[HL_VALIDATOR_MAX + 16];
    set_protocols(r->easy, t->address);
    curl_easy_setopt(r->easy, CURLOPT_URL, t->address);
    curl_easy_setopt(r->easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(r->easy, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(r->easy, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->easy, CURLOPT_USERAGENT, "hoplab");
    curl_easy_setopt(r->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)t->connect_ms);
    curl_easy_setopt(r->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(r->easy, CURLOPT_HEADERDATA, (void *)r);
    curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, (void *)r);
    curl_easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->message);
    if (t->offset == 0)
        return HL_OK;
    /* as a range: of CURLOPT_RESUME_FROM curl makes an error when the server sends the whole */
    snprintf(text, sizeof text, "%lld-", (long long)t->offset);
    if (curl_easy_setopt(r->easy, CURLOPT_RANGE, text) != CURLE_OK)
        return hl_err_nomem("a request", sizeof text);
    if (!t->validator[0])
        return HL_OK;
    snprintf(text, sizeof text, "If-Range: %s", t->validator);
    *headers = curl_slist_append(NULL, text);
    if (!*headers)
        return hl_err_nomem("a request", sizeof text);
    curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, *headers);
    return HL_OK;
}

/* Asked for what follows the last byte, a server answers 416 and how long its file is. */
static hl_status judge_416(request *r)
{
    hl_transfer *t = r->t;
    if (r->range_total == t->offset) /* then all of it is here; its sum will be looked at */
        return ends(t, HL_TRANSFER_DONE, HL_OK);
    return ends(
        t, HL_TRANSFER_STALE,
        hl_err_set(HL_E_FORMAT, "its file does not go on after byte %lld", (long long)t->offset));
}

static hl_status judge(request *r, CURLcode rc)
{
    hl_transfer *t = r->t;
    const char *why = r->message[0] ? r->message : curl_easy_strerror(rc);
    long code = 0;
    curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &code);
    if (r->st != HL_OK)
        return r->st; /* the end is set beside it */
    switch (rc) {
    case CURLE_OK:
        if (!r->started && !(t->offset > 0 && is_file(r)))
            return ends(t, HL_TRANSFER_REFUSED, hl_err_set(HL_E_FORMAT, "it gives no bytes"));
        if (t->n_bytes >= 0 && t->have < t->n_bytes)
            return ends(t, HL_TRANSFER_BROKEN,
                        hl_err_set(HL_E_IO, "it ended after %lld of %lld bytes", (long long)t->have,
                                   (long long)t->n_bytes));
        return ends(t, HL_TRANSFER_DONE, HL_OK);
    case CURLE_OUT_OF_MEMORY:
        return ends(t, HL_TRANSFER_FATAL, hl_err_nomem("a transfer", 0));
    case CURLE_HTTP_RETURNED_ERROR:
        if (code == 416 && t->offset > 0)
            return judge_416(r);
        return ends(t, HL_TRANSFER_REFUSED, hl_err_set(HL_E_IO, "the server answers %ld", code));
    case CURLE_BAD_DOWNLOAD_RESUME:
    case CURLE_RANGE_ERROR:
        return ends(t, HL_TRANSFER_STALE, hl_err_set(HL_E_FORMAT, "%s", why));
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_HTTP2_STREAM:
        return ends(t, HL_TRANSFER_BROKEN, hl_err_set(HL_E_IO, "the connection broke: %s", why));
    default:
        return ends(t, HL_TRANSFER_REFUSED, hl_err_set(HL_E_IO, "%s", why));
    }
}

typedef struct watch {
    int64_t since_ns, event_ns, had; /* `had` bytes when this stretch began */
} watch;

/* false: it is time to give up, and t->end and the error say why */
static bool go_on(request *r, watch *w)
{
    hl_transfer *t = r->t;
    const int64_t now = hl_clock_mono_ns();
    const int64_t n_new = t->have - w->had;
    if (t->stop && hl_flag_get(t->stop)) {
        r->st = ends(t, HL_TRANSFER_FATAL, hl_err_set(HL_E_CANCELLED, "stopped"));
        return false;
    }
    if (r->started && now - w->event_ns >= EVENT_NS) {
        w->event_ns = now;
        t->on_bytes(t->arg, t->have, r->total);
    }
    if (now - w->since_ns < t->stall_ms * 1000000)
        return true;
    if (n_new * 1000 < LEAST_RATE * t->stall_ms) {
        r->st = ends(t, HL_TRANSFER_BROKEN,
                     hl_err_set(HL_E_IO, "%lld bytes in %.1f s: too slow", (long long)n_new,
                                (double)(now - w->since_ns) * 1e-9));
        return false;
    }
    w->since_ns = now;
    w->had = t->have;
    return true;
}

static hl_status drive(request *r, CURLM *multi)
{
    watch w = {.since_ns = hl_clock_mono_ns(), .had = r->t->have};
    for (;;) {
        int n_running = 0, n_left = 0;
        if (curl_multi_perform(multi, &n_running) != CURLM_OK)
            return ends(r->t, HL_TRANSFER_FATAL, hl_err_set(HL_E_INTERNAL, "libcurl fails"));
        const CURLMsg *m = curl_multi_info_read(multi, &n_left);
        if (m && m->msg == CURLMSG_DONE)
            return judge(r, m->data.result);
        if (!go_on(r, &w))
            return r->st;
        if (curl_multi_poll(multi, NULL, 0, SLICE_MS, NULL) != CURLM_OK)
            return ends(r->t, HL_TRANSFER_FATAL, hl_err_set(HL_E_INTERNAL, "libcurl fails"));
    }
}

hl_status hl_transfer_run(hl_transfer *t)
{
    hl_status st = HL_OK;
    struct curl_slist *headers = NULL;
    request r = {.t = t, .range_from = -1, .range_total = -1, .total = -1};
    t->have = t->offset;
    t->from_zero = false;
    t->end = HL_TRANSFER_FATAL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return hl_err_set(HL_E_INTERNAL, "libcurl does not start");
    CURLM *multi = curl_multi_init();
    r.easy = curl_easy_init();
    if (!multi || !r.easy) {
        st = hl_err_nomem("a transfer", 0);
        goto out;
    }
    HL_TRY(set_up(&r, &headers));
    if (curl_multi_add_handle(multi, r.easy) != CURLM_OK)
        HL_FAIL(HL_E_INTERNAL, "libcurl fails");
    st = drive(&r, multi);
    curl_multi_remove_handle(multi, r.easy);
out:
    curl_slist_free_all(headers);
    curl_easy_cleanup(r.easy);
    curl_multi_cleanup(multi);
    curl_global_cleanup();
    return st;
}
