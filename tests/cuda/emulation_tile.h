/* kernels/cuda/tile.cuh on the host. A copy of a group writes rubbish when it begins and the data
 * when it is waited for, so that a missing wait is found, and a copy into what another warp still
 * reads too. A product takes each lane's registers to be the fragments that the layout says. */
#ifndef HL_CUDA_EMULATION_TILE_H
#define HL_CUDA_EMULATION_TILE_H

#include <stdint.h>

void emu_copy_async(void *to, const void *from, bool there);
void emu_copy_commit(void);
void emu_copy_wait(int but_latest);
void emu_copy_end_of_block(void); /* ends the program if copies are left */
void emu_load_matrices(uint32_t r[4], const void *row, bool turned);
enum emu_multiplied { EMU_BF16, EMU_F16, EMU_TF32 };
void emu_multiply(emu_multiplied of, float c[4], const uint32_t a[4], const uint32_t b[2]);
uint32_t emu_round(emu_multiplied to, float x); /* bits */
float emu_widen(emu_multiplied from, uint32_t bits);

inline void hl_copy_async(void *to, const void *from, bool there)
{
    emu_copy_async(to, from, there);
}
inline void hl_copy_commit(void)
{
    emu_copy_commit();
}
template <int N> inline void hl_copy_wait(void)
{
    emu_copy_wait(N);
}
inline void hl_load_matrices(uint32_t r[4], const void *row)
{
    emu_load_matrices(r, row, false);
}
inline void hl_load_matrices_turned(uint32_t r[4], const void *row)
{
    emu_load_matrices(r, row, true);
}
inline void hl_multiply_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    emu_multiply(EMU_BF16, c, a, b);
}
inline void hl_multiply_f16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    emu_multiply(EMU_F16, c, a, b);
}
inline void hl_multiply_tf32(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    emu_multiply(EMU_TF32, c, a, b);
}
inline uint32_t hl_pair_bf16(float low, float high)
{
    return emu_round(EMU_BF16, low) | emu_round(EMU_BF16, high) << 16;
}
inline uint32_t hl_pair_f16(float low, float high)
{
    return emu_round(EMU_F16, low) | emu_round(EMU_F16, high) << 16;
}
inline uint32_t hl_to_tf32(float x)
{
    return emu_round(EMU_TF32, x);
}

#endif
