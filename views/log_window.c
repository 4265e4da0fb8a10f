#include "views/log_window.h"

#include <stdio.h>
#include <string.h>

enum { PAGE = 2048, PAGE_SEARCHED = 256 }; /* lines asked for at once */

static void free_lines(hl_log_line *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hl_free(at[i].text);
}

static void drop_lines(hl_log_window *w)
{
    free_lines(w->lines.at, w->lines.n);
    hl_vec_done(&w->lines);
    w->begin = w->end = 0;
    w->is_first = w->is_last = w->is_set = w->has_met = false;
}

void hl_log_window_clear(hl_log_window *w)
{
    drop_lines(w);
    w->asking = HL_LOG_ASK_NOTHING;
    w->is_refused = false;
    w->found_none = HL_LOG_ASK_NOTHING;
    w->has_found = false;
    w->serial++;
}

void hl_log_window_fit(hl_log_window *w, const char *levels, const char *words)
{
    if (strcmp(w->levels, levels) == 0 && strcmp(w->words, words) == 0)
        return;
    hl_log_window_clear(w);
    snprintf(w->levels, sizeof w->levels, "%s", levels);
    snprintf(w->words, sizeof w->words, "%s", words);
}

hl_log_want hl_log_window_ask(hl_log_window *w, hl_log_ask what, int64_t from)
{
    hl_log_want want = {.from = from, .number = -1, .percent = -1, .serial = ++w->serial};
    const bool is_search = what >= HL_LOG_ASK_EARLIER;
    want.back = what == HL_LOG_ASK_BACK || what == HL_LOG_ASK_BEFORE || what == HL_LOG_ASK_EARLIER;
    want.n = is_search ? 1 : w->levels[0] || w->words[0] ? PAGE_SEARCHED : PAGE;
    snprintf(want.words, sizeof want.words, "%s", w->words);
    snprintf(want.levels, sizeof want.levels, "%s", w->levels);
    if (what == HL_LOG_ASK_EARLIER || what == HL_LOG_ASK_LATER)
        snprintf(want.levels, sizeof want.levels, "%s", strcmp(w->levels, "E") == 0 ? "E" : "WE");
    if (what == HL_LOG_ASK_BEFORE)
        want.from = w->begin;
    else if (what == HL_LOG_ASK_BEHIND)
        want.from = w->end;
    else if (what == HL_LOG_ASK_NUMBER)
        want.number = from;
    else if (what == HL_LOG_ASK_PERCENT)
        want.percent = (int)from;
    w->asking = what;
    w->is_new = what == HL_LOG_ASK_BACK || what == HL_LOG_ASK_ON;
    w->is_refused = false;
    w->found_none = HL_LOG_ASK_NOTHING;
    w->has_found = false;
    w->percent = -1;
    return want;
}

void hl_log_window_refuse(hl_log_window *w)
{
    w->is_refused = w->asking != HL_LOG_ASK_NOTHING;
    w->asking = HL_LOG_ASK_NOTHING;
    w->serial++;
}

/* Too many lines: those far from where more came go. */
static void shorten(hl_log_window *w, bool back)
{
    if (w->lines.n <= HL_LOG_MAX)
        return;
    const size_t gone = w->lines.n - HL_LOG_MAX;
    if (back) {
        w->end = w->lines.at[HL_LOG_MAX].place;
        w->is_last = false;
        free_lines(w->lines.at + HL_LOG_MAX, gone);
    } else {
        free_lines(w->lines.at, gone);
        memmove(w->lines.at, w->lines.at + gone, HL_LOG_MAX * sizeof *w->lines.at);
        w->begin = w->lines.at[0].place;
        w->is_first = false;
    }
    w->lines.n = HL_LOG_MAX;
}

/* The page stands right before the window, or right behind it. */
static void join(hl_log_window *w, hl_log_page *p)
{
    const size_t n = p->lines.n, had = w->lines.n;
    const bool back = p->want.back;
    if (hl_vec_reserve(&w->lines, had + n) != HL_OK) {
        hl_log_window_refuse(w);
        return;
    }
    if (back && had)
        memmove(w->lines.at + n, w->lines.at, had * sizeof *w->lines.at);
    if (n)
        memcpy(w->lines.at + (back ? 0 : had), p->lines.at, n * sizeof *p->lines.at);
    w->lines.n += n;
    p->lines.n = 0; /* the window's now */
    if (back) {
        w->begin = p->begin;
        w->is_first = p->is_first;
    } else {
        w->end = p->end;
        w->is_last = p->is_last;
    }
    shorten(w, back);
}

void hl_log_window_take(hl_log_window *w, hl_log_page *p)
{
    if (w->asking == HL_LOG_ASK_NOTHING || p->want.serial != w->serial)
        return;
    w->percent = p->percent;
    if (w->asking >= HL_LOG_ASK_EARLIER) {
        w->has_found = p->lines.n > 0;
        w->found = w->has_found ? p->lines.at[0].place : 0;
        if (p->is_done && p->lines.n == 0)
            w->found_none = w->asking;
    } else {
        if (w->is_new) {
            drop_lines(w);
            w->begin = p->begin;
            w->end = p->end;
            w->is_last = p->is_last || p->want.from == HL_LOG_END;
            w->is_first = p->is_first || (!p->want.back && p->want.from == 0);
            w->is_new = false;
            w->is_set = true;
        }
        join(w, p);
    }
    if (p->is_done)
        w->asking = HL_LOG_ASK_NOTHING;
}
