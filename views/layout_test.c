#include "views/layout.h"

#include <criterion/criterion.h>

#include "views/screen.h"

enum { LIST, CHART, STRIP, LOG, SIDE };

static const hl_node nodes[] = {
    {.kind = HL_NODE_COLUMNS, .n = 3},
    {.kind = HL_NODE_PANE, .pane = LIST, .from = HL_SIZE_NORMAL, .min = 30, .max = 46, .weight = 1},
    {.kind = HL_NODE_ROWS, .n = 3, .min = 30, .weight = 3},
    {.kind = HL_NODE_PANE, .pane = CHART, .min = 6, .weight = 4},
    {.kind = HL_NODE_PANE, .pane = STRIP, .min = 2, .max = 2},
    {.kind = HL_NODE_PANE, .pane = LOG, .min = 5, .weight = 1},
    {.kind = HL_NODE_PANE, .pane = SIDE, .from = HL_SIZE_WIDE, .min = 40, .max = 50, .weight = 1},
};

static hl_layout make(int cols, int rows, int focus, bool zoom, uint32_t hidden)
{
    hl_layout_in in = {.cols = cols,
                       .rows = rows,
                       .nodes = nodes,
                       .n_nodes = sizeof nodes / sizeof nodes[0],
                       .focus = focus,
                       .zoom = zoom,
                       .hidden = hidden};
    hl_layout out;
    in.size = hl_size_class_of(cols, rows, HL_SIZE_COUNT);
    hl_layout_make(&in, &out);
    return out;
}

static bool overlap(hl_rect a, hl_rect b)
{
    return a.w > 0 && b.w > 0 && a.h > 0 && b.h > 0 && a.x < b.x + b.w && b.x < a.x + a.w &&
           a.y < b.y + b.h && b.y < a.y + a.h;
}

static void check(const hl_layout *l, int cols, int rows, int focus, bool filled)
{
    hl_rect all[HL_PANES_MAX + 3] = {l->header, l->tabs, l->hints};
    int cells = 0;
    for (int i = 0; i < HL_PANES_MAX; i++)
        all[i + 3] = l->pane[i];
    for (int i = 0; i < HL_PANES_MAX + 3; i++) {
        const hl_rect r = all[i];
        cr_assert(r.x >= 0 && r.y >= 0 && r.w >= 0 && r.h >= 0 && r.x + r.w <= cols &&
                      r.y + r.h <= rows,
                  "%dx%d: rectangle %d is outside", cols, rows, i);
        cr_assert((r.w == 0) == (r.h == 0), "%dx%d: rectangle %d is half empty", cols, rows, i);
        for (int j = 0; j < i; j++)
            cr_assert(!overlap(r, all[j]), "%dx%d: %d and %d overlap", cols, rows, i, j);
        cells += r.w * r.h;
    }
    if (l->size != HL_SIZE_BELOW)
        cr_assert(l->pane[focus].w > 0, "%dx%d: the focused pane is gone", cols, rows);
    if (filled)
        cr_assert_eq(cells, cols * rows, "%dx%d: %d cells belong to nobody", cols, rows,
                     cols * rows - cells);
}

Test(layout, all_sizes)
{
    for (int cols = 1; cols <= 220; cols++)
        for (int rows = 1; rows <= 70; rows++) {
            hl_layout l = make(cols, rows, CHART, false, 0);
            check(&l, cols, rows, CHART, l.size != HL_SIZE_BELOW);
            l = make(cols, rows, LOG, true, 0);
            check(&l, cols, rows, LOG, l.size != HL_SIZE_BELOW);
            l = make(cols, rows, STRIP, false, UINT32_C(1) << LOG);
            check(&l, cols, rows, STRIP, l.size != HL_SIZE_BELOW);
        }
}

Test(layout, the_views_at_all_sizes)
{
    for (int v = 0; v < HL_VIEW_COUNT; v++) {
        const hl_view_class *view = hl_view_get((hl_view)v);
        hl_layout_in in = {.nodes = view->nodes,
                           .n_nodes = view->n_nodes,
                           .focus = view->focus,
                           .hidden = view->hidden};
        for (in.cols = 1; in.cols <= 220; in.cols++)
            for (in.rows = 1; in.rows <= 70; in.rows++) {
                hl_layout out;
                in.size = hl_size_class_of(in.cols, in.rows, HL_SIZE_COUNT);
                hl_layout_make(&in, &out);
                check(&out, in.cols, in.rows, view->focus, in.size != HL_SIZE_BELOW);
            }
    }
}

/* Whatever sizes were chosen, in whatever terminal. */
Test(layout, chosen_sizes_at_all_sizes)
{
    uint16_t share[HL_NODES_MAX];
    unsigned seed = 1;
    for (int round = 0; round < 3000; round++) {
        for (int i = 0; i < HL_NODES_MAX; i++) {
            seed = seed * 1664525 + 1013904223;
            share[i] = (uint16_t)(seed >> 8 & 1 ? seed >> 16 & 1023 : 0);
        }
        seed = seed * 1664525 + 1013904223;
        hl_layout_in in = {.cols = (int)(seed >> 8 & 255) + 1,
                           .rows = (int)(seed >> 16 & 63) + 1,
                           .nodes = nodes,
                           .n_nodes = sizeof nodes / sizeof nodes[0],
                           .focus = round % 2 ? CHART : LOG,
                           .half = round % 3 == 0,
                           .share = share};
        hl_layout l;
        in.size = hl_size_class_of(in.cols, in.rows, HL_SIZE_COUNT);
        hl_layout_make(&in, &l);
        check(&l, in.cols, in.rows, in.focus, in.size >= HL_SIZE_STANDARD);
    }
}

