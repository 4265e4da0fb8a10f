#include "app/formula.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static bool known(void *self, const char *name)
{
    static const char *const names[] = {"train/loss", "eval/loss", "tp", "support", "a"};
    (void)self;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

Test(formula, values)
{
    static const struct {
        const char *text;
        double want; /* names are 2, 3, 4 ... in their order */
    } rows[] = {{"train/loss", 2},
                {"train/loss - eval/loss", -1},
                {"train/loss-eval/loss", -1},
                {"tp/support", 2.0 / 3},
                {"tp / support", 2.0 / 3},
                {"1 - tp/support * 3", -1},
                {"(1 - tp) * -2", 2},
                {"exp(a) / exp(a)", 1},
                {"sqrt(a + 2) + abs(-a) - log(exp(a))", 2},
                {"2e-1*a", 0.4},
                {"a - a - a", -2},
                {"--a", 2},
                {"8 / a / 2", 2}};
    const double v[] = {2, 3, 4};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hl_formula f;
        cr_assert_eq(hl_formula_parse(rows[i].text, known, NULL, &f), HL_OK, "%s: %s", rows[i].text,
                     hl_err_message());
        cr_expect_float_eq(hl_formula_value(&f, v), rows[i].want, 1e-12, "%s", rows[i].text);
    }
}

Test(formula, what_is_wrong_is_told)
{
    static const char *const rows[][2] = {{"", "missing"},
                                          {"1 + 2", "no series"},
                                          {"nothing", "no series 'nothing'"},
                                          {"a +", "missing at 'its end'"},
                                          {"a b", "operator is missing"},
                                          {"(a", ") is missing"},
                                          {"a)", "operator is missing"},
                                          {"a $ a", "operator is missing"},
                                          {"exp a", "no series 'exp'"},
                                          {"1e999 * a", "no number"}};
    hl_formula f;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(hl_formula_parse(rows[i][0], known, NULL, &f), HL_E_ARG, "%s", rows[i][0]);
        cr_expect(strstr(hl_err_message(), rows[i][1]), "%s: %s", rows[i][0], hl_err_message());
    }
    char deep[400];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    cr_expect_eq(hl_formula_parse(deep, known, NULL, &f), HL_E_ARG);
    memset(deep, '-', sizeof deep - 1);
    cr_expect_eq(hl_formula_parse(deep, known, NULL, &f), HL_E_ARG);
    for (size_t i = 0; i + 2 < sizeof deep; i += 2)
        memcpy(deep + i, "a+", 2);
    deep[sizeof deep - 2] = 'a';
    cr_expect_eq(hl_formula_parse(deep, known, NULL, &f), HL_E_ARG, "too long");
}
