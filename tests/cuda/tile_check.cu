/* The wrappers of kernels/cuda/tile.cuh against plain products of the same numbers. These are
 * eighths that every format holds, and their sums are exact: results must be equal. On hardware
 * this says whether the layouts of fragments are what the emulation takes them for. */
#include <stdio.h>

#include "kernels/cuda/tile.cuh"
#include "tests/cuda/device_checks.h"

namespace
{

enum { MOST = 64 * 128 };

/* Operands and results of one check, in memory that both sides see. */
struct room {
    float a[MOST], b[MOST], left[MOST], c[MOST], o[MOST];
    uint16_t a16[MOST], b16[MOST];
};

/* c [16, 8N] = a [16,D] b [8N,D]^T and o [16,D] = left [16, 8N] b, through copies in the
 * background; rows `there` of b exist, of d elements. early: what lay in shared memory before the
 * wait. */
template <int KIND, int D, int N>
__global__ void products_kernel(room *r, int there, int d, float *early)
{
    typedef typename hl_tile_of<KIND>::element element;
    const int row = hl_tile_row<KIND>(D), l = (int)threadIdx.x;
    HL_SHARED(unsigned char, bytes);
    element *a = reinterpret_cast<element *>(bytes), *b = a + 16 * row;
    float *wide = reinterpret_cast<float *>(b + 8 * N * row);
    const element *from_a = sizeof *a == 2 ? reinterpret_cast<const element *>(r->a16)
                                           : reinterpret_cast<const element *>(r->a),
                  *from_b = sizeof *a == 2 ? reinterpret_cast<const element *>(r->b16)
                                           : reinterpret_cast<const element *>(r->b);
    float c[N][4] = {}, o[D / 8][4] = {}, left[N][4];
    hl_copy_rows<KIND, D>(a, 16, from_a, D, 16, d, true);
    hl_copy_commit();
    hl_copy_rows<KIND, D>(b, 8 * N, from_b, D, there, d, there % 2 == 0);
    hl_copy_commit();
    if (early && l == 0)
        *early = (float)a[0];
    hl_copy_wait<0>();
    __syncthreads();
    hl_rows_by_rows<KIND, D, N>::add(c, a, b);
    for (int j = 0; j < N; j++)
        for (int i = 0; i < 4; i++) {
            const int at = (l / 4 + i / 2 * 8) * 8 * N + 8 * j + l % 4 * 2 + i % 2;
            r->c[at] = c[j][i];
            left[j][i] = r->left[at];
        }
    hl_left_by_rows<KIND, D, N>::add(o, left, b, wide);
    for (int j = 0; j < D / 8; j++)
        for (int i = 0; i < 4; i++)
            r->o[(l / 4 + i / 2 * 8) * D + 8 * j + l % 4 * 2 + i % 2] = o[j][i];
}

/* One product of fp16, its fragments taken apart by the layout. */
__global__ void half_kernel(room *r)
{
    const int l = (int)threadIdx.x, g = l / 4, t = l % 4;
    float c[4] = {};
    uint32_t a[4], b[2];
    for (int i = 0; i < 4; i++) {
        const float *at = r->a + (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8;
        a[i] = hl_pair_f16(at[0], at[1]);
    }
    for (int i = 0; i < 2; i++) /* B [16,8] is r->b [8,16] transposed */
        b[i] = hl_pair_f16(r->b[g * 16 + 2 * t + i * 8], r->b[g * 16 + 2 * t + i * 8 + 1]);
    hl_multiply_f16(c, a, b);
    for (int i = 0; i < 4; i++)
        r->c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = c[i];
}

float eighth(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)((int)(*state >> 20 & 31) - 16) * 0.125f;
}

void draw(room *r)
{
    unsigned state = 7;
    for (int i = 0; i < MOST; i++) {
        r->a[i] = eighth(&state);
        r->b[i] = eighth(&state);
        r->left[i] = eighth(&state);
        r->a16[i] = hl_to_bf16(r->a[i]);
        r->b16[i] = hl_to_bf16(r->b[i]);
        r->c[i] = r->o[i] = NAN;
    }
}

/* a, b have rows of `d_room`, of which d count */
int wrong(const room *r, int n, int d_room, int there, int d)
{
    int n_wrong = 0;
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < n; j++) {
            float want = 0;
            for (int e = 0; e < d && j < there; e++)
                want += r->a[i * d_room + e] * r->b[j * d_room + e];
            n_wrong += !(r->c[i * n + j] == want);
        }
        for (int e = 0; e < d_room; e++) {
            float want = 0;
            for (int j = 0; j < there && e < d; j++)
                want += r->left[i * n + j] * r->b[j * d_room + e];
            n_wrong += !(r->o[i * d_room + e] == want);
        }
    }
    return n_wrong;
}

template <int KIND, int D, int N> int products(const char *kind, room *r, int there, int d)
{
    const size_t bytes =
        (size_t)(16 + 8 * N) * hl_tile_row<KIND>(D) * sizeof(typename hl_tile_of<KIND>::element) +
        (size_t)hl_tile_room(KIND, N) * sizeof(float);
    void (*kernel)(room *, int, int, float *) = products_kernel<KIND, D, N>;
    float *early = NULL;
#ifdef HL_CUDA_EMULATED
    early = &r->left[MOST - 1]; /* there nothing arrives before it is waited for */
#endif
    draw(r);
    (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    HL_LAUNCH(kernel, 1, 32, bytes, (cudaStream_t)0, r, there, d, early);
    const cudaError_t e = cudaStreamSynchronize((cudaStream_t)0);
    const int n = e == cudaSuccess ? wrong(r, 8 * N, D, there, d) : 1;
    if (n)
        printf("FAILED: tiles of %s, %d x %d: %d wrong, %s\n", kind, D, 8 * N, n,
               cudaGetErrorString(e));
    if (early && *early == r->a[0] && sizeof(typename hl_tile_of<KIND>::element) == 4) {
        printf("FAILED: tiles of %s: a copy arrived before it was waited for\n", kind);
        return n + 1;
    }
    return n;
}

template <int KIND> int kind(const char *name, room *r)
{
    return products<KIND, 32, 4>(name, r, 32, 32) + products<KIND, 64, 8>(name, r, 64, 64) +
           products<KIND, 128, 4>(name, r, 32, 128) + products<KIND, 64, 4>(name, r, 17, 40);
}

} // namespace

extern "C" int tile_check(int *compared)
{
    void *shared = NULL;
    if (cudaMallocManaged(&shared, sizeof(room), cudaMemAttachGlobal) != cudaSuccess) {
        printf("FAILED: no memory for tiles\n");
        return 1;
    }
    room *r = static_cast<room *>(shared);
    int n_wrong = kind<HL_TILE_F32>("fp32", r) + kind<HL_TILE_TF32>("tf32", r) +
                  kind<HL_TILE_BF16>("bf16", r);
    draw(r);
    HL_LAUNCH(half_kernel, 1, 32, 0, (cudaStream_t)0, r);
    (void)cudaStreamSynchronize((cudaStream_t)0);
    for (int i = 0; i < 16 * 8; i++) {
        float want = 0;
        for (int k = 0; k < 16; k++)
            want += r->a[i / 8 * 16 + k] * r->b[i % 8 * 16 + k];
        if (r->c[i] != want) {
            printf("FAILED: tiles of fp16: element %d\n", i);
            n_wrong++;
        }
    }
    *compared += 13;
    cudaFree(shared);
    return n_wrong;
}
