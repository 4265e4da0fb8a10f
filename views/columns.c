/* The columns of the run list: any key of a run (app/list/run_key.h), chosen, ordered and sized by
 * the user and kept for each store. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/screen.h"
#include "views/widgets/number.h"
#include "views/widgets/spark.h"

typedef enum column_kind { PLAIN, TREND, STEP, AGE } column_kind;

/* Those that have a look of their own, in the order in which they give way, the last first. */
static const struct {
    const char *name, *title;
    int width;
    column_kind kind;
} known[] = {
    {"loss", "loss", 7, PLAIN},  {"attn", "attention", 11, PLAIN}, {"eval", "eval", 7, PLAIN},
    {"max", "max|x|", 7, PLAIN}, {"kurt", "kurt", 7, PLAIN},       {"trend", "trend", 10, TREND},
    {"step", "step", 10, STEP},  {"age", "age", 7, AGE},
};
enum {
    N_KNOWN = sizeof known / sizeof known[0],
    NUMBER_WIDTH = 8,
    WIDTH_MAX = 40,
    TEXT_WIDTH = 18
};

static const char *const default_columns = "attn step loss eval max kurt trend age";

/* Place in `known`; -1: it is none of them. */
static int known_place(const char *name)
{
    for (int i = 0; i < N_KNOWN; i++)
        if (strcmp(known[i].name, name) == 0)
            return i;
    return -1;
}

/* What the user asked for by name stays longer than what is there by default. */
int hl_column_rank(const hl_column *k, int place)
{
    const int i = known_place(k->name);
    return i >= 0 ? i : place - HL_COLUMNS_MAX;
}

const char *hl_column_title(const hl_column *k)
{
    const int i = known_place(k->name);
    if (i >= 0)
        return known[i].title;
    const char *slash = strrchr(k->name, '/');
    const char *dot = k->key.is_metric ? NULL : strrchr(k->name, '.');
    return slash && slash[1] ? slash + 1 : dot && dot[1] ? dot + 1 : k->name;
}

/* ---- from text and back ---- */

/* "eval/ppl.min:9" -> its name and width. */
static void read_column(const char *word, size_t n, hl_column *out)
{
    size_t digits = 0;
    int64_t width = 0;
    char number[8];
    while (digits < n && word[n - 1 - digits] >= '0' && word[n - 1 - digits] <= '9')
        digits++;
    *out = (hl_column){0};
    if (digits > 0 && digits < 4 && n > digits + 1 && word[n - 1 - digits] == ':') {
        snprintf(number, sizeof number, "%.*s", (int)digits, word + n - digits);
        if (hl_parse_i64(number, &width) == HL_OK)
            n -= digits + 1;
    }
    out->width = width > WIDTH_MAX ? WIDTH_MAX : (int)width;
    snprintf(out->name, sizeof out->name, "%.*s", (int)n, word);
}

static int read_columns(const char *text, hl_column out[HL_COLUMNS_MAX])
{
    int n = 0;
    for (text += strspn(text, " "); *text && n < HL_COLUMNS_MAX; text += strspn(text, " ")) {
        const size_t k = strcspn(text, " ");
        read_column(text, k, &out[n++]);
        text += k;
    }
    return n;
}

static void write_columns(const hl_column *at, int n, char *buf, size_t n_buf)
{
    size_t used = 0;
    buf[0] = 0;
    for (int i = 0; i < n && used < n_buf; i++) {
        used += (size_t)snprintf(buf + used, n_buf - used, "%s%s", i ? " " : "", at[i].name);
        if (at[i].width && used < n_buf)
            used += (size_t)snprintf(buf + used, n_buf - used, ":%d", at[i].width);
    }
}

void hl_columns_text(const hl_screen *s, char *buf, size_t n)
{
    write_columns(s->columns, s->n_columns, buf, n);
}

/* Texts take what the longest one of the rows shown takes, to a limit. */
static int needs(const hl_screen *s, const hl_column *k)
{
    int w = k->is_number ? NUMBER_WIDTH : 4;
    const int title = hl_text_columns(&s->grid, hl_column_title(k));
    for (size_t i = 0; !k->is_number && i < s->order.n && w < TEXT_WIDTH; i++) {
        const hl_run_answer a = hl_run_key_ask(&k->key, &s->model.rows->at[s->order.at[i]]);
        const int text = a.known && a.text ? hl_text_columns(&s->grid, a.text) : 0;
        w = text > w ? text : w;
    }
    w = w > TEXT_WIDTH ? TEXT_WIDTH : w;
    return title > w ? title : w;
}

