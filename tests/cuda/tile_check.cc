/* tile_check.cu for the emulation; on hardware nvcc compiles it. */
#include "tests/cuda/tile_check.cu"
