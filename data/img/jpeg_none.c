/* A build without libjpeg. */
#include "data/img/jpeg.h"

hl_status hl_jpeg_decode(const char *path, const uint8_t *file, size_t bytes, unsigned side,
                         uint8_t *planes)
{
    (void)file, (void)bytes, (void)side, (void)planes;
    return hl_err_set(HL_E_UNSUPPORTED,
                      "'%s': this build has no libjpeg, which reads JPEG files; install it "
                      "(libjpeg-dev) and build again",
                      path);
}
