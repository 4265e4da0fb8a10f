/* Arguments of requests out of the words that people type, on the command line and on the screen.
 */
#include <stdio.h>
#include <string.h>

#include "app/bus/bus_internal.h"
#include "app/bus/client.h"
#include "engine/hl_engine.h"

hl_status hl_bus_knob_args(const char *word, hl_str *out)
{
    char knob[64];
    double v;
    const char *eq = strchr(word, '=');
    if (!eq || eq == word || (size_t)(eq - word) >= sizeof knob)
        return hl_err_set(HL_E_ARG, "a knob is set as knob=value, e.g. lr=3e-4");
    snprintf(knob, sizeof knob, "%.*s", (int)(eq - word), word);
    hl_json_begin(out, '{');
    hl_json_add_key(out, knob);
    if (strcmp(eq + 1, "schedule") == 0) {
        hl_json_add_str(out, "schedule");
    } else {
        const bool is_number = hl_parse_f64(eq + 1, &v) == HL_OK;
        hl_schedule s;
        if (!is_number && strcmp(knob, "lr") == 0) {
            if (hl_schedule_read(eq + 1, &s, &v) != HL_OK)
                return hl_err_context("%s: '%.60s' is not a number", knob, eq + 1);
            hl_json_add_str(out, eq + 1);
        } else if (!is_number) {
            return hl_err_context("%s", knob);
        } else {
            hl_json_add_num(out, v);
        }
    }
    hl_json_end(out, '}');
    return hl_str_status(out);
}

/* The value of an option that stands in words[*i]: "--limit=4", "--limit 4", "-s PATH=VALUE". NULL:
 * it is another option, or (then *i is n) has no value. */
static const char *value_of(char *const *words, int n, int *i, const char *option)
{
    const size_t len = strlen(option);
    const char *word = words[*i];
    if (strncmp(word, option, len) != 0)
        return NULL;
    if (len > 2 && word[len] == '=')
        return word + len + 1;
    if (len == 2 && word[len])
        return word + len;
    if (word[len])
        return NULL;
    return ++*i < n ? words[*i] : NULL;
}

static hl_status put_count(hl_str *out, const char *key, const char *text)
{
    int64_t n;
    if (hl_parse_i64(text, &n) != HL_OK || n < 1)
        return hl_err_set(HL_E_ARG, "--%s takes a number of batches, not '%s'", key, text);
    hl_json_put_int(out, key, n);
    return HL_OK;
}

hl_status hl_bus_word_args(hl_bus_cmd cmd, const char *word, hl_str *out)
{
    const bool names = cmd == HL_BUS_CMD_CHECKPOINT, pauses = cmd == HL_BUS_CMD_PAUSE;
    const bool evaluates = cmd == HL_BUS_CMD_LUA;
    if (evaluates && hl_bus_check_code(word) != HL_OK)
        return hl_err_code();
    if (pauses && strcmp(word, "--release") != 0)
        return hl_err_set(HL_E_ARG, "pause takes nothing or --release, not '%s'", word);
    if (!names && !pauses && !evaluates && strcmp(word, "eval") != 0 && strcmp(word, "test") != 0 &&
        strcmp(word, "train") != 0)
        return hl_err_set(HL_E_ARG, "eval takes eval, test or train, not '%s'", word);
    hl_json_begin(out, '{');
    if (pauses)
        hl_json_put_bool(out, "release", true);
    else
        hl_json_put_str(out, names ? "name" : evaluates ? "text" : "set", word);
    hl_json_end(out, '}');
    return hl_str_status(out);
}

hl_status hl_bus_quantize_args(char *const *words, int n, hl_str *out)
{
    static const char *const counts[] = {"sensitivity", "limit"};
    hl_status st = HL_OK;
    hl_str sets = {0};
    hl_json_begin(&sets, '[');
    hl_json_begin(out, '{');
    for (int i = 0; i < n; i++) {
        const char *value = value_of(words, n, &i, "-s");
        bool known = value != NULL;
        if (value)
            hl_json_add_str(&sets, value);
        for (int k = 0; k < 2 && i < n && !known; k++) {
            char option[24];
            snprintf(option, sizeof option, "--%s", counts[k]);
            value = value_of(words, n, &i, option);
            known = value != NULL;
            if (value)
                HL_TRY(put_count(out, counts[k], value));
        }
        if (i >= n)
            HL_FAIL(HL_E_ARG, "%s needs a value", words[n - 1]);
        if (!known)
            HL_FAIL(
                HL_E_ARG,
                "a live run knows no '%s'; it takes -s quantize.PATH=VALUE, --sensitivity N and "
                "--limit N",
                words[i]);
    }
    hl_json_end(&sets, ']');
    hl_json_add_key(out, "set");
    hl_str_add(out, hl_str_text(&sets));
    hl_json_end(out, '}');
    st = hl_str_status(out);
out:
    hl_str_done(&sets);
    return st;
}
