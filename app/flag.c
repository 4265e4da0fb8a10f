#include "app/flag.h"

hl_status hl_flag_put(const hl_flag_note *n, hl_str *json)
{
    hl_json_begin(json, '{');
    hl_json_put_str(json, "place", n->place);
    if (n->removed) {
        hl_json_put_bool(json, "removed", true);
    } else {
        hl_json_put_str(json, "text", n->text);
        if (n->step >= 0)
            hl_json_put_int(json, "step", n->step);
    }
    if (n->who && *n->who)
        hl_json_put_str(json, "who", n->who);
    hl_json_end(json, '}');
    return hl_str_status(json);
}

hl_status hl_flag_read(const hl_json *v, hl_flag_note *out)
{
    *out = (hl_flag_note){.place = hl_json_str(hl_json_get(v, "place"), ""),
                          .text = hl_json_str(hl_json_get(v, "text"), ""),
                          .step = hl_json_int(hl_json_get(v, "step"), -1),
                          .removed = hl_json_bool(hl_json_get(v, "removed"), false),
                          .who = hl_json_str(hl_json_get(v, "who"), "")};
    return *out->place ? HL_OK : hl_err_set(HL_E_ARG, "a flag needs a place, as layer.10/attn.out");
}
