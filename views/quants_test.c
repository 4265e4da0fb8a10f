/* Recorded quantizations: tensors, layers, methods over seeds. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/quants.h"

static const char event[] =
    "{\"tensors\":["
    "{\"name\":\"m.layers.1.fc2\",\"role\":\"activation\",\"tap\":\"layer.1/out\",\"sqnr\":20,"
    "\"bits\":8},"
    "{\"name\":\"m.layers.0.fc1.weight\",\"role\":\"weight\",\"sqnr\":\"Infinity\",\"bits\":4},"
    "{\"name\":\"head\",\"role\":\"weight\",\"float\":true},"
    "{\"name\":\"m.layers.1.fc1\",\"role\":\"activation\",\"sqnr\":35.5},{\"sqnr\":true}]}";

Test(quants, tensors_are_sorted_and_what_is_unknown_comes_last)
{
    static const char *const by_sqnr[] = {"m.layers.1.fc2", "m.layers.1.fc1",
                                          "m.layers.0.fc1.weight", "head", "?"};
    hl_quants q = {0};
    hl_tensors t = {0};
    char buf[HL_TENSOR_NAME_MAX];
    float worst[4];
    cr_assert(hl_quants_add(&q, "quantize/W8A8", 10, 1, event));
    cr_assert(hl_quants_add(&q, "quantize/W8A8", 20, 2, "{\"tensors\":"));
    cr_assert(hl_quants_add(&q, "quantize/W8A8", 20, 2, "{\"tensors\":7}"));
    cr_expect_eq(q.n_damaged, 2);
    cr_assert_eq(q.kept.n, 1);
    const hl_quantization *x = hl_quants_find(&q, hl_quant_key("quantize/W8A8"), NULL);
    cr_assert_not_null(x);
    cr_expect_eq(hl_quants_find(&q, 0, "sensitivity"), NULL);
    for (int reverse = 0; reverse < 2; reverse++) {
        hl_tensors_of(&(hl_tensors_wish){.of = x, .by = HL_TENSOR_SQNR, .reverse = reverse}, &t);
        cr_assert_eq(t.n, 5);
        for (int i = 0; i < 3; i++)
            cr_expect_str_eq(t.at[i].name, by_sqnr[reverse ? 2 - i : i]);
        for (int i = 3; i < 5; i++)
            cr_expect_str_eq(t.at[i].name, by_sqnr[i]);
    }
    cr_expect(t.at[3].is_float && t.at[3].is_weight);
    double least, most;
    cr_expect(!hl_quants_grid(&q, "layer.1/out", &least, &most), "its ends are not known");
    cr_expect(!hl_quants_grid(&q, "layer.7/out", &least, &most));
    static const char ranked[] =
        "{\"tensors\":[{\"name\":\"m.layers.1.fc2\",\"sqnr\":12}],\"sensitivity\":["
        "{\"name\":\"m.layers.1.fc2\",\"growth\":0.5},{\"name\":\"gone\",\"growth\":1}]}";
    hl_quants more = {0};
    cr_assert(hl_quants_add(&more, "quantize/W8A8", 20, 1, ranked));
    hl_tensors_of(&(hl_tensors_wish){.of = x,
                                     .ranked = &more.kept.at[0],
                                     .other = &more.kept.at[0],
                                     .by = HL_TENSOR_GROWTH},
                  &t);
    cr_expect_str_eq(t.at[0].name, "m.layers.1.fc2", "what is known comes first");
    cr_expect_eq(t.at[0].v[HL_TENSOR_GROWTH], 0.5);
    cr_expect_eq(t.at[0].v[HL_TENSOR_OTHER], t.at[0].v[HL_TENSOR_SQNR] - 12);
    cr_expect(isnan(t.at[1].v[HL_TENSOR_GROWTH]) && isnan(t.at[1].v[HL_TENSOR_OTHER]));
    /* of one step the newest stays, unless only what came before was ranked */
    cr_assert(hl_quants_add(&more, "quantize/W8A8", 20, 2, "{\"tensors\":[]}"));
    cr_expect_eq(more.kept.n, 2);
    cr_assert(hl_quants_add(&more, "quantize/W8A8", 20, 3, ranked));
    cr_expect_eq(more.kept.n, 1);
    hl_quants_done(&more);
    hl_tensors_of(&(hl_tensors_wish){.of = x, .by = HL_TENSOR_BY_NAME}, &t);
    cr_expect_str_eq(t.at[4].tap, "layer.1/out");
    cr_expect_str_eq(hl_tensor_short(t.at[4].name, buf), "L1.fc2");
    cr_expect_str_eq(hl_tensor_short("head.weight", buf), "head.weight");
    cr_expect_eq(hl_sqnr_by_layer(&t, worst, 4), 2);
    cr_expect(isinf(worst[0]) && worst[1] == 20);
    for (int i = 0; i < 40; i++)
        cr_assert(hl_quants_add(&q, "quantize/W4A8", 100 + i, 3, event));
    cr_expect_eq(q.kept.n, HL_QUANTS_KEPT);
    hl_quants_cut(&q, 130);
    cr_expect_eq(hl_quants_find(&q, 0, NULL)->step, 129);
    hl_vec_done(&t);
    hl_quants_done(&q);
}

