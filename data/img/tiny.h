/* Tiny ImageNet as its archive unpacks: colour JPEGs of 64 x 64 in folders. wnids.txt lists the
 * classes, train/CLASS/images/ holds those of a class, val/images/ the others, of which
 * val/val_annotations.txt says the classes. The published test part has no labels: EVAL is val. */
#ifndef HL_DATA_TINY_H
#define HL_DATA_TINY_H

#include "data/hl_data.h"

#define HL_TINY_SIDE     64
#define HL_TINY_CHANNELS 3
#define HL_TINY_FOLDER   "tiny-imagenet-200"

/* *out: owned, `dir` or its subfolder (where that may be), whichever has wnids.txt, train and val;
 * NULL if neither has. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_tiny_find(const char *dir, bool in_folder, char **out);

/* All images of a part, decoded: classes in the order of wnids.txt, images in that of their names
 * or of val_annotations.txt. Files are taken as hostile. Errors, naming file, finding and
 * expectation: NOTFOUND, IO, FORMAT, NOMEM; UNSUPPORTED in a build without libjpeg.
 * Cost: a read and a decoding, and 12 288 bytes, for each image of the part. */
HL_MUST_CHECK hl_status hl_tiny_read(const char *dir, hl_part part, hl_images **out);

#endif
