/* Data opened for scripts: texts as corpora, images, and what the driver makes of them. */
#include "app/lua/lua_data.h"

#include <stdio.h>
#include <string.h>

#include "app/lua/host_internal.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/log.h"

/* ---- texts ----------------------------------------------------------------------------------- */

typedef struct corpus_handle {
    hl_corpus *corpus;
} corpus_handle;

static int corpus_gc(lua_State *L)
{
    corpus_handle *c = luaL_checkudata(L, 1, "hop.corpus");
    hl_corpus_unref(c->corpus);
    c->corpus = NULL;
    return 0;
}

const char *hl_lua_field_text(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    const char *s = lua_tostring(L, -1); /* the table keeps it */
    lua_pop(L, 1);
    return s;
}

lua_Number hl_lua_field_number(lua_State *L, int table, const char *name, lua_Number otherwise)
{
    lua_getfield(L, table, name);
    lua_Number v = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : otherwise;
    lua_pop(L, 1);
    return v;
}

/* Where it is, else the path as it was given: opening it says what is wrong. Owned. */
static char *find_data(const char *path)
{
    char *found = hl_data_find(path);
    return found ? found : hl_strdup(path);
}

int hl_lua_exists(lua_State *L)
{
    lua_pushboolean(L, hl_fs_exists(luaL_checkstring(L, 1)));
    return 1;
}

#define FILES_MAX 16

/* The files in the list at the top, each a source of its own. */
static hl_status open_files(lua_State *L, double percent, hl_rows rows, hl_text **out)
{
    hl_status st = HL_OK;
    char *paths[FILES_MAX] = {0};
    hl_text *t = NULL;
    const size_t count = lua_rawlen(L, -1);
    if (count == 0 || count > FILES_MAX)
        HL_FAIL(HL_E_ARG, "data.train must name 1 to %d files", FILES_MAX);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        paths[i] = lua_isstring(L, -1) ? find_data(lua_tostring(L, -1)) : NULL;
        lua_pop(L, 1);
        if (!paths[i])
            HL_FAIL(HL_E_ARG, "data.train must be a path, a list of paths, a set of texts, or "
                              "\"generated\"");
    }
    HL_TRY(hl_text_open((const char *const *)paths, count, &t));
    for (size_t i = 0; i < count; i++)
        HL_TRY(hl_text_keep(t, i, 1, rows, percent));
    *out = t;
    t = NULL;
out:
    hl_text_close(t);
    for (size_t i = 0; i < FILES_MAX; i++)
        hl_free(paths[i]);
    return st;
}

/* What the options say of texts; strings are borrowed from the table. */
typedef struct text_options {
    const char *train; /* NULL: several files */
    const char *eval;  /* NULL: not given */
    bool is_setup;     /* train is a name of data/text/setups.h */
    hl_rows rows;
} text_options;

static hl_status open_train(lua_State *L, int table, const text_options *o, hl_text **out)
{
    const double percent = (double)hl_lua_field_number(L, table, "train_percentage", 100);
    const bool is_made = o->train && strcmp(o->train, "generated") == 0;
    if (is_made && percent != 100)
        return hl_err_set(HL_E_ARG,
                          "train_percentage is of a text that is there; generated_bytes says how "
                          "long a generated one is");
    if (is_made)
        return hl_synth_text((uint64_t)hl_lua_field_number(L, table, "seed", 0),
                             (size_t)hl_lua_field_number(L, table, "generated_bytes", 4e6), NULL,
                             out);
    if (o->is_setup)
        return hl_setup_open(o->train, HL_PART_TRAIN, percent, out);
    lua_getfield(L, table, "train");
    hl_status st = open_files(L, percent, o->rows, out);
    lua_pop(L, 1);
    return st;
}

static hl_status open_eval(lua_State *L, int table, const text_options *o, hl_text **out)
{
    const double percent = (double)hl_lua_field_number(L, table, "eval_percentage", 100);
    const char *eval = o->eval ? o->eval : o->is_setup ? o->train : NULL;
    if (!eval && percent != 100)
        return hl_err_set(
            HL_E_ARG, "eval_percentage is of data.eval, and there is none; data.holdout says how "
                      "much of the training text is held out");
    if (!eval)
        return HL_OK;
    if (hl_setup_is(eval))
        return hl_setup_open(eval, HL_PART_EVAL, percent, out);
    char *path = find_data(eval);
    hl_status st = path ? hl_text_open((const char *const *)&path, 1, out) : HL_E_NOMEM;
    hl_free(path);
    return st == HL_OK ? hl_text_keep(*out, 0, 1, o->rows, percent) : st;
}

