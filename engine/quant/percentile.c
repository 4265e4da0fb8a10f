#include "engine/quant/percentile.h"

#include <math.h>
#include <string.h>

#include "kernels/quant/range_body.h"

enum { HALF = 65536 };

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
    hl_key_count_fn count;
    void *arg;
    int64_t *high, *low; /* counts of upper halves; of lower halves under the bucket `counted` */
    int64_t counted;     /* -1: none */
    hl_status st;
} selection;

static float order_statistic(selection *s, int64_t rank)
{
    const uint32_t bucket = bucket_of(s->high, &rank);
    if (s->counted != (int64_t)bucket && s->st == HL_OK) {
        s->st = s->count(s->arg, bucket, s->low);
        s->counted = bucket;
    }
    return float_of(bucket << 16 | bucket_of(s->low, &rank));
}

hl_status hl_percentiles_of(int64_t n, hl_key_count_fn count, void *arg, const double p[2],
                            int64_t *counts, double out[2])
{
    selection s = {
        .count = count, .arg = arg, .high = counts, .low = counts + HALF, .counted = -1};
    s.st = count(arg, -1, s.high);
    for (int k = 0; k < 2 && s.st == HL_OK; k++) {
        const double t = (double)(n - 1) * (p[k] / 100), whole = floor(t), part = t - whole;
        const int64_t i = (int64_t)whole;
        const float a = order_statistic(&s, i), b = order_statistic(&s, i + 1 < n ? i + 1 : i);
        const double d = (double)(float)(b - a);
        out[k] = part < 0.5 ? (double)a + d * part : (double)b - d * (1 - part);
    }
    return s.st;
}

typedef struct numbers {
    int64_t n;
    const float *x;
} numbers;

static hl_status count_keys(void *arg, int64_t upper, int64_t *counts)
{
    const numbers *a = arg;
    memset(counts, 0, HALF * sizeof *counts);
    for (int64_t i = 0; i < a->n; i++) {
        const uint32_t key = hl_float_key(a->x[i]);
        if (upper < 0)
            counts[key >> 16]++;
        else if (key >> 16 == (uint32_t)upper)
            counts[key & 0xFFFF]++;
    }
    return HL_OK;
}

void hl_percentiles(int64_t n, const float *x, const double p[2], int64_t *counts, double out[2])
{
    numbers a = {n, x};
    const hl_status st = hl_percentiles_of(n, count_keys, &a, p, counts, out);
    (void)st; /* counting here cannot fail */
}
