/* How a row formula is written once for both compilers.
 *
 * A row body loops with HL_ROW_EACH and reduces with HL_ROW_SUM and HL_ROW_MAX. On the CPU one
 * thread owns the row and the reductions run over 32 explicit lanes, which is what lets them
 * vectorise without reassociating floats behind our back (and gives the same sums with every
 * instruction set). On a GPU a warp owns the row, or a part of one, or a block: threads stride
 * and meet in shuffles. */
#ifndef HL_ROW_BODY_H
#define HL_ROW_BODY_H

#include <string.h>

#include "kernels/vec/math_body.h"

#ifdef __CUDA_ARCH__

/* Who owns a row: HL_ROW_WIDTH neighbouring lanes (8, 16 or 32; a source file may say which before
 * it includes this), or, with HL_ROW_BLOCK, all threads of a block. */
#ifndef HL_ROW_WIDTH
#define HL_ROW_WIDTH 32
#endif
#ifdef HL_ROW_BLOCK
#define HL_ROW_FIRST threadIdx.x
#define HL_ROW_STEP  blockDim.x
#else
#define HL_ROW_FIRST (threadIdx.x & (HL_ROW_WIDTH - 1))
#define HL_ROW_STEP  HL_ROW_WIDTH
#endif
/* The lanes that share this thread's row. */
#define HL_ROW_LANES_MASK                                                                          \
    (0xffffffffu >> (32 - HL_ROW_WIDTH) << (threadIdx.x & 31 & ~(unsigned)(HL_ROW_WIDTH - 1)))

#define HL_ROW_EACH(j, n, stmt)                                                                    \
    for (int64_t j = HL_ROW_FIRST; j < (n); j += HL_ROW_STEP) {                                    \
        stmt;                                                                                      \
    }
#ifdef HL_ROW_BLOCK
/* Of the sums or maxima of the warps; each in its own order, always the same. */
static __device__ __forceinline__ float hl_row_meet(float v, bool is_max)
{
    __shared__ float room[32];
    for (int o = 16; o; o >>= 1) {
        const float w = __shfl_xor_sync(0xffffffffu, v, o);
        v = is_max ? fmaxf(v, w) : v + w;
    }
    __syncthreads();
    if ((threadIdx.x & 31) == 0)
        room[threadIdx.x / 32] = v;
    __syncthreads();
    v = room[0];
    for (unsigned w = 1; w < blockDim.x / 32; w++)
        v = is_max ? fmaxf(v, room[w]) : v + room[w];
    return v;
}
static __device__ __forceinline__ float hl_warp_sum(float v)
{
    return hl_row_meet(v, false);
}
static __device__ __forceinline__ float hl_warp_max(float v)
{
    return hl_row_meet(v, true);
}
#else
static __device__ __forceinline__ float hl_warp_sum(float v)
{
    for (int o = HL_ROW_WIDTH / 2; o; o >>= 1)
        v += __shfl_xor_sync(HL_ROW_LANES_MASK, v, o);
    return v;
}
static __device__ __forceinline__ float hl_warp_max(float v)
{
    for (int o = HL_ROW_WIDTH / 2; o; o >>= 1)
        v = fmaxf(v, __shfl_xor_sync(HL_ROW_LANES_MASK, v, o));
    return v;
}
#endif
#define HL_ROW_SUM(out, j, n, expr)                                                                \
    do {                                                                                           \
        float lane_sum_ = 0.0f;                                                                    \
        for (int64_t j = HL_ROW_FIRST; j < (n); j += HL_ROW_STEP)                                       \
            lane_sum_ += (expr);                                                                   \
        (out) = hl_warp_sum(lane_sum_);                                                            \
    } while (0)
#define HL_ROW_SUM2(out1, out2, j, n, expr1, expr2)                                                \
    do {                                                                                           \
        float lane_sum1_ = 0.0f, lane_sum2_ = 0.0f;                                                \
        for (int64_t j = HL_ROW_FIRST; j < (n); j += HL_ROW_STEP) {                                     \
            lane_sum1_ += (expr1);                                                                 \
            lane_sum2_ += (expr2);                                                                 \
        }                                                                                          \
        (out1) = hl_warp_sum(lane_sum1_);                                                          \
        (out2) = hl_warp_sum(lane_sum2_);                                                          \
    } while (0)
#define HL_ROW_MAX(out, start, j, n, expr)                                                         \
    do {                                                                                           \
        float lane_max_ = (start);                                                                 \
        for (int64_t j = HL_ROW_FIRST; j < (n); j += HL_ROW_STEP)                                       \
            lane_max_ = fmaxf(lane_max_, (expr));                                                  \
        (out) = hl_warp_max(lane_max_);                                                            \
    } while (0)