void hl_columns_make(hl_screen *s)
{
    const hl_run_rows none = {0};
    s->n_column_changes++;
    s->n_columns = read_columns(*s->look.columns ? s->look.columns : default_columns, s->columns);
    for (int i = 0; i < s->n_columns; i++) {
        hl_column *k = &s->columns[i];
        const int place = known_place(k->name);
        k->known =
            hl_run_key_find(k->name, s->model.rows ? s->model.rows : &none, &k->key) == HL_OK;
        k->is_number = k->known && hl_run_key_is_number(&k->key, s->model.rows);
        k->needs = place >= 0 ? known[place].width : k->known ? needs(s, k) : NUMBER_WIDTH;
    }
    if (s->column >= s->n_columns)
        s->column = s->n_columns - 1;
    hl_err_clear(); /* a column that no run has is empty */
}

/* ---- changes ---- */

static hl_status put_columns(hl_screen *s, const hl_column *at, int n, bool again)
{
    char text[HL_COLUMNS_TEXT + HL_RUN_KEY_MAX];
    write_columns(at, n, text, sizeof text);
    if (strlen(text) >= HL_COLUMNS_TEXT)
        return hl_err_set(HL_E_ARG, "so many columns: their names have to fit %d letters",
                          HL_COLUMNS_TEXT - 1);
    if (!again)
        hl_screen_remember(s);
    snprintf(s->look.columns, sizeof s->look.columns, "%s",
             strcmp(text, default_columns) == 0 ? "" : text);
    s->columns_changed = true;
    hl_screen_order(s);
    return HL_OK;
}

static int find_column(const hl_column *at, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(at[i].name, name) == 0)
            return i;
    return -1;
}

static hl_status add_column(const hl_screen *s, const hl_column *fresh, hl_column *at, int *n)
{
    hl_run_key key;
    const int is = find_column(at, *n, fresh->name);
    if (is >= 0) {
        at[is].width = fresh->width ? fresh->width : at[is].width;
        return HL_OK;
    }
    if (*n == HL_COLUMNS_MAX)
        return hl_err_set(HL_E_ARG, "there is room for %d columns", HL_COLUMNS_MAX);
    hl_status st = hl_run_key_find(fresh->name, s->model.rows, &key);
    if (st == HL_OK)
        at[(*n)++] = *fresh;
    return st;
}

hl_status hl_columns_change(hl_screen *s, const char *text)
{
    hl_column at[HL_COLUMNS_MAX], one;
    text += strspn(text, " ");
    const bool adds = *text == '+' || *text == '-';
    int n = adds ? s->n_columns : 0;
    memcpy(at, s->columns, sizeof at);
    if (strcmp(text, "default") == 0)
        text = default_columns;
    for (; *text; text += strspn(text, " ")) {
        const char sign = *text == '+' || *text == '-' ? *text++ : '+';
        const size_t k = strcspn(text, " ");
        read_column(text, k, &one);
        text += k;
        const int is = find_column(at, n, one.name);
        hl_status st = HL_OK;
        if (sign == '+')
            st = add_column(s, &one, at, &n);
        else if (is < 0)
            st = hl_err_set(HL_E_ARG, "there is no column '%s'", one.name);
        else
            memmove(&at[is], &at[is + 1], (size_t)(--n - is) * sizeof *at);
        if (st != HL_OK)
            return st;
    }
    return put_columns(s, at, n, false);
}

void hl_column_move(hl_screen *s, int by, bool again)
{
    hl_column at[HL_COLUMNS_MAX];
    const int from = s->column, to = from + by;
    if (from < 0 || to < 0 || to >= s->n_columns)
        return;
    memcpy(at, s->columns, sizeof at);
    for (int i = from; i != to; i += by < 0 ? -1 : 1)
        at[i] = s->columns[i + (by < 0 ? -1 : 1)];
    at[to] = s->columns[from];
    s->column = to;
    HL_IGNORE(put_columns(s, at, s->n_columns, again)); /* the text is as long as it was */
}

void hl_column_resize(hl_screen *s, int by, bool again)
{
    hl_column at[HL_COLUMNS_MAX];
    if (s->column < 0)
        return;
    memcpy(at, s->columns, sizeof at);
    hl_column *k = &at[s->column];
    const int now = k->width ? k->width : k->needs;
    k->width = now + by < 3 ? 3 : now + by > WIDTH_MAX ? WIDTH_MAX : now + by;
    if (put_columns(s, at, s->n_columns, again) != HL_OK)
        hl_screen_say_error(s);
}

/* ---- drawing ---- */

static void draw_step(hl_canvas c, const hl_run_row *row, hl_style s)
{
    char count[HL_NUMBER_MAX], text[40];
    if (row->step < 0)
        snprintf(text, sizeof text, "%s", hl_unknown(&c));
    else if (row->step_total > 0 && hl_state_is_live(row->state))
        snprintf(text, sizeof text, "%s %3.0f%%", hl_format_count(count, row->step),
                 100.0 * (double)row->step / (double)row->step_total);
    else
        snprintf(text, sizeof text, "%s", hl_format_count(count, row->step));
    hl_put_right(c, c.r.w, 0, s, text);
}

static column_kind kind_of(const hl_column *k)
{
    const int i = known_place(k->name);
    return i >= 0 ? known[i].kind : PLAIN;
}

