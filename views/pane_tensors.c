/* The tensors of the quantization looked at, and the keys of the view. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/screen.h"
#include "views/widgets/number.h"

static const struct {
    const char *title;
    int w, rank;
} tensor_columns[HL_TENSOR_N] = {
#define HL_TENSOR_PLACE(upper, key, title, w, rank) {title, w, rank},
    HL_TENSOR_COLUMNS(HL_TENSOR_PLACE)
#undef HL_TENSOR_PLACE
};
enum { NAME_MIN = 12, NAME_GOOD = 22, NAME_MAX = 60 };

static int tensor_cursor(const hl_screen *s)
{
    for (size_t i = 0; i < s->tensors.n; i++)
        if (strcmp(s->tensors.at[i].name, s->tensor) == 0)
            return (int)i;
    return s->tensors.n ? 0 : -1;
}

const hl_tensor *hl_tensor_shown(hl_screen *s)
{
    const hl_quantization *q = hl_quant_shown(s);
    const hl_watched *w = hl_screen_run(s);
    hl_tensors_of(
        &(hl_tensors_wish){.of = q,
                           .ranked = q ? hl_quants_find(&w->quants, q->key, "sensitivity") : NULL,
                           .other = hl_quant_other(s),
                           .by = s->look.tensor_sort,
                           .reverse = s->look.tensor_reverse},
        &s->tensors);
    const int at = tensor_cursor(s);
    return at >= 0 ? &s->tensors.at[at] : NULL;
}

static void look_at_tensor(hl_screen *s, int to)
{
    const int n = (int)s->tensors.n;
    to = to >= n ? n - 1 : to;
    if (n)
        snprintf(s->tensor, sizeof s->tensor, "%s", s->tensors.at[to < 0 ? 0 : to].name);
}

static const char *sort_name(int by)
{
    return by == HL_TENSOR_BY_NAME ? "name" : tensor_columns[by].title;
}

static void tensors_title(hl_screen *s, char *buf, size_t n)
{
    const hl_quantization *q = hl_quant_shown(s);
    const hl_run_row *row = hl_screen_row(s);
    char step[HL_NUMBER_MAX];
    const bool wide = s->layout.pane[HL_PANE_TENSORS].w >= 60;
    if (!q || !row) {
        snprintf(buf, n, "tensors");
        return;
    }
    (void)hl_tensor_shown(s);
    const int used =
        snprintf(buf, n, "%s%s%s @%s  %zu tensors by %s%s", wide ? row->name : "", wide ? "  " : "",
                 q->recipe, hl_format_count(step, q->step), s->tensors.n,
                 sort_name(s->look.tensor_sort), s->look.tensor_reverse ? ", reversed" : "");
    const hl_run_row *other = hl_quant_other(s) ? hl_model_row(&s->model, s->other_run) : NULL;
    if (other && used > 0 && (size_t)used < n)
        snprintf(buf + used, n - (size_t)used, "  + against %s", other->name);
}

/* A column that no tensor has a value of is left out, unless it is sorted by. */
static bool is_known(const hl_tensors *t, int column)
{
    if (column != HL_TENSOR_GROWTH && column != HL_TENSOR_OTHER)
        return true;
    for (size_t i = 0; i < t->n; i++)
        if (!isnan(t->at[i].v[column]))
            return true;
    return false;
}

/* Where columns are, -1: no room; that which is sorted by always has some. Gives the columns of the
 * name. */
static int plan_tensors(const hl_tensors *t, int w, int sorted_by, int x[HL_TENSOR_N])
{
    const int name_min = w < 60 ? NAME_MIN : NAME_GOOD;
    int left = w - 3 - name_min;
    bool shown[HL_TENSOR_N] = {false};
    for (int rank = -1; rank <= HL_TENSOR_N; rank++)
        for (int i = 0; i < HL_TENSOR_N; i++)
            if ((rank < 0 ? i == sorted_by : tensor_columns[i].rank == rank) && !shown[i] &&
                (rank < 0 || is_known(t, i)) && left >= tensor_columns[i].w + 1) {
                shown[i] = true;
                left -= tensor_columns[i].w + 1;
            }
    const int name = name_min + (left > 0 ? left : 0), used = name > NAME_MAX ? NAME_MAX : name;
    for (int i = 0, at = 2 + used; i < HL_TENSOR_N; i++) {
        x[i] = shown[i] ? at + 1 : -1;
        at += shown[i] ? tensor_columns[i].w + 1 : 0;
    }
    return used;
}

