/* DESIGN. Only the holder of KEY.lock writes. Tokens are appended to KEY.partial, whose header
 * stays empty; every sync_bytes of text it is flushed to disk and then KEY.progress, a small
 * record, replaced: so what the record counts is there. A build goes on from the record, throwing
 * away what was appended behind it, if the checksum of the tokens holds. The header is written
 * last, then the file gets its name: a file KEY.tokens was complete once. The lock is the kernel's
 * (fcntl): it ends with its process. Its file stays, since removing it would let two processes lock
 * two files. */
#define _POSIX_C_SOURCE 200809L
#include "data/text/token_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/crc32c.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

#define SYNC_BYTES ((size_t)64 << 20)
#define WAIT_MS    100 /* between two looks at a lock that another process holds */

/* What is on disk for certain. */
typedef struct record {
    uint64_t key, part, at; /* the next unit begins at byte `at` of this part's text */
    hl_token_counts counts;
    uint32_t tokens_crc, crc; /* crc: of all before */
} record;

typedef struct build {
    const hl_token_cache *c;
    char *tokens, *partial, *progress, *lock; /* paths */
    int lock_fd, fd;
    record now;
    size_t unsynced; /* bytes of text behind the last record */
} build;

static hl_status io_fault(const char *what, const char *path)
{
    return hl_err_set(HL_E_IO, "cannot %s %s: %s", what, path, strerror(errno));
}

/* ---- names ----------------------------------------------------------------------------------- */

static char *name_of(const hl_token_cache *c, const char *end)
{
    char name[40];
    snprintf(name, sizeof name, "%016llx.%s", (unsigned long long)hl_token_file_key(&c->id), end);
    return hl_fs_join(c->dir, name);
}

static hl_status open_build(build *b)
{
    b->tokens = name_of(b->c, "tokens");
    b->partial = name_of(b->c, "partial");
    b->progress = name_of(b->c, "progress");
    b->lock = name_of(b->c, "lock");
    return b->tokens && b->partial && b->progress && b->lock ? HL_OK : HL_E_NOMEM;
}

static void close_build(build *b)
{
    if (b->fd >= 0)
        close(b->fd);
    if (b->lock_fd >= 0)
        close(b->lock_fd); /* and with it the lock */
    hl_free(b->tokens);
    hl_free(b->partial);
    hl_free(b->progress);
    hl_free(b->lock);
}

/* ---- progress -------------------------------------------------------------------------------- */

static hl_status cancelled(const build *b)
{
    return hl_err_set(HL_E_CANCELLED, "tokenising was cancelled; the next time it goes on from %s",
                      b->partial);
}

static hl_status report(const build *b)
{
    const hl_token_cache *c = b->c;
    int64_t done = 0, total = 0;
    for (uint64_t part = 0; part < HL_PART_COUNT; part++) {
        const hl_encode_job *j = &c->part[part];
        const size_t at = part < b->now.part ? j->to : part > b->now.part ? j->from : b->now.at;
        done += (int64_t)(at - j->from);
        total += (int64_t)(j->to - j->from);
    }
    const bool goes_on = !c->on_progress || c->on_progress(c->progress_arg, done, total);
    return goes_on ? HL_OK : cancelled(b);
}

