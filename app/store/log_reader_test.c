/* Parts of logs against all of it, with the index and without; files that are huge, grow, shrink.
 */
#define _GNU_SOURCE
#include "app/store/log_reader.h"

#include <criterion/criterion.h>
#include <fcntl.h>

#include "app/store/store_test.h"
#include "engine/base/rng.h"

typedef HL_VEC(hl_log_line) all_lines;

typedef struct reading {
    hl_series_table series;
    hl_follow *follow;
    hl_log_reader *log;
    all_lines lines; /* met by the follower */
} reading;

static void push(reading *r, hl_status met, hl_log_line *line, int64_t step)
{
    cr_assert_eq(met, HL_OK);
    line->step = step;
    if (line->level)
        cr_assert_eq(hl_vec_push(&r->lines, *line), HL_OK);
}

static void see_json(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                     size_t n)
{
    reading *r = self;
    const hl_series_info info = hl_series_table_at(&r->series, series);
    hl_log_line line;
    (void)t_us;
    const hl_status st = hl_log_reader_meet(r->log, info.tag, info.content, text, n, &line);
    push(r, st, &line, step);
}

static void see_start(void *self, int64_t from)
{
    reading *r = self;
    hl_log_line line;
    push(r, hl_log_reader_meet_start(r->log, from, &line), &line, from);
}

static void open_log(reading *r, const char *dir)
{
    *r = (reading){0};
    cr_assert_eq(hl_follow_open(dir, (hl_follow_opts){.as_it_came = true}, &r->series, &r->follow),
                 HL_OK);
    cr_assert_eq(hl_log_reader_new(r->follow, &r->log), HL_OK);
}

static void follow(reading *r, int64_t max_bytes)
{
    const hl_run_visitor v = {.self = r, .json = see_json, .superseded = see_start};
    bool more;
    cr_assert_eq(hl_follow_poll(r->follow, &v, max_bytes, &more), HL_OK);
}

static void close_log(reading *r)
{
    for (size_t i = 0; i < r->lines.n; i++)
        hl_free(r->lines.at[i].text);
    hl_vec_done(&r->lines);
    hl_log_reader_free(r->log);
    hl_follow_close(r->follow);
    hl_series_table_done(&r->series);
}

/* Puts a later part to the answer so far, which it is right before or right behind. */
static hl_log_page *joined(hl_log_page *p, hl_log_page *more)
{
    hl_log_page *first = more->want.back ? more : p, *second = more->want.back ? p : more;
    cr_assert_eq(first->end, second->begin);
    for (size_t i = 0; i < second->lines.n; i++)
        cr_assert_eq(hl_vec_push(&first->lines, second->lines.at[i]), HL_OK);
    second->lines.n = 0;
    first->end = second->end;
    first->is_last = second->is_last;
    first->is_done = more->is_done;
    hl_log_page_free(second);
    return first;
}

/* The whole answer. */
static hl_log_page *page_of(reading *r, const hl_log_want *want)
{
    hl_log_page *p = NULL;
    hl_log_reader_ask(r->log, want);
    while (!p || !p->is_done) {
        hl_log_page *more;
        cr_assert(hl_log_reader_is_busy(r->log));
        cr_assert_eq(hl_log_reader_slice(r->log, &more), HL_OK);
        if (more)
            p = p ? joined(p, more) : more;
    }
    cr_assert(!hl_log_reader_is_busy(r->log));
    return p;
}

/* ---- files ---- */

static bool put_line(hl_str *b, int64_t step, const char *level, const char *text)
{
    hl_str object = {0};
    hl_json_begin(&object, '{');
    hl_json_put_str(&object, "level", level);
    hl_json_put_str(&object, "text", text);
    hl_json_end(&object, '}');
    const bool good =
        hl_event_put_json(b, "run/log", (hl_stamp){step, 1700000000000000}, "log", object.s);
    hl_str_done(&object);
    return good;
}

