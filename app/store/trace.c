#include "app/store/trace.h"

#include <math.h>
#include <string.h>

#include "engine/base/str.h"

static void halve(hl_trace *t)
{
    for (size_t i = 0; i < HL_TRACE_MAX / 2; i++)
        t->sum[i] = t->sum[2 * i] + t->sum[2 * i + 1];
    t->n = HL_TRACE_MAX / 2;
    t->wide *= 2;
    t->n_last = t->wide;
}

void hl_trace_add(hl_trace *t, double value)
{
    if (t->wide == 0)
        *t = (hl_trace){.n = 1, .wide = 1};
    if (t->n == HL_TRACE_MAX && t->n_last == t->wide)
        halve(t);
    if (t->n_last == t->wide) {
        t->sum[t->n++] = 0;
        t->n_last = 0;
    }
    t->sum[t->n - 1] += isfinite(value) ? value : (double)NAN;
    t->n_last++;
}

double hl_trace_mean(const hl_trace *t, int i)
{
    return t->sum[i] / (double)(i == t->n - 1 ? t->n_last : t->wide);
}

int hl_trace_rank(const char *tag)
{
    if (strcmp(tag, "train/loss") == 0)
        return 3;
    if (!hl_str_ends(tag, "loss"))
        return 0;
    return hl_str_starts(tag, "train/") ? 2 : 1;
}
