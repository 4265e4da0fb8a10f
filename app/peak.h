/* What the processor can do at most: large products, the ceiling that a run's rate is held against.
 */
#ifndef HL_APP_PEAK_H
#define HL_APP_PEAK_H

#include "engine/hl_engine.h"

typedef enum hl_peak_kind { HL_PEAK_FLOAT, HL_PEAK_BF16, HL_PEAK_OPENBLAS } hl_peak_kind;

/* GFLOP/s of c = a b, (m, k) by (k, n), the best of nine; 0: there is no memory or no such kernel.
 */
double hl_peak_gemm(hl_team *team, int64_t m, int64_t n, int64_t k, hl_peak_kind kind);
/* FLOP/s of this machine with this team, measured once (some 50 ms) and kept in the user's cache
 * directory for its processor, instruction set and number of threads. 0: unknown. */
double hl_peak_flops(hl_team *team, bool bf16);

#endif
