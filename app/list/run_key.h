/* What can be asked of a row of the run list: by the filter, to sort and to group by, as a column.
 * One language of keys for all of them.
 *
 *     name status tag note loss age ...     the fields of a table (hl_run_field_at)
 *     optim.lr  run.script                  a leaf of config.json or run.json; its last word alone
 *                                           ("lr") does when no other leaf ends so
 *     lua.gap  gap                          what a script of the screen says (hop.ui.column)
 *     eval/ppl  eval/ppl.min                a metric: its last value, or .last .min .max .mean
 *                                           .best .n .bad, and .min.step, where it was so
 *     eval/ppl@1000                         its value at that step: the last one up to there
 *     train/loss.below@2.5  .above@2.5      the first step with a value below, or above, that
 *     train/loss.ema@.9                     its last value, smoothed as charts do by that factor
 *
 * The last three (deep_key.h) are read from the events of the runs when somebody asks for them.
 * .best is the least value, or the greatest where save.best of the run's configuration says so or
 * the name does (accuracy, f1, ...). .bad counts values that are not finite; .bad.step is the first
 * of them. app/hl_app.h includes this file. */
#ifndef HL_LIST_RUN_KEY_H
#define HL_LIST_RUN_KEY_H

#include "app/watch/watch.h"

typedef enum hl_aggregate {
    HL_AGG_LAST,
    HL_AGG_MIN,
    HL_AGG_MAX,
    HL_AGG_MEAN,
    HL_AGG_BEST,
    HL_AGG_N,
    HL_AGG_BAD,
    HL_AGG_COUNT
} hl_aggregate;

/* A field of the table. */
typedef struct hl_run_field {
    const char *name, *help;
    const char *(*text)(const hl_run_row *row);           /* or */
    bool (*number)(const hl_run_row *row, double *value); /* false: unknown */
    bool is_flag; /* its name alone, as a word of the filter, asks for it: number gives 0 or 1 */
} hl_run_field;
const hl_run_field *hl_run_field_at(int i); /* NULL: no more */

enum { HL_RUN_KEY_MAX = 128 };

typedef struct hl_run_key {
    const hl_run_field *field; /* or NULL, then */
    char path[HL_RUN_KEY_MAX]; /* of a metric or of a leaf of the configuration */
    bool is_metric, of_step;
    bool is_deep; /* path is all of it: deep_key.h */
    hl_aggregate aggregate;
} hl_run_key;

typedef struct hl_run_answer {
    bool known, is_number; /* the rest is nothing while it is not known */
    double number;
    const char *text; /* as it stands in the configuration; NULL: a number without one */
} hl_run_answer;

/* What the text means, where these runs are: the ones that a list shows. NOTFOUND: none of them has
 * it (the message names the nearest key). ARG: too long. With no runs at all whatever is well
 * formed is taken for a leaf of the configuration. */
HL_MUST_CHECK hl_status hl_run_key_find(const char *text, const hl_run_rows *rows, hl_run_key *out);
hl_run_answer hl_run_key_ask(const hl_run_key *k, const hl_run_row *row);
/* The same to sort by: no number in it depends on when one asks. */
hl_run_answer hl_run_key_order(const hl_run_key *k, const hl_run_row *row);
/* It orders by number; false: by text. */
bool hl_run_key_is_number(const hl_run_key *k, const hl_run_rows *rows);

/* Every key that these runs have, once: fields, leaves, metrics. For completion. Stops when `each`
 * says false. */
void hl_run_keys_each(const hl_run_rows *rows, bool (*each)(void *self, const char *key),
                      void *self);

#endif
