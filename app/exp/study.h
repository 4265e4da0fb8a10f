/* A study: a function of a script that measures something, in a run of its own, instead of a
 * training. Whatever it reports goes over a desk, which also looks at requests and signals: each of
 * its calls gives HL_E_CANCELLED once the run shall end. */
#ifndef HL_EXP_STUDY_H
#define HL_EXP_STUDY_H

#include "engine/hl_engine.h"

typedef struct hl_study_desk {
    void *self;
    hl_status (*scalar)(void *self, const char *tag, int64_t step, double value);
    /* {columns: [text], rows: [[value]], caption}; the last of a name counts. */
    hl_status (*table)(void *self, const char *name, const char *object);
    /* {title, x, y, log_x, log_y, caption, series: [{name, x, y, low, high, dots}]} */
    hl_status (*figure)(void *self, const char *name, const char *object);
    hl_status (*say)(void *self, const char *text);
    /* share: of the work that is done, negative: not known */
    hl_status (*tick)(void *self, const char *doing, double share);
} hl_study_desk;

typedef struct hl_study {
    void *self;
    /* result: a JSON object; text: for the end of the run's output. STATE: the script failed by
     * itself; anything else is what a function that it called has refused. */
    hl_status (*run)(void *self, const hl_study_desk *desk, hl_str *result, hl_str *text);
} hl_study;

#endif
