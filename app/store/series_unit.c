/* Units of the series that the program itself logs. */
#include <string.h>

#include "app/hl_app.h"
#include "engine/base/str.h"

const char *hl_series_unit(const char *tag)
{
    static const struct {
        const char *tail, *unit;
    } of_machine[] = {{"_ms", "ms"},
                      {"_percent", "%"},
                      {"_bytes_per_s", "B/s"},
                      {"_bytes", "B"},
                      {"_per_s", "/s"},
                      {"/power_w", "W"},
                      {"_limit_w", "W"},
                      {"_c", "\xc2\xb0"
                             "C"},
                      {"_mhz", "MHz"}};
    const size_t n = strlen(tag);
    if (strcmp(tag, "eval/bpb") == 0)
        return "bit/B";
    for (size_t i = 0; hl_str_starts(tag, "sys/") && i < sizeof of_machine / sizeof *of_machine;
         i++) {
        const size_t k = strlen(of_machine[i].tail);
        if (n > k && strcmp(tag + n - k, of_machine[i].tail) == 0)
            return of_machine[i].unit;
    }
    return "";
}