/* rows = "auto": of a named set, as it was published, if the tokenizer can. */
static hl_status take_text_options(lua_State *L, int table, text_options *o)
{
    lua_getfield(L, table, "train");
    lua_rawgeti(L, -1, 1);
    o->train =
        lua_rawlen(L, -2) == 1 && lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 2); /* the table keeps it */
    o->eval = hl_lua_field_text(L, table, "eval");
    o->is_setup = o->train && hl_setup_is(o->train);
    const char *rows = hl_lua_field_text(L, table, "rows"),
               *tokens = hl_lua_field_text(L, table, "tokens");
    if (rows && strcmp(rows, "auto") != 0)
        return hl_rows_of_name(rows, &o->rows);
    o->rows = o->is_setup && tokens && strchr(tokens, '/') ? HL_ROWS_LINE : HL_ROWS_NONE;
    return HL_OK;
}

/* ---- corpora kept as files ---- */

/* From this much text on "auto" keeps the tokens in a file. */
#define CACHE_BYTES ((size_t)64 << 20)
/* Between two lines about progress. */
#define SAY_NS INT64_C(5000000000)

typedef struct tokenising {
    hl_lua *host;
    int64_t since;
} tokenising;

/* Interrupting the script stops it. */
static bool on_progress(void *arg, int64_t n_done, int64_t n_total)
{
    tokenising *t = arg;
    const int64_t now = hl_clock_mono_ns();
    if (now - t->since >= SAY_NS && n_done < n_total) {
        t->since = now;
        hl_log(HL_LOG_INFO, "tokenising: %lld of %lld MB", (long long)(n_done / 1000000),
               (long long)(n_total / 1000000));
    }
    return !t->host->interrupted;
}

/* Where "auto" keeps large corpora; NULL: nowhere. */
static const char *own_cache(const hl_corpus_params *p, char *buf, size_t n)
{
    char state[3000];
    const size_t n_bytes = hl_text_n_bytes(p->train) + (p->eval ? hl_text_n_bytes(p->eval) : 0);
    if (n_bytes < CACHE_BYTES || !hl_fs_state_dir(state, sizeof state))
        return NULL;
    const int used = snprintf(buf, n, "%s/tokens", state);
    return used > 0 && (size_t)used < n ? buf : NULL;
}

/* cache: "auto" (NULL too), "none", or a directory. Where "auto" cannot write, memory will do. */
static hl_status make_corpus(lua_State *L, const char *cache, hl_corpus_params *p, hl_corpus **out)
{
    char buf[3100];
    tokenising t = {.host = hl_lua_of(L), .since = hl_clock_mono_ns()};
    const bool is_auto = !cache || strcmp(cache, "auto") == 0;
    p->team = t.host->o.team;
    p->on_progress = on_progress;
    p->progress_arg = &t;
    p->cache = is_auto ? own_cache(p, buf, sizeof buf) : strcmp(cache, "none") == 0 ? NULL : cache;
    hl_status st = hl_corpus_new(p, out);
    if (is_auto && p->cache && (st == HL_E_IO || st == HL_E_NOTFOUND)) {
        hl_log(HL_LOG_WARN, "%s. The tokens are kept in memory; name a directory with data.cache",
               hl_err_message());
        p->cache = NULL;
        st = hl_corpus_new(p, out);
    }
    return st;
}

/* open_corpus{ train = {…}, eval, holdout, train_percentage, eval_percentage, tokens, vocab,
 * generated_bytes, seed, mask, rows, seq_len, cache } */
