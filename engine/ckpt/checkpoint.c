#define _GNU_SOURCE
#include "engine/ckpt/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/crc32c.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

static const char *const files[] = {"model.safetensors", "optim.safetensors", "state.json",
                                    "config.json"};
enum { MODEL, OPTIM, STATE, CONFIG, N_FILES };
#define JSON_MAX ((size_t)256 << 20)

/* --- writing --- */

/* Size and sum of a file, piece by piece: weights must not lie in memory twice. */
static hl_status sum_file(const char *path, int64_t *n_bytes, int64_t *crc)
{
    enum { PIECE = 256 << 10 };
    hl_fs_map map = {0};
    uint32_t sum = 0;
    hl_status st = hl_fs_map_open(path, &map);
    if (st != HL_OK)
        return st;
    for (size_t at = 0; at < map.n; at += PIECE) {
        const size_t n = map.n - at < PIECE ? map.n - at : PIECE;
        sum = hl_crc32c(sum, map.bytes + at, n);
        hl_fs_map_release(&map, map.bytes + at, n);
    }
    *n_bytes = (int64_t)map.n;
    *crc = (int64_t)sum;
    hl_fs_map_close(&map);
    return HL_OK;
}

static hl_status add_to_done(hl_str *done, const char *dir, const char *name)
{
    hl_status st = HL_OK;
    int64_t n_bytes, crc;
    char *path = hl_fs_join(dir, name);
    if (!path)
        return HL_E_NOMEM;
    HL_TRY(sum_file(path, &n_bytes, &crc));
    hl_json_add_key(done, name);
    hl_json_begin(done, '{');
    hl_json_put_int(done, "bytes", n_bytes);
    hl_json_put_int(done, "crc32c", crc);
    hl_json_end(done, '}');
out:
    hl_free(path);
    return st;
}

static hl_status write_text(const char *dir, const char *name, const char *text)
{
    char *path = hl_fs_join(dir, name);
    hl_status st = path ? hl_fs_write_atomic(path, text, strlen(text)) : HL_E_NOMEM;
    hl_free(path);
    return st;
}

static hl_status write_tensors(const char *dir, const char *name, const hl_tensor_entry *t,
                               size_t n)
{
    char *path = hl_fs_join(dir, name);
    hl_status st = path ? hl_safetensors_write(path, t, n, NULL) : HL_E_NOMEM;
    hl_free(path);
    return st;
}

hl_status hl_checkpoint_seal(const char *dir, const char *const *names, size_t n)
{
    hl_status st = HL_OK;
    hl_str done = {0};
    hl_json_begin(&done, '{');
    for (size_t i = 0; i < n; i++)
        HL_TRY(add_to_done(&done, dir, names[i]));
    hl_json_end(&done, '}');
    hl_str_addc(&done, '\n');
    HL_TRY(hl_str_status(&done));
    HL_TRY(write_text(dir, "DONE", done.s));
out:
    hl_str_done(&done);
    return st;
}

static hl_status write_all(const char *dir, const hl_checkpoint_in *in)
{
    hl_status st = HL_OK;
    HL_TRY(hl_fs_remove_tree(dir));
    HL_TRY(hl_fs_make_dir(dir));
    HL_TRY(write_tensors(dir, files[MODEL], in->model, in->n_model));
    HL_TRY(write_tensors(dir, files[OPTIM], in->optim, in->n_optim));
    HL_TRY(write_text(dir, files[STATE], in->state_json));
    HL_TRY(write_text(dir, files[CONFIG], in->config_json));
    HL_TRY(hl_checkpoint_seal(dir, files, N_FILES));
out:
    return st;
}