static void put_bytes(const char *dir, int segment, int64_t at, const hl_str *b)
{
    char name[64];
    snprintf(name, sizeof name, HL_SEGMENT_PREFIX "%d.host.1.0", 1700000000 + segment);
    char *path = hl_fs_join(dir, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    cr_assert(fd >= 0 && pwrite(fd, b->s, b->n, (off_t)at) == (ssize_t)b->n);
    close(fd);
    hl_free(path);
}

static bool put_random_line(hl_str *b, hl_rng *g, int64_t step)
{
    static const char *const levels[] = {"info", "warn", "error"};
    char text[2000];
    const uint32_t n = 1 + hl_rng_below(g, hl_rng_below(g, 20) ? 90 : sizeof text - 1);
    for (uint32_t i = 0; i + 1 < n; i++) /* bytes that are no UTF-8 among them */
        text[i] =
            (char)(hl_rng_below(g, 30) ? 'a' + hl_rng_below(g, 26) : 1 + hl_rng_below(g, 255));
    text[n - 1] = '\0';
    return put_line(b, step, levels[hl_rng_below(g, 3)], n > 1 ? text : "-");
}

/* One record of some kind; large ones are longer than what is read at once. */
static bool put_random(hl_str *b, hl_rng *g, int64_t step)
{
    const hl_stamp at = {step, 1700000000000000 + step};
    hl_str big = {0};
    bool good;
    switch (hl_rng_below(g, 1200)) {
    case 0:
    case 1:
        hl_str_add(&big, "{\"rows\":\"");
        for (int i = 0; i < 30000; i++)
            hl_str_add(&big, "0123456789");
        hl_str_add(&big, "\"}");
        good = hl_event_put_json(b, "quant/q", at, "table", big.s);
        break;
    case 2:
        for (int i = 0; i < 40000; i++)
            hl_str_add(&big, "long line ");
        good = put_line(b, step, "warn", big.s);
        break;
    case 3:
        good = hl_event_put_json(b, "run/log", at, "log", "{\"text\":\"a\\u0000b\\rc\"}");
        break;
    case 4:
        good = hl_event_put_json(b, "flag/x", at, "table", "{\"place\":\"x\",\"text\":\"why\"}");
        break;
    case 5:
    case 6:
        good = hl_event_put_json(b, "run/state", at, "state",
                                 step % 2 ? "{\"state\":\"running\"}" : "{\"state\":\"paused\"}");
        break;
    default:
        good = hl_rng_below(g, 3) ? put_random_line(b, g, step)
                                  : hl_event_put_scalar(b, "train/loss", at, 1);
        break;
    }
    hl_str_done(&big);
    return good;
}

enum { N_EVENTS = 3000 };

static char *random_log(uint64_t seed)
{
    hl_rng g = hl_rng_make(seed, HL_RNG_TEST, 7, 0);
    char *dir = test_dir();
    for (int segment = 0; segment < 3; segment++) {
        hl_str b = {0};
        cr_assert(hl_event_put_version(&b));
        cr_assert(hl_event_put_start(&b, (hl_stamp){segment * 3000, 1}));
        for (int i = 0; segment != 1 && i < N_EVENTS; i++)
            cr_assert(put_random(&b, &g, segment * 3000 + i));
        for (int i = 0; segment != 1 && i < 5; i++) {
            const uint32_t at = hl_rng_below(&g, (uint32_t)b.n - 2000);
            b.s[at] = (char)(b.s[at] ^ 1);
        }
        put_bytes(dir, segment, 0, &b);
        hl_str_done(&b);
    }
    return dir;
}

/* ---- pages ---- */

static bool is_wanted(const hl_log_want *w, const hl_log_line *l)
{
    return (!w->levels[0] || strchr(w->levels, l->level)) &&
           (!w->words[0] || hl_filter_fits_text(w->words, l->text));
}

/* The page has all the lines that it says it has, and as many as were wanted. */
static void check_page(const hl_log_page *p, const all_lines *all, bool numbered)
{
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        const hl_log_line *l = &all->at[i];
        if (l->place < p->begin || l->place >= p->end || !is_wanted(&p->want, l))
            continue;
        cr_assert_lt(n, p->lines.n);
        const hl_log_line *got = &p->lines.at[n++];
        cr_assert_eq(got->place, l->place);
        cr_assert(got->step == l->step && got->level == l->level);
        cr_assert_str_eq(got->text, l->text);
        cr_assert_eq(got->number, numbered ? l->number : -1);
    }
    cr_assert_eq(n, p->lines.n);
    const bool is_end = p->want.back ? p->is_first : p->is_last;
    cr_assert(is_end ? (int)n <= p->want.n : (int)n == p->want.n);
    cr_assert(p->want.back || p->begin == p->want.from);
    cr_assert(!p->want.back || p->end == p->want.from || p->want.from == HL_LOG_END);
}

