/* Progress of a run without a screen.
 *
 * Statistics are kept at each step; text is made only when a line is due. The rate is the median
 * over the last buckets of at least 0.2 s, so that an evaluation or a pause does not bend the ETA.
 * A line is a list of fields with priorities: the width decides which are shown. */
#define _GNU_SOURCE
#include "app/progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engine/base/clock.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

#include "app/proc/stream.h"

enum { BUCKETS = 32, FIELDS = 12, Z_AFTER = 16, NARROW = 40 };
#define MS         ((int64_t)1000000)
#define DRAW_NS    (200 * MS)
#define JSON_NS    (100 * MS)
#define PLAIN_NS   (30000 * MS)
#define NEVER      (INT64_MIN / 2) /* so that now - NEVER is long ago and does not overflow */
#define EMA_ALPHA  (1.0 / 128)
#define CLEAR_LINE "\r\x1b[K"

typedef struct ema {
    double mean, variance, z; /* z of the newest value, NaN if it means nothing yet */
    int64_t n;
} ema;

struct hl_progress {
    hl_progress_options options;
    hl_stream err, out;
    bool color, utf8, dumb;
    bool line_shown; /* the terminal's cursor stands in a progress line */
    bool has_step, in_phase;
    hl_progress_step_info info;
    ema loss, grad_norm;
    double bucket_s[BUCKETS], bucket_items[BUCKETS]; /* seconds per step; items per second */
    int64_t n_buckets, bucket_from_ns, bucket_steps, bucket_n_items;
    int64_t drawn_ns, plain_ns, json_ns;
    int64_t plain_step; /* of the last full line */
    char phase[48];
    double fraction;
    int64_t phase_from_ns;
    hl_str text; /* the line being made */
};

typedef struct field {
    char text[64];
    int priority; /* 1 is shown first */
    int alarm;    /* 1 unusual, 2 wrong */
    bool joined;  /* shown only with the field before it */
    bool shown;
} field;

typedef struct field_list {
    field at[FIELDS];
    int n;
} field_list;

/* --- statistics --------------------------------------------------------------------------- */

static void ema_add(ema *e, double x)
{
    e->z = (double)NAN;
    if (!isfinite(x))
        return;
    double d = x - e->mean;
    if (e->n >= Z_AFTER && e->variance > 0)
        e->z = d / sqrt(e->variance);
    e->n++;
    double a = 1.0 / (double)e->n > EMA_ALPHA ? 1.0 / (double)e->n : EMA_ALPHA;
    e->mean += a * d;
    e->variance = (1 - a) * (e->variance + a * d * d);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *v, int64_t n)
{
    double sorted[BUCKETS];
    if (n > BUCKETS)
        n = BUCKETS;
    if (n == 0)
        return (double)NAN;
    memcpy(sorted, v, (size_t)n * sizeof *v);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    return sorted[n / 2];
}

static void rate_add(hl_progress *p, int64_t now, int64_t n_items)
{
    if (!p->has_step || p->in_phase) {
        p->bucket_steps = p->bucket_n_items = 0;
        p->bucket_from_ns = now;
        return;
    }
    p->bucket_steps++;
    p->bucket_n_items += n_items;
    double s = (double)(now - p->bucket_from_ns) / 1e9;
    if (now - p->bucket_from_ns < DRAW_NS)
        return;
    p->bucket_s[p->n_buckets % BUCKETS] = s / (double)p->bucket_steps;
    p->bucket_items[p->n_buckets % BUCKETS] = (double)p->bucket_n_items / s;
    p->n_buckets++;
    p->bucket_from_ns = now;
    p->bucket_steps = p->bucket_n_items = 0;
}

/* Seconds to the end, NaN unknown. */
static double eta(const hl_progress *p)
{
    const hl_progress_step_info *i = &p->info;
    return i->steps > 0 ? (double)(i->steps - i->step) * median(p->bucket_s, p->n_buckets)
                        : (double)NAN;
}

/* --- lines for people --------------------------------------------------------------------- */

static void add_field(field_list *l, int priority, int alarm, const char *fmt, ...) HL_PRINTF(4, 5);
static void add_field(field_list *l, int priority, int alarm, const char *fmt, ...)
{
    if (l->n == FIELDS)
        return;
    field *f = &l->at[l->n++];
    *f = (field){.priority = priority, .alarm = alarm};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
}