/* Of a name that is too long the layer and the end: "L0~out_proj.sum". */
static void put_name(hl_canvas c, int x, int w, hl_style style, const char *text)
{
    const size_t layer = text[0] == 'L' && strchr("0123456789", text[1]) ? strcspn(text, ".") : 0;
    int n = hl_text_columns(c.grid, text);
    if (n <= w || w < 2) {
        hl_put_cut(c, x, 0, w, style, text);
        return;
    }
    const int head = (int)layer < w - 6 ? (int)layer : 0;
    const char *from = text;
    for (text += head; n > w - 1 - head && *text; n = hl_text_columns(c.grid, text)) {
        uint32_t ch;
        text += hl_utf8_next(text, strlen(text), &ch);
    }
    hl_putf(c, x, 0, style, "%.*s", head, from);
    hl_put_sign(c, x + head, 0, style, HL_SIGN_ELLIPSIS);
    hl_put(c, x + head + 1, 0, style, text);
}

static const char *cell_text(const hl_tensor *t, int column, const char *none, char buf[32])
{
    const double v = t->v[column];
    char number[HL_NUMBER_MAX];
    if (column == HL_TENSOR_ROLE)
        return t->is_weight ? "w" : "act";
    if (column == HL_TENSOR_BITS && t->is_float)
        return "f32";
    if (isnan(v) || (column == HL_TENSOR_BYTES && !(fabs(v) < 1e18)))
        return none;
    if (column == HL_TENSOR_CLIPPED)
        snprintf(buf, 32,
                 v > 0 && v < 1e-3 ? "%.3gppm"
                 : v > 0           ? "%.2f%%"
                                   : "0",
                 v < 1e-3 ? v * 1e6 : v * 100);
    else if (column == HL_TENSOR_BYTES)
        snprintf(buf, 32, "%s", hl_format_count(number, (int64_t)v));
    else if (column == HL_TENSOR_OTHER)
        snprintf(buf, 32, "%+.1f", v);
    else if (column == HL_TENSOR_GROWTH)
        snprintf(buf, 32, "%+.2g", v);
    else if (column == HL_TENSOR_SQNR)
        snprintf(buf, 32, isinf(v) ? "%g" : "%.1f", v);
    else if (column == HL_TENSOR_SCALE || column == HL_TENSOR_MSE)
        snprintf(buf, 32, "%.2e", v);
    else
        snprintf(buf, 32, "%s", hl_format_value(number, v + 0.0)); /* no -0 */
    return buf;
}

static void put_tensor(hl_canvas c, const int x[HL_TENSOR_N], int name_w, const hl_tensor *t,
                       bool now)
{
    const hl_style text = now ? HL_STYLE(SELECT) : t->is_float ? HL_STYLE(DIM) : HL_STYLE(TEXT);
    char buf[HL_TENSOR_NAME_MAX], cell[32];
    if (now) {
        hl_blank(c, 0, 0, c.r.w, 1, text);
        hl_put_sign(c, 0, 0, text, HL_SIGN_CURSOR);
    }
    put_name(c, 2, name_w, text, hl_tensor_short(t->name, buf));
    for (int i = 0; i < HL_TENSOR_N; i++)
        if (x[i] >= 0)
            hl_put_right(c, x[i] + tensor_columns[i].w, 0, text,
                         cell_text(t, i, hl_unknown(&c), cell));
}

static void draw_nothing(hl_screen *s, hl_canvas c)
{
    const hl_run_row *row = hl_screen_row(s);
    const hl_watched *w = hl_screen_run(s);
    if (hl_screen_put_trouble(s, c))
        return;
    if (w->quants.n_damaged)
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(BAD),
                   "its quantization cannot be read: the event is damaged");
    else if (!w->caught_up)
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), "reading ...");
    else
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM),
                   hl_state_is_live(hl_model_state(&s->model, row))
                       ? "not quantized yet: Q quantizes its weights as they are now"
                       : "not quantized: :quantize does it (or hoplab quantize RUN)");
}

static void tensors_draw(hl_screen *s, hl_canvas c, bool focused)
{
    int x[HL_TENSOR_N];
    const int head = c.r.h > 2;
    (void)focused;
    if (!hl_tensor_shown(s)) {
        draw_nothing(s, c);
        return;
    }
    const int name_w = plan_tensors(&s->tensors, c.r.w, s->look.tensor_sort, x), n = (int)s->tensors.n,
              cursor = tensor_cursor(s);
    if (head)
        hl_put(c, 2, 0, HL_STYLE(DIM), "tensor");
    for (int i = 0; head && i < HL_TENSOR_N; i++)
        if (x[i] >= 0)
            hl_put_right(c, x[i] + tensor_columns[i].w, 0,
                         i == s->look.tensor_sort ? HL_STYLE(KEY) : HL_STYLE(DIM),
                         tensor_columns[i].title);
    const int visible = c.r.h - head, top = hl_list_scroll(&s->tensor_top, cursor, n, visible);
    for (int i = 0; i < visible && top + i < n; i++)
        put_tensor(hl_canvas_part(c, 0, head + i, c.r.w, 1), x, name_w, &s->tensors.at[top + i],
                   top + i == cursor);
}

