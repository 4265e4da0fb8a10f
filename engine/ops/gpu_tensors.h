/* The tensors that an op goes through in one launch, however many: a table in device memory, kept
 * in the state of the op and written again only where a pointer has changed. So it is no part of a
 * step that is replayed. */
#ifndef HL_OPS_GPU_TENSORS_H
#define HL_OPS_GPU_TENSORS_H

#include "engine/ops/op.h"

/* op->prepare and op->release: room for as many tensors as there are inputs. */
hl_status hl_gpu_tensors_prepare(const hl_call *c, bool fp64, int n_workers, void **state);
void hl_gpu_tensors_release(void *state);

/* Blocks of HL_GPU_CHUNK numbers in n. */
int64_t hl_gpu_chunks(int64_t n);

/* Groups of `group` inputs behind the first n_scalars, by fields in the order p, g, m, v. Errors:
 * NOMEM. */
HL_MUST_CHECK hl_status hl_gpu_tensors_of(const hl_op_run *r, int n_scalars, int group,
                                          hl_gpu_tensors *out);

#endif
