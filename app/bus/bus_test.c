/* Request lines: what is taken, what is refused and how the refusal reads. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/bus/bus_internal.h"

static hl_status parse(const char *text, hl_bus_line *line)
{
    return hl_bus_line_parse(text, strlen(text), line);
}

Test(bus_request, good_lines)
{
    hl_bus_line line;
    cr_assert(parse("{\"v\":1,\"id\":7,\"cmd\":\"set\",\"args\":{\"lr\":0.001,\"on\":true,"
                    "\"mode\":\"hold\"}}",
                    &line) == HL_OK);
    cr_assert(line.id == 7 && line.cmd == HL_BUS_CMD_SET && line.subscribe == -1);
    cr_assert(hl_json_num(hl_json_get(line.args, "lr"), 0) == 0.001);
    hl_bus_line_done(&line);
    cr_assert(parse(" {\"cmd\":\"pause\",\"v\":1,\"id\":0,\"extra\":[1,2]}\r", &line) == HL_OK);
    cr_assert(line.id == 0 && line.cmd == HL_BUS_CMD_PAUSE && line.args == NULL);
    hl_bus_line_done(&line);
    cr_assert(parse("{\"v\":1,\"id\":1,\"subscribe\":true}", &line) == HL_OK);
    cr_assert(line.cmd == HL_BUS_CMD_STATUS && line.subscribe == HL_BUS_ALL_EVENTS);
    hl_bus_line_done(&line);
    for (int i = 0; i < HL_BUS_CMD_COUNT; i++) {
        hl_bus_cmd cmd;
        cr_assert(hl_bus_cmd_from_name(hl_bus_cmd_name((hl_bus_cmd)i), &cmd) == HL_OK);
        cr_assert((int)cmd == i);
    }
}

Test(bus_request, refused_lines)
{
    static const struct {
        const char *line, *message;
        int64_t id;
    } cases[] = {
        {"", "not valid JSON", -1},
        {"hello", "not valid JSON", -1},
        {"[1]", "\"id\"", -1},
        {"{\"v\":1,\"cmd\":\"stop\"}", "\"id\"", -1},
        {"{\"v\":1,\"id\":-3,\"cmd\":\"stop\"}", "\"id\"", -1},
        {"{\"v\":1,\"id\":1.5e300,\"cmd\":\"stop\"}", "\"id\"", -1},
        {"{\"id\":4,\"cmd\":\"stop\"}", "\"v\" must be 1", 4},
        {"{\"v\":2,\"id\":4,\"cmd\":\"stop\"}", "\"v\" must be 1", 4},
        {"{\"v\":1,\"id\":4}", "needs a string \"cmd\"", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":5}", "needs a string \"cmd\"", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":7,\"subscribe\":true}", "needs a string \"cmd\"", 4},
        {"{\"v\":1,\"id\":4,\"subscribe\":1}", "\"subscribe\" must be", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":\"puase\"}", "did you mean \"pause\"", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":\"xyzzyxyzzy\"}", "unknown command \"xyzzyxyzzy\"", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":\"stop\",\"args\":[1]}", "\"args\" must be an object", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":\"lua\"}", "lua needs \"text\"", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":\"lua\",\"args\":{\"text\":7}}", "lua needs \"text\"", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":\"lua\",\"args\":{\"text\":\"\"}}", "lua needs \"text\"", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":\"set\"}", "at least one knob", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":\"set\",\"args\":{}}", "at least one knob", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":\"set\",\"args\":{\"lr\":\"NaN\"}}", "knob \"lr\"", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":\"set\",\"args\":{\"lr\":1e999}}", "knob \"lr\"", 4},
        {"{\"v\":1,\"id\":4,\"cmd\":\"set\",\"args\":{\"a\":1,\"b\":null}}", "knob \"b\"", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hl_bus_line line = {.id = 99};
        cr_assert(parse(cases[i].line, &line) != HL_OK, "%s", cases[i].line);
        cr_assert(strstr(hl_err_message(), cases[i].message), "%s: %s", cases[i].line,
                  hl_err_message());
        cr_assert(line.id == cases[i].id, "%s", cases[i].line);
    }
}

Test(bus_request, many_members_are_refused)
{
    hl_str b = {0};
    hl_str_add(&b, "{\"v\":1,\"id\":1,\"cmd\":\"eval\",\"args\":{");
    for (int i = 0; i < 65; i++)
        hl_str_addf(&b, "%s\"k%d\":%d", i ? "," : "", i, i);
    hl_str_add(&b, "}}");
    hl_bus_line line;
    cr_assert(parse(b.s, &line) == HL_E_FORMAT);
    hl_str_clear(&b);
    for (int i = 0; i < 60000; i++)
        hl_str_addc(&b, '[');
    cr_assert(parse(b.s, &line) == HL_E_FORMAT);
    hl_str_done(&b);
}

/* Any bytes give a status, never a crash or a leak. */
Test(bus_request, mutated_lines)
{
    const char good[] = "{\"v\":1,\"id\":7,\"cmd\":\"set\",\"args\":{\"lr\":0.001,\"s\":\"x\"},"
                        "\"subscribe\":true}";
    unsigned seed = 12345;
    for (int round = 0; round < 20000; round++) {
        char text[sizeof good];
        memcpy(text, good, sizeof good);
        for (int k = 0; k < 1 + round % 5; k++) {
            seed = seed * 1664525u + 1013904223u;
            text[(seed >> 8) % (sizeof good - 1)] = (char)(seed >> 24);
        }
        hl_bus_line line;
        size_t n = round % 3 ? sizeof good - 1 : (seed >> 4) % sizeof good;
        if (hl_bus_line_parse(text, n, &line) == HL_OK)
            hl_bus_line_done(&line);
    }
}

Test(bus_request, state_members)
{
    hl_str b = {0};
    hl_bus_state s = {.state = "starting", .step = -1, .steps = -1};
    hl_bus_state_add(&b, &s);
    cr_assert_str_eq(hl_str_text(&b), "\"state\":\"starting\"");
    hl_str_clear(&b);
    s = (hl_bus_state){"evaluating", "evaluating, 41 s left", 3, 10, (double)NAN, 0.5, 12};
    hl_bus_state_add(&b, &s);
    cr_assert_str_eq(hl_str_text(&b),
                     "\"state\":\"evaluating\",\"doing\":\"evaluating, 41 s left\",\"steps\":10,"
                     "\"step\":3,\"loss\":\"NaN\",\"lr\":0.5,\"step_ms\":12");
    hl_str_done(&b);
}
