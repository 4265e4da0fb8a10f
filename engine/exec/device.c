#include "engine/exec/device.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/str.h"

static hl_device *current;

static hl_status no_device(const char *name, const char *why)
{
    return hl_err_set(HL_E_DEVICE, "--device %s: %s; use --device cpu", name, why);
}

/* The number behind "cuda:", 0 without one; -1: neither. */
static int index_of(const char *name)
{
    if (strcmp(name, "cuda") == 0)
        return 0;
    if (strncmp(name, "cuda:", 5) != 0 || !name[5])
        return -1;
    char *end;
    const long n = strtol(name + 5, &end, 10);
    return *end || n < 0 || n > 1023 ? -1 : (int)n;
}

static hl_status open_at(const char *name, int index, int count, hl_device **out)
{
    const hl_gpu_backend *b = hl_gpu_get();
    char why[200];
    if (index >= count)
        return hl_err_set(HL_E_DEVICE, "--device %s: there %s %d (cuda:0%s)", name,
                          count == 1 ? "is only" : "are only", count, count > 1 ? " and on" : "");
    hl_device *d = hl_alloc_zero(1, sizeof *d);
    if (!d)
        return HL_E_NOMEM;
    if (b->open(index, &d->gpu, why, sizeof why) != HL_OK) {
        hl_free(d);
        return no_device(name, why);
    }
    b->info(d->gpu, &d->info);
    *out = current = d;
    return HL_OK;
}

hl_status hl_device_check(const char *name)
{
    if (strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0)
        return HL_OK;
    if (index_of(name) < 0)
        return hl_err_set(HL_E_ARG, "--device must be auto, cpu or cuda[:N], not '%s'", name);
    return hl_gpu_get() ? HL_OK : no_device(name, "this build has no CUDA engine");
}

hl_status hl_device_open(const char *name, hl_device **out)
{
    const hl_gpu_backend *b = hl_gpu_get();
    const bool automatic = strcmp(name, "auto") == 0;
    char why[200];
    *out = NULL;
    const hl_status st = hl_device_check(name);
    if (st != HL_OK || strcmp(name, "cpu") == 0 || !b)
        return st;
    const int count = b->count(why, sizeof why);
    if (count == 0)
        return automatic ? HL_OK : no_device(name, why);
    return open_at(name, automatic ? 0 : index_of(name), count, out);
}

hl_status hl_device_allow_tf32(hl_device *d)
{
    if (!d)
        return hl_err_set(HL_E_DEVICE,
                          "--precision tf32 is of a GPU, and the run has none; use fp32 or bf16");
    d->tf32 = true;
    hl_gpu_get()->allow_tf32(d->gpu, true);
    return HL_OK;
}

hl_status hl_device_use_f16(hl_device *d)
{
    if (!d)
        return hl_err_set(HL_E_DEVICE,
                          "--precision fp16 is of a GPU, and the run has none; use fp32 or bf16");
    hl_gpu_get()->use_f16(d->gpu, true);
    return HL_OK;
}

hl_device *hl_device_current(void)
{
    return current;
}

void hl_device_close(hl_device *d)
{
    if (!d)
        return;
    const hl_gpu_backend *b = hl_gpu_get();
    b->free(d->gpu, d->arena);
    b->close(d->gpu);
    if (current == d)
        current = NULL;
    hl_free(d);
}

int64_t hl_device_available_bytes(const hl_device *d)
{
    hl_gpu_info info;
    if (!d)
        return hl_mem_available_bytes();
    hl_gpu_get()->info(d->gpu, &info);
    return (int64_t)info.free_bytes;
}

void hl_device_describe(hl_str *out)
{
    const hl_gpu_backend *b = hl_gpu_get();
    char why[200] = "built without CUDA", total[24];
    const hl_device *d = current;
    if (!d) {
        const int n = b ? b->count(why, sizeof why) : 0;
        if (n)
            hl_str_addf(out, "%d CUDA device%s, not opened", n, n > 1 ? "s" : "");
        else
            hl_str_addf(out, "none: %s", why);
        return;
    }
    hl_str_addf(out, "cuda:%d, %s, %s, compute %d.%d", d->info.index, d->info.name,
                hl_format_bytes(total, (int64_t)d->info.total_bytes), d->info.major, d->info.minor);
}

hl_status hl_device_arena(hl_device *d, size_t bytes)
{
    const hl_gpu_backend *b = hl_gpu_get();
    if (d->arena_bytes >= bytes)
        return HL_OK;
    b->free(d->gpu, d->arena);
    d->arena = b->alloc(d->gpu, bytes);
    d->arena_bytes = d->arena ? bytes : 0;
    return d->arena ? HL_OK : HL_E_NOMEM;
}
