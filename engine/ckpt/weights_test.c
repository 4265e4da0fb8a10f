/* Weights in one file or several: what an index may say, and every kind of damage to it. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/ckpt/weights.h"

static char dir[64], model[96], file_a[128], file_b[128], index_path[128];

static void put_text(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    cr_assert(f);
    cr_assert_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/hoplab-weights-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(model, sizeof model, "%s/m", dir);
    snprintf(file_a, sizeof file_a, "%s/a.safetensors", model);
    snprintf(file_b, sizeof file_b, "%s/b.safetensors", model);
    snprintf(index_path, sizeof index_path, "%s/model.safetensors.index.json", model);
    cr_assert_eq(hl_fs_make_dir(model), HL_OK);
}

static void remove_dir(void)
{
    HL_IGNORE(hl_fs_remove_tree(dir));
}

TestSuite(weights, .init = make_dir, .fini = remove_dir);

static const float numbers[4] = {1, -2, 3.5f, 1e-30f};
static const uint16_t halves[2] = {0x3c00, 0xc100};
static const hl_tensor_entry in_a[] = {
    {.name = "x", .type = {.dtype = HL_DTYPE_F32, .rank = 2, .dim = {2, 2}}, .data = numbers},
    {.name = "h", .type = {.dtype = HL_DTYPE_F16, .rank = 1, .dim = {2}}, .data = halves},
};
static const hl_tensor_entry in_b[] = {
    {.name = "y", .type = {.dtype = HL_DTYPE_F32, .rank = 1, .dim = {3}}, .data = numbers},
};
static const char good[] = "{\"metadata\": {\"total_size\": 32}, \"weight_map\": "
                           "{\"h\": \"a.safetensors\", \"x\": \"a.safetensors\", "
                           "\"y\": \"b.safetensors\"}}";

static void write_shards(void)
{
    cr_assert_eq(hl_safetensors_write(file_a, in_a, 2, NULL), HL_OK);
    cr_assert_eq(hl_safetensors_write(file_b, in_b, 1, NULL), HL_OK);
    put_text(index_path, good, sizeof good - 1);
}

static void touch(const hl_weights *w)
{
    volatile unsigned char sum = 0;
    for (size_t i = 0; i < hl_weights_count(w); i++) {
        const hl_tensor_entry *e = hl_weights_at(w, i);
        cr_assert_eq(hl_weights_find(w, e->name), e);
        for (size_t k = 0; k < hl_type_bytes(&e->type); k++)
            sum = (unsigned char)(sum + ((const unsigned char *)e->data)[k]);
        hl_weights_release(w, e);
    }
}

/* Opens or refuses, never crashes. */
static hl_status try_index(const char *text, size_t n)
{
    hl_weights *w;
    put_text(index_path, text, n);
    hl_status st = hl_weights_open(model, &w);
    if (st == HL_OK) {
        touch(w);
        hl_weights_close(w);
    } else {
        cr_assert(st == HL_E_FORMAT || st == HL_E_NOTFOUND, "%s", hl_err_message());
        cr_assert(strstr(hl_err_message(), dir), "%s", hl_err_message());
    }
    return st;
}

Test(weights, shards_are_one_list)
{
    hl_weights *w;
    write_shards();
    for (int k = 0; k < 2; k++) {
        cr_assert_eq(hl_weights_open(k ? index_path : model, &w), HL_OK, "%s", hl_err_message());
        cr_assert_eq(hl_weights_count(w), 3);
        cr_assert_eq(memcmp(hl_weights_find(w, "y")->data, numbers, 12), 0);
        cr_assert_eq(hl_weights_find(w, "h")->type.dtype, HL_DTYPE_F16);
        cr_assert_null(hl_weights_find(w, "z"));
        touch(w);
        hl_weights_close(w);
    }
    cr_assert_eq(hl_weights_open(file_a, &w), HL_OK);
    cr_assert_eq(hl_weights_count(w), 2);
    hl_weights_close(w);
}

