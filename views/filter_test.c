#include "views/filter.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/row_field.h"

static const hl_run_row row = {.id = "20260131-142233-7f3a9c",
                               .name = "bert-oeh-s1000",
                               .project = "p",
                               .tags = "table1 bert",
                               .host = "gpu01",
                               .variant = "softmax1",
                               .state = HL_RUN_RUNNING,
                               .step = 120,
                               .loss_tag = "train/loss",
                               .loss = 2.25,
                               .eval_tag = "",
                               .has_max_inf_norm = true,
                               .max_inf_norm = 12.5};

Test(filter, words)
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
        {"max>10 attn:softmax1", true, -1},
        {"tag:table1", true, -1},
        {"\"table1 bert\"", true, -1},
        {"\"bert table1\"", false, -1},
        {"loss<", true, 0},
        {"bert loss<abc", true, 5},
        {"strange:1 bert", true, 0},
        {"name<3", true, 0},
        {"!", true, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int bad;
        cr_expect_eq(hl_filter_fits(cases[i].filter, &row, &bad), cases[i].fits, "%s",
                     cases[i].filter);
        cr_expect_eq(bad, cases[i].bad, "%s: bad at %d", cases[i].filter, bad);
    }
}

Test(filter, not_a_number_is_found)
{
    hl_run_row r = row;
    r.loss = (double)NAN;
    cr_assert(hl_filter_fits("loss=nan", &r, NULL));
    cr_assert(!hl_filter_fits("loss<1e9", &r, NULL));
    cr_assert(!hl_filter_fits("loss=nan", &row, NULL));
}

Test(filter, keys_for_completion_are_those_of_the_language)
{
    int bad;
    const hl_row_field *k;
    for (int i = 0; (k = hl_row_filter_field(i)); i++) {
        char word[32];
        snprintf(word, sizeof word, "%s=1", k->name);
        hl_filter_fits(word, &row, &bad);
        cr_assert_eq(bad, -1, "%s", word);
    }
}

Test(filter, long_words_and_many_stars_end)
{
    char word[5000];
    memset(word, '*', sizeof word);
    word[sizeof word - 1] = 0;
    for (size_t i = 1; i < sizeof word - 1; i += 2)
        word[i] = 'b';
    hl_filter_fits(word, &row, NULL);
}

Test(filter, text_of_other_panes)
{
    cr_assert(hl_filter_fits_text("SPIKE 458", "train/loss spike at step 45812"));
    cr_assert(!hl_filter_fits_text("spike nan", "train/loss spike"));
    cr_assert(hl_filter_fits_text("!nan", "train/loss spike"));
}
