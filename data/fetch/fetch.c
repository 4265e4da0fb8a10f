/* One file from the first of several addresses that has it.
 *
 * DESIGN. Everything arrives in PATH.part, held by flock while a process works on it; the lock dies
 * with the process, the part stays. It becomes PATH by rename, after its size and sum were looked
 * at and its bytes are on disk, so PATH is whole whenever it exists. PATH.part.from has two lines:
 * the address that began the part and the server's word for that version of the file (ETag, else
 * Last-Modified). A part is continued where the same address would continue the same version, or
 * where a sum will tell. */
#define _GNU_SOURCE
#include "data/fetch/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/fetch/transfer.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

#define SUM_PIECE ((size_t)1 << 20)
#define FROM_MAX  ((size_t)16 << 10)

typedef struct job {
    const hl_fetch_params *p;
    hl_fetch_result *r;
    char *part, *from; /* paths */
    int fd;            /* of the part */
    const char *address;
    int64_t n_resumed; /* bytes of the part that were there before this call */
    hl_str faults;
    bool any_wrong; /* something came, but not the file */
} job;

hl_fetch_params hl_fetch_params_default(void)
{
    return (hl_fetch_params){.n_bytes = -1,
                             .max_bytes = (int64_t)16 << 30,
                             .connect_ms = 20000,
                             .stall_ms = 30000,
                             .pause_ms = 1000,
                             .n_tries = 5};
}

bool hl_fetch_is_built_in(void)
{
    return hl_transfer_is_built_in();
}

static bool is_stopped(const hl_flag *stop)
{
    return stop && hl_flag_get(stop);
}

static void tell(const job *j, hl_fetch_event_kind kind, int64_t have, int64_t total,
                 const char *message)
{
    const hl_fetch_event e = {kind, j->address, have, total, message};
    if (j->p->on_event)
        j->p->on_event(j->p->arg, &e);
}

/* ---- sums ------------------------------------------------------------------------------------ */

static hl_status sum_of(int fd, const char *path, const hl_flag *stop, const job *j,
                        char hex[HL_SHA256_HEX])
{
    hl_sha256 sum;
    int64_t have = 0, told_ns = hl_clock_mono_ns();
    unsigned char *piece = hl_alloc(SUM_PIECE);
    hl_status st = piece ? HL_OK : HL_E_NOMEM;
    struct stat info = {0};
    (void)fstat(fd, &info);
    hl_sha256_start(&sum);
    while (st == HL_OK) {
        const ssize_t got = pread(fd, piece, SUM_PIECE, (off_t)have);
        if (got < 0 && errno != EINTR)
            st = hl_err_set(HL_E_IO, "cannot read '%s': %s", path, strerror(errno));
        if (got == 0)
            break;
        if (got > 0) {
            hl_sha256_add(&sum, piece, (size_t)got);
            have += got;
        }
        if (is_stopped(stop))
            st = hl_err_set(HL_E_CANCELLED, "stopped");
        if (j && hl_clock_mono_ns() - told_ns > 100000000) {
            told_ns = hl_clock_mono_ns();
            tell(j, HL_FETCH_SUM, have, (int64_t)info.st_size, NULL);
        }
    }
    hl_sha256_finish(&sum, hex);
    hl_free(piece);
    return st;
}

hl_status hl_file_sha256(const char *path, const hl_flag *stop, char hex[HL_SHA256_HEX])
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return hl_err_set(errno == ENOENT ? HL_E_NOTFOUND : HL_E_IO, "cannot read '%s': %s", path,
                          strerror(errno));
    hl_status st = sum_of(fd, path, stop, NULL, hex);
    close(fd);
    return st;
}

/* Whether an open file is the one that is wanted. FORMAT: it is not; the message says why. */
static hl_status check_file(const job *j, int fd, const char *path)
{
    const hl_fetch_params *p = j->p;
    struct stat info;
    if (fstat(fd, &info) != 0)
        return hl_err_set(HL_E_IO, "cannot look at '%s': %s", path, strerror(errno));
    if (p->n_bytes >= 0 && (int64_t)info.st_size != p->n_bytes)
        return hl_err_set(HL_E_FORMAT, "it has %lld bytes, the published file %lld",
                          (long long)info.st_size, (long long)p->n_bytes);
    hl_status st = sum_of(fd, path, p->stop, j, j->r->sha256);
    if (st == HL_OK && p->sha256 && strcmp(p->sha256, j->r->sha256) != 0)
        st = hl_err_set(HL_E_FORMAT, "its sha256 is %s, that of the published file %s",
                        j->r->sha256, p->sha256);
    j->r->n_bytes = (int64_t)info.st_size;
    return st;
}

