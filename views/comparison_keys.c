/* The keys of the Compare view, and `:compare`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "views/screen.h"

/* ---- keys ---- */

static void set_dir(char **to, const hl_comparison *c, size_t run)
{
    char *copy = hl_strdup(hl_run_get_row(c->runs[run].run)->dir);
    if (!copy)
        return;
    hl_free(*to);
    *to = copy;
}

/* To the run so many lines further; the lines of means are stepped over. */
static void move_row(hl_screen *s, int by)
{
    hl_compare_lines lines = {0};
    hl_compare_list(s, &lines);
    const int at = (int)hl_compare_row_shown(s), n = (int)lines.n, step = by < 0 ? -1 : 1;
    int place = 0, best = -1;
    for (int i = 0; i < n; i++)
        if (lines.at[i].run == at)
            place = i;
    for (int i = place + step, left = abs(by); i >= 0 && i < n && left > 0; i += step)
        if (lines.at[i].run >= 0) {
            best = i;
            left--;
        }
    if (best >= 0)
        set_dir(&s->compare.row, s->compare.now, (size_t)lines.at[best].run);
    hl_vec_done(&lines);
}

static void move_metric(hl_screen *s, int by)
{
    const hl_comparison *c = s->compare.now;
    const int n = (int)c->metrics.n, step = by < 0 ? -1 : 1;
    int at = (int)hl_compare_metric_shown(s), best = at;
    for (int i = at + step, left = abs(by); i >= 0 && i < n && left > 0; i += step)
        if (hl_compare_takes(s, &c->metrics.at[i], true)) {
            best = i;
            left--;
        }
    if (n)
        snprintf(s->look.compare.metric, sizeof s->look.compare.metric, "%s",
                 c->metrics.at[best].key);
}

static bool move(hl_screen *s, hl_action a)
{
    enum { ALL = 1 << 20 };
    const bool table = hl_screen_focus(s) == HL_PANE_SCORES;
    int *top = &s->compare.differences_top, *left = &s->compare.differences_left;
    const hl_rect r = s->layout.pane[hl_screen_focus(s)];
    const int page = r.h > 4 ? r.h / 2 : 1;
    const int by = a == HL_ACTION_UP          ? -1
                   : a == HL_ACTION_DOWN      ? 1
                   : a == HL_ACTION_PAGE_UP   ? -page
                   : a == HL_ACTION_PAGE_DOWN ? page
                   : a == HL_ACTION_TOP       ? -ALL
                   : a == HL_ACTION_BOTTOM    ? ALL
                                              : 0;
    const int side = a == HL_ACTION_LEFT ? -1 : a == HL_ACTION_RIGHT ? 1 : 0;
    if (!by && !side)
        return false;
    if (table && by)
        move_row(s, by);
    else if (table)
        move_metric(s, side);
    *top += table ? 0 : by; /* the drawing keeps both within what there is */
    *top = *top < 0 ? 0 : *top;
    *left += table ? 0 : side;
    *left = *left < 0 ? 0 : *left;
    return true;
}

static const char *relation_name(int relation)
{
    static const char *const names[HL_RELATIONS] = {"values", "differences to the reference",
                                                    "ratios to the reference"};
    return names[relation];
}

static void next_value(hl_screen *s)
{
    hl_compare_look *look = &s->look.compare;
    look->value = (uint8_t)((look->value + 1) % HL_COMPARE_VALUES);
    const int64_t at = hl_compare_step(s);
    if (look->value != HL_COMPARE_AT)
        hl_screen_say(s, HL_ROLE_TEXT, "%s values", hl_compare_value_name(look->value));
    else if (at >= 0)
        hl_screen_say(s, HL_ROLE_TEXT, "values at step %lld, that of the crosshair", (long long)at);
    else
        hl_screen_say(s, HL_ROLE_WARN,
                      "at which step? Put the crosshair there: h and l in the chart");
}

static void turn_kind(hl_screen *s, int to)
{
    s->look.compare.differences = (uint8_t)(to % HL_DIFFERENCES_KINDS);
    s->compare.differences_top = s->compare.differences_left = 0;
}

static void export_csv(hl_screen *s)
{
    s->compare.form = 1 + HL_COMPARE_CSV;
    snprintf(s->compare.path, sizeof s->compare.path, "compare.csv");
    hl_compare_update(s);
}

static bool act_on_row(hl_screen *s, hl_action a)
{
    const size_t run = hl_compare_row_shown(s);
    const hl_run_row *row = hl_run_get_row(s->compare.now->runs[run].run);
    switch (a) {
    case HL_ACTION_MARK:
        hl_screen_mark(s, row->dir, !hl_screen_is_marked(s, row->dir));
        hl_screen_say(s, HL_ROLE_TEXT, "%s %s", row->name,
                      hl_screen_is_marked(s, row->dir) ? "is marked" : "is no longer marked");
        return true;
    case HL_ACTION_OPEN:
        hl_screen_select(s, row->dir);
        hl_screen_set_view(s, HL_VIEW_RUN);
        return true;
    case HL_ACTION_COPY:
        hl_screen_copy(s, row->id);
        return true;
    case HL_ACTION_REFERENCE:
        set_dir(&s->compare.reference, s->compare.now, run);
        hl_screen_say(s, HL_ROLE_TEXT, "the reference is %s", row->name);
        return true;
    default:
        return false;
    }
}

