/* Where data files lie. */
#ifndef HL_DATA_PLACES_H
#define HL_DATA_PLACES_H

#include <stddef.h>

#define HL_DATA_PLACES "HOPLAB_DATA, data and ../shared/data" /* for messages, in this order */

/* The i-th directory where data is looked for; NULL: there is no more. Borrowed. */
const char *hl_data_place(size_t i);

/* The path itself, if it is there, else below the first place that has it. Owned. NULL: nowhere
 * (or NOMEM). */
char *hl_data_find(const char *path);

#endif
