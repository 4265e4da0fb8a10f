#include "app/list/filter.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/hl_app.h"
#include "app/store/run_known.h"
#include "engine/base/clock.h"

/* Two runs: the first is asked, the second has keys that the first has not. */
static hl_run_row rows[2];
static const hl_run_rows all = {.at = rows, .n = 2};

static const hl_run_value config[] = {{"model.kind", "nn.bert", (double)NAN},
                                      {"model.norm.eps", "1e-5", 1e-5},
                                      {"optim.eps", "1e-8", 1e-8},
                                      {"optim.lr", "0.0005", 0.0005},
                                      {"run.script", "exp/bert_oeh.lua", (double)NAN},
                                      {"save.best", "eval/score:max", (double)NAN},
                                      {"seed", "1000", 1000}};
static const hl_run_scalar metrics[] = {
    {"eval/ppl", 9, 0, 5.25, 5.05, 90, 12, 900, 800, 0, -1},
    {"eval/score", 9, 0, 1, .5, 2, 1, 900, 300, 500, -1},
    {"train/loss", 90, 3, (double)NAN, 1.5, 9, 2, 900, 800, 0, 850}};

static void make_rows(void)
{
    rows[0] = (hl_run_row){.id = "20260131-142233-7f3a9c",
                           .name = "bert-oeh-s1000",
                           .project = "p",
                           .tags = "table1 bert",
                           .host = "gpu01",
                           .variant = "softmax1",
                           .note = "rerun (after fix)",
                           .dir = "runs/1",
                           .reason = "",
                           .message = "",
                           .phase = "",
                           .checkpoint = "",
                           .state = HL_RUN_RUNNING,
                           .step = 120,
                           .t_start_us = hl_clock_wall_us() - INT64_C(7200000000),
                           .loss_tag = "train/loss",
                           .loss = 2.25,
                           .eval_tag = "",
                           .mine = true,
                           .has_max_inf_norm = true,
                           .max_inf_norm = 12.5,
                           .config = hl_run_values_copy(config, 7),
                           .metrics = hl_run_metrics_copy(metrics, 3)};
    rows[1] = rows[0];
    rows[1].config = hl_run_values_copy(&(hl_run_value){"deq.tol", "0.001", .001}, 1);
    rows[1].metrics = hl_run_metrics_copy(&(hl_run_scalar){.tag = "deq/iterations"}, 1);
}

static void drop_rows(void)
{
    for (int i = 0; i < 2; i++) {
        hl_run_values_unref(rows[i].config);
        hl_run_metrics_unref(rows[i].metrics);
    }
}

TestSuite(filter, .init = make_rows, .fini = drop_rows);

/* Does the first row fit? *bad: where the filter is wrong, or -1. */
static bool fits(const char *text, const hl_run_rows *among, int *bad, char message[200])
{
    hl_filter *f;
    cr_assert_eq(hl_filter_new(text, among, &f), HL_OK);
    const bool yes = hl_filter_fits(f, &rows[0]);
    const hl_filter_bad *t = hl_filter_trouble(f);
    *bad = t ? (int)t->at : -1;
    snprintf(message, 200, "%s", t ? t->message : "");
    hl_filter_free(f);
    return yes;
}

