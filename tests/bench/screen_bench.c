/* What the screen costs (docs/benchmarks.md): run by hand, never a test with a limit.
 *
 *   screen_bench <hoplab> <sample_store> [PART]
 *
 * The parts: the first picture with 1 000 runs and what a key costs there, redrawing a chart of 100
 * 000 points in all its ways, a run of 10 million points, a spike among 10^8, the bytes of a
 * picture with a new point, an idle screen beside 20 live runs. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "tests/screens/harness.h"
#include "views/screen.h"

static char folder[] = "/tmp/hoplab-bench.XXXXXX";
static const char *hoplab, *sample_store;

/* The store's own program with these words behind it. */
static void sample(const char *words)
{
    char command[1200];
    snprintf(command, sizeof command, "%s %s", sample_store, words);
    if (system(command) != 0)
        fprintf(stderr, "failed: %s\n", command);
}

static double since_ms(int64_t from_ns)
{
    return (double)(hl_clock_mono_ns() - from_ns) / 1e6;
}

/* User and system time of a process, in seconds. */
static double cpu_of(int pid)
{
    char path[64];
    long user = 0, system_time = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    if (fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user,
               &system_time) != 2)
        user = system_time = 0;
    fclose(f);
    return (double)(user + system_time) / (double)sysconf(_SC_CLK_TCK);
}

/* Copies of one run: only their directories differ. */
static void make_many(int n)
{
    char command[400];
    sample("many many 1");
    snprintf(command, sizeof command,
             "cd many && run=$(ls) && for i in $(seq 2 %d); do cp -r $run 20260131-000000-$(printf "
             "%%06x $i); done",
             n);
    if (system(command) != 0)
        fprintf(stderr, "failed: %s\n", command);
}

/* From the start of the process to a list of 1 000 runs on the terminal. The first time nothing is
 * remembered of them; leaving the screen writes it down. */
static void first_picture(void)
{
    const char *argv[] = {hoplab, "--runs", "many", NULL};
    int status;
    make_many(1000);
    for (int i = 0; i < 5; i++) {
        const int64_t from = hl_clock_mono_ns();
        screen *s = screen_start(&(screen_options){.argv = argv});
        screen_wait_text(s, "Runs  1000", 5000);
        printf("first picture, 1 000 runs, %s: %.0f ms, %.0f ms of a core\n",
               i ? "remembered" : "never seen", since_ms(from), 1000 * cpu_of(screen_pid(s)));
        screen_run_script(s, "q", stdout);
        screen_wait_exit(s, 5000, &status);
        screen_end(s);
    }
}

/* In this process: from a key to a picture in a list of 1 000 runs. */
static void scroll(void)
{
    static const struct {
        int key;
        const char *what;
    } keys[] = {{'j', "down"},
                {'G', "to the end"},
                {'o', "sort by the next column"},
                {'B', "group"},
                {'s', "running, done, broken"}};
    enum { TIMES = 50 };
    static hl_screen s;
    hl_term *term;
    if (hl_term_dump_open(&(hl_term_options){.glyphs = "braille"}, 80, 24, "", &term) != HL_OK ||
        hl_screen_open(&s, term, "many") != HL_OK)
        return;
    for (int i = 0; i < 3000 && !(s.selected && hl_model_is_settled(&s.model)); i++) {
        hl_screen_update(&s);
        hl_screen_draw(&s);
        hl_clock_sleep_ms(1);
    }
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
        const int64_t from = hl_clock_mono_ns();
        for (int i = 0; i < TIMES; i++) {
            hl_screen_input(&s, &(hl_input){.key = keys[k].key});
            hl_screen_draw(&s);
        }
        printf("1 000 runs, %s: %.2f ms\n", keys[k].what, since_ms(from) / TIMES);
    }
    hl_term_close(term);
    hl_screen_close(&s);
}