static const char *format_value(char buf[24], double x)
{
    double a = fabs(x);
    if (isnan(x))
        return "nan";
    snprintf(buf, 24, !isfinite(x) || a == 0 || (a >= 1e-3 && a < 1e4) ? "%.4f" : "%.3e", x);
    return buf;
}

static const char *format_rate(char buf[24], double x)
{
    static const char suffix[] = " kMGT";
    int k = 0;
    for (; x >= 999.5 && k < 4; k++)
        x /= 1000;
    snprintf(buf, 24, x < 10 ? "%.2f" : x < 100 ? "%.1f" : "%.0f", x);
    if (k)
        snprintf(buf + strlen(buf), 24 - strlen(buf), "%c", suffix[k]);
    return buf;
}

static void add_z(field_list *l, int priority, double z)
{
    if (isnan(z) || l->n == FIELDS)
        return;
    add_field(l, priority, fabs(z) >= 3, "(%+.1fz)", z);
    l->at[l->n - 1].joined = true;
}

/* Never 100 % before the end. */
static double percent(double fraction)
{
    double x = floor(fraction * 1000) / 10;
    return fraction < 1 && x > 99.9 ? 99.9 : x;
}

static void step_fields(const hl_progress *p, bool narrow, field_list *l)
{
    const hl_progress_step_info *i = &p->info;
    char buf[24];
    double ms = median(p->bucket_s, p->n_buckets) * 1000;
    double items = median(p->bucket_items, p->n_buckets), left = eta(p);
    if (i->steps > 0) {
        add_field(l, 1, 0, "%s%lld/%lld", narrow ? "" : "step ", (long long)i->step,
                  (long long)i->steps);
        add_field(l, 4, 0, "%.1f%%", percent((double)i->step / (double)i->steps));
    } else {
        add_field(l, 1, 0, "%s%lld", narrow ? "" : "step ", (long long)i->step);
    }
    add_field(l, 2, isfinite(i->loss) ? 0 : 2, "%s%s", narrow ? "" : "loss ",
              format_value(buf, i->loss));
    add_z(l, 7, p->loss.z);
    if (!(i->grad_norm < 0))
        add_field(l, 8, isfinite(i->grad_norm) ? 0 : 2, "gnorm %.3g", i->grad_norm);
    if (!(i->grad_norm < 0))
        add_z(l, 12, p->grad_norm.z);
    if (!(i->lr < 0))
        add_field(l, 9, 0, "lr %.2e", i->lr);
    if (ms >= 10000)
        add_field(l, 6, 0, "%s/step", hl_format_duration(buf, ms / 1000));
    else if (ms >= 0)
        add_field(l, 6, 0, ms < 10 ? "%.2f ms" : "%.0f ms", ms);
    if (p->options.unit && items > 0)
        add_field(l, 10, 0, "%s %.16s/s", format_rate(buf, items), p->options.unit);
    if (left >= 0)
        add_field(l, 5, 0, "eta %s", hl_format_duration(buf, left < 1 ? left : round(left)));
    if (!(i->max_abs < 0))
        add_field(l, 11, isfinite(i->max_abs) ? 0 : 2, "max|x| %.3g", i->max_abs);
    if (i->n_non_finite >= 0)
        add_field(l, i->n_non_finite ? 3 : 13, i->n_non_finite ? 2 : 0, "nan %lld",
                  (long long)i->n_non_finite);
}

/* Columns of UTF-8 text; what is not ASCII is taken as wide, so that no line is ever too long. */
static int columns(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += (unsigned char)*s < 0x80 ? 1 : (unsigned char)*s >= 0xC0 ? 2 : 0;
    return n;
}

/* Marks what fits, in the order of priority; returns the columns used. */
static int choose_fields(field_list *l, int width)
{
    int used = -1; /* the first field has no space before it */
    for (int priority = 1; priority <= 13; priority++)
        for (int i = 0; i < l->n; i++) {
            int n = columns(l->at[i].text) + 1;
            bool orphan = l->at[i].joined && !l->at[i - 1].shown;
            if (l->at[i].priority != priority || used + n > width || orphan)
                continue;
            l->at[i].shown = true;
            used += n;
        }
    return used;
}

