/* What the loader sees of a corpus. */
#ifndef HL_DATA_CORPUS_INTERNAL_H
#define HL_DATA_CORPUS_INTERNAL_H

#include "data/hl_data.h"

/* hl_corpus_read for a range known to be inside the part. */
void hl_corpus_copy(const hl_corpus *c, hl_part part, int64_t first, int64_t n, int32_t *ids);

#endif
