/* The vocabulary every layer shares: element types, status codes, limits.
 * Needs libc only and compiles as C11, C++17 and CUDA. */
#ifndef HL_TYPES_H
#define HL_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define HL_HD __host__ __device__ __forceinline__
#else
#define HL_HD static inline
#endif

#if defined(__GNUC__)
#define HL_MUST_CHECK   __attribute__((warn_unused_result))
#define HL_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define HL_UNUSED       __attribute__((unused))
#else
#define HL_MUST_CHECK
#define HL_PRINTF(f, a)
#define HL_UNUSED
#endif

/* A status says what the caller can do; the message (engine/base/err.h) says what happened. */
typedef enum hl_status {
    HL_OK = 0,
    HL_E_NOMEM,       /* memory ran out, or a limit the user set was reached */
    HL_E_ARG,         /* a value out of range, an unknown name */
    HL_E_SHAPE,       /* shapes that do not fit each other */
    HL_E_DTYPE,       /* an element type the operation does not take */
    HL_E_DEVICE,      /* no such device, or it failed */
    HL_E_IO,          /* the operating system refused a file or socket */
    HL_E_FORMAT,      /* a file or message that is damaged or of another kind */
    HL_E_STATE,       /* right call, wrong moment */
    HL_E_NOTFOUND,    /* no file, run or tensor of that name */
    HL_E_CANCELLED,   /* stopped on request */
    HL_E_NUMERIC,     /* a value is not finite where it must be */
    HL_E_UNSUPPORTED, /* not built in, or not defined for this case */
    HL_E_INTERNAL,    /* a bug of ours */
    HL_STATUS_COUNT
} hl_status;

typedef enum hl_dtype {
    HL_DTYPE_F32 = 0,
    HL_DTYPE_F64,
    HL_DTYPE_BF16,
    HL_DTYPE_F16,
    HL_DTYPE_I8,
    HL_DTYPE_U8,
    HL_DTYPE_I32,
    HL_DTYPE_I64,
    HL_DTYPE_BOOL,
    HL_DTYPE_COUNT
} hl_dtype;

typedef uint16_t hl_bf16; /* bits; kernels/vec/bf16_body.h converts */

#define HL_MAX_RANK 6

HL_HD size_t hl_dtype_bytes(hl_dtype t)
{
    switch (t) {
    case HL_DTYPE_F64:
    case HL_DTYPE_I64:
        return 8;
    case HL_DTYPE_F32:
    case HL_DTYPE_I32:
        return 4;
    case HL_DTYPE_BF16:
    case HL_DTYPE_F16:
        return 2;
    default:
        return 1;
    }
}

HL_HD bool hl_dtype_is_float(hl_dtype t)
{
    return t == HL_DTYPE_F32 || t == HL_DTYPE_F64 || t == HL_DTYPE_BF16 || t == HL_DTYPE_F16;
}

#endif
