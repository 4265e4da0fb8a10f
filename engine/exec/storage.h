/* Storage: the memory behind concrete tensors and parameters, shared by reference count. Contents
 * have one writer at a time, the thread that runs programs. */
#ifndef HL_EXEC_STORAGE_H
#define HL_EXEC_STORAGE_H

#include "engine/ops/op.h"

typedef struct hl_storage {
    hl_type type;    /* as the graph sees it; in an fp64 session f32 is held as f64 */
    hl_dtype stored; /* what the bytes are */
    void *data;      /* 64-byte aligned, zeroed at birth */
    size_t bytes;
    int64_t refs;
    bool shared; /* with the device (engine/exec/device.h) */
} hl_storage;

/* Bytes that new ones may still take, whatever of the live ones has been touched; -1: not known. */
int64_t hl_storage_room(void);
HL_MUST_CHECK hl_status hl_storage_new(const hl_type *type, bool fp64, hl_storage **out);
hl_storage *hl_storage_ref(hl_storage *s);
void hl_storage_unref(hl_storage *s);
/* Gives the memory back: what nobody reads any more needs none. data is NULL then. */
void hl_storage_drop(hl_storage *s);

/* Element i as a number, whatever the type; no range check. */
double hl_storage_get(const hl_storage *s, int64_t i);
void hl_storage_set(hl_storage *s, int64_t i, double x);

/* Copies n elements of another element type in, converting floats. */
HL_MUST_CHECK hl_status hl_storage_load(hl_storage *s, const void *from, hl_dtype dtype, int64_t n);

#endif
