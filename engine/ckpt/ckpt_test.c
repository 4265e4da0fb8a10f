/* safetensors files and checkpoint directories: round trips, and every kind of damage. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/ckpt/checkpoint.h"

static char dir[64], path[128];

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/hoplab-ckpt-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.safetensors", dir);
}

static void remove_dir(void)
{
    HL_IGNORE(hl_fs_remove_tree(dir));
}

TestSuite(safetensors, .init = make_dir, .fini = remove_dir);
TestSuite(checkpoint, .init = make_dir, .fini = remove_dir);

static const float weights[6] = {1, -2, 3.5f, 0, 1e-30f, -1e30f};
static const int32_t ids[2] = {-7, 1 << 30};
static const hl_tensor_entry sample[] = {
    {.name = "layer.0/w \"quoted\" é", .type = {.dtype = HL_DTYPE_F32, .rank = 2, .dim = {2, 3}},
     .data = weights},
    {.name = "ids", .type = {.dtype = HL_DTYPE_I32, .rank = 1, .dim = {2}}, .data = ids},
    {.name = "scalar", .type = {.dtype = HL_DTYPE_F32}, .data = weights},
    {.name = "none", .type = {.dtype = HL_DTYPE_F32, .rank = 2, .dim = {0, 4}}, .data = weights},
};
enum { N_SAMPLE = sizeof sample / sizeof sample[0] };

static void write_sample(void)
{
    cr_assert_eq(hl_safetensors_write(path, sample, N_SAMPLE, NULL), HL_OK, "%s", hl_err_message());
}

Test(safetensors, what_was_written_is_read)
{
    hl_safetensors *f;
    write_sample();
    cr_assert_eq(hl_safetensors_open(path, &f), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_safetensors_count(f), N_SAMPLE);
    for (int i = 0; i < N_SAMPLE; i++) {
        const hl_tensor_entry *e = hl_safetensors_find(f, sample[i].name);
        cr_assert(e, "%s", sample[i].name);
        cr_assert_eq(e->type.dtype, sample[i].type.dtype);
        cr_assert(hl_shape_equal(&e->type, &sample[i].type));
        cr_assert_eq(memcmp(e->data, sample[i].data, hl_type_bytes(&e->type)), 0);
    }
    cr_assert_str_eq(hl_safetensors_metadata(f, "format"), "pt");
    cr_assert_null(hl_safetensors_find(f, "nothing"));
    hl_safetensors_close(f);
}

/* Reads all that a file, however damaged, claims to hold. */
static void touch(const hl_safetensors *f)
{
    volatile unsigned char sum = 0;
    for (size_t i = 0; i < hl_safetensors_count(f); i++) {
        const hl_tensor_entry *e = hl_safetensors_at(f, i);
        for (size_t k = 0; k < hl_type_bytes(&e->type); k++)
            sum = (unsigned char)(sum + ((const unsigned char *)e->data)[k]);
    }
}

static void put(const char *where, const void *bytes, size_t n)
{
    FILE *f = fopen(where, "wb");
    cr_assert(f);
    cr_assert_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* Opens or refuses, never crashes; a refusal names the file. */
static hl_status try_bytes(const char *bytes, size_t n)
{
    hl_safetensors *f;
    put(path, bytes, n);
    hl_status st = hl_safetensors_open(path, &f);
    if (st == HL_OK) {
        touch(f);
        hl_safetensors_close(f);
    } else {
        cr_assert_eq(st, HL_E_FORMAT, "%s", hl_err_message());
        cr_assert(strstr(hl_err_message(), path), "%s", hl_err_message());
    }
    return st;
}

Test(safetensors, every_bit_of_the_header_flipped)
{
    char *bytes;
    size_t n;
    write_sample();
    cr_assert_eq(hl_fs_read(path, 1 << 20, &bytes, &n), HL_OK);
    const size_t header = 8 + (size_t)(unsigned char)bytes[0] + ((size_t)(unsigned char)bytes[1] << 8);
    cr_assert_lt(header, n);
    int refused = 0;
    for (size_t i = 0; i < header; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] = (char)(bytes[i] ^ (1 << bit));
            refused += try_bytes(bytes, n) != HL_OK;
            bytes[i] = (char)(bytes[i] ^ (1 << bit));
        }
    cr_assert_gt(refused, (int)header, "most flips must be noticed");
    cr_assert_eq(try_bytes(bytes, n), HL_OK);
    hl_free(bytes);
}

Test(safetensors, cut_anywhere_is_refused)
{
    char *bytes;
    size_t n;
    write_sample();
    cr_assert_eq(hl_fs_read(path, 1 << 20, &bytes, &n), HL_OK);
    for (size_t i = 0; i < n; i++)
        cr_assert_neq(try_bytes(bytes, i), HL_OK, "cut to %zu of %zu bytes", i, n);
    hl_free(bytes);
}

Test(safetensors, forged_headers)
{
    static const struct {
        const char *header, *word;
        int n_buffer;
    } c[] = {
        {"{}", NULL, 0},
        {"{}", "0 bytes of tensors", 4},
        {"[]", "no JSON object", 0},
        {"{", "header", 0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", NULL, 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", "needs 8 bytes", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", "needs", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", "needs", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", "starts at 4", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", "impossible shape", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}",
         "impossible shape", 0},
        {"{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}", "element type 'F99'", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}",
         "dimensions", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "needs", 4},
        {"{\"a\":7}", "element type", 0},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", "starts at 1", 3},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", "twice", 2},
        {"{\"__metadata__\":{\"x\":3}}", "strings", 0},
    };
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        char bytes[512] = {0};
        const size_t n = strlen(c[i].header);
        bytes[0] = (char)n;
        memcpy(bytes + 8, c[i].header, n);
        hl_status st = try_bytes(bytes, 8 + n + (size_t)c[i].n_buffer);
        cr_assert_eq(st == HL_OK, c[i].word == NULL, "%s: %s", c[i].header,
                     st == HL_OK ? "taken" : hl_err_message());
        if (c[i].word)
            cr_assert(strstr(hl_err_message(), c[i].word), "%s: %s", c[i].header, hl_err_message());
    }
}

