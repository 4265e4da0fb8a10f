#define _POSIX_C_SOURCE 200809L

#include "data/text/rows.h"

#include <criterion/criterion.h>

#include "data/data_test.h"
#include "engine/base/hash.h"
#include "engine/base/json.h"

static const char words[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\n";

static hl_tok *tok_of(const char *name, const char *vocab)
{
    hl_tok *t = NULL;
    const char *path = write_temp(name, vocab, strlen(vocab));
    cr_assert_eq(hl_tok_open(path, &t), HL_OK, "%s", hl_err_message());
    unlink(path);
    return t;
}

static hl_corpus_params params_of(const hl_text *text, hl_tok *tok, hl_rows rows, int64_t seq_len)
{
    hl_corpus_params p = hl_corpus_params_default();
    p.train = text;
    p.holdout = 0;
    p.tok = tok;
    p.rows = rows;
    p.seq_len = seq_len;
    return p;
}

static hl_corpus *corpus_of(hl_corpus_params p)
{
    hl_corpus *c = NULL;
    cr_assert_eq(hl_corpus_new(&p, &c), HL_OK, "%s", hl_err_message());
    return c;
}

/* The rows of a text, "|" before the text of each and "/" where the next begins. */
static void expect_rows(const char *s, hl_rows kind, const char *want)
{
    const hl_text_span span = {.bytes = (const unsigned char *)s, .n = strlen(s)};
    hl_str got = {0};
    for (size_t at = 0; at < span.n;) {
        const hl_row row = hl_row_next(span, at, kind);
        cr_assert(row.end > at && row.end <= span.n);
        cr_assert(row.text.bytes >= span.bytes + at &&
                  row.text.bytes + row.text.n <= span.bytes + row.end);
        hl_str_addf(&got, "%s%.*s%zu", row.is_gap ? "-" : "|", (int)row.text.n,
                    (const char *)row.text.bytes, row.end);
        at = row.end;
    }
    cr_assert_str_eq(hl_str_text(&got), want);
    hl_str_done(&got);
}

Test(rows, lines_and_documents)
{
    expect_rows("a\n \nb", HL_ROWS_LINE, "|a\n2|4|b5");
    expect_rows("\n\xC2\xA0\r\na\r\n", HL_ROWS_LINE, "|1|5|a\r\n8");
    expect_rows("a\nb\n\n \nc\r\n\n", HL_ROWS_DOCUMENT, "|a\nb7|c11");
    expect_rows("\n\na", HL_ROWS_DOCUMENT, "|a3");
    expect_rows("\n \n", HL_ROWS_DOCUMENT, "-3");
    hl_rows kind = HL_ROWS_NONE;
    cr_assert_eq(hl_rows_of_name("document", &kind), HL_OK);
    cr_assert_eq(kind, HL_ROWS_DOCUMENT);
    cr_assert_eq(hl_rows_of_name("lines", &kind), HL_E_ARG);
    cr_assert_not_null(strstr(hl_err_message(), "not 'lines'"));
}

/* A row of JSONL has its line breaks, and no line end of ours; wherever the text is cut. */
Test(rows, rows_of_a_file_are_its_own)
{
    static const char lines[] =
        "{\"text\":\"a\\n\\nb\"}\n{\"text\":\"\"}\n{\"text\":\"c d\"}\n{\"text\":\" \"}\n";
    const char *path = write_temp("rows.jsonl", lines, sizeof lines - 1);
    hl_text *text = NULL;
    cr_assert_eq(hl_text_open(&path, 1, &text), HL_OK, "%s", hl_err_message());
    const hl_text_span all = hl_text_file(text, 0);
    static const struct {
        size_t n, end;
    } want[] = {{4, 5}, {0, 6}, {3, 10}, {1, 12}};
    for (hl_rows kind = HL_ROWS_LINE; kind <= HL_ROWS_DOCUMENT; kind++)
        for (size_t from = 0; from < all.n; from++) {
            const hl_text_span s = hl_text_slice(all, from, all.n);
            const hl_row row = hl_row_next(s, 0, kind);
            int i = 0;
            while (want[i].end <= from)
                i++;
            cr_assert_eq(row.end, want[i].end - from);
            cr_assert_eq(row.text.n, want[i].end - from - 1);
            cr_assert_eq(
                hl_row_next(hl_text_slice(s, 0, row.end - 1 ? row.end - 1 : 1), 0, kind).end,
                row.end - 1 ? row.end - 1 : 1);
        }
    hl_tok *tok = tok_of("vocab.txt", words);
    hl_corpus *c = corpus_of(params_of(text, tok, HL_ROWS_LINE, 12));
    static const int32_t ids_want[] = {2, 5, 6, 3, 2, 3, 2, 7, 8, 3, 2, 3};
    int32_t ids[12];
    cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, 0, 12, ids), HL_OK);
    cr_assert_eq(memcmp(ids, ids_want, sizeof ids), 0);
    cr_assert_eq(hl_corpus_get_info(c)->part[0].n_bytes, 12);
    hl_corpus_unref(c);
    hl_text_close(text);
    hl_tok_unref(tok);
    unlink(path);
}

