/* What is said in the table is well formed, and true of the files that are here. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <strings.h>

#include "data/data_test.h"
#include "data/fetch/fetch.h"
#include "data/fetch/sets.h"

static void check_file(const hl_set_file *f)
{
    cr_assert(f->path[0] != '/' && !strstr(f->path, ".."), "%s", f->path);
    cr_assert(f->n_bytes == -1 || f->n_bytes > 0, "%s", f->path);
    cr_assert(!f->sha256 ||
                  (strlen(f->sha256) == 64 && strspn(f->sha256, "0123456789abcdef") == 64),
              "%s", f->path);
    cr_assert_not_null(f->addresses[0], "%s", f->path);
    cr_assert_null(f->addresses[HL_SET_ADDRESSES_MAX], "%s", f->path);
    for (int i = 0; f->addresses[i]; i++) {
        const bool is_safe = strncmp(f->addresses[i], "https://", 8) == 0;
        cr_assert(is_safe || (f->sha256 && strncmp(f->addresses[i], "http://", 7) == 0),
                  "%s without https needs a sum", f->addresses[i]);
        cr_assert_null(strchr(f->addresses[i], ' '));
    }
}

Test(sets, are_well_formed)
{
    size_t n = 0;
    for (const hl_set *s; (s = hl_set_at(n)) != NULL; n++) {
        cr_assert(s->name && s->what && s->licence);
        cr_assert_eq(hl_set_find(s->name), s);
        cr_assert(s->n_files > 0 || s->note, "%s: why are there no files?", s->name);
        for (size_t i = 0; i < s->n_files; i++)
            check_file(&s->files[i]);
    }
    cr_assert_eq(n, 18);
    cr_assert_eq(hl_set_find("etth1"), hl_set_find("ETTh1"));
    cr_assert_null(hl_set_find("nonesuch"));
    cr_assert_str_eq(hl_set_nearest("mnits"), "mnist");
}

/* Sets that lie beside the checkout have the sizes and sums of the table. */
Test(sets, sums_are_right)
{
    static const char *const here[] = {"mnist", "tinyshakespeare", "ETTh1",
                                       "ETTh2", "ETTm1",           "WTH"};
    int n = 0;
    for (size_t i = 0; i < sizeof here / sizeof *here; i++)
        for (size_t k = 0; k < hl_set_find(here[i])->n_files; k++) {
            const hl_set_file *f = &hl_set_find(here[i])->files[k];
            const char *path = find_data(f->path);
            char hex[HL_SHA256_HEX];
            if (!path)
                continue;
            cr_assert_eq(hl_fs_size(path), f->n_bytes, "%s", path);
            cr_assert_eq(hl_file_sha256(path, NULL, hex), HL_OK);
            cr_assert_str_eq(hex, f->sha256, "%s", path);
            n++;
        }
    if (n == 0)
        cr_skip_test("no public data here: sums were not compared");
}

Test(sets, packed_or_not_does_not_matter)
{
    const hl_set_file *f = &hl_set_find("mnist")->files[0];
    char dir[] = "/tmp/hoplab-sets-XXXXXX", file[128];
    bool is_there = true;
    cr_assert_not_null(mkdtemp(dir));
    char *path = hl_set_path(dir, f, &is_there);
    cr_assert(!is_there && hl_str_ends(path, "/mnist/train-images-idx3-ubyte.gz"), "%s", path);
    hl_free(path);
    snprintf(file, sizeof file, "%s/mnist", dir);
    cr_assert_eq(hl_fs_make_dir(file), HL_OK);
    snprintf(file, sizeof file, "%s/mnist/train-images-idx3-ubyte", dir);
    cr_assert_eq(hl_fs_write_atomic(file, "x", 1), HL_OK);
    path = hl_set_path(dir, f, &is_there);
    cr_assert(is_there && strcmp(path, file) == 0, "%s", path);
    hl_free(path);
    cr_assert_eq(hl_fs_remove_tree(dir), HL_OK);
}