Test(filter, language)
{
    static const struct {
        const char *filter;
        bool fits;
        int bad;
    } cases[] = {
        {"", true, -1},
        {"   ", true, -1},
        {"bert", true, -1},
        {"BERT 7f3a", true, -1},
        {"bert opt", false, -1},
        {"!opt", true, -1},
        {"!bert", false, -1},
        {"not bert", false, -1},
        {"b*s1000", true, -1},
        {"status:running,paused", true, -1},
        {"status:done", false, -1},
        {"!status:done", true, -1},
        {"name:b*s1", true, -1},
        {"name:b*s2", false, -1},
        {"name:*", true, -1},
        {"name=bert", false, -1},
        {"name=Bert-OEH-s1000", true, -1},
        {"name!=bert", true, -1},
        {"loss<2.5", true, -1},
        {"loss<2.25", false, -1},
        {"loss<=2.25 step>=120", true, -1},
        {"step>120", false, -1},
        {"eval<5", false, -1}, /* unknown is not small */
        {"eval!=5", true, -1},
        {"max>10 attn:softmax1", true, -1},
        {"tag:table1", true, -1},
        {"\"table1 bert\"", true, -1},
        {"\"bert table1\"", false, -1},
        /* or, and, parentheses */
        {"opt or bert", true, -1},
        {"opt|bert", true, -1},
        {"opt | ham", false, -1},
        {"opt or bert status:done", false, -1}, /* and binds tighter */
        {"(opt or bert) status:running", true, -1},
        {"bert and oeh", true, -1},
        {"bert AND NOT (oeh or opt)", false, -1},
        {"!(opt | status:done)", true, -1},
        {"! ! bert", true, -1},
        {"\"or\"", false, -1},
        {"note:\"(after fix)\"", true, -1},
        /* regular expressions */
        {"name:/^bert.*s[12]000$/", true, -1},
        {"name:/^bert.*s[34]000$/", false, -1},
        {"/oeh|opt/", true, -1},
        {"name:/(opt|bert)-oeh/ loss<3", true, -1},
        {"script:/exp/bert_oeh.lua", false, -1}, /* a path, as text */
        {"script:bert_oeh.lua", true, -1},
        {"name:\"b*s1\"", false, -1}, /* quoted: no stars */
        /* configuration and metrics */
        {"optim.lr>1e-4", true, -1},
        {"optim.lr=5e-4", true, -1},
        {"lr>1e-4", true, -1}, /* the only key that ends so */
        {"eps<1", true, 0},    /* there are two */
        {"seed=1000", true, -1},
        {"seed:1000", true, -1},
        {"model:bert", true, -1},
        {"eval/ppl<6", true, -1},
        {"eval/ppl.last<5.1", false, -1},
        {"eval/ppl.min<5.1", true, -1},
        {"eval/ppl.min.step=800", true, -1},
        {"eval/ppl.max=90 eval/ppl.mean=12 eval/ppl.n=9", true, -1},
        {"eval/ppl.best<5.1", true, -1},
        {"eval/score.best=2 eval/score.best.step=500", true, -1}, /* save.best says max */
        {"train/loss.last=nan", true, -1},
        {"train/loss.bad=3 train/loss.bad.step=850", true, -1},
        {"eval/ppl.bad.step>0", false, -1},
        {"deq.tol<1", false, -1},
        {"has:eval/ppl", true, -1},
        {"has:deq.tol", false, -1},
        {"!has:deq.tol", true, -1},
        /* flags and ages */
        {"mine", true, -1},
        {"diverged", false, -1},
        {"!diverged !archived", true, -1},
        {"age>1h age<3h", true, -1},
        {"age<5d", true, -1},
        {"age>1w", false, -1},
        /* half typed, or wrong: filters by the rest */
        {"loss<", true, 0},
        {"bert loss<abc", true, 5},
        {"opt loss<abc", false, 4},
        {"strange:1 bert", true, 0},
        {"name<3", true, 0},
        {"!", true, 0},
        {"bert or", true, 5},
        {"bert and", true, 5},
        {"or bert", true, 0},
        {"(bert", true, 0},
        {"opt)", false, 3},
        {"bert ) opt", false, 5},
        {"()", true, -1},
        {"not (", true, 4},
        {"name:/^bert", true, 0},
        {"name:/[/", true, 0},
        {"name:/a{1000}/", true, 0},
        {"name:/(a)\\1/", true, 0},
        {"age<3", true, 0},
        {"status:finished", true, 0},
        {"<3", true, 0},
        {"has:", true, 0},
        {"has:nothing", true, 0},
        {"opt or strange:1", false, 7},
    };
    char why[200];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int bad;
        cr_expect_eq(fits(cases[i].filter, &all, &bad, why), cases[i].fits, "%s: %s",
                     cases[i].filter, why);
        cr_expect_eq(bad, cases[i].bad, "%s: bad at %d: %s", cases[i].filter, bad, why);
    }
}