static void sort_by(hl_screen *s, int by, bool reverse)
{
    hl_screen_remember(s);
    s->look.tensor_sort = by;
    s->look.tensor_reverse = reverse;
    hl_screen_say(s, HL_ROLE_TEXT, "tensors by %s%s", sort_name(by), reverse ? ", reversed" : "");
}

static void tensors_click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    const hl_rect r = s->layout.pane[HL_PANE_TENSORS];
    const int edges = 2 * s->layout.frames, head = r.h - edges > 2;
    int at[HL_TENSOR_N];
    (void)hl_tensor_shown(s);
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN) {
        look_at_tensor(s, tensor_cursor(s) + (what == HL_MOUSE_WHEEL_UP ? -3 : 3));
        return;
    }
    if (what != HL_MOUSE_PRESS && what != HL_MOUSE_DOUBLE)
        return;
    const int name_w = plan_tensors(&s->tensors, r.w - edges, s->look.tensor_sort, at);
    if (y < head && x < 2 + name_w)
        sort_by(s, HL_TENSOR_BY_NAME, false);
    for (int i = 0; y < head && i < HL_TENSOR_N; i++)
        if (at[i] >= 0 && x >= at[i] && x < at[i] + tensor_columns[i].w)
            sort_by(s, i, s->look.tensor_sort == i && !s->look.tensor_reverse);
    if (y < head || s->tensor_top + y - head >= (int)s->tensors.n)
        return;
    look_at_tensor(s, s->tensor_top + y - head);
    if (what == HL_MOUSE_DOUBLE)
        hl_quant_act(s, HL_ACTION_OPEN);
}

const hl_pane_class hl_pane_tensors = {.framed = true,
                                       .focusable = true,
                                       .title = tensors_title,
                                       .draw = tensors_draw,
                                       .act = hl_quant_act,
                                       .click = tensors_click};

/* ---- keys ---- */

static bool move(hl_screen *s, hl_action a)
{
    const bool methods = hl_screen_focus(s) == HL_PANE_METHODS;
    const hl_rect r = s->layout.pane[hl_screen_focus(s)];
    const int page = r.h > 4 ? r.h / 2 : 1;
    (void)hl_tensor_shown(s);
    const int n = methods ? (int)s->methods.n : (int)s->tensors.n;
    int to = methods ? hl_method_shown(s) : tensor_cursor(s);
    switch (a) {
    case HL_ACTION_UP:
        to--;
        break;
    case HL_ACTION_DOWN:
        to++;
        break;
    case HL_ACTION_PAGE_UP:
        to -= page;
        break;
    case HL_ACTION_PAGE_DOWN:
        to += page;
        break;
    case HL_ACTION_TOP:
        to = 0;
        break;
    case HL_ACTION_BOTTOM:
        to = n - 1;
        break;
    default:
        return false;
    }
    if (methods)
        hl_method_look_at(s, to);
    else
        look_at_tensor(s, to);
    return true;
}

static void open(hl_screen *s)
{
    if (!hl_tensor_shown(s))
        hl_screen_say(s, HL_ROLE_TEXT, "there is no tensor to look at");
    else if (hl_screen_focus(s) == HL_PANE_METHODS)
        s->look.focus[HL_VIEW_QUANT] = HL_PANE_TENSORS;
    else
        hl_screen_popup(s, &hl_popup_tensor);
}

static void copy(hl_screen *s)
{
    const hl_tensor *t = hl_tensor_shown(s);
    const hl_run_row *row = hl_screen_row(s);
    if (hl_screen_focus(s) != HL_PANE_METHODS && t)
        hl_screen_copy(s, t->name);
    else if (row)
        hl_screen_copy(s, row->id);
}

bool hl_quant_act(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_OPEN:
        open(s);
        return true;
    case HL_ACTION_COPY:
        copy(s);
        return true;
    case HL_ACTION_TENSOR_SORT:
        sort_by(s, (s->look.tensor_sort + 1) % (HL_TENSOR_BY_NAME + 1), false);
        return true;
    case HL_ACTION_TENSOR_REVERSE:
        sort_by(s, s->look.tensor_sort, !s->look.tensor_reverse);
        return true;
    case HL_ACTION_LEFT:
    case HL_ACTION_OLDER_SEED:
        hl_method_next_seed(s, -1);
        return true;
    case HL_ACTION_RIGHT:
    case HL_ACTION_NEWER_SEED:
        hl_method_next_seed(s, 1);
        return true;
    case HL_ACTION_TENSOR_DIFF:
        hl_screen_next_other(s);
        return true;
    case HL_ACTION_RANK_TENSORS:
    case HL_ACTION_RESTORE:
    case HL_ACTION_TENSOR_OUTLIERS:
    case HL_ACTION_EXPORT:
        hl_tensor_act(s, a);
        return true;
    default:
        return move(s, a);
    }
}
