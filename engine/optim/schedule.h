/* Learning-rate schedules: factor of the peak for update number k (0 for the first); W warm-up
 * updates, N total (spec: language-models 6.3; per epoch: deq 6). */
#ifndef HL_OPTIM_SCHEDULE_H
#define HL_OPTIM_SCHEDULE_H

#include "engine/base/err.h"

typedef enum hl_schedule_kind {
    HL_SCHEDULE_CONSTANT,
    HL_SCHEDULE_CONSTANT_WITH_WARMUP,
    HL_SCHEDULE_LINEAR,
    HL_SCHEDULE_COSINE,
    HL_SCHEDULE_COSINE_WITH_RESTARTS,
    HL_SCHEDULE_POLYNOMIAL,
    HL_SCHEDULE_TYPE1, /* halved every 2 epochs, five times at most, */
    HL_SCHEDULE_TYPE2  /* every 5: lradj of the time-series recipes (spec: stanhop 8) */
} hl_schedule_kind;

typedef struct hl_schedule {
    hl_schedule_kind kind;
    int64_t warmup, total;
    double final_fraction; /* of the peak, reached at update N: stretches W and N; 0: none */
    double warmup_from;    /* share of the peak that the warm-up starts at */
    bool overlaps;         /* the curve starts at update 0, under the warm-up, not after it */
    bool per_epoch; /* k, W and N count epochs from 0: the rate is constant within one. Then the
                       curve itself ends in final_fraction, at epoch N, and stays there. */
} hl_schedule;

bool hl_schedule_parse(const char *name, hl_schedule_kind *out);
/* A schedule as people type it: "cosine", "linear:peak=3e-4,warmup=100,steps=5000,final=0.1".
 * total 0 and *peak NAN: not said. Errors: ARG, naming what is known. */
HL_MUST_CHECK hl_status hl_schedule_read(const char *text, hl_schedule *out, double *peak);
double hl_schedule_lr(const hl_schedule *s, double peak, int64_t k);

#endif
