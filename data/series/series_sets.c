/* The data sets of published forecasts (stanhop.md 7.1). */
#include <strings.h>

#include "data/fetch/sets.h"
#include "data/places.h"
#include "data/series/series.h"
#include "engine/base/str.h"

#define MONTH (30 * 24) /* hours */
#define SHARES                                                                                     \
    {                                                                                              \
        0.7, 0.1, 0.2                                                                              \
    }

static const hl_series_set sets[] = {
    {"ETTh1", "ETTh1.csv", NULL, {12 * MONTH, 4 * MONTH, 4 * MONTH}},
    {"ETTh2", "ETTh2.csv", NULL, {12 * MONTH, 4 * MONTH, 4 * MONTH}},
    {"ETTm1", "ETTm1.csv", NULL, {48 * MONTH, 16 * MONTH, 16 * MONTH}},
    {"ETTm2", "ETTm2.csv", NULL, {48 * MONTH, 16 * MONTH, 16 * MONTH}},
    {"WTH", "WTH.csv", NULL, {28 * MONTH, 10 * MONTH, 10 * MONTH}},
    {"ECL", "ECL.csv", "electricity.csv", {15 * MONTH, 3 * MONTH, 4 * MONTH}},
    {"ILI", "national_illness.csv", "ILI.csv", SHARES},
    {"Traffic", "traffic.csv", NULL, SHARES},
};
enum { N_SETS = sizeof sets / sizeof sets[0] };

const hl_series_set *hl_series_set_at(size_t i)
{
    return i < N_SETS ? &sets[i] : NULL;
}

static void list_names(hl_str *b)
{
    for (int i = 0; i < N_SETS; i++)
        hl_str_addf(b, "%s%s", i == 0 ? "" : i + 1 < N_SETS ? ", " : " and ", sets[i].name);
}

hl_status hl_series_set_find(const char *name, const hl_series_set **out)
{
    const char *names[N_SETS];
    for (int i = 0; i < N_SETS; i++) {
        names[i] = sets[i].name;
        if (strcasecmp(name, sets[i].name) == 0) {
            *out = &sets[i];
            return HL_OK;
        }
    }
    const int near = hl_str_nearest(name, names, N_SETS);
    hl_str all = {0}, hint = {0};
    list_names(&all);
    if (near >= 0)
        hl_str_addf(&hint, " (did you mean '%s'?)", names[near]);
    hl_status st = hl_err_set(HL_E_ARG,
                              "no set of series is called '%.60s'%s; there are %s, 'generated', "
                              "and any CSV file by data.file",
                              name, hl_str_text(&hint), hl_str_text(&all));
    hl_str_done(&all);
    hl_str_done(&hint);
    return st;
}

/* *out NULL: it is nowhere. */
static hl_status find_file(const char *file, char **out)
{
    *out = NULL;
    for (int i = 0; !*out && i < 4; i++) {
        hl_str path = {0};
        hl_str_addf(&path, "%s%s%s", i < 2 ? "" : "timeseries/", file, i % 2 ? ".gz" : "");
        hl_status st = hl_str_status(&path);
        if (st == HL_OK)
            *out = hl_data_find(path.s);
        hl_str_done(&path);
        if (st != HL_OK)
            return st;
    }
    return HL_OK;
}

hl_status hl_series_set_path(const hl_series_set *set, char **out)
{
    hl_status st = find_file(set->file, out);
    if (st == HL_OK && !*out && set->other_file)
        st = find_file(set->other_file, out);
    if (st == HL_OK && !*out) {
        hl_str how = {0};
        if (hl_set_find(set->name))
            hl_str_addf(&how, "get it ('hoplab data fetch %s'), ", set->name);
        st = hl_err_set(HL_E_NOTFOUND,
                        "no %s here or in " HL_DATA_PLACES " (the first is now %s); %sname it with "
                        "data.file, or use data.set = \"generated\"",
                        set->file, hl_data_place(0), hl_str_text(&how));
        hl_str_done(&how);
    }
    return st;
}
