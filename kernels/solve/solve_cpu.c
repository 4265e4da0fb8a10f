/* What fixed-point solvers do to one sample's state: norms, products, linear combinations. Sums are
 * of floats within a block and of doubles across blocks. */
#include "kernels/row/row_body.h"
#include "kernels/vec/hl_isa.h"

enum { BLOCK = 512 };

void HL_K(row_change)(int64_t n, const float *x, const float *y, double sums[2])
{
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t m = n - i < BLOCK ? n - i : BLOCK;
        float d, s;
        HL_ROW_SUM(d, j, m, (y[i + j] - x[i + j]) * (y[i + j] - x[i + j]));
        HL_ROW_SUM(s, j, m, y[i + j] * y[i + j]);
        sums[0] += (double)d;
        sums[1] += (double)s;
    }
}

void HL_K(row_dot)(int64_t n, const float *x, const float *y, double *sum)
{
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t m = n - i < BLOCK ? n - i : BLOCK;
        float s;
        HL_ROW_SUM(s, j, m, x[i + j] * y[i + j]);
        *sum += (double)s;
    }
}

void HL_K(row_mix)(int64_t n, int n_rows, const float *by, const float *const *x, float *y)
{
    enum { PART = 256 };
    float sum[PART];
    for (int64_t i = 0; i < n; i += PART) {
        const int64_t m = n - i < PART ? n - i : PART;
        for (int64_t j = 0; j < m; j++)
            sum[j] = by[0] * x[0][i + j];
        for (int r = 1; r < n_rows; r++)
            for (int64_t j = 0; j < m; j++)
                sum[j] += by[r] * x[r][i + j];
        memcpy(y + i, sum, (size_t)m * sizeof *y);
    }
}
