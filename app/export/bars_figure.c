#include "app/export/bars_figure.h"

#include <math.h>

#include "app/export/ruler.h"
#include "engine/base/mem.h"

#define INK  0x222222u
#define GRID 0xdddddd
#define MAIN 0x0072b2u
#define OVER 0xd55e00u
#define FONT 12.0

typedef struct view {
    const hl_bars_figure *f;
    hl_paper *paper;
    hl_box b;
    hl_ruler y; /* of counts; its lower end is below 1, so that 1 is seen */
} view;

static double x_of(const view *w, double place)
{
    return w->b.x + w->b.w * (place - w->f->from) / (w->f->to - w->f->from);
}

static double y_of(const view *w, double count)
{
    return hl_ruler_at(&w->y, fmax(count, w->y.from));
}

static void put_text(const view *w, double x, double y, int anchor, uint32_t rgb, const char *text)
{
    hl_paper_text(w->paper, (hl_label){.x = x, .y = y, .size = FONT, .anchor = anchor, .rgb = rgb},
                  text);
}

static void draw_axes(const view *w)
{
    const hl_box b = w->b;
    const hl_pen grid = {.rgb = GRID, .width = 1}, ink = {.rgb = INK, .width = 1};
    for (int i = 0; i < w->y.n_ticks; i++) {
        const double at = hl_ruler_at(&w->y, w->y.tick[i]);
        const hl_point line[2] = {{b.x, at}, {b.x + b.w, at}};
        hl_paper_line(w->paper, line, 2, grid);
        put_text(w, b.x - 7, at + 4, 1, INK, w->y.text[i]);
    }
    for (size_t i = 0; i < w->f->n_ticks; i++) {
        const double at = x_of(w, w->f->tick[i].at);
        const hl_point tick[2] = {{at, b.y + b.h}, {at, b.y + b.h + 5}};
        hl_paper_line(w->paper, tick, 2, ink);
        put_text(w, at, b.y + b.h + 19, 0, INK, w->f->tick[i].text);
    }
    put_text(w, b.x + b.w / 2, b.y + b.h + 38, 0, INK, w->f->x_label);
}

static hl_status draw_bars(const view *w)
{
    const hl_bars_figure *f = w->f;
    hl_box *boxes = hl_alloc_zero(f->n + 1, sizeof *boxes);
    hl_point *outline = hl_alloc_zero(2 * f->n + 1, sizeof *outline);
    size_t n = 0;
    const double each = w->b.w / (double)f->n, floor_y = w->b.y + w->b.h;
    for (size_t i = 0; boxes && i < f->n; i++)
        if (f->count[i] > 0) {
            const double y = y_of(w, f->count[i]);
            boxes[n++] = (hl_box){w->b.x + each * (double)i, y, each, floor_y - y};
        }
    if (boxes)
        hl_paper_boxes(w->paper, boxes, n, MAIN);
    for (size_t i = 0; outline && f->over && i < f->n; i++) {
        const double y = y_of(w, f->over[i]), x = w->b.x + each * (double)i;
        outline[2 * i] = (hl_point){x, y};
        outline[2 * i + 1] = (hl_point){x + each, y};
    }
    if (outline && f->over)
        hl_paper_line(w->paper, outline, 2 * f->n, (hl_pen){.rgb = OVER, .width = 1.6});
    const hl_status st = boxes && outline ? HL_OK : HL_E_NOMEM;
    hl_free(boxes);
    hl_free(outline);
    return st;
}

static void draw_lines(const view *w)
{
    for (size_t i = 0; i < w->f->n_lines; i++) {
        const hl_bars_mark *m = &w->f->line[i];
        const double x = x_of(w, m->at);
        const hl_point line[2] = {{x, w->b.y}, {x, w->b.y + w->b.h}};
        if (!(m->at >= w->f->from && m->at <= w->f->to))
            continue;
        hl_paper_line(
            w->paper, line, 2,
            (hl_pen){.rgb = INK, .width = 1.2, .dash = m->dashed ? HL_DASH_LONG : HL_DASH_NONE});
        put_text(w, x, w->b.y - 4, 0, INK, m->text);
    }
}

hl_status hl_bars_figure_draw(const hl_bars_figure *f, hl_paper *paper, hl_box box)
{
    double most = 10;
    for (size_t i = 0; i < f->n; i++)
        most = fmax(most, fmax(f->count[i], f->over ? f->over[i] : 0));
    view w = {.f = f, .paper = paper, .b = {box.x + 64, box.y + 64, box.w - 84, box.h - 112}};
    hl_ruler_fix(&w.y, 0.5, pow(10, ceil(log10(most) - 1e-9)), true, (int)fmax(3, box.h / 60));
    w.y.at_from = w.b.y + w.b.h;
    w.y.at_to = w.b.y;
    hl_paper_text(
        paper,
        (hl_label){.x = w.b.x, .y = box.y + 20, .size = 14, .anchor = -1, .bold = true, .rgb = INK},
        f->title);
    put_text(&w, w.b.x, box.y + 40, -1, MAIN, f->name);
    if (f->over)
        put_text(&w, w.b.x + hl_text_width(f->name, FONT) + 24, box.y + 40, -1, OVER,
                 f->over_name ? f->over_name : "");
    draw_axes(&w);
    const hl_status st = draw_bars(&w);
    draw_lines(&w);
    const hl_box b = w.b;
    const hl_point corner[3] = {{b.x, b.y}, {b.x, b.y + b.h}, {b.x + b.w, b.y + b.h}};
    hl_paper_line(paper, corner, 3, (hl_pen){.rgb = INK, .width = 1});
    return st;
}
