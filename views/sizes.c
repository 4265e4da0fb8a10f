/* Sizes of panes that the user chose, by keys or by dragging a border: per view and size class, in
 * thousandths of the split, kept in the state directory. */
#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "views/screen.h"

static uint16_t *shares_now(hl_screen *s)
{
    return s->look.share[s->look.view][s->layout.size];
}

static const char *const class_names[HL_SIZE_COUNT] = {"below",    "minimal", "small",
                                                       "standard", "normal",  "wide"};

/* ---- changing ---- */

static void move_border(hl_screen *s, hl_border b, int cells)
{
    hl_layout_in in = hl_screen_layout_in(s);
    if (b.split < 0 || in.size < HL_SIZE_STANDARD || s->look.zoom)
        return;
    shares_now(s)[b.before] = hl_layout_moved(&in, &s->layout, b, cells);
    s->sizes_changed = true;
    hl_screen_lay_out(s);
}

void hl_screen_resize_pane(hl_screen *s, int columns, int rows)
{
    hl_screen_lay_out(s);
    hl_layout_in in = hl_screen_layout_in(s);
    const hl_pane focus = hl_screen_focus(s);
    const hl_border b = hl_layout_border_of(&in, &s->layout, focus, columns != 0);
    if (b.split < 0 || s->layout.pane[focus].w == 0 || in.size < HL_SIZE_STANDARD || s->look.zoom) {
        hl_screen_say(s, HL_ROLE_DIM, "nothing beside this pane to give or take");
        return;
    }
    /* at the end of its split it grows towards the one before */
    const hl_rect pane = s->layout.pane[focus], before = s->layout.node[b.before];
    const bool inside = columns ? pane.x < before.x + before.w : pane.y < before.y + before.h;
    const int by = columns ? columns : rows;
    hl_screen_remember(s);
    move_border(s, b, inside ? by : -by);
}

void hl_screen_reset_sizes(hl_screen *s)
{
    hl_screen_remember(s);
    memset(s->look.share[s->look.view], 0, sizeof s->look.share[s->look.view]);
    s->sizes_changed = true;
    s->look.half = s->look.zoom = false;
}

void hl_screen_drag(hl_screen *s, const hl_input *in)
{
    const int x = in->mouse.x, y = in->mouse.y;
    if (in->mouse.what == HL_MOUSE_PRESS) {
        hl_layout_in l = hl_screen_layout_in(s);
        s->dragged =
            s->look.zoom ? (hl_border){-1, -1, -1} : hl_layout_border_at(&l, &s->layout, x, y);
        s->drag_x = x;
        s->drag_y = y;
        s->drag_moved = false;
        return;
    }
    if (in->mouse.what == HL_MOUSE_DRAG && s->dragged.split >= 0) {
        hl_layout_in l = hl_screen_layout_in(s);
        if (s->dragged.split >= l.n_nodes || s->dragged.behind >= l.n_nodes)
            return;
        if (!s->drag_moved)
            hl_screen_remember(s); /* a drag is one change */
        s->drag_moved = true;
        move_border(s, s->dragged,
                    l.nodes[s->dragged.split].kind == HL_NODE_COLUMNS ? x - s->drag_x
                                                                      : y - s->drag_y);
        s->drag_x = x;
        s->drag_y = y;
    }
    if (in->mouse.what == HL_MOUSE_RELEASE)
        s->dragged.split = -1;
}

/* ---- keeping: "VIEW CLASS NODES NODE SHARE" a line ---- */

static int class_of(const char *name)
{
    for (int c = 0; c < HL_SIZE_COUNT; c++)
        if (strcmp(name, class_names[c]) == 0)
            return c;
    return -1;
}

static void read_line(hl_screen *s, const char *line)
{
    char view[32], size[16];
    int n_nodes, node, share;
    if (sscanf(line, "%31s %15s %5d %5d %5d", view, size, &n_nodes, &node, &share) != 5)
        return;
    const int c = class_of(size);
    for (int v = 0; v < HL_VIEW_COUNT; v++) /* a view that was built anew starts anew */
        if (c >= 0 && strcmp(hl_view_get((hl_view)v)->name, view) == 0 &&
            hl_view_get((hl_view)v)->n_nodes == n_nodes && node > 0 && node < n_nodes &&
            share > 0 && share < 1000)
            s->look.share[v][c][node] = (uint16_t)share;
}

void hl_screen_load_sizes(hl_screen *s)
{
    enum { BYTES_MAX = 1 << 16 };
    char *text = NULL;
    size_t n;
    if (!s->sizes_path || hl_fs_size(s->sizes_path) < 0 ||
        hl_fs_read(s->sizes_path, BYTES_MAX, &text, &n) != HL_OK)
        return; /* none chosen yet */
    for (char *at = text; *at;) {
        char *end = at + strcspn(at, "\n");
        const bool more = *end != 0;
        *end = 0;
        read_line(s, at);
        at = end + more;
    }
    hl_free(text);
}

void hl_screen_save_sizes(hl_screen *s)
{
    hl_str text = {0};
    if (!s->sizes_path || !s->sizes_changed)
        return;
    for (int v = 0; v < HL_VIEW_COUNT; v++)
        for (int c = 0; c < HL_SIZE_COUNT; c++)
            for (int i = 0; i < HL_NODES_MAX; i++)
                if (s->look.share[v][c][i])
                    hl_str_addf(&text, "%s %s %d %d %d\n", hl_view_get((hl_view)v)->name,
                                class_names[c], hl_view_get((hl_view)v)->n_nodes, i,
                                s->look.share[v][c][i]);
    char *folder = hl_fs_parent(s->sizes_path);
    if (folder && hl_str_status(&text) == HL_OK && hl_fs_make_dir(folder) == HL_OK)
        HL_IGNORE(hl_fs_write_soon(s->sizes_path, hl_str_text(&text), text.n)); /* a convenience */
    hl_free(folder);
    hl_str_done(&text);
}
