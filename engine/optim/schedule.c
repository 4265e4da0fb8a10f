#include "engine/optim/schedule.h"

#include <math.h>
#include <string.h>

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
