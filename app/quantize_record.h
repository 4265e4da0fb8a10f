/* Keeps what `hoplab quantize` found with the run whose weights they were. */
#ifndef HL_APP_QUANTIZE_RECORD_H
#define HL_APP_QUANTIZE_RECORD_H

#include "app/exp/quantize_event.h"
#include "app/trained.h"

/* Adds e (whose exp, label and sets are set here) to the run's events. cli: with the -s that the
 * run did not have; NULL: none. Nothing happens where there is no run, or where -s made another
 * model of it. STATE: the run is live; IO. */
HL_MUST_CHECK hl_status hl_quantize_record(const hl_cli *cli, const hl_trained *m,
                                           hl_quantize_event *e);

#endif