Test(weights, what_an_index_must_not_say)
{
    static const struct {
        const char *text, *word;
    } c[] = {
        {"", "index.json"},
        {"[]", "weight_map"},
        {"{}", "weight_map"},
        {"{\"weight_map\":[]}", "weight_map"},
        {"{\"weight_map\":{}}", "weight_map"},
        {"{\"weight_map\":{\"x\":7}}", "no safetensors file"},
        {"{\"weight_map\":{\"x\":\"NaN\"}}", "no safetensors file"},
        {"{\"weight_map\":{\"x\":\"\"}}", "no safetensors file"},
        {"{\"weight_map\":{\"x\":\"../m/a.safetensors\"}}", "of this directory"},
        {"{\"weight_map\":{\"x\":\"..\"}}", "of this directory"},
        {"{\"weight_map\":{\"x\":\"/etc/a.safetensors\"}}", "of this directory"},
        {"{\"weight_map\":{\"x\":\"sub/a.safetensors\"}}", "of this directory"},
        {"{\"weight_map\":{\"x\":\"a.bin\"}}", "no safetensors file"},
        {"{\"weight_map\":{\"x\":\"c.safetensors\"}}", "names the file 'c.safetensors'"},
        {"{\"weight_map\":{\"y\":\"a.safetensors\"}}", "'y' is not in a.safetensors"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\"}}", "'h' of a.safetensors is not in the index"},
        {"{\"weight_map\":{\"y\":\"b.safetensors\",\"y\":\"b.safetensors\"}}", "twice"},
    };
    write_shards();
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        cr_assert_neq(try_index(c[i].text, strlen(c[i].text)), HL_OK, "%s", c[i].text);
        cr_assert(strstr(hl_err_message(), c[i].word), "%s: %s", c[i].text, hl_err_message());
    }
    cr_assert_eq(hl_safetensors_write(file_b, in_a, 1, NULL), HL_OK);
    const char two[] = "{\"weight_map\":{\"h\":\"a.safetensors\",\"x\":\"b.safetensors\"}}";
    cr_assert_eq(try_index(two, sizeof two - 1), HL_E_FORMAT);
    cr_assert(strstr(hl_err_message(), "in two files"), "%s", hl_err_message());
}

Test(weights, damaged_index)
{
    char text[sizeof good];
    write_shards();
    for (size_t i = 0; i < sizeof good - 1; i++) {
        cr_assert_neq(try_index(good, i), HL_OK, "cut to %zu bytes", i);
        for (int bit = 0; bit < 8; bit++) {
            memcpy(text, good, sizeof good);
            text[i] = (char)(text[i] ^ (1 << bit));
            (void)try_index(text, sizeof good - 1);
        }
    }
    cr_assert_eq(try_index(good, sizeof good - 1), HL_OK, "%s", hl_err_message());
    enum { DEEP = 100000 };
    char *deep = hl_alloc(DEEP);
    memset(deep, '[', DEEP);
    cr_assert_eq(try_index(deep, DEEP), HL_E_FORMAT);
    for (size_t i = 0; i < DEEP; i += 5)
        memcpy(deep + i, "{\"a\":", 5);
    cr_assert_eq(try_index(deep, DEEP), HL_E_FORMAT);
    hl_free(deep);
}

Test(weights, a_shard_is_damaged_or_missing)
{
    hl_weights *w;
    char *bytes;
    size_t n;
    write_shards();
    cr_assert_eq(hl_fs_read(file_b, 1 << 20, &bytes, &n), HL_OK);
    for (size_t i = 0; i < n; i++) {
        put_text(file_b, bytes, i);
        cr_assert_eq(hl_weights_open(model, &w), HL_E_FORMAT);
        cr_assert(strstr(hl_err_message(), "b.safetensors"), "%s", hl_err_message());
    }
    hl_free(bytes);
    cr_assert_eq(unlink(file_b), 0);
    cr_assert_eq(hl_weights_open(model, &w), HL_E_NOTFOUND);
    cr_assert(strstr(hl_err_message(), "'b.safetensors', which is not there"));
    cr_assert_eq(unlink(index_path), 0);
    cr_assert_eq(hl_weights_open(model, &w), HL_E_NOTFOUND);
    cr_assert(strstr(hl_err_message(), "neither model.safetensors nor"));
    put_text(index_path, good, 0);
    snprintf(file_b, sizeof file_b, "%s/pytorch_model.bin", model);
    put_text(file_b, good, 3);
    cr_assert_eq(unlink(index_path), 0);
    cr_assert_eq(hl_weights_open(model, &w), HL_E_NOTFOUND);
    cr_assert(strstr(hl_err_message(), "pytorch_model.bin"));
    cr_assert_eq(hl_weights_open("/nowhere/at/all", &w), HL_E_NOTFOUND);
}

Test(weights, a_directory_is_written_whole_or_not_at_all)
{
    hl_weights *w;
    hl_fs_list list;
    char to[160], config[200];
    snprintf(to, sizeof to, "%s/out/", dir);
    snprintf(config, sizeof config, "%s/config.json", to);
    bool done = false;
    for (int n = 0; n < 200 && !done; n++) {
        hl_mem_fail_after(n);
        hl_status st = hl_weights_write_dir(to, in_a, 2, "{}");
        hl_mem_fail_after(-1);
        done = st == HL_OK;
        cr_assert(done || st == HL_E_NOMEM || st == HL_E_STATE, "%s", hl_err_message());
    }
    cr_assert(done);
    cr_assert(hl_fs_exists(config));
    cr_assert_eq(hl_weights_open(to, &w), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_weights_count(w), 2);
    hl_weights_close(w);
    cr_assert_eq(hl_weights_write_dir(to, in_a, 2, "{}"), HL_E_STATE);
    cr_assert_eq(hl_weights_write_dir("/nowhere/at/all", in_a, 2, "{}"), HL_E_IO);
    cr_assert_eq(hl_fs_list_dir(dir, &list), HL_OK);
    cr_assert_eq(list.n, 2, "nothing temporary is left: %zu", list.n);
    hl_fs_list_free(&list);
}
