/* Generated digits: strokes of a shaky pen.
 *
 * DESIGN. An image is a function of (seed, part, number): part and number are the random
 * generator's stream and step. A digit has one or more forms, a form is a few strokes, a stroke is
 * points in a box of 100 x 100, y downwards, joined by lines or by a Catmull-Rom spline. The points
 * shake, one affine map takes them to pixels, and a pixel is inked by its distance to the nearest
 * piece. Only + - * / and comparisons of floats decide a pixel (sqrt is rounded correctly too), and
 * this file is compiled without fused multiply-add: the pixels are the same everywhere. */
#include <math.h>

#include "data/img/images_internal.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"

#define SIDE       28
#define N_PIXELS   (SIDE * SIDE)
#define N_DIGITS   10
#define POINTS_MAX 13
#define PIECES     4 /* of a spline between two points */

#define BOX_HEIGHT 20.0f /* pixels, before scaling; as in MNIST */
#define BOX_WIDTH  15.0f
#define SHAKE      9.0f  /* units of the box */
#define SHIFT      2.0f  /* pixels */
#define SLANT      0.40f /* columns per row */
#define TURN       0.14f /* tangent of half the angle: 16 degrees */
#define INK_MIN    0.7f

typedef struct stroke {
    uint8_t n;
    bool is_curve;
    uint8_t at[POINTS_MAX][2];
} stroke;

typedef struct form {
    int digit;
    uint8_t n;
    stroke stroke[2];
} form;

#define LINE  false
#define CURVE true

/* clang-format off */
static const form forms[] = {
    {0, 1, {{9, CURVE, {{50, 2}, {20, 15}, {8, 50}, {20, 85}, {50, 98}, {80, 85}, {92, 50},
                        {80, 15}, {50, 2}}}}},
    {1, 1, {{2, LINE, {{50, 2}, {50, 98}}}}},
    {1, 1, {{3, LINE, {{28, 22}, {52, 2}, {52, 98}}}}},
    {1, 2, {{3, LINE, {{30, 20}, {52, 2}, {52, 98}}}, {2, LINE, {{26, 98}, {78, 98}}}}},
    {2, 2, {{8, CURVE, {{14, 25}, {28, 6}, {55, 2}, {80, 16}, {80, 38}, {58, 62}, {30, 82},
                        {12, 97}}},
            {2, LINE, {{12, 97}, {90, 95}}}}},
    {2, 1, {{11, CURVE, {{16, 20}, {42, 2}, {76, 10}, {74, 40}, {46, 74}, {20, 94}, {10, 84},
                         {26, 76}, {50, 92}, {74, 98}, {94, 88}}}}},
    {3, 2, {{5, CURVE, {{16, 14}, {45, 2}, {76, 12}, {74, 36}, {44, 48}}},
            {5, CURVE, {{44, 48}, {80, 58}, {84, 82}, {52, 98}, {14, 86}}}}},
    {4, 2, {{3, LINE, {{30, 4}, {12, 56}, {90, 56}}}, {2, LINE, {{68, 6}, {64, 98}}}}},
    {4, 2, {{3, LINE, {{66, 98}, {66, 2}, {10, 64}}}, {2, LINE, {{10, 64}, {92, 64}}}}},
    {5, 2, {{3, LINE, {{82, 4}, {26, 4}, {22, 44}}},
            {6, CURVE, {{22, 44}, {50, 36}, {82, 50}, {82, 80}, {50, 98}, {14, 86}}}}},
    {6, 1, {{9, CURVE, {{74, 4}, {40, 20}, {16, 56}, {22, 88}, {52, 98}, {80, 84}, {76, 58},
                        {48, 50}, {20, 66}}}}},
    {7, 1, {{3, LINE, {{10, 5}, {88, 5}, {40, 98}}}}},
    {7, 2, {{3, LINE, {{10, 5}, {88, 5}, {40, 98}}}, {2, LINE, {{28, 50}, {82, 50}}}}},
    {8, 1, {{13, CURVE, {{52, 48}, {22, 32}, {26, 8}, {52, 2}, {78, 10}, {76, 32}, {52, 48},
                         {18, 64}, {16, 88}, {50, 98}, {84, 88}, {82, 64}, {52, 48}}}}},
    {9, 2, {{7, CURVE, {{80, 28}, {56, 50}, {24, 42}, {20, 16}, {50, 2}, {80, 18}, {80, 28}}},
            {2, LINE, {{82, 22}, {74, 98}}}}},
    {9, 2, {{7, CURVE, {{80, 28}, {56, 50}, {24, 42}, {20, 16}, {50, 2}, {80, 18}, {80, 28}}},
            {4, CURVE, {{81, 24}, {80, 60}, {64, 90}, {26, 96}}}}},
};
/* clang-format on */
#define N_FORMS ((int)(sizeof forms / sizeof *forms))