Test(rows, a_share_is_the_first_rows)
{
    static const char lines[] = "{\"text\":\"a\\nb\"}\n{\"text\":\"c\"}\n{\"text\":\"d\"}\n";
    const char *paths[] = {write_temp("s.txt", "1\n2\n\n3\n", 7), write_temp("t.txt", "4\n5", 3),
                           write_temp("u.jsonl", lines, sizeof lines - 1)};
    static const struct {
        double percent;
        hl_rows kind;
        size_t bytes[3];
    } cases[] = {
        {100, HL_ROWS_LINE, {7, 3, 8}},   /* six lines in two files, three rows */
        {50, HL_ROWS_LINE, {5, 0, 6}},    /* 3 and 1.5, to the even one */
        {50, HL_ROWS_NONE, {5, 0, 6}},    /* lines too */
        {67, HL_ROWS_DOCUMENT, {7, 0, 6}} /* two of three, where a file ends one; two */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hl_text *t = NULL;
        cr_assert_eq(hl_text_open(paths, 3, &t), HL_OK, "%s", hl_err_message());
        cr_assert_eq(hl_text_keep(t, 0, 2, cases[i].kind, cases[i].percent), HL_OK);
        cr_assert_eq(hl_text_keep(t, 2, 1, cases[i].kind, cases[i].percent), HL_OK);
        size_t n = 0;
        for (size_t k = 0; k < 3; k++) {
            cr_expect_eq(hl_text_file(t, k).n, cases[i].bytes[k], "case %zu, file %zu: %zu", i, k,
                         hl_text_file(t, k).n);
            n += cases[i].bytes[k];
        }
        cr_assert_eq(hl_text_n_bytes(t), n);
        cr_assert_eq(hl_text_measure(t).n_rows, cases[i].percent == 100 ? 3 : 2);
        hl_text_close(t);
    }
    hl_text *t = NULL;
    cr_assert_eq(hl_text_open(paths, 3, &t), HL_OK);
    cr_assert_eq(hl_text_keep(t, 0, 3, HL_ROWS_LINE, 0), HL_E_ARG);
    cr_assert_eq(hl_text_keep(t, 0, 3, HL_ROWS_LINE, 1), HL_E_ARG);
    cr_assert_not_null(strstr(hl_err_message(), "of 9 rows"), "%s", hl_err_message());
    hl_text_close(t);
    for (int i = 0; i < 3; i++)
        unlink(paths[i]);
}

