/* Rows of up to 8 scores, 4 to a warp. */
#define HL_ROW_WIDTH      8
#define HL_ROW_NAME(name) name##_8
#include "kernels/cuda/normalise_rows.h"
