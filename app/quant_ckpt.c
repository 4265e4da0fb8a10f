#include "app/quant_ckpt.h"

#include <stdio.h>
#include <string.h>

#include "app/store/run_dir.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define WEIGHTS "model.safetensors"
enum { FORMAT = 1, FILE_MAX_BYTES = 256 << 20 };

/* ---- writing ---- */

typedef struct folder {
    const hl_quant_made *made;
    HL_VEC(char *) files; /* written so far, for DONE */
} folder;

static hl_status note_file(folder *f, const char *name)
{
    char *own = hl_strdup(name);
    hl_status st = own ? hl_vec_push(&f->files, own) : HL_E_NOMEM;
    if (st != HL_OK)
        hl_free(own);
    return st;
}

/* from/name to to/name */
static hl_status copy_file(folder *f, const char *from, const char *to, const char *name)
{
    hl_status st = HL_OK;
    char *source = hl_fs_join(from, name), *target = hl_fs_join(to, name), *bytes = NULL;
    size_t n = 0;
    if (!source || !target)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(hl_fs_read(source, FILE_MAX_BYTES, &bytes, &n));
    HL_TRY(hl_fs_write_atomic(target, bytes, n));
    HL_TRY(note_file(f, name));
out:
    hl_free(source);
    hl_free(target);
    hl_free(bytes);
    return st;
}

static hl_status copy_scripts(folder *f, const char *run_dir, const char *to)
{
    hl_status st = HL_OK;
    hl_fs_list list = {0};
    char *from = hl_fs_join(run_dir, "script"), *target = hl_fs_join(to, "script");
    char name[300];
    if (!from || !target)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(hl_fs_list_dir(from, &list));
    HL_TRY(hl_fs_make_dir(target));
    for (size_t i = 0; i < list.n; i++) {
        snprintf(name, sizeof name, "script/%.280s", list.name[i]);
        HL_TRY(copy_file(f, run_dir, to, name));
    }
    HL_TRY(hl_fs_sync_dir(target));
out:
    hl_fs_list_free(&list);
    hl_free(from);
    hl_free(target);
    return st;
}

/* What makes the model and its tokens of a directory of another program. */
static hl_status copy_foreign(folder *f, const char *from, const char *to)
{
    static const char *const names[] = {"config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "vocab.txt",
                                        "vocab.json",
                                        "merges.txt",
                                        "added_tokens.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = hl_fs_join(from, names[i]);
        const bool is_there = path && hl_fs_exists(path);
        hl_status st = path ? HL_OK : HL_E_NOMEM;
        hl_free(path);
        if (is_there)
            st = copy_file(f, from, to, names[i]);
        if (st != HL_OK)
            return st;
    }
    return HL_OK;
}

static void put_value(hl_str *b, const char *key, const hl_json *v)
{
    hl_json_add_key(b, key);
    hl_json_add_value(b, v);
}

static hl_status put_text(hl_str *b, const char *key, const char *json)
{
    hl_json *v = NULL;
    hl_status st = hl_json_parse(json, strlen(json), &v);
    if (st == HL_OK)
        put_value(b, key, v);
    hl_json_free(v);
    return st;
}

static hl_status about_text(const hl_quant_made *m, hl_str *b)
{
    hl_status st = HL_OK;
    const hl_experiment *e = m->of->p.exp;
    const hl_source *s = &e->source;
    hl_json_begin(b, '{');
    hl_json_put_int(b, "format", FORMAT);
    hl_json_put_str(b, "recipe", m->recipe);
    hl_json_put_str(b, "checkpoint", m->of->place.dir);
    hl_json_put_int(b, "step", m->step);
    if (m->of->script)
        hl_json_put_str(b, "script", hl_fs_base(m->of->script));
    HL_TRY(put_text(b, "quantize", e->quant.json));
    HL_TRY(put_text(b, "config", e->config_json));
    hl_json_add_key(b, "tokenizer");
    if (s->tok)
        HL_TRY(hl_tok_to_json(s->tok, b));
    else
        hl_json_add_null(b);
    put_value(b, "float", m->before);
    put_value(b, "simulated", m->simulated);
    put_value(b, "executed", m->executed);
    put_value(b, "quantizers", m->sites);
    hl_json_end(b, '}');
    hl_str_addc(b, '\n');
    st = hl_str_status(b);
out:
    return st;
}

