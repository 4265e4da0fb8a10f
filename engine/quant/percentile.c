#include "engine/quant/percentile.h"

#include <math.h>
#include <string.h>

enum { HALF = 65536 };

/* Order of the keys = order of the floats. */
static uint32_t key_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

static float float_of(uint32_t key)
{
    const uint32_t u = key & 0x80000000u ? key & 0x7FFFFFFFu : ~key;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* The bucket of that rank; what remains is the rank within it. */
static uint32_t bucket_of(const int64_t *counts, int64_t *rank)
{
    uint32_t b = 0;
    while (b < HALF - 1 && *rank >= counts[b])
        *rank -= counts[b++];
    return b;
}

typedef struct selection {
    int64_t n;
    const float *x;
    int64_t *high, *low; /* counts of upper halves; of lower halves under the bucket `counted` */
    int64_t counted;     /* -1: none */
} selection;

static float order_statistic(selection *s, int64_t rank)
{
    const uint32_t bucket = bucket_of(s->high, &rank);
    if (s->counted != (int64_t)bucket) {
        memset(s->low, 0, HALF * sizeof *s->low);
        for (int64_t i = 0; i < s->n; i++) {
            const uint32_t key = key_of(s->x[i]);
            if (key >> 16 == bucket)
                s->low[key & 0xFFFF]++;
        }
        s->counted = bucket;
    }
    return float_of(bucket << 16 | bucket_of(s->low, &rank));
}

void hl_percentiles(int64_t n, const float *x, const double p[2], int64_t *counts, double out[2])
{
    selection s = {.n = n, .x = x, .high = counts, .low = counts + HALF, .counted = -1};
    memset(s.high, 0, HALF * sizeof *s.high);
    for (int64_t i = 0; i < n; i++)
        s.high[key_of(x[i]) >> 16]++;
    for (int k = 0; k < 2; k++) {
        const double t = (double)(n - 1) * (p[k] / 100), whole = floor(t), part = t - whole;
        const int64_t i = (int64_t)whole;
        const float a = order_statistic(&s, i), b = order_statistic(&s, i + 1 < n ? i + 1 : i);
        const double d = (double)(float)(b - a);
        out[k] = part < 0.5 ? (double)a + d * part : (double)b - d * (1 - part);
    }
}
