/* Time series opened for scripts, and what the driver makes of them. */
#include "app/lua/lua_data.h"

#include <string.h>

#include "app/lua/host_internal.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

typedef struct series_handle {
    hl_series *series;
} series_handle;

static int series_gc(lua_State *L)
{
    series_handle *h = luaL_checkudata(L, 1, "hop.series");
    hl_series_unref(h->series);
    h->series = NULL;
    return 0;
}

static bool flag_of(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    const bool v = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

static hl_status make_table(lua_State *L, int table, hl_table *out)
{
    hl_table_made how = hl_table_made_default();
    how.seed = (uint64_t)hl_lua_field_number(L, table, "seed", 0);
    how.n_rows = (int64_t)hl_lua_field_number(L, table, "generated", (lua_Number)how.n_rows);
    how.n_columns = (int64_t)hl_lua_field_number(L, table, "channels", (lua_Number)how.n_columns);
    how.gaps = (double)hl_lua_field_number(L, table, "gaps", 0);
    return hl_table_make(&how, out);
}

/* What may surprise is said once, where the data are read. */
static void tell(const hl_table *t)
{
    double number;
    if (t->first_date && hl_parse_f64(t->first_date, &number) == HL_OK)
        hl_log(HL_LOG_WARN,
               "%s: its first column holds numbers; it is taken for times and left out "
               "(data.dates = false makes it a channel)",
               t->label);
    if (t->is_cut)
        hl_log(HL_LOG_WARN, "%s: its last line is cut off and left out", t->label);
    if (t->n_uneven > 0)
        hl_log(HL_LOG_WARN, "%s: %lld rows are not %g s behind the one before", t->label,
               (long long)t->n_uneven, t->step_s);
}

static hl_status read_table(const char *path, bool has_dates, hl_table *out)
{
    char *found = hl_data_find(path);
    hl_status st = hl_table_read(found ? found : path, has_dates, out);
    hl_free(found);
    if (st == HL_OK)
        tell(out);
    return st;
}

/* The table, and the split of a known set. */
static hl_status open_table(lua_State *L, int options, hl_series_params *p, hl_table *out)
{
    hl_status st = HL_OK;
    const hl_series_set *set;
    char *path = NULL;
    const char *file = hl_lua_field_text(L, options, "file");
    const char *name = hl_lua_field_text(L, options, "set");
    if (!file && name && strcmp(name, "generated") == 0)
        return make_table(L, options, out);
    if (file)
        return read_table(file, flag_of(L, options, "dates"), out);
    HL_TRY(hl_series_set_find(name ? name : "", &set));
    memcpy(p->split, set->split, sizeof p->split);
    HL_TRY(hl_series_set_path(set, &path));
    HL_TRY(read_table(path, true, out));
out:
    hl_free(path);
    return st;
}

/* split = { training, validation, test }, if it is given. */
static hl_status take_split(lua_State *L, int options, hl_series_params *p)
{
    hl_status st = HL_OK;
    const int top = lua_gettop(L), type = lua_getfield(L, options, "split");
    if (type != LUA_TNIL && (type != LUA_TTABLE || lua_rawlen(L, -1) != HL_SERIES_PARTS))
        st = hl_err_set(HL_E_ARG, "data.split must list three numbers: rows (or shares) for "
                                  "training, validation and test");
    for (int i = 0; st == HL_OK && type != LUA_TNIL && i < HL_SERIES_PARTS; i++) {
        if (lua_rawgeti(L, top + 1, i + 1) != LUA_TNUMBER)
            st = hl_err_set(HL_E_ARG, "data.split must list three numbers");
        else
            p->split[i] = (double)lua_tonumber(L, -1);
        lua_settop(L, top + 1);
    }
    lua_settop(L, top);
    return st;
}

static hl_status fill_series(lua_State *L, int options, series_handle *h)
{
    hl_status st = HL_OK;
    hl_table t = {0};
    hl_series_params p = hl_series_params_default();
    const char *missing = hl_lua_field_text(L, options, "missing");
    p.in_len = (int64_t)hl_lua_field_number(L, options, "in_len", (lua_Number)p.in_len);
    p.out_len = (int64_t)hl_lua_field_number(L, options, "out_len", (lua_Number)p.out_len);
    p.masks = missing && strcmp(missing, "mask") == 0;
    HL_TRY(open_table(L, options, &p, &t));
    HL_TRY(take_split(L, options, &p));
    p.period = (int64_t)hl_lua_field_number(L, options, "period", (lua_Number)hl_table_period(&t));
    HL_TRY(hl_series_new(&t, &p, &h->series));
out:
    hl_table_done(&t);
    return st;
}

/* open_series{ set, file, dates, split, in_len, out_len, period, missing, generated, channels,
 * gaps, seed } */
int hl_lua_open_series(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    series_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    *h = (series_handle){0};
    if (luaL_newmetatable(L, "hop.series")) {
        lua_pushcfunction(L, series_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    hl_status st = fill_series(L, 1, h);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

/* { train, val, test = windows, channels, period, masks, label, generated, names, mean, std } */
int hl_lua_series_info(lua_State *L)
{
    const series_handle *h = luaL_checkudata(L, 1, "hop.series");
    const hl_series_facts *i = hl_series_get_facts(h->series);
    static const char *const parts[HL_SERIES_PARTS] = {"train", "val", "test"};
    lua_createtable(L, 0, 12);
    for (int p = 0; p < HL_SERIES_PARTS; p++) {
        lua_pushinteger(L, i->part[p].n_windows);
        lua_setfield(L, -2, parts[p]);
    }
    lua_pushinteger(L, i->n_channels);
    lua_setfield(L, -2, "channels");
    lua_pushinteger(L, i->period);
    lua_setfield(L, -2, "period");
    lua_pushboolean(L, i->masks);
    lua_setfield(L, -2, "masks");
    lua_pushstring(L, i->label);
    lua_setfield(L, -2, "label");
    lua_pushboolean(L, i->is_generated);
    lua_setfield(L, -2, "generated");
    for (int k = 0; k < 3; k++) {
        lua_createtable(L, (int)i->n_channels, 0);
        for (int64_t c = 0; c < i->n_channels; c++) {
            if (k == 0)
                lua_pushstring(L, i->names[c]);
            else
                lua_pushnumber(L, (lua_Number)(k == 1 ? i->mean : i->std)[c]);
            lua_rawseti(L, -2, c + 1);
        }
        lua_setfield(L, -2, k == 0 ? "names" : k == 1 ? "mean" : "std");
    }
    return 1;
}

hl_status hl_lua_take_series(lua_State *L, int handle, int options, hl_experiment *e, bool *is_one)
{
    const series_handle *h = luaL_testudata(L, handle, "hop.series");
    *is_one = h != NULL;
    if (!h)
        return HL_OK;
    const char *rest = hl_lua_field_text(L, options, "rest");
    const hl_window_params p = {.series = h->series,
                                .batch_size = e->batch_size,
                                .eval_batch_size = e->eval_batch_size,
                                .seed = e->seed,
                                .fp64 = e->fp64,
                                .drop_rest = rest && strcmp(rest, "drop") == 0};
    return hl_source_series(&p, &e->source);
}