int hl_lua_open_corpus(lua_State *L)
{
    hl_status st = HL_OK;
    hl_text *train = NULL, *eval = NULL;
    char *tok_found = NULL;
    luaL_checktype(L, 1, LUA_TTABLE);
    corpus_handle *c = lua_newuserdatauv(L, sizeof *c, 0);
    c->corpus = NULL;
    if (luaL_newmetatable(L, "hop.corpus")) {
        lua_pushcfunction(L, corpus_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    hl_corpus_params p = hl_corpus_params_default();
    text_options o;
    HL_TRY(take_text_options(L, 1, &o));
    HL_TRY(open_train(L, 1, &o, &train));
    HL_TRY(open_eval(L, 1, &o, &eval));
    p.rows = o.rows;
    p.train = train;
    p.eval = eval;
    p.holdout = (double)hl_lua_field_number(L, 1, "holdout", 0.1);
    const char *tokens = hl_lua_field_text(L, 1, "tokens");
    tok_found = tokens && strchr(tokens, '/') ? find_data(tokens) : NULL;
    p.tok_kind = tok_found ? tok_found : tokens;
    p.max_vocab = (int32_t)hl_lua_field_number(L, 1, "vocab", 8192);
    p.seq_len = (int64_t)hl_lua_field_number(L, 1, "seq_len", 0);
    lua_getfield(L, 1, "mask");
    p.with_mask = lua_toboolean(L, -1);
    lua_pop(L, 1);
    HL_TRY(make_corpus(L, hl_lua_field_text(L, 1, "cache"), &p, &c->corpus));
out:
    hl_free(tok_found);
    hl_text_close(train);
    hl_text_close(eval);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

int hl_lua_corpus_info(lua_State *L)
{
    const corpus_handle *c = luaL_checkudata(L, 1, "hop.corpus");
    const hl_corpus_info *i = hl_corpus_get_info(c->corpus);
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, hl_tok_n_vocab(hl_corpus_tok(c->corpus)));
    lua_setfield(L, -2, "vocab");
    lua_pushstring(L, i->label);
    lua_setfield(L, -2, "label");
    lua_pushstring(L, hl_rows_name(i->rows));
    lua_setfield(L, -2, "rows");
    lua_pushboolean(L, i->is_generated);
    lua_setfield(L, -2, "generated");
    lua_pushinteger(L, i->part[HL_PART_TRAIN].n_tokens);
    lua_setfield(L, -2, "train_tokens");
    lua_pushinteger(L, i->part[HL_PART_EVAL].n_tokens);
    lua_setfield(L, -2, "eval_tokens");
    return 1;
}

/* ---- images ---------------------------------------------------------------------------------- */

typedef struct images_handle {
    hl_images *part[HL_PART_COUNT];
} images_handle;

static void release_images(images_handle *h)
{
    for (int part = 0; part < HL_PART_COUNT; part++) {
        hl_images_unref(h->part[part]);
        h->part[part] = NULL;
    }
}

static int images_gc(lua_State *L)
{
    release_images(luaL_checkudata(L, 1, "hop.images"));
    return 0;
}

static hl_status open_parts(const char *dir, const char *set, images_handle *h)
{
    hl_status st = HL_OK;
    for (int part = 0; st == HL_OK && part < HL_PART_COUNT; part++)
        st = hl_images_open(dir, set, (hl_part)part, &h->part[part]);
    if (st != HL_OK)
        release_images(h);
    return st;
}

/* The first set in the places where data is kept. NOTFOUND: there is none. */
static hl_status find_images(const char *set, images_handle *h)
{
    static const char *const folders[] = {"", "emnist", "mnist", "images", "cifar"};
    const size_t n_folders = set ? 5 : 4; /* without a name digits are wanted */
    const char *place;
    for (size_t i = 0; (place = hl_data_place(i)); i++)
        for (size_t f = 0; f < n_folders; f++) {
            char *dir = hl_fs_join(place, folders[f]);
            hl_status st = dir ? open_parts(dir, set, h) : HL_E_NOMEM;
            hl_free(dir);
            if (st != HL_E_NOTFOUND)
                return st;
        }
    return hl_err_set(HL_E_NOTFOUND,
                      "no images of the set '%s' in " HL_DATA_PLACES " (the first is now %s); get "
                      "them ('hoplab data fetch mnist'), name their directory with data.dir, or "
                      "use data.set = \"generated\"",
                      set ? set : "auto", hl_data_place(0));
}

static hl_status generate_images(lua_State *L, int table, images_handle *h)
{
    const uint64_t seed = (uint64_t)hl_lua_field_number(L, table, "seed", 0);
    const int64_t n = (int64_t)hl_lua_field_number(L, table, "generated", 10000);
    const int64_t n_eval = (int64_t)hl_lua_field_number(L, table, "generated_eval", 2000);
    hl_status st = hl_images_generate(seed, HL_PART_TRAIN, n, &h->part[HL_PART_TRAIN]);
    return st == HL_OK ? hl_images_generate(seed, HL_PART_EVAL, n_eval, &h->part[HL_PART_EVAL])
                       : st;
}

static hl_status fill_images(lua_State *L, int table, images_handle *h)
{
    const char *dir = hl_lua_field_text(L, table, "dir");
    const char *set = hl_lua_field_text(L, table, "set");
    if (set && strcmp(set, "generated") == 0)
        return generate_images(L, table, h);
    if (set && strcmp(set, "auto") == 0)
        set = NULL;
    if (dir) {
        char *found = find_data(dir);
        hl_status st = found ? open_parts(found, set, h) : HL_E_NOMEM;
        hl_free(found);
        return st;
    }
    hl_status st = find_images(set, h);
    return st == HL_E_NOTFOUND && !set ? generate_images(L, table, h) : st;
}

/* Of the training part so many, if that is asked for. */
static hl_status choose_some(lua_State *L, int table, images_handle *h)
{
    const int64_t n = (int64_t)hl_lua_field_number(L, table, "count", 0);
    hl_images *some = NULL;
    if (n == 0)
        return HL_OK;
    hl_status st = hl_images_choose(h->part[HL_PART_TRAIN],
                                    (uint64_t)hl_lua_field_number(L, table, "seed", 0), n, &some);
    if (st == HL_OK) {
        hl_images_unref(h->part[HL_PART_TRAIN]);
        h->part[HL_PART_TRAIN] = some;
    }
    return st;
}

/* open_images{ dir, set, generated, generated_eval, seed, count } */
int hl_lua_open_images(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    images_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    *h = (images_handle){0};
    if (luaL_newmetatable(L, "hop.images")) {
        lua_pushcfunction(L, images_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    hl_status st = fill_images(L, 1, h);
    if (st == HL_OK)
        st = choose_some(L, 1, h);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

/* take_images(images, part, first, n) -> x {n, channels height width} in [0, 1], y {n, classes} */
int hl_lua_take_images(lua_State *L)
{
    const images_handle *h = luaL_checkudata(L, 1, "hop.images");
    const bool is_eval = strcmp(luaL_checkstring(L, 2), "test") == 0;
    const hl_images *s = h->part[is_eval ? HL_PART_EVAL : HL_PART_TRAIN];
    const hl_images_info *info = hl_images_get_info(s);
    const int64_t first = luaL_checkinteger(L, 3), n = luaL_checkinteger(L, 4);
    const int64_t n_pixels = info->n_channels * info->height * info->width;
    const hl_type xt = hl_type_make(HL_DTYPE_F32, 2, (int64_t[]){n, n_pixels}),
                  yt = hl_type_make(HL_DTYPE_F32, 2, (int64_t[]){n, info->n_classes});
    const bool fp64 = hl_lua_of(L)->o.fp64;
    hl_status st = HL_OK;
    hl_storage *x = NULL, *y = NULL;
    int64_t *numbers = hl_alloc(((size_t)n + 1) * sizeof *numbers);
    float *pixels = hl_alloc(((size_t)(n * n_pixels) + 1) * sizeof *pixels),
          *target = hl_alloc(((size_t)(n * info->n_classes) + 1) * sizeof *target);
    if (!numbers || !pixels || !target)
        HL_TRY(HL_E_NOMEM);
    for (int64_t i = 0; i < n; i++)
        numbers[i] = first + i;
    HL_TRY(hl_images_gather(s, NULL, numbers, n, pixels, target));
    HL_TRY(hl_storage_new(&xt, fp64, &x));
    HL_TRY(hl_storage_new(&yt, fp64, &y));
    HL_TRY(hl_storage_load(x, pixels, HL_DTYPE_F32, n * n_pixels));
    HL_TRY(hl_storage_load(y, target, HL_DTYPE_F32, n * info->n_classes));
out:
    hl_free(numbers);
    hl_free(pixels);
    hl_free(target);
    if (st != HL_OK) {
        hl_storage_unref(x);
        hl_storage_unref(y);
        return hl_lua_raise(L, st);
    }
    hl_lua_push_storage(L, x);
    hl_lua_push_storage(L, y);
    return 2;
}

static void push_size(lua_State *L, const char *name, int64_t n)
{
    lua_pushinteger(L, n);
    lua_setfield(L, -2, name);
}

int hl_lua_images_info(lua_State *L)
{
    const images_handle *h = luaL_checkudata(L, 1, "hop.images");
    const hl_images_info *train = hl_images_get_info(h->part[HL_PART_TRAIN]);
    const hl_images_info *eval = hl_images_get_info(h->part[HL_PART_EVAL]);
    if (eval->n_channels != train->n_channels || eval->height != train->height ||
        eval->width != train->width || eval->n_classes != train->n_classes) {
        hl_status st = hl_err_set(HL_E_SHAPE, "'%s' and '%s' have images of other sizes",
                                  train->label, eval->label);
        return hl_lua_raise(L, st);
    }
    lua_createtable(L, 0, 8);
    push_size(L, "train", train->n);
    push_size(L, "eval", eval->n);
    push_size(L, "channels", train->n_channels);
    push_size(L, "height", train->height);
    push_size(L, "width", train->width);
    push_size(L, "classes", train->n_classes);
    lua_pushstring(L, train->label);
    lua_setfield(L, -2, "label");
    lua_pushboolean(L, train->is_generated);
    lua_setfield(L, -2, "generated");
    return 1;
}

/* ---- sources --------------------------------------------------------------------------------- */

/* A number for all channels, or a list of one for each; `otherwise` where there is none. */
static hl_status take_channels(lua_State *L, int options, const char *name, double otherwise,
                               hl_images_params *p)
{
    double *to = strcmp(name, "std") == 0 ? p->std : p->mean;
    const int64_t n = hl_images_get_info(p->part[HL_PART_TRAIN])->n_channels;
    const int type = lua_getfield(L, options, name), top = lua_gettop(L);
    hl_status st = HL_OK;
    if (type == LUA_TTABLE && lua_rawlen(L, top) != (lua_Unsigned)n)
        st = hl_err_set(HL_E_ARG, "data.%s lists %lld numbers, the images have %lld channels", name,
                        (long long)lua_rawlen(L, top), (long long)n);
    for (int64_t c = 0; st == HL_OK && c < n; c++) {
        if (type == LUA_TTABLE)
            lua_rawgeti(L, top, c + 1);
        if (type != LUA_TNIL && !lua_isnumber(L, -1))
            st = hl_err_set(HL_E_ARG, "data.%s must be a number or a list of numbers", name);
        else
            to[c] = type == LUA_TNIL ? otherwise : (double)lua_tonumber(L, -1);
        lua_settop(L, top);
    }
    p->scaled = p->scaled || type != LUA_TNIL;
    lua_settop(L, top - 1);
    return st;
}

static hl_status take_images(lua_State *L, const images_handle *images, int options,
                             hl_experiment *e)
{
    hl_images_params p = {.part = {images->part[HL_PART_TRAIN], images->part[HL_PART_EVAL]},
                          .batch_size = e->batch_size,
                          .eval_batch_size = e->eval_batch_size,
                          .seed = e->seed,
                          .fp64 = e->fp64,
                          .crop = (int64_t)hl_lua_field_number(L, options, "crop", 0)};
    lua_getfield(L, options, "flip");
    p.flip = lua_toboolean(L, -1);
    lua_pop(L, 1);
    hl_status st = take_channels(L, options, "mean", 0, &p);
    if (st == HL_OK)
        st = take_channels(L, options, "std", 1, &p);
    return st == HL_OK ? hl_source_images(&p, &e->source) : st;
}

hl_status hl_lua_take_source(lua_State *L, int handle, int options, hl_experiment *e)
{
    bool is_series;
    hl_status st = hl_lua_take_series(L, handle, options, e, &is_series);
    if (st != HL_OK || is_series)
        return st;
    const images_handle *images = luaL_testudata(L, handle, "hop.images");
    if (images)
        return take_images(L, images, options, e);
    const corpus_handle *c = luaL_testudata(L, handle, "hop.corpus");
    const char *kind = hl_lua_field_text(L, options, "kind");
    if (!c || !kind)
        return hl_err_set(HL_E_INTERNAL, "an experiment without data");
    const hl_text_params p = {
        .corpus = c->corpus,
        .objective = strcmp(kind, "data.mlm") == 0 ? HL_OBJECTIVE_MLM : HL_OBJECTIVE_CLM,
        .batch_size = e->batch_size,
        .eval_batch_size = e->eval_batch_size,
        .seq_len = (int64_t)hl_lua_field_number(L, options, "seq_len", 0),
        .mask_prob = (double)hl_lua_field_number(L, options, "mask_prob", 0.15),
        .seed = e->seed};
    return hl_source_text(&p, &e->source);
}
