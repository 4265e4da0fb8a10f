#include "views/log_list.h"

#include <string.h>

/* The place of the oldest line that is kept. */
static int64_t first_kept(const hl_watched *w)
{
    return w->log.n ? w->log.at[0].place : HL_LOG_END;
}

/* The window reaches from before the kept lines to where they begin. */
static bool is_joined(const hl_watched *w)
{
    const hl_log_window *v = &w->window;
    return v->is_set && v->begin < first_kept(w) && v->end >= first_kept(w);
}

static bool shows_kept(const hl_watched *w, int64_t place)
{
    return hl_watched_has_end(w) && (place < 0 || w->log_first == 0 || place >= first_kept(w) ||
                                     (is_joined(w) && place >= w->window.begin));
}

static bool shows_window(const hl_watched *w, int64_t place)
{
    const hl_log_window *v = &w->window;
    if (!v->is_set)
        return false;
    return place < 0 ? v->is_last && !hl_watched_has_end(w)
                     : place >= v->begin && (place < v->end || v->is_last);
}

static void add(hl_log_list *l, const hl_log_line *line, int64_t place)
{
    if (l->n == 2 * HL_LOG_MAX)
        return;
    if (place < 0 || line->place <= place)
        l->cursor = l->n;
    l->at[l->n++] = line;
}

static bool fits(const hl_log_sight *s, const hl_log_line *l)
{
    return (!s->levels[0] || strchr(s->levels, l->level)) &&
           (!s->words[0] || hl_filter_fits_text(s->words, l->text));
}

static void add_window(hl_log_list *l, const hl_watched *w, const hl_log_sight *s, int64_t end)
{
    for (size_t i = 0; i < w->window.lines.n && w->window.lines.at[i].place < end; i++)
        add(l, &w->window.lines.at[i], s->place);
}

static void add_kept(hl_log_list *l, const hl_watched *w, const hl_log_sight *s)
{
    for (size_t i = 0; i < w->log.n; i++)
        if (fits(s, &w->log.at[i]))
            add(l, &w->log.at[i], s->place);
}

/* What is missing: more lines at the end that the cursor is near to. */
static void ask_more(const hl_log_list *l, hl_model *m, hl_watched *w, int rows)
{
    const hl_log_window *v = &w->window;
    const int margin = 2 * rows;
    if (!l->is_from_first && l->cursor < margin) {
        if (l->is_windowed || is_joined(w))
            hl_model_ask_log(m, w, HL_LOG_ASK_BEFORE, 0);
        else if (v->has_met) /* what is in between is all that is to be searched */
            hl_model_ask_log(m, w, HL_LOG_ASK_BEHIND, 0);
        else
            hl_model_ask_log(m, w, HL_LOG_ASK_BACK, first_kept(w));
    } else if (l->is_windowed && l->n - 1 - l->cursor < margin &&
               (!v->is_last || w->bytes_total > v->bytes)) {
        hl_model_ask_log(m, w, HL_LOG_ASK_BEHIND, 0);
    }
}

static void ask_window(hl_model *m, hl_watched *w, int64_t place)
{
    if (place < 0)
        hl_model_ask_log(m, w, HL_LOG_ASK_BACK, HL_LOG_END);
    else if (place == 0)
        hl_model_ask_log(m, w, HL_LOG_ASK_ON, 0);
    else
        hl_model_ask_log(m, w, HL_LOG_ASK_BACK, place + 1);
}

static int64_t lines_below(const hl_log_list *l, const hl_watched *w, const hl_log_sight *s)
{
    const bool is_all = !s->levels[0] && !s->words[0];
    if (!l->is_windowed || l->bottom < 0)
        return l->n - 1 - l->bottom;
    const int64_t number = l->at[l->bottom]->number;
    if (!is_all || number < 0 || !hl_watched_has_end(w))
        return -1;
    return w->log_first + (int64_t)w->log.n - 1 - number;
}

void hl_log_list_make(hl_log_list *l, hl_model *m, hl_watched *w, const hl_log_sight *sight)
{
    const hl_log_window *v = &w->window;
    l->n = 0;
    l->cursor = -1;
    hl_log_window_fit(&w->window, sight->levels, sight->words);
    w->window.has_met |= is_joined(w);
    const bool kept = shows_kept(w, sight->place), windowed = shows_window(w, sight->place);
    /* until it has come, what there is is shown */
    l->is_windowed = !kept && (windowed || (v->is_set && !hl_watched_has_end(w)));
    if (l->is_windowed) {
        add_window(l, w, sight, HL_LOG_END);
        l->is_from_first = v->is_first;
        l->is_to_last = v->is_last;
    } else {
        if (is_joined(w))
            add_window(l, w, sight, first_kept(w));
        add_kept(l, w, sight);
        l->is_from_first = w->log_first == 0 || (is_joined(w) && v->is_first);
        l->is_to_last = hl_watched_has_end(w);
    }
    if (l->cursor < 0 && l->n > 0)
        l->cursor = 0;
    const int least = sight->rows < l->n ? sight->rows - 1 : l->n - 1; /* the pane is filled */
    l->bottom = l->cursor < least ? least : l->cursor;
    l->below = lines_below(l, w, sight);
    if (v->asking != HL_LOG_ASK_NOTHING || v->is_refused)
        return;
    if (kept || windowed)
        ask_more(l, m, w, sight->rows);
    else
        ask_window(m, w, sight->place);
}
