/* Weights of Anderson mixing (Walker & Ni 2011) and the small dense systems behind them, in double,
 * for both compilers. */
#ifndef HL_ANDERSON_BODY_H
#define HL_ANDERSON_BODY_H

#include <math.h>

#include "kernels/hl_types.h"

/* x = A^-1 b by elimination with partial pivoting; a [q, q] and b are destroyed. false: singular.
 */
HL_HD bool hl_dense_body(int q, double *a, double *b, double *x)
{
    for (int c = 0; c < q; c++) {
        int top = c;
        for (int r = c + 1; r < q; r++)
            if (fabs(a[r * q + c]) > fabs(a[top * q + c]))
                top = r;
        if (!(fabs(a[top * q + c]) > 0) || !isfinite(a[top * q + c]))
            return false;
        for (int k = 0; k < q && top != c; k++) {
            const double t = a[c * q + k];
            a[c * q + k] = a[top * q + k];
            a[top * q + k] = t;
        }
        const double t = b[c];
        b[c] = b[top];
        b[top] = t;
        for (int r = c + 1; r < q; r++) {
            const double by = a[r * q + c] / a[c * q + c];
            for (int k = c; k < q; k++)
                a[r * q + k] -= by * a[c * q + k];
            b[r] -= by * b[c];
        }
    }
    for (int c = q - 1; c >= 0; c--) {
        double s = b[c];
        for (int k = c + 1; k < q; k++)
            s -= a[c * q + k] * x[k];
        x[c] = s / a[c * q + c];
    }
    return true;
}

/* alpha [2 q]: first the solution of (A + ridge) b = 1 scaled to sum 1, room behind it; relative:
 * ridge times the mean of the diagonal. a [q, q] is destroyed. *b_sum: the sum before scaling.
 * false: singular, or not finite. */
HL_HD bool hl_anderson_body(int q, double *a, double ridge, bool relative, double *alpha,
                            double *b_sum)
{
    double *one = alpha + q, trace = 0, sum = 0;
    for (int i = 0; i < q; i++)
        trace += a[i * q + i];
    for (int i = 0; i < q; i++) {
        one[i] = 1;
        a[i * q + i] += relative ? ridge * trace / q : ridge;
    }
    if (!hl_dense_body(q, a, one, alpha))
        return false;
    for (int i = 0; i < q; i++)
        sum += alpha[i];
    *b_sum = sum;
    for (int i = 0; i < q; i++) {
        alpha[i] /= sum;
        if (!isfinite(alpha[i]))
            return false;
    }
    return true;
}

#endif
