#include "data/series/npy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

struct hl_npy {
    FILE *file;
    char *path, *part;
    int64_t n_wanted, n;
};

static hl_status failed(const hl_npy *f)
{
    return hl_err_set(HL_E_IO, "cannot write '%s': %s", f->part, strerror(errno));
}

void hl_npy_discard(hl_npy *f)
{
    if (!f)
        return;
    if (f->file) {
        (void)fclose(f->file);
        (void)remove(f->part);
    }
    hl_free(f->path);
    hl_free(f->part);
    hl_free(f);
}

/* Magic, version, length, and a Python literal, padded so that the numbers begin at a multiple of
 * 64. */
static hl_status put_header(hl_npy *f, const int64_t *dim, int rank)
{
    enum { FIXED = 10 };
    hl_status st = HL_OK;
    hl_str b = {0};
    hl_str_add(&b, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < rank; i++)
        hl_str_addf(&b, "%lld,%s", (long long)dim[i], i + 1 < rank ? " " : "");
    hl_str_add(&b, "), }");
    while ((FIXED + b.n + 1) % 64 != 0 && !b.failed)
        hl_str_addc(&b, ' ');
    hl_str_addc(&b, '\n');
    HL_TRY(hl_str_status(&b));
    const unsigned char head[FIXED] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(b.n & 255), (unsigned char)(b.n >> 8)};
    if (fwrite(head, 1, FIXED, f->file) != FIXED || fwrite(b.s, 1, b.n, f->file) != b.n)
        st = failed(f);
out:
    hl_str_done(&b);
    return st;
}

hl_status hl_npy_open(const char *path, const int64_t *dim, int rank, hl_npy **out)
{
    hl_status st = HL_OK;
    hl_str part = {0};
    hl_npy *f = hl_alloc_zero(1, sizeof *f);
    if (!f)
        return HL_E_NOMEM;
    f->n_wanted = 1;
    for (int i = 0; i < rank; i++)
        f->n_wanted *= dim[i] > 0 ? dim[i] : 0;
    if (rank < 1 || rank > 6)
        HL_FAIL(HL_E_ARG, "an array of %d dimensions is not written", rank);
    hl_str_addf(&part, "%s.part", path);
    HL_TRY(hl_str_status(&part));
    f->part = part.s;
    part = (hl_str){0};
    f->path = hl_strdup(path);
    if (!f->path) {
        st = HL_E_NOMEM;
        goto out;
    }
    f->file = fopen(f->part, "wb");
    if (!f->file)
        HL_TRY(failed(f));
    HL_TRY(put_header(f, dim, rank));
    *out = f;
    f = NULL;
out:
    hl_str_done(&part);
    hl_npy_discard(f);
    return st;
}

hl_status hl_npy_add(hl_npy *f, const float *v, int64_t n)
{
    f->n += n;
    return fwrite(v, sizeof *v, (size_t)n, f->file) == (size_t)n ? HL_OK : failed(f);
}

hl_status hl_npy_close(hl_npy *f)
{
    hl_status st = HL_OK;
    if (f->n != f->n_wanted)
        HL_FAIL(HL_E_STATE, "'%s' has %lld of %lld numbers", f->part, (long long)f->n,
                (long long)f->n_wanted);
    const int closed = fclose(f->file);
    f->file = NULL;
    if (closed != 0 || rename(f->part, f->path) != 0) {
        st = failed(f);
        (void)remove(f->part);
    }
out:
    hl_npy_discard(f);
    return st;
}
