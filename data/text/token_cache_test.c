#define _POSIX_C_SOURCE 200809L

#include "data/text/token_cache.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "data/data_test.h"
#include "data/text/corpus_internal.h"
#include "engine/base/hash.h"
#include "engine/base/log.h"

static char dir[256];
static char said[1000]; /* the last notice */

static void note(void *arg, hl_log_level level, const char *message)
{
    (void)arg;
    if (level >= HL_LOG_WARN)
        snprintf(said, sizeof said, "%s", message);
}

static void open_dir(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/hoplab-cache-%ld", tmp ? tmp : "/tmp", (long)getpid());
    hl_log_set_sink(note, NULL);
}

static void close_dir(void)
{
    cr_expect_eq(hl_fs_remove_tree(dir), HL_OK, "%s", hl_err_message());
}

TestSuite(cache, .init = open_dir, .fini = close_dir);

/* Path of the one file in the directory whose name has this end, or NULL. */
static const char *file_of(const char *end)
{
    static char path[600];
    hl_fs_list list;
    const char *found = NULL;
    cr_assert_eq(hl_fs_list_dir(dir, &list), HL_OK, "%s", hl_err_message());
    for (size_t i = 0; i < list.n; i++)
        if (strstr(list.name[i], end)) {
            cr_assert_null(found, "two files *%s", end);
            snprintf(path, sizeof path, "%s/%s", dir, list.name[i]);
            found = path;
        }
    hl_fs_list_free(&list);
    return found;
}