static hl_status take_lock(build *b)
{
    b->lock_fd = open(b->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (b->lock_fd < 0)
        return io_fault("open", b->lock);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    for (bool said = false; fcntl(b->lock_fd, F_SETLK, &whole) != 0;) {
        if (errno != EACCES && errno != EAGAIN && errno != EINTR)
            return io_fault("lock", b->lock);
        if (!said)
            hl_log(HL_LOG_INFO, "another process is making %s; waiting for it", b->tokens);
        said = true;
        hl_status st = report(b);
        if (st != HL_OK)
            return st;
        hl_clock_sleep_ms(WAIT_MS);
    }
    return HL_OK;
}

/* Everything written so far is made to last, then said to. */
static hl_status write_record(build *b)
{
    if (fsync(b->fd) != 0)
        return io_fault("write", b->partial);
    b->now.crc = hl_crc32c(0, &b->now, offsetof(record, crc));
    b->unsynced = 0;
    return hl_fs_write_atomic(b->progress, &b->now, sizeof b->now);
}

/* ---- going on -------------------------------------------------------------------------------- */

static bool is_sound(const build *b, const record *r)
{
    return r->crc == hl_crc32c(0, r, offsetof(record, crc)) &&
           r->key == hl_token_file_key(&b->c->id) && r->part < HL_PART_COUNT &&
           r->at >= b->c->part[r->part].from && r->at <= b->c->part[r->part].to &&
           r->counts.n_tokens[0] <= INT32_MAX * (uint64_t)INT16_MAX &&
           r->counts.n_tokens[1] <= INT32_MAX * (uint64_t)INT16_MAX;
}

/* Bytes of tokens that the record speaks of. */
static size_t token_bytes(const build *b, const record *r)
{
    return (size_t)(r->counts.n_tokens[0] + r->counts.n_tokens[1]) * b->c->id.width;
}

/* Whether KEY.progress is there and what it says holds for KEY.partial. */
static bool find_record(const build *b, record *out)
{
    char *bytes = NULL;
    size_t n = 0;
    hl_fs_map map = {0};
    bool is_good = false;
    if (hl_fs_read(b->progress, sizeof *out, &bytes, &n) == HL_OK && n == sizeof *out) {
        memcpy(out, bytes, n);
        is_good = is_sound(b, out) && hl_fs_map_open(b->partial, &map) == HL_OK;
    }
    if (is_good) {
        const size_t n_tokens = token_bytes(b, out);
        is_good = map.n >= HL_TOKEN_FILE_HEADER && map.n - HL_TOKEN_FILE_HEADER >= n_tokens &&
                  hl_crc32c(0, map.bytes + HL_TOKEN_FILE_HEADER, n_tokens) == out->tokens_crc;
    }
    hl_fs_map_close(&map);
    hl_free(bytes);
    hl_err_clear();
    return is_good;
}

static hl_status open_partial(build *b)
{
    record r;
    const bool goes_on = find_record(b, &r);
    b->now = goes_on ? r : (record){.key = hl_token_file_key(&b->c->id), .at = b->c->part[0].from};
    b->fd = open(b->partial, O_RDWR | O_CREAT | O_CLOEXEC | (goes_on ? 0 : O_TRUNC), 0666);
    if (b->fd < 0)
        return io_fault("write", b->partial);
    const off_t end = (off_t)(HL_TOKEN_FILE_HEADER + token_bytes(b, &b->now));
    if (ftruncate(b->fd, end) != 0 || lseek(b->fd, end, SEEK_SET) != end)
        return io_fault("write", b->partial);
    if (goes_on)
        hl_log(HL_LOG_INFO, "tokenising goes on from %s", b->partial);
    else if (hl_fs_exists(b->progress))
        hl_log(HL_LOG_WARN, "%s does not fit %s; tokenising starts again", b->progress, b->partial);
    return HL_OK;
}

/* ---- making ---------------------------------------------------------------------------------- */

static hl_status put(void *arg, const hl_token_list *tokens, size_t n_bytes, size_t at)
{
    build *b = arg;
    const size_t n = tokens->n * b->c->id.width;
    hl_status st = hl_fs_write_all(b->fd, tokens->at, n, b->partial);
    if (st != HL_OK)
        return st;
    b->unsynced += at - (size_t)b->now.at;
    b->now.at = at;
    b->now.tokens_crc = hl_crc32c(b->now.tokens_crc, tokens->at, n);
    b->now.counts.n_tokens[b->now.part] += tokens->n;
    b->now.counts.n_bytes[b->now.part] += n_bytes;
    if (b->unsynced >= (b->c->sync_bytes ? b->c->sync_bytes : SYNC_BYTES))
        st = write_record(b);
    return st == HL_OK ? report(b) : st;
}

static hl_status encode_rest(build *b)
{
    for (;;) {
        hl_encode_job job = b->c->part[b->now.part];
        job.from = (size_t)b->now.at;
        hl_status st = job.from < job.to ? hl_encode_run(&job, b->c->team, put, b) : HL_OK;
        if (st == HL_E_CANCELLED) {
            hl_status kept = write_record(b);
            return kept == HL_OK ? cancelled(b) : kept;
        }
        if (st != HL_OK || b->now.part + 1 == HL_PART_COUNT)
            return st;
        b->now.part++;
        b->now.at = b->c->part[b->now.part].from;
    }
}

static hl_status seal(build *b)
{
    hl_fs_map map;
    hl_status st = hl_fs_map_open(b->partial, &map);
    if (st != HL_OK)
        return st;
    const unsigned char *first = map.bytes + HL_TOKEN_FILE_HEADER;
    const void *at[] = {first, first + (size_t)b->now.counts.n_tokens[0] * b->c->id.width};
    const uint64_t hash = hl_token_hash(&b->c->id, &b->now.counts, at);
    hl_fs_map_close(&map);
    st = hl_token_file_seal(b->fd, b->partial, &b->c->id, &b->now.counts, hash);
    if (st == HL_OK && fsync(b->fd) != 0)
        st = io_fault("write", b->partial);
    if (st == HL_OK && rename(b->partial, b->tokens) != 0)
        st = io_fault("replace", b->tokens);
    if (st != HL_OK)
        return st;
    (void)unlink(b->progress);
    return hl_fs_sync_dir(b->c->dir);
}

static hl_status make(build *b)
{
    hl_status st = open_partial(b);
    if (st == HL_OK)
        st = encode_rest(b);
    return st == HL_OK ? seal(b) : st;
}

/* NOTFOUND and FORMAT mean that it has to be made. */
static bool is_missing(hl_status st)
{
    return st == HL_E_NOTFOUND || st == HL_E_FORMAT;
}

hl_status hl_token_cache_open(const hl_token_cache *c, hl_token_file *out)
{
    hl_status st = HL_OK;
    build b = {.c = c, .fd = -1, .lock_fd = -1, .now.at = c->part[0].from};
    HL_TRY(open_build(&b));
    st = hl_token_file_open(b.tokens, &c->id, out);
    if (!is_missing(st))
        goto out;
    HL_TRY(hl_fs_make_dir(c->dir));
    HL_TRY(take_lock(&b));
    st = hl_token_file_open(b.tokens, &c->id, out); /* perhaps made while we waited */
    if (!is_missing(st))
        goto out;
    if (st == HL_E_FORMAT)
        hl_log(HL_LOG_WARN, "%s; it is made again", hl_err_message());
    HL_TRY(make(&b));
    HL_TRY(hl_token_file_open(b.tokens, &c->id, out));
out:
    close_build(&b);
    return st;
}
