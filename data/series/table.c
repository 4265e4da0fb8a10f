/* CSV files.
 *
 * DESIGN. The text is one string that is taken apart in place: a line is cut into cells, each ended
 * by a NUL, and its numbers are read at once. */
#include "data/series/table.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "data/gz/gz.h"
#include "data/text/unpack.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"
#include "engine/base/vec.h"

typedef HL_VEC(double) doubles;

typedef struct reader {
    const char *path;
    char *next;   /* line */
    int64_t line; /* number of the one that was taken last */
    char separator;
    bool has_dates;
    char **cells;
    int64_t n_wanted, n_cells; /* of a line */
    const char *first, *last;  /* dates, in the text */
    hl_table *t;
    doubles at, time;
} reader;

void hl_table_done(hl_table *t)
{
    for (int64_t i = 0; t->names && i < t->n_columns; i++)
        hl_free(t->names[i]);
    hl_free(t->names);
    hl_free(t->label);
    hl_free(t->at);
    hl_free(t->first_date);
    hl_free(t->last_date);
    *t = (hl_table){0};
}

/* ---- lines and cells ------------------------------------------------------------------------- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next line with something on it, NUL-terminated, without its end; NULL: there is none.
 * *is_whole: it has a line end. */
static char *take_line(reader *r, bool *is_whole)
{
    while (*r->next) {
        char *line = r->next, *end = strchr(line, '\n'), *p = line;
        *is_whole = end != NULL;
        r->line++;
        r->next = end ? end + 1 : line + strlen(line);
        if (!end)
            end = r->next;
        if (end > line && end[-1] == '\r')
            end--;
        *end = '\0';
        while (is_space(*p))
            p++;
        if (*p && *p != '#')
            return line;
    }
    return NULL;
}

/* Without the blanks around it. */
static char *trim(char *s)
{
    while (is_space(*s))
        s++;
    size_t n = strlen(s);
    while (n > 0 && is_space(s[n - 1]))
        s[--n] = '\0';
    return s;
}

/* A cell in quotes, in place; returns what follows it. "" stands for a quote. */
static char *unquote(char *cell, char **text)
{
    char *from = cell + 1, *to = cell;
    while (*from && !(from[0] == '"' && from[1] != '"')) {
        from += from[0] == '"';
        *to++ = *from++;
    }
    from += *from == '"';
    *to = '\0';
    *text = cell;
    return from;
}

/* Cuts a line into cells; those beyond `room` are counted only. */
static int64_t cut_line(char *line, char separator, char **cells, int64_t room)
{
    int64_t n = 0;
    for (char *p = line;;) {
        char *text = p;
        while (*p == ' ')
            p++;
        if (*p == '"') {
            p = unquote(p, &text);
            while (*p && *p != separator)
                p++;
        } else {
            while (*p && *p != separator)
                p++;
        }
        const bool more = *p != '\0';
        *p++ = '\0';
        if (n < room)
            cells[n] = trim(text);
        n++;
        if (!more)
            return n;
    }
}

/* ---- dates ----------------------------------------------------------------------------------- */

/* Digits at *p, at most `most` of them; -1: there is none. */
static int64_t take_number(const char **p, int most)
{
    int64_t v = -1;
    for (int i = 0; i < most && **p >= '0' && **p <= '9'; i++, (*p)++)
        v = (v < 0 ? 0 : v) * 10 + (**p - '0');
    return v;
}

/* Days since 1970-01-01 of the Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    const int64_t era = year / 400, in_era = year - era * 400;
    const int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static bool take_time(const char **p, double *seconds)
{
    const int64_t hour = take_number(p, 2);
    if (hour < 0 || hour > 24 || *(*p)++ != ':')
        return false;
    const int64_t minute = take_number(p, 2);
    int64_t second = 0;
    if (minute < 0 || minute > 59)
        return false;
    if (**p == ':') {
        (*p)++;
        second = take_number(p, 2);
    }
    if (second < 0 || second > 60)
        return false;
    if (**p == '.') { /* parts of a second do not matter */
        (*p)++;
        (void)take_number(p, 9);
    }
    *p += **p == 'Z';
    *seconds += (double)(hour * 3600 + minute * 60 + second);
    return true;
}

bool hl_table_date(const char *text, double *seconds)
{
    const char *p = text;
    const int64_t a = take_number(&p, 4);
    const char mark = *p;
    if (a < 0 || (mark != '-' && mark != '/'))
        return false;
    p++;
    const int64_t b = take_number(&p, 2);
    if (b < 0 || *p++ != mark)
        return false;
    const bool is_us = p - text < 7 && mark == '/' && a <= 12; /* month/day/year */
    const int64_t c = take_number(&p, 4);
    const int64_t year = is_us ? c : a, month = is_us ? a : b, day = is_us ? b : c;
    if (year < 1000 || month < 1 || month > 12 || day < 1 || day > 31)
        return false;
    *seconds = (double)(days_of(year, month, day) * 86400);
    if (*p == '\0')
        return true;
    if (*p != ' ' && *p != 'T')
        return false;
    p++;
    return take_time(&p, seconds) && *p == '\0';
}