Test(rows, blocks_are_whole_and_bytes_are_counted)
{
    hl_tok *tok = tok_of("vocab.txt", words);
    hl_text *text = text_of("a b\n\nc d a\n");
    /* [CLS] a b [SEP] [CLS] [SEP] [CLS] c d a [SEP]: 11 tokens of 4 + 1 + 6 bytes */
    static const int32_t want[] = {2, 5, 6, 3, 2, 3, 2, 7, 8, 5, 3};
    static const int64_t bytes[] = {0, 0, 0, 0, 0, 0, 5, 6, 7, 8, 9, 11};
    for (int64_t n = 2; n <= 11; n++) {
        hl_corpus *c = corpus_of(params_of(text, tok, HL_ROWS_LINE, n));
        const hl_corpus_info *info = hl_corpus_get_info(c);
        const int64_t kept = 11 / n * n;
        int32_t ids[11];
        cr_assert_eq(info->part[0].n_tokens, kept);
        cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, 0, kept, ids), HL_OK);
        cr_assert_eq(memcmp(ids, want, (size_t)kept * sizeof *ids), 0);
        if (kept == n)
            cr_expect_eq(info->part[0].n_bytes,
                         n == 7   ? 6
                         : n == 6 ? 5
                                  : bytes[n],
                         "seq_len %lld: %lld bytes", (long long)n,
                         (long long)info->part[0].n_bytes);
        cr_assert_eq(info->seq_len, n);
        hl_corpus_unref(c);
    }
    hl_corpus *c = NULL;
    hl_corpus_params p = params_of(text, tok, HL_ROWS_LINE, 12);
    cr_assert_eq(hl_corpus_new(&p, &c), HL_E_ARG);
    cr_assert_not_null(strstr(hl_err_message(), "fill a block of seq_len 12"), "%s",
                       hl_err_message());
    hl_text_close(text);
    hl_tok_unref(tok);
}

/* 2500 lines of three tokens in two files: groups go over the end of a file, blocks not over the
 * end of a group. */
Test(rows, no_block_crosses_a_group)
{
    hl_tok *tok = tok_of("vocab.txt", words);
    hl_str first = {0}, second = {0};
    for (int i = 0; i < 2500; i++)
        hl_str_add(i < 1300 ? &first : &second, i < 1000 ? "a\n" : i < 2000 ? "b\n" : "c\n");
    const char *paths[] = {write_temp("first.txt", first.s, first.n),
                           write_temp("second.txt", second.s, second.n)};
    hl_text *text = NULL;
    cr_assert_eq(hl_text_open(paths, 2, &text), HL_OK, "%s", hl_err_message());
    hl_corpus *c = corpus_of(params_of(text, tok, HL_ROWS_LINE, 700));
    const hl_corpus_info *info = hl_corpus_get_info(c);
    cr_assert_eq(info->part[0].n_tokens, (4 + 4 + 2) * 700);
    /* 933 rows and a third of the next, twice; 466 and two thirds */
    cr_assert_eq(info->part[0].n_bytes, 2 * 1866 + 933);
    for (int block = 0; block < 10; block++) {
        int32_t ids[700], own = block < 4 ? 5 : block < 8 ? 6 : 7;
        cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, block * 700, 700, ids), HL_OK);
        for (int i = 0; i < 700; i++)
            cr_assert(ids[i] == own || ids[i] == 2 || ids[i] == 3);
    }
    hl_corpus_unref(c);
    hl_text_close(text);
    hl_tok_unref(tok);
    unlink(paths[0]);
    unlink(paths[1]);
    hl_str_done(&first);
    hl_str_done(&second);
}

