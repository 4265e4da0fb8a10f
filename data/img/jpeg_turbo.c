/* JPEG files through libjpeg-turbo. Its errors leave by longjmp, so what must be freed is the
 * decoder alone. */
#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

#include "data/img/jpeg.h"

enum { SIDE_MAX = 4096 };

typedef struct decoder {
    struct jpeg_decompress_struct j;
    struct jpeg_error_mgr errors;
    jmp_buf leave;
    char message[JMSG_LENGTH_MAX];
} decoder;

_Noreturn static void fail(j_common_ptr j)
{
    decoder *d = j->client_data;
    j->err->format_message(j, d->message);
    longjmp(d->leave, 1);
}

/* Damage is a warning to the library, which fills what is missing with grey. */
static void note(j_common_ptr j, int level)
{
    if (level < 0)
        fail(j);
}

static hl_status decode(decoder *d, const char *path, unsigned side, uint8_t *planes)
{
    struct jpeg_decompress_struct *j = &d->j;
    JSAMPLE row[3 * SIDE_MAX], *rows[1] = {row};
    jpeg_read_header(j, TRUE);
    if (j->image_width != side || j->image_height != side)
        return hl_err_set(HL_E_FORMAT, "'%s' is %u x %u pixels; %u x %u were expected", path,
                          j->image_width, j->image_height, side, side);
    j->out_color_space = JCS_RGB;
    jpeg_start_decompress(j);
    while (j->output_scanline < side) {
        uint8_t *to = planes + (size_t)j->output_scanline * side;
        jpeg_read_scanlines(j, rows, 1);
        for (size_t c = 0; c < 3; c++)
            for (size_t x = 0; x < side; x++)
                to[c * side * side + x] = row[3 * x + c];
    }
    jpeg_finish_decompress(j);
    return HL_OK;
}

hl_status hl_jpeg_decode(const char *path, const uint8_t *file, size_t bytes, unsigned side,
                         uint8_t *planes)
{
    decoder d = {0};
    volatile hl_status st;
    HL_ASSERT(side <= SIDE_MAX);
    d.j.err = jpeg_std_error(&d.errors);
    d.j.client_data = &d;
    d.errors.error_exit = fail;
    d.errors.emit_message = note;
    if (setjmp(d.leave) == 0) {
        jpeg_create_decompress(&d.j);
        d.j.client_data = &d;
        jpeg_mem_src(&d.j, file, (unsigned long)bytes);
        st = decode(&d, path, side, planes);
    } else {
        st = hl_err_set(HL_E_FORMAT, "'%s' is no whole JPEG image of grey or colour: %s", path,
                        d.message);
    }
    jpeg_destroy_decompress(&d.j);
    return st;
}
