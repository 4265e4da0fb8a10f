/* Values of a run that its summary does not have and that are read from its events when somebody
 * asks for them. Their keys:
 *
 *     eval/ppl@1000         the value at a step: the last one up to there, once the run was there
 *     train/loss.below@2.5  the first step with a value below that; .above@2.5
 *     train/loss.ema@.9     the last value, smoothed by that factor as charts smooth
 */
#ifndef HL_STORE_DEEP_H
#define HL_STORE_DEEP_H

#include "app/hl_app.h"

/* How far the events of a run are read for its keys. */
typedef struct hl_deep hl_deep;

/* Reads about max_bytes of events (0: all there is). *a NULL: made. keys: as many as when it was
 * made, else it starts anew. *more: there is more right now. */
HL_MUST_CHECK hl_status hl_deep_read(hl_deep **a, const char *dir, const hl_deep_keys *keys,
                                     int64_t max_bytes, bool *more);
void hl_deep_rest(hl_deep *a); /* closes its files until it is read again */
void hl_deep_free(hl_deep *a); /* NULL is fine */

/* The metrics with what was found: a scalar with the key as its tag; n 0: not there (yet). a may be
 * NULL. NULL: no memory. */
const hl_run_metrics *hl_deep_merge(const hl_deep *a, const hl_deep_keys *keys,
                                    const hl_run_metrics *plain);
/* Nothing new can come of reading: what was not found is not there by the word of the summary. */
bool hl_deep_is_known(const hl_deep *a, const hl_deep_keys *keys, const hl_run_metrics *plain);

#endif
