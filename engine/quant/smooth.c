#include "engine/quant/smooth.h"

#include <math.h>

void hl_smooth_scales(double alpha, int64_t k, const double *x_max, const double *w_max, float *s)
{
    const double least = 1e-5;
    for (int64_t j = 0; j < k; j++)
        s[j] = (float)fmax(
            pow(fmax(x_max[j], least), alpha) / pow(fmax(w_max[j], least), 1 - alpha), least);
}
