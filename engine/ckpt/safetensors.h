/* safetensors files (docs/run-format.md): u64 length, JSON header, one buffer. Reading treats the
 * file as hostile: every length, offset and shape is checked against the file before use. */
#ifndef HL_CKPT_SAFETENSORS_H
#define HL_CKPT_SAFETENSORS_H

#include "engine/base/json.h"
#include "engine/ops/op.h"

typedef struct hl_tensor_entry {
    const char *name;
    hl_type type; /* dtype as stored in the file */
    const void *data;
} hl_tensor_entry;

/* Writes path atomically: temporary file, fsync, rename, fsync of the directory. Tensors keep their
 * order. metadata: pairs of strings key, value, NULL-terminated; "format":"pt" is always added.
 * Errors: NOTFOUND (no such folder), IO; the old file, if any, stays. */
HL_MUST_CHECK hl_status hl_safetensors_write(const char *path, const hl_tensor_entry *tensors,
                                             size_t n, const char *const *metadata);

typedef struct hl_safetensors hl_safetensors;
/* Maps the file. Errors: NOTFOUND, IO, FORMAT (the message names file, tensor and what is wrong). */
HL_MUST_CHECK hl_status hl_safetensors_open(const char *path, hl_safetensors **out);
void hl_safetensors_close(hl_safetensors *f);
size_t hl_safetensors_count(const hl_safetensors *f);
const hl_tensor_entry *hl_safetensors_at(const hl_safetensors *f, size_t i); /* data in the mapping */
const hl_tensor_entry *hl_safetensors_find(const hl_safetensors *f, const char *name); /* or NULL */
/* The tensor has been read: its part of the mapping need not stay in memory. */
void hl_safetensors_release(const hl_safetensors *f, const hl_tensor_entry *e);
const char *hl_safetensors_metadata(const hl_safetensors *f, const char *key);         /* or NULL */

#endif