/* In this process, so that nothing but drawing is measured. */
static void redraw(int cols, int rows, const char *setting)
{
    enum { TIMES = 100 };
    static hl_screen s;
    hl_term *term;
    if (hl_term_dump_open(&(hl_term_options){.glyphs = "braille"}, cols, rows, "", &term) !=
            HL_OK ||
        hl_screen_open(&s, term, "long") != HL_OK)
        return;
    s.look.view = HL_VIEW_RUN;
    for (int i = 0; i < 3000 && !(s.selected && hl_model_is_settled(&s.model)); i++) {
        hl_screen_update(&s);
        hl_screen_draw(&s);
        hl_clock_sleep_ms(1);
    }
    if (*setting)
        hl_screen_command(&s, setting);
    hl_screen_draw(&s); /* what is made once is made here */
    const int64_t from = hl_clock_mono_ns();
    for (int i = 0; i < TIMES; i++)
        hl_screen_draw(&s);
    printf("picture with a chart of 100 000 points, %dx%d %s: %.2f ms\n", cols, rows, setting,
           since_ms(from) / TIMES);
    hl_term_close(term);
    hl_screen_close(&s);
}

/* Peak memory of a process in MiB. */
static double peak_of(int pid)
{
    char path[64], line[200];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        (void)sscanf(line, "VmHWM: %lf", &kib);
    if (f)
        fclose(f);
    return kib / 1024;
}

/* 10^7 points: from the start to the first chart, to all of them, and the memory it took. */
static void huge(const char *keys, const char *what)
{
    const char *argv[] = {hoplab, "watch", "last", "--runs", "huge", NULL};
    sample("huge long 10000000");
    const int64_t from = hl_clock_mono_ns();
    screen *s = screen_start(&(screen_options){.argv = argv});
    screen_wait_text(s, "\xe2\xa3\xbf", 20000); /* a full cell of the chart */
    const double first = since_ms(from);
    screen_let_pass(s, 300);
    for (int i = 0; i < 600 && strstr(screen_text(s), "reading"); i++)
        screen_let_pass(s, 50);
    const double all = since_ms(from);
    screen_run_script(s, keys, stdout);
    screen_let_pass(s, 3000);
    printf("10 million points%s: first chart %.0f ms, all %.0f ms, peak %.0f MiB\n", what, first,
           all, peak_of(screen_pid(s)));
    screen_end(s);
    HL_IGNORE(hl_fs_remove_tree("huge"));
}

/* 10^8 points, one of them a spike, in a chart of 40 columns: is it there, and what that takes. */
static void spike(void)
{
    enum { N = 100000000, AT = 61803398, COLS = 40, ROWS = 12 };
    hl_pyramid *p = hl_pyramid_new();
    hl_grid g = {.glyphs = HL_GLYPHS_BRAILLE};
    hl_bucket b;
    hl_status st = p ? hl_grid_resize(&g, COLS, ROWS) : HL_E_NOMEM;
    const int64_t from = hl_clock_mono_ns();
    for (int i = 0; i < N && st == HL_OK; i++)
        st = hl_pyramid_push(p, i, i == AT ? 50 : 1 + 0.25 * (i % 5));
    const double pushed = since_ms(from);
    if (st == HL_OK && hl_pyramid_range(p, AT - 1000, AT + 1000, &b)) {
        const hl_chart_line line = {.data = p};
        hl_chart chart = {.line = &line, .n_lines = 1};
        const int64_t before = hl_clock_mono_ns();
        hl_chart_draw(hl_grid_canvas(&g), &chart);
        const double drawn = since_ms(before);
        const int column = hl_chart_column(&chart, AT), top = chart.plot.y;
        int rows = 0;
        for (int y = top; y < top + chart.plot.h; y++)
            rows += g.cell[y * COLS + column].ch != ' ';
        printf("100 million points: added in %.1f s, drawn in %.1f ms, peak %.0f MiB; the spike is "
               "%d of %d rows high, the largest value %g at %.0f\n",
               pushed / 1000, drawn, peak_of(getpid()), rows, chart.plot.h, b.max, b.x_of_max);
    }
    hl_grid_done(&g);
    hl_pyramid_free(p);
}

