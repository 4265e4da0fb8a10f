#include "views/layout.h"

#include <string.h>

/* ---- size classes ---- */

/* The size from which a class is shown. */
static const struct {
    int cols, rows;
} classes[HL_SIZE_COUNT] = {{0, 0}, {20, 5}, {40, 10}, {80, 24}, {100, 30}, {160, 45}};

enum { HYSTERESIS = 2 };

static bool is_beyond(hl_size_class s, int cols, int rows, int slack)
{
    return cols >= classes[s].cols + slack && rows >= classes[s].rows + slack;
}

/* Only a step up waits: a smaller class always fits, a larger one needs its size in full. */
hl_size_class hl_size_class_of(int cols, int rows, hl_size_class before)
{
    int s = HL_SIZE_COUNT - 1;
    while (s > 0 && !is_beyond((hl_size_class)s, cols, rows, 0))
        s--;
    while (before != HL_SIZE_COUNT && s > (int)before && s > HL_SIZE_STANDARD &&
           !is_beyond((hl_size_class)s, cols, rows, HYSTERESIS))
        s--;
    return (hl_size_class)s;
}

/* ---- the tree ---- */

/* Index behind node i and all below it. */
static int skip(const hl_layout_in *in, int i)
{
    int open = 1;
    for (; open > 0 && i < in->n_nodes; i++)
        open += in->nodes[i].kind == HL_NODE_PANE ? -1 : in->nodes[i].n - 1;
    return i;
}

static bool is_hidden(const hl_layout_in *in, int i)
{
    const hl_node *node = &in->nodes[i];
    if (node->from > in->size)
        return true;
    if (node->kind == HL_NODE_PANE)
        return in->hidden >> node->pane & 1;
    for (int c = 0, child = i + 1; c < node->n; c++, child = skip(in, child))
        if (!is_hidden(in, child))
            return false;
    return true;
}

typedef struct shares {
    int node[HL_NODES_MAX], cells[HL_NODES_MAX];
    int n;
} shares;

/* What is left over after the minima goes to the children by weight, none beyond its maximum. */
static void spread(const hl_layout_in *in, shares *s, int left)
{
    while (left > 0) {
        int weights = 0, given = 0;
        for (int i = 0; i < s->n; i++) {
            const hl_node *k = &in->nodes[s->node[i]];
            weights += !k->max || s->cells[i] < k->max ? k->weight : 0;
        }
        if (weights == 0)
            break;
        const int pot = left;
        for (int i = 0; i < s->n && left > 0; i++) {
            const hl_node *k = &in->nodes[s->node[i]];
            if (!k->weight || (k->max && s->cells[i] >= k->max))
                continue;
            int more = (pot * k->weight + weights - 1) / weights;
            more = more > left ? left : more;
            if (k->max && s->cells[i] + more > k->max)
                more = k->max - s->cells[i];
            s->cells[i] += more;
            left -= more;
            given += more;
        }
        if (given == 0)
            break;
    }
    if (left > 0 && s->n > 0) /* all have their maximum: the last takes it */
        s->cells[s->n - 1] += left;
}

/* Children from the end of the list go first when there is no room for all minima. */
static shares divide(const hl_layout_in *in, int parent, int extent)
{
    shares s = {0};
    int sum = 0;
    for (int c = 0, i = parent + 1; c < in->nodes[parent].n; c++, i = skip(in, i)) {
        if (is_hidden(in, i) || s.n == HL_NODES_MAX)
            continue;
        s.node[s.n] = i;
        s.cells[s.n] = in->nodes[i].min > 1 ? in->nodes[i].min : 1;
        sum += s.cells[s.n++];
    }
    while (s.n > 1 && sum > extent)
        sum -= s.cells[--s.n];
    if (s.n == 1)
        s.cells[0] = sum = extent;
    spread(in, &s, extent - sum);
    return s;
}

