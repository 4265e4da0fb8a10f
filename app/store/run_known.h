/* What a row of the run list knows beyond its own members: values of config.json and run.json, and
 * the scalars of the summary. Each is one block that nobody changes, shared between a list and its
 * copies by counting. */
#ifndef HL_STORE_RUN_KNOWN_H
#define HL_STORE_RUN_KNOWN_H

#include "app/hl_app.h"

/* Leaves of config.json under their paths ("optim.lr"), those of run.json behind "run."; either may
 * be NULL. Sorted by key; of a run with thousands of them the first ones. NULL: no memory. */
const hl_run_values *hl_run_values_new(const hl_json *config, const hl_json *facts);
/* From "scalars" of a summary, without outliers/...: there are hundreds, and a list shows what
 * evaluations make of them. Sorted by tag. NULL: no memory. */
const hl_run_metrics *hl_run_metrics_new(const hl_json *scalars);
/* Copies, for whoever has them ready; what they point to is copied too. NULL: no memory. */
const hl_run_values *hl_run_values_copy(const hl_run_value *at, size_t n);
const hl_run_metrics *hl_run_metrics_copy(const hl_run_scalar *at, size_t n);

/* v with more values, sorted by key; one that is there already is replaced, or left out where the
 * new one has no text. v may be NULL. NULL: no memory. */
const hl_run_values *hl_run_values_with(const hl_run_values *v, const hl_run_value *more, size_t n);

/* From any thread; NULL is fine. */
const hl_run_values *hl_run_values_ref(const hl_run_values *v);
void hl_run_values_unref(const hl_run_values *v);
const hl_run_metrics *hl_run_metrics_ref(const hl_run_metrics *m);
void hl_run_metrics_unref(const hl_run_metrics *m);

void hl_run_scalar_read(const hl_json *v, hl_run_scalar *out); /* one of them, as it is stored */

#endif
