/* Elementwise operations, copies between boxes, creation, conversion. */
#include "kernels/cuda/cuda_internal.h"
#include "kernels/ew/cast_body.h"
#include "kernels/vec/bf16_body.h"
#include "kernels/vec/f16_body.h"
#include "kernels/vec/math_body.h"

/* --- the functions of hl_ew.def --- */

#define HL_EW1(name, f32, f64, doc, lo, hi, abs)                                                   \
    struct ew1_##name {                                                                            \
        __device__ static float of(float x) { return f32; }                                        \
    };
#define HL_EW2(name, f32, f64, doc, lo, hi, abs)                                                   \
    struct ew2_##name {                                                                            \
        __device__ static float of(float a, float b) { return f32; }                               \
    };
#include "kernels/ew/hl_ew.def"

template <typename F> __global__ void ew1_kernel(int64_t n, const float *x, float *y)
{
    HL_EACH(i, n)
    y[i] = F::of(x[i]);
}

/* Offset of element i of the result in each operand. */
__device__ inline void box_at(const hl_gpu_box &m, int64_t i, int64_t *a, int64_t *b)
{
    *a = *b = 0;
    for (int d = m.rank - 1; d > 0; d--) {
        const int64_t k = i % m.dim[d];
        i /= m.dim[d];
        *a += k * m.a[d];
        *b += k * m.b[d];
    }
    *a += i * m.a[0];
    *b += i * m.b[0];
}

template <typename F>
__global__ void ew2_kernel(hl_gpu_box m, int64_t n, const float *a, const float *b, float *y)
{
    HL_EACH(i, n)
    {
        int64_t at_a, at_b;
        box_at(m, i, &at_a, &at_b);
        y[i] = F::of(a[at_a], b[at_b]);
    }
}

static int64_t count_of(const hl_gpu_box *m)
{
    int64_t n = 1;
    for (int d = 0; d < m->rank; d++)
        n *= m->dim[d];
    return n;
}