Test(layout, borders_move)
{
    uint16_t share[HL_NODES_MAX] = {0};
    hl_layout l = make(120, 40, CHART, false, 0), moved;
    hl_layout_in in = {.cols = 120,
                       .rows = 40,
                       .size = l.size,
                       .nodes = nodes,
                       .n_nodes = sizeof nodes / sizeof nodes[0],
                       .focus = CHART,
                       .share = share};
    /* by the mouse: either side of the line between list and chart */
    const hl_rect list = l.pane[LIST];
    const hl_border a = hl_layout_border_at(&in, &l, list.w - 1, 10);
    const hl_border b = hl_layout_border_at(&in, &l, list.w, 10);
    cr_assert(a.split == 0 && a.before == b.before && a.behind == b.behind && a.before == 1);
    cr_assert_lt(hl_layout_border_at(&in, &l, list.w + 9, 10).split, 0);
    share[a.before] = hl_layout_moved(&in, &l, a, 9);
    hl_layout_make(&in, &moved);
    cr_assert_eq(moved.pane[LIST].w, list.w + 9);
    cr_assert_eq(moved.pane[CHART].w, l.pane[CHART].w - 9);
    /* the strip between chart and log has one size: the border jumps over it */
    const hl_border c = hl_layout_border_of(&in, &moved, CHART, false);
    cr_assert(c.before == 3 && c.behind == 5);
    share[c.before] = hl_layout_moved(&in, &moved, c, -4);
    hl_layout_make(&in, &moved);
    cr_assert_eq(moved.pane[CHART].h, l.pane[CHART].h - 4);
    cr_assert_eq(moved.pane[STRIP].h, 2);
    cr_assert_eq(moved.pane[LOG].h, l.pane[LOG].h + 4);
    /* as far as it goes, and no further */
    share[c.before] = hl_layout_moved(&in, &moved, c, -1000);
    hl_layout_make(&in, &moved);
    cr_assert_eq(moved.pane[CHART].h, 3);
    /* where a few lines leave none for the split, there is nothing to move */
    moved.node[c.split].h = 0;
    cr_assert_lt(hl_layout_border_of(&in, &moved, CHART, false).split, 0);
}

Test(layout, nothing_fits_nowhere)
{
    for (int i = -1; i <= 0; i++) {
        const hl_layout l = make(i, i, CHART, false, 0);
        for (int p = 0; p < HL_PANES_MAX; p++)
            cr_assert(l.pane[p].w == 0 && l.header.w == 0);
    }
}

Test(layout, classes)
{
    static const struct {
        int cols, rows;
        hl_size_class size;
    } cases[] = {{19, 5, HL_SIZE_BELOW},     {20, 4, HL_SIZE_BELOW},     {20, 5, HL_SIZE_MINIMAL},
                 {220, 9, HL_SIZE_MINIMAL},  {40, 10, HL_SIZE_SMALL},    {79, 70, HL_SIZE_SMALL},
                 {80, 24, HL_SIZE_STANDARD}, {99, 70, HL_SIZE_STANDARD}, {100, 30, HL_SIZE_NORMAL},
                 {159, 70, HL_SIZE_NORMAL},  {160, 45, HL_SIZE_WIDE}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(hl_size_class_of(cases[i].cols, cases[i].rows, HL_SIZE_COUNT), cases[i].size,
                     "%dx%d", cases[i].cols, cases[i].rows);
}

Test(layout, an_edge_dragged_to_and_fro_does_not_flip)
{
    cr_assert_eq(hl_size_class_of(100, 30, HL_SIZE_STANDARD), HL_SIZE_STANDARD);
    cr_assert_eq(hl_size_class_of(102, 32, HL_SIZE_STANDARD), HL_SIZE_NORMAL);
    cr_assert_eq(hl_size_class_of(100, 30, HL_SIZE_NORMAL), HL_SIZE_NORMAL);
    cr_assert_eq(hl_size_class_of(99, 30, HL_SIZE_NORMAL), HL_SIZE_STANDARD);
    cr_assert_eq(hl_size_class_of(80, 24, HL_SIZE_SMALL),
                 HL_SIZE_STANDARD); /* the usual terminal */
}

Test(layout, wide_has_three_columns)
{
    const hl_layout l = make(200, 60, CHART, false, 0);
    cr_assert_eq(l.pane[LIST].x, 0);
    cr_assert_leq(l.pane[LIST].w, 46);
    cr_assert_eq(l.pane[CHART].x, l.pane[LIST].w);
    cr_assert_eq(l.pane[SIDE].x + l.pane[SIDE].w, 200);
    cr_assert_eq(hl_layout_neighbour(&l, LIST, 1, 0), CHART);
    cr_assert_eq(hl_layout_neighbour(&l, CHART, 0, 1), STRIP);
    cr_assert_eq(hl_layout_neighbour(&l, LOG, 1, 0), SIDE);
    cr_assert_eq(hl_layout_neighbour(&l, SIDE, 1, 0), SIDE);
    cr_assert_eq(hl_layout_neighbour(&l, CHART, -1, 0), LIST);
}

Test(layout, small_is_an_accordion)
{
    const hl_layout l = make(60, 16, CHART, false, 0);
    cr_assert_eq(l.collapsed, 1u << STRIP | 1u << LOG);
    cr_assert_eq(l.pane[STRIP].h, 1);
    cr_assert_geq(l.pane[CHART].h, 5);
    cr_assert_eq(l.pane[LIST].w, 0);
}
