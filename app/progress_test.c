/* What the progress display writes, byte by byte: on a terminal, into a pipe, as JSON. */
#define _GNU_SOURCE
#include "app/progress.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"

static int64_t fake_ns = 1;

static int64_t fake_clock(void)
{
    return fake_ns;
}

typedef struct fixture {
    hl_progress *p;
    hl_progress_options options;
    int err_read, out_read; /* our ends */
    int err_fd, out_fd;
    char text[65536];
} fixture;

static void open_pipe(int *ours, int *theirs)
{
    int end[2];
    cr_assert(pipe(end) == 0);
    fcntl(end[0], F_SETFL, O_NONBLOCK);
    *ours = end[0];
    *theirs = end[1];
}

static void open_terminal(int *ours, int *theirs, int width)
{
    struct winsize w = {.ws_row = 24, .ws_col = (unsigned short)width};
    struct termios raw;
    memset(&raw, 0, sizeof raw);
    cfmakeraw(&raw);
    cr_assert(openpty(ours, theirs, NULL, &raw, &w) == 0);
    fcntl(*ours, F_SETFL, O_NONBLOCK);
}

/* width 0: standard error is a pipe */
static void begin(fixture *f, int width)
{
    signal(SIGPIPE, SIG_IGN);
    setenv("HOPLAB_TEST_CLOCK", "1935497191", 1); /* 2031-05-02T14:06:31Z */
    setenv("TERM", "xterm", 1);
    fake_ns = 1;
    if (width)
        open_terminal(&f->err_read, &f->err_fd, width);
    else
        open_pipe(&f->err_read, &f->err_fd);
    open_pipe(&f->out_read, &f->out_fd);
    f->options.err_fd = f->err_fd;
    f->options.out_fd = f->out_fd;
    f->options.clock_ns = fake_clock;
    if (!f->options.unit)
        f->options.unit = "tok";
    if (!f->options.utf8)
        f->options.utf8 = -1;
    if (!f->options.color)
        f->options.color = -1;
    cr_assert(hl_progress_new(&f->options, &f->p) == HL_OK);
}

static void end(fixture *f)
{
    hl_progress_free(f->p);
    close(f->err_read);
    close(f->out_read);
    close(f->err_fd);
    close(f->out_fd);
}

/* What was written since the last look. */
static const char *seen(fixture *f, int fd)
{
    size_t n = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (n < sizeof f->text - 1 && poll(&p, 1, 30) > 0) {
        ssize_t k = read(fd, f->text + n, sizeof f->text - 1 - n);
        if (k <= 0)
            break;
        n += (size_t)k;
    }
    f->text[n] = '\0';
    return f->text;
}

static const hl_progress_step_info typical = {.step = 46200,
                                              .steps = 200000,
                                              .loss = 2.41712,
                                              .grad_norm = 0.82,
                                              .lr = 9.3e-5,
                                              .max_abs = 12.4,
                                              .n_non_finite = 0,
                                              .n_items = 252};

/* n steps of 109 ms that end with `last`, the losses before it alternating. */
static void run_steps(fixture *f, hl_progress_step_info last, int n)
{
    for (int i = n - 1; i >= 0; i--) {
        hl_progress_step_info s = last;
        s.step -= i;
        if (i > 0) {
            s.loss = 2.4 + (i % 2 ? 0.02 : -0.02);
            s.grad_norm = 0.8 + (i % 2 ? 0.1 : -0.1);
        }
        fake_ns += 109000000;
        hl_progress_step(f->p, &s);
    }
}

/* The last line drawn in place. */
static const char *last_drawn(fixture *f)
{
    const char *text = seen(f, f->err_read), *line = strstr(text, "\r\x1b[K");
    cr_assert(line, "%s", text);
    for (const char *next = line; (next = strstr(next + 1, "\r\x1b[K"));)
        line = next;
    return line + 4;
}

