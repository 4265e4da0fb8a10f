/* Products by tensor cores, reads of matrices and copies in the background, on the host. */
#include "tests/cuda/emulation.h"

#include <stdio.h>
#include <stdlib.h>

#include <vector>

#include "kernels/vec/bf16_body.h"

namespace
{

enum { MOST_THREADS = 1024 };

[[noreturn]] void die(const char *what)
{
    fprintf(stderr, "emulated CUDA, block %u,%u,%u: %s\n", blockIdx.x, blockIdx.y, blockIdx.z,
            what);
    abort();
}

unsigned thread_at(void)
{
    return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}

struct copy {
    void *to;
    const void *from;
    bool there;
};
/* of each thread: groups that were committed, and the one that is being made */
struct copies {
    std::vector<std::vector<copy>> groups;
    std::vector<copy> open;
};
copies of_thread[MOST_THREADS];

/* What the lanes of a warp give each other. Two rooms by turns: who is late still reads the one
 * while others write the other, and nobody is two calls ahead, since each call is a barrier. */
struct room {
    float a[16][16], b[16][8];
    const uint16_t *row[32];
};
room rooms[MOST_THREADS / 32][2];
unsigned calls[MOST_THREADS];

room *next_room(void)
{
    const unsigned me = thread_at();
    return &rooms[me / 32][calls[me]++ & 1];
}

uint32_t half_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    const uint32_t sign = bits >> 16 & 0x8000u;
    const double size = fabs((double)x);
    if (!(size < HUGE_VAL))
        return sign | (x != x ? 0x7E00u : 0x7C00u);
    int e;
    (void)frexp(size, &e); /* size < 2^e */
    if (e < -13 || size == 0)
        e = -13;
    const double ulp = ldexp(1, e - 11), n = nearbyint(size / ulp);
    if (n * ulp > 65504)
        return sign | 0x7C00u;
    /* a carry into the exponent, and none for what is subnormal, come by themselves */
    return sign | (uint32_t)((e + 13) * 1024 + (int)n);
}

float of_half(uint32_t h)
{
    const int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
    const double v = e == 31 ? (m ? (double)NAN : HUGE_VAL)
                     : e     ? ldexp(1024 + m, e - 25)
                             : ldexp(m, -24);
    return (float)(h & 0x8000u ? -v : v);
}

} // namespace

void emu_copy_async(void *to, const void *from, bool there)
{
    if (((uintptr_t)to | (uintptr_t)from) & 15)
        die("an asynchronous copy whose addresses are not multiples of 16 bytes");
    memset(to, 0xFF, 16); /* NaN in every format */
    of_thread[thread_at()].open.push_back({to, from, there});
}

void emu_copy_commit(void)
{
    copies &c = of_thread[thread_at()];
    c.groups.push_back(c.open);
    c.open.clear();
}

void emu_copy_wait(int but_latest)
{
    copies &c = of_thread[thread_at()];
    while ((int)c.groups.size() > but_latest) {
        for (const copy &one : c.groups.front())
            if (one.there)
                memcpy(one.to, one.from, 16);
            else
                memset(one.to, 0, 16);
        c.groups.erase(c.groups.begin());
    }
}

void emu_copy_end_of_block(void)
{
    const unsigned n = blockDim.x * blockDim.y * blockDim.z;
    for (unsigned t = 0; t < n; t++) {
        copies &c = of_thread[t];
        for (const auto &group : c.groups)
            if (!group.empty())
                die("a block ends before its asynchronous copies");
        if (!c.open.empty())
            die("a block ends with asynchronous copies that were not committed");
        c.groups.clear();
    }
}

void emu_load_matrices(uint32_t r[4], const void *row, bool turned)
{
    const unsigned l = emu_lane(), g = l / 4, t = l % 4;
    room *w = next_room();
    if ((uintptr_t)row & 15)
        die("a row of a matrix that is not at a multiple of 16 bytes");
    w->row[l] = static_cast<const uint16_t *>(row);
    emu_sync_warp();
    for (unsigned i = 0; i < 4; i++) {
        const uint16_t *const *at = w->row + 8 * i;
        r[i] = turned ? at[2 * t][g] | (uint32_t)at[2 * t + 1][g] << 16
                      : at[g][2 * t] | (uint32_t)at[g][2 * t + 1] << 16;
    }
}

void emu_multiply(emu_multiplied of, float c[4], const uint32_t a[4], const uint32_t b[2])
{
    const unsigned l = emu_lane(), g = l / 4, t = l % 4;
    const bool tf32 = of == EMU_TF32;
    room *w = next_room();
    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = g + i % 2 * 8;
        if (tf32)
            w->a[row][t + i / 2 * 4] = emu_widen(of, a[i]);
        for (unsigned k = 0; k < 2 && !tf32; k++)
            w->a[row][2 * t + i / 2 * 8 + k] = emu_widen(of, a[i] >> 16 * k & 0xFFFFu);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (tf32)
            w->b[t + i * 4][g] = emu_widen(of, b[i]);
        for (unsigned k = 0; k < 2 && !tf32; k++)
            w->b[2 * t + i * 8 + k][g] = emu_widen(of, b[i] >> 16 * k & 0xFFFFu);
    }
    emu_sync_warp();
    for (unsigned i = 0; i < 4; i++)
        for (unsigned k = 0; k < (tf32 ? 8u : 16u); k++)
            c[i] += w->a[g + i / 2 * 8][k] * w->b[k][2 * t + i % 2];
}

uint32_t emu_round(emu_multiplied to, float x)
{
    if (to == EMU_BF16)
        return hl_to_bf16(x);
    if (to == EMU_F16)
        return half_of(x);
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return x != x || x - x != 0 ? bits : (bits + 0x1000u) & 0xFFFFE000u;
}

/* Of tf32 the lower 13 bits are not looked at. */
float emu_widen(emu_multiplied from, uint32_t bits)
{
    if (from == EMU_F16)
        return of_half(bits);
    bits = from == EMU_BF16 ? bits << 16 : bits & 0xFFFFE000u;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