hl_status hl_checkpoint_write(const char *path, const hl_checkpoint_in *in)
{
    hl_status st = HL_OK;
    hl_str temp = {0}, old = {0};
    char *parent = hl_fs_parent(path);
    if (!parent)
        return HL_E_NOMEM;
    hl_str_addf(&temp, "%s/.tmp-%s", parent, hl_fs_base(path));
    hl_str_addf(&old, "%s/.trash-%s", parent, hl_fs_base(path));
    HL_TRY(hl_str_status(&temp));
    HL_TRY(hl_str_status(&old));
    HL_TRY(write_all(temp.s, in));
    const bool replaces = hl_fs_exists(path);
    if (replaces) {
        HL_TRY(hl_fs_remove_tree(old.s));
        if (rename(path, old.s) != 0)
            HL_FAIL(HL_E_IO, "cannot replace %s: %s", path, strerror(errno));
    }
    if (rename(temp.s, path) != 0)
        HL_FAIL(HL_E_IO, "cannot write %s: %s", path, strerror(errno));
    HL_TRY(hl_fs_sync_dir(parent));
    if (replaces)
        HL_IGNORE(hl_fs_remove_tree(old.s)); /* a leftover only costs space */
out:
    if (st != HL_OK && temp.s) {
        char message[HL_ERR_MESSAGE_MAX]; /* the removal must not replace the message */
        snprintf(message, sizeof message, "%s", hl_err_message());
        HL_IGNORE(hl_fs_remove_tree(temp.s));
        st = st == HL_E_NOTFOUND ? HL_E_IO : st; /* the directory to write into is gone */
        (void)hl_err_set(st, "%s", message);
    }
    hl_str_done(&temp);
    hl_str_done(&old);
    hl_free(parent);
    return st;
}

/* --- reading --- */

static hl_status verify(const char *dir, const hl_json *entry)
{
    hl_status st = HL_OK;
    int64_t n_bytes, crc;
    char *path = hl_fs_join(dir, hl_json_key(entry));
    if (!path)
        return HL_E_NOMEM;
    HL_TRY(sum_file(path, &n_bytes, &crc));
    if (n_bytes != hl_json_int(hl_json_get(entry, "bytes"), -1) ||
        crc != hl_json_int(hl_json_get(entry, "crc32c"), -1))
        HL_FAIL(HL_E_FORMAT, "%s is damaged: it differs from what was written; use an earlier "
                             "checkpoint or another copy", path);
out:
    hl_free(path);
    return st;
}

static hl_status read_json(const char *dir, const char *name, hl_json **out)
{
    hl_status st = HL_OK;
    char *path = hl_fs_join(dir, name), *text = NULL;
    size_t n = 0;
    if (!path)
        return HL_E_NOMEM;
    HL_TRY(hl_fs_read(path, JSON_MAX, &text, &n));
    HL_TRY_CTX(hl_json_parse(text, n, out), "%s", path);
out:
    hl_free(text);
    hl_free(path);
    return st;
}

static hl_status open_tensors(const char *dir, const char *name, hl_safetensors **out)
{
    char *path = hl_fs_join(dir, name);
    hl_status st = path ? hl_safetensors_open(path, out) : HL_E_NOMEM;
    hl_free(path);
    return st;
}

hl_status hl_checkpoint_verify(const char *dir, const char *const *names, size_t n)
{
    hl_json *done = NULL;
    hl_status st = read_json(dir, "DONE", &done);
    if (st == HL_E_NOTFOUND)
        st = hl_err_set(HL_E_FORMAT, "%s is no complete checkpoint: it has no DONE", dir);
    for (size_t i = 0; i < n && st == HL_OK; i++)
        if (!hl_json_get(done, names[i]))
            st = hl_err_set(HL_E_FORMAT, "%s/DONE does not list %s: the checkpoint is damaged", dir,
                            names[i]);
    for (const hl_json *e = st == HL_OK ? hl_json_at(done, 0) : NULL; e && st == HL_OK;
         e = hl_json_next(e))
        st = hl_json_key(e) ? verify(dir, e) : HL_OK;
    hl_json_free(done);
    return st;
}

hl_status hl_checkpoint_open(const char *path, hl_checkpoint *out)
{
    hl_status st = HL_OK;
    hl_checkpoint c = {0};
    if (!hl_fs_is_dir(path))
        return hl_err_set(HL_E_NOTFOUND, "there is no checkpoint %s", path);
    HL_TRY(hl_checkpoint_verify(path, files, N_FILES));
    HL_TRY(open_tensors(path, files[MODEL], &c.model));
    HL_TRY(open_tensors(path, files[OPTIM], &c.optim));
    HL_TRY(read_json(path, files[STATE], &c.state));
    HL_TRY(read_json(path, files[CONFIG], &c.config));
    *out = c;
    c = (hl_checkpoint){0};
out:
    hl_checkpoint_close(&c);
    return st;
}

void hl_checkpoint_close(hl_checkpoint *c)
{
    hl_safetensors_close(c->model);
    hl_safetensors_close(c->optim);
    hl_json_free(c->state);
    hl_json_free(c->config);
    *c = (hl_checkpoint){0};
}
