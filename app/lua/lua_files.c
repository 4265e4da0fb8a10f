/* Tensors in files: safetensors one by one, models in directories of several files. */
#include <stdlib.h>
#include <string.h>

#include "app/lua/host_internal.h"
#include "app/lua/lua_json.h"
#include "engine/base/fs.h"

#define WEIGHTS_META "hop.weights"
#define JSON_MAX     ((size_t)16 << 20)

typedef struct weights_handle {
    hl_weights *w; /* NULL: closed */
} weights_handle;

static void close_handle(weights_handle *h)
{
    hl_weights_close(h->w);
    h->w = NULL;
}

static int weights_gc(lua_State *L)
{
    close_handle(luaL_checkudata(L, 1, WEIGHTS_META));
    return 0;
}

/* Pushes a handle that the collector closes, whatever is raised meanwhile; raises. */
static weights_handle *open_handle(lua_State *L, const char *path)
{
    weights_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->w = NULL;
    luaL_setmetatable(L, WEIGHTS_META);
    hl_status st = hl_weights_open(path, &h->w);
    if (st != HL_OK)
        hl_lua_raise(L, st);
    return h;
}

static const hl_tensor_entry *check_entry(lua_State *L, const weights_handle *h, int arg)
{
    const hl_tensor_entry *e = hl_weights_find(h->w, luaL_checkstring(L, arg));
    if (!e)
        luaL_argerror(L, arg, "no such tensor");
    return e;
}

/* weights_open(path): a handle; path as hl_weights_open takes it */
int hl_lua_weights_open(lua_State *L)
{
    open_handle(L, luaL_checkstring(L, 1));
    return 1;
}

/* weights_list(handle): table name -> sizes */
int hl_lua_weights_list(lua_State *L)
{
    const weights_handle *h = luaL_checkudata(L, 1, WEIGHTS_META);
    lua_newtable(L);
    for (size_t i = 0; i < hl_weights_count(h->w); i++) {
        const hl_tensor_entry *e = hl_weights_at(h->w, i);
        lua_createtable(L, e->type.rank, 0);
        for (int k = 0; k < e->type.rank; k++) {
            lua_pushinteger(L, e->type.dim[k]);
            lua_rawseti(L, -2, k + 1);
        }
        lua_setfield(L, -2, e->name);
    }
    return 1;
}

/* weights_read(handle, name, tensor): the values into the tensor's storage; shapes must agree */
int hl_lua_weights_read(lua_State *L)
{
    const weights_handle *h = luaL_checkudata(L, 1, WEIGHTS_META);
    const hl_tensor_entry *e = check_entry(L, h, 2);
    hl_storage *s = hl_lua_known(L, hl_lua_check_tensor(L, 3));
    char have[96], want[96];
    hl_status st = HL_OK;
    if (!hl_shape_equal(&e->type, &s->type))
        st = hl_err_set(HL_E_SHAPE, "tensor '%.160s' has shape %s, the model needs %s", e->name,
                        hl_shape_text(have, &e->type), hl_shape_text(want, &s->type));
    else if (!hl_dtype_is_float(e->type.dtype))
        st = hl_err_set(HL_E_DTYPE, "tensor '%.160s' holds %s, the model needs floats", e->name,
                        hl_dtype_name(e->type.dtype));
    else
        st = hl_storage_load(s, e->data, e->type.dtype, hl_type_count(&e->type));
    hl_weights_release(h->w, e);
    return st == HL_OK ? 0 : hl_lua_raise(L, st);
}

/* weights_same(handle, a, b): do both tensors hold the same bytes? */
int hl_lua_weights_same(lua_State *L)
{
    const weights_handle *h = luaL_checkudata(L, 1, WEIGHTS_META);
    const hl_tensor_entry *a = check_entry(L, h, 2), *b = check_entry(L, h, 3);
    lua_pushboolean(L, a->type.dtype == b->type.dtype && hl_shape_equal(&a->type, &b->type) &&
                           memcmp(a->data, b->data, hl_type_bytes(&a->type)) == 0);
    hl_weights_release(h->w, a);
    hl_weights_release(h->w, b);
    return 1;
}