#else

#define HL_ROW_LANES 32

/* Iterations touch their own j only, also where an output takes an input's place; GCC must find that
 * out by comparing pointers and gives up at six of them. (clang does not, and complains where its
 * pragma finds nothing to do.) */
#if defined(__clang__)
#define HL_ROW_INDEPENDENT
#else
#define HL_ROW_INDEPENDENT _Pragma("GCC ivdep")
#endif

#define HL_ROW_EACH(j, n, stmt)                                                                    \
    HL_ROW_INDEPENDENT                                                                             \
    for (int64_t j = 0; j < (n); j++) {                                                            \
        stmt;                                                                                      \
    }
/* 32 lanes that compilers keep in registers; a loop over an array that is indexed again behind it
 * stays in memory. The same bits either way. */
#if defined(__GNUC__) && !defined(__CUDACC__)
typedef float hl_lanes_16 __attribute__((vector_size(64)));
typedef float hl_lanes_8 __attribute__((vector_size(32)));
typedef float hl_lanes_4 __attribute__((vector_size(16)));
typedef int32_t hl_lanes_mask_16 __attribute__((vector_size(64)));
typedef int32_t hl_lanes_mask_8 __attribute__((vector_size(32)));
typedef int32_t hl_lanes_mask_4 __attribute__((vector_size(16)));
/* a = b where b > a */
#define HL_LANES_RAISE(width, a, b)                                                                \
    do {                                                                                           \
        const hl_lanes_mask_##width above_ = (b) > (a);                                            \
        (a) = (hl_lanes_##width)(((hl_lanes_mask_##width)(b)&above_) |                             \
                                 ((hl_lanes_mask_##width)(a) & ~above_));                          \
    } while (0)
typedef struct hl_lanes {
    hl_lanes_16 v[2];
} hl_lanes;

HL_HD void hl_lanes_add(hl_lanes *to, const float term[HL_ROW_LANES])
{
    hl_lanes t;
    memcpy(&t, term, sizeof t);
    to->v[0] += t.v[0];
    to->v[1] += t.v[1];
}

HL_HD void hl_lanes_raise(hl_lanes *to, const float term[HL_ROW_LANES])
{
    hl_lanes t;
    memcpy(&t, term, sizeof t);
    HL_LANES_RAISE(16, to->v[0], t.v[0]);
    HL_LANES_RAISE(16, to->v[1], t.v[1]);
}

/* Halves are added until one lane is left. */
HL_HD float hl_lanes_sum(const float lane[HL_ROW_LANES])
{
    hl_lanes t;
    memcpy(&t, lane, sizeof t);
    t.v[0] += t.v[1];
    hl_lanes_8 v[2];
    memcpy(v, &t.v[0], sizeof v);
    v[0] += v[1];
    hl_lanes_4 w[2];
    memcpy(w, &v[0], sizeof w);
    w[0] += w[1];
    return (w[0][0] + w[0][2]) + (w[0][1] + w[0][3]);
}

/* Halves are compared likewise. */
HL_HD float hl_lanes_max(const float lane[HL_ROW_LANES])
{
    hl_lanes t;
    memcpy(&t, lane, sizeof t);
    HL_LANES_RAISE(16, t.v[0], t.v[1]);
    hl_lanes_8 v[2];
    memcpy(v, &t.v[0], sizeof v);
    HL_LANES_RAISE(8, v[0], v[1]);
    hl_lanes_4 w[2];
    memcpy(w, &v[0], sizeof w);
    HL_LANES_RAISE(4, w[0], w[1]);
    const float a = w[0][2] > w[0][0] ? w[0][2] : w[0][0];
    const float b = w[0][3] > w[0][1] ? w[0][3] : w[0][1];
    return b > a ? b : a;
}
#else
typedef struct hl_lanes {
    float v[HL_ROW_LANES];
} hl_lanes;

HL_HD void hl_lanes_add(hl_lanes *to, const float term[HL_ROW_LANES])
{
    for (int l = 0; l < HL_ROW_LANES; l++)
        to->v[l] += term[l];
}

HL_HD void hl_lanes_raise(hl_lanes *to, const float term[HL_ROW_LANES])
{
    for (int l = 0; l < HL_ROW_LANES; l++)
        to->v[l] = term[l] > to->v[l] ? term[l] : to->v[l];
}

HL_HD float hl_lanes_sum(const float lane[HL_ROW_LANES])
{
    float v[HL_ROW_LANES];
    for (int l = 0; l < HL_ROW_LANES; l++)
        v[l] = lane[l];
    for (int half = HL_ROW_LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++)
            v[l] += v[l + half];
    return v[0];
}

HL_HD float hl_lanes_max(const float lane[HL_ROW_LANES])
{
    float v[HL_ROW_LANES];
    for (int l = 0; l < HL_ROW_LANES; l++)
        v[l] = lane[l];
    for (int half = HL_ROW_LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++)
            v[l] = v[l + half] > v[l] ? v[l + half] : v[l];
    return v[0];
}
#endif

/* Terms first, then what is done with them: a compiler that sees `lane += c ? v : 0` may branch. */
#define HL_ROW_TERMS_(term, j, expr)                                                               \
    float term[HL_ROW_LANES];                                                                      \
    for (int l_ = 0; l_ < HL_ROW_LANES; l_++) {                                                    \
        const int64_t j = j0_ + l_;                                                                \
        (term)[l_] = (expr);                                                                       \
    }
#define HL_ROW_SUM(out, j, n, expr)                                                                \
    do {                                                                                           \
        hl_lanes lanes_ = {0};                                                                     \
        float lane_[HL_ROW_LANES];                                                                 \
        const int64_t n_ = (n), whole_ = n_ - n_ % HL_ROW_LANES;                                   \
        for (int64_t j0_ = 0; j0_ < whole_; j0_ += HL_ROW_LANES) {                                 \
            HL_ROW_TERMS_(term_, j, expr)                                                          \
            hl_lanes_add(&lanes_, term_);                                                          \
        }                                                                                          \
        memcpy(lane_, &lanes_, sizeof lane_);                                                      \
        for (int64_t j = whole_; j < n_; j++)                                                      \
            lane_[j - whole_] += (expr);                                                           \
        (out) = hl_lanes_sum(lane_);                                                               \
    } while (0)
/* Two sums in one pass over the row. */
#define HL_ROW_SUM2(out1, out2, j, n, expr1, expr2)                                                \
    do {                                                                                           \
        hl_lanes lanes1_ = {0}, lanes2_ = {0};                                                     \
        float lane1_[HL_ROW_LANES], lane2_[HL_ROW_LANES];                                          \
        const int64_t n_ = (n), whole_ = n_ - n_ % HL_ROW_LANES;                                   \
        for (int64_t j0_ = 0; j0_ < whole_; j0_ += HL_ROW_LANES) {                                 \
            float term1_[HL_ROW_LANES], term2_[HL_ROW_LANES];                                      \
            for (int l_ = 0; l_ < HL_ROW_LANES; l_++) { /* one loop: they share much */            \
                const int64_t j = j0_ + l_;                                                        \
                term1_[l_] = (expr1);                                                              \
                term2_[l_] = (expr2);                                                              \
            }                                                                                      \
            hl_lanes_add(&lanes1_, term1_);                                                        \
            hl_lanes_add(&lanes2_, term2_);                                                        \
        }                                                                                          \
        memcpy(lane1_, &lanes1_, sizeof lane1_);                                                   \
        memcpy(lane2_, &lanes2_, sizeof lane2_);                                                   \
        for (int64_t j = whole_; j < n_; j++) {                                                    \
            lane1_[j - whole_] += (expr1);                                                         \
            lane2_[j - whole_] += (expr2);                                                         \
        }                                                                                          \
        (out1) = hl_lanes_sum(lane1_);                                                             \
        (out2) = hl_lanes_sum(lane2_);                                                             \
    } while (0)
/* Ignores NaN; `start` is the value for an empty row. */
#define HL_ROW_MAX(out, start, j, n, expr)                                                         \
    do {                                                                                           \
        hl_lanes lanes_;                                                                           \
        float lane_[HL_ROW_LANES];                                                                 \
        const int64_t n_ = (n), whole_ = n_ - n_ % HL_ROW_LANES;                                   \
        for (int l_ = 0; l_ < HL_ROW_LANES; l_++)                                                  \
            lane_[l_] = (start);                                                                   \
        memcpy(&lanes_, lane_, sizeof lane_);                                                      \
        for (int64_t j0_ = 0; j0_ < whole_; j0_ += HL_ROW_LANES) {                                 \
            HL_ROW_TERMS_(term_, j, expr)                                                          \
            hl_lanes_raise(&lanes_, term_);                                                        \
        }                                                                                          \
        memcpy(lane_, &lanes_, sizeof lane_);                                                      \
        for (int64_t j = whole_; j < n_; j++) {                                                    \
            const float v_ = (expr);                                                               \
            lane_[0] = v_ > lane_[0] ? v_ : lane_[0];                                              \
        }                                                                                          \
        (out) = hl_lanes_max(lane_);                                                               \
    } while (0)

#endif
#endif
