/* The first rows of a text instead of all. */
#include <math.h>

#include "data/text/rows.h"

/* Where the first *n_left rows of a file end; *n_left becomes what the file has not got of them. */
static size_t end_of_rows(hl_text_span s, hl_rows kind, int64_t *n_left)
{
    size_t at = 0;
    while (at<s.n && * n_left> 0) {
        const hl_row row = hl_row_next(s, at, kind);
        *n_left -= !row.is_gap;
        at = row.end;
    }
    return at;
}

hl_status hl_text_keep(hl_text *t, size_t first, size_t n_files, hl_rows kind, double percent)
{
    int64_t n_rows = 0;
    if (!(percent > 0 && percent <= 100))
        return hl_err_set(HL_E_ARG, "%g percent of '%s' is out of range: 0 < percentage <= 100",
                          percent, hl_text_label(t));
    if (percent == 100)
        return HL_OK;
    for (size_t i = first; i < first + n_files; i++) {
        int64_t n_left = INT64_MAX;
        end_of_rows(hl_text_file(t, i), kind, &n_left);
        n_rows += INT64_MAX - n_left;
    }
    int64_t n_kept = (int64_t)rint(percent * (double)n_rows / 100);
    if (n_kept == 0)
        return hl_err_set(HL_E_ARG, "%g percent of %lld rows of '%s' are none; use more", percent,
                          (long long)n_rows, hl_text_label(t));
    for (size_t i = first; i < first + n_files; i++)
        hl_text_cut_file(t, i, end_of_rows(hl_text_file(t, i), kind, &n_kept));
    return HL_OK;
}
