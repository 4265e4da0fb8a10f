#define _GNU_SOURCE /* mkdtemp, before any header */
#include <criterion/criterion.h>
#include <math.h>

#include "app/compare/compare.h"
#include "app/store/store_test.h"

/* ---- runs ---- */

typedef struct plan {
    const char *id, *softmax;
    int seed, width;
    double loss;
    const char *script;
} plan;

static const plan plans[] = {
    {"20260101-000000-000001", "vanilla", 1, 64, 3.0, "a\nb\nc\nd\ne\nf\ng\n"},
    {"20260101-000000-000002", "vanilla", 2, 64, 3.2, "a\nb\nc\nd\ne\nf\ng\n"},
    {"20260101-000000-000003", "softmax1", 1, 64, 2.0, "a\nb\nC\nd\ne\nf\ng\nh\n"},
    {"20260101-000000-000004", "softmax1", 2, 32, 2.1, NULL},
};
enum { N = 4, STEPS = 20 };

static char *runs, *dirs[N];

static void write_run(const plan *p, char **dir)
{
    char config[400];
    hl_writer *w;
    *dir = test_run(runs, p->id);
    snprintf(config, sizeof config,
             "{\"model\":{\"width\":%d,\"attention\":{\"softmax\":\"%s\"}},\"seed\":%d,"
             "\"name\":\"%s\",\"save\":{\"best\":\"eval/goodness:max\"},\"same\":[1,2]}",
             p->width, p->softmax, p->seed, p->id);
    cr_assert_eq(hl_run_dir_put_config(*dir, config), HL_OK);
    if (p->script)
        cr_assert_eq(hl_run_dir_put_script(*dir, "x.lua", p->script, strlen(p->script)), HL_OK);
    cr_assert_eq(hl_writer_open(*dir, NULL, &w), HL_OK, "%s", hl_err_message());
    const hl_sink k = hl_writer_sink(w);
    const int loss = k.series(k.self, "train/loss", HL_SERIES_SCALAR, NULL);
    const int goodness = k.series(k.self, "eval/goodness", HL_SERIES_SCALAR, NULL);
    const int other = k.series(k.self, "sys/other", HL_SERIES_SCALAR, NULL);
    for (int i = 0; i < STEPS; i++) { /* falls, and rises a little at the end */
        k.scalar(k.self, loss, i, p->loss + (i < 15 ? 1 - i / 15.0 : (i - 15) / 10.0));
        k.scalar(k.self, other, i, i);
    }
    k.scalar(k.self, goodness, 10, 10 - p->loss);
    if (p->seed == 2)
        k.scalar(k.self, k.series(k.self, "eval/only", HL_SERIES_SCALAR, NULL), 10, (double)NAN);
    hl_writer_set_state(w, STEPS, &(hl_state_note){.state = HL_RUN_DONE});
    cr_assert_eq(hl_writer_close(w), HL_OK);
}

static void make(void)
{
    runs = test_dir();
    for (int i = 0; i < N; i++)
        write_run(&plans[i], &dirs[i]);
}

static void unmake(void)
{
    for (int i = 0; i < N; i++)
        hl_free(dirs[i]);
    test_dir_done(runs);
}

static hl_comparison *compared(int64_t at)
{
    hl_comparison *c = NULL;
    const hl_compare_wanted w = {
        .dirs = (const char *const *)dirs, .n = N, .at = at, .scripts = true};
    cr_assert_eq(hl_comparison_new(&w, &c), HL_OK, "%s", hl_err_message());
    return c;
}

static bool differs(const hl_compare_rows *rows, const char *key)
{
    for (size_t i = 0; i < rows->n; i++)
        if (strcmp(rows->at[i].key, key) == 0)
            return rows->at[i].differs;
    cr_assert(false, "no row %s", key);
    return false;
}

TestSuite(compare, .init = make, .fini = unmake);