static bool act_on_look(hl_screen *s, hl_action a)
{
    static const char *const axes[HL_ALIGNMENTS] = {"steps", "tokens or samples seen",
                                                    "seconds since the first step",
                                                    "steps since the crossing"};
    hl_compare_look *look = &s->look.compare;
    const hl_look before = s->look;
    switch (a) {
    case HL_ACTION_SCORE_SORT:
        look->as_marked = !look->as_marked;
        break;
    case HL_ACTION_SCORE_REVERSE:
        look->reverse = !look->reverse;
        break;
    case HL_ACTION_SCORE_VALUE:
        next_value(s);
        break;
    case HL_ACTION_SCORE_SEEDS:
        look->alone = !look->alone;
        break;
    case HL_ACTION_RELATION:
        look->relation = (uint8_t)((look->relation + 1) % HL_RELATIONS);
        hl_screen_say(s, HL_ROLE_TEXT, "%s", relation_name(look->relation));
        break;
    case HL_ACTION_ALIGN:
        look->alignment = (uint8_t)((look->alignment + 1) % HL_ALIGNMENTS);
        if (look->alignment == HL_ALIGN_CROSSING && !*s->look.charts.align.tag)
            look->alignment = HL_ALIGN_STEP;
        s->has_crosshair = false;
        hl_screen_say(s, HL_ROLE_TEXT, "x: %s", axes[look->alignment]);
        break;
    case HL_ACTION_SCORE_BAND:
        s->look.charts.band = (uint8_t)((s->look.charts.band + 1) % HL_BAND_COUNT);
        hl_screen_say(s, HL_ROLE_TEXT, "%s", hl_band_help((hl_band_kind)s->look.charts.band));
        break;
    case HL_ACTION_ONLY_DIFFERENT:
        look->all = !look->all;
        hl_screen_say(s, HL_ROLE_TEXT, look->all ? "all options and series" : "what differs");
        break;
    case HL_ACTION_DIFFERENCE_KIND:
        turn_kind(s, look->differences + 1);
        break;
    case HL_ACTION_CAUSES:
        turn_kind(s, look->differences == HL_DIFFERENCES_CAUSES ? HL_DIFFERENCES_OPTIONS
                                                                : HL_DIFFERENCES_CAUSES);
        break;
    default:
        return false;
    }
    const hl_look after = s->look;
    s->look = before; /* what undo brings back */
    hl_screen_remember(s);
    s->look = after;
    return true;
}

bool hl_compare_act(hl_screen *s, hl_action a)
{
    if (!hl_compare_shown(s))
        return act_on_look(s, a);
    if (a == HL_ACTION_EXPORT) {
        export_csv(s);
        return true;
    }
    return act_on_row(s, a) || act_on_look(s, a) || move(s, a);
}

/* ---- `:compare` ---- */

static bool is_word(const char *word, const char *const *list, int n, int *at)
{
    for (int i = 0; i < n; i++)
        if (strcmp(word, list[i]) == 0) {
            *at = i;
            return true;
        }
    return false;
}

/* An option that takes a value; false: it is wrong, which is told. */
static bool take_option(hl_screen *s, const char *name, const char *value)
{
    static const char *const axes[HL_ALIGN_CROSSING] = {"step", "tokens", "time"};
    hl_crossing crossing;
    int at = 0;
    int64_t step;
    for (int f = 0; f < HL_COMPARE_FORMS; f++)
        if (strcmp(name, hl_compare_form_name((hl_compare_form)f)) == 0) {
            s->compare.form = 1 + f;
            snprintf(s->compare.path, sizeof s->compare.path, "%s", value);
            return true;
        }
    if (strcmp(name, "align") == 0 && is_word(value, axes, HL_ALIGN_CROSSING, &at)) {
        s->look.compare.alignment = (uint8_t)at;
        return true;
    }
    if (strcmp(name, "align") == 0 && hl_crossing_parse(value, &crossing) == HL_OK) {
        s->look.compare.alignment = *crossing.tag ? HL_ALIGN_CROSSING : HL_ALIGN_STEP;
        s->look.charts.align = crossing;
        return true;
    }
    if (strcmp(name, "at") == 0 && hl_parse_i64(value, &step) == HL_OK && step >= 0) {
        s->look.compare.value = HL_COMPARE_AT;
        s->compare.at = step;
        return true;
    }
    hl_screen_say(
        s, HL_ROLE_BAD,
        "compare takes --best, --at STEP, --align step|tokens|time|METRIC<VALUE, --csv, --tsv, "
        "--markdown or --latex FILE; not --%s %s",
        name, value);
    return false;
}

static bool take_words(hl_screen *s, char *const *words, int n, hl_compare_dirs *runs)
{
    for (int i = 0; i < n; i++) {
        const char *word = words[i];
        if (strcmp(word, "--best") == 0) {
            s->look.compare.value = HL_COMPARE_BEST;
        } else if (strcmp(word, "--diff") == 0) {
            s->look.compare.all = false;
        } else if (hl_str_starts(word, "--")) {
            if (!take_option(s, word + 2, i + 1 < n ? words[i + 1] : ""))
                return false;
            i++;
        } else if (strcmp(word, "%marked") != 0) {
            const char *dir = hl_screen_open_run(s, word);
            if (!dir) {
                hl_screen_say(s, HL_ROLE_BAD, "no run '%s' in %s; Tab completes", word,
                              s->model.runs_dir);
                return false;
            }
            HL_IGNORE(hl_vec_push(runs, dir));
        }
    }
    return true;
}

void hl_compare_command(hl_screen *s, char *const *words, int n)
{
    hl_compare_dirs runs = {0};
    const hl_look before = s->look;
    if (take_words(s, words, n, &runs)) {
        while (runs.n && s->marks.n)
            hl_screen_mark(s, s->marks.at[0].dir, false);
        for (size_t i = 0; i < runs.n; i++)
            hl_screen_mark(s, runs.at[i], true);
        hl_screen_set_view(s, HL_VIEW_COMPARE);
        hl_compare_update(s);
    } else {
        s->look = before;
        s->compare.form = 0;
    }
    hl_vec_done(&runs);
}
