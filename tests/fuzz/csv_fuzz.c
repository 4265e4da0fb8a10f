/* Any bytes as a CSV file: the first says whether it has dates. */
#include <stdlib.h>
#include <string.h>

#include "data/hl_data.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    hl_table t;
    hl_series *s;
    hl_series_params p = hl_series_params_default();
    p.in_len = 2;
    p.out_len = 1;
    char *text = malloc(n + 1);
    if (!text)
        abort();
    memcpy(text, bytes, n);
    text[n] = '\0';
    p.masks = n > 1 && bytes[n - 1] % 2;
    if (hl_table_parse("fuzz.csv", text, n, n == 0 || bytes[0] % 2, &t) == HL_OK &&
        hl_series_new(&t, &p, &s) == HL_OK)
        hl_series_unref(s);
    free(text);
    return 0;
}
