#include "app/hf_export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/lua/model.h"
#include "app/model_place.h"
#include "data/hl_data.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

static hl_status config_text(const hl_checkpoint *c, const hl_hf_about *about, hl_lua **lua,
                             hl_str *out)
{
    hl_lua_options o = {.team = NULL};
    hl_status st = hl_lua_new(&o, lua);
    return st == HL_OK ? hl_lua_hf_config(*lua, c->config, about, out) : st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const hl_tensor_entry *)a)->name, ((const hl_tensor_entry *)b)->name);
}

static hl_status write_dir(const hl_checkpoint *c, const char *dir, const hl_str *config)
{
    const size_t n = hl_safetensors_count(c->model);
    hl_tensor_entry *e = hl_alloc((n + 1) * sizeof *e);
    if (!e)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n; i++)
        e[i] = *hl_safetensors_at(c->model, i);
    if (n)
        qsort(e, n, sizeof *e, by_name); /* as hop.save_hf does: equal models are equal files */
    hl_status st = hl_weights_write_dir(dir, e, n, config->s);
    hl_free(e);
    return st;
}

/* Files that the transformers library makes a tokenizer of, where it has such a kind. */
static hl_status write_tokenizer(const hl_json *stored, const char *dir, bool *written)
{
    hl_tok *tok = NULL;
    hl_str text = {0};
    *written = false;
    if (!hl_json_is_object(stored))
        return HL_OK;
    hl_json_add_value(&text, stored);
    hl_status st = hl_str_status(&text);
    if (st == HL_OK)
        st = hl_tok_from_json(text.s, text.n, &tok);
    hl_str_done(&text);
    const char *kind = st == HL_OK ? hl_tok_kind(tok) : "";
    if (strcmp(kind, "wordpiece") == 0 || strcmp(kind, "bpe") == 0) {
        st = hl_tok_save(tok, dir);
        *written = st == HL_OK;
    }
    hl_tok_unref(tok);
    return st;
}

/* What is lost on the way, one line each. */
static void tell_losses(const hl_json *config, bool has_tokenizer)
{
    const hl_json *attention = hl_json_get(hl_json_get(config, "model"), "attention");
    const char *tokens = hl_json_str(hl_json_get(hl_json_get(config, "data"), "tokens"), NULL);
    const bool plain =
        strcmp(hl_json_str(hl_json_get(attention, "softmax"), "vanilla"), "vanilla") == 0 &&
        strcmp(hl_json_str(hl_json_get(attention, "gate"), "none"), "none") == 0 &&
        !hl_json_is_number(hl_json_get(attention, "alpha"));
    if (!plain)
        fputs("note: other programs run plain softmax without gates; what this model was trained "
              "with is under \"hoplab\" in config.json\n",
              stderr);
    if (tokens && !has_tokenizer)
        fprintf(stderr,
                "note: no tokenizer files: tokens are '%s', which the transformers library does "
                "not have\n",
                tokens);
}

int hl_hf_export(const hl_cli *cli, const char *word, const char *dir)
{
    hl_status st = HL_OK;
    hl_model_place place = {0};
    hl_checkpoint c = {0};
    hl_lua *lua = NULL;
    hl_str config = {0};
    hl_hf_about about = {0};
    HL_TRY(hl_model_find(hl_cli_runs_dir(cli), word, hl_cli_str(cli, "checkpoint"), &place));
    if (place.quantized)
        HL_FAIL(HL_E_ARG, "%s is quantized; export the model that it was made of", word);
    if (place.foreign)
        HL_FAIL(HL_E_ARG, "%s is such a directory already", word);
    HL_TRY(hl_checkpoint_open(place.dir, &c));
    about.run = place.run_dir ? hl_fs_base(place.run_dir) : NULL;
    about.step = hl_json_int(hl_json_get(c.state, "step"), 0);
    about.fp64 =
        hl_safetensors_count(c.model) && hl_safetensors_at(c.model, 0)->type.dtype == HL_DTYPE_F64;
    HL_TRY(config_text(&c, &about, &lua, &config));
    HL_TRY(write_dir(&c, dir, &config));
    bool has_tokenizer;
    HL_TRY_CTX(write_tokenizer(hl_json_get(c.state, "tokenizer"), dir, &has_tokenizer),
               "the tokenizer of %s", place.dir);
    tell_losses(c.config, has_tokenizer);
out:
    if (st != HL_OK) {
        (void)hl_cli_fail(cli, st);
        if (lua && hl_lua_hint(lua)[0])
            fprintf(stderr, "hint: %s\n", hl_lua_hint(lua));
    }
    hl_str_done(&config);
    hl_lua_free(lua);
    hl_checkpoint_close(&c);
    hl_model_place_done(&place);
    return st == HL_OK ? HL_EXIT_DONE : st == HL_E_NOMEM ? HL_EXIT_DEVICE : HL_EXIT_INPUT;
}