typedef struct point {
    float x, y;
} point;

typedef struct pen {
    hl_rng rng;
    float xx, xy, yx, yy, x0, y0; /* from the box, its middle taken off, to pixels */
    float radius;                 /* pixels */
    float nearest[N_PIXELS];      /* squared distance to the strokes, pixels; large: far away */
} pen;

/* ---- chance ---------------------------------------------------------------------------------- */

static float draw_unit(hl_rng *r) /* [0, 1), exact */
{
    return (float)(hl_rng_next(r) >> 8) * 0x1p-24f;
}

static float draw_signed(hl_rng *r) /* [-1, 1) */
{
    return 2.0f * draw_unit(r) - 1.0f;
}

static float draw_middling(hl_rng *r) /* (-1, 1), triangular */
{
    float a = draw_unit(r);
    return a - draw_unit(r);
}

/* ---- geometry -------------------------------------------------------------------------------- */

/* scale, then slant, then turn, then shift */
static void pen_hold(pen *p)
{
    float width = BOX_WIDTH * (0.95f + 0.25f * draw_signed(&p->rng)) / 100.0f;
    float height = BOX_HEIGHT * (0.95f + 0.12f * draw_signed(&p->rng)) / 100.0f;
    float slant = SLANT * draw_signed(&p->rng) * height; /* upwards to the right or the left */
    float t = TURN * draw_signed(&p->rng);
    float c = (1.0f - t * t) / (1.0f + t * t), s = 2.0f * t / (1.0f + t * t);
    p->xx = c * width;
    p->xy = -c * slant - s * height;
    p->yx = s * width;
    p->yy = c * height - s * slant;
    p->x0 = 0.5f * (SIDE - 1) + SHIFT * draw_signed(&p->rng);
    p->y0 = 0.5f * (SIDE - 1) + SHIFT * draw_signed(&p->rng);
    p->radius = 0.7f + 0.9f * draw_unit(&p->rng);
    for (int i = 0; i < N_PIXELS; i++)
        p->nearest[i] = 1e6f;
}

static point to_pixels(pen *p, const uint8_t at[2])
{
    float x = (float)at[0] - 50.0f + SHAKE * draw_middling(&p->rng);
    float y = (float)at[1] - 50.0f + SHAKE * draw_middling(&p->rng);
    return (point){p->xx * x + p->xy * y + p->x0, p->yx * x + p->yy * y + p->y0};
}

static int clamp_pixel(float v)
{
    return v <= 0.0f ? 0 : v >= SIDE - 1 ? SIDE - 1 : (int)v;
}

/* Pixels around the piece from a to b learn how far it is. */
static void draw_piece(pen *p, point a, point b)
{
    const float reach = p->radius + 1.0f;
    const float dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
    const float inverse = length2 > 0.0f ? 1.0f / length2 : 0.0f;
    const int left = clamp_pixel((a.x < b.x ? a.x : b.x) - reach);
    const int right = clamp_pixel((a.x < b.x ? b.x : a.x) + reach + 1.0f);
    const int top = clamp_pixel((a.y < b.y ? a.y : b.y) - reach);
    const int bottom = clamp_pixel((a.y < b.y ? b.y : a.y) + reach + 1.0f);
    for (int row = top; row <= bottom; row++) {
        float *nearest = p->nearest + (ptrdiff_t)row * SIDE;
        const float py = (float)row - a.y;
        for (int col = left; col <= right; col++) {
            const float px = (float)col - a.x;
            float t = (px * dx + py * dy) * inverse;
            t = t < 0.0f ? 0.0f : t > 1.0f ? 1.0f : t;
            const float ex = px - t * dx, ey = py - t * dy, d2 = ex * ex + ey * ey;
            nearest[col] = d2 < nearest[col] ? d2 : nearest[col];
        }
    }
}

