/* Reads and checks one request line. Whether a knob exists is for the control thread to say. */
#include <math.h>
#include <string.h>

#include "app/bus/bus_internal.h"

static const char *const names[] = {
#define HL_BUS_CMD_NAME(upper, name) name,
    HL_BUS_COMMANDS(HL_BUS_CMD_NAME)
#undef HL_BUS_CMD_NAME
};

#define MAX_ARGS 64

const char *hl_bus_cmd_name(hl_bus_cmd cmd)
{
    return (unsigned)cmd < HL_BUS_CMD_COUNT ? names[cmd] : "?";
}

hl_status hl_bus_cmd_from_name(const char *name, hl_bus_cmd *out)
{
    for (int i = 0; i < HL_BUS_CMD_COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (hl_bus_cmd)i;
            return HL_OK;
        }
    }
    int near = hl_str_nearest(name, names, HL_BUS_CMD_COUNT);
    if (near >= 0)
        return hl_err_set(HL_E_ARG, "unknown command \"%.40s\"; did you mean \"%s\"?", name,
                          names[near]);
    return hl_err_set(HL_E_ARG, "unknown command \"%.40s\"", name);
}

static hl_status check_knobs(const hl_json *args)
{
    if (hl_json_len(args) == 0)
        return hl_err_set(HL_E_ARG, "set needs \"args\" with at least one knob, as {\"lr\":0.001}");
    for (int i = 0; i < hl_json_len(args); i++) {
        const hl_json *v = hl_json_at(args, i);
        if (hl_json_is_number(v) ? !isfinite(hl_json_num(v, 0))
                                 : !hl_json_is_bool(v) && !hl_json_is_string(v))
            return hl_err_set(HL_E_ARG,
                              "knob \"%.40s\" must be a finite number, true, false or a string",
                              hl_json_key(v));
    }
    return HL_OK;
}

hl_status hl_bus_check_code(const char *text)
{
    const size_t n = text ? strlen(text) : 0;
    if (n == 0)
        return hl_err_set(HL_E_ARG, "lua needs \"text\", what the run is to evaluate");
    if (n > HL_BUS_CODE_MAX)
        return hl_err_set(HL_E_ARG,
                          "a run evaluates at most %d bytes at a time, not %zu; put more "
                          "into a file that require finds",
                          HL_BUS_CODE_MAX, n);
    return HL_OK;
}

hl_status hl_bus_line_parse(const char *text, size_t n, hl_bus_line *out)
{
    hl_status st = HL_OK;
    hl_bus_line line = {.id = -1, .cmd = HL_BUS_CMD_STATUS, .subscribe = -1};
    out->id = -1;
    HL_TRY(hl_json_parse(text, n, &line.root));
    line.id = hl_json_int(hl_json_get(line.root, "id"), -1);
    if (line.id < 0)
        HL_FAIL(HL_E_FORMAT, "a request is an object with a whole number \"id\"");
    out->id = line.id;
    int64_t v = hl_json_int(hl_json_get(line.root, "v"), -1);
    if (v != HL_BUS_VERSION)
        HL_FAIL(HL_E_UNSUPPORTED, "\"v\" must be %d, the protocol of this worker", HL_BUS_VERSION);
    const hl_json *subscribe = hl_json_get(line.root, "subscribe");
    if (subscribe && !hl_json_is_bool(subscribe) &&
        strcmp(hl_json_str(subscribe, ""), "quiet") != 0)
        HL_FAIL(HL_E_FORMAT, "\"subscribe\" must be true, false or \"quiet\"");
    if (subscribe)
        line.subscribe = hl_json_is_string(subscribe)     ? HL_BUS_QUIET
                         : hl_json_bool(subscribe, false) ? HL_BUS_ALL_EVENTS
                                                          : HL_BUS_NO_EVENTS;
    const hl_json *cmd = hl_json_get(line.root, "cmd");
    if (!hl_json_is_string(cmd) && !(subscribe && !cmd))
        HL_FAIL(HL_E_FORMAT, "a request needs a string \"cmd\"");
    if (cmd)
        HL_TRY(hl_bus_cmd_from_name(hl_json_str(cmd, ""), &line.cmd));
    line.args = hl_json_get(line.root, "args");
    if (line.args && !hl_json_is_object(line.args))
        HL_FAIL(HL_E_FORMAT, "\"args\" must be an object");
    if (hl_json_len(line.args) > MAX_ARGS)
        HL_FAIL(HL_E_FORMAT, "\"args\" has more than %d members", MAX_ARGS);
    if (line.cmd == HL_BUS_CMD_SET)
        HL_TRY(check_knobs(line.args));
    if (line.cmd == HL_BUS_CMD_LUA)
        HL_TRY(hl_bus_check_code(hl_json_str(hl_json_get(line.args, "text"), NULL)));
    *out = line;
    line.root = NULL;
out:
    hl_json_free(line.root);
    return st;
}

void hl_bus_line_done(hl_bus_line *line)
{
    hl_json_free(line->root);
    *line = (hl_bus_line){.id = -1};
}

void hl_bus_state_add(hl_str *b, const hl_bus_state *s)
{
    hl_json_put_str(b, "state", s->state);
    if (s->doing[0])
        hl_json_put_str(b, "doing", s->doing);
    if (s->steps >= 0)
        hl_json_put_int(b, "steps", s->steps);
    if (s->step < 0)
        return;
    hl_json_put_int(b, "step", s->step);
    hl_json_put_num(b, "loss", s->loss);
    hl_json_put_num(b, "lr", s->lr);
    hl_json_put_num(b, "step_ms", s->step_ms);
}
