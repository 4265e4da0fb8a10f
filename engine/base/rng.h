/* Random numbers for host code (shuffles, masking, initial values, generated data): the counter
 * generator of the kernels. A draw is a function of (seed, stream, step, element) alone, so there
 * is no state to save; what must be remembered is which counters were used. */
#ifndef HL_BASE_RNG_H
#define HL_BASE_RNG_H

#include "kernels/hl_types.h"

/* High byte of the stream word; graph operations count their streams from 0 in their own space. */
typedef enum hl_rng_space {
    HL_RNG_GRAPH = 0x00,   /* dropout and friends inside a training step */
    HL_RNG_EAGER = 0x20,   /* T.randn and friends in scripts */
    HL_RNG_INIT = 0x40,    /* initial parameter values */
    HL_RNG_SHUFFLE = 0x80, /* order of training blocks; step = epoch */
    HL_RNG_MASK = 0x90,    /* MLM masking */
    HL_RNG_SYNTH = 0xA0,   /* generated corpora */
    HL_RNG_IMAGE = 0xB0,   /* how a training image is moved; step = epoch */
    HL_RNG_TEST = 0xF0
} hl_rng_space;

typedef struct hl_rng {
    uint64_t seed, element; /* element: next one to draw */
    uint32_t stream, step;
} hl_rng;

hl_rng hl_rng_make(uint64_t seed, hl_rng_space space, uint32_t stream, uint32_t step);
uint32_t hl_rng_at(const hl_rng *r, uint64_t element); /* draw without moving */
uint32_t hl_rng_next(hl_rng *r);
uint32_t hl_rng_below(hl_rng *r, uint32_t n); /* uniform in [0, n), n > 0, unbiased */
double hl_rng_unit(hl_rng *r);                /* [0, 1) */
double hl_rng_normal(hl_rng *r);              /* mean 0, standard deviation 1 */
/* A permutation of 0 .. n-1 (Fisher-Yates, inside out). */
void hl_rng_permute(hl_rng *r, uint32_t n, uint32_t *order);

#endif