static void draw_plain(const hl_column *k, hl_canvas c, const hl_run_row *row, hl_style s)
{
    char buf[HL_NUMBER_MAX];
    hl_run_answer a = {0};
    if (k->known)
        a = hl_run_key_ask(&k->key, row);
    if (!k->is_number && a.known && a.text)
        hl_put_cut(c, 0, 0, c.r.w, s, a.text);
    else if (a.known && a.is_number)
        hl_put_right(c, c.r.w, 0, s, hl_format_value(buf, a.number));
    else if (k->is_number || !k->known)
        hl_put_right(c, c.r.w, 0, s, hl_unknown(&c));
}

void hl_column_draw(const hl_column *k, hl_canvas c, const hl_run_row *row, hl_style s)
{
    char age[24];
    switch (kind_of(k)) {
    case TREND:
        hl_spark_draw(c, s, row->trace, (size_t)row->n_trace);
        break;
    case STEP:
        draw_step(c, row, s);
        break;
    case AGE:
        hl_put_right(c, c.r.w, 0, s, row->t_start_us ? hl_ago(age, row->t_start_us) : "");
        break;
    default:
        draw_plain(k, c, row, s);
    }
}

/* ---- over a group ---- */

static const hl_run_row *group_row(const hl_screen *s, const hl_run_group *g, int i)
{
    return &s->model.rows->at[s->order.at[g->first + i]];
}

/* Mean and deviation over the runs that have it; a value that is not finite is not left out. */
static int spread_of(const hl_screen *s, const hl_column *k, const hl_run_group *g, double *mean,
                     double *sd)
{
    double sum = 0, squares = 0;
    int n = 0;
    for (int i = 0; i < g->n; i++) {
        const hl_run_answer a = hl_run_key_ask(&k->key, group_row(s, g, i));
        if (a.known && a.is_number) {
            sum += a.number;
            n++;
        }
    }
    *mean = n ? sum / n : 0;
    for (int i = 0; i < g->n; i++) {
        const hl_run_answer a = hl_run_key_ask(&k->key, group_row(s, g, i));
        if (a.known && a.is_number)
            squares += (a.number - *mean) * (a.number - *mean);
    }
    *sd = n > 1 ? sqrt(squares / (n - 1)) : 0;
    return n;
}

static void draw_spread(const hl_screen *s, const hl_column *k, hl_canvas c, const hl_run_group *g,
                        hl_style style)
{
    char number[HL_NUMBER_MAX], spread[24], text[2 * HL_NUMBER_MAX + 24];
    double mean, sd;
    const int n = spread_of(s, k, g, &mean, &sd);
    hl_format_known(number, n > 0, mean, hl_has_signs(c.grid));
    snprintf(text, sizeof text, "%s", number);
    if (n > 1 && isfinite(sd)) {
        snprintf(spread, sizeof spread, "%.2g", sd);
        const bool leads = spread[0] == '0' && spread[1] == '.';
        snprintf(text, sizeof text, "%s%s%s", number, hl_has_signs(c.grid) ? "\xc2\xb1" : "+-",
                 spread + leads);
        if (hl_text_columns(c.grid, text) > c.r.w)
            snprintf(text, sizeof text, "%s", number);
    }
    hl_put_right(c, c.r.w, 0, style, text);
}

/* The text that all its runs share. */
static void draw_texts(const hl_screen *s, const hl_column *k, hl_canvas c, const hl_run_group *g,
                       hl_style style)
{
    const char *first = NULL;
    bool same = true;
    for (int i = 0; i < g->n; i++) {
        const hl_run_answer a = hl_run_key_ask(&k->key, group_row(s, g, i));
        const char *text = a.known && a.text ? a.text : "";
        same = same && (!first || strcmp(first, text) == 0);
        first = first ? first : text;
    }
    hl_put_cut(c, 0, 0, c.r.w, same ? style : HL_STYLE(DIM), same && first ? first : "...");
}

void hl_column_draw_group(const hl_screen *s, const hl_column *k, hl_canvas c,
                          const hl_run_group *g, hl_style style)
{
    const column_kind kind = kind_of(k);
    if (!k->known || kind == AGE || kind == STEP)
        return;
    if (kind == TREND) /* a picture of one of them: means of lengths that differ are none */
        hl_column_draw(k, c, group_row(s, g, 0), HL_STYLE(DIM));
    else if (k->is_number)
        draw_spread(s, k, c, g, style);
    else
        draw_texts(s, k, c, g, style);
}

/* ---- kept ---- */

void hl_columns_load(hl_screen *s)
{
    char *text = hl_kept_load(s, "columns");
    if (text && strlen(text) < HL_COLUMNS_TEXT)
        snprintf(s->look.columns, sizeof s->look.columns, "%s", text);
    hl_free(text);
}

void hl_columns_save(const hl_screen *s)
{
    hl_kept_save(s, "columns", s->look.columns);
}
