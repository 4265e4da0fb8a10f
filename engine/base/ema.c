#include "engine/base/ema.h"

#include <math.h>
#include <stdlib.h>

void hl_ema_init(hl_ema *e, double factor, double unit, bool log)
{
    *e = (hl_ema){.factor = factor, .unit = unit, .log = log, .dx_before = (double)NAN};
}

static double decay(hl_ema *e, double dx)
{
    if (dx != e->dx_before) {
        e->dx_before = dx;
        e->decay_before = pow(e->factor, dx / e->unit);
    }
    return e->decay_before;
}

double hl_ema_add(hl_ema *e, double x, double y)
{
    const double dx = e->n > 0 ? fabs(x - e->x) : e->unit;
    e->x = x;
    if (e->n++ == 0) {
        e->first = y;
        e->mean = e->log ? 0 : y;
        e->weight = 1 - e->factor;
        return y;
    }
    const double v = e->log ? log(y / e->first) : y;
    const double kept = decay(e, dx);
    const double own = 1 - (dx > 0 ? kept : e->factor);
    e->weight = e->weight * kept + own;
    const double share = e->weight > 0 ? own / e->weight : 1;
    const double change = v - e->mean;
    e->mean = isfinite(change) ? e->mean + share * change : e->mean * (1 - share) + v * share;
    return e->log ? e->first * exp(e->mean) : e->mean;
}

static int by_size(const void *a, const void *b)
{
    const double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

double hl_ema_unit(double *distance, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (distance[i] > 0 && isfinite(distance[i]))
            distance[k++] = distance[i];
    if (k == 0)
        return 1;
    qsort(distance, k, sizeof *distance, by_size);
    return distance[k / 2];
}