static const char words[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nof\nand\na\n##a\n##e\n##t\nb\nc\n"
    "d\ne\nf\ng\nh\ni\n##o\n##n\n##i\n##s\n##r\n##h\ns\nt\nw\n.\n";

static hl_tok *small_tok(void)
{
    hl_tok *t = NULL;
    const char *path = write_temp("vocab.txt", words, strlen(words));
    cr_assert_eq(hl_tok_open(path, &t), HL_OK, "%s", hl_err_message());
    unlink(path);
    return t;
}

/* Prose in lines of some 80 bytes, in a file. */
static hl_text *prose_file(uint64_t seed, size_t n, const char **path)
{
    hl_text *t = NULL, *file = NULL;
    cr_assert_eq(hl_synth_text(seed, n, NULL, &t), HL_OK, "%s", hl_err_message());
    const hl_text_span s = hl_text_file(t, 0);
    char *copy = hl_strndup((const char *)s.bytes, s.n);
    for (size_t i = 0, line = 0; i < s.n; i++)
        if (copy[i] == ' ' && i - line > 80)
            copy[line = i] = '\n';
    *path = write_temp("prose.txt", copy, s.n);
    hl_free(copy);
    hl_text_close(t);
    cr_assert_eq(hl_text_open(path, 1, &file), HL_OK, "%s", hl_err_message());
    return file;
}

static hl_corpus_params params_of(const hl_text *text, hl_tok *tok, hl_rows rows)
{
    hl_corpus_params p = hl_corpus_params_default();
    p.train = text;
    p.tok = tok;
    p.rows = rows;
    p.seq_len = 128;
    return p;
}

static hl_corpus *corpus_of(hl_corpus_params p)
{
    hl_corpus *c = NULL;
    cr_assert_eq(hl_corpus_new(&p, &c), HL_OK, "%s", hl_err_message());
    return c;
}

static void expect_same(const hl_corpus *a, const hl_corpus *b)
{
    const hl_corpus_info *x = hl_corpus_get_info(a), *y = hl_corpus_get_info(b);
    cr_assert_eq(x->hash, y->hash);
    cr_assert_eq(x->token_bytes, y->token_bytes);
    for (int part = 0; part < HL_PART_COUNT; part++) {
        const int64_t n = x->part[part].n_tokens;
        cr_assert_eq(n, y->part[part].n_tokens);
        cr_assert_eq(x->part[part].n_bytes, y->part[part].n_bytes);
        cr_assert_eq(x->part[part].bytes_per_token, y->part[part].bytes_per_token);
        int32_t *p = hl_alloc_zero((size_t)n + 1, sizeof *p),
                *q = hl_alloc_zero((size_t)n + 1, sizeof *q);
        cr_assert_eq(hl_corpus_read(a, (hl_part)part, 0, n, p), HL_OK);
        cr_assert_eq(hl_corpus_read(b, (hl_part)part, 0, n, q), HL_OK);
        cr_assert_eq(memcmp(p, q, (size_t)n * sizeof *p), 0);
        hl_free(p);
        hl_free(q);
    }
}

/* In memory, made in the cache, opened from it: the same corpus, for every kind and with rows. */
Test(cache, tokens_are_those_in_memory)
{
    const char *path;
    hl_text *text = prose_file(1, 3000000, &path);
    hl_tok *tok = small_tok();
    for (int k = 0; k < 5; k++) {
        hl_corpus_params p = params_of(text, k >= 2 ? tok : NULL, (hl_rows)(k >= 2 ? k - 2 : 0));
        p.tok_kind = k ? "words" : "bytes";
        p.holdout = k == 1 ? 0 : 0.1;
        hl_corpus *memory = corpus_of(p);
        p.cache = dir;
        hl_corpus *made = corpus_of(p);
        struct stat before, after;
        cr_assert_eq(stat(file_of(".tokens"), &before), 0);
        cr_assert_null(file_of(".partial"));
        cr_assert_null(file_of(".progress"));
        hl_corpus *opened = corpus_of(p);
        cr_assert_eq(stat(file_of(".tokens"), &after), 0);
        cr_assert(before.st_ino == after.st_ino && before.st_mtime == after.st_mtime);
        cr_assert(!hl_corpus_get_info(memory)->is_mapped && hl_corpus_get_info(opened)->is_mapped);
        cr_assert_eq(hl_corpus_get_info(opened)->mem_bytes, 0);
        expect_same(memory, made);
        expect_same(memory, opened);
        hl_corpus_unref(memory);
        hl_corpus_unref(made);
        hl_corpus_unref(opened);
        cr_assert_eq(unlink(file_of(".tokens")), 0);
    }
    cr_assert_str_eq(said, "");
    hl_tok_unref(tok);
    hl_text_close(text);
    unlink(path);
}

/* What a corpus is made of names its file. */
Test(cache, other_tokens_are_in_other_files)
{
    const char *path;
    hl_text *text = prose_file(2, 200000, &path);
    hl_tok *tok = small_tok();
    hl_corpus_params p = params_of(text, tok, HL_ROWS_NONE);
    p.cache = dir;
    hl_fs_list list;
    for (int k = 0; k < 6; k++) {
        p.rows = k == 0 || k == 5 ? HL_ROWS_NONE : HL_ROWS_LINE;
        p.seq_len = k == 2 ? 64 : 128;
        p.holdout = k == 3 ? 0.2 : 0.1;
        if (k == 4) { /* the same bytes, changed at another time */
            const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
            hl_text_close(text);
            cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
            cr_assert_eq(hl_text_open(&path, 1, &text), HL_OK);
            p.train = text;
        }
        p.tok = k == 5 ? NULL : tok;
        hl_corpus_unref(corpus_of(p));
        cr_assert_eq(hl_fs_list_dir(dir, &list), HL_OK);
        cr_assert_eq(list.n, 2 * (size_t)(k + 1), "%d: %zu files", k, list.n); /* with .lock */
        hl_fs_list_free(&list);
    }
    hl_tok_unref(tok);
    hl_text_close(text);
    unlink(path);
}

static void damage(const char *path, long at, int bit)
{
    FILE *f = fopen(path, "r+b");
    cr_assert_not_null(f);
    cr_assert_eq(fseek(f, at, SEEK_SET), 0);
    const int c = fgetc(f);
    cr_assert_eq(fseek(f, at, SEEK_SET), 0);
    cr_assert_neq(fputc(c ^ 1 << bit, f), EOF);
    cr_assert_eq(fclose(f), 0);
}

/* Every byte of the header with a flipped bit, every kind of wrong size, another file altogether.
 */
Test(cache, a_damaged_file_is_made_again)
{
    const char *path;
    hl_text *text = prose_file(3, 20000, &path);
    hl_corpus_params p = params_of(text, NULL, HL_ROWS_NONE);
    hl_corpus *memory = corpus_of(p);
    p.cache = dir;
    hl_corpus_unref(corpus_of(p));
    const int64_t live = hl_mem_get_stats().live_bytes;
    const off_t sizes[] = {0,     1,    HL_TOKEN_FILE_HEADER - 1, HL_TOKEN_FILE_HEADER, 10000,
                           20127, 20129};
    for (int k = 0; k < HL_TOKEN_FILE_HEADER + 8; k++) {
        const char *file = file_of(".tokens");
        if (k < HL_TOKEN_FILE_HEADER)
            damage(file, k, k % 8);
        else if (k < HL_TOKEN_FILE_HEADER + 7)
            cr_assert_eq(truncate(file, sizes[k - HL_TOKEN_FILE_HEADER]), 0);
        else
            cr_assert_eq(hl_fs_write_atomic(file, words, sizeof words), HL_OK);
        said[0] = '\0';
        hl_corpus *c = corpus_of(p);
        cr_assert_not_null(strstr(said, "made again"), "%d: '%s'", k, said);
        expect_same(memory, c);
        hl_corpus_unref(c);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live);
    }
    hl_corpus_unref(memory);
    hl_text_close(text);
    unlink(path);
}