Test(safetensors, a_failed_write_leaves_the_old_file)
{
    hl_safetensors *f;
    write_sample();
    hl_mem_fail_after(0);
    cr_assert_eq(hl_safetensors_write(path, sample, 1, NULL), HL_E_NOMEM);
    hl_mem_fail_after(-1);
    cr_assert_eq(hl_safetensors_open(path, &f), HL_OK);
    cr_assert_eq(hl_safetensors_count(f), N_SAMPLE);
    hl_safetensors_close(f);
    cr_assert_eq(hl_safetensors_write("/nowhere/at/all", sample, 1, NULL), HL_E_NOTFOUND);
    cr_assert(strstr(hl_err_message(), "/nowhere/at/all"));
}

/* --- checkpoints --- */

static const hl_checkpoint_in in = {.model = sample, .n_model = N_SAMPLE, .optim = sample + 1,
                                    .n_optim = 1, .state_json = "{\"step\": 7}",
                                    .config_json = "{\"a\": [1, 2]}"};
static const char *const files[] = {"model.safetensors", "optim.safetensors", "state.json",
                                    "config.json"};

static void write_checkpoint(char to[160])
{
    snprintf(to, 160, "%s/step-1", dir);
    cr_assert_eq(hl_checkpoint_write(to, &in), HL_OK, "%s", hl_err_message());
}

Test(checkpoint, round_trip_and_replacement)
{
    char to[160];
    for (int round = 0; round < 2; round++) {
        hl_checkpoint c;
        write_checkpoint(to);
        cr_assert_eq(hl_checkpoint_open(to, &c), HL_OK, "%s", hl_err_message());
        cr_assert_eq(hl_json_int(hl_json_get(c.state, "step"), 0), 7);
        cr_assert_eq(hl_safetensors_count(c.model), N_SAMPLE);
        cr_assert_eq(hl_safetensors_count(c.optim), 1);
        hl_checkpoint_close(&c);
    }
    hl_fs_list list;
    cr_assert_eq(hl_fs_list_dir(dir, &list), HL_OK);
    cr_assert_eq(list.n, 1, "nothing temporary is left");
    hl_fs_list_free(&list);
}

/* Whatever byte of whatever file differs, the checkpoint is refused and the file is named. */
Test(checkpoint, every_byte_counts)
{
    char to[160], file[200];
    write_checkpoint(to);
    for (size_t k = 0; k < sizeof files / sizeof files[0]; k++) {
        char *bytes;
        size_t n;
        snprintf(file, sizeof file, "%s/%s", to, files[k]);
        cr_assert_eq(hl_fs_read(file, 1 << 20, &bytes, &n), HL_OK);
        for (size_t i = 0; i < n; i++) {
            hl_checkpoint c;
            bytes[i] = (char)(bytes[i] ^ (1 << i % 8));
            put(file, bytes, n);
            cr_assert_eq(hl_checkpoint_open(to, &c), HL_E_FORMAT, "%s byte %zu", files[k], i);
            cr_assert(strstr(hl_err_message(), files[k]), "%s", hl_err_message());
            bytes[i] = (char)(bytes[i] ^ (1 << i % 8));
        }
        put(file, bytes, n - 1);
        hl_checkpoint c;
        cr_assert_eq(hl_checkpoint_open(to, &c), HL_E_FORMAT);
        put(file, bytes, n);
        cr_assert_eq(hl_checkpoint_open(to, &c), HL_OK, "%s", hl_err_message());
        hl_checkpoint_close(&c);
        hl_free(bytes);
    }
}

Test(checkpoint, a_file_or_done_is_missing)
{
    char to[160], file[200];
    hl_checkpoint c;
    for (size_t k = 0; k <= sizeof files / sizeof files[0]; k++) {
        write_checkpoint(to);
        snprintf(file, sizeof file, "%s/%s", to, k < sizeof files / sizeof files[0] ? files[k] : "DONE");
        cr_assert_eq(unlink(file), 0);
        cr_assert_neq(hl_checkpoint_open(to, &c), HL_OK);
    }
    cr_assert_eq(hl_checkpoint_open("/nowhere/step-1", &c), HL_E_NOTFOUND);
}

/* Out of memory at any point: an error, and the checkpoint that was there still opens. */
Test(checkpoint, failed_allocations_lose_nothing)
{
    char to[160];
    write_checkpoint(to);
    bool done = false;
    for (int n = 0; n < 500 && !done; n++) {
        hl_checkpoint c;
        hl_mem_fail_after(n);
        hl_status st = hl_checkpoint_write(to, &in);
        hl_mem_fail_after(-1);
        done = st == HL_OK;
        cr_assert(st == HL_OK || st == HL_E_NOMEM, "%s", hl_err_message());
        cr_assert_eq(hl_checkpoint_open(to, &c), HL_OK, "after %d: %s", n, hl_err_message());
        hl_checkpoint_close(&c);
    }
    cr_assert(done);
}