/* Bytes of a picture with new points, ten a second, at 80x24; a status question follows each. */
static void updates(const char *keys, const char *what)
{
    enum { SECONDS = 15 };
    const char *argv[] = {hoplab, "watch", "last", "--runs", "live", NULL};
    size_t n = 0, frames = 0;
    screen *s = screen_start(&(screen_options){.argv = argv});
    screen_wait_text(s, "train/loss", 5000);
    screen_run_script(s, keys, stdout);
    screen_let_pass(s, 2000);
    const size_t mark = screen_mark(s);
    screen_let_pass(s, SECONDS * 1000);
    for (const char *at = screen_printed(s, &n) + mark; (at = strstr(at, "\033[5n")); at++)
        frames++;
    printf("%s: %.0f bytes a picture, %zu pictures\n", what,
           (double)(n - mark) / (double)(frames ? frames : 1), frames);
    screen_end(s);
}

static void idle(const char *keys, const char *what)
{
    enum { SECONDS = 20 };
    const char *argv[] = {hoplab, "--runs", "live", NULL};
    size_t n;
    screen *s = screen_start(&(screen_options){.argv = argv});
    screen_wait_text(s, "live-00", 5000);
    screen_run_script(s, keys, stdout);
    screen_let_pass(s, 2000);
    const double from = cpu_of(screen_pid(s));
    const size_t mark = screen_mark(s);
    screen_let_pass(s, SECONDS * 1000);
    (void)screen_printed(s, &n);
    printf("%s: %.2f %% of a core, %.0f bytes/s\n", what,
           100 * (cpu_of(screen_pid(s)) - from) / SECONDS, (double)(n - mark) / SECONDS);
    screen_end(s);
}

int main(int argc, char **argv)
{
    if (argc < 3 || !mkdtemp(folder) || chdir(folder) != 0) {
        fprintf(stderr, "screen_bench <hoplab> <sample_store>, as absolute paths\n");
        return 2;
    }
    hoplab = argv[1];
    sample_store = argv[2];
    setenv("HOME", folder, 1);
    setenv("XDG_CACHE_HOME", folder, 1);
    const char *part = argc > 3 ? argv[3] : "";
    if (!*part || strcmp(part, "first") == 0) {
        first_picture();
        scroll();
    }
    if (!*part || strcmp(part, "redraw") == 0) {
        static const char *const settings[] = {
            "",           "set smooth=.9", "set yscale=symlog", "set xaxis=time", "set ylim=robust",
            "set band=sd"};
        sample("long long 100000");
        redraw(200, 60, "");
        for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
            redraw(80, 24, settings[i]);
    }
    if (!*part || strcmp(part, "huge") == 0) {
        huge("", "");
        huge(":set smooth=.9<Enter>:set xaxis=time<Enter>", ", smoothed over time");
    }
    if (!*part || strcmp(part, "bytes") == 0) {
        sample("live live 1 80 &");
        hl_clock_sleep_ms(1500);
        updates("", "Run view: header, progress, chart, numbers, log");
        updates("z", "a chart alone, its axis doubles");
        updates("z:set tail=100<Enter>", "a chart alone, the newest 100 steps");
        hl_clock_sleep_ms(30000); /* the run ends */
    }
    if (!*part || strcmp(part, "spike") == 0)
        spike();
    if (!*part || strcmp(part, "idle") == 0) {
        sample("live live 20 52 &");
        hl_clock_sleep_ms(1500);
        idle("", "list with 20 live runs");
        idle("2", "one of 20 live runs, its charts");
        hl_clock_sleep_ms(6000);
    }
    return chdir("/") == 0 && hl_fs_remove_tree(folder) == HL_OK ? 0 : 1;
}
