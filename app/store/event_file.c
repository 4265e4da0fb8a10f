/* A window of the file is kept in memory: bytes [base, base + n). It slides forward with the
 * reading position and grows only for a record, or a search, that needs more. */
#define _GNU_SOURCE
#include "app/store/event_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/store/frame.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

#define WINDOW_BYTES    ((size_t)256 << 10)
#define DAMAGE_LIST_MAX 1000

struct hl_event_file {
    int fd;
    char *path;
    unsigned char *window;
    size_t n, cap;
    int64_t base, offset, size;
    int64_t searched_size; /* a search from offset that ended without a record saw this much */
    int64_t search_end;    /* no record is looked for from here on */
    int64_t n_records, record_offset, n_read;
    size_t n_damages;
    HL_VEC(hl_damage) damages;
};

hl_status hl_event_file_open(const char *path, hl_event_file **out)
{
    hl_status st = HL_OK;
    hl_event_file *f = hl_alloc_zero(1, sizeof *f);
    if (!f)
        return HL_E_NOMEM;
    f->searched_size = -1;
    f->search_end = INT64_MAX;
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0)
        HL_FAIL(errno == ENOENT ? HL_E_NOTFOUND : HL_E_IO, "cannot read %s: %s", path,
                strerror(errno));
    f->path = hl_strdup(path);
    if (!f->path) {
        st = HL_E_NOMEM;
        goto out;
    }
    *out = f;
out:
    if (st != HL_OK)
        hl_event_file_close(f);
    return st;
}

void hl_event_file_close(hl_event_file *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    hl_free(f->path);
    hl_free(f->window);
    hl_vec_done(&f->damages);
    hl_free(f);
}

