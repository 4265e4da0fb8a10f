/* What a batch shows of an image: pixels scaled by channel; in training moved and mirrored. */
#include "data/hl_data.h"

#include "data/img/images_internal.h"
#include "engine/base/rng.h"

void hl_image_look_init(hl_image_look *k, const double *mean, const double *std)
{
    *k = (hl_image_look){0};
    for (int c = 0; c < HL_IMAGE_CHANNELS_MAX; c++)
        for (int i = 0; i < 256; i++)
            k->value[c][i] = (float)((i / 255.0 - (mean ? mean[c] : 0)) / (std ? std[c] : 1));
}

typedef struct move {
    int64_t down, right; /* rows and columns as they are stored */
    bool turn_rows, turn_columns;
} move;

/* A function of (seed, epoch, number) alone. */
static move move_of(const hl_image_look *k, const hl_images_info *info, int64_t number)
{
    move m = {0};
    hl_rng rng = hl_rng_make(k->seed, HL_RNG_IMAGE, 0, (uint32_t)k->epoch);
    rng.element = (uint64_t)number << 8;
    if (k->crop > 0) {
        const uint32_t n = (uint32_t)(2 * k->crop + 1);
        m.down = (int64_t)hl_rng_below(&rng, n) - k->crop;
        m.right = (int64_t)hl_rng_below(&rng, n) - k->crop;
    }
    const bool turn = k->flip && hl_rng_below(&rng, 2) == 1;
    m.turn_rows = turn && info->is_transposed;
    m.turn_columns = turn && !info->is_transposed;
    return m;
}

static void show_plane(const move *m, const float *value, const hl_images_info *info,
                       const uint8_t *pixels, float *to)
{
    const int64_t height = info->height, width = info->width;
    for (int64_t row = 0; row < height; row++) {
        const int64_t from = (m->turn_rows ? height - 1 - row : row) + m->down;
        for (int64_t col = 0; col < width; col++) {
            const int64_t at = (m->turn_columns ? width - 1 - col : col) + m->right;
            const bool is_inside = from >= 0 && from < height && at >= 0 && at < width;
            *to++ = value[is_inside ? pixels[from * width + at] : 0];
        }
    }
}

void hl_image_look_show(const hl_image_look *k, const hl_images_info *info, const uint8_t *pixels,
                        int64_t number, float *to)
{
    const int64_t n_plane = info->height * info->width;
    const bool moves = k->flip || k->crop > 0;
    const move m = moves ? move_of(k, info, number) : (move){0};
    for (int64_t c = 0; c < info->n_channels; c++) {
        const uint8_t *plane = pixels + c * n_plane;
        if (moves)
            show_plane(&m, k->value[c], info, plane, to + c * n_plane);
        for (int64_t i = 0; !moves && i < n_plane; i++)
            to[c * n_plane + i] = k->value[c][plane[i]];
    }
}