static void place(const hl_layout_in *in, hl_layout *out, int root, hl_rect area)
{
    struct {
        int node;
        hl_rect r;
    } stack[HL_NODES_MAX];
    int depth = 0;
    stack[depth].node = root;
    stack[depth++].r = area;
    while (depth > 0) {
        const int i = stack[--depth].node;
        hl_rect r = stack[depth].r;
        const hl_node *node = &in->nodes[i];
        if (r.w <= 0 || r.h <= 0 || is_hidden(in, i))
            continue;
        if (node->kind == HL_NODE_PANE) {
            out->pane[node->pane] = r;
            continue;
        }
        const bool rows = node->kind == HL_NODE_ROWS;
        const shares s = divide(in, i, rows ? r.h : r.w);
        for (int c = 0; c < s.n; c++) {
            hl_rect part = r;
            *(rows ? &part.h : &part.w) = s.cells[c];
            *(rows ? &r.y : &r.x) += s.cells[c];
            if (depth < HL_NODES_MAX) {
                stack[depth].node = s.node[c];
                stack[depth++].r = part;
            }
        }
    }
}

static bool has_pane(const hl_layout_in *in, int pane)
{
    for (int i = 0; i < in->n_nodes; i++)
        if (in->nodes[i].kind == HL_NODE_PANE && in->nodes[i].pane == pane)
            return true;
    return false;
}

/* The focused pane open, every other one a line, in the order of the tree. */
static void accordion(const hl_layout_in *in, hl_layout *out, hl_rect body)
{
    int order[HL_NODES_MAX], n = 0;
    for (int i = 0; i < in->n_nodes && n < HL_NODES_MAX; i++) {
        const hl_node *k = &in->nodes[i];
        const bool shown = !(in->hidden >> k->pane & 1) && k->from <= in->size;
        if (k->kind == HL_NODE_PANE && (k->pane == in->focus || shown))
            order[n++] = k->pane;
    }
    int y = body.y, open = body.h - (n - 1);
    const bool lines = open >= 5;
    for (int i = 0; i < n; i++) {
        const bool focused = order[i] == in->focus;
        if (!focused && !lines)
            continue;
        const int h = focused ? (lines ? open : body.h) : 1;
        out->pane[order[i]] = (hl_rect){body.x, y, body.w, h};
        if (!focused)
            out->collapsed |= UINT32_C(1) << order[i];
        y += h;
    }
}

void hl_layout_make(const hl_layout_in *in, hl_layout *out)
{
    memset(out, 0, sizeof *out);
    out->size = in->size;
    const int w = in->cols, h = in->rows;
    if (w <= 0 || h <= 0)
        return;
    out->header = (hl_rect){0, 0, w, 1};
    if (in->size == HL_SIZE_BELOW)
        return;
    const bool tabs = in->size >= HL_SIZE_STANDARD;
    out->hints = (hl_rect){0, h - 1, w, 1};
    if (tabs)
        out->tabs = (hl_rect){0, h - 2, w, 1};
    out->frames = in->size >= HL_SIZE_SMALL;
    const hl_rect body = {0, 1, w, h - 2 - tabs};
    const bool focus = has_pane(in, in->focus);
    if (focus && (in->zoom || in->size == HL_SIZE_MINIMAL))
        out->pane[in->focus] = body;
    else if (in->size <= HL_SIZE_SMALL)
        accordion(in, out, body);
    else
        place(in, out, 0, body);
}

int hl_layout_neighbour(const hl_layout *l, int from, int dx, int dy)
{
    const hl_rect a = l->pane[from];
    int best = from, best_distance = 1 << 20;
    for (int i = 0; i < HL_PANES_MAX; i++) {
        const hl_rect b = l->pane[i];
        if (i == from || b.w == 0)
            continue;
        const int along = dx ? (dx > 0 ? b.x - (a.x + a.w) : a.x - (b.x + b.w))
                             : (dy > 0 ? b.y - (a.y + a.h) : a.y - (b.y + b.h));
        const int off = dx ? a.y - b.y : a.x - b.x;
        const int distance = along * 4 + (off < 0 ? -off : off);
        if (along >= 0 && distance < best_distance) {
            best = i;
            best_distance = distance;
        }
    }
    return best;
}
