#include "views/keymap.h"

#include <criterion/criterion.h>
#include <string.h>

static hl_action find(const hl_keymap *m, hl_pane pane, int a, int b)
{
    const int keys[2] = {a, b};
    return hl_keymap_find(m, pane, keys, b ? 2 : 1);
}

Test(keymap, the_table_has_no_conflicts_and_every_action_has_a_key_and_a_help_line)
{
    hl_keymap m;
    cr_assert_eq(hl_keymap_init(&m), HL_OK, "%s", hl_err_message());
    for (int a = 0; a < HL_ACTION_COUNT; a++) {
        char keys[64];
        cr_assert_eq(hl_action_from(hl_action_get((hl_action)a)->name), a);
        cr_assert(*hl_keymap_keys(&m, (hl_action)a, keys), "%s", hl_action_get((hl_action)a)->name);
        cr_assert(*hl_action_get((hl_action)a)->help);
    }
    hl_keymap_done(&m);
}

Test(keymap, keys_in_turn_and_keys_of_a_pane)
{
    hl_keymap m;
    cr_assert_eq(hl_keymap_init(&m), HL_OK);
    cr_assert_eq(find(&m, HL_PANE_LOG, 'g', 0), HL_ACTION_PENDING);
    cr_assert_eq(find(&m, HL_PANE_LOG, 'g', 'g'), HL_ACTION_TOP);
    cr_assert_eq(find(&m, HL_PANE_LOG, 'g', 't'), HL_ACTION_NEXT_VIEW);
    cr_assert_eq(find(&m, HL_PANE_LOG, 'g', 'x'), HL_ACTION_NONE);
    cr_assert_eq(find(&m, HL_PANE_CHART, 's', 0), HL_ACTION_SMOOTH);
    cr_assert_eq(find(&m, HL_PANE_RUNS, 's', 0), HL_ACTION_CYCLE_STATE);
    cr_assert_eq(find(&m, HL_PANE_LOG, 's', 0), HL_ACTION_LOG_LEVEL);
    cr_assert_eq(find(&m, HL_PANE_PROGRESS, 's', 0), HL_ACTION_NONE);
    cr_assert_eq(find(&m, HL_PANE_LOG, HL_KEY_DOWN, 0), HL_ACTION_DOWN);
    for (int pane = HL_PANE_RESIDUAL; pane <= HL_PANE_SOLVE_HEAT; pane++) /* share their keys */
        cr_assert_eq(find(&m, (hl_pane)pane, '[', 0), HL_ACTION_OLDER_SOLVE);
    hl_keymap_done(&m);
}

Test(keymap, movement_letters_move_in_every_pane)
{
    static const hl_action moves[] = {HL_ACTION_LEFT, HL_ACTION_DOWN, HL_ACTION_UP,
                                      HL_ACTION_RIGHT};
    hl_keymap m;
    cr_assert_eq(hl_keymap_init(&m), HL_OK);
    for (int pane = 0; pane < HL_PANE_COUNT; pane++)
        for (int i = 0; i < 4; i++)
            cr_assert_eq(find(&m, (hl_pane)pane, "hjkl"[i], 0), moves[i]);
    hl_keymap_done(&m);
}

Test(keymap, rebinding)
{
    hl_keymap m;
    char keys[64];
    cr_assert_eq(hl_keymap_init(&m), HL_OK);
    cr_assert_eq(hl_keymap_bind(&m, "Q", "quit"), HL_OK);
    cr_assert_eq(find(&m, HL_PANE_RUNS, 'Q', 0), HL_ACTION_QUIT);
    cr_assert_eq(hl_keymap_bind(&m, "q", "none"), HL_OK);
    cr_assert_eq(find(&m, HL_PANE_RUNS, 'q', 0), HL_ACTION_NONE);
    cr_assert_str_eq(hl_keymap_keys(&m, HL_ACTION_QUIT, keys), "C-c");
    cr_assert_eq(hl_keymap_bind(&m, "g+g", "quit"), HL_OK);
    cr_assert_eq(find(&m, HL_PANE_RUNS, 'g', 'g'), HL_ACTION_QUIT);
    cr_assert_eq(hl_keymap_bind(&m, "Q", "quti"), HL_E_ARG);
    cr_assert(strstr(hl_err_message(), "did you mean quit"));
    cr_assert_eq(hl_keymap_bind(&m, "Strange", "quit"), HL_E_ARG);
    cr_assert_eq(hl_keymap_bind(&m, "j", "quit"), HL_E_ARG);
    cr_assert_eq(hl_keymap_bind(&m, "", "quit"), HL_E_ARG);
    cr_assert_eq(hl_keymap_bind(&m, "z+x", "quit"), HL_E_ARG); /* z alone is one already */
    cr_assert(strstr(hl_err_message(), "zoom"));
    hl_keymap_done(&m);
}

/* Two who ask for the same keys in one place are both named; a default that gives way is no news. */
Test(keymap, conflicts_name_both_owners)
{
    hl_keymap m;
    hl_str said = {0};
    cr_assert_eq(hl_keymap_init(&m), HL_OK);
    cr_assert_eq(hl_keymap_bind_for(&m, "Q", "quit", "config.lua:3", &said), HL_OK);
    cr_assert_eq(hl_keymap_bind_for(&m, "g+x", "sort", "config.lua:4", &said), HL_OK);
    cr_assert_eq(hl_keymap_bind_for(&m, "g+x", "scale", "mine.lua:1", &said), HL_OK);
    cr_assert_eq(said.n, 0, "%s", hl_str_text(&said)); /* runs and charts: two places */
    cr_assert_eq(hl_keymap_bind_for(&m, "Q", "log", "mine.lua:2", &said), HL_OK);
    cr_assert_str_eq(hl_str_text(&said), "Q: quit (config.lua:3) and log (mine.lua:2)\n");
    cr_assert_eq(find(&m, HL_PANE_RUNS, 'Q', 0), HL_ACTION_LOG);
    cr_assert_eq(hl_keymap_bind_for(&m, "Q", "nothing", "mine.lua:9", &said), HL_E_ARG);
    hl_str_done(&said);
    hl_keymap_done(&m);
}
