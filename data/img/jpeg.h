/* JPEG files through libjpeg-turbo, where it was found at build time. */
#ifndef HL_DATA_JPEG_H
#define HL_DATA_JPEG_H

#include "engine/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* An image of exactly side x side pixels, grey or colour, as planes [3, side, side] of red, green
 * and blue. `path` is for messages. Errors: FORMAT (no JPEG, another size, damaged or cut off),
 * UNSUPPORTED (built without). */
HL_MUST_CHECK hl_status hl_jpeg_decode(const char *path, const uint8_t *file, size_t bytes,
                                       unsigned side, uint8_t *planes);

#endif