Test(compare, options_values_groups)
{
    double v;
    int64_t step;
    hl_comparison *c = compared(10);
    cr_assert_eq(c->n, N);
    cr_assert(differs(&c->options, "seed") && differs(&c->options, "model.width") &&
              differs(&c->options, "model.attention.softmax") && !differs(&c->options, "same[1]"));
    cr_assert(!differs(&c->facts, "host"));
    const size_t loss = hl_compare_metric(c, "train/loss");
    const size_t good = hl_compare_metric(c, "eval/goodness");
    cr_assert(c->metrics.at[loss].is_main &&
              !c->metrics.at[hl_compare_metric(c, "sys/other")].is_main);
    cr_assert_eq(hl_compare_metric(c, "nothing"), SIZE_MAX);

    cr_assert(hl_compare_get(c, 0, loss, HL_COMPARE_LAST, &v, &step) && step == 19);
    cr_assert_float_eq(v, 3.4, 1e-6);
    cr_assert(hl_compare_get(c, 0, loss, HL_COMPARE_BEST, &v, &step) && step == 15);
    cr_assert_float_eq(v, 3, 1e-6);
    cr_assert(hl_compare_get(c, 0, loss, HL_COMPARE_AT, &v, &step) && step == 10);
    cr_assert_float_eq(v, 3 + 1 - 10 / 15.0, 1e-6);
    cr_assert(!hl_compare_get(c, 0, hl_compare_metric(c, "eval/only"), HL_COMPARE_LAST, &v, NULL));

    /* less loss is better; of goodness the runs say that more is */
    cr_assert_eq(hl_compare_best(c, loss, HL_COMPARE_LAST), 2);
    cr_assert(hl_compare_more_is_better(c, "eval/goodness"));
    cr_assert(hl_compare_more_is_better(c, "sys/tokens_per_s") &&
              !hl_compare_more_is_better(c, "eval/ppl"));
    cr_assert_eq(hl_compare_best(c, good, HL_COMPARE_LAST), 2);
    cr_assert_eq(hl_compare_best(c, hl_compare_metric(c, "sys/other"), HL_COMPARE_LAST), -1);
    int order[N];
    hl_compare_order(c, loss, HL_COMPARE_LAST, false, order);
    cr_assert(order[0] == 2 && order[1] == 3 && order[2] == 0 && order[3] == 1);
    hl_compare_order(c, hl_compare_metric(c, "eval/only"), HL_COMPARE_LAST, true, order);
    cr_assert(order[0] == 0 && order[3] == 3, "what is not known keeps its order");

    /* the first two differ in their seed alone; the others also in their width */
    cr_assert_eq(c->groups.n, 3);
    cr_assert(c->groups.at[0].n == 2 && c->runs[1].group == 0 && c->runs[3].group == 2);
    const hl_compare_mean m = hl_compare_group_mean(c, 0, loss, HL_COMPARE_LAST);
    cr_assert_eq(m.n, 2);
    cr_assert_float_eq(m.mean, 3.5, 1e-6);
    cr_assert_float_eq(m.sd, 0.2 / sqrt(2), 1e-6);
    cr_assert(isnan(hl_compare_group_mean(c, 1, loss, HL_COMPARE_LAST).sd));
    hl_comparison_free(c);

    /* behind the end of the runs the value is the last; without a step there is none */
    c = compared(1000);
    cr_assert(hl_compare_get(c, 0, loss, HL_COMPARE_AT, &v, NULL));
    cr_assert_float_eq(v, 3.4, 1e-6);
    hl_comparison_free(c);
    c = compared(-1);
    cr_assert(!hl_compare_get(c, 0, loss, HL_COMPARE_AT, &v, NULL));
    hl_comparison_free(c);
}

Test(compare, causes)
{
    hl_comparison *c = compared(-1);
    hl_compare_causes causes = {0};
    const size_t loss = hl_compare_metric(c, "train/loss");
    cr_assert_eq(hl_compare_explain(c, loss, HL_COMPARE_LAST, &causes), HL_OK);
    cr_assert_eq(causes.n, 3);
    cr_assert_str_eq(c->options.at[causes.at[0].option].key, "model.attention.softmax");
    cr_assert_str_eq(causes.at[0].best, "softmax1");
    /* 2.4 and 2.5 against 3.4 and 3.6: by hand */
    const double all = 2 * 0.525 * 0.525, within = 0.005 + 0.02;
    cr_assert_float_eq(causes.at[0].share, 2 * all / (2 * all + within), 1e-5);
    cr_assert_float_eq(causes.at[0].best_mean, 2.45, 1e-6);
    cr_assert_lt(causes.at[2].share, causes.at[1].share + 1e-12);
    hl_vec_done(&causes);
    hl_comparison_free(c);
}