Test(rows, masking_spares_what_stands_around_rows)
{
    hl_tok *tok = tok_of("vocab.txt", words);
    hl_str s = {0};
    for (int i = 0; i < 1000; i++)
        hl_str_add(&s, i % 3 ? "a b c\n" : "\n");
    hl_text *text = text_of(s.s);
    hl_corpus *c = corpus_of(params_of(text, tok, HL_ROWS_LINE, 64));
    hl_loader_params p = hl_loader_params_default();
    hl_loader *l = NULL;
    p.corpus = c;
    p.objective = HL_OBJECTIVE_MLM;
    p.seq_len = 128;
    cr_assert_eq(hl_loader_open(&p, &l), HL_E_ARG);
    cr_assert_not_null(strstr(hl_err_message(), "cut into blocks of 64"), "%s", hl_err_message());
    p.seq_len = 64;
    p.mask_prob = 1;
    p.mode = HL_LOADER_EVAL;
    cr_assert_eq(hl_loader_open(&p, &l), HL_OK, "%s", hl_err_message());
    const hl_batch *b = NULL;
    int64_t n_special = 0;
    while (hl_loader_next(l, &b) == HL_OK && b) {
        for (int64_t i = 0; i < b->n_tokens; i++) {
            int32_t was;
            cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, b->blocks[i / 64] * 64 + i % 64, 1, &was),
                         HL_OK);
            const bool is_special = was == 2 || was == 3;
            cr_assert_eq(b->labels[i], is_special ? HL_LABEL_NONE : was);
            cr_assert(!is_special || b->ids[i] == was);
            n_special += is_special;
        }
        hl_loader_give_back(l, b);
    }
    cr_assert_geq(n_special, 1900);
    hl_loader_close(l);
    hl_corpus_unref(c);
    hl_text_close(text);
    hl_tok_unref(tok);
    hl_str_done(&s);
}

static void expect_refused(hl_corpus_params p, const char *message)
{
    hl_corpus *c = NULL;
    cr_assert_eq(hl_corpus_new(&p, &c), HL_E_ARG);
    cr_assert_not_null(strstr(hl_err_message(), message), "%s", hl_err_message());
}

Test(rows, refuses_and_tells_apart)
{
    hl_tok *tok = tok_of("vocab.txt", words), *bare = tok_of("vocab.txt", "[UNK]\na\n");
    hl_text *text = text_of("a b c\n\nb c d\na a\n");
    hl_corpus_params p = params_of(text, NULL, HL_ROWS_LINE, 4);
    expect_refused(p, "'bytes' has none");
    p.tok_kind = "words";
    expect_refused(p, "'words' has none");
    expect_refused(params_of(text, bare, HL_ROWS_LINE, 4), "[CLS] and [SEP]");
    expect_refused(params_of(text, tok, HL_ROWS_LINE, 0), "seq_len of 2 .. 1048576");
    expect_refused(params_of(text, tok, (hl_rows)9, 4), "kind 9");
    const hl_rows kinds[] = {HL_ROWS_NONE, HL_ROWS_LINE, HL_ROWS_LINE, HL_ROWS_DOCUMENT};
    uint64_t hash[4];
    for (int i = 0; i < 4; i++) {
        hl_corpus *c = corpus_of(params_of(text, tok, kinds[i], i == 2 ? 2 : 4));
        hash[i] = hl_corpus_get_info(c)->hash;
        for (int k = 0; k < i; k++)
            cr_assert_neq(hash[i], hash[k]);
        hl_corpus_unref(c);
    }
    hl_text_close(text);
    hl_tok_unref(tok);
    hl_tok_unref(bare);
}

/* A row is encoded whole, however long it is. */
Test(rows, long_rows_are_encoded_as_one)
{
    enum { N = 700000 };
    hl_tok *tok = tok_of("vocab.txt", words);
    char *s = hl_alloc(N);
    for (int i = 0; i < N; i++)
        s[i] = i + 1 == N ? '\n' : i % 2 ? ' ' : "abcd"[i / 2 % 4];
    hl_text *text = NULL;
    cr_assert_eq(hl_text_from_bytes("long", s, N, &text), HL_OK);
    hl_corpus *c = corpus_of(params_of(text, tok, HL_ROWS_DOCUMENT, N / 2 + 2));
    int32_t ids[3];
    cr_assert_eq(hl_corpus_get_info(c)->part[0].n_tokens, N / 2 + 2);
    cr_assert_eq(hl_corpus_get_info(c)->part[0].n_bytes, N);
    cr_assert_eq(hl_corpus_read(c, HL_PART_TRAIN, N / 2 - 1, 3, ids), HL_OK);
    cr_assert(ids[0] == 7 && ids[1] == 8 && ids[2] == 3, "%d %d %d", ids[0], ids[1], ids[2]);
    hl_corpus_unref(c);
    hl_text_close(text);
    hl_tok_unref(tok);
    hl_free(s);
}