static void check_random_pages(reading *r, const all_lines *all, bool indexed, hl_rng *g)
{
    static const char *const levels[] = {"IWEC", "WE", "E"}, *const words[] = {"", "qu", "qux"};
    for (int k = 0; k < 30; k++) {
        const uint32_t i = hl_rng_below(g, (uint32_t)all->n);
        hl_log_want want = {.number = -1, .percent = -1};
        want.back = hl_rng_below(g, 2);
        want.n = 1 + (int)hl_rng_below(g, hl_rng_below(g, 8) ? 60 : HL_LOG_PAGE_LINES - 1);
        want.from = all->at[i].place + (int64_t)hl_rng_below(g, 2);
        if (want.back && hl_rng_below(g, 10) == 0)
            want.from = HL_LOG_END;
        if (!want.back && hl_rng_below(g, 10) == 0)
            want.from = 0;
        snprintf(want.levels, sizeof want.levels, "%s",
                 indexed && hl_rng_below(g, 2) ? "" : levels[hl_rng_below(g, 3)]);
        snprintf(want.words, sizeof want.words, "%s", words[hl_rng_below(g, 3)]);
        hl_log_page *p = page_of(r, &want);
        check_page(p, all, indexed);
        hl_log_page_free(p);
    }
}

Test(log_reader, pages_are_parts_of_the_whole_with_the_index_and_without)
{
    for (uint64_t seed = 1; seed < 3; seed++) {
        char *dir = random_log(seed);
        hl_rng g = hl_rng_make(seed, HL_RNG_TEST, 8, 0);
        reading whole, fresh;
        open_log(&whole, dir);
        follow(&whole, 0);
        cr_assert_gt(whole.lines.n, N_EVENTS);
        size_t n_cut = 0; /* long lines are told from others */
        for (size_t i = 0; i < whole.lines.n; i++) {
            const char *text = whole.lines.at[i].text, *mark = strstr(text, "…");
            cr_assert_lt(strlen(text), 600);
            n_cut += hl_str_starts(text, "long line") && mark && strcmp(mark, "…") == 0;
        }
        cr_assert_gt(n_cut, 0);
        check_random_pages(&whole, &whole.lines, true, &g);
        cr_expect_leq(hl_log_reader_index_bytes(whole.log), 16384);
        for (int k = 0; k < 40; k++) {
            const int64_t n = (int64_t)hl_rng_below(&g, (uint32_t)whole.lines.n);
            hl_log_want want = {.number = n, .percent = -1, .n = 1};
            hl_log_page *p = page_of(&whole, &want);
            cr_assert(p->lines.n == 1 && p->lines.at[0].number == n);
            cr_assert_eq(p->lines.at[0].place, whole.lines.at[n].place);
            hl_log_page_free(p);
        }
        open_log(&fresh, dir);
        check_random_pages(&fresh, &whole.lines, false, &g);
        close_log(&fresh);
        close_log(&whole);
        test_dir_done(dir);
    }
}

/* While it is being read, what is behind has no numbers yet, and what is in front has. */
Test(log_reader, half_an_index)
{
    char *dir = random_log(9);
    reading whole, half;
    open_log(&whole, dir);
    follow(&whole, 0);
    open_log(&half, dir);
    follow(&half, 200000);
    cr_assert(half.lines.n > 0 && half.lines.n < whole.lines.n / 2);
    const int64_t met = half.lines.at[half.lines.n - 1].place;
    hl_log_want want = {.number = -1, .percent = -1, .from = met, .n = HL_LOG_PAGE_LINES};
    snprintf(want.levels, sizeof want.levels, "WE");
    hl_log_page *p = page_of(&half, &want);
    for (size_t i = 0; i < p->lines.n; i++)
        cr_assert(p->lines.at[i].place > met ? p->lines.at[i].number == -1
                                             : p->lines.at[i].number >= 0);
    want.from = p->end;
    want.back = true;
    hl_log_page *again = page_of(&half, &want);
    cr_assert_geq(again->lines.n, p->lines.n);
    const size_t more = again->lines.n - p->lines.n;
    for (size_t i = 0; i < p->lines.n; i++)
        cr_assert_eq(again->lines.at[more + i].place, p->lines.at[i].place);
    hl_log_page_free(again);
    hl_log_page_free(p);
    close_log(&half);
    close_log(&whole);
    test_dir_done(dir);
}

static void put_numbered(hl_str *b, int from, int to)
{
    char text[64];
    for (int i = from; i < to; i++) {
        snprintf(text, sizeof text, "line %d of this log", i);
        cr_assert(put_line(b, i, "info", text));
    }
}

