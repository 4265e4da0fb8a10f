/* Numbers as the screen writes them: short, of at most 4 significant digits, the same everywhere.
 */
#ifndef HL_VIEWS_WIDGETS_NUMBER_H
#define HL_VIEWS_WIDGETS_NUMBER_H

#include "engine/base/err.h"

#define HL_NUMBER_MAX 18

/* "2.417" "12.4" "1.31k" "9.3e-05" "0" "nan" "-inf"; at most 11 characters. Gives buf. */
const char *hl_format_value(char buf[HL_NUMBER_MAX], double v);
/* The same; a value that is not there is a dash, in UTF-8 or ASCII. */
const char *hl_format_known(char buf[HL_NUMBER_MAX], bool known, double v, bool utf8);
/* "812" "12.3k" "2.31M": three digits from 1000 on. */
const char *hl_format_count(char buf[HL_NUMBER_MAX], int64_t n);

/* v with so many places behind the point of its SI form ("1.50M", "12k", "0.003"), or in powers of
 * ten below 1e-3 and from 1e15 on ("2.0e-05"). For tick labels, which share their step. 0 is "0".
 * step: distance to the next label, > 0; says how many places are needed. Empty if it takes too
 * many. */
const char *hl_format_tick(char buf[HL_NUMBER_MAX], double v, double step);

#endif