static hl_run_row run_of(const char *name, uint64_t method, double in_float, double quantized)
{
    hl_run_row r = {.name = name,
                    .dir = name,
                    .eval_tag = "eval/ppl",
                    .eval = in_float,
                    .method = method,
                    .state = HL_RUN_DONE,
                    .n_quant = !isnan(quantized)};
    r.quant[0] =
        (hl_run_quant){.key = 9, .recipe = "W8A8", .in_float = in_float, .quantized = quantized};
    return r;
}

Test(quants, methods_over_seeds)
{
    hl_run_row rows[] = {run_of("t:base=bert,method=vanilla,seed=1", 1, 10, 12),
                         run_of("t:base=bert,method=oeh,seed=1", 2, 10, (double)NAN),
                         run_of("t:base=bert,method=vanilla,seed=2", 1, 20, 26),
                         run_of("t:base=bert,method=vanilla,seed=3", 1, 15, (double)NAN),
                         run_of("t:base=opt,method=oeh,seed=3", 3, 5, 6)};
    const int order[] = {0, 1, 2, 3, 4};
    hl_methods m = {0};
    rows[3].state = HL_RUN_FAILED;
    snprintf(rows[4].quant[0].recipe, sizeof rows[4].quant[0].recipe, "%s",
             "W8A8 skip m.layers.11.fc2, 4 batches");
    hl_methods_of(rows, order, 5, &m);
    cr_assert_eq(m.n, 3);
    cr_expect_str_eq(m.at[0].recipe, "W8A8");
    cr_expect_str_eq(m.at[1].recipe, "W8A8 skip L11.fc2, 4 batches");
    cr_expect_str_eq(m.at[0].label, "bert,vanilla");
    cr_expect_str_eq(m.at[1].label, "opt,oeh");
    cr_expect_str_eq(m.at[2].label, "bert,oeh");
    cr_expect(m.at[0].n_runs == 3 && m.at[0].n_quantized == 2 && m.at[0].n_broken == 1);
    cr_expect_float_eq(m.at[0].in_float.mean, 15, 1e-12, "of the quantized ones");
    cr_expect_float_eq(m.at[0].delta.mean, 4, 1e-12);
    cr_expect_float_eq(m.at[0].delta.sd, sqrt(8), 1e-12, "of the differences of each run");
    cr_expect_float_eq(m.at[0].percent.mean, 25, 1e-12);
    cr_expect(isnan(m.at[1].delta.sd) && m.at[1].delta.n == 1);
    cr_expect(m.at[2].key == 0 && m.at[2].in_float.mean == 10 && m.at[2].quantized.n == 0);
    rows[0].method = 0;
    hl_methods_of(rows, order, 1, &m);
    cr_expect_eq(m.at[0].method, hl_method_key(&rows[0]));
    cr_expect_str_eq(m.at[0].label, "vanilla");
    hl_methods_of(rows, order, 0, &m);
    cr_expect_eq(m.n, 0);
    hl_vec_done(&m);
}