/* ---- interruption ---------------------------------------------------------------------------- */

typedef struct watch {
    int64_t stop_at, n_calls, first, last, total;
    bool dies;
} watch;

static bool look(void *arg, int64_t n_done, int64_t n_total)
{
    watch *w = arg;
    if (w->n_calls++ == 0)
        w->first = n_done;
    cr_assert_geq(n_done, w->last);
    w->last = n_done;
    w->total = n_total;
    if (n_done < w->stop_at)
        return true;
    if (w->dies)
        _exit(7);
    return false;
}

Test(cache, a_cancelled_build_goes_on)
{
    const char *path;
    hl_text *text = prose_file(4, 4000000, &path);
    hl_tok *tok = small_tok();
    for (int k = 0; k < 2; k++) {
        hl_corpus_params p = params_of(text, tok, k ? HL_ROWS_LINE : HL_ROWS_NONE);
        hl_corpus *memory = corpus_of(p), *c = NULL;
        int64_t before = 0;
        p.cache = dir;
        p.on_progress = look;
        for (int64_t stop = 1000000; stop < 4000000; stop += 1400000) {
            watch w = {.stop_at = stop};
            p.progress_arg = &w;
            cr_assert_eq(hl_corpus_new(&p, &c), HL_E_CANCELLED, "%s", hl_err_message());
            cr_assert(w.first > before && w.last >= stop && w.total == 4000000);
            before = w.last;
            cr_assert_not_null(file_of(".progress"));
        }
        watch w = {.stop_at = INT64_MAX};
        p.progress_arg = &w;
        c = corpus_of(p);
        cr_assert(w.first > before && w.last == w.total);
        expect_same(memory, c);
        cr_assert_null(file_of(".progress"));
        cr_assert_eq(unlink(file_of(".tokens")), 0);
        hl_corpus_unref(c);
        hl_corpus_unref(memory);
    }
    cr_assert_str_eq(said, "");
    hl_tok_unref(tok);
    hl_text_close(text);
    unlink(path);
}

static hl_token_cache cache_of(const hl_text *text, const hl_tok *tok, watch *w)
{
    const hl_encode_job job = {.tok = tok, .text = text, .to = hl_text_n_bytes(text), .width = 1};
    hl_token_cache c = {.dir = dir,
                        .id = {.tok_hash = hl_tok_hash(tok), .text_hash = 5, .width = 1},
                        .part = {job, job},
                        .sync_bytes = 300000,
                        .on_progress = look,
                        .progress_arg = w};
    c.part[0].to = c.part[1].from = hl_text_cut(text, 0.3);
    return c;
}