/* Appends " [####....]" in `room` columns if there is enough of it. */
static void add_bar(const hl_progress *p, double fraction, int room, hl_str *b)
{
    int cells = room - 3 > 30 ? 30 : room - 3;
    if (cells < 10 || !(fraction >= 0))
        return;
    cells -= cells % 5; /* numbers of changing length must not shake it */
    int full = fraction >= 1 ? cells : (int)(fraction * cells);
    hl_str_add(b, " [");
    for (int i = 0; i < cells; i++)
        hl_str_add(b, p->utf8 ? (i < full ? "\u2588" : "\u2591") : i < full ? "#" : ".");
    hl_str_add(b, "]");
}

/* Appends the shown fields; on a terminal the bar stands after the second one. */
static void add_fields(const hl_progress *p, const field_list *l, double fraction, int room,
                       bool color, hl_str *b)
{
    int shown = 0;
    for (int i = 0; i < l->n; i++) {
        const field *f = &l->at[i];
        if (!f->shown)
            continue;
        hl_str_add(b, shown++ ? " " : "");
        if (f->alarm && color)
            hl_str_addf(b, "\x1b[%sm%s\x1b[0m", f->alarm == 2 ? "31" : "33", f->text);
        else
            hl_str_add(b, f->text);
        if (shown == 2)
            add_bar(p, fraction, room, b);
    }
}

static int window_width(const hl_progress *p)
{
    struct winsize w = {0};
    return ioctl(p->err.fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

static double line_fields(const hl_progress *p, bool narrow, field_list *l)
{
    const hl_progress_step_info *i = &p->info;
    char buf[24];
    if (!p->in_phase) {
        step_fields(p, narrow, l);
        return i->steps > 0 ? (double)i->step / (double)i->steps : -1;
    }
    double s = (double)(p->options.clock_ns() - p->phase_from_ns) / 1e9;
    add_field(l, 1, 0, "%s", p->phase);
    if (p->fraction >= 0)
        add_field(l, 2, 0, "%.0f%%", floor(percent(p->fraction)));
    add_field(l, 3, 0, "%s", hl_format_duration(buf, s));
    return p->fraction;
}

static void draw(hl_progress *p)
{
    int width = window_width(p) - 1; /* the last column may wrap */
    field_list l = {0};
    double fraction = line_fields(p, width < NARROW, &l);
    int used = choose_fields(&l, width);
    hl_str_clear(&p->text);
    hl_str_add(&p->text, CLEAR_LINE);
    if (used < 0 && columns(l.at[0].text) == (int)strlen(l.at[0].text))
        hl_str_addf(&p->text, "%.*s", width, l.at[0].text);
    add_fields(p, &l, fraction, width - used, p->color, &p->text);
    hl_stream_put(&p->err, &p->text, false);
    p->line_shown = true;
}

static void add_time(hl_str *b)
{
    char buf[24];
    hl_str_add(b, hl_clock_format_utc(buf, hl_clock_wall_us()));
    hl_str_addc(b, ' ');
}

static void print_plain(hl_progress *p, bool always)
{
    field_list l = {0};
    (void)line_fields(p, false, &l);
    (void)choose_fields(&l, 1 << 20);
    hl_str_clear(&p->text);
    if (p->line_shown)
        hl_str_add(&p->text, CLEAR_LINE);
    add_time(&p->text);
    add_fields(p, &l, -1, 0, false, &p->text);
    hl_str_addc(&p->text, '\n');
    hl_stream_put(&p->err, &p->text, always);
    p->line_shown = false;
    p->plain_step = p->info.step;
}

/* --- JSON --------------------------------------------------------------------------------- */

static void begin_json(hl_progress *p, const char *ev)
{
    hl_str_clear(&p->text);
    hl_json_begin(&p->text, '{');
    hl_json_put_int(&p->text, "v", HL_PROGRESS_VERSION);
    hl_json_add_key(&p->text, "t");
    hl_str_addf(&p->text, "%.3f", (double)hl_clock_wall_us() / 1e6);
    hl_json_put_str(&p->text, "ev", ev);
    if (p->has_step)
        hl_json_put_int(&p->text, "step", p->info.step);
}

/* Splices the members of an object. */
static void add_members(hl_str *b, const char *json)
{
    const char *end = json ? strrchr(json, '}') : NULL;
    const char *start = json ? strchr(json, '{') : NULL;
    if (!end || start + 1 + strspn(start + 1, " \n") >= end)
        return;
    hl_str_addc(b, ',');
    hl_str_addn(b, start + 1, (size_t)(end - start - 1));
}

static void end_json(hl_progress *p, bool always)
{
    hl_json_end(&p->text, '}');
    hl_str_addc(&p->text, '\n');
    hl_stream_put(&p->out, &p->text, always);
}

/* Derived values: four digits say enough. */
static void put_known(hl_str *b, const char *key, double v)
{
    if (!isfinite(v))
        return;
    hl_json_add_key(b, key);
    hl_str_addf(b, "%.4g", v);
}

static void json_step(hl_progress *p)
{
    const hl_progress_step_info *i = &p->info;
    hl_str *b = &p->text;
    begin_json(p, "step");
    if (i->steps > 0)
        hl_json_put_int(b, "steps", i->steps);
    hl_json_put_num(b, "loss", i->loss);
    put_known(b, "loss_z", p->loss.z);
    if (!(i->grad_norm < 0)) {
        hl_json_put_num(b, "grad_norm", i->grad_norm);
        put_known(b, "grad_norm_z", p->grad_norm.z);
    }
    if (!(i->lr < 0))
        hl_json_put_num(b, "lr", i->lr);
    put_known(b, "step_ms", median(p->bucket_s, p->n_buckets) * 1000);
    if (p->options.unit) {
        put_known(b, "items_per_s", median(p->bucket_items, p->n_buckets));
        hl_json_put_str(b, "unit", p->options.unit);
    }
    put_known(b, "eta_s", eta(p));
    if (!(i->max_abs < 0))
        hl_json_put_num(b, "max_abs", i->max_abs);
    if (i->n_non_finite >= 0)
        hl_json_put_int(b, "n_non_finite", i->n_non_finite);
    end_json(p, false);
}

/* --- public ------------------------------------------------------------------------------- */

static bool locale_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *v = getenv(names[i]);
        if (v && *v)
            return strcasestr(v, "utf-8") || strcasestr(v, "utf8");
    }
    return false;
}

