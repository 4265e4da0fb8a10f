/* Parts of device_test besides the op table's cases. Each prints what failed and returns how many;
 * *compared grows by what was compared. */
#ifndef HL_DEVICE_CHECKS_H
#define HL_DEVICE_CHECKS_H

#ifdef __cplusplus
extern "C" {
#endif

struct hl_gpu;

int tile_check(int *compared);                        /* kernels/cuda/tile.cuh */
int attention_check(struct hl_gpu *g, int *compared); /* attention's kernels, called directly */

#ifdef __cplusplus
}
#endif

#endif
