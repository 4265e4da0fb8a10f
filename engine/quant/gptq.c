#include "engine/quant/gptq.h"

#include <math.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"
#include "kernels/quant/quant_body.h"

enum { COLUMNS = 128, ROWS = 16, CUT = 64 };

static double dot(int64_t n, const double *a, const double *b)
{
    double s[8] = {0}, rest = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++)
            s[l] += a[i + l] * b[i + l];
    for (; i < n; i++)
        rest += a[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]) + ((s[4] + s[5]) + (s[6] + s[7])) + rest;
}

static void subtract(int64_t n, double by, const double *x, double *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] -= by * x[i];
}

/* ---- the factor ---- */

/* H = R R^T with R upper triangular: then U = R^-1. Row by row from the last. */
typedef struct factor {
    int64_t k;
    double *r;          /* [k,k]: H in its upper triangle, then R */
    double *u;          /* [k,k] */
    int64_t begin, end; /* rows being made; those below are done */
} factor;

/* Row i's entries right of column `end` of the rows at hand: rows do not need each other there. */
static void far_entries(void *arg, int64_t first, int64_t last, int worker)
{
    const factor *f = arg;
    (void)worker;
    for (int64_t j = f->k; j-- > f->end;) {
        const double *rj = f->r + j * f->k;
        for (int64_t i = f->begin + first; i < f->begin + last; i++) {
            double *ri = f->r + i * f->k;
            ri[j] = (ri[j] - dot(f->k - j - 1, ri + j + 1, rj + j + 1)) / rj[j];
        }
    }
}

/* Among the rows at hand; false: not positive definite. */
static bool near_entries(const factor *f)
{
    for (int64_t i = f->end; i-- > f->begin;) {
        double *ri = f->r + i * f->k;
        for (int64_t j = f->end; j-- > i + 1;) {
            const double *rj = f->r + j * f->k;
            ri[j] = (ri[j] - dot(f->k - j - 1, ri + j + 1, rj + j + 1)) / rj[j];
        }
        const double d = ri[i] - dot(f->k - i - 1, ri + i + 1, ri + i + 1);
        if (!(d > 0))
            return false;
        ri[i] = sqrt(d);
    }
    return true;
}

static void inverse_columns(void *arg, int64_t first, int64_t last, int worker)
{
    const factor *f = arg;
    (void)worker;
    for (int64_t c = first; c < last; c += CUT) {
        const int64_t end = last - c < CUT ? last : c + CUT;
        for (int64_t i = end; i-- > 0;) {
            const double *ri = f->r + i * f->k;
            double *ui = f->u + i * f->k;
            const int64_t from = i > c ? i : c; /* left of the diagonal U is 0 */
            if (i >= c)
                ui[i] = 1;
            for (int64_t m = i + 1; m < end; m++) {
                const int64_t at = m > from ? m : from;
                subtract(end - at, ri[m], f->u + m * f->k + at, ui + at);
            }
            for (int64_t j = from; j < end; j++)
                ui[j] /= ri[i];
        }
    }
}

static hl_status make_factor(hl_team *team, double damping, const float *gram, factor *f)
{
    const int64_t k = f->k;
    double mean = 0;
    for (int64_t i = 0; i < k; i++)
        mean += (double)gram[i * k + i] / (double)k;
    if (!isfinite(mean))
        return hl_err_set(HL_E_NUMERIC, "what goes into the layer is not finite");
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = i; j < k; j++)
            f->r[i * k + j] = (double)gram[i * k + j];
        f->r[i * k + i] += mean > 0 ? damping * mean : 1;
    }
    for (f->end = k; f->end > 0; f->end = f->begin) {
        f->begin = f->end > CUT ? f->end - CUT : 0;
        hl_for_rows(team, f->end - f->begin, 8, far_entries, f);
        if (!near_entries(f))
            return hl_err_set(HL_E_NUMERIC,
                              "the inputs of the layer are too much alike for GPTQ: take more "
                              "batches or a larger quantize.damping than %g",
                              damping);
    }
    hl_for_rows(team, k, CUT, inverse_columns, f);
    return HL_OK;
}

/* ---- the columns ---- */

typedef struct gptq_job {
    const hl_layer_inputs *in;
    const double *u;
    float *y;
    int64_t width, block;
    hl_quantizer *q; /* one per worker */
    double *own;     /* per worker ROWS (k + block) numbers */
} gptq_job;

