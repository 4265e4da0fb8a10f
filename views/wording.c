/* What things are called on the screen. */
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "views/screen.h"

typedef struct state_row {
    hl_sign sign;
    hl_role role;
} state_row;

static const state_row states[HL_RUN_STATE_COUNT] = {
    [HL_RUN_UNKNOWN] = {HL_SIGN_UNKNOWN, HL_ROLE_DIM},
    [HL_RUN_QUEUED] = {HL_SIGN_QUEUED, HL_ROLE_DIM},
    [HL_RUN_STARTING] = {HL_SIGN_QUEUED, HL_ROLE_LIVE},
    [HL_RUN_RUNNING] = {HL_SIGN_RUNNING, HL_ROLE_LIVE},
    [HL_RUN_PAUSED] = {HL_SIGN_PAUSED, HL_ROLE_WARN},
    [HL_RUN_EVALUATING] = {HL_SIGN_RUNNING, HL_ROLE_LIVE},
    [HL_RUN_DONE] = {HL_SIGN_DONE, HL_ROLE_GOOD},
    [HL_RUN_STOPPED] = {HL_SIGN_STOPPED, HL_ROLE_TEXT},
    [HL_RUN_FAILED] = {HL_SIGN_FAILED, HL_ROLE_BAD},
    [HL_RUN_DIVERGED] = {HL_SIGN_DIVERGED, HL_ROLE_BAD},
    [HL_RUN_INTERRUPTED] = {HL_SIGN_INTERRUPTED, HL_ROLE_WARN},
    [HL_RUN_SILENT] = {HL_SIGN_SILENT, HL_ROLE_WARN},
    [HL_RUN_LOST] = {HL_SIGN_LOST, HL_ROLE_WARN},
};

hl_sign hl_state_sign(hl_run_state st)
{
    return states[st].sign;
}

hl_role hl_state_role(hl_run_state st)
{
    return states[st].role;
}

bool hl_state_is_live(hl_run_state st)
{
    return st == HL_RUN_STARTING || st == HL_RUN_RUNNING || st == HL_RUN_PAUSED ||
           st == HL_RUN_EVALUATING || st == HL_RUN_SILENT;
}

const char *hl_ago(char buf[24], int64_t t_us)
{
    const int64_t day_us = INT64_C(86400000000), past = hl_clock_wall_us() - t_us;
    if (past >= 2 * day_us)
        snprintf(buf, 24, "%lldd", (long long)(past / day_us));
    else
        hl_format_duration(buf, past > 0 ? (double)past / 1e6 : 0);
    return buf;
}

bool hl_eta(const hl_run_row *row, const hl_watched *w, double *left_s, double *spread_s)
{
    double per_step, spread;
    if (!w || !hl_state_is_live(row->state) || row->step_total <= 0 || row->step < 0 ||
        !hl_pace_get(&w->pace, &per_step, &spread))
        return false;
    const double steps = (double)(row->step_total - row->step);
    *left_s = steps * per_step;
    *spread_s = steps * spread / 2;
    return steps >= 0;
}

const char *hl_series_title(const char *tag)
{
    if (strcmp(tag, HL_TAG_INF_NORM) == 0)
        return "outliers: max |x|";
    if (strcmp(tag, HL_TAG_KURTOSIS) == 0)
        return "outliers: mean kurtosis";
    return tag;
}

bool hl_phase_share(const char *phase, double *share)
{
    const size_t n = strlen(phase);
    size_t from = n > 2 && strcmp(phase + n - 2, " %") == 0 ? n - 2 : 0;
    char number[16];
    while (from > 0 && phase[from - 1] != ' ')
        from--;
    snprintf(number, sizeof number, "%.*s", n > 2 ? (int)(n - 2 - from) : 0, phase + from);
    if (from == 0 || hl_parse_f64(number, share) != HL_OK || !(*share >= 0 && *share <= 100)) {
        hl_err_clear();
        return false;
    }
    *share /= 100;
    return true;
}
