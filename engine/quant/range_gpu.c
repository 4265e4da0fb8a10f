#include "engine/quant/range_gpu.h"

#include <string.h>

#include "engine/base/mem.h"

enum { HALF = 65536 };

void hl_range_device_done(hl_range_device *d)
{
    if (d->room)
        hl_gpu_get()->free(d->gpu, d->room);
    d->room = NULL;
    d->bytes = 0;
}

static hl_status make_room(hl_range_device *d, size_t bytes)
{
    if (bytes <= d->bytes)
        return HL_OK;
    hl_range_device_done(d);
    d->room = hl_gpu_get()->alloc(d->gpu, bytes);
    d->bytes = d->room ? bytes : 0;
    return d->room ? HL_OK
                   : hl_err_set(HL_E_NOMEM, "not enough memory on the device to find a range");
}

/* What kernels have left in device memory. */
static hl_status fetch(hl_range_device *d, void *to, const void *from, size_t bytes)
{
    const hl_gpu_backend *b = hl_gpu_get();
    b->copy(d->gpu, to, from, bytes);
    const hl_status st = b->wait(d->gpu);
    return st == HL_OK ? HL_OK : hl_err_set(st, "%s", b->error(d->gpu));
}

hl_status hl_range_gpu_extremes(hl_range_device *d, int64_t n, const float *x, float ends[2])
{
    hl_status st = make_room(d, (2 + 3 * HL_GPU_TENSOR_PARTS) * sizeof(float));
    if (st != HL_OK)
        return st;
    float *out = d->room;
    hl_gpu_get()->extremes(d->gpu, n, x, out, out + 2);
    return fetch(d, ends, out, 2 * sizeof *ends);
}

hl_status hl_range_gpu_counts(hl_range_device *d, int64_t n, const float *x, int64_t upper,
                              int64_t *counts)
{
    hl_status st = make_room(d, HALF * sizeof(int32_t));
    unsigned char *narrow = (unsigned char *)counts + HALF * sizeof(int32_t);
    if (st != HL_OK)
        return st;
    hl_gpu_get()->key_counts(d->gpu, n, x, upper, d->room);
    st = fetch(d, narrow, d->room, HALF * sizeof(int32_t));
    for (size_t i = 0; i < HALF; i++) { /* widened in place: what is written was read before */
        int32_t count;
        memcpy(&count, narrow + i * sizeof count, sizeof count);
        counts[i] = count;
    }
    return st;
}

hl_status hl_range_gpu_errors(hl_range_device *d, const hl_range_rows *rows, int64_t piece,
                              hl_quant_grid grid, double *sums)
{
    const int64_t n = rows->n_rows * ((rows->n_cols + piece - 1) / piece);
    const size_t bytes = (size_t)n * sizeof *sums;
    hl_status st = make_room(d, bytes);
    if (st != HL_OK)
        return st;
    hl_gpu_get()->quant_errors(d->gpu, rows->n_rows, rows->n_cols, piece, rows->x, grid, d->room);
    return fetch(d, sums, d->room, bytes);
}

hl_status hl_range_gpu_losses(hl_range_device *d, const hl_range_rows *rows, int64_t n,
                              const hl_quant_grid *grids, double *losses)
{
    const size_t bytes = (size_t)n * sizeof *losses;
    hl_status st = make_room(d, bytes + (size_t)n * sizeof *grids);
    if (st != HL_OK)
        return st;
    void *there = (unsigned char *)d->room + bytes;
    hl_gpu_get()->copy(d->gpu, there, grids, (size_t)n * sizeof *grids);
    hl_gpu_get()->quant_losses(d->gpu, rows->n_rows, rows->n_cols, rows->x, n, there, d->room);
    return fetch(d, losses, d->room, bytes);
}
