/* Training steps for loops written in Lua (hop.train_step): forward, backward, clip, masked update
 * as one program per batch shape; moments and the update counter are shared by the shapes. */
#include <math.h>
#include <string.h>

#include "app/lua/host_internal.h"

#define STEP_META "hop.step"

typedef struct extra {
    char *name;
    hl_storage *storage;
} extra;

typedef struct shape_program {
    hl_program *p;
    hl_storage **held; /* parameters and captured tensors, counted */
    size_t n_held;
    hl_storage *lr;
} shape_program;

typedef struct step {
    HL_VEC(shape_program) programs;
    HL_VEC(extra) extras;
    int64_t n_runs;
} step;

static void free_program(shape_program *s)
{
    hl_program_free(s->p);
    for (size_t i = 0; i < s->n_held; i++)
        hl_storage_unref(s->held[i]);
    hl_free(s->held);
    hl_storage_unref(s->lr);
}

static int step_gc(lua_State *L)
{
    step *s = luaL_checkudata(L, 1, STEP_META);
    for (size_t i = 0; i < s->programs.n; i++)
        free_program(&s->programs.at[i]);
    for (size_t i = 0; i < s->extras.n; i++) {
        hl_free(s->extras.at[i].name);
        hl_storage_unref(s->extras.at[i].storage);
    }
    hl_vec_done(&s->programs);
    hl_vec_done(&s->extras);
    return 0;
}

