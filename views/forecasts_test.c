/* The store of recorded forecasts. */
#include "views/forecasts.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

static void add(hl_forecasts *f, const char *tag, int64_t step)
{
    hl_str b = {0};
    hl_str_addf(&b,
                "{\"step\":%lld,\"history\":0,\"horizon\":2,\"ahead_each\":2,\"mse_ahead\":[1],"
                "\"channels\":[{\"name\":\"a\",\"mse_ahead\":[1],\"residual\":{\"width\":1,"
                "\"count\":[0",
                (long long)step);
    for (int i = 1; i < HL_FORECAST_BINS; i++)
        hl_str_addf(&b, ",%d", i);
    hl_str_add(&b, "]}}],\"windows\":[{\"channels\":[{\"history\":[],\"truth\":[null,2],"
                   "\"prediction\":[7,5]}]}]}");
    cr_assert(hl_forecasts_add(f, tag, step, hl_str_text(&b)));
    hl_str_done(&b);
}

Test(forecasts, newest_are_kept_and_cut)
{
    hl_forecasts f = {0};
    cr_assert(hl_forecasts_add(&f, "forecast/test", 1, "{\"channels\":7}"));
    cr_assert(hl_forecasts_add(&f, "forecast/eval", 1, "{"));
    cr_expect(f.n_damaged == 2 && f.eval.n == 0 && f.test.n == 0);
    for (int i = 1; i <= 40; i++)
        add(&f, "forecast/eval", i);
    add(&f, "forecast/test", 40);
    cr_expect_eq(f.eval.n, HL_FORECASTS_KEPT);
    cr_expect_eq(f.eval.at[0].table.step, 41 - HL_FORECASTS_KEPT);
    cr_expect_float_eq(hl_forecast_window_mse(&f.test.at[0].table, 0, 0), 9, 1e-12,
                       "what is missing does not count");
    hl_forecasts_cut(&f, 30);
    cr_expect(f.test.n == 0 && f.eval.at[f.eval.n - 1].step == 29);
    add(&f, "forecast/eval", 30);
    hl_forecasts_done(&f);
}