static int run_child(const hl_token_cache *c)
{
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        hl_token_file f;
        _exit(hl_token_cache_open(c, &f) == HL_OK ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Death without a word, after damage to what it left behind or without, at any place. */
Test(cache, a_killed_build_goes_on)
{
    enum { N = 4000000, N_CASES = 7 };
    const char *path;
    hl_text *text = prose_file(5, N, &path);
    hl_tok *tok = small_tok();
    watch w = {.stop_at = INT64_MAX};
    hl_token_cache c = cache_of(text, tok, &w);
    hl_token_file want, got;
    cr_assert_eq(hl_token_cache_open(&c, &want), HL_OK, "%s", hl_err_message());
    char *first = hl_strdup(file_of(".tokens")), *kept = hl_fs_join(dir, "kept");
    cr_assert_eq(rename(first, kept), 0);
    for (int k = 0; k < N_CASES; k++) {
        w = (watch){.stop_at = k == 6 ? 3500000 : k == 1 ? 1300000 : 1500000, .dies = true};
        cr_assert_eq(run_child(&c), 7);
        cr_assert_null(file_of(".tokens"));
        const bool is_damaged = k >= 2 && k < 6;
        if (k == 1) /* what was written behind the last record */
            damage(file_of(".partial"), (long)hl_fs_size(file_of(".partial")) - 1, 3);
        if (k == 2)
            damage(file_of(".partial"), HL_TOKEN_FILE_HEADER + 9, 3);
        if (k == 3)
            cr_assert_eq(truncate(file_of(".partial"), 10000), 0);
        if (k == 4)
            damage(file_of(".progress"), 16, 2);
        if (k == 5)
            cr_assert_eq(truncate(file_of(".progress"), 20), 0);
        said[0] = '\0';
        w = (watch){.stop_at = INT64_MAX};
        if (k == 0)
            cr_assert_eq(hl_team_new(3, &c.team), HL_OK);
        cr_assert_eq(hl_token_cache_open(&c, &got), HL_OK, "%s", hl_err_message());
        cr_expect_eq(w.first < 600000, is_damaged, "%d: went on at %lld", k, (long long)w.first);
        cr_expect_eq(strstr(said, "starts again") != NULL, is_damaged, "%d: '%s'", k, said);
        cr_assert_eq(got.map.n, want.map.n);
        cr_assert_eq(memcmp(got.map.bytes, want.map.bytes, want.map.n), 0, "%d", k);
        hl_token_file_close(&got);
        hl_team_free(c.team);
        c.team = NULL;
        cr_assert_eq(unlink(first), 0);
    }
    hl_token_file_close(&want);
    hl_free(first);
    hl_free(kept);
    hl_tok_unref(tok);
    hl_text_close(text);
    unlink(path);
}

/* Four at once: one builds, the others wait, all open the same. */
Test(cache, processes_do_not_disturb_each_other)
{
    const char *path;
    hl_text *text = prose_file(6, 3000000, &path);
    hl_tok *tok = small_tok();
    watch w = {.stop_at = INT64_MAX};
    const hl_token_cache c = cache_of(text, tok, &w);
    pid_t child[4];
    hl_token_file f;
    for (int i = 0; i < 4; i++)
        if ((child[i] = fork()) == 0)
            _exit(hl_token_cache_open(&c, &f) == HL_OK ? (int)(f.hash % 100) : 101);
    int code[4];
    for (int i = 0; i < 4; i++) {
        int status;
        cr_assert_eq(waitpid(child[i], &status, 0), child[i]);
        cr_assert(WIFEXITED(status));
        code[i] = WEXITSTATUS(status);
    }
    cr_assert_eq(hl_token_cache_open(&c, &f), HL_OK, "%s", hl_err_message());
    cr_assert_eq(w.n_calls, 0, "it is there");
    for (int i = 0; i < 4; i++)
        cr_assert_eq(code[i], (int)(f.hash % 100), "process %d: %d", i, code[i]);
    hl_token_file_close(&f);
    hl_tok_unref(tok);
    hl_text_close(text);
    unlink(path);
}

typedef struct sum {
    hl_token_list list;
    size_t n_bytes, at;
} sum;

static hl_status add(void *arg, const hl_token_list *tokens, size_t n_bytes, size_t at)
{
    sum *s = arg;
    cr_assert_gt(at, s->at);
    s->at = at;
    s->n_bytes += n_bytes;
    return hl_token_list_join(&s->list, tokens, 1);
}

Test(cache, threads_do_not_show)
{
    const char *path;
    hl_text *text = prose_file(7, 5000000, &path);
    hl_tok *tok = small_tok();
    static const int n_threads[] = {1, 2, 5};
    for (int rows = 0; rows < HL_ROWS_COUNT; rows++) {
        hl_encode_job job = {.tok = tok,
                             .text = text,
                             .to = hl_text_n_bytes(text),
                             .width = 1,
                             .rows = (hl_rows)rows,
                             .seq_len = 100};
        sum s[3] = {0};
        cr_assert_eq(hl_row_frame_of(tok, &job.frame), HL_OK);
        for (int i = 0; i < 3; i++) {
            hl_team *team = NULL;
            cr_assert_eq(hl_team_new(n_threads[i], &team), HL_OK);
            cr_assert_eq(hl_encode_run(&job, team, add, &s[i]), HL_OK);
            hl_team_free(team);
            cr_assert(s[i].at == job.to && s[i].n_bytes == s[0].n_bytes);
            cr_assert_eq(s[i].list.n, s[0].list.n);
            cr_assert_eq(memcmp(s[i].list.at, s[0].list.at, s[0].list.n), 0);
        }
        for (int i = 0; i < 3; i++)
            hl_token_list_done(&s[i].list);
    }
    hl_tok_unref(tok);
    hl_text_close(text);
    unlink(path);
}

Test(cache, faults_are_said_and_nothing_leaks)
{
    hl_text *text = NULL;
    cr_assert_eq(hl_synth_text(8, 30000, NULL, &text), HL_OK);
    hl_corpus_params p = params_of(text, NULL, HL_ROWS_NONE);
    hl_corpus *c = NULL;
    const char *file = write_temp("not-a-directory", "x", 1);
    p.cache = file;
    cr_assert_neq(hl_corpus_new(&p, &c), HL_OK);
    cr_assert_not_null(strstr(hl_err_message(), "not-a-directory"), "%s", hl_err_message());
    unlink(file);
    p.cache = dir;
    const int64_t live = hl_mem_get_stats().live_bytes;
    hl_status st = HL_E_NOMEM;
    for (int64_t n = 0; st != HL_OK; n++) {
        hl_mem_fail_after(n);
        st = hl_corpus_new(&p, &c);
        hl_mem_fail_after(-1);
        cr_assert(st == HL_OK || st == HL_E_NOMEM, "%s", hl_err_message());
        if (st == HL_OK)
            hl_corpus_unref(c);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live);
    }
    hl_text_close(text);
}
