/* What op files share: cutting work for the team, checks, and the short forms that cases are written
 * in. Included by engine/ops/ and engine/solve/ only. */
#ifndef HL_OPS_OP_COMMON_H
#define HL_OPS_OP_COMMON_H

#include <math.h>
#include <string.h>

#include "engine/graph/build.h"
#include "engine/ops/op.h"

/* body(arg, begin, end, worker) on disjoint parts of [0, n), cut at multiples of unit; on the caller
 * alone when a part would have fewer than `grain` elements. */
typedef void (*hl_part_fn)(void *arg, int64_t begin, int64_t end, int worker);
void hl_parallel(const hl_exec *x, int64_t n, int64_t unit, int64_t grain, hl_part_fn body,
                 void *arg);

/* Elements below which a second worker does not pay (a hand-off costs about as much). */
#define HL_GRAIN 16384

static inline const float *hl_in_f(const hl_op_run *r, int i)
{
    return r->in[i];
}
static inline float *hl_out_f(const hl_op_run *r, int i)
{
    return r->out[i];
}
static inline const double *hl_in_d(const hl_op_run *r, int i)
{
    return r->in[i];
}
static inline double *hl_out_d(const hl_op_run *r, int i)
{
    return r->out[i];
}

/* On the device that r runs on, or on the host. */
void hl_clear(const hl_op_run *r, void *to, size_t bytes);
void hl_copy(const hl_op_run *r, void *to, const void *from, size_t bytes);
/* The alpha of entmax on the device, NULL where a call has none. */
const float *hl_gpu_alpha(const hl_op_run *r, int input);

/* The quantizer whose range is input i, as kernels take it; one without a range where that is left
 * out. */
hl_gpu_quantizer hl_gpu_quantizer_of(const hl_op_run *r, int i, hl_quant_form form);

/* Product of the sizes before, and from, dimension k. */
int64_t hl_type_rows(const hl_type *t, int k);
int64_t hl_type_cols(const hl_type *t, int k);

/* f32 or f64, or bf16 where the row takes it; hl_want_alike: input j too, if it is bf16. */
HL_MUST_CHECK hl_status hl_want_float(const hl_call *c, int input);
HL_MUST_CHECK hl_status hl_want_alike(const hl_call *c, int input, int j);
HL_MUST_CHECK hl_status hl_want_dtype(const hl_call *c, int input, hl_dtype d);
HL_MUST_CHECK hl_status hl_want_rank(const hl_call *c, int input, int least, int most);

/* The range of a quantizer: f64{HL_QUANT_RANGE_FIELDS}. */
HL_MUST_CHECK hl_status hl_want_range(const hl_call *c, int input);
/* Are the n ids rows of a table of so many? */
HL_MUST_CHECK hl_status hl_check_ids(const int32_t *ids, int64_t n, int64_t rows);
bool hl_has_input(const hl_call *c, int input); /* an optional one */

/* Codes of n numbers on a grid of bytes, with the team; cost: one pass over them. Errors: NUMERIC
 * (numbers that are not finite have none: hl_no_codes). */
HL_MUST_CHECK hl_status hl_encode_bytes(const hl_exec *x, hl_quant_grid g, int64_t n,
                                        const float *from, uint8_t *codes);
hl_status hl_no_codes(void);

/* The alpha of entmax that a call is given or not: a tensor of one element where `base` is ENTMAX,
 * else nothing. */
HL_MUST_CHECK hl_status hl_want_alpha(const hl_call *c, int input, int64_t base);
/* Its value; 0 where there is none. */
double hl_alpha_f32(const hl_op_run *r, int input);
double hl_alpha_f64(const hl_op_run *r, int input);

/* Names of attributes: of hl_normaliser_base, hl_act, hl_quant_scheme. */
extern const char *const hl_normaliser_names[], *const hl_act_names[], *const hl_quant_scheme_names[];

double hl_act_f64(hl_act act, double x);

