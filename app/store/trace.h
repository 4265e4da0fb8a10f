/* The outline of a series of unknown length in a few numbers: means of equally many points each,
 * first to last. When there is no more room, neighbours become one and the buckets twice as wide.
 */
#ifndef HL_STORE_TRACE_H
#define HL_STORE_TRACE_H

#include "app/hl_app.h"

typedef struct hl_trace {
    double sum[HL_TRACE_MAX]; /* NaN where a point was not finite */
    int n;                    /* buckets begun; only the last one may have room */
    int64_t wide;             /* points in a full bucket; 0: no point yet */
    int64_t n_last;           /* points in the last bucket */
} hl_trace;                   /* {0} is empty */

void hl_trace_add(hl_trace *t, double value);
double hl_trace_mean(const hl_trace *t, int i);

/* The trace shows one series of a run, the loss. How well a tag fits: 0 not at all; among equals
 * the first one counts. */
int hl_trace_rank(const char *tag);

#endif
