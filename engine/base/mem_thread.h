/* What one thread may hold: for one that runs scripts of anybody's, whose tensors no interpreter
 * counts. Blocks (hl_block_new) are counted by themselves; who keeps other large things says so. */
#ifndef HL_BASE_MEM_THREAD_H
#define HL_BASE_MEM_THREAD_H

#include "kernels/hl_types.h"

/* Of the calling thread; 0: no limit, as threads begin. Beyond it hl_block_new fails. */
void hl_mem_set_thread_limit(int64_t bytes);
/* Negative: given back. false: beyond the limit, and nothing was added (hl_err_message). */
bool hl_mem_thread_add(int64_t bytes);

#endif
