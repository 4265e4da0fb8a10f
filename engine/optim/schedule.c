#include "engine/optim/schedule.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/str.h"

static const char *const names[] = {"constant", "constant_with_warmup", "linear",
                                    "cosine",   "cosine_with_restarts", "polynomial",
                                    "type1",    "type2"};

bool hl_schedule_parse(const char *name, hl_schedule_kind *out)
{
    for (int i = 0; i < (int)(sizeof names / sizeof names[0]); i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (hl_schedule_kind)i;
            return true;
        }
    return false;
}

static hl_status unknown_kind(const char *name)
{
    hl_str list = {0};
    const int n = sizeof names / sizeof names[0] - 2; /* the last two count epochs */
    const int near = hl_str_nearest(name, names, n);
    for (int i = 0; i < n; i++)
        hl_str_addf(&list, "%s%s", i ? ", " : "", names[i]);
    const hl_status st = hl_err_set(HL_E_ARG, "there is no schedule '%s'%s%s; schedules: %s", name,
                                    near >= 0 ? ", did you mean " : "",
                                    near >= 0 ? names[near] : "", hl_str_text(&list));
    hl_str_done(&list);
    return st;
}

/* One "key=value". */
static hl_status read_option(const char *text, hl_schedule *s, double *peak)
{
    double v;
    const char *eq = strchr(text, '=');
    const int n = eq ? (int)(eq - text) : 0;
    if (!eq || hl_parse_f64(eq + 1, &v) != HL_OK || !(v >= 0) || !isfinite(v))
        return hl_err_set(HL_E_ARG, "'%s' is no option of a schedule, as warmup=100", text);
    if (n == 4 && strncmp(text, "peak", 4) == 0)
        *peak = v;
    else if (n == 6 && strncmp(text, "warmup", 6) == 0 && v < 1e15)
        s->warmup = (int64_t)v;
    else if (n == 5 && strncmp(text, "steps", 5) == 0 && v >= 1 && v < 1e15)
        s->total = (int64_t)v;
    else if (n == 5 && strncmp(text, "final", 5) == 0 && v < 1)
        s->final_fraction = v;
    else
        return hl_err_set(HL_E_ARG,
                          "'%s' is no option of a schedule: peak (a rate), warmup and steps "
                          "(updates), final (a share of the peak, below 1)",
                          text);
    return HL_OK;
}

hl_status hl_schedule_read(const char *text, hl_schedule *out, double *peak)
{
    hl_status st = HL_OK;
    hl_schedule s = {0};
    double top = nan("");
    char part[64];
    size_t n = strcspn(text, ":");
    snprintf(part, sizeof part, "%.*s", (int)n, text);
    if (n >= sizeof part || !hl_schedule_parse(part, &s.kind) || s.kind >= HL_SCHEDULE_TYPE1)
        return unknown_kind(part);
    while (text[n]) {
        text += n + 1;
        n = strcspn(text, ",");
        if (n >= sizeof part)
            return hl_err_set(HL_E_ARG, "an option of a schedule is as warmup=100");
        snprintf(part, sizeof part, "%.*s", (int)n, text);
        HL_TRY(read_option(part, &s, &top));
    }
    *out = s;
    *peak = top;
out:
    return st;
}

static double decay(hl_schedule_kind kind, double peak, double done)
{
    const double end = 1e-7; /* absolute, of polynomial */
    switch (kind) {
    case HL_SCHEDULE_LINEAR:
        return fmax(0, 1 - done);
    case HL_SCHEDULE_COSINE:
        return fmax(0, (1 + cos(3.141592653589793 * done)) / 2);
    case HL_SCHEDULE_COSINE_WITH_RESTARTS:
        return done >= 1 ? 0 : fmax(0, (1 + cos(3.141592653589793 * done)) / 2);
    case HL_SCHEDULE_POLYNOMIAL:
        return done >= 1 ? end / peak : ((peak - end) * (1 - done) + end) / peak;
    default:
        return 1;
    }
}

static double warm(const hl_schedule *s, double peak, double k, double warmup)
{
    const double w = fmax(1, warmup);
    return peak * k / w + peak * s->warmup_from * (1 - k / w);
}

/* Stretching would miss the end by the rounding of W and N, which an epoch feels. */
static double epoch_lr(const hl_schedule *s, double peak, int64_t epoch)
{
    const double warmup = (double)s->warmup, total = (double)s->total;
    const double e = fmin((double)epoch, fmax(total, warmup));
    if (s->kind == HL_SCHEDULE_CONSTANT || peak == 0)
        return peak;
    if (e < warmup)
        return warm(s, peak, e, warmup);
    if (s->kind == HL_SCHEDULE_TYPE1 || s->kind == HL_SCHEDULE_TYPE2)
        return ldexp(peak, -(int)fmin(5, floor((double)epoch / (s->kind == HL_SCHEDULE_TYPE1 ? 2 : 5))));
    const double start = s->overlaps ? 0 : warmup;
    const double f = decay(s->kind, peak, (e - start) / fmax(1, total - start));
    return peak * (s->final_fraction + (1 - s->final_fraction) * f);
}

double hl_schedule_lr(const hl_schedule *s, double peak, int64_t k)
{
    if (s->per_epoch)
        return epoch_lr(s, peak, k);
    double warmup = (double)s->warmup, total = (double)s->total;
    if (s->final_fraction > 0) {
        double w = s->overlaps ? 0 : warmup / fmax(1, total),
               stretch = 1 / (1 - (1 - w) * s->final_fraction);
        warmup = floor(warmup * stretch);
        total = floor(total * stretch);
    }
    if (s->kind == HL_SCHEDULE_CONSTANT || peak == 0)
        return peak;
    if ((double)k < warmup)
        return warm(s, peak, (double)k, warmup);
    const double start = s->overlaps ? 0 : warmup;
    return peak * decay(s->kind, peak, ((double)k - start) / fmax(1, total - start));
}