Test(filter, says_what_is_wrong)
{
    static const struct {
        const char *filter, *message;
    } cases[] = {
        {"optim.rl<1", "no run has 'optim.rl'; did you mean optim.lr"},
        {"eval/pppl.min<1", "did you mean eval/ppl"},
        {"eps<1", "2 keys end in 'eps'"},
        {"name<3", "name is text: it takes : = and !="},
        {"loss<abc", "'abc' is no number"},
        {"loss<", "something stands behind <"},
        {"age<3", "30s, 5m, 2h, 3d or 1w"},
        {"status:dome", "no state 'dome'; did you mean done"},
        {"(bert", "not closed"},
        {"bert or", "nothing stands behind"},
        {"name:/^be", "ends with /"},
        {"name:/a{9}/", "not known in regular expressions"},
    };
    char why[200];
    int bad;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fits(cases[i].filter, &all, &bad, why);
        cr_expect(strstr(why, cases[i].message), "%s: %s", cases[i].filter, why);
    }
    fits("optim.rl<1", NULL, &bad, why); /* among no runs nobody can know */
    cr_expect_eq(bad, -1, "%s", why);
}

Test(filter, asks_for_archived_runs)
{
    hl_filter *f;
    cr_assert_eq(hl_filter_new("bert or !archived", &all, &f), HL_OK);
    cr_expect(hl_filter_asks_archived(f));
    hl_filter_free(f);
    cr_assert_eq(hl_filter_new("\"archived\"", &all, &f), HL_OK);
    cr_expect(!hl_filter_asks_archived(f));
    hl_filter_free(f);
}

static bool try_key(void *self, const char *key)
{
    hl_run_key k;
    int *n = self;
    cr_expect_eq(hl_run_key_find(key, &all, &k), HL_OK, "%s", key);
    (void)hl_run_key_ask(&k, &rows[0]);
    ++*n;
    return true;
}

Test(filter, every_key_that_is_offered_is_known)
{
    int n = 0, fields = 0;
    while (hl_run_field_at(fields))
        fields++;
    hl_run_keys_each(&all, try_key, &n);
    cr_expect_eq(n, fields + 7 + 3 + 2, "%d", n);
}

/* Any text: no crash, no loop; what was cut short of a filter fits or not, but says so. */
Test(filter, damaged_text)
{
    static const char source[] =
        "(name:/^b(e|r)t/ or \"a b\"|!x) and eval/ppl.min<=6 age<2h ! has:optim.lr status:run,done";
    char text[6000], why[200];
    uint64_t seed = 88172645463325252u;
    int bad;
    for (int round = 0; round < 3000; round++) {
        size_t n = sizeof source - 1;
        memcpy(text, source, sizeof source);
        for (int k = 0; k < 4; k++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            text[seed % n] = source[(seed >> 20) % n];
            if (seed >> 40 & 1)
                text[n = 1 + (seed >> 8) % n] = 0;
        }
        fits(text, &all, &bad, why);
        cr_assert(bad < (int)n);
    }
    memset(text, '(', sizeof text);
    text[sizeof text - 1] = 0;
    fits(text, &all, &bad, why);
    cr_expect_neq(bad, -1);
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "b ", 2);
    fits(text, &all, &bad, why);
    cr_expect(strstr(why, "too long"), "%s", why);
    for (size_t i = 0; i + 1 < sizeof text; i++)
        text[i] = i % 2 ? 'b' : '*';
    fits(text, &all, &bad, why);
}

Test(filter, text_of_other_panes)
{
    cr_assert(hl_filter_fits_text("SPIKE 458", "train/loss spike at step 45812"));
    cr_assert(!hl_filter_fits_text("spike nan", "train/loss spike"));
    cr_assert(hl_filter_fits_text("!nan", "train/loss spike"));
}
