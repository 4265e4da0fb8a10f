/* What tiled kernels are written in: products of small matrices by a warp's tensor cores, matrices
 * read from shared memory in the layout these want, and copies from global to shared memory that go
 * on while a block computes. PTX here, the same on the host in tests/cuda/emulation_tile.h. From
 * compute capability 8.0 on.
 *
 * Legend: lane l of a warp has g = l / 4 and t = l % 4. A product adds A [16,K] B [K,8] to C
 * [16,8]: c[4]   C[g][2t], C[g][2t+1], C[g+8][2t], C[g+8][2t+1] 16 bits, K = 16, two elements to a
 * register, the first in the low half: a[4]   A[g][2t..], A[g+8][2t..], A[g][2t+8..],
 * A[g+8][2t+8..] b[2]   B[2t..][g], B[2t+8..][g] tf32, K = 8: a[4]   A[g][t], A[g+8][t], A[g][t+4],
 * A[g+8][t+4] b[2]   B[t][g], B[t+4][g] */
#ifndef HL_TILE_CUH
#define HL_TILE_CUH

#include "kernels/cuda/cuda_rt.h"
#include "kernels/vec/bf16_body.h"

#ifndef HL_CUDA_EMULATED

__device__ inline unsigned hl_shared_at(const void *p)
{
    return (unsigned)__cvta_generic_to_shared(p);
}

/* 16 bytes, both sides aligned to them; zeros if not `there` (from must be readable all the same).
 */
__device__ inline void hl_copy_async(void *to, const void *from, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(hl_shared_at(to)), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
}
/* This thread's copies since the last commit are a group. */
__device__ inline void hl_copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
/* All but this thread's N latest groups have arrived; what others copied is there after a barrier.
 */
template <int N> __device__ inline void hl_copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* Four 8 x 8 matrices of 16-bit elements. Lane l gives the address of row l % 8 of matrix l / 8, 16
 * bytes; r[i]: row g, columns 2t and 2t+1 of matrix i. */
__device__ inline void hl_load_matrices(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(hl_shared_at(row))
                 : "memory");
}
/* The same transposed; r[i]: rows 2t and 2t+1 of column g. */
__device__ inline void hl_load_matrices_turned(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(hl_shared_at(row))
                 : "memory");
}

#define HL_MULTIPLY_(shape, type)                                                                  \
    asm volatile("mma.sync.aligned." shape ".row.col.f32." type "." type ".f32 "                   \
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                 \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                  \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
__device__ inline void hl_multiply_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    HL_MULTIPLY_("m16n8k16", "bf16");
}
__device__ inline void hl_multiply_f16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    HL_MULTIPLY_("m16n8k16", "f16");
}
__device__ inline void hl_multiply_tf32(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    HL_MULTIPLY_("m16n8k8", "tf32");
}
#undef HL_MULTIPLY_