static int64_t n_uneven(const doubles *time, double step)
{
    int64_t n = 0;
    for (size_t i = 1; i < time->n; i++)
        n += time->at[i] - time->at[i - 1] != step;
    return n;
}

/* The step of most rows: the one of the first rows, unless most others have another. */
static void find_step(reader *r)
{
    const doubles *time = &r->time;
    if ((int64_t)time->n != r->t->n_rows || time->n < 2)
        return;
    double best = 0;
    int64_t least = r->t->n_rows;
    for (size_t i = 1; i < time->n && i < 16; i++) {
        const double step = time->at[i] - time->at[i - 1];
        const int64_t n = step > 0 ? n_uneven(time, step) : least;
        if (n < least) {
            least = n;
            best = step;
        }
    }
    r->t->step_s = best;
    r->t->n_uneven = best > 0 ? least : 0;
}

int64_t hl_table_period(const hl_table *t)
{
    const double day = 86400, week = 7 * day;
    if (t->step_s >= 1 && t->step_s < day && fmod(day, t->step_s) == 0)
        return (int64_t)(day / t->step_s);
    return t->step_s == day ? 7 : t->step_s == week ? 52 : 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static bool is_missing(const char *cell)
{
    static const char *const words[] = {"", "na", "nan", "null", "none", "n/a"};
    const bool is_digit = *cell >= '0' && *cell <= '9';
    for (size_t i = 0; !is_digit && i < sizeof words / sizeof *words; i++)
        if (strcasecmp(cell, words[i]) == 0)
            return true;
    return false;
}

/* Cells hold digits and marks only, so that no "0x10" or "infinity" is taken for a number. */
static bool is_number(const char *cell, double *v)
{
    return strspn(cell, "0123456789+-.eE") == strlen(cell) && hl_parse_f64(cell, v) == HL_OK &&
           isfinite(*v);
}

static hl_status wrong_cell(const reader *r, int64_t column, const char *cell)
{
    return hl_err_set(HL_E_FORMAT,
                      "'%s' line %lld, column %lld ('%.60s'): '%.60s' is no number; a missing "
                      "value is an empty cell or NaN",
                      r->path, (long long)r->line, (long long)column + 1 + r->has_dates,
                      r->t->names[column], cell);
}

static hl_status keep_date(reader *r)
{
    double seconds;
    r->last = r->cells[0];
    if (!r->first)
        r->first = r->last;
    return hl_table_date(r->last, &seconds) ? hl_vec_push(&r->time, seconds) : HL_OK;
}

/* The cells of a line as a row; *damaged: the first column that is none, and its cell. */
static hl_status take_row(reader *r, int64_t *damaged)
{
    const int64_t n = r->t->n_columns;
    hl_status st = hl_vec_reserve(&r->at, r->at.n + (size_t)n);
    *damaged = -1;
    for (int64_t i = 0; st == HL_OK && i < n; i++) {
        const char *cell = r->cells[i + r->has_dates];
        double v = nan("");
        if (is_missing(cell)) {
            r->t->n_missing++;
        } else if (!is_number(cell, &v)) {
            *damaged = i;
            return HL_OK;
        }
        r->at.at[r->at.n + (size_t)i] = v;
    }
    if (st == HL_OK && r->has_dates)
        st = keep_date(r);
    if (st == HL_OK) {
        r->at.n += (size_t)n;
        r->t->n_rows++;
    }
    return st;
}

/* The rest of the text has no line with something on it. */
static bool is_last(const reader *r)
{
    return r->next[strspn(r->next, " \t\r\n")] == '\0';
}

static hl_status take_line_as_row(reader *r, char *line, bool is_whole)
{
    int64_t damaged;
    const int64_t n = cut_line(line, r->separator, r->cells, r->n_wanted);
    if (n < r->n_wanted && is_last(r)) {
        r->t->is_cut = true;
        return HL_OK;
    }
    if (n != r->n_wanted)
        return hl_err_set(HL_E_FORMAT, "'%s' line %lld has %lld cells; the header has %lld",
                          r->path, (long long)r->line, (long long)n, (long long)r->n_wanted);
    const int64_t missing = r->t->n_missing;
    hl_status st = take_row(r, &damaged);
    if (st != HL_OK || damaged < 0)
        return st;
    if (is_whole || damaged + 1 < r->t->n_columns)
        return wrong_cell(r, damaged, r->cells[damaged + r->has_dates]);
    r->t->n_missing = missing;
    r->t->is_cut = true;
    return HL_OK;
}

/* ---- header ---------------------------------------------------------------------------------- */

static char separator_of(const char *line)
{
    static const char marks[] = ",;\t";
    char best = ',';
    int most = 0;
    for (const char *m = marks; *m; m++) {
        int n = 0;
        for (const char *p = line; *p; p++)
            n += *p == *m;
        if (n > most) {
            most = n;
            best = *m;
        }
    }
    return best;
}

static hl_status keep_names(reader *r)
{
    hl_table *t = r->t;
    const int64_t n = r->n_wanted - r->has_dates;
    t->names = hl_alloc_zero((size_t)n, sizeof *t->names);
    if (!t->names)
        return HL_E_NOMEM;
    t->n_columns = n;
    for (int64_t i = 0; i < n; i++) {
        t->names[i] = hl_strdup(r->cells[i + r->has_dates]);
        if (!t->names[i])
            return HL_E_NOMEM;
    }
    return HL_OK;
}

static bool all_numbers(char *const *cells, int64_t n)
{
    double v;
    for (int64_t i = 0; i < n; i++)
        if (!is_number(cells[i], &v))
            return false;
    return true;
}

static hl_status take_header(reader *r)
{
    bool is_whole;
    char *line = take_line(r, &is_whole);
    if (!line)
        return hl_err_set(HL_E_FORMAT, "'%s' is empty; a line of column names was expected",
                          r->path);
    r->separator = separator_of(line);
    int64_t room = 1;
    for (const char *p = line; *p; p++)
        room += *p == r->separator;
    if (room > HL_TABLE_COLUMNS_MAX)
        return hl_err_set(HL_E_FORMAT, "'%s' has %lld columns, more than %d", r->path,
                          (long long)room, HL_TABLE_COLUMNS_MAX);
    r->cells = hl_alloc_zero((size_t)room, sizeof *r->cells);
    if (!r->cells)
        return HL_E_NOMEM;
    r->n_wanted = cut_line(line, r->separator, r->cells, room);
    if (r->n_wanted <= r->has_dates)
        return hl_err_set(HL_E_FORMAT, "'%s' line %lld has one column; %s", r->path,
                          (long long)r->line,
                          r->has_dates ? "dates and a channel beside them were expected (dates = "
                                         "false: there are none)"
                                       : "a channel was expected");
    if (all_numbers(r->cells, r->n_wanted))
        return hl_err_set(HL_E_FORMAT,
                          "'%s' begins with numbers; a line of column names was expected", r->path);
    return keep_names(r);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* *out: the text, NUL-terminated. */
static hl_status read_text(const char *path, char **out, size_t *n)
{
    char *packed = NULL, *text = NULL;
    hl_status st = hl_fs_read(path, HL_TABLE_BYTES_MAX, &packed, n);
    if (st != HL_OK || !hl_gz_is(packed, *n)) {
        *out = packed;
        return st;
    }
    HL_TRY(hl_text_unpack(path, packed, *n, &text, n));
    *out = hl_realloc(text, *n + 1);
    if (!*out) {
        hl_free(text);
        HL_TRY(HL_E_NOMEM);
    }
    (*out)[*n] = '\0';
out:
    hl_free(packed);
    return st;
}

static hl_status read_rows(reader *r)
{
    hl_status st = HL_OK;
    bool is_whole;
    char *line;
    HL_TRY(take_header(r));
    while ((line = take_line(r, &is_whole)))
        HL_TRY(take_line_as_row(r, line, is_whole));
    if (r->t->n_rows == 0)
        HL_FAIL(HL_E_FORMAT, "'%s' has no rows below its header", r->path);
    find_step(r);
    if (r->first) {
        r->t->first_date = hl_strdup(r->first);
        r->t->last_date = hl_strdup(r->last);
        st = r->t->first_date && r->t->last_date ? HL_OK : HL_E_NOMEM;
    }
out:
    return st;
}

hl_status hl_table_parse(const char *path, char *text, size_t n, bool has_dates, hl_table *out)
{
    static const char mark[] = "\xEF\xBB\xBF";
    hl_status st = HL_OK;
    hl_table t = {0};
    reader r = {.path = path, .has_dates = has_dates, .t = &t};
    const void *nul = memchr(text, '\0', n);
    if (nul)
        return hl_err_set(HL_E_FORMAT, "'%s' is no CSV file: it has a NUL byte at %zu", path,
                          (size_t)((const char *)nul - text));
    r.next = text + (hl_str_starts(text, mark) ? strlen(mark) : 0);
    HL_TRY(read_rows(&r));
    t.label = hl_strdup(hl_fs_base(path));
    if (!t.label) {
        st = HL_E_NOMEM;
        goto out;
    }
    t.at = r.at.at;
    r.at = (doubles){0};
    *out = t;
    t = (hl_table){0};
out:
    hl_vec_done(&r.at);
    hl_vec_done(&r.time);
    hl_free(r.cells);
    hl_table_done(&t);
    return st;
}

hl_status hl_table_read(const char *path, bool has_dates, hl_table *out)
{
    char *text = NULL;
    size_t n = 0;
    hl_status st = read_text(path, &text, &n);
    if (st == HL_OK)
        st = hl_table_parse(path, text, n, has_dates, out);
    hl_free(text);
    return st;
}
