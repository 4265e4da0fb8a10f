#include "engine/base/err.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static hl_status tried(hl_status inner, int *n_after)
{
    hl_status st = HL_OK;
    HL_TRY(inner);
    (*n_after)++;
out:
    return st;
}

static hl_status tried_with_context(hl_status inner)
{
    hl_status st = HL_OK;
    HL_TRY_CTX(inner, "layer %d", 7);
out:
    return st;
}

static hl_status failed(void)
{
    hl_status st = HL_OK;
    HL_FAIL(HL_E_FORMAT, "bad %s", "header");
out:
    return st;
}

Test(err, set_get_clear)
{
    const int line = __LINE__ + 1;
    cr_assert_eq(hl_err_set(HL_E_SHAPE, "%d against %s", 3, "four"), HL_E_SHAPE);
    char origin[64];
    snprintf(origin, sizeof origin, "err_test.c:%d", line);
    cr_expect_str_eq(hl_err_message(), "3 against four");
    cr_expect_str_eq(hl_err_origin(), origin);
    cr_expect_eq(hl_err_code(), HL_E_SHAPE);
    hl_err_clear();
    cr_expect_str_eq(hl_err_message(), "");
    cr_expect_str_eq(hl_err_origin(), "");
    cr_expect_eq(hl_err_code(), HL_OK);
}

Test(err, message_may_quote_the_old_one)
{
    (void)hl_err_set(HL_E_IO, "inner");
    (void)hl_err_set(HL_E_ARG, "outer of (%s)", hl_err_message());
    cr_expect_str_eq(hl_err_message(), "outer of (inner)");
    (void)hl_err_context("about %s", hl_err_message());
    cr_expect_str_eq(hl_err_message(), "about outer of (inner): outer of (inner)");
}

Test(err, long_messages_are_cut_and_terminated)
{
    char big[3 * HL_ERR_MESSAGE_MAX];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    (void)hl_err_set(HL_E_ARG, "%s", big);
    cr_expect_eq(strlen(hl_err_message()), HL_ERR_MESSAGE_MAX - 1);
    (void)hl_err_context("in front");
    cr_expect_eq(strlen(hl_err_message()), HL_ERR_MESSAGE_MAX - 1);
    cr_expect_eq(strncmp(hl_err_message(), "in front: xxx", 13), 0);

    /* every prefix length around the limit */
    for (int n = HL_ERR_MESSAGE_MAX - 12; n < HL_ERR_MESSAGE_MAX + 12; n++) {
        (void)hl_err_set(HL_E_ARG, "tail");
        cr_expect_eq(hl_err_context("%.*s", n, big), HL_E_ARG);
        const size_t have = strlen(hl_err_message());
        cr_expect(have < HL_ERR_MESSAGE_MAX);
        cr_expect(have == 4 || have >= (size_t)n + 2, "prefix of %d: %zu bytes", n, have);
    }
}

Test(err, context_goes_in_front_four_times)
{
    hl_err_clear();
    cr_expect_eq(hl_err_context("nothing failed"), HL_OK);
    cr_expect_str_eq(hl_err_message(), "");
    (void)hl_err_set(HL_E_NOTFOUND, "no file");
    for (int i = 1; i <= 6; i++)
        cr_expect_eq(hl_err_context("c%d", i), HL_E_NOTFOUND);
    cr_expect_str_eq(hl_err_message(), "c4: c3: c2: c1: no file");
    (void)hl_err_set(HL_E_ARG, "fresh");
    (void)hl_err_context("again");
    cr_expect_str_eq(hl_err_message(), "again: fresh");
}

Test(err, long_paths_keep_the_file_name)
{
    (void)hl_err_set_at(HL_E_ARG, "/a/b/c.c", 12, "x");
    cr_expect_str_eq(hl_err_origin(), "c.c:12");
    (void)hl_err_set_at(HL_E_ARG, "plain.c", 1, "x");
    cr_expect_str_eq(hl_err_origin(), "plain.c:1");
    char path[200];
    memset(path, 'n', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    (void)hl_err_set_at(HL_E_ARG, path, 1, "x");
    cr_expect(strlen(hl_err_origin()) < 64);
}

Test(err, every_status_has_its_own_name)
{
    for (int i = 0; i < HL_STATUS_COUNT; i++) {
        const char *name = hl_status_name((hl_status)i);
        cr_assert_not_null(name, "status %d", i);
        cr_expect(i == HL_OK ? strcmp(name, "OK") == 0 : strncmp(name, "E_", 2) == 0);
        for (int j = 0; j < i; j++)
            cr_expect_str_neq(name, hl_status_name((hl_status)j));
    }
    cr_expect_str_eq(hl_status_name(HL_E_CANCELLED), "E_CANCELLED");
    cr_expect_str_eq(hl_status_name(HL_E_INTERNAL), "E_INTERNAL");
    cr_expect_str_eq(hl_status_name((hl_status)-1), "E_INTERNAL");
    cr_expect_str_eq(hl_status_name(HL_STATUS_COUNT), "E_INTERNAL");
}

Test(err, no_memory_names_what_and_how_much)
{
    cr_expect_eq(hl_err_nomem("the vocabulary", (size_t)3 << 19), HL_E_NOMEM);
    cr_expect_not_null(strstr(hl_err_message(), "the vocabulary"));
    cr_expect_not_null(strstr(hl_err_message(), "1.5 MiB"));
    cr_expect_eq(hl_err_nomem("all of it", SIZE_MAX), HL_E_NOMEM);
}

Test(err, macros)
{
    int n_after = 0;
    cr_expect_eq(tried(HL_OK, &n_after), HL_OK);
    cr_expect_eq(n_after, 1);
    cr_expect_eq(tried(HL_E_IO, &n_after), HL_E_IO);
    cr_expect_eq(n_after, 1);
    cr_expect_eq(failed(), HL_E_FORMAT);
    cr_expect_str_eq(hl_err_message(), "bad header");
    cr_expect_eq(tried_with_context(hl_err_code()), HL_E_FORMAT);
    cr_expect_str_eq(hl_err_message(), "layer 7: bad header");
    cr_expect_eq(tried_with_context(HL_OK), HL_OK);
    cr_expect_str_eq(hl_err_message(), "layer 7: bad header");
}
