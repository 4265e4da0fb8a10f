/* The filter of the run list: words that all must fit. A bare word is looked for in name, id, tags,
 * variant and host; `key:pattern` in one of them (`*` stands for anything, commas between
 * alternatives); `key=v`, `key!=v`, `<`, `<=`, `>`, `>=` compare; `!` in front turns a word around.
 *
 *     status:running,paused   name:bert*s1   loss<2.5   max>100   !tag:old   "two words"
 */
#ifndef HL_VIEWS_FILTER_H
#define HL_VIEWS_FILTER_H

#include "app/hl_app.h"

/* Half-typed words filter by what parses: an unknown key or a number that is none fits every run.
 * *bad: offset of the first such word, or -1; NULL is fine. */
bool hl_filter_fits(const char *filter, const hl_run_row *row, int *bad);
/* Plain text of any pane: every word of the filter is somewhere in it, whatever the case. */
bool hl_filter_fits_text(const char *filter, const char *text);

#endif