Test(progress, terminal_widths)
{
    static const struct {
        int width;
        const char *line;
    } cases[] = {
        {20, "46200/200000 2.4171"},
        {80, "step 46200/200000 23.1% loss 2.4171 (+0.8z) gnorm 0.82 (+0.2z) 109 ms eta 4h39m"},
        {200,
         "step 46200/200000 23.1% [######........................] loss 2.4171 (+0.8z) gnorm 0.82 "
         "(+0.2z) lr 9.30e-05 109 ms 2.31k tok/s eta 4h39m max|x| 12.4 nan 0"},
        {5, "4620"},
        {2, "4"},
        {1, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f = {0};
        begin(&f, cases[i].width);
        run_steps(&f, typical, 41);
        fake_ns += 1000000000;
        hl_progress_step_info s = typical;
        hl_progress_step(f.p, &s);
        (void)seen(&f, f.err_read);
        hl_progress_finish(f.p, NULL, NULL);
        const char *line = last_drawn(&f);
        cr_assert(strncmp(line, cases[i].line, strlen(cases[i].line)) == 0 &&
                      strcmp(line + strlen(cases[i].line), "\n") == 0,
                  "width %d: %s", cases[i].width, line);
        end(&f);
    }
}

/* At any width, with any values: one line, not wider than the window. */
Test(progress, never_wider_than_the_window)
{
    for (int width = 1; width <= 260; width += 3) {
        fixture f = {.options = {.utf8 = 1, .unit = "sequences"}};
        begin(&f, width);
        hl_progress_phase(f.p, "lectura de datos \xe6\x95\xb0\xe6\x8d\xae", 0.318);
        hl_progress_step_info s = {INT64_MAX, INT64_MAX, -1e300,    1e300,
                                   1e-300,    1e300,     INT64_MAX, 1};
        hl_progress_step(f.p, &s);
        fake_ns += 300000000;
        s.step -= 1000;
        s.loss = (double)NAN;
        hl_progress_step(f.p, &s);
        const char *text = seen(&f, f.err_read);
        while (*text) {
            cr_assert(strncmp(text, "\r\x1b[K", 4) == 0);
            int columns = 0;
            for (text += 4; *text && *text != '\r'; text++)
                columns += ((unsigned char)*text & 0xC0) != 0x80;
            cr_assert(columns < width || columns == 0, "width %d: %d", width, columns);
        }
        end(&f);
    }
}

Test(progress, terminal_rate_and_bar)
{
    fixture f = {.options = {.utf8 = 1}};
    begin(&f, 70);
    hl_progress_phase(f.p, "reading data", 0.318);
    cr_assert_str_eq(seen(&f, f.err_read),
                     "\r\x1b[Kreading data 31% "
                     "[\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2591\u2591\u2591"
                     "\u2591\u2591\u2591\u2591\u2591\u2591\u2591\u2591\u2591\u2591\u2591\u2591"
                     "\u2591\u2591\u2591\u2591"
                     "\u2591\u2591] 0ms");
    hl_progress_phase(f.p, "reading data", 0.32); /* too soon */
    cr_assert_str_eq(seen(&f, f.err_read), "");
    hl_progress_step_info s = {.steps = 5000, .grad_norm = -1, .lr = -1, .max_abs = -1};
    int n = 0;
    for (int i = 1; i <= 1000; i++) { /* one second: at most 5 lines and the first */
        fake_ns += 1000000;
        s.step = i;
        s.loss = 1.0 / i;
        s.n_non_finite = -1;
        hl_progress_step(f.p, &s);
    }
    const char *text = seen(&f, f.err_read);
    for (const char *p = text; (p = strchr(p, '\r')); p++)
        n++;
    cr_assert(n == 5, "%d: %s", n, text);
    s.step = 5000;
    hl_progress_step(f.p, &s); /* the last one always */
    cr_assert(strstr(seen(&f, f.err_read), "step 5000/5000 100.0%"));
    end(&f);
}

Test(progress, nan_and_color)
{
    fixture f = {.options = {.color = 1}};
    begin(&f, 80);
    hl_progress_step_info s = typical;
    s.loss = (double)NAN;
    s.grad_norm = (double)INFINITY;
    s.n_non_finite = 3;
    hl_progress_step(f.p, &s);
    cr_assert_str_eq(last_drawn(&f),
                     "step 46200/200000 23.1% \x1b[31mloss nan\x1b[0m "
                     "\x1b[31mgnorm inf\x1b[0m lr 9.30e-05 max|x| 12.4 \x1b[31mnan 3\x1b[0m");
    s = typical; /* a NaN leaves no trace in the statistics */
    run_steps(&f, s, 41);
    s.loss = 2.8;
    s.step++;
    fake_ns += 1000000000;
    hl_progress_step(f.p, &s);
    cr_assert(strstr(last_drawn(&f), "loss 2.8000 \x1b[33m(+"));
    end(&f);
    setenv("NO_COLOR", "1", 1);
    fixture g = {0};
    begin(&g, 80);
    s.loss = (double)NAN;
    hl_progress_step(g.p, &s);
    cr_assert(strchr(last_drawn(&g), '\x1b') == NULL);
    end(&g);
}

Test(progress, terminal_events)
{
    fixture f = {0};
    begin(&f, 40);
    hl_progress_event(f.p, HL_PROGRESS_INFO, "run 7f3a9c", NULL);
    cr_assert_str_eq(seen(&f, f.err_read), "2031-05-02T14:06:31Z run 7f3a9c\n");
    hl_progress_step_info s = {3, 10, 1.5, -1, -1, -1, -1, 0};
    hl_progress_step(f.p, &s);
    (void)seen(&f, f.err_read);
    hl_progress_event(f.p, HL_PROGRESS_CHECKPOINT,
                      "ckpt/step-3 \x1b[2J\xc2\x9b"
                      "1.2 MiB\r\n  two",
                      "{\"path\":\"ckpt/step-3\"}");
    cr_assert_str_eq(seen(&f, f.err_read),
                     "\r\x1b[K2031-05-02T14:06:31Z step 3 checkpoint: ckpt/step-3 ?[2J?1.2 MiB?\n"
                     "  two\n\r\x1b[K3/10 30.0% [####...........] 1.5000");
    hl_progress_finish(f.p, "metric value\nppl 9.5", "{}");
    cr_assert(hl_str_ends(seen(&f, f.err_read), "1.5000\n"));
    cr_assert_str_eq(seen(&f, f.out_read), "metric value\nppl 9.5\n");
    end(&f);
}

Test(progress, plain)
{
    fixture f = {0};
    begin(&f, 0);
    hl_progress_phase(f.p, "reading data", -1);
    cr_assert_str_eq(seen(&f, f.err_read), "2031-05-02T14:06:31Z reading data 0ms\n");
    hl_progress_step_info s = typical;
    s.step = 46200 - 300;
    hl_progress_step(f.p, &s); /* the first */
    cr_assert_str_eq(seen(&f, f.err_read),
                     "2031-05-02T14:06:31Z step 45900/200000 22.9% loss 2.4171 gnorm 0.82 lr "
                     "9.30e-05 max|x| 12.4 nan 0\n");
    run_steps(&f, typical, 300); /* 32.7 s: one more */
    const char *text = seen(&f, f.err_read);
    cr_assert(strchr(text, '\n') == text + strlen(text) - 1, "%s", text);
    cr_assert(!strchr(text, '\r') && !strchr(text, '\x1b'));
    hl_progress_event(f.p, HL_PROGRESS_EVAL, "ppl 9.5", "{\"ppl\":9.5}");
    cr_assert_str_eq(seen(&f, f.err_read), "2031-05-02T14:06:31Z step 46200 eval: ppl 9.5\n");
    hl_progress_show(f.p);
    const char *full =
        "2031-05-02T14:06:31Z step 46200/200000 23.1% loss 2.4171 (+0.8z) gnorm 0.82 "
        "(+0.2z) lr 9.30e-05 109 ms 2.31k tok/s eta 4h39m max|x| 12.4 nan 0\n";
    cr_assert_str_eq(seen(&f, f.err_read), full);
    hl_progress_finish(f.p, "table\n", "{\"state\":\"done\"}");
    cr_assert_str_eq(seen(&f, f.err_read), ""); /* that step was shown */
    cr_assert_str_eq(seen(&f, f.out_read), "table\n");
    end(&f);
}

Test(progress, every_steps_and_dumb_terminal)
{
    fixture f = {.options = {.every_steps = 10}};
    begin(&f, 80);
    hl_progress_free(f.p);
    setenv("TERM", "dumb", 1);
    cr_assert(hl_progress_new(&f.options, &f.p) == HL_OK);
    run_steps(&f, (hl_progress_step_info){100, 1000, 1, -1, -1, -1, -1, 0}, 100);
    const char *text = seen(&f, f.err_read);
    int n = 0;
    for (const char *p = text; (p = strchr(p, '\n')); p++)
        n++;
    cr_assert(n == 11 && !strchr(text, '\x1b'), "%d %s", n, text); /* step 1, 10, 20, ... 100 */
    end(&f);
}

Test(progress, json)
{
    fixture f = {.options = {.json = true, .every_steps = 1}};
    begin(&f, 0);
    hl_progress_phase(f.p, "reading data", 0.25);
    cr_assert_str_eq(seen(&f, f.out_read), "{\"v\":1,\"t\":1935497191.000,\"ev\":\"phase\","
                                           "\"phase\":\"reading data\",\"fraction\":0.25}\n");
    hl_progress_step_info s = typical;
    s.step = 1;
    s.loss = (double)NAN;
    s.n_items = 0;
    hl_progress_step(f.p, &s);
    cr_assert_str_eq(seen(&f, f.out_read),
                     "{\"v\":1,\"t\":1935497191.000,\"ev\":\"step\",\"step\":1,\"steps\":200000,"
                     "\"loss\":\"NaN\",\"grad_norm\":0.82,\"lr\":9.3e-05,\"unit\":\"tok\","
                     "\"max_abs\":12.4,\"n_non_finite\":0}\n");
    run_steps(&f, typical, 41);
    const char *text = seen(&f, f.out_read), *last = NULL;
    int n = 0;
    for (const char *p = text; *p; p = strchr(p, '\n') + 1, n++) {
        hl_json *line = NULL;
        cr_assert(hl_json_parse(p, (size_t)(strchr(p, '\n') - p), &line) == HL_OK);
        hl_json_free(line);
        last = p;
    }
    cr_assert(n == 41);
    cr_assert_str_eq(last, "{\"v\":1,\"t\":1935497191.000,\"ev\":\"step\",\"step\":46200,"
                           "\"steps\":200000,\"loss\":2.41712,\"loss_z\":0.856,\"grad_norm\":0.82,"
                           "\"grad_norm_z\":0.1974,\"lr\":9.3e-05,\"step_ms\":109,"
                           "\"items_per_s\":2312,\"unit\":\"tok\",\"eta_s\":1.676e+04,"
                           "\"max_abs\":12.4,\"n_non_finite\":0}\n");
    hl_progress_event(f.p, HL_PROGRESS_ALERT, "loss \"rose\"\n", "{\"z\":4.5}");
    cr_assert_str_eq(seen(&f, f.out_read),
                     "{\"v\":1,\"t\":1935497191.000,\"ev\":\"alert\",\"step\":46200,"
                     "\"text\":\"loss \\\"rose\\\"\\n\",\"z\":4.5}\n");
    hl_progress_phase(f.p, "last evaluation", -1);
    (void)seen(&f, f.out_read);
    hl_progress_finish(f.p, "table", "{\"state\":\"done\",\"reason\":null}");
    cr_assert_str_eq(seen(&f, f.out_read), "{\"v\":1,\"t\":1935497191.000,\"ev\":\"end\","
                                           "\"step\":46200,\"state\":\"done\",\"reason\":null}\n");
    cr_assert_str_eq(seen(&f, f.err_read), "table\n");
    end(&f);
}

Test(progress, json_by_time)
{
    fixture f = {.options = {.json = true}};
    begin(&f, 0);
    hl_progress_step_info s = {0, 5000, 1, -1, -1, -1, -1, 0};
    for (int i = 1; i <= 5000; i++) {
        fake_ns += 200000; /* one second in all: the first, 9 or 10 in between, the last */
        s.step = i;
        hl_progress_step(f.p, &s);
    }
    const char *text = seen(&f, f.out_read);
    int n = 0;
    for (const char *p = text; (p = strchr(p, '\n')); p++)
        n++;
    cr_assert(n == 11, "%d", n);
    cr_assert(strstr(text, "\"step\":1,") && strstr(text, "\"step\":5000,"));
    end(&f);
}

Test(progress, quiet)
{
    fixture f = {.options = {.quiet = true}};
    begin(&f, 80);
    hl_progress_phase(f.p, "reading data", 0.25);
    run_steps(&f, typical, 41);
    hl_progress_event(f.p, HL_PROGRESS_EVAL, "ppl 9.5", NULL);
    cr_assert_str_eq(seen(&f, f.err_read), "");
    hl_progress_event(f.p, HL_PROGRESS_ERROR, "exp.lua:7: no model", NULL);
    cr_assert_str_eq(seen(&f, f.err_read),
                     "2031-05-02T14:06:31Z step 46200 error: exp.lua:7: no model\n");
    hl_progress_finish(f.p, "table", NULL);
    cr_assert_str_eq(seen(&f, f.err_read), "");
    cr_assert_str_eq(seen(&f, f.out_read), "");
    end(&f);
}

/* An evaluation of a minute does not bend the estimate. */
Test(progress, eta_is_robust)
{
    fixture f = {.options = {.json = true, .every_steps = 1000000}};
    begin(&f, 0);
    hl_progress_step_info s = {0, 1000, 1, -1, -1, -1, -1, 0};
    for (int i = 1; i <= 500; i++) {
        fake_ns += i % 50 == 0 ? 60000000000 : 500000000;
        s.step = i;
        hl_progress_step(f.p, &s);
    }
    (void)seen(&f, f.err_read);
    hl_progress_show(f.p);
    cr_assert(strstr(seen(&f, f.err_read), "500 ms eta 4m10s"));
    end(&f);
}

Test(progress, reader_gone_or_asleep)
{
    fixture f = {.options = {.json = true, .every_steps = 1}};
    begin(&f, 0);
    run_steps(&f, typical, 5000); /* nobody reads: nothing blocks */
    const char *text = seen(&f, f.out_read);
    cr_assert(strlen(text) > 40000);
    const char *nl = strrchr(text, '\n');
    cr_assert(nl);
    close(f.out_read);
    run_steps(&f, typical, 50);
    hl_progress_event(f.p, HL_PROGRESS_INFO, "still here", NULL);
    int64_t t = hl_clock_mono_ns();
    hl_progress_finish(f.p, NULL, NULL);
    cr_assert(hl_clock_mono_ns() - t < 1000000000);
    f.out_read = dup(0);
    end(&f);
}

/* The terminal hangs up and the stream leads to a log: plain lines go on there. */
Test(progress, hang_up)
{
    fixture f = {0};
    begin(&f, 80);
    run_steps(&f, typical, 5);
    cr_assert(strchr(seen(&f, f.err_read), '\r'));
    close(f.err_read);
    run_steps(&f, typical, 50); /* dead terminal, not yet redirected */
    char path[] = "/tmp/hoplab-progress-test-XXXXXX";
    int log = mkstemp(path);
    cr_assert(log >= 0 && dup2(log, f.err_fd) >= 0);
    run_steps(&f, typical, 600);
    hl_progress_event(f.p, HL_PROGRESS_CONTROL, "paused", NULL);
    f.err_read = open(path, O_RDONLY);
    unlink(path);
    close(log);
    const char *text = seen(&f, f.err_read);
    cr_assert(strstr(text, "step 46200 control: paused\n") && !strchr(text, '\x1b'), "%s", text);
    cr_assert(strstr(text, "Z step 4"));
    end(&f);
}

/* Once warm a step allocates nothing. */
Test(progress, no_allocation)
{
    fixture f = {.options = {.json = true, .every_steps = 1}};
    begin(&f, 80);
    run_steps(&f, typical, 100);
    (void)seen(&f, f.out_read);
    (void)seen(&f, f.err_read);
    int64_t before = hl_mem_get_stats().n_alloc;
    run_steps(&f, typical, 100);
    cr_assert(hl_mem_get_stats().n_alloc == before);
    end(&f);
}