/* Catmull-Rom: through b at 0 and c at 1, its slope there that of the chord of the neighbours. */
static float spline(float a, float b, float c, float d, float t)
{
    const float k1 = c - a, k2 = 2.0f * a - 5.0f * b + 4.0f * c - d,
                k3 = 3.0f * b - 3.0f * c + d - a;
    return b + 0.5f * t * (k1 + t * (k2 + t * k3));
}

static void draw_stroke(pen *p, const stroke *s)
{
    point at[POINTS_MAX] = {{0.0f, 0.0f}};
    for (int i = 0; i < s->n; i++)
        at[i] = to_pixels(p, s->at[i]);
    for (int i = 0; i + 1 < s->n; i++) {
        if (!s->is_curve) {
            draw_piece(p, at[i], at[i + 1]);
            continue;
        }
        const point *before = &at[i > 0 ? i - 1 : i], *after = &at[i + 2 < s->n ? i + 2 : i + 1];
        point from = at[i];
        for (int k = 1; k <= PIECES; k++) {
            const float t = (float)k / PIECES;
            const point to = {spline(before->x, at[i].x, at[i + 1].x, after->x, t),
                              spline(before->y, at[i].y, at[i + 1].y, after->y, t)};
            draw_piece(p, from, to);
            from = to;
        }
    }
}

/* ---- images ---------------------------------------------------------------------------------- */

/* Every ten images hold every digit once, in one of 40 orders. */
static uint8_t digit_of(hl_rng rng, int64_t number)
{
    static const uint32_t steps[4] = {1, 3, 7, 9};
    rng.step = (uint32_t)(number / N_DIGITS);
    rng.element = UINT64_C(1) << 32; /* far from what images draw */
    const uint32_t word = hl_rng_next(&rng);
    return (uint8_t)((steps[word & 3] * (uint32_t)(number % N_DIGITS) + (word >> 8)) % N_DIGITS);
}

static const form *pick_form(pen *p, int digit)
{
    int first = 0, n = 0;
    while (forms[first].digit != digit)
        first++;
    while (first + n < N_FORMS && forms[first + n].digit == digit)
        n++;
    return &forms[first + (int)hl_rng_below(&p->rng, (uint32_t)n)];
}

/* Ink fades over one pixel at the rim; then noise, four pixels a draw. */
static void develop(pen *p, uint8_t *out)
{
    const float ink = 255.0f * (INK_MIN + (1.0f - INK_MIN) * draw_unit(&p->rng));
    const float rim = p->radius + 0.5f;
    uint32_t word = 0;
    for (int i = 0; i < N_PIXELS; i++) {
        float cover = 0.0f;
        if (p->nearest[i] < rim * rim) {
            cover = rim - sqrtf(p->nearest[i]);
            cover = cover > 1.0f ? 1.0f : cover;
        }
        word = i % 4 ? word >> 8 : hl_rng_next(&p->rng);
        const int noise = (int)(word & 15u) - (int)(word >> 4 & 15u);
        const int v = (int)(cover * ink + 0.5f) + noise;
        out[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

hl_status hl_images_generate(uint64_t seed, hl_part part, int64_t n, hl_images **out)
{
    if (n < 1 || n > HL_DIGITS_MAX)
        return hl_err_set(HL_E_ARG, "%lld generated digits are out of range: 1 .. %d", (long long)n,
                          HL_DIGITS_MAX);
    if ((unsigned)part >= HL_PART_COUNT)
        return hl_err_set(HL_E_ARG, "generated digits have no part %d", (int)part);
    uint8_t *pixels = hl_alloc((size_t)n * (size_t)N_PIXELS), *labels = hl_alloc((size_t)n);
    if (!pixels || !labels) {
        hl_free(pixels);
        hl_free(labels);
        return HL_E_NOMEM;
    }
    pen p;
    for (int64_t i = 0; i < n; i++) {
        p.rng = hl_rng_make(seed, HL_RNG_SYNTH, 1 + (uint32_t)part, (uint32_t)i);
        labels[i] = digit_of(p.rng, i);
        pen_hold(&p);
        const form *f = pick_form(&p, labels[i]);
        for (int k = 0; k < f->n; k++)
            draw_stroke(&p, &f->stroke[k]);
        develop(&p, pixels + i * (int64_t)N_PIXELS);
    }
    const hl_images_info info = {.label = "generated digits",
                                 .n = n,
                                 .n_channels = 1,
                                 .height = SIDE,
                                 .width = SIDE,
                                 .n_classes = N_DIGITS,
                                 .is_generated = true};
    return hl_images_from_owned(&info, pixels, labels, out);
}
