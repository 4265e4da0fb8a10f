/* hoplab data info FILE.csv: rows, dates, and what is in each channel. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "app/data_cmd.h"
#include "data/hl_data.h"
#include "engine/base/fs.h"
#include "engine/base/json.h"

typedef struct channel {
    int64_t n;
    double sum, squares, min, max;
} channel;

static channel look(const hl_table *t, int64_t c)
{
    channel k = {.min = nan(""), .max = nan("")};
    double mean = 0; /* Welford: values far from 0 keep their deviation */
    for (int64_t r = 0; r < t->n_rows; r++) {
        const double v = t->at[r * t->n_columns + c];
        if (isnan(v))
            continue;
        k.n++;
        k.sum += v;
        k.squares += (v - mean) * (v - mean) * (double)(k.n - 1) / (double)k.n;
        mean += (v - mean) / (double)k.n;
        k.min = fmin(k.min, v);
        k.max = fmax(k.max, v);
    }
    return k;
}

static double mean_of(const channel *k)
{
    return k->n > 0 ? k->sum / (double)k->n : nan("");
}

static double deviation_of(const channel *k)
{
    return k->n > 0 ? sqrt(k->squares / (double)k->n) : nan("");
}

static void print_text(const hl_cli *cli, const char *path, const hl_table *t)
{
    FILE *out = hl_cli_out(cli);
    char size[24];
    fprintf(out, "file       ");
    hl_cli_put_text(cli, path);
    fprintf(out, "\nbytes      %s\nrows       %" PRId64 " of %" PRId64 " channels\n",
            hl_format_bytes(size, hl_fs_size(path)), t->n_rows, t->n_columns);
    if (t->first_date) {
        fprintf(out, "dates      ");
        hl_cli_put_text(cli, t->first_date);
        fprintf(out, " to ");
        hl_cli_put_text(cli, t->last_date);
        fputc('\n', out);
    }
    if (t->step_s > 0)
        fprintf(out, "step       %g s; %" PRId64 " rows are not so far behind the one before\n",
                t->step_s, t->n_uneven);
    if (hl_table_period(t) > 0)
        fprintf(out, "cycle      %" PRId64 " rows\n", hl_table_period(t));
    fprintf(out, "missing    %" PRId64 " values%s\n\n", t->n_missing,
            t->is_cut ? "; the last line is cut off and left out" : "");
    fprintf(out, "%-24s %8s %12s %12s %12s %12s\n", "channel", "missing", "mean", "deviation",
            "least", "most");
    for (int64_t c = 0; c < t->n_columns; c++) {
        const channel k = look(t, c);
        const int width = hl_cli_text_width(cli, t->names[c]);
        hl_cli_put_text(cli, t->names[c]);
        fprintf(out, "%*s %8" PRId64 " %12.6g %12.6g %12.6g %12.6g%s\n",
                width < 24 ? 24 - width : 0, "", t->n_rows - k.n, mean_of(&k), deviation_of(&k),
                k.min, k.max, k.n > 0 && k.min == k.max ? "  constant" : "");
    }
}

static void put_channel(const hl_table *t, int64_t c, hl_str *b)
{
    const channel k = look(t, c);
    hl_json_begin(b, '{');
    hl_json_put_str(b, "name", t->names[c]);
    hl_json_put_int(b, "missing", t->n_rows - k.n);
    hl_json_put_num(b, "mean", mean_of(&k));
    hl_json_put_num(b, "std", deviation_of(&k));
    hl_json_put_num(b, "min", k.min);
    hl_json_put_num(b, "max", k.max);
    hl_json_end(b, '}');
}

static hl_status print_json(const hl_cli *cli, const char *path, const hl_table *t)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "path", path);
    hl_json_put_int(&b, "n_bytes", hl_fs_size(path));
    hl_json_put_int(&b, "rows", t->n_rows);
    hl_json_put_int(&b, "channels", t->n_columns);
    if (t->first_date) {
        hl_json_put_str(&b, "first", t->first_date);
        hl_json_put_str(&b, "last", t->last_date);
    }
    hl_json_put_num(&b, "step_seconds", t->step_s);
    hl_json_put_int(&b, "uneven", t->n_uneven);
    hl_json_put_int(&b, "period", hl_table_period(t));
    hl_json_put_int(&b, "missing", t->n_missing);
    hl_json_put_bool(&b, "cut", t->is_cut);
    hl_json_add_key(&b, "columns");
    hl_json_begin(&b, '[');
    for (int64_t c = 0; c < t->n_columns; c++)
        put_channel(t, c, &b);
    hl_json_end(&b, ']');
    hl_json_end(&b, '}');
    hl_status st = hl_str_status(&b);
    if (st == HL_OK)
        fprintf(hl_cli_out(cli), "%s\n", b.s);
    hl_str_done(&b);
    return st;
}

hl_status hl_data_show_table(const hl_cli *cli, const char *path)
{
    hl_status st = HL_OK;
    hl_table t = {0};
    HL_TRY(hl_table_read(path, true, &t));
    if (hl_cli_flag(cli, "json"))
        HL_TRY(print_json(cli, path, &t));
    else
        print_text(cli, path, &t);
out:
    hl_table_done(&t);
    return st;
}
