/* What the fuzz targets share: a directory of their own, and files in it. A target is a libFuzzer
 * program: LLVMFuzzerTestOneInput gives bytes to a reader, which must succeed or refuse. */
#ifndef HL_FUZZ_H
#define HL_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

const char *fuzz_dir(void); /* made on the first call; removed at exit */
/* Writes dir/name and gives its path, until the next call; ends the process where it cannot. */
const char *fuzz_file(const char *name, const void *bytes, size_t n);

#endif
