/* Where everything stands: a pure function of the size of the terminal, the panes of a view and
 * which of them has the focus. No drawing, no state.
 *
 * A view lists its panes as a tree in pre-order: a split is followed by its children. Whatever the
 * size, the rectangles lie inside the terminal, do not overlap, and a pane that is shown has at
 * least one cell. */
#ifndef HL_VIEWS_LAYOUT_H
#define HL_VIEWS_LAYOUT_H

#include "views/cell.h"

typedef enum hl_size_class {
    HL_SIZE_BELOW,    /* one line says what is needed */
    HL_SIZE_MINIMAL,  /* from 20x5: a status line and numbers */
    HL_SIZE_SMALL,    /* from 40x10: the focused pane, the others as lines */
    HL_SIZE_STANDARD, /* from 80x24 */
    HL_SIZE_NORMAL,   /* from 100x30: a list beside */
    HL_SIZE_WIDE,     /* from 160x45: three columns */
    HL_SIZE_COUNT
} hl_size_class;

/* `before`: the class shown until now; it is kept until the size is 2 cells beyond the border, so
 * that dragging a window's edge does not flip the picture. HL_SIZE_COUNT: none. */
hl_size_class hl_size_class_of(int cols, int rows, hl_size_class before);

typedef enum hl_node_kind { HL_NODE_PANE, HL_NODE_ROWS, HL_NODE_COLUMNS } hl_node_kind;

typedef struct hl_node {
    uint8_t kind;
    uint8_t pane;     /* PANE: its number, below HL_PANES_MAX */
    uint8_t n;        /* ROWS, COLUMNS: number of children */
    uint8_t from;     /* hl_size_class from which it is shown */
    uint8_t min, max; /* cells along the parent's direction; max 0: none. Frames included. */
    uint8_t weight;   /* share of what is left over */
} hl_node;

enum { HL_PANES_MAX = 32, HL_NODES_MAX = 32 }; /* panes: bits of hidden and collapsed */

typedef struct hl_layout_in {
    int cols, rows;
    hl_size_class size; /* hl_size_class_of */
    const hl_node *nodes;
    int n_nodes;
    int focus; /* pane number */
    bool zoom; /* the focused pane alone */
    bool half; /* it and what holds it take three fifths of their splits at least */
    /* per node: thousandths of its split that the user gave it, 0: none; or NULL */
    const uint16_t *share;
    uint32_t hidden; /* bit per pane */
} hl_layout_in;

typedef struct hl_layout {
    hl_size_class size;
    hl_rect header, tabs, hints; /* one line each; h 0: not shown */
    hl_rect pane[HL_PANES_MAX];  /* w 0: not shown */
    uint32_t collapsed;          /* bit per pane: its rectangle is a line with its name */
    bool frames;                 /* panes have frames around them */
    hl_rect node[HL_NODES_MAX];  /* of the tree; w 0: not shown, or the tree is not what is shown */
} hl_layout;

void hl_layout_make(const hl_layout_in *in, hl_layout *out);

/* A border between two neighbours of a split that can be moved. */
typedef struct hl_border {
    int split, before, behind; /* nodes; split < 0: none */
} hl_border;
hl_border hl_layout_border_at(const hl_layout_in *in, const hl_layout *l, int x, int y);
/* The border that makes a pane larger or smaller in a direction: behind it, or before it for the
 * last of its split. */
hl_border hl_layout_border_of(const hl_layout_in *in, const hl_layout *l, int pane, bool columns);
/* The share of the node before the border with the border moved by so many cells. */
uint16_t hl_layout_moved(const hl_layout_in *in, const hl_layout *l, hl_border b, int cells);

/* The pane next to `from` in a direction (dx, dy: -1, 0, 1), or `from`. */
int hl_layout_neighbour(const hl_layout *l, int from, int dx, int dy);

#endif
