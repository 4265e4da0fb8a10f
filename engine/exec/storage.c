#include "engine/exec/storage.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/mem_thread.h"
#include "engine/base/str.h"
#include "engine/exec/device.h"
#include "kernels/vec/bf16_body.h"

/* What is smaller than a few numbers is copied to a device faster than it is mapped. */
enum { SCALAR_BYTES = 64, SMALL_BYTES = 65536, LARGE_BYTES = 4 << 20, RESERVE = 256 << 20 };

/* Linux gives more than it has and kills later. What lives already may not have been touched yet, so
 * it counts against all that this process could ever have. */
int64_t hl_storage_room(void)
{
    int64_t room = hl_mem_available_bytes();
    if (room < 0)
        return -1;
    room += hl_mem_process_bytes() - hl_mem_get_stats().live_bytes - RESERVE;
    return room < 0 ? 0 : room;
}

static hl_status check_room(const hl_type *type, size_t bytes)
{
    char what[96], need[24], have[24];
    const int64_t available = bytes < LARGE_BYTES ? -1 : hl_storage_room();
    if (available < 0 || (int64_t)bytes <= available)
        return HL_OK;
    return hl_err_set(HL_E_NOMEM,
                      "not enough memory: a tensor %s needs %s, %s is available; make the model or "
                      "the batch smaller",
                      hl_type_text(what, type), hl_format_bytes(need, (int64_t)bytes),
                      hl_format_bytes(have, available));
}

hl_status hl_storage_new(const hl_type *type, bool fp64, hl_storage **out)
{
    const hl_dtype stored = fp64 && type->dtype == HL_DTYPE_F32 ? HL_DTYPE_F64 : type->dtype;
    const size_t bytes = (size_t)hl_type_count(type) * hl_dtype_bytes(stored);
    hl_status st = check_room(type, bytes);
    if (st != HL_OK)
        return st;
    if (bytes < SMALL_BYTES && !hl_mem_thread_add((int64_t)bytes)) /* blocks count themselves */
        return HL_E_NOMEM;
    hl_storage *s = hl_alloc_zero(1, sizeof *s);
    if (!s)
        return HL_E_NOMEM;
    s->type = *type;
    s->stored = stored;
    s->bytes = bytes;
    s->refs = 1;
    /* small ones by the thousand would waste a page each */
    const hl_device *d = s->bytes > SCALAR_BYTES ? hl_device_current() : NULL;
    s->shared = d != NULL;
    s->data = d                           ? hl_gpu_get()->alloc_shared(d->gpu, s->bytes)
              : s->bytes >= SMALL_BYTES ? hl_block_new(s->bytes)
                                        : hl_alloc_zero(1, s->bytes + 64);
    if (!s->data) {
        char what[96], need[24];
        hl_free(s);
        return d ? hl_err_set(HL_E_NOMEM,
                              "not enough memory on cuda:%d: a tensor %s needs %s; make the model or the "
                              "batch smaller",
                              d->info.index, hl_type_text(what, type), hl_format_bytes(need, (int64_t)bytes))
                 : HL_E_NOMEM;
    }
    *out = s;
    return HL_OK;
}

hl_storage *hl_storage_ref(hl_storage *s)
{
    s->refs++;
    return s;
}

void hl_storage_drop(hl_storage *s)
{
    if (s->shared && s->data) {
        hl_gpu_get()->free(hl_device_current()->gpu, s->data);
    } else if (s->bytes >= SMALL_BYTES) {
        hl_block_free(s->data, s->bytes);
    } else {
        hl_free(s->data);
        (void)hl_mem_thread_add(-(int64_t)s->bytes);
    }
    s->data = NULL;
    s->bytes = 0;
}

void hl_storage_unref(hl_storage *s)
{
    if (!s || --s->refs > 0)
        return;
    hl_storage_drop(s);
    hl_free(s);
}

static double f16_value(uint16_t h)
{
    const int e = h >> 10 & 31, m = h & 1023;
    double x = e == 0    ? m * 0x1p-24
               : e == 31 ? (m ? __builtin_nan("") : __builtin_inf())
                         : (1024 + m) * (e >= 25 ? (double)(1 << (e - 25)) : 1.0 / (1 << (25 - e)));
    return h >> 15 ? -x : x;
}

static double get(const void *p, hl_dtype t, int64_t i)
{
    switch (t) {
    case HL_DTYPE_F32:
        return (double)((const float *)p)[i];
    case HL_DTYPE_F64:
        return ((const double *)p)[i];
    case HL_DTYPE_BF16:
        return (double)hl_from_bf16(((const hl_bf16 *)p)[i]);
    case HL_DTYPE_F16:
        return f16_value(((const uint16_t *)p)[i]);
    case HL_DTYPE_I8:
        return ((const int8_t *)p)[i];
    case HL_DTYPE_I32:
        return ((const int32_t *)p)[i];
    case HL_DTYPE_I64:
        return (double)((const int64_t *)p)[i];
    default:
        return ((const uint8_t *)p)[i];
    }
}

double hl_storage_get(const hl_storage *s, int64_t i)
{
    return get(s->data, s->stored, i);
}

void hl_storage_set(hl_storage *s, int64_t i, double x)
{
    switch (s->stored) {
    case HL_DTYPE_F32:
        ((float *)s->data)[i] = (float)x;
        break;
    case HL_DTYPE_F64:
        ((double *)s->data)[i] = x;
        break;
    case HL_DTYPE_I32:
        ((int32_t *)s->data)[i] = (int32_t)x;
        break;
    case HL_DTYPE_I64:
        ((int64_t *)s->data)[i] = (int64_t)x;
        break;
    case HL_DTYPE_BOOL:
        ((uint8_t *)s->data)[i] = x != 0;
        break;
    default:
        ((uint8_t *)s->data)[i] = (uint8_t)(int)x;
        break;
    }
}

hl_status hl_storage_load(hl_storage *s, const void *from, hl_dtype dtype, int64_t n)
{
    if (n != hl_type_count(&s->type))
        return hl_err_set(HL_E_SHAPE, "%lld elements for a tensor of %lld", (long long)n,
                          (long long)hl_type_count(&s->type));
    if (dtype == s->stored) {
        if (s->bytes)
            memcpy(s->data, from, s->bytes);
        return HL_OK;
    }
    for (int64_t i = 0; i < n; i++)
        hl_storage_set(s, i, get(from, dtype, i));
    return HL_OK;
}