hl_status hl_progress_new(const hl_progress_options *options, hl_progress **out)
{
    hl_progress *p = hl_alloc_zero(1, sizeof *p);
    if (!p)
        return HL_E_NOMEM;
    p->options = *options;
    if (!p->options.clock_ns)
        p->options.clock_ns = hl_clock_mono_ns;
    hl_stream_open(&p->err, options->err_fd ? options->err_fd : 2);
    hl_stream_open(&p->out, options->out_fd ? options->out_fd : 1);
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    p->dumb = !term || !*term || strcmp(term, "dumb") == 0;
    p->color = options->color ? options->color > 0 : !(no_color && *no_color);
    p->utf8 = options->utf8 ? options->utf8 > 0 : locale_is_utf8();
    p->loss.z = p->grad_norm.z = (double)NAN;
    p->drawn_ns = p->plain_ns = p->json_ns = NEVER;
    *out = p;
    return HL_OK;
}

void hl_progress_free(hl_progress *p)
{
    if (!p)
        return;
    hl_stream_close(&p->err);
    hl_stream_close(&p->out);
    hl_str_done(&p->text);
    hl_free(p);
}

/* Whether the line rewritten in place is the display; on one terminal it would mix with JSON. */
static bool wants_line(const hl_progress *p)
{
    return p->err.terminal && !p->dumb && !(p->options.json && p->out.terminal);
}

/* The same after a look at where the stream leads now. */
static bool in_place(hl_progress *p)
{
    hl_stream_refresh(&p->err);
    p->line_shown &= p->err.terminal;
    return wants_line(p);
}

void hl_progress_phase(hl_progress *p, const char *name, double fraction)
{
    int64_t now = p->options.clock_ns();
    bool changed = strncmp(name, p->phase, sizeof p->phase - 1) != 0;
    if (p->options.quiet)
        return;
    if (changed) {
        snprintf(p->phase, sizeof p->phase, "%s", name);
        p->phase_from_ns = now;
    }
    p->fraction = fraction;
    p->in_phase = true;
    if (p->options.json && (changed || now - p->json_ns >= PLAIN_NS)) {
        p->json_ns = now;
        begin_json(p, "phase");
        hl_json_put_str(&p->text, "phase", p->phase);
        if (fraction >= 0)
            put_known(&p->text, "fraction", fraction);
        end_json(p, true);
    }
    bool line = in_place(p);
    if (line && (changed || now - p->drawn_ns >= DRAW_NS)) {
        p->drawn_ns = now;
        draw(p);
    } else if (!line && !p->options.json && (changed || now - p->plain_ns >= PLAIN_NS)) {
        p->plain_ns = now;
        print_plain(p, true);
    }
}

