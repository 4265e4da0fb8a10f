/* What `hoplab quantize --methods` prints. */
#ifndef HL_APP_QUANTIZE_METHODS_H
#define HL_APP_QUANTIZE_METHODS_H

#include "app/cli.h"
#include "engine/base/json.h"

/* before: the evaluation in float; rows: of hl_quant_methods_run. */
void hl_quantize_print_methods(const hl_cli *cli, const hl_json *before, const hl_json *rows);

/* Outlier columns of layers, where they were counted; layers as hl_quantized_sites lists them. */
void hl_quantize_print_outliers(const hl_cli *cli, const hl_json *layers);

/* May the word be a value of --methods, rather than the name of a run? */
bool hl_quantize_is_methods(const char *word);

#endif
