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

static int least(const hl_node *k)
{
    enum { FEWEST = 3 };
    const int half = k->min / 2;
    return half > FEWEST ? half : k->min && k->min < FEWEST ? k->min : FEWEST;
}

/* Of one size whatever happens: borders jump over it. */
static bool is_fixed(const hl_node *k)
{
    return k->max > 0 && k->max == k->min;
}

/* What a child has beyond the cells it is to have goes to the others, those behind it first, and
 * what it lacks is theirs. */
static void give(const hl_layout_in *in, shares *s, int child, int cells)
{
    for (int k = 1; k < s->n && cells != s->cells[child]; k++) {
        const int other = (child + k) % s->n;
        const hl_node *node = &in->nodes[s->node[other]];
        const int room = s->cells[other] - least(node);
        int by = cells - s->cells[child];
        if (is_fixed(node) || (by > 0 && room <= 0))
            continue;
        by = by > room && by > 0 ? room : by;
        s->cells[child] += by;
        s->cells[other] -= by;
    }
}

static bool holds(const hl_layout_in *in, int i, int pane)
{
    for (const int end = skip(in, i); i < end; i++)
        if (in->nodes[i].kind == HL_NODE_PANE && in->nodes[i].pane == pane)
            return true;
    return false;
}

/* Sizes that the user chose, then the focused pane's in the half mode. */
static void obey(const hl_layout_in *in, shares *s, int extent)
{
    enum { HALF = 600 };
    for (int c = 0; c < s->n; c++) {
        const int share = in->share ? in->share[s->node[c]] : 0;
        int cells = (extent * share + 500) / 1000;
        const int fewest = least(&in->nodes[s->node[c]]);
        if (share)
            give(in, s, c, cells < fewest ? fewest : cells);
    }
    for (int c = 0; c < s->n && in->half; c++)
        if (holds(in, s->node[c], in->focus) && s->cells[c] * 1000 < extent * HALF)
            give(in, s, c, extent * HALF / 1000);
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
    obey(in, &s, extent);
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
        out->node[i] = r;
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

/* ---- borders ---- */

static const hl_border no_border = {-1, -1, -1};

/* The child behind one that is shown; -1: none. */
static int next_shown(const hl_layout_in *in, const hl_layout *l, int split, int child)
{
    for (int c = 0, i = split + 1; c < in->nodes[split].n; c++, i = skip(in, i))
        if (i > child && l->node[i].w > 0)
            return i;
    return -1;
}

/* The same among those whose size can change; with `child` itself if it is one. */
static int next_free(const hl_layout_in *in, const hl_layout *l, int split, int child)
{
    while (child >= 0 && is_fixed(&in->nodes[child]))
        child = next_shown(in, l, split, child);
    return child;
}

hl_border hl_layout_border_at(const hl_layout_in *in, const hl_layout *l, int x, int y)
{
    for (int split = 0; split < in->n_nodes; split++) {
        if (in->nodes[split].kind == HL_NODE_PANE || !hl_rect_has(l->node[split], x, y))
            continue;
        const bool columns = in->nodes[split].kind == HL_NODE_COLUMNS;
        int before = -1;
        for (int c = next_shown(in, l, split, -1); c >= 0; c = next_shown(in, l, split, c)) {
            const int from = columns ? x - l->node[c].x : y - l->node[c].y;
            const int behind = next_free(in, l, split, c);
            if (before >= 0 && behind >= 0 && (from == 0 || from == -1))
                return (hl_border){split, before, behind};
            before = is_fixed(&in->nodes[c]) ? before : c;
        }
    }
    return no_border;
}

hl_border hl_layout_border_of(const hl_layout_in *in, const hl_layout *l, int pane, bool columns)
{
    hl_border found = no_border;
    for (int split = 0; split < in->n_nodes; split++) { /* the innermost comes last */
        if (in->nodes[split].kind != (columns ? HL_NODE_COLUMNS : HL_NODE_ROWS) ||
            l->node[split].w == 0 || l->node[split].h == 0 || !holds(in, split, pane))
            continue;
        int last = -1, child = next_shown(in, l, split, -1);
        for (; child >= 0 && !holds(in, child, pane); child = next_shown(in, l, split, child))
            last = is_fixed(&in->nodes[child]) ? last : child;
        if (child < 0 || is_fixed(&in->nodes[child]))
            continue;
        const int behind = next_free(in, l, split, next_shown(in, l, split, child));
        if (behind >= 0)
            found = (hl_border){split, child, behind};
        else if (last >= 0)
            found = (hl_border){split, last, child};
    }
    return found;
}

uint16_t hl_layout_moved(const hl_layout_in *in, const hl_layout *l, hl_border b, int cells)
{
    const bool columns = in->nodes[b.split].kind == HL_NODE_COLUMNS;
    const int all = columns ? l->node[b.split].w : l->node[b.split].h;
    const int now = columns ? l->node[b.before].w : l->node[b.before].h;
    const int most = all - least(&in->nodes[b.behind]), fewest = least(&in->nodes[b.before]);
    int to = now + cells;
    to = to > most ? most : to;
    to = to < fewest ? fewest : to;
    return (uint16_t)((to * 1000 + all / 2) / all);
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
