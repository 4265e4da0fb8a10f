/* The binary version of CIFAR-10 and CIFAR-100: files of records without a header, each one label
 * byte (CIFAR-100: the coarse and then the fine one) and 3 x 32 x 32 pixels, red, green and blue
 * planes. */
#ifndef HL_DATA_CIFAR_H
#define HL_DATA_CIFAR_H

#include "data/hl_data.h"

#define HL_CIFAR_SIDE      32
#define HL_CIFAR_CHANNELS  3
#define HL_CIFAR_FILES_MAX 5
#define HL_CIFAR_BYTES_MAX ((size_t)1 << 30) /* of a file */

typedef struct hl_cifar {
    const char *folder;                                  /* that the archive unpacks to */
    const char *file[HL_PART_COUNT][HL_CIFAR_FILES_MAX]; /* NULL: no more */
    const char *label[HL_PART_COUNT];
    int n_label_bytes;
    int limit[2]; /* a label byte is below it; the last one is the class */
} hl_cifar;

extern const hl_cifar hl_cifar_10, hl_cifar_100;

/* *out: owned, `dir` or its subfolder (where that may be), whichever has all files of the part;
 * NULL if neither has. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_cifar_find(const hl_cifar *c, const char *dir, hl_part part,
                                      bool in_folder, char **out);

/* The records of all files of a part, in order. Files are taken as hostile: sizes must be whole
 * records, labels in range. Errors, naming file, finding and expectation: NOTFOUND, IO, FORMAT,
 * NOMEM. */
HL_MUST_CHECK hl_status hl_cifar_read(const hl_cifar *c, const char *dir, hl_part part,
                                      hl_images **out);

#endif