/* The hl_ew1_id of an operation of one operand, the hl_ew2_id of one of two, 0 of `where`; -1 where
 * hl_ew_is does not hold. A search: not for the inside of a step. */
int hl_ew_row(const hl_op *op);

/* Key of this call's random numbers. */
hl_philox_key hl_run_key(const hl_op_run *r);

static inline const hl_bf16 *hl_in_bf16(const hl_op_run *r, int i)
{
    return r->call->in[i].dtype == HL_DTYPE_BF16 ? r->in[i] : NULL;
}

static inline hl_bf16 *hl_out_bf16(const hl_op_run *r, int i)
{
    return r->call->out[i].dtype == HL_DTYPE_BF16 ? r->out[i] : NULL;
}

/* Of what is computed from input `in`: f32 from bf16. */
static inline hl_dtype hl_computed(const hl_call *c, int in)
{
    return c->in[in].dtype == HL_DTYPE_BF16 ? HL_DTYPE_F32 : c->in[in].dtype;
}

static inline void hl_out_like(hl_call *c, int out, int in)
{
    c->out[out] = c->in[in];
    if (hl_op_takes_bf16(c->op, in))
        c->out[out].dtype = hl_computed(c, in);
    if (c->n_out <= out)
        c->n_out = out + 1;
}

/* --- cases --- */
#define HL_N_DIMS(...)     ((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define HL_NORMAL(...)     {HL_DTYPE_F32, HL_N_DIMS(__VA_ARGS__), {__VA_ARGS__}, HL_FILL_NORMAL, 0, 1, 0}
/* codes of a quantizer, and the state of one whose range lies between l and h */
#define HL_CODES_I8(...)   {HL_DTYPE_I8, HL_N_DIMS(__VA_ARGS__), {__VA_ARGS__}, HL_FILL_RANGE, -128, 127, 0}
#define HL_CODES_U8(...)   {HL_DTYPE_U8, HL_N_DIMS(__VA_ARGS__), {__VA_ARGS__}, HL_FILL_RANGE, 0, 255, 0}
#define HL_RANGE_STATE(l, h) {HL_DTYPE_F64, 1, {HL_QUANT_RANGE_FIELDS}, HL_FILL_RANGE, l, h, 0}
#define HL_POSITIVE(...)   {HL_DTYPE_F32, HL_N_DIMS(__VA_ARGS__), {__VA_ARGS__}, HL_FILL_POSITIVE, 0, 1, 0}
#define HL_RANGE(l, h, ...) {HL_DTYPE_F32, HL_N_DIMS(__VA_ARGS__), {__VA_ARGS__}, HL_FILL_RANGE, l, h, 0}
#define HL_MASK01(...)     {HL_DTYPE_F32, HL_N_DIMS(__VA_ARGS__), {__VA_ARGS__}, HL_FILL_MASK, 0, 1, 0}
#define HL_SCALAR(v)       {HL_DTYPE_F32, 0, {0}, HL_FILL_CONST, v, v, 0}
#define HL_INDEX(n, ...)   {HL_DTYPE_I32, HL_N_DIMS(__VA_ARGS__), {__VA_ARGS__}, HL_FILL_INDEX, 0, n, 0}
#define HL_LABEL(n, ...)   {HL_DTYPE_I32, HL_N_DIMS(__VA_ARGS__), {__VA_ARGS__}, HL_FILL_INDEX, -1, n, 0}
#define HL_KEYMASK(...)    {HL_DTYPE_BOOL, HL_N_DIMS(__VA_ARGS__), {__VA_ARGS__}, HL_FILL_MASK, 0, 1, 0}
#define HL_ABSENT          {HL_DTYPE_COUNT, 0, {0}, HL_FILL_CONST, 0, 0, 1}
#define HL_INS(...)                                                                                \
    .in = {__VA_ARGS__}, .n_in = (int)(sizeof((hl_case_input[]){__VA_ARGS__}) / sizeof(hl_case_input))
#define HL_CASES(x) .cases = (x), .n_cases = (int)(sizeof(x) / sizeof(x)[0])

#endif