/* ---- what is there --------------------------------------------------------------------------- */

/* Sets r->was_there if the file is there and good. */
static hl_status look_for_file(job *j)
{
    const char *path = j->p->path;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return HL_OK;
    if (fd < 0)
        return hl_err_set(HL_E_IO, "cannot read '%s': %s", path, strerror(errno));
    hl_status st;
    if (hl_fs_is_dir(path))
        st = hl_err_set(HL_E_IO, "'%s' is a directory; a file shall be written there", path);
    else
        st = check_file(j, fd, path);
    close(fd);
    j->r->was_there = st == HL_OK;
    if (st == HL_E_FORMAT)
        (void)hl_err_context("'%s' is there and is left alone, but is another file; move it away "
                             "to fetch the published one",
                             path);
    return st;
}

/* Opens and locks the part. Who waits behind nobody: a second process is told so. A part that was
 * renamed or thrown away between opening and locking is opened anew. */
static hl_status open_part(job *j)
{
    for (int i = 0; i < 100; i++) {
        struct stat mine, there;
        j->fd = open(j->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (j->fd < 0)
            return hl_err_set(HL_E_IO, "cannot write '%s': %s", j->part, strerror(errno));
        if (flock(j->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
            return hl_err_set(HL_E_STATE, "'%s' is being fetched by another process", j->p->path);
        if (fstat(j->fd, &mine) == 0 && stat(j->part, &there) == 0 && mine.st_ino == there.st_ino)
            return HL_OK;
        close(j->fd);
        j->fd = -1;
    }
    return hl_err_set(HL_E_STATE, "'%s' changes all the time", j->part);
}

static int64_t part_bytes(const job *j)
{
    struct stat info;
    return fstat(j->fd, &info) == 0 ? (int64_t)info.st_size : 0;
}

static hl_status throw_part_away(job *j)
{
    j->n_resumed = 0;
    unlink(j->from);
    return ftruncate(j->fd, 0) == 0
               ? HL_OK
               : hl_err_set(HL_E_IO, "cannot write '%s': %s", j->part, strerror(errno));
}

/* The validator, if the part was begun from this address; else "". */
static void read_from(const job *j, char validator[HL_VALIDATOR_MAX])
{
    char *text = NULL;
    size_t n = 0;
    validator[0] = '\0';
    if (!hl_fs_exists(j->from) || hl_fs_read(j->from, FROM_MAX, &text, &n) != HL_OK) {
        hl_err_clear();
        return;
    }
    char *line = strchr(text, '\n'), *end = line ? strchr(line + 1, '\n') : NULL;
    if (end && (size_t)(end - line) <= HL_VALIDATOR_MAX) {
        *line = *end = '\0';
        if (strcmp(text, j->address) == 0)
            memcpy(validator, line + 1, (size_t)(end - line));
    }
    hl_free(text);
}

/* ---- one address ----------------------------------------------------------------------------- */

static hl_status on_start(void *arg, bool from_zero, const char *validator)
{
    job *j = arg;
    hl_str text = {0};
    if (!from_zero)
        return HL_OK;
    j->n_resumed = 0;
    unlink(j->from);
    if (!*validator)
        return HL_OK;
    hl_str_addf(&text, "%s\n%s\n", j->address, validator);
    hl_status st = hl_str_status(&text);
    if (st == HL_OK)
        st = hl_fs_write_atomic(j->from, text.s, text.n);
    hl_str_done(&text);
    return st;
}

static void on_bytes(void *arg, int64_t have, int64_t total)
{
    const job *j = arg;
    tell(j, HL_FETCH_BYTES, have, j->p->n_bytes >= 0 ? j->p->n_bytes : total, NULL);
}

/* Asks for what is missing. */
static hl_status ask(job *j, hl_transfer *t)
{
    const hl_fetch_params *p = j->p;
    const int64_t have = part_bytes(j);
    *t = (hl_transfer){.address = j->address,
                       .fd = j->fd,
                       .path = j->part,
                       .n_bytes = p->n_bytes,
                       .max_bytes = p->max_bytes,
                       .refuse_pages = !p->sha256,
                       .connect_ms = p->connect_ms,
                       .stall_ms = p->stall_ms,
                       .stop = p->stop,
                       .on_start = on_start,
                       .on_bytes = on_bytes,
                       .arg = j};
    read_from(j, t->validator);
    if ((p->sha256 || t->validator[0]) && (p->n_bytes < 0 || have <= p->n_bytes))
        t->offset = have;
    t->have = t->offset;
    t->end = HL_TRANSFER_DONE;
    if (have > 0 && t->offset == p->n_bytes)
        return HL_OK; /* all of it is there; a sum was all that was missing */
    tell(j, HL_FETCH_BEGIN, t->offset, p->n_bytes, NULL);
    hl_status st = hl_transfer_run(t);
    if (t->offset > 0 && !t->from_zero && j->n_resumed == 0 && st == HL_OK)
        j->n_resumed = t->offset;
    return st;
}

/* A pause that ends with a stop. */
static hl_status wait_a_moment(const job *j)
{
    for (int64_t left = j->p->pause_ms; left > 0; left -= 50) {
        if (is_stopped(j->p->stop))
            return hl_err_set(HL_E_CANCELLED, "stopped");
        hl_clock_sleep_ms(left < 50 ? left : 50);
    }
    return HL_OK;
}

/* What a failed address leaves to do. */
typedef enum next_step { STEP_AGAIN, STEP_NEXT, STEP_GIVE_UP, STEP_DONE } next_step;

typedef struct tries {
    int n_left;     /* after a break */
    bool was_fresh; /* the whole file was asked for once after a part turned out wrong */
} tries;

static next_step judge(job *j, const hl_transfer *t, hl_status st, tries *left)
{
    if (t->end == HL_TRANSFER_DONE && st == HL_OK) {
        st = check_file(j, j->fd, j->part);
        if (st == HL_OK)
            return STEP_DONE;
        if (st != HL_E_FORMAT)
            return STEP_GIVE_UP;
        const bool is_part = t->offset > 0 && !t->from_zero;
        j->any_wrong = true;
        tell(j, HL_FETCH_FAULT, t->have, j->p->n_bytes, hl_err_message());
        if (throw_part_away(j) != HL_OK)
            return STEP_GIVE_UP;
        const bool again = is_part && !left->was_fresh;
        left->was_fresh = true;
        return again ? STEP_AGAIN : STEP_NEXT;
    }
    if (t->end == HL_TRANSFER_FATAL)
        return STEP_GIVE_UP;
    tell(j, HL_FETCH_FAULT, t->have, j->p->n_bytes, hl_err_message());
    if (t->end == HL_TRANSFER_STALE) {
        const bool again = !left->was_fresh;
        left->was_fresh = true;
        if (throw_part_away(j) != HL_OK)
            return STEP_GIVE_UP;
        return again ? STEP_AGAIN : STEP_NEXT;
    }
    j->any_wrong |= st == HL_E_FORMAT;
    const bool brought = t->have > t->offset || t->from_zero;
    return t->end == HL_TRANSFER_BROKEN && brought && --left->n_left > 0 ? STEP_AGAIN : STEP_NEXT;
}

/* STEP_DONE: the part is the file. STEP_NEXT: not from here. STEP_GIVE_UP: with the error set. */
static next_step try_address(job *j, hl_status *st)
{
    tries left = {.n_left = j->p->n_tries};
    for (;;) {
        hl_transfer t;
        *st = ask(j, &t);
        const next_step step = judge(j, &t, *st, &left);
        if (step != STEP_AGAIN)
            return step;
        if (t.end == HL_TRANSFER_BROKEN)
            *st = wait_a_moment(j);
        else
            *st = is_stopped(j->p->stop) ? hl_err_set(HL_E_CANCELLED, "stopped") : HL_OK;
        if (*st != HL_OK)
            return STEP_GIVE_UP;
    }
}

static hl_status try_addresses(job *j)
{
    const hl_fetch_params *p = j->p;
    for (size_t i = 0; i < p->n_addresses; i++) {
        hl_status st = HL_OK;
        j->address = p->addresses[i];
        switch (try_address(j, &st)) {
        case STEP_DONE:
            j->r->address = j->address;
            return HL_OK;
        case STEP_GIVE_UP:
            return hl_err_code();
        default:
            hl_str_addf(&j->faults, "%s%s: %s", i ? "; " : "", j->address, hl_err_message());
        }
    }
    return hl_err_set(j->any_wrong ? HL_E_FORMAT : HL_E_IO, "'%s' could not be had: %s", p->path,
                      hl_str_text(&j->faults));
}

/* ---- the file -------------------------------------------------------------------------------- */

static hl_status make_file(job *j)
{
    hl_status st;
    if (fsync(j->fd) != 0 || rename(j->part, j->p->path) != 0)
        return hl_err_set(HL_E_IO, "cannot write '%s': %s", j->p->path, strerror(errno));
    unlink(j->from);
    char *dir = hl_fs_parent(j->p->path);
    st = dir ? hl_fs_sync_dir(dir) : HL_E_NOMEM;
    hl_free(dir);
    j->r->n_resumed = j->n_resumed;
    return st;
}

static hl_status check_params(const hl_fetch_params *p)
{
    if (!p->path || !*p->path || p->n_addresses == 0)
        return hl_err_set(HL_E_ARG, "a file to fetch needs a path and an address");
    if (p->sha256 && (strlen(p->sha256) != 64 || strspn(p->sha256, "0123456789abcdef") != 64))
        return hl_err_set(HL_E_ARG, "'%s' is no sha256 (64 digits, lower case)", p->sha256);
    for (size_t i = 0; i < p->n_addresses; i++) {
        const char *a = p->addresses[i];
        if (strncasecmp(a, "http://", 7) != 0 && strncasecmp(a, "https://", 8) != 0 &&
            strncasecmp(a, "file://", 7) != 0)
            return hl_err_set(HL_E_ARG,
                              "the address '%s' does not begin with http://, https:// or "
                              "file://",
                              a);
    }
    return HL_OK;
}

static hl_status not_built_in(job *j)
{
    const hl_fetch_params *p = j->p;
    for (size_t i = 0; i < p->n_addresses; i++)
        hl_str_addf(&j->faults, "%s%s", i ? " or " : "", p->addresses[i]);
    return hl_err_set(HL_E_UNSUPPORTED,
                      "this build has no libcurl: install it with its headers (Debian: "
                      "libcurl4-openssl-dev) and build again, or download by hand: %s to '%s'%s%s",
                      hl_str_text(&j->faults), p->path, p->sha256 ? ", sha256 " : "",
                      p->sha256 ? p->sha256 : "");
}

static hl_status fetch(job *j)
{
    hl_status st = HL_OK;
    char *dir = NULL;
    hl_str name = {0};
    HL_TRY(look_for_file(j));
    if (j->r->was_there)
        goto out;
    if (!hl_fetch_is_built_in())
        HL_TRY(not_built_in(j));
    hl_str_addf(&name, "%s.part", j->p->path);
    j->part = hl_strdup(hl_str_text(&name));
    hl_str_add(&name, ".from");
    j->from = hl_strdup(hl_str_text(&name));
    dir = hl_fs_parent(j->p->path);
    if (hl_str_status(&name) != HL_OK || !j->part || !j->from || !dir)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(hl_fs_make_dir(dir));
    HL_TRY(open_part(j));
    HL_TRY(look_for_file(j)); /* another process may have been first */
    if (!j->r->was_there) {
        HL_TRY(try_addresses(j));
        HL_TRY(make_file(j));
    }
out:
    hl_free(dir);
    hl_str_done(&name);
    return st;
}

hl_status hl_fetch(const hl_fetch_params *params, hl_fetch_result *out)
{
    hl_status st = check_params(params);
    if (st != HL_OK)
        return st;
    *out = (hl_fetch_result){0};
    job j = {.p = params, .r = out, .fd = -1};
    st = fetch(&j);
    if (j.fd >= 0) {
        /* an empty part says nothing; with the lock still held nobody else can have begun it */
        if (st != HL_E_STATE && part_bytes(&j) == 0 && (st != HL_OK || out->was_there)) {
            unlink(j.part);
            unlink(j.from);
        }
        close(j.fd);
    }
    hl_str_done(&j.faults);
    hl_free(j.part);
    hl_free(j.from);
    return st;
}
