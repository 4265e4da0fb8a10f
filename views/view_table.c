/* The views: which panes, and how they share the terminal. */
#include <assert.h>

#include "views/screen.h"

static_assert((int)HL_PANE_COUNT <= (int)HL_PANES_MAX, "a layout has room for every pane");

#define PANE(upper, ...)                                                                           \
    {                                                                                              \
        .kind = HL_NODE_PANE, .pane = HL_PANE_##upper, __VA_ARGS__                                 \
    }
#define ROWS(count, ...)                                                                           \
    {                                                                                              \
        .kind = HL_NODE_ROWS, .n = count, __VA_ARGS__                                              \
    }
#define COLUMNS(count, ...)                                                                        \
    {                                                                                              \
        .kind = HL_NODE_COLUMNS, .n = count, __VA_ARGS__                                           \
    }

static const hl_node runs_nodes[] = {
    ROWS(3, .weight = 1),
    PANE(RUNS, .min = 5, .weight = 5),
    PANE(DETAILS, .min = 4, .max = 12, .weight = 2),
    PANE(LOG, .min = 4, .weight = 2),
};

static const hl_node run_nodes[] = {
    COLUMNS(3, .weight = 1),
    PANE(RUNS, .from = HL_SIZE_NORMAL, .min = 30, .max = 46, .weight = 1),
    ROWS(5, .min = 50, .weight = 4),
    PANE(PROGRESS, .from = HL_SIZE_STANDARD, .min = 1, .max = 1),
    PANE(CHART, .min = 8, .weight = 5),
    PANE(STRIP, .min = 2, .max = 2),
    COLUMNS(2, .from = HL_SIZE_WIDE, .min = 12, .max = 20, .weight = 2),
    PANE(HEAT, .from = HL_SIZE_WIDE, .min = 40, .weight = 1),
    PANE(HIST, .from = HL_SIZE_WIDE, .min = 30, .weight = 1),
    PANE(LOG, .min = 4, .max = 12, .weight = 1),
    ROWS(2, .from = HL_SIZE_WIDE, .min = 40, .max = 50, .weight = 1),
    PANE(CONTROL, .from = HL_SIZE_WIDE, .min = 12, .weight = 1),
    PANE(DETAILS, .from = HL_SIZE_WIDE, .min = 10, .max = 16, .weight = 1),
};

static const hl_node outliers_nodes[] = {
    COLUMNS(2, .weight = 1),
    PANE(RUNS, .from = HL_SIZE_NORMAL, .min = 30, .max = 46, .weight = 1),
    ROWS(3, .min = 50, .weight = 4),
    PANE(HEAT, .min = 6, .weight = 3),
    PANE(HIST, .min = 6, .weight = 2),
    PANE(LOG, .min = 4, .max = 10, .weight = 1),
};

static const hl_node deq_nodes[] = {
    COLUMNS(2, .weight = 1),
    PANE(RUNS, .from = HL_SIZE_NORMAL, .min = 30, .max = 46, .weight = 1),
    ROWS(4, .min = 50, .weight = 4),
    COLUMNS(2, .min = 9, .weight = 5),
    PANE(RESIDUAL, .min = 34, .weight = 3),
    PANE(EVALUATIONS, .min = 24, .max = 60, .weight = 1),
    PANE(SOLVES, .min = 5, .max = 10),
    PANE(SOLVE_HEAT, .from = HL_SIZE_NORMAL, .min = 7, .max = 26, .weight = 3),
    PANE(LOG, .min = 4, .max = 10, .weight = 1),
};

static const hl_node quant_nodes[] = {
    COLUMNS(2, .weight = 1),
    PANE(RUNS, .from = HL_SIZE_NORMAL, .min = 30, .max = 46, .weight = 1),
    ROWS(4, .min = 50, .weight = 4),
    PANE(METHODS, .min = 4, .weight = 2),
    PANE(TENSORS, .min = 5, .weight = 3),
    PANE(SENSITIVITY, .min = 5, .max = 14, .weight = 1),
    PANE(LOG, .min = 4, .max = 10, .weight = 1),
};

static const hl_node forecast_nodes[] = {
    COLUMNS(2, .weight = 1),
    PANE(RUNS, .from = HL_SIZE_NORMAL, .min = 30, .max = 46, .weight = 1),
    ROWS(3, .min = 50, .weight = 4),
    PANE(FORECAST, .min = 9, .weight = 5),
    COLUMNS(2, .min = 7, .max = 16, .weight = 2),
    PANE(RESIDUALS, .min = 30, .weight = 1),
    PANE(AHEAD, .min = 30, .weight = 1),
    PANE(LOG, .min = 4, .max = 10, .weight = 1),
};

static const hl_node compare_nodes[] = {
    COLUMNS(2, .weight = 1),
    PANE(RUNS, .from = HL_SIZE_NORMAL, .min = 30, .max = 46, .weight = 1),
    ROWS(4, .min = 50, .weight = 4),
    PANE(SCORES, .min = 5, .weight = 3),
    PANE(DIFFERENCES, .min = 4, .weight = 2),
    PANE(PAIRED, .min = 8, .weight = 4),
    PANE(LOG, .min = 4, .max = 10, .weight = 1),
};

static const hl_node system_nodes[] = {
    COLUMNS(2, .weight = 1),
    PANE(RUNS, .from = HL_SIZE_NORMAL, .min = 30, .max = 46, .weight = 1),
    ROWS(5, .min = 50, .weight = 4),
    PANE(PROGRESS, .from = HL_SIZE_STANDARD, .min = 1, .max = 1),
    PANE(MACHINE, .min = 6, .max = 40, .weight = 3),
    PANE(STEP_TIME, .min = 5, .max = 6),
    PANE(HISTORY, .min = 6, .weight = 3),
    PANE(LOG, .min = 4, .max = 10, .weight = 1),
};