/* To the nearest of two; ties to even, to tf32 away from zero. */
__device__ inline uint32_t hl_pair_bf16(float low, float high)
{
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
__device__ inline uint32_t hl_pair_f16(float low, float high)
{
    uint32_t r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
__device__ inline uint32_t hl_to_tf32(float x)
{
    uint32_t r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
    return r;
}

#endif

/* --- matrices in shared memory --- */

/* How products are made: operands as floats, rounded to tf32, or bf16. */
enum hl_tile_kind { HL_TILE_F32, HL_TILE_TF32, HL_TILE_BF16 };

template <int KIND> struct hl_tile_of {
    typedef float element;
};
template <> struct hl_tile_of<HL_TILE_BF16> {
    typedef hl_bf16 element;
};

/* Elements from a row to the next where rows hold D: 16 bytes more, so that the eight rows that are
 * read at once lie in different banks (D a multiple of 32). */
template <int KIND> __host__ __device__ constexpr int hl_tile_row(int d)
{
    return d + 16 / (int)sizeof(typename hl_tile_of<KIND>::element);
}

struct __align__(16) hl_four
{
    float v[4];
};
struct __align__(8) hl_two
{
    float v[2];
};

/* C [16, 8 N] += A B^T, A [16,D] and B [8 N, D] with rows of hl_tile_row(D); by a warp, c in the
 * layout above for each eight columns. */
template <int KIND, int D, int N> struct hl_rows_by_rows;

template <int D, int N> struct hl_rows_by_rows<HL_TILE_BF16, D, N> {
    static __device__ inline void add(float (*c)[4], const hl_bf16 *a, const hl_bf16 *b)
    {
        const int l = (int)threadIdx.x & 31, row = hl_tile_row<HL_TILE_BF16>(D);
        a += l % 16 * row + l / 16 * 8;
        b += (l / 16 * 8 + l % 8) * row + l / 8 % 2 * 8;
#pragma unroll
        for (int k = 0; k < D; k += 16) {
            uint32_t x[4], y[4];
            hl_load_matrices(x, a + k);
#pragma unroll
            for (int j = 0; j < N; j += 2) {
                hl_load_matrices(y, b + j * 8 * row + k);
                hl_multiply_bf16(c[j], x, y);
                hl_multiply_bf16(c[j + 1], x, y + 2);
            }
        }
    }
};

template <int D, int N> struct hl_rows_by_rows<HL_TILE_TF32, D, N> {
    static __device__ inline void add(float (*c)[4], const float *a, const float *b)
    {
        const int l = (int)threadIdx.x & 31, row = hl_tile_row<HL_TILE_TF32>(D);
        a += l / 4 * row + l % 4;
        b += l / 4 * row + l % 4;
#pragma unroll 2
        for (int k = 0; k < D; k += 8) {
            const uint32_t x[4] = {hl_to_tf32(a[k]), hl_to_tf32(a[k + 8 * row]),
                                   hl_to_tf32(a[k + 4]), hl_to_tf32(a[k + 4 + 8 * row])};
#pragma unroll
            for (int j = 0; j < N; j++) {
                const uint32_t y[2] = {hl_to_tf32(b[k + j * 8 * row]),
                                       hl_to_tf32(b[k + 4 + j * 8 * row])};
                hl_multiply_tf32(c[j], x, y);
            }
        }
    }
};

template <int D, int N> struct hl_rows_by_rows<HL_TILE_F32, D, N> {
    static __device__ inline void add(float (*c)[4], const float *a, const float *b)
    {
        const int l = (int)threadIdx.x & 31, row = hl_tile_row<HL_TILE_F32>(D);
        a += l / 4 * row;
        b += l % 4 * 2 * row;
#pragma unroll 1
        for (int k = 0; k < D; k += 4) {
            const hl_four x = *reinterpret_cast<const hl_four *>(a + k),
                          y = *reinterpret_cast<const hl_four *>(a + k + 8 * row);
#pragma unroll
            for (int j = 0; j < N; j++) {
                const float *at = b + j * 8 * row + k;
                const hl_four p = *reinterpret_cast<const hl_four *>(at),
                              q = *reinterpret_cast<const hl_four *>(at + row);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    c[j][0] += x.v[i] * p.v[i];
                    c[j][1] += x.v[i] * q.v[i];
                    c[j][2] += y.v[i] * p.v[i];
                    c[j][3] += y.v[i] * q.v[i];
                }
            }
        }
    }
};

/* C [16,D] += A B, A [16, 8 N] in registers as another product left it, B [8 N, D] with rows of
 * hl_tile_row(D). room: hl_tile_room(N) floats of shared memory of this warp. */
template <int KIND, int D, int N> struct hl_left_by_rows;

__host__ __device__ constexpr int hl_tile_room(int kind, int n)
{
    return kind == HL_TILE_F32 ? 16 * (8 * n + 4) : 0;
}

template <int D, int N> struct hl_left_by_rows<HL_TILE_BF16, D, N> {
    static __device__ inline void add(float (*c)[4], const float (*a)[4], const hl_bf16 *b, float *)
    {
        const int l = (int)threadIdx.x & 31, row = hl_tile_row<HL_TILE_BF16>(D);
        b += l % 16 * row + l / 16 * 8;
#pragma unroll
        for (int k = 0; k < N; k += 2) {
            const uint32_t x[4] = {hl_pair_bf16(a[k][0], a[k][1]), hl_pair_bf16(a[k][2], a[k][3]),
                                   hl_pair_bf16(a[k + 1][0], a[k + 1][1]),
                                   hl_pair_bf16(a[k + 1][2], a[k + 1][3])};
#pragma unroll
            for (int j = 0; j < D / 8; j += 2) {
                uint32_t y[4];
                hl_load_matrices_turned(y, b + k * 8 * row + j * 8);
                hl_multiply_bf16(c[j], x, y);
                hl_multiply_bf16(c[j + 1], x, y + 2);
            }
        }
    }
};

/* A register of A holds the columns 2t and 2t+1 where the product wants t and t+4: the rows of B
 * are read in the same order, and the sum is the same. */
template <int D, int N> struct hl_left_by_rows<HL_TILE_TF32, D, N> {
    static __device__ inline void add(float (*c)[4], const float (*a)[4], const float *b, float *)
    {
        const int l = (int)threadIdx.x & 31, row = hl_tile_row<HL_TILE_TF32>(D);
        b += l % 4 * 2 * row + l / 4;
#pragma unroll
        for (int k = 0; k < N; k++) {
            const uint32_t x[4] = {hl_to_tf32(a[k][0]), hl_to_tf32(a[k][2]), hl_to_tf32(a[k][1]),
                                   hl_to_tf32(a[k][3])};
#pragma unroll
            for (int j = 0; j < D / 8; j++) {
                const float *at = b + k * 8 * row + j * 8;
                const uint32_t y[2] = {hl_to_tf32(at[0]), hl_to_tf32(at[row])};
                hl_multiply_tf32(c[j], x, y);
            }
        }
    }
};

template <int D, int N> struct hl_left_by_rows<HL_TILE_F32, D, N> {
    static __device__ inline void add(float (*c)[4], const float (*a)[4], const float *b,
                                      float *room)
    {
        const int l = (int)threadIdx.x & 31, row = hl_tile_row<HL_TILE_F32>(D), wide = 8 * N + 4;
        float *mine = room + l / 4 * wide;
#pragma unroll
        for (int k = 0; k < N; k++)
            for (int i = 0; i < 4; i++)
                mine[i / 2 * 8 * wide + 8 * k + l % 4 * 2 + i % 2] = a[k][i];
        __syncwarp();
        b += l % 4 * 2;
#pragma unroll 1
        for (int k = 0; k < 8 * N; k += 4) {
            const hl_four x = *reinterpret_cast<const hl_four *>(mine + k),
                          y = *reinterpret_cast<const hl_four *>(mine + k + 8 * wide);
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < D / 8; j++) {
                    const hl_two p = *reinterpret_cast<const hl_two *>(b + (k + i) * row + j * 8);
                    c[j][0] += x.v[i] * p.v[0];
                    c[j][1] += x.v[i] * p.v[1];
                    c[j][2] += y.v[i] * p.v[0];
                    c[j][3] += y.v[i] * p.v[1];
                }
        }
        __syncwarp(); /* before the room is written again */
    }
};

/* Elements 16 bytes at a time into n_rows rows of shared memory, by the threads of a block: rows
 * `from + r * step`, of which `there` exist and have d elements (a multiple of 8); the rest is
 * zeros. A part of the copies that the caller commits; `whole`: from and step are multiples of 16
 * bytes. */
template <int KIND, int D>
__device__ inline void hl_copy_rows(typename hl_tile_of<KIND>::element *to, int n_rows,
                                    const typename hl_tile_of<KIND>::element *from, int64_t step,
                                    int64_t there, int d, bool whole)
{
    const int each = 16 / (int)sizeof *to, per_row = D / each;
    for (int i = (int)threadIdx.x; i < n_rows * per_row; i += (int)blockDim.x) {
        const int r = i / per_row, e = i % per_row * each;
        const bool is = r < there && e < d;
        auto *at = to + r * hl_tile_row<KIND>(D) + e;
        const auto *source = is ? from + r * step + e : from;
        if (whole)
            hl_copy_async(at, source, is);
        else
            for (int k = 0; k < each; k++)
                at[k] = is ? source[k] : 0;
    }
}

#endif