static void says(const hl_comparison *c, hl_compare_form form, const char *const *what)
{
    hl_str b = {0};
    const hl_compare_table how = {.form = form, .which = HL_COMPARE_LAST};
    cr_assert_eq(hl_compare_write(c, &how, &b), HL_OK);
    for (; *what; what++)
        cr_assert(strstr(b.s, *what), "no '%s' in\n%s", *what, b.s);
    hl_str_done(&b);
}

Test(compare, tables)
{
    hl_comparison *c = compared(-1);
    says(c, HL_COMPARE_CSV,
         (const char *const[]){"run,model.width,model.attention.softmax,seed,train/loss,",
                               "\r\ntest,64,vanilla,1,3.4000001,7,\r\n",
                               ",2,3.5999999,6.80000019,nan\r\n",
                               "\r\nmean of 2 like test,64,vanilla,,3.5", NULL});
    says(c, HL_COMPARE_TSV, (const char *const[]){"\ntest\t64\tvanilla\t1\t", NULL});
    says(c, HL_COMPARE_MARKDOWN,
         (const char *const[]){"| run | model.width |", "\n|---|---|", "| **2.4** |", "| 3.4 |",
                               "| mean of 2 like test | 64 | vanilla |  | 3.5 (0.14) |", NULL});
    says(c, HL_COMPARE_LATEX,
         (const char *const[]){"\\begin{tabular}{llllrrr}", " & \\textbf{2.4} & ", "\\end{tabular}",
                               NULL});
    hl_comparison_free(c);
}

static void diff_is(const char *a, const char *b, const char *expected)
{
    hl_str out = {0};
    cr_assert_eq(hl_text_diff(a, b, 1, &out), HL_OK);
    cr_assert_str_eq(hl_str_text(&out), expected);
    hl_str_done(&out);
}

Test(compare, scripts)
{
    hl_comparison *c = compared(-1);
    cr_assert_null(c->runs[3].script);
    diff_is(c->runs[0].script, c->runs[1].script, "");
    diff_is(c->runs[0].script, c->runs[2].script, "@ 2\n  b\n- c\n+ C\n  d\n@ 7\n  g\n+ h\n");
    hl_comparison_free(c);
    diff_is("", "", "");
    diff_is("", "x", "@ 1\n+ x\n");
    diff_is("x\ny", "", "@ 1\n- x\n- y\n");
    diff_is("a\nb\nc\n", "c\na\nb\n", "@ 1\n+ c\n  a\n  b\n- c\n");
}

/* A line taken from here and put there: applying the difference to a gives b. */
Test(compare, a_difference_leads_from_one_text_to_the_other)
{
    for (unsigned seed = 1; seed <= 200; seed++) {
        char a[64] = "", b[64] = "", back[64] = "";
        unsigned r = seed * 2654435761u;
        for (int i = 0; i < 12; i++, r = r * 1664525u + 1013904223u) {
            char line[3] = {(char)('a' + (r >> 16) % 3), '\n', 0};
            if ((r >> 24) % 3)
                strcat(a, line);
            if ((r >> 20) % 3)
                strcat(b, line);
        }
        hl_str out = {0};
        cr_assert_eq(hl_text_diff(a, b, 100, &out), HL_OK);
        if (!out.n)
            cr_assert_str_eq(a, b);
        for (const char *p = hl_str_text(&out); *p; p = strchr(p, '\n') + 1)
            if (*p == ' ' || *p == '+')
                strncat(back, p + 2, 2);
        if (out.n)
            cr_assert_str_eq(back, b, "seed %u: %s", seed, out.s);
        hl_str_done(&out);
    }
}

Test(compare, a_run_that_cannot_be_read_is_told_and_left_out)
{
    hl_comparison *c = NULL;
    const char *const wrong[] = {dirs[0], "/nowhere"};
    const hl_compare_wanted w = {.dirs = wrong, .n = 2, .at = -1};
    cr_assert_eq(hl_comparison_new(&w, &c), HL_OK);
    cr_assert(c->n == 1 && c->n_failed == 1 && strstr(c->failed, "nowhere"));
    hl_comparison_free(c);
}