void hl_cu_ew1(hl_gpu *g, hl_ew1_id op, int64_t n, const float *x, float *y)
{
    const unsigned blocks = hl_gpu_blocks(g, n, HL_THREADS);
    switch (op) {
#define HL_EW1(name, f32, f64, doc, lo, hi, abs)                                                   \
    case HL_EW1_##name:                                                                            \
        HL_GO(g, ew1_kernel<ew1_##name>, blocks, HL_THREADS, 0, n, x, y);                          \
        break;
#define HL_EW2(name, f32, f64, doc, lo, hi, abs)
#include "kernels/ew/hl_ew.def"
    default:
        break;
    }
}

void hl_cu_ew2(hl_gpu *g, hl_ew2_id op, const hl_gpu_box *m, const float *a, const float *b,
               float *y)
{
    const int64_t n = count_of(m);
    const unsigned blocks = hl_gpu_blocks(g, n, HL_THREADS);
    switch (op) {
#define HL_EW1(name, f32, f64, doc, lo, hi, abs)
#define HL_EW2(name, f32, f64, doc, lo, hi, abs)                                                   \
    case HL_EW2_##name:                                                                            \
        HL_GO(g, ew2_kernel<ew2_##name>, blocks, HL_THREADS, 0, *m, n, a, b, y);                   \
        break;
#include "kernels/ew/hl_ew.def"
    default:
        break;
    }
}

__global__ void select_kernel(int64_t n, const float *c, const float *a, const float *b, float *y)
{
    HL_EACH(i, n)
    y[i] = c[i] != 0.0f ? a[i] : b[i];
}

void hl_cu_select(hl_gpu *g, int64_t n, const float *c, const float *a, const float *b, float *y)
{
    HL_GO(g, select_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, n, c, a, b, y);
}

/* --- several in one pass --- */

__device__ inline float apply1(int row, float x)
{
    switch (row) {
#define HL_EW1(name, f32, f64, doc, lo, hi, abs)                                                   \
    case HL_EW1_##name:                                                                            \
        return ew1_##name::of(x);
#define HL_EW2(name, f32, f64, doc, lo, hi, abs)
#include "kernels/ew/hl_ew.def"
    default:
        return x;
    }
}

__device__ inline float apply2(int row, float a, float b)
{
    switch (row) {
#define HL_EW1(name, f32, f64, doc, lo, hi, abs)
#define HL_EW2(name, f32, f64, doc, lo, hi, abs)                                                   \
    case HL_EW2_##name:                                                                            \
        return ew2_##name::of(a, b);
#include "kernels/ew/hl_ew.def"
    default:
        return a;
    }
}

__global__ void fused_kernel(hl_gpu_code c, int64_t n, float *y)
{
    HL_EACH(i, n)
    {
        float reg[HL_GPU_REGISTERS], in[3] = {0, 0, 0};
        for (int k = 0; k < c.n; k++) {
            const hl_gpu_instruction x = c.code[k];
            for (int o = 0; o < x.n_in; o++) {
                const int at = x.at[o];
                in[o] = x.from[o] == HL_GPU_FULL     ? c.in[at][i]
                        : x.from[o] == HL_GPU_ONE    ? c.in[at][0]
                        : x.from[o] == HL_GPU_NUMBER ? c.number[at]
                                                     : reg[at];
            }
            const float v = x.n_in == 1     ? apply1(x.row, in[0])
                            : x.n_in == 2   ? apply2(x.row, in[0], in[1])
                            : in[0] != 0.0f ? in[1]
                                            : in[2];
            if (x.to < 0)
                y[i] = v;
            else
                reg[x.to] = v;
        }
    }
}

void hl_cu_fused(hl_gpu *g, const hl_gpu_code *code, int64_t n, float *y)
{
    HL_GO(g, fused_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, *code, n, y);
}

/* --- conversion --- */

__global__ void cast_kernel(int64_t n, hl_dtype from, const void *x, hl_dtype to, void *y)
{
    HL_EACH(i, n)
    hl_cast_element(x, from, y, to, i);
}

void hl_cu_cast(hl_gpu *g, int64_t n, hl_dtype from, const void *x, hl_dtype to, void *y)
{
    HL_GO(g, cast_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, n, from, x, to, y);
}

__global__ void to_half_kernel(int64_t n, bool f16, const float *x, hl_bf16 *y)
{
    HL_EACH(i, n)
    y[i] = f16 ? hl_to_f16(x[i]) : hl_to_bf16(x[i]);
}

__global__ void from_half_kernel(int64_t n, bool f16, const hl_bf16 *x, float *y)
{
    HL_EACH(i, n)
    y[i] = f16 ? hl_from_f16(x[i]) : hl_from_bf16(x[i]);
}

void hl_cu_to_bf16(hl_gpu *g, int64_t n, const float *x, hl_bf16 *y)
{
    HL_GO(g, to_half_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, n, g->f16, x, y);
}

void hl_cu_from_bf16(hl_gpu *g, int64_t n, const hl_bf16 *x, float *y)
{
    HL_GO(g, from_half_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, n, g->f16, x, y);
}

/* --- copies --- */

template <typename T>
__global__ void copy_kernel(hl_gpu_box m, int64_t n, const void *from, void *to)
{
    HL_EACH(i, n)
    {
        int64_t a, b;
        box_at(m, i, &a, &b);
        static_cast<T *>(to)[b] = static_cast<const T *>(from)[a];
    }
}

void hl_cu_copy_box(hl_gpu *g, const hl_gpu_box *m, size_t size, const void *from, void *to)
{
    const int64_t n = count_of(m);
    const unsigned blocks = hl_gpu_blocks(g, n, HL_THREADS);
    if (size == 4)
        HL_GO(g, copy_kernel<uint32_t>, blocks, HL_THREADS, 0, *m, n, from, to);
    else if (size == 8)
        HL_GO(g, copy_kernel<uint64_t>, blocks, HL_THREADS, 0, *m, n, from, to);
    else if (size == 2)
        HL_GO(g, copy_kernel<uint16_t>, blocks, HL_THREADS, 0, *m, n, from, to);
    else
        HL_GO(g, copy_kernel<uint8_t>, blocks, HL_THREADS, 0, *m, n, from, to);
}

/* --- creation --- */

__global__ void iota_kernel(int64_t n, double start, double step, float *y)
{
    HL_EACH(i, n)
    y[i] = (float)(start + step * (double)i);
}

void hl_cu_iota(hl_gpu *g, int64_t n, double start, double step, float *y)
{
    HL_GO(g, iota_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, n, start, step, y);
}

__global__ void uniform_kernel(int64_t n, double low, double high, const hl_gpu_key *key,
                               uint32_t stream, float *y)
{
    const hl_philox_key k = hl_gpu_key_of(key, stream);
    HL_EACH(i, n)
    y[i] = (float)(low + (high - low) * (double)hl_philox_unit(hl_philox_u32(k, (uint64_t)i)));
}

void hl_cu_uniform(hl_gpu *g, int64_t n, double low, double high, const hl_gpu_key *key,
                   uint32_t stream, float *y)
{
    HL_GO(g, uniform_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, n, low, high, key,
          stream, y);
}

__global__ void normal_kernel(int64_t n, double mean, double std, const hl_gpu_key *key,
                              uint32_t stream, float *y)
{
    const hl_philox_key k = hl_gpu_key_of(key, stream);
    HL_EACH(i, n)
    {
        uint32_t w[4];
        double z[2];
        hl_philox_block(k, (uint64_t)i / 4, w);
        hl_philox_normal(w + (i & 2), z);
        y[i] = (float)(mean + std * z[i & 1]);
    }
}

void hl_cu_normal(hl_gpu *g, int64_t n, double mean, double std, const hl_gpu_key *key,
                  uint32_t stream, float *y)
{
    HL_GO(g, normal_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, n, mean, std, key,
          stream, y);
}
