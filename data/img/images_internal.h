/* What makes sets of labelled images. */
#ifndef HL_DATA_IMAGES_INTERNAL_H
#define HL_DATA_IMAGES_INTERNAL_H

#include "data/hl_data.h"

/* Takes pixels [n, n_channels, height, width] and labels [n], also when it fails; copies
 * info->label. Hash and mem_bytes are filled in. The labels have been checked. */
HL_MUST_CHECK hl_status hl_images_from_owned(const hl_images_info *info, uint8_t *pixels,
                                             uint8_t *labels, hl_images **out);

/* One image, number `number` of its set, as the batch shows it: n_channels*height*width floats. */
void hl_image_look_show(const hl_image_look *k, const hl_images_info *info, const uint8_t *pixels,
                        int64_t number, float *to);

#endif