static const hl_node lua_nodes[] = {
    COLUMNS(2, .weight = 1),
    PANE(RUNS, .from = HL_SIZE_NORMAL, .min = 30, .max = 46, .weight = 1),
    ROWS(2, .min = 50, .weight = 4),
    PANE(CONSOLE, .min = 4, .weight = 3),
    PANE(LOG, .min = 4, .max = 10, .weight = 1),
};

static const hl_node scripted_nodes[] = {
    COLUMNS(2, .weight = 1),
    PANE(RUNS, .from = HL_SIZE_NORMAL, .min = 30, .max = 46, .weight = 1),
    ROWS(2, .min = 50, .weight = 4),
    PANE(SCRIPTED, .min = 4, .weight = 3),
    PANE(LOG, .min = 4, .max = 10, .weight = 1),
};

#define NODES(array) .nodes = array, .n_nodes = sizeof array / sizeof array[0]

static const hl_view_class views[HL_VIEW_COUNT] = {
    [HL_VIEW_RUNS] = {.name = "Runs",
                      NODES(runs_nodes),
                      .focus = HL_PANE_RUNS,
                      .hidden = UINT32_C(1) << HL_PANE_LOG},
    [HL_VIEW_RUN] = {.name = "Run", NODES(run_nodes), .focus = HL_PANE_CHART},
    [HL_VIEW_OUTLIERS] = {.name = "Outliers",
                          NODES(outliers_nodes),
                          .focus = HL_PANE_HEAT,
                          .hidden = UINT32_C(1) << HL_PANE_LOG},
    [HL_VIEW_DEQ] = {.name = "DEQ",
                     NODES(deq_nodes),
                     .focus = HL_PANE_RESIDUAL,
                     .hidden = UINT32_C(1) << HL_PANE_LOG},
    [HL_VIEW_QUANT] = {.name = "Quant",
                       NODES(quant_nodes),
                       .focus = HL_PANE_METHODS,
                       .hidden = UINT32_C(1) << HL_PANE_LOG},
    [HL_VIEW_COMPARE] = {.name = "Compare",
                         NODES(compare_nodes),
                         .focus = HL_PANE_SCORES,
                         .hidden = UINT32_C(1) << HL_PANE_LOG},
    [HL_VIEW_SYSTEM] = {.name = "System",
                        NODES(system_nodes),
                        .focus = HL_PANE_MACHINE,
                        .hidden = UINT32_C(1) << HL_PANE_LOG},
    [HL_VIEW_FORECAST] = {.name = "Forecast",
                          NODES(forecast_nodes),
                          .focus = HL_PANE_FORECAST,
                          .hidden = UINT32_C(1) << HL_PANE_LOG},
    [HL_VIEW_LUA] = {.name = "Lua",
                     NODES(lua_nodes),
                     .focus = HL_PANE_CONSOLE,
                     .hidden = UINT32_C(1) << HL_PANE_LOG},
    [HL_VIEW_SCRIPTED] = {.name = "views of scripts",
                          NODES(scripted_nodes),
                          .focus = HL_PANE_SCRIPTED,
                          .hidden = UINT32_C(1) << HL_PANE_LOG},
};

const hl_view_class *hl_view_get(hl_view v)
{
    return &views[v];
}

int hl_view_digit(hl_view v)
{
    return v < HL_VIEW_FORECAST ? (int)v + 1 : 0;
}

static const hl_pane_class *const panes[HL_PANE_COUNT] = {
    [HL_PANE_RUNS] = &hl_pane_runs,
    [HL_PANE_DETAILS] = &hl_pane_details,
    [HL_PANE_PROGRESS] = &hl_pane_progress,
    [HL_PANE_CHART] = &hl_pane_chart,
    [HL_PANE_STRIP] = &hl_pane_strip,
    [HL_PANE_LOG] = &hl_pane_log,
    [HL_PANE_HEAT] = &hl_pane_heat,
    [HL_PANE_HIST] = &hl_pane_hist,
    [HL_PANE_CONTROL] = &hl_pane_control,
    [HL_PANE_RESIDUAL] = &hl_pane_residual,
    [HL_PANE_EVALUATIONS] = &hl_pane_evaluations,
    [HL_PANE_SOLVES] = &hl_pane_solves,
    [HL_PANE_SOLVE_HEAT] = &hl_pane_solve_heat,
    [HL_PANE_METHODS] = &hl_pane_methods,
    [HL_PANE_TENSORS] = &hl_pane_tensors,
    [HL_PANE_SENSITIVITY] = &hl_pane_sensitivity,
    [HL_PANE_SCORES] = &hl_pane_scores,
    [HL_PANE_DIFFERENCES] = &hl_pane_differences,
    [HL_PANE_PAIRED] = &hl_pane_paired,
    [HL_PANE_MACHINE] = &hl_pane_machine,
    [HL_PANE_STEP_TIME] = &hl_pane_step_time,
    [HL_PANE_HISTORY] = &hl_pane_history,
    [HL_PANE_FORECAST] = &hl_pane_forecast,
    [HL_PANE_RESIDUALS] = &hl_pane_residuals,
    [HL_PANE_AHEAD] = &hl_pane_ahead,
    [HL_PANE_CONSOLE] = &hl_pane_console,
    [HL_PANE_SCRIPTED] = &hl_pane_scripted,
    [HL_PANE_SCRIPT] = &hl_pane_script,
};

const hl_pane_class *hl_pane_get(hl_pane p)
{
    return panes[p];
}
