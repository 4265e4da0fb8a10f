/* The filter of runs, for the screen's list and for `hoplab ls --filter`.
 *
 *     bert oeh                    words that stand in name, id, tags, note, attention or host
 *     name:bert*s1  tag:a,b       a pattern in one key (`*` is anything, commas between choices)
 *     name:/^bert.*s[12]$/        a regular expression (POSIX extended)
 *     loss<2.5  eval/ppl.min<=6   =, !=, <, <=, >, >= compare; age<2h in s, m, h, d, w
 *     optim.lr>1e-4  seed=3       any path of the configuration (run_key.h)
 *     has:eval/ppl                the run has it
 *     diverged mine archived pinned touched live broken      words that ask for a flag, as do
 *                                  those that scripts of the screen define (hop.ui.filter)
 *     a b, a and b                both;  a or b, a | b: one of them;  not a, !a;  (a or b) c
 *     "two words"  "or"           quotes take all meaning from what they hold
 *
 * Half-typed filters filter by what parses; what does not is told with its place. Letters of any
 * case are the same. app/hl_app.h includes this file. */
#ifndef HL_LIST_FILTER_H
#define HL_LIST_FILTER_H

#include "app/list/deep_key.h"
#include "app/watch/watch.h"

typedef struct hl_filter hl_filter;

/* rows: the runs among which keys are looked for; NULL or none: keys are not checked. Errors:
 * NOMEM; bad text is none. */
HL_MUST_CHECK hl_status hl_filter_new(const char *text, const hl_run_rows *rows, hl_filter **out);
/* The same, but a key that none of the rows has fits no run instead of being trouble: for scripts,
 * which may ask before a run has it. */
HL_MUST_CHECK hl_status hl_filter_new_open(const char *text, const hl_run_rows *rows,
                                           hl_filter **out);
void hl_filter_free(hl_filter *f);                              /* NULL is fine */
bool hl_filter_fits(const hl_filter *f, const hl_run_row *row); /* NULL fits all */
bool hl_filter_is_empty(const hl_filter *f);
/* It asks for archived runs, which lists leave out otherwise. */
bool hl_filter_asks_archived(const hl_filter *f);

/* Adds the keys in it whose values are read from the events of runs. */
void hl_filter_deep_keys(const hl_filter *f, hl_deep_keys *out);

/* The first part that means nothing (yet): bytes at .. at + n of the text. */
typedef struct hl_filter_bad {
    size_t at, n;
    char message[200];
} hl_filter_bad;
const hl_filter_bad *hl_filter_trouble(const hl_filter *f); /* NULL: none */

/* Plain text of any pane: every word is somewhere in it, or, with `!`, is not. */
bool hl_filter_fits_text(const char *words, const char *text);

#endif
