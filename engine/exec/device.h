/* The device of this process, if it has one: opened once, kept to the end. Tensors and parameters
 * that are made after it was opened live in memory that host and device share (storage.h); programs
 * compiled for it run there. */
#ifndef HL_EXEC_DEVICE_H
#define HL_EXEC_DEVICE_H

#include "engine/base/err.h"
#include "engine/base/str.h"
#include "kernels/hl_gpu.h"

typedef struct hl_device {
    hl_gpu *gpu;
    hl_gpu_info info;
    bool tf32;
    /* One arena for all programs: they run one after another, and what they put out is copied to
     * the host at the end of each run. */
    unsigned char *arena;
    size_t arena_bytes;
} hl_device;

/* "cuda", "cuda:1": that device; "auto": the first one if there is any, else *out is NULL; "cpu":
 * NULL. Errors: ARG (no such name or number), DEVICE (no driver, no device, busy: with what to do).
 */
HL_MUST_CHECK hl_status hl_device_open(const char *name, hl_device **out);
/* Is it a name, and does this build have what it names? Opens nothing. Errors: ARG, DEVICE. */
HL_MUST_CHECK hl_status hl_device_check(const char *name);
/* Products of floats may round their operands to tf32 from now on. DEVICE without a device. */
HL_MUST_CHECK hl_status hl_device_allow_tf32(hl_device *d);
/* Operands of 16 bits are half floats from now on (hl_pass_fp16). DEVICE without a device. */
HL_MUST_CHECK hl_status hl_device_use_f16(hl_device *d);
/* What hl_device_open gave, NULL: the CPU. */
hl_device *hl_device_current(void);
/* After the last program and storage; NULL is allowed. */
void hl_device_close(hl_device *d);

/* Bytes free on it now; on the host where d is NULL, -1 if that is unknown. */
int64_t hl_device_available_bytes(const hl_device *d);
/* In words for the user: "cuda:0, NVIDIA H200, 140 GB, compute 9.0", or why there is none. */
void hl_device_describe(hl_str *out);

/* At least so many bytes of arena; contents are lost. NOMEM. */
HL_MUST_CHECK hl_status hl_device_arena(hl_device *d, size_t bytes);

#endif
