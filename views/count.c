/* Counts before a movement, as 5j. Digits show views, at once; when a movement follows them without
 * a pause, they were a count: the view comes back as it was and the movement is done so often. */
#include "views/screen.h"

enum { PAUSE_MS = 500, COUNT_MAX = 9999 };

static bool is_movement(hl_action a)
{
    switch (a) {
    case HL_ACTION_UP:
    case HL_ACTION_DOWN:
    case HL_ACTION_LEFT:
    case HL_ACTION_RIGHT:
    case HL_ACTION_TOP:
    case HL_ACTION_BOTTOM:
    case HL_ACTION_PAGE_UP:
    case HL_ACTION_PAGE_DOWN:
    case HL_ACTION_NEXT_MATCH:
    case HL_ACTION_PREVIOUS_MATCH:
    case HL_ACTION_NEXT_CHART:
    case HL_ACTION_PREVIOUS_CHART:
    case HL_ACTION_SAMPLE_LEFT:
    case HL_ACTION_SAMPLE_RIGHT:
    case HL_ACTION_NEXT_MARK:
        return true;
    default:
        return false;
    }
}

static bool goes_on(const hl_screen *s, const hl_input *in)
{
    return s->count.n > 0 && in->t_ms > 0 && in->t_ms - s->count.t_ms <= PAUSE_MS;
}

/* The view as it was before the digits, or the one that they show. */
static void swap_view(hl_screen *s)
{
    const hl_view view = s->look.view, last = s->last_view;
    const bool zoom = s->look.zoom;
    s->look.view = s->count.view;
    s->last_view = s->count.last_view;
    s->look.zoom = s->count.zoom;
    s->count.view = view;
    s->count.last_view = last;
    s->count.zoom = zoom;
}

bool hl_count_digit(hl_screen *s, const hl_input *in, hl_action a)
{
    const bool is_view = a >= HL_ACTION_VIEW_1 && a < HL_ACTION_VIEW_1 + HL_VIEW_LUA;
    const bool more = goes_on(s, in);
    if (in->key < '0' || in->key > '9' || in->t_ms <= 0 || (in->key == '0' && !more) ||
        (!is_view && in->key != '0' && a != HL_ACTION_NONE))
        return false;
    if (!more) {
        s->count.n = 0;
        s->count.view = s->look.view;
        s->count.last_view = s->last_view;
        s->count.zoom = s->look.zoom;
    }
    s->count.n = 10 * s->count.n + (in->key - '0');
    s->count.n = s->count.n > COUNT_MAX ? COUNT_MAX : s->count.n;
    s->count.t_ms = in->t_ms;
    return in->key == '0';
}

/* G and gg go to the line of that number. */
static void repeat(hl_screen *s, hl_action a, int n)
{
    if (a == HL_ACTION_BOTTOM || a == HL_ACTION_TOP) {
        hl_screen_act(s, HL_ACTION_TOP);
        a = HL_ACTION_DOWN;
        n--;
    }
    for (int i = 0; i < n; i++)
        hl_screen_act(s, a);
}

bool hl_count_act(hl_screen *s, const hl_input *in)
{
    if (s->count.n == 0 || (in->key >= '0' && in->key <= '9' && s->n_keys == 1))
        return false;
    const int n = goes_on(s, in) ? s->count.n : 0;
    if (n)
        swap_view(s);
    const hl_action a =
        n ? hl_keymap_find(&s->keymap, hl_screen_focus(s), s->key, s->n_keys) : HL_ACTION_NONE;
    if (n && is_movement(a)) {
        s->count.n = s->n_keys = 0;
        repeat(s, a, n);
        return true;
    }
    if (n)
        swap_view(s); /* they were views */
    if (a != HL_ACTION_PENDING)
        s->count.n = 0;
    return false;
}
