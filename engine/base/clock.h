/* Time. Wall clock in unix microseconds (HOPLAB_TEST_CLOCK=<unix seconds> freezes it for tests),
 * monotonic clock in nanoseconds. */
#ifndef HL_BASE_CLOCK_H
#define HL_BASE_CLOCK_H

#include "kernels/hl_types.h"

int64_t hl_clock_wall_us(void);
int64_t hl_clock_mono_ns(void);
void hl_clock_sleep_ms(int64_t ms);
/* "2026-01-31T14:22:33Z" of a wall time in microseconds */
const char *hl_clock_format_utc(char buf[24], int64_t t_us);

#endif