static bool is_due(const hl_progress *p, int64_t since_ns, int64_t period_ns, int64_t now)
{
    const hl_progress_step_info *i = &p->info;
    if (i->step == i->steps || since_ns == NEVER)
        return true;
    return p->options.every_steps > 0 ? i->step % p->options.every_steps == 0
                                      : now - since_ns >= period_ns;
}

void hl_progress_step(hl_progress *p, const hl_progress_step_info *info)
{
    int64_t now = p->options.clock_ns();
    ema_add(&p->loss, info->loss);
    ema_add(&p->grad_norm, info->grad_norm < 0 ? (double)NAN : info->grad_norm);
    rate_add(p, now, info->n_items);
    if (!p->has_step || p->in_phase) /* the first one is always shown */
        p->json_ns = p->plain_ns = NEVER;
    p->in_phase = false;
    p->info = *info;
    p->has_step = true;
    if (p->options.quiet)
        return;
    if (p->options.json && is_due(p, p->json_ns, JSON_NS, now)) {
        p->json_ns = now;
        json_step(p);
    }
    bool due = wants_line(p) ? info->step == info->steps || now - p->drawn_ns >= DRAW_NS
                             : !p->options.json && is_due(p, p->plain_ns, PLAIN_NS, now);
    if (!due)
        return;
    p->drawn_ns = p->plain_ns = now;
    if (in_place(p))
        draw(p);
    else if (!p->options.json)
        print_plain(p, false);
}

void hl_progress_show(hl_progress *p)
{
    (void)in_place(p);
    if (p->has_step || p->in_phase)
        print_plain(p, true);
}

void hl_progress_event(hl_progress *p, hl_progress_kind kind, const char *text, const char *json)
{
    static const char *const names[HL_PROGRESS_KIND_COUNT] = {"info",    "eval",  "checkpoint",
                                                              "control", "alert", "error"};
    bool error = kind == HL_PROGRESS_ERROR;
    if (p->options.json && (!p->options.quiet || error)) {
        begin_json(p, names[kind]);
        hl_json_put_str(&p->text, "text", text);
        add_members(&p->text, json);
        end_json(p, true);
    }
    bool line = in_place(p);
    if (!error && (p->options.quiet || (p->options.json && !line)))
        return;
    hl_str_clear(&p->text);
    if (p->line_shown)
        hl_str_add(&p->text, CLEAR_LINE);
    add_time(&p->text);
    if (p->has_step)
        hl_str_addf(&p->text, "step %lld ", (long long)p->info.step);
    if (kind != HL_PROGRESS_INFO)
        hl_str_addf(&p->text, "%s: ", names[kind]);
    hl_str_add_clean(&p->text, text, strlen(text));
    hl_str_addc(&p->text, '\n');
    hl_stream_put(&p->err, &p->text, true);
    p->line_shown = false;
    if (line && !p->options.quiet && (p->has_step || p->in_phase))
        draw(p);
}

/* The state at the end, if the last line is older. */
static void show_last(hl_progress *p)
{
    bool line = in_place(p);
    p->in_phase = false;
    if (!p->options.quiet && p->has_step && line)
        draw(p);
    else if (!p->options.quiet && p->has_step && !p->options.json && p->info.step != p->plain_step)
        print_plain(p, true);
    if (!p->line_shown)
        return;
    hl_str_clear(&p->text);
    hl_str_addc(&p->text, '\n');
    hl_stream_put(&p->err, &p->text, true);
    p->line_shown = false;
}

void hl_progress_finish(hl_progress *p, const char *table, const char *json)
{
    show_last(p);
    if (p->options.json) {
        begin_json(p, "end");
        add_members(&p->text, json);
        end_json(p, true);
    }
    if (table && !p->options.quiet) {
        hl_str_clear(&p->text);
        hl_str_add_clean(&p->text, table, strlen(table));
        hl_str_add(&p->text, hl_str_ends(table, "\n") ? "" : "\n");
        hl_stream_put(p->options.json ? &p->err : &p->out, &p->text, true);
    }
    hl_stream_flush(&p->err, 2000);
    hl_stream_flush(&p->out, 2000);
}
