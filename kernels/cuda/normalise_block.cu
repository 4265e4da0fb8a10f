/* Long rows of scores, a block each. */
#define HL_ROW_BLOCK
#define HL_ROW_NAME(name) name##_block
#include "kernels/cuda/normalise_rows.h"
