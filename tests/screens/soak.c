/* Random keys, clicks, pastes, sizes and damage to the files of runs, on a screen without a
 * terminal.
 *
 *   screens_soak <sample_store> <seconds> [<seed>]
 *
 * Nothing may crash, leak or draw outside, whatever happens to the files; the sanitizers look on.
 * The seed is printed, and what is pressed and damaged follows from it (what the watching thread
 * has read by then does not). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/rng.h"
#include "views/screen.h"

typedef struct soak {
    hl_rng rng;
    hl_term *term;
    hl_screen screen;
    char *sample_store;
    char last[160]; /* what was done last, for the report of a fault */
    int cols, rows;
    int64_t n_keys, n_frames, n_damages;
} soak;

static uint32_t below(soak *k, uint32_t n)
{
    return hl_rng_below(&k->rng, n);
}

static void die(const soak *k, const char *what)
{
    fprintf(stderr, "soak: %s, after %s\n", what, k->last);
    abort();
}

/* ---- files ---- */

static bool call(const char *a, const char *b, const char *c, const char *d)
{
    int status = -1;
    const pid_t pid = fork();
    if (pid == 0) {
        execlp(a, a, b, c, d, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* An entry of a folder by chance, as a path; NULL: it has none. */
static char *any_entry(soak *k, const char *folder)
{
    hl_fs_list names = {0};
    char *path = NULL;
    if (hl_fs_list_dir(folder, &names) == HL_OK && names.n)
        path = hl_fs_join(folder, names.name[below(k, (uint32_t)names.n)]);
    hl_fs_list_free(&names);
    return path;
}

static void write_garbage(soak *k, int fd, size_t n)
{
    unsigned char bytes[512];
    n = n < sizeof bytes ? n : sizeof bytes;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)below(k, 256);
    if (write(fd, bytes, n) < 0)
        return; /* a damage less */
}

static void damage_file(soak *k, const char *path)
{
    struct stat info;
    const int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return;
    const bool known = fstat(fd, &info) == 0;
    const uint32_t size = known && info.st_size > 0 ? (uint32_t)info.st_size : 1;
    switch (below(k, 3)) {
    case 0: /* half-written */
        if (ftruncate(fd, (off_t)below(k, size)) != 0)
            break;
        break;
    case 1:
        if (lseek(fd, (off_t)below(k, size), SEEK_SET) >= 0)
            write_garbage(k, fd, 1 + below(k, 64));
        break;
    default:
        if (lseek(fd, 0, SEEK_END) >= 0)
            write_garbage(k, fd, 1 + below(k, 512));
        break;
    }
    close(fd);
}

/* One run as it was, in the place of what is left of it. */
static void restore(soak *k)
{
    char *from = any_entry(k, "pristine"), *to = from ? hl_fs_join("runs", hl_fs_base(from)) : NULL;
    if (to && hl_fs_make_dir("runs") == HL_OK && hl_fs_remove_tree(to) == HL_OK)
        call("cp", "-r", from, to);
    hl_free(to);
    hl_free(from);
}

static void damage(soak *k)
{
    char *run = any_entry(k, "runs"), *file = run ? any_entry(k, run) : NULL;
    const uint32_t what = below(k, 10);
    snprintf(k->last, sizeof k->last, "damage %u to %s", what, file ? file : run ? run : "nothing");
    k->n_damages++;
    if (!run || what == 0 || what == 9)
        restore(k);
    else if (what == 1)
        HL_IGNORE(hl_fs_remove_tree(run));
    else if (what == 2 && file) /* another kind of thing of that name */
        HL_IGNORE(hl_fs_remove_tree(file) == HL_OK ? hl_fs_make_dir(file) : HL_OK);
    else if (what == 3 && file)
        HL_IGNORE(hl_fs_remove_tree(file));
    else if (what == 4) /* an address where nobody answers */
        symlink("/nowhere", "runs/bad") == 0 ? (void)0 : (void)unlink("runs/bad");
    else if (file)
        damage_file(k, file);
    hl_free(file);
    hl_free(run);
}

/* ---- what a user may do ---- */

/* On the command line nothing leads out of the folder, nor to a shell. */
static void press(soak *k, int key)
{
    char name[24];
    if (k->screen.mode == HL_MODE_COMMAND && (key == '/' || key == '!'))
        return;
    snprintf(k->last, sizeof k->last, "key %s", hl_key_name(name, key));
    k->n_keys++;
    hl_screen_input(&k->screen, &(hl_input){.key = key});
}

static void type(soak *k, const char *text)
{
    while (*text)
        press(k, *text++);
}

static void any_key(soak *k)
{
    static const int named[] = {HL_KEY_ENTER,     HL_KEY_ESC,    HL_KEY_TAB,     HL_KEY_BACK_TAB,
                                HL_KEY_UP,        HL_KEY_DOWN,   HL_KEY_LEFT,    HL_KEY_RIGHT,
                                HL_KEY_HOME,      HL_KEY_END,    HL_KEY_PAGE_UP, HL_KEY_PAGE_DOWN,
                                HL_KEY_BACKSPACE, HL_KEY_DELETE, HL_CTRL('w'),   HL_CTRL('r')};
    static const char often[] = "jkhl12345zgGtT[]oseYun/:?!L =+-_";
    const uint32_t kind = below(k, 10);
    if (kind < 4)
        press(k, named[below(k, sizeof named / sizeof named[0])]);
    else if (kind < 8)
        press(k, often[below(k, sizeof often - 1)]);
    else if (kind < 9)
        press(k, (int)(1 + below(k, 126)));
    else
        press(k, (int)(0xa0 + below(k, 0x3000)) | (below(k, 4) ? 0 : HL_ALT));
}

static void any_command(soak *k)
{
    char usage[HL_USAGE_MAX];
    const char *help;
    int n = 0;
    while (hl_command_help(n, usage, &help))
        n++;
    hl_command_help((int)below(k, (uint32_t)n), usage, &help);
    usage[strcspn(usage, " ")] = 0;
    press(k, HL_KEY_ESC);
    type(k, usage);
    for (uint32_t words = below(k, 3); words > 0; words--) {
        press(k, ' ');
        for (uint32_t i = below(k, 4); i > 0; i--)
            press(k, "abdrtsl%0.="[below(k, 11)]);
        for (uint32_t i = below(k, 4); i > 0; i--)
            press(k, HL_KEY_TAB);
    }
    press(k, HL_KEY_ENTER);
    press(k, HL_KEY_ESC);
}

static void any_click(soak *k)
{
    hl_input in = {.key = HL_KEY_MOUSE};
    in.mouse.x = (int)below(k, (uint32_t)k->cols + 2);
    in.mouse.y = (int)below(k, (uint32_t)k->rows + 2);
    in.mouse.what = (hl_mouse_what)below(k, HL_MOUSE_WHEEL_DOWN + 1);
    snprintf(k->last, sizeof k->last, "mouse %d at %d,%d", in.mouse.what, in.mouse.x, in.mouse.y);
    hl_screen_input(&k->screen, &in);
}

static void any_paste(soak *k)
{
    char text[200];
    const uint32_t n = below(k, sizeof text);
    for (uint32_t i = 0; i < n; i++)
        text[i] = (char)('/' + 1 + below(k, 200));
    text[n] = 0;
    snprintf(k->last, sizeof k->last, "a paste of %u bytes", n);
    hl_screen_input(&k->screen, &(hl_input){.key = HL_KEY_PASTE, .text = text});
}

static void any_size(soak *k)
{
    static const int sizes[][2] = {{80, 24}, {20, 5}, {40, 10}, {100, 30}, {200, 60}, {1, 1}};
    const uint32_t i = below(k, 8);
    k->cols = i < 6 ? sizes[i][0] : (int)(1 + below(k, 400));
    k->rows = i < 6 ? sizes[i][1] : (int)(1 + below(k, 120));
    snprintf(k->last, sizeof k->last, "the size %dx%d", k->cols, k->rows);
    hl_term_dump_resize(k->term, k->cols, k->rows);
    hl_screen_input(&k->screen, &(hl_input){.key = HL_KEY_RESIZE});
    hl_term_set_glyphs(k->term, (hl_glyphs)below(k, HL_GLYPHS_COUNT));
    HL_IGNORE(hl_option_set(&k->screen, "ambiwidth", below(k, 2) ? "2" : "1"));
}

/* ---- what must hold ---- */

static void expect_whole_characters(soak *k)
{
    const hl_grid *g = &k->screen.grid;
    for (int i = 0; i < g->cols * g->rows; i++) {
        const bool has_next = (i + 1) % g->cols != 0, is_tail = g->cell[i].ch == HL_CELL_TAIL;
        const bool wide = !is_tail && hl_char_columns(g, g->cell[i].ch) == 2;
        if (wide != (has_next && g->cell[i + 1].ch == HL_CELL_TAIL))
            die(k, "half a wide character");
        if (is_tail && i % g->cols == 0)
            die(k, "the second half of a character begins a line");
    }
}

static void look(soak *k)
{
    const hl_grid *g = &k->screen.grid;
    hl_screen_update(&k->screen);
    hl_screen_draw(&k->screen);
    k->n_frames++;
    if (g->cols != k->cols || g->rows != k->rows)
        die(k, "the picture has another size than the terminal");
    for (int i = 0; i < g->cols * g->rows; i++)
        if (g->cell[i].ch != HL_CELL_TAIL && (g->cell[i].ch < ' ' || g->cell[i].ch == 127))
            die(k, "a control character on the screen");
    expect_whole_characters(k);
    for (int p = 0; p < HL_PANE_COUNT; p++) {
        const hl_rect r = k->screen.layout.pane[p];
        if (r.w > 0 && (r.x < 0 || r.y < 0 || r.x + r.w > g->cols || r.y + r.h > g->rows))
            die(k, "a pane outside of the terminal");
    }
}

static void begin_screen(soak *k)
{
    if (hl_screen_open(&k->screen, k->term, "runs") != HL_OK)
        die(k, hl_err_message());
}

static void step(soak *k)
{
    const uint32_t what = below(k, 100);
    if (what < 70)
        for (uint32_t n = 1 + below(k, 8); n > 0; n--)
            any_key(k);
    else if (what < 78)
        any_command(k);
    else if (what < 84)
        any_click(k);
    else if (what < 86)
        any_paste(k);
    else if (what < 92)
        any_size(k);
    else
        damage(k);
    look(k);
    if (k->screen.quit) {
        k->screen.quit = false;
        if (below(k, 8) == 0) {
            hl_screen_close(&k->screen);
            begin_screen(k);
        }
    }
}

static bool make_runs(const soak *k)
{
    return call(k->sample_store, "runs", NULL, NULL) &&
           call(k->sample_store, "deqs", "deq", NULL) &&
           call(k->sample_store, "quants", "quant", NULL) &&
           call("sh", "-c", "cp -r deqs/* quants/* runs && cp -r runs pristine", NULL);
}

int main(int argc, char **argv)
{
    soak k = {.cols = 80, .rows = 24};
    char folder[] = "/tmp/hoplab-soak.XXXXXX";
    double seconds;
    int64_t seed = 0;
    if (argc < 3 || hl_parse_f64(argv[2], &seconds) != HL_OK ||
        (argc > 3 && hl_parse_i64(argv[3], &seed) != HL_OK))
        return 2; /* a run that the screen starts ends here, too: this is its program */
    k.sample_store = realpath(argv[1], NULL);
    seed = argc > 3 ? seed : hl_clock_mono_ns() & 0xffffff;
    printf("seed %lld\n", (long long)seed);
    fflush(stdout);
    k.rng = hl_rng_make((uint64_t)seed, HL_RNG_TEST, 0, 0);
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return 2;
    setenv("XDG_STATE_HOME", folder, 1);
    setenv("XDG_CONFIG_HOME", folder, 1);
    setenv("VISUAL", "true", 1);
    if (!k.sample_store || !make_runs(&k)) {
        fprintf(stderr, "no runs could be made by %s\n", argv[1]);
        return 2;
    }
    if (hl_term_dump_open(NULL, 80, 24, "", &k.term) != HL_OK)
        return 2;
    begin_screen(&k);
    const int64_t end = hl_clock_mono_ns() + (int64_t)(seconds * 1e9);
    while (hl_clock_mono_ns() < end)
        step(&k);
    hl_screen_close(&k.screen);
    hl_term_close(k.term);
    printf("%lld keys, %lld pictures, %lld damages\n", (long long)k.n_keys, (long long)k.n_frames,
           (long long)k.n_damages);
    free(k.sample_store);
    if (chdir("/") == 0)
        HL_IGNORE(hl_fs_remove_tree(folder));
    return 0;
}