/* load(path): table name -> tensor; numbers become f32 or i32, whatever the file has */
int hl_lua_load(lua_State *L)
{
    weights_handle *h = open_handle(L, luaL_checkstring(L, 1));
    const size_t n = hl_weights_count(h->w);
    hl_status st = HL_OK;
    lua_createtable(L, 0, n < 100000 ? (int)n : 100000);
    for (size_t i = 0; i < n && st == HL_OK; i++) {
        const hl_tensor_entry *e = hl_weights_at(h->w, i);
        hl_type t = e->type;
        if (hl_dtype_is_float(t.dtype))
            t.dtype = HL_DTYPE_F32;
        else if (t.dtype != HL_DTYPE_BOOL)
            t.dtype = HL_DTYPE_I32;
        hl_storage *s = NULL;
        st = hl_storage_new(&t, hl_lua_of(L)->o.fp64, &s);
        if (st == HL_OK) {
            hl_lua_push_storage(L, s);
            st = hl_storage_load(s, e->data, e->type.dtype, hl_type_count(&e->type));
            hl_weights_release(h->w, e);
            lua_setfield(L, -2, e->name);
        }
    }
    close_handle(h);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

/* metadata(path, key): the text under the key of a safetensors file's metadata, as a table where it
 * is JSON; nil if there is none */
int hl_lua_metadata(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1), *key = luaL_checkstring(L, 2);
    hl_safetensors *f = NULL;
    hl_json *json = NULL;
    hl_status st = hl_safetensors_open(path, &f);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    const char *text = hl_safetensors_metadata(f, key);
    const bool is_json = text && (text[0] == '{' || text[0] == '[') &&
                         hl_json_parse(text, strlen(text), &json) == HL_OK;
    if (is_json)
        hl_lua_push_json(L, json);
    else
        lua_pushstring(L, text);
    hl_json_free(json);
    hl_safetensors_close(f);
    return 1;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const hl_tensor_entry *)a)->name, ((const hl_tensor_entry *)b)->name);
}

/* Entries of a table name -> tensor at `arg`, sorted by name; the memory is the collector's. */
static hl_tensor_entry *entries_of(lua_State *L, int arg, size_t *count)
{
    size_t n = 0, i = 0;
    luaL_checktype(L, arg, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1), n++) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_argerror(L, arg, "names must be strings");
        (void)hl_lua_known(L, hl_lua_check_tensor(L, -1));
    }
    hl_tensor_entry *e = lua_newuserdatauv(L, (n + 1) * sizeof *e, 0);
    for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1), i++) {
        const hl_storage *s = hl_lua_known(L, hl_lua_check_tensor(L, -1));
        e[i] = (hl_tensor_entry){.name = lua_tostring(L, -2), .type = s->type, .data = s->data};
        e[i].type.dtype = s->stored;
    }
    qsort(e, n, sizeof *e, compare_names);
    *count = n;
    return e;
}

/* save(path, table name -> tensor) */
int hl_lua_save(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    size_t n;
    const hl_tensor_entry *e = entries_of(L, 2, &n);
    hl_status st = hl_safetensors_write(path, e, n, NULL);
    return st == HL_OK ? 0 : hl_lua_raise(L, st);
}

/* save_dir(path, table name -> tensor, config): model.safetensors and config.json, renamed whole */
int hl_lua_save_dir(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    size_t n;
    hl_str json = {0};
    lua_settop(L, 3);
    const hl_tensor_entry *e = entries_of(L, 2, &n);
    lua_pushvalue(L, 3);
    hl_status st = hl_lua_to_json(L, "config", &json);
    if (st == HL_OK)
        st = hl_weights_write_dir(path, e, n, json.s);
    hl_str_done(&json);
    return st == HL_OK ? 0 : hl_lua_raise(L, st);
}

/* read_json(path): the file's value as tables */
int hl_lua_read_json(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    char *text = NULL;
    size_t n = 0;
    hl_json *json = NULL;
    hl_status st = hl_fs_read(path, JSON_MAX, &text, &n);
    if (st == HL_OK && hl_json_parse(text, n, &json) != HL_OK)
        st = hl_err_context("%s", path);
    hl_free(text);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    hl_lua_push_json(L, json);
    hl_json_free(json);
    return 1;
}

void hl_lua_open_files(lua_State *L)
{
    luaL_newmetatable(L, WEIGHTS_META);
    lua_pushcfunction(L, weights_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