static hl_status fill(void *self, const char *dir)
{
    hl_status st = HL_OK;
    folder *f = self;
    const hl_trained *of = f->made->of;
    hl_str about = {0};
    char *weights = hl_fs_join(dir, WEIGHTS), *text = hl_fs_join(dir, HL_QUANTIZED_FILE);
    if (!weights || !text)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(hl_quantized_save(f->made->quantized, weights));
    HL_TRY(note_file(f, WEIGHTS));
    HL_TRY(about_text(f->made, &about));
    HL_TRY(hl_fs_write_atomic(text, about.s, about.n));
    HL_TRY(note_file(f, HL_QUANTIZED_FILE));
    HL_TRY(of->script ? copy_scripts(f, of->place.run_dir, dir)
                      : copy_foreign(f, of->place.dir, dir));
    HL_TRY(hl_checkpoint_seal(dir, (const char *const *)f->files.at, f->files.n));
out:
    hl_str_done(&about);
    hl_free(weights);
    hl_free(text);
    return st;
}

hl_status hl_quant_ckpt_check(const hl_trained *t)
{
    const hl_quant_method method = t->p.exp->quant.recipe.method.method;
    if (method == HL_QUANT_STATIC)
        return HL_OK;
    return hl_err_set(HL_E_UNSUPPORTED,
                      "--save is for quantize.method=static; what %s makes cannot be stored as "
                      "codes and ranges",
                      hl_quant_method_names[method]);
}

hl_status hl_quant_ckpt_write(const hl_quant_made *made, const char *path)
{
    folder f = {.made = made};
    hl_status st = hl_new_dir(path, fill, &f);
    for (size_t i = 0; i < f.files.n; i++)
        hl_free(f.files.at[i]);
    hl_vec_done(&f.files);
    return st;
}

/* ---- reading ---- */

hl_status hl_quant_ckpt_open(const char *path, hl_json **out)
{
    static const char *const needed[] = {WEIGHTS, HL_QUANTIZED_FILE};
    hl_json *j = NULL;
    hl_status st = HL_OK;
    HL_TRY(hl_checkpoint_verify(path, needed, 2));
    HL_TRY(hl_run_dir_read_json(path, HL_QUANTIZED_FILE, &j));
    if (hl_json_int(hl_json_get(j, "format"), 0) != FORMAT)
        HL_FAIL(HL_E_FORMAT, "%s/" HL_QUANTIZED_FILE " is of format %lld, this program reads %d",
                path, (long long)hl_json_int(hl_json_get(j, "format"), 0), FORMAT);
    if (!hl_json_is_object(hl_json_get(j, "quantize")) ||
        !hl_json_is_object(hl_json_get(j, "config")))
        HL_FAIL(HL_E_FORMAT, "%s/" HL_QUANTIZED_FILE " has no objects 'quantize' and 'config'",
                path);
    *out = j;
    j = NULL;
out:
    hl_json_free(j);
    return st;
}

hl_status hl_quant_ckpt_evaluate(const hl_trained *t, bool execute, hl_quantized **q,
                                 hl_json **result, double *seconds)
{
    hl_status st = HL_OK;
    const hl_train_setup setup = hl_trained_setup(t);
    char *weights = hl_fs_join(t->place.dir, WEIGHTS);
    if (!weights)
        HL_TRY(HL_E_NOMEM);
    HL_TRY_CTX(hl_train_check_vocabulary(&t->p.exp->source, hl_json_get(t->quantized, "tokenizer")),
               "%s", t->place.dir);
    HL_TRY(hl_quantized_new(&setup, q));
    HL_TRY(hl_quantized_restore(*q, weights));
    HL_TRY(hl_quantized_evaluate(*q, execute, result, seconds));
out:
    hl_free(weights);
    return st;
}