Test(rows, no_leak_when_memory_fails)
{
    hl_tok *tok = tok_of("vocab.txt", words);
    hl_text *text = text_of("a b c\n\nb c d\na a\n");
    const int64_t live = hl_mem_get_stats().live_bytes;
    hl_status st = HL_E_NOMEM;
    for (int64_t n = 0; st != HL_OK; n++) {
        hl_corpus_params p = params_of(text, tok, HL_ROWS_LINE, 4);
        hl_corpus *c = NULL;
        hl_mem_fail_after(n);
        st = hl_corpus_new(&p, &c);
        hl_mem_fail_after(-1);
        hl_corpus_unref(c);
        cr_assert(st == HL_OK || st == HL_E_NOMEM, "%s", hl_err_message());
        cr_assert_eq(hl_mem_get_stats().live_bytes, live);
    }
    hl_text_close(text);
    hl_tok_unref(tok);
}

/* ---- the reference (tests/oracle/rows.py) ---------------------------------------------------- */

static void expect_case(const hl_json *c)
{
    char at[200];
    snprintf(at, sizeof at, "tokenizers/%s", hl_json_str(hl_json_get(c, "tokens"), ""));
    const char *path = find_data(at);
    if (!path)
        cr_skip_test("no %s in HOPLAB_DATA or ../shared/data", at);
    hl_tok *tok = NULL;
    hl_text *text = NULL;
    hl_rows rows;
    cr_assert_eq(hl_tok_open(path, &tok), HL_OK, "%s", hl_err_message());
    snprintf(at, sizeof at, "text/%s", hl_json_str(hl_json_get(c, "text"), ""));
    path = find_data(at);
    if (!path)
        cr_skip_test("no %s in HOPLAB_DATA or ../shared/data", at);
    cr_assert_eq(hl_text_open(&path, 1, &text), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_rows_of_name(hl_json_str(hl_json_get(c, "rows"), ""), &rows), HL_OK);
    const int64_t seq_len = hl_json_int(hl_json_get(c, "seq_len"), 0);
    hl_corpus *corpus = corpus_of(params_of(text, tok, rows, seq_len));
    const hl_corpus_part_info *part = &hl_corpus_get_info(corpus)->part[HL_PART_TRAIN];
    const int64_t n = part->n_tokens;
    cr_expect_eq(n, seq_len * hl_json_int(hl_json_get(c, "blocks"), -1), "%lld tokens",
                 (long long)n);
    int32_t *ids = hl_alloc_zero((size_t)n, sizeof *ids);
    cr_assert_eq(hl_corpus_read(corpus, HL_PART_TRAIN, 0, n, ids), HL_OK);
    cr_expect_eq(hl_hash_bytes(HL_HASH_START, ids, (size_t)n * sizeof *ids),
                 strtoull(hl_json_str(hl_json_get(c, "fnv1a"), ""), NULL, 16), "%s by %s, %lld",
                 hl_rows_name(rows), hl_json_str(hl_json_get(c, "tokens"), ""), (long long)seq_len);
    cr_expect(part->n_bytes > 1000000 && part->n_bytes <= (int64_t)hl_text_n_bytes(text));
    hl_free(ids);
    hl_corpus_unref(corpus);
    hl_text_close(text);
    hl_tok_unref(tok);
}

Test(rows, blocks_of_wikitext_are_those_of_the_reference)
{
    const char *source = getenv("HOPLAB_SOURCE");
    char *path = hl_fs_join(source ? source : ".", "tests/golden/tokenizers/rows.json");
    char *json = NULL;
    size_t n = 0;
    int n_cases = 0;
    hl_json *root = NULL;
    cr_assert_eq(hl_fs_read(path, 1 << 20, &json, &n), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_json_parse(json, n, &root), HL_OK, "%s", hl_err_message());
    for (const hl_json *c = hl_json_at(hl_json_get(root, "cases"), 0); c; c = hl_json_next(c))
        expect_case(c), n_cases++;
    cr_assert_eq(n_cases, 12);
    hl_json_free(root);
    hl_free(json);
    hl_free(path);
}