/* Nothing of what is between its ends is read, nor more than a little at a time. */
Test(log_reader, ten_gigabytes_are_opened_by_reading_a_megabyte)
{
    const int64_t bytes = INT64_C(10) << 30;
    char *dir = test_dir();
    hl_str head = {0}, tail = {0};
    cr_assert(hl_event_put_version(&head));
    put_numbered(&head, 0, 1000);
    put_numbered(&tail, 1000, 2000);
    put_bytes(dir, 0, 0, &head);
    put_bytes(dir, 0, bytes, &tail);
    reading r;
    open_log(&r, dir);
    hl_log_want want = {.number = -1, .percent = -1, .from = HL_LOG_END, .back = true, .n = 300};
    hl_log_page *p = page_of(&r, &want);
    cr_assert_eq(p->lines.n, 300);
    cr_expect(p->lines.at[299].step == 1999 && p->lines.at[0].step == 1700);
    cr_expect(!p->is_first && p->percent >= 99);
    hl_log_page_free(p);
    want.from = 0;
    want.back = false;
    p = page_of(&r, &want);
    cr_assert_eq(p->lines.n, 300);
    cr_expect(p->lines.at[0].step == 0 && p->lines.at[299].step == 299 && p->percent == 0);
    hl_log_page_free(p);
    cr_expect_lt(hl_log_reader_bytes(r.log), 1 << 20);

    /* a search through the middle is a slice at a time, and ends when it is told to */
    want = (hl_log_want){.number = -1, .percent = 50, .n = 1};
    hl_log_reader_ask(r.log, &want);
    for (int i = 1; i < 64; i++) {
        cr_assert_eq(hl_log_reader_slice(r.log, &p), HL_OK);
        cr_assert(!p && hl_log_reader_bytes(r.log) < (2 + i) << 20);
    }
    cr_assert_eq(hl_log_reader_slice(r.log, &p), HL_OK);
    cr_assert(p && !p->is_done && p->percent == 50 && p->lines.n == 0, "how far it is");
    hl_log_page_free(p);
    hl_log_reader_ask(r.log, &(hl_log_want){0});
    cr_expect(!hl_log_reader_is_busy(r.log));
    close_log(&r);
    hl_str_done(&head);
    hl_str_done(&tail);
    test_dir_done(dir);
}

/* There is no line, and none beyond. */
static void expect_nothing(reading *r, const hl_log_want *want)
{
    hl_log_page *p = page_of(r, want);
    cr_expect(p->lines.n == 0 && (want->back ? p->is_first : p->is_last));
    hl_log_page_free(p);
}

Test(log_reader, logs_that_grow_shrink_and_vanish)
{
    char *dir = test_dir();
    char *path = hl_fs_join(dir, HL_SEGMENT_PREFIX "1700000000.host.1.0");
    hl_log_want end = {.number = -1, .percent = -1, .from = HL_LOG_END, .back = true, .n = 10};
    hl_log_want on = {.number = -1, .percent = -1, .n = 10};
    hl_str b = {0};
    reading r;
    put_bytes(dir, 0, 0, &b); /* an empty file */
    open_log(&r, dir);
    hl_log_page *p = page_of(&r, &end);
    cr_expect(p->lines.n == 0 && p->is_first);
    hl_log_page_free(p);
    put_numbered(&b, 0, 5);
    const size_t five = b.n;
    put_numbered(&b, 5, 7);
    const hl_str torn = {.s = b.s, .n = b.n - 9};
    put_bytes(dir, 0, 0, &torn); /* the last record is still being written */
    p = page_of(&r, &end);
    cr_assert_eq(p->lines.n, 6);
    on.from = p->lines.at[5].place + 1;
    hl_log_page_free(p);
    follow(&r, 0);
    put_bytes(dir, 0, 0, &b);
    p = page_of(&r, &on);
    cr_assert(p->lines.n == 1 && p->lines.at[0].step == 6 && p->is_last);
    hl_log_page_free(p);
    follow(&r, 0);
    cr_expect(r.lines.n == 7 && !hl_follow_has_shrunk(r.follow));

    cr_assert_eq(truncate(path, (off_t)five - 3), 0);
    p = page_of(&r, &end);
    cr_expect_eq(p->lines.n, 4);
    hl_log_page_free(p);
    follow(&r, 0);
    cr_expect(hl_follow_has_shrunk(r.follow));
    close_log(&r);
    open_log(&r, dir);
    cr_assert_eq(unlink(path), 0);
    expect_nothing(&r, &end);
    expect_nothing(&r, &on);
    follow(&r, 0); /* goes behind the file that is gone, where none is yet */
    expect_nothing(&r, &on);
    close_log(&r);
    open_log(&r, dir); /* no file at all */
    expect_nothing(&r, &on);
    expect_nothing(&r, &end);
    close_log(&r);
    hl_str_done(&b);
    hl_free(path);
    test_dir_done(dir);
}