/* step_new() -> step */
int hl_lua_step_new(lua_State *L)
{
    step *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (step){0};
    if (luaL_newmetatable(L, STEP_META)) {
        lua_pushcfunction(L, step_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return 1;
}

static hl_status extra_storage(hl_lua *h, step *s, const hl_binding *b, hl_storage **out)
{
    for (size_t i = 0; i < s->extras.n; i++)
        if (strcmp(s->extras.at[i].name, b->name) == 0) {
            *out = s->extras.at[i].storage;
            return HL_OK;
        }
    hl_type f32 = b->type;
    f32.dtype = HL_DTYPE_F32;
    extra x = {.name = hl_strdup(b->name)};
    hl_status st = x.name ? hl_storage_new(&f32, h->o.fp64, &x.storage) : HL_E_NOMEM;
    if (st == HL_OK)
        st = hl_vec_push(&s->extras, x);
    if (st != HL_OK) {
        hl_free(x.name);
        hl_storage_unref(x.storage);
    }
    *out = x.storage;
    return st;
}

/* Binds everything but the batch. */
static hl_status bind_all(hl_lua *h, step *s, shape_program *sp)
{
    hl_status st = HL_OK;
    const int n = hl_program_n_bindings(sp->p);
    hl_type scalar = hl_type_scalar(HL_DTYPE_F32);
    sp->held = hl_alloc_zero((size_t)n + 1, sizeof *sp->held);
    if (!sp->held)
        return HL_E_NOMEM;
    HL_TRY(hl_storage_new(&scalar, h->o.fp64, &sp->lr));
    for (int i = 0; i < n; i++) {
        const hl_binding *b = hl_program_binding(sp->p, i);
        hl_storage *to = b->mark;
        if (!to && b->kind == HL_VALUE_STATE)
            HL_TRY(extra_storage(h, s, b, &to));
        else if (!to && strcmp(b->name, "lr") == 0)
            to = sp->lr;
        if (!to)
            continue;
        sp->held[sp->n_held++] = hl_storage_ref(to);
        hl_program_bind(sp->p, i, to->data);
    }
out:
    return st;
}

static double option_number(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    double v = (double)lua_tonumber(L, -1);
    lua_pop(L, 1);
    return v;
}

/* The optimiser's options from the table at `arg`; names of no_decay go into list (n_list long). */
static hl_optim read_optim(lua_State *L, int arg, const char **list, size_t n_list)
{
    hl_optim o = {0};
    lua_getfield(L, arg, "kind");
    const char *kind = luaL_checkstring(L, -1);
    luaL_argcheck(L, hl_optim_parse(kind, &o.kind), arg, kind);
    lua_pop(L, 1);
    o.p_scale = option_number(L, arg, "p_scale");
    o.g_bound = option_number(L, arg, "g_bound");
    o.eps = option_number(L, arg, "eps");
    o.momentum = option_number(L, arg, "momentum");
    o.weight_decay = option_number(L, arg, "weight_decay");
    if (lua_getfield(L, arg, "betas") == LUA_TTABLE) {
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        o.beta1 = (double)lua_tonumber(L, -2);
        o.beta2 = (double)lua_tonumber(L, -1);
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
    size_t n = 0;
    if (lua_getfield(L, arg, "no_decay") == LUA_TTABLE)
        for (; n + 1 < n_list && n < lua_rawlen(L, -1); n++) {
            lua_rawgeti(L, -1, (lua_Integer)n + 1);
            list[n] = lua_tostring(L, -1); /* the table keeps it */
            lua_pop(L, 1);
        }
    lua_pop(L, 1);
    list[n] = NULL;
    o.no_decay = list;
    return o;
}

/* step_compile(step, loss (traced), optim options, max_grad_norm, bf16) -> number of the program; bf16
 * nil: as the session */
int hl_lua_step_compile(lua_State *L)
{
    hl_status st = HL_OK;
    hl_lua *h = hl_lua_of(L);
    step *s = luaL_checkudata(L, 1, STEP_META);
    slot *loss = hl_lua_check_tensor(L, 2);
    const char *no_decay[33];
    luaL_checktype(L, 3, LUA_TTABLE);
    hl_train_options o = {.optim = read_optim(L, 3, no_decay, 33),
                          .max_grad_norm = (double)luaL_optnumber(L, 4, 0),
                          .bf16 = lua_isnoneornil(L, 5) ? h->o.bf16 : lua_toboolean(L, 5),
                          .fp16 = lua_isnoneornil(L, 5) && h->o.fp16};
    hl_train_graph tg = {0};
    shape_program sp = {0};
    if (!loss->rec || !loss->rec->traced) {
        (void)hl_err_set(HL_E_ARG, "the loss must be a tensor made from the batch and the model");
        return hl_lua_raise(L, HL_E_ARG);
    }
    if (o.bf16 && h->o.fp64)
        HL_FAIL(HL_E_ARG, "precision bf16 in a session of doubles: leave out --precision fp64");
    HL_TRY(hl_train_graph_new(loss->rec->g, loss->id, &o, &tg));
    hl_compile how = {.outputs = tg.outputs,
                      .n_outputs = tg.n_outputs,
                      .fp64 = h->o.fp64,
                      .n_workers = h->o.team ? h->o.team->n : 1,
                      .device = hl_device_current()};
    HL_TRY(hl_program_new(tg.g, &how, &sp.p));
    HL_TRY(bind_all(h, s, &sp));
    HL_TRY(hl_vec_push(&s->programs, sp));
    sp = (shape_program){0};
    lua_pushinteger(L, (lua_Integer)s->programs.n);
out:
    hl_train_graph_done(&tg);
    free_program(&sp);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

void hl_lua_bind_batch(lua_State *L, int batch, hl_program *p)
{
    for (int i = 0; i < hl_program_n_bindings(p); i++) {
        const hl_binding *b = hl_program_binding(p, i);
        if (b->mark || b->kind != HL_VALUE_INPUT || strcmp(b->name, "lr") == 0)
            continue;
        lua_getfield(L, batch, b->name);
        slot *t = hl_lua_test_tensor(L, -1);
        if (!t) {
            (void)hl_err_set(HL_E_ARG, "the batch has no tensor '%s'", b->name);
            (void)hl_lua_raise(L, HL_E_ARG);
            return;
        }
        hl_program_bind(p, i, hl_lua_known(L, t)->data);
        lua_pop(L, 1);
    }
}

/* step_run(step, program, batch, lr) -> loss, gradient norm, ok */
int hl_lua_step_run(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    step *s = luaL_checkudata(L, 1, STEP_META);
    lua_Integer which = luaL_checkinteger(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    if (which < 1 || (size_t)which > s->programs.n)
        return luaL_argerror(L, 2, "no such program");
    shape_program *sp = &s->programs.at[which - 1];
    hl_lua_bind_batch(L, 3, sp->p);
    hl_storage_set(sp->lr, 0, (double)luaL_checknumber(L, 4));
    hl_exec x = {.team = h->o.team, .seed = h->o.seed, .step = (uint32_t)s->n_runs};
    hl_status st = hl_program_run(sp->p, &x);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    s->n_runs++;
    for (int i = 0; i < 3; i++) {
        const void *p = hl_program_output(sp->p, i);
        double v = h->o.fp64 ? *(const double *)p : (double)*(const float *)p;
        if (i == HL_TRAIN_OK)
            lua_pushboolean(L, v != 0);
        else
            lua_pushnumber(L, v);
    }
    return 3;
}
