#include "engine/base/rng.h"

#include <math.h>

#include "kernels/rng/philox_body.h"

hl_rng hl_rng_make(uint64_t seed, hl_rng_space space, uint32_t stream, uint32_t step)
{
    return (hl_rng){
        .seed = seed, .stream = ((uint32_t)space << 24) | (stream & 0xFFFFFFu), .step = step};
}

uint32_t hl_rng_at(const hl_rng *r, uint64_t element)
{
    return hl_philox_u32(hl_philox_key_make(r->seed, r->stream, r->step), element);
}

uint32_t hl_rng_next(hl_rng *r)
{
    return hl_rng_at(r, r->element++);
}

uint32_t hl_rng_below(hl_rng *r, uint32_t n)
{
    uint32_t reject_below = (uint32_t)(-n) % n;
    for (;;) {
        uint64_t product = (uint64_t)hl_rng_next(r) * n;
        if ((uint32_t)product >= reject_below)
            return (uint32_t)(product >> 32);
    }
}

double hl_rng_unit(hl_rng *r)
{
    return hl_rng_next(r) * 0x1p-32;
}

double hl_rng_normal(hl_rng *r)
{
    double u = (hl_rng_next(r) + 0.5) * 0x1p-32, v = hl_rng_unit(r);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

void hl_rng_permute(hl_rng *r, uint32_t n, uint32_t *order)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t k = hl_rng_below(r, i + 1);
        order[i] = order[k];
        order[k] = i;
    }
}
