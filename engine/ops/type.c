/* Shapes and element types. */
#include <stdio.h>
#include <string.h>

#include "engine/ops/op.h"

hl_type hl_type_make(hl_dtype dtype, int rank, const int64_t *dim)
{
    hl_type t = {.dtype = dtype, .rank = rank};
    for (int i = 0; i < rank; i++)
        t.dim[i] = dim[i];
    return t;
}

hl_type hl_type_scalar(hl_dtype dtype)
{
    return (hl_type){.dtype = dtype};
}

int64_t hl_type_count(const hl_type *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->dim[i];
    return n;
}

size_t hl_type_bytes(const hl_type *t)
{
    return (size_t)hl_type_count(t) * hl_dtype_bytes(t->dtype);
}

bool hl_shape_equal(const hl_type *a, const hl_type *b)
{
    return a->rank == b->rank &&
           memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]) == 0;
}

bool hl_type_equal(const hl_type *a, const hl_type *b)
{
    return a->dtype == b->dtype && hl_shape_equal(a, b);
}

bool hl_type_absent(const hl_type *t)
{
    return t->dtype == HL_DTYPE_COUNT;
}

static const char *const dtype_names[HL_DTYPE_COUNT] = {"f32", "f64", "bf16", "f16", "i8",
                                                        "u8",  "i32", "i64",  "bool"};

const char *hl_dtype_name(hl_dtype t)
{
    return (unsigned)t < HL_DTYPE_COUNT ? dtype_names[t] : "nothing";
}

bool hl_dtype_parse(const char *name, hl_dtype *out)
{
    for (int i = 0; i < HL_DTYPE_COUNT; i++)
        if (strcmp(name, dtype_names[i]) == 0) {
            *out = (hl_dtype)i;
            return true;
        }
    return false;
}

const char *hl_shape_text(char buf[96], const hl_type *t)
{
    int n = snprintf(buf, 96, "{");
    for (int i = 0; i < t->rank && n < 90; i++)
        n += snprintf(buf + n, (size_t)(96 - n), i ? ", %lld" : "%lld", (long long)t->dim[i]);
    snprintf(buf + n, (size_t)(96 - n), "}");
    return buf;
}

const char *hl_type_text(char buf[96], const hl_type *t)
{
    char shape[96];
    snprintf(buf, 96, "%s%.80s", hl_dtype_name(t->dtype), hl_shape_text(shape, t));
    return buf;
}
