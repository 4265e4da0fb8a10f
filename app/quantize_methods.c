#include "app/quantize_methods.h"

#include <math.h>
#include <string.h>

#include "engine/hl_engine.h"

bool hl_quantize_is_methods(const char *word)
{
    bool is = strcmp(word, "all") == 0 || strchr(word, ',') != NULL;
    for (int i = 0; hl_quant_method_names[i]; i++)
        is |= strcmp(word, hl_quant_method_names[i]) == 0;
    return is;
}

/* A number with so many decimals (less than 0: so many digits), or a dash where there is none. */
static void put(FILE *out, int width, int decimals, double x)
{
    if (isnan(x))
        fprintf(out, " %*s", width, "-");
    else if (decimals >= 0)
        fprintf(out, " %*.*f", width, decimals, x);
    else
        fprintf(out, " %*.*g", width, -decimals, x);
}

typedef struct figure { /* what a model is judged by */
    const char *name, *key;
    double in_float;
} figure;

static figure figure_of(const hl_json *before, const hl_json *row)
{
    if (hl_json_get(row, "perplexity"))
        return (figure){"perplexity", "perplexity", hl_json_num_at(before, "perplexity")};
    if (hl_json_get(row, "accuracy"))
        return (figure){"accuracy", "accuracy",
                        hl_json_num_at(hl_json_get(before, "metrics"), "eval/accuracy")};
    return (figure){"", "loss", hl_json_num_at(before, "eval_loss")};
}

static void put_bits(FILE *out, double bits)
{
    if (bits == 32)
        fprintf(out, " %5s", "float");
    else
        fprintf(out, " %5.0f", bits);
}

static void print_row(FILE *out, const hl_json *row, const figure *f)
{
    fprintf(out, "  %-12s", hl_json_str(hl_json_get(row, "method"), ""));
    put_bits(out, hl_json_num_at(row, "weight_bits"));
    put_bits(out, hl_json_num_at(row, "act_bits"));
    put(out, 5, 0, hl_json_num_at(row, "group") > 0 ? hl_json_num_at(row, "group") : nan(""));
    put(out, 10, 6, hl_json_num_at(row, "loss"));
    if (f->name[0])
        put(out, 11, -5, hl_json_num_at(row, f->key));
    fprintf(out, " %+11.4g", hl_json_num_at(row, f->key) - f->in_float);
    put(out, 10, 6, hl_json_num_at(row, "executed_loss"));
    put(out, 9, 3, hl_json_num_at(row, "weights_mib"));
    put(out, 8, -3, hl_json_num_at(row, "seconds"));
    fputc('\n', out);
}

void hl_quantize_print_outliers(const hl_cli *cli, const hl_json *layers)
{
    FILE *out = hl_cli_out(cli);
    int n = 0, n_with = 0;
    for (const hl_json *s = hl_json_at(layers, 0); s; s = hl_json_next(s)) {
        if (!hl_json_get(s, "outlier_columns"))
            continue;
        if (n++ == 0)
            fprintf(out, "\noutlier columns (llm_int8), mean of the batches, most of one\n");
        if (!(hl_json_num_at(s, "most_outlier_columns") > 0))
            continue;
        n_with++;
        fprintf(out, "  %8.1f %6.0f of %5.0f  ", hl_json_num_at(s, "outlier_columns"),
                hl_json_num_at(s, "most_outlier_columns"), hl_json_num_at(s, "columns"));
        hl_cli_put_text(cli, hl_json_str(hl_json_get(s, "name"), ""));
        fputc('\n', out);
    }
    if (n > n_with)
        fprintf(out, "  none in %d of %d layers\n", n - n_with, n);
}

void hl_quantize_print_methods(const hl_cli *cli, const hl_json *before, const hl_json *rows)
{
    FILE *out = hl_cli_out(cli);
    const hl_json *first = hl_json_at(rows, 0);
    const figure f = figure_of(before, first);
    fprintf(out, "\n  %-12s %5s %5s %5s %10s", "", "W", "A", "group", "loss");
    if (f.name[0])
        fprintf(out, " %11s", f.name);
    fprintf(out, " %11s %10s %9s %8s\n", "difference", "executed", "MiB", "seconds");
    fprintf(out, "  %-12s %5s %5s %5s %10.6f", "float", "float", "float", "-",
            hl_json_num_at(before, "eval_loss"));
    if (f.name[0])
        put(out, 11, -5, f.in_float);
    fprintf(out, " %11s %10s", "-", "-");
    put(out, 9, 3, hl_json_num_at(first, "float_mib"));
    fprintf(out, " %8s\n", "-");
    for (const hl_json *r = first; r; r = hl_json_next(r))
        print_row(out, r, &f);
    for (const hl_json *r = first; r; r = hl_json_next(r))
        hl_quantize_print_outliers(cli, hl_json_get(r, "layers"));
}
