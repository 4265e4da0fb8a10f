/* Rows of up to 16 scores, 2 to a warp. */
#define HL_ROW_WIDTH      16
#define HL_ROW_NAME(name) name##_16
#include "kernels/cuda/normalise_rows.h"
