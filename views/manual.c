/* The reference page of the screen, written from its tables. */
#include "views/screen.h"

static void add_actions(hl_str *out, const hl_keymap *m, hl_pane pane)
{
    for (int a = 0; a < HL_ACTION_COUNT; a++) {
        const hl_action_row *row = hl_action_get((hl_action)a);
        char keys[64];
        if (row->pane != pane)
            continue;
        const char *first = hl_keymap_keys(m, (hl_action)a, keys);
        hl_str_addf(out, "| `%s` | %s | %s |\n", first, row->name, row->help);
    }
}

static void add_pane(hl_str *out, const hl_keymap *m, hl_pane pane)
{
    const size_t before = out->n;
    hl_str_addf(out, "\n## Keys: %s\n\n| key | action | |\n|---|---|---|\n", hl_pane_name(pane));
    const size_t head = out->n;
    add_actions(out, m, pane);
    if (out->n == head && out->s) { /* it has none of its own */
        out->n = before;
        out->s[before] = 0;
    }
}

hl_status hl_screen_manual(hl_str *out)
{
    hl_keymap m;
    char usage[HL_USAGE_MAX];
    const char *help;
    hl_status st = hl_keymap_init(&m);
    if (st != HL_OK)
        return st;
    hl_str_add(out, "# Keys, commands and settings of the workbench\n\n"
                    "Written by `./lab docs` from the tables in `views/`; `?` on the screen shows "
                    "the same.\nKeys are bound anew with `:map KEYS ACTION`.\n");
    add_pane(out, &m, HL_PANE_ANY);
    for (int p = 0; p < HL_PANE_COUNT; p++)
        add_pane(out, &m, (hl_pane)p);
    hl_str_add(out, "\n## Commands\n\n| | |\n|---|---|\n");
    for (int i = 0; hl_command_help(i, usage, &help); i++)
        hl_str_addf(out, "| `%s` | %s |\n", usage, help);
    hl_str_add(out, "\n## Settings\n\n`:set NAME=VALUE`, `:set NAME?`\n\n| | |\n|---|---|\n");
    for (int i = 0; hl_option_help(i, usage, &help); i++)
        hl_str_addf(out, "| `%s` | %s |\n", usage, help);
    hl_keymap_done(&m);
    return hl_str_status(out);
}