static hl_status fill(hl_event_file *f, size_t want)
{
    while (f->n < want) {
        ssize_t got =
            pread(f->fd, f->window + f->n, f->cap - f->n, (off_t)(f->base + (int64_t)f->n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return hl_err_set(HL_E_IO, "cannot read %s at byte %lld: %s", f->path,
                              (long long)f->base + (long long)f->n, strerror(errno));
        if (got == 0)
            break;
        f->n += (size_t)got;
        f->n_read += got;
    }
    return HL_OK;
}

/* Makes bytes [at, at + want) readable at *p as far as the file has them; *have says how many of
 * them, or more, are there. */
static hl_status look_at(hl_event_file *f, int64_t at, size_t want, const unsigned char **p,
                         size_t *have)
{
    int64_t end = f->base + (int64_t)f->n;
    if (at < f->base || at + (int64_t)want > end) {
        struct stat sb;
        if (fstat(f->fd, &sb) != 0)
            return hl_err_set(HL_E_IO, "cannot read %s: %s", f->path, strerror(errno));
        f->size = sb.st_size;
        if (at + (int64_t)want > f->size)
            want = at < f->size ? (size_t)(f->size - at) : 0;
        size_t keep = at >= f->base && at < end ? (size_t)(end - at) : 0;
        if (keep)
            memmove(f->window, f->window + (at - f->base), keep);
        f->base = at;
        f->n = keep;
        size_t cap = want > WINDOW_BYTES ? want : WINDOW_BYTES;
        if (cap > f->cap) {
            unsigned char *grown = hl_realloc(f->window, cap);
            if (!grown)
                return HL_E_NOMEM;
            f->window = grown;
            f->cap = cap;
        }
        hl_status st = fill(f, want);
        if (st != HL_OK)
            return st;
        end = f->base + (int64_t)f->n;
        if (f->n > 0 && end > f->size) /* it has grown meanwhile */
            f->size = end;
    }
    *p = f->window + (at - f->base);
    *have = (size_t)(end - at);
    return HL_OK;
}

static hl_status check_at(hl_event_file *f, int64_t at, hl_frame *frame, hl_frame_check *check)
{
    const unsigned char *p = NULL;
    size_t have = 0;
    hl_status st = look_at(f, at, HL_FRAME_HEAD_BYTES, &p, &have);
    if (st != HL_OK)
        return st;
    *check = hl_frame_look(p, have, frame);
    if (*check != HL_FRAME_SHORT || have < HL_FRAME_HEAD_BYTES)
        return HL_OK;
    st = look_at(f, at, frame->total, &p, &have);
    if (st == HL_OK)
        *check = hl_frame_look(p, have, frame);
    return st;
}

/* The first valid record after the bad one at f->offset; -1 if there is none yet. */
static hl_status find_next_record(hl_event_file *f, size_t bad_total, int64_t *found)
{
    hl_frame frame;
    hl_frame_check check;
    hl_status st;
    *found = -1;
    if (bad_total) { /* its length can be believed, so look right behind it */
        st = check_at(f, f->offset + (int64_t)bad_total, &frame, &check);
        if (st != HL_OK || check == HL_FRAME_OK) {
            *found = f->offset + (int64_t)bad_total;
            return st;
        }
    }
    for (int64_t at = f->offset + 1; at + HL_FRAME_EXTRA_BYTES <= f->size && at < f->search_end;
         at++) {
        const unsigned char *p = NULL;
        size_t have = 0;
        st = look_at(f, at, HL_FRAME_HEAD_BYTES, &p, &have);
        if (st != HL_OK)
            return st;
        check = hl_frame_look(p, have, &frame);
        if (check == HL_FRAME_BAD_LENGTH)
            continue;
        st = check_at(f, at, &frame, &check);
        if (st != HL_OK)
            return st;
        if (check == HL_FRAME_OK) {
            *found = at;
            return HL_OK;
        }
    }
    return HL_OK;
}

static hl_status note_damage(hl_event_file *f, int64_t offset, int64_t n_bytes, const char *reason)
{
    f->n_damages++;
    if (f->damages.n == DAMAGE_LIST_MAX)
        return HL_OK;
    return hl_vec_push(&f->damages, ((hl_damage){offset, n_bytes, reason}));
}

/* What was read past the last record may have been half written: read it anew next time. */
static void forget_tail(hl_event_file *f)
{
    if (f->offset < f->base || f->offset > f->base + (int64_t)f->n) {
        f->base = f->offset;
        f->n = 0;
    } else {
        f->n = (size_t)(f->offset - f->base);
    }
}

/* Moves over a damaged place. *moved = false: nothing valid behind it, wait. */
static hl_status skip_damage(hl_event_file *f, hl_frame_check check, size_t total, bool *moved)
{
    *moved = false;
    if (f->size == f->searched_size)
        return HL_OK;
    int64_t found, size = f->size;
    hl_status st = find_next_record(f, check == HL_FRAME_BAD_PAYLOAD ? total : 0, &found);
    if (st != HL_OK)
        return st;
    if (found < 0) {
        f->searched_size = size;
        return HL_OK;
    }
    st = note_damage(f, f->offset, found - f->offset,
                     check == HL_FRAME_BAD_PAYLOAD ? "checksum of the contents does not match"
                                                   : "not the start of a record");
    f->offset = found;
    *moved = true;
    return st;
}

hl_status hl_event_file_next(hl_event_file *f, const unsigned char **payload, size_t *n, bool *got)
{
    *got = false;
    for (;;) {
        hl_frame frame;
        hl_frame_check check;
        hl_status st = check_at(f, f->offset, &frame, &check);
        if (st != HL_OK)
            return st;
        if (check == HL_FRAME_OK) {
            f->record_offset = f->offset;
            f->offset += (int64_t)frame.total;
            f->searched_size = -1;
            f->n_records++;
            *payload = frame.payload;
            *n = frame.n;
            *got = true;
            return HL_OK;
        }
        bool moved = false;
        if (check != HL_FRAME_SHORT)
            st = skip_damage(f, check, frame.total, &moved);
        if (st != HL_OK || !moved) {
            forget_tail(f);
            return st;
        }
    }
}

void hl_event_file_seek(hl_event_file *f, int64_t offset, int64_t search_end)
{
    f->offset = offset;
    f->search_end = search_end;
    f->searched_size = -1;
}

void hl_event_file_reject(hl_event_file *f, const char *reason)
{
    f->n_records--;
    if (note_damage(f, f->record_offset, f->offset - f->record_offset, reason) != HL_OK)
        hl_err_clear(); /* counted, only not remembered */
}

const char *hl_event_file_path(const hl_event_file *f)
{
    return f->path;
}

int64_t hl_event_file_offset(const hl_event_file *f)
{
    return f->offset;
}

int64_t hl_event_file_record(const hl_event_file *f)
{
    return f->record_offset;
}

int64_t hl_event_file_bytes_read(const hl_event_file *f)
{
    return f->n_read;
}

bool hl_event_file_has_shrunk(const hl_event_file *f)
{
    return f->size < f->offset;
}

int64_t hl_event_file_records(const hl_event_file *f)
{
    return f->n_records;
}

int64_t hl_event_file_pending(const hl_event_file *f)
{
    return f->size > f->offset ? f->size - f->offset : 0;
}

size_t hl_event_file_damages(const hl_event_file *f)
{
    return f->n_damages;
}

const hl_damage *hl_event_file_damage(const hl_event_file *f, size_t i)
{
    return i < f->damages.n ? &f->damages.at[i] : NULL;
}
