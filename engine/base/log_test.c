#include "engine/base/log.h"

#include <criterion/criterion.h>
#include <string.h>

typedef struct heard {
    int n;
    hl_log_level level;
    char text[2048];
} heard;

static void listen(void *arg, hl_log_level level, const char *message)
{
    heard *h = arg;
    h->n++;
    h->level = level;
    cr_assert(strlen(message) < sizeof h->text);
    strncpy(h->text, message, sizeof h->text - 1);
}

Test(log, goes_to_the_sink)
{
    heard a = {0}, b = {0};
    hl_log(HL_LOG_ERROR, "nobody listens");
    hl_log_set_sink(listen, &a);
    hl_log(HL_LOG_WARN, "%s at step %d", "loss spike", 12);
    cr_expect(a.n == 1 && a.level == HL_LOG_WARN);
    cr_expect_str_eq(a.text, "loss spike at step 12");
    hl_log_set_sink(listen, &b);
    hl_log(HL_LOG_DEBUG, "x");
    cr_expect(a.n == 1 && b.n == 1 && b.level == HL_LOG_DEBUG);
    hl_log_set_sink(NULL, NULL);
    hl_log(HL_LOG_ERROR, "x");
    cr_expect(a.n == 1 && b.n == 1);
}

Test(log, long_messages_are_cut)
{
    heard a = {0};
    hl_log_set_sink(listen, &a);
    hl_log(HL_LOG_INFO, "%*d", 5000, 1);
    cr_expect_eq(a.n, 1);
    cr_expect(strlen(a.text) >= 500 && strlen(a.text) <= 1023);
}

Test(log, level_names)
{
    cr_expect_str_eq(hl_log_level_name(HL_LOG_DEBUG), "debug");
    cr_expect_str_eq(hl_log_level_name(HL_LOG_INFO), "info");
    cr_expect_str_eq(hl_log_level_name(HL_LOG_WARN), "warning");
    cr_expect_str_eq(hl_log_level_name(HL_LOG_ERROR), "error");
}