static hl_quant_grid grid_at(const gptq_job *j, hl_quantizer *q, const double *w, int64_t column)
{
    const int64_t rest = j->in->k - column, n = rest < j->width ? rest : j->width;
    float ends[2] = {0}; /* of the group: all that a grid asks of it */
    for (int64_t c = column; c < column + n; c++) {
        const float v = (float)w[c];
        ends[0] = v < ends[0] ? v : ends[0];
        ends[1] = v > ends[1] ? v : ends[1];
    }
    return hl_group_grid(q, 2, ends);
}

typedef struct row {
    double *w; /* [k]: weights, those not rounded yet with what the others owe them */
    double *e; /* [block]: errors of the block's columns */
    float *y;
    hl_quant_grid grid; /* of the group at hand */
} row;

/* Through the columns [c, end). */
static void round_block(const gptq_job *j, hl_quantizer *q, row *r, int64_t c, int64_t end)
{
    for (int64_t at = c; at < end; at++) {
        if (at % j->width == 0)
            r->grid = grid_at(j, q, r->w, at);
        const double *u = j->u + at * j->in->k;
        r->y[at] = hl_quant_apply(r->grid, (float)r->w[at]);
        r->e[at - c] = (r->w[at] - (double)r->y[at]) / u[at];
        subtract(end - at - 1, r->e[at - c], u + at + 1, r->w + at + 1);
    }
}

static void round_rows(void *arg, int64_t first, int64_t last, int worker)
{
    const gptq_job *j = arg;
    const int64_t k = j->in->k;
    double *own = j->own + (int64_t)worker * ROWS * (k + j->block);
    row rows[ROWS];
    for (int64_t i = first; i < last; i += ROWS) {
        const int64_t n = last - i < ROWS ? last - i : ROWS;
        for (int64_t r = 0; r < n; r++) {
            rows[r] = (row){.w = own + r * (k + j->block), .y = j->y + (i + r) * k};
            rows[r].e = rows[r].w + k;
            for (int64_t c = 0; c < k; c++)
                rows[r].w[c] = (double)j->in->w[(i + r) * k + c];
        }
        for (int64_t c = 0; c < k; c += j->block) {
            const int64_t end = k - c < j->block ? k : c + j->block;
            for (int64_t r = 0; r < n; r++)
                round_block(j, &j->q[worker], &rows[r], c, end);
            for (int64_t at = c; at < end; at++) /* a row of U serves all rows of w */
                for (int64_t r = 0; r < n; r++)
                    subtract(k - end, rows[r].e[at - c], j->u + at * k + end, rows[r].w + end);
        }
    }
}

hl_status hl_gptq(hl_team *team, const hl_group_options *o, double damping,
                  const hl_layer_inputs *in, float *y)
{
    hl_status st = HL_OK;
    const int n_workers = team ? team->n : 1;
    const int64_t k = in->k, width = hl_group_width(o, k);
    const int64_t block = width >= k || width == 0 ? COLUMNS
                          : width >= COLUMNS       ? width
                                                   : COLUMNS / width * width;
    factor f = {.k = k};
    gptq_job j = {.in = in, .y = y, .width = width, .block = block};
    const size_t own = (size_t)(n_workers * ROWS * (k + block));
    f.r = hl_alloc((size_t)(k * k + 1) * sizeof *f.r);
    f.u = hl_alloc_zero((size_t)(k * k) + 1, sizeof *f.u);
    j.q = hl_alloc_zero((size_t)n_workers, sizeof *j.q);
    j.own = hl_alloc(own * sizeof *j.own);
    if (!f.r || !f.u || !j.q || !j.own)
        HL_TRY(HL_E_NOMEM);
    for (int i = 0; i < n_workers; i++)
        HL_TRY(hl_group_quantizer(o, &j.q[i]));
    for (int64_t i = 0; i < in->n * k; i++)
        if (!isfinite(in->w[i]))
            HL_FAIL(HL_E_NUMERIC, "a weight is not finite");
    HL_TRY(make_factor(team, damping, in->gram, &f));
    j.u = f.u;
    hl_for_rows(team, in->n, ROWS, round_rows, &j);
out:
    for (int i = 0; j.q && i < n_workers; i++)
        hl_quantizer_done(&j.q[i]);
    hl_free(j.q);
    hl_free(j.own);
    hl_free(f.r);
    hl_free(f.u);
    return st;
}
