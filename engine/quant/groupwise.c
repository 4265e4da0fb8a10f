#include "engine/quant/groupwise.h"

#include <math.h>

#include "engine/base/err.h"

hl_status hl_group_quantizer(const hl_group_options *o, hl_quantizer *q)
{
    *q = (hl_quantizer){0};
    if (o->bits > 8 || o->group < 0)
        return hl_err_set(HL_E_ARG, "groups of %lld weights of %d bits: 2 to 8 bits are possible",
                          (long long)o->group, o->bits);
    return hl_quantizer_init(q, &(hl_quant_options){HL_QUANT_ASYMMETRIC, o->bits, 1, false});
}

hl_quant_grid hl_group_grid(hl_quantizer *q, int64_t n, const float *x)
{
    double lo = 0, hi = 0;
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)x[i];
        lo = v < lo ? v : lo;
        hi = v > hi ? v : hi;
    }
    if (hl_quantizer_set_range(q, &(hl_quant_range){1, false, &lo, &hi}) != HL_OK)
        return (hl_quant_grid){.scale = NAN}; /* a range beyond floats: found where y is checked */
    return hl_quantizer_grid(q, 0);
}

int64_t hl_group_width(const hl_group_options *o, int64_t k)
{
    return o->group > 0 && o->group < k ? o->group : k;
}

double hl_group_bits(const hl_group_options *o, int64_t n, int64_t k)
{
    const int64_t width = hl_group_width(o, k), groups = width ? (k + width - 1) / width : 0;
    return (double)n * ((double)k * o->bits + (double)groups * (16 + o->bits));
}

hl_status hl_rtn(const hl_group_options *o, int64_t n, int64_t k, const float *w, float *y)
{
    hl_quantizer q;
    hl_status st = hl_group_quantizer(o, &q);
    const int64_t width = hl_group_width(o, k);
    for (int64_t i = 0; st == HL_OK && i < n * k; i++)
        if (!isfinite(w[i]))
            st = hl_err_set(HL_E_NUMERIC, "a weight is not finite");
    for (int64_t r = 0; st == HL_OK && r < n; r++)
        for (int64_t c = 0; c < k; c += width) {
            const int64_t m = k - c < width ? k - c : width;
            const hl_quant_grid g = hl_group_grid(&q, m, w + r * k + c);
            hl_cpu()->fake_quant(g, m, w + r * k + c, y + r * k + c);
        }
    hl_quantizer_done(&q);
    return st;
}

typedef struct rows_job {
    int64_t n, unit;
    hl_rows_fn body;
    void *arg;
} rows_job;

static void rows_part(void *arg, int worker, int n_workers)
{
    const rows_job *j = arg;
    int64_t begin, end;
    hl_slice(j->n, j->unit, worker, n_workers, &begin, &end);
    if (begin < end)
        j->body(j->arg, begin, end, worker);
}

void hl_for_rows(hl_team *team, int64_t n, int64_t unit, hl_rows_fn body, void *arg)
{
    rows_job j = {n, unit, body, arg};
    if (team)
        team->run(team, rows_part, &j);
    else
        rows_part(&j, 0, 1);
}
