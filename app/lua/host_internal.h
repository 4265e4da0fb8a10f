/* Shared by the binding files; never leaves app/lua. */
#ifndef HL_LUA_HOST_INTERNAL_H
#define HL_LUA_HOST_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "app/lua/experiment.h"
#include "app/lua/host.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

/* A recording: a graph that tensors of the script point into. The session has one for ordinary code
 * and a fresh one for each trace. Counted, because tensors may outlive it. */
typedef struct capture {
    hl_id outside, inside;
} capture;

typedef struct recording {
    hl_graph *g;
    int64_t refs;
    bool traced;                 /* values are not known inside */
    HL_VEC(hl_storage *) known;  /* per value: its storage if computed, borrowed from the slot */
    HL_VEC(unsigned char) grad;  /* per value: does a gradient flow through it? */
    HL_VEC(hl_storage *) leaves; /* storages that leaves are bound to; counted */
    /* Of a body (lua_solve.c): the recording around it, alive while this one is the current one, and
     * the values of it that are inputs here. */
    struct recording *outer;
    uint64_t outer_serial;
    HL_VEC(capture) captures;
} recording;

/* What a tensor userdata points at. */
typedef struct slot {
    uint32_t gen;   /* odd: in use */
    recording *rec; /* where it is recorded, or NULL */
    hl_id id;
    hl_storage *storage; /* its value if known, counted */
    hl_type type;
    bool grad;  /* a leaf that gradients are wanted for */
    bool param; /* a parameter of a module: STATE in traces */
    char *name;
    int grad_ref;        /* registry reference of the tensor in .grad, LUA_NOREF */
    recording *leaf_rec; /* last recording it was made a leaf of, not counted: compared only */
    uint64_t leaf_serial;
    hl_id leaf_id;
} slot;

struct hl_lua {
    lua_State *L;
    lua_State *volatile running; /* L, or the coroutine that runs */
    int64_t used, limit;
    hl_lua_options o;
    hl_program_cache *cache;
    recording *session, *current; /* current: session or the innermost trace */
    uint64_t current_serial, last_serial; /* another one with every trace and compaction */
    HL_VEC(slot) slots;
    HL_VEC(uint32_t) free_slots;
    int no_grad;
    bool blank;        /* parameters keep their zeros: nobody will read them */
    bool training;     /* what hop.training() says while a model is traced */
    int64_t given; /* bytes of values computed since Lua last collected its dead tensors */
    size_t compact_at; /* size of the session's graph at which it is next rebuilt */
    int64_t n_calls;
    volatile int depth; /* of calls from C that are under way */
    bool exiting;       /* hop.exit was called, with exit_status */
    int exit_status;
    volatile int interrupted;
    bool limited, overran; /* hl_lua_limit; whether it was reached */
    int64_t instructions_left, until_ns;
    hl_str *said; /* what print goes to instead of standard output; NULL: not */
    hl_str traceback, hint;
    bool unplaced;        /* the last error names no line of a script */
    HL_VEC(char *) files; /* loaded by require */
};

enum { HL_LUA_SCRIPT_MAX = 16 << 20 }; /* bytes */

/* Pushes the script as a function. `#!` lines are skipped, binary chunks refused. */
HL_MUST_CHECK hl_status hl_lua_load_script(hl_lua *h, const char *path, const char *text, size_t n);

#define HL_TENSOR_META "hop.tensor"

hl_lua *hl_lua_of(lua_State *L); /* host of a state */

/* --- lua_edge.c --- */
/* Calls the function below n_args arguments; on failure sets hl_err from the error object. */
HL_MUST_CHECK hl_status hl_lua_call(hl_lua *h, int n_args, int n_results);
/* Raises the stored hl_err as an error object that starts with the script's line. */
int hl_lua_raise(lua_State *L, hl_status st);
/* Until it is lifted (on: false), what runs is cancelled after so many instructions or seconds,
 * whatever it catches. */
void hl_lua_limit(hl_lua *h, bool on, int64_t instructions, double seconds);
int hl_lua_raise_cancel(lua_State *L); /* the error that nobody catches */
int hl_lua_raise_hint(lua_State *L, hl_status st, const char *hint);
/* "script.lua:12" of the innermost frame that is the user's; empty if there is none. */
const char *hl_lua_where(lua_State *L, char buf[256]);
void hl_lua_open_edge(lua_State *L);

/* --- lua_env.c: standard libraries as scripts see them, require --- */
void hl_lua_open_env(lua_State *L);

int hl_lua_load_part(lua_State *L, const char *file); /* pushes "hop/x.lua" as a function */

/* --- lua_answer.c --- */
/* hl_hooks.evaluate; run: registry reference of the handle that the text has as `run`. */
HL_MUST_CHECK hl_status hl_lua_answer(hl_lua *h, const char *code, int run, const char *who,
                                      hl_str *out);
int hl_lua_print(lua_State *L); /* print of scripts; upvalue: Lua's own */

/* --- lua_data.c --- */
int hl_lua_exists(lua_State *L); /* exists(path) */
int hl_lua_open_corpus(lua_State *L);
int hl_lua_corpus_info(lua_State *L);
int hl_lua_open_images(lua_State *L);
int hl_lua_images_info(lua_State *L);
int hl_lua_take_images(lua_State *L);
/* lua_series.c */
int hl_lua_open_series(lua_State *L);
int hl_lua_series_info(lua_State *L);
/* Runs the script and pushes what it returned. */
HL_MUST_CHECK hl_status hl_lua_load_description(hl_lua *h, const char *path);
/* Calls hop.runner.<name> with the n_args values on top; one result in their place. */
HL_MUST_CHECK hl_status hl_lua_call_runner(hl_lua *h, const char *name, int n_args);
void hl_lua_take_experiment(hl_lua *h); /* the value on top becomes the one to build */
/* -s path=text as { {path, text}, … } */
void hl_lua_push_overrides(lua_State *L, const hl_override *list, int n);
void hl_lua_push_experiment(hl_lua *h); /* the one that hl_lua_load_experiment resolved */
/* Of a configuration and the script that was loaded: what a run is known by. */
uint64_t hl_lua_hash_experiment(lua_State *L, const char *config_json);

/* --- lua_step.c --- */
int hl_lua_step_new(lua_State *L);
int hl_lua_step_compile(lua_State *L);
int hl_lua_step_run(lua_State *L);
/* Binds the inputs of a program, the learning rate apart, to the tensors of the table at `batch`;
 * raises where one is missing. */
void hl_lua_bind_batch(lua_State *L, int batch, hl_program *p);

/* --- lua_quant.c --- */
int hl_lua_quant_methods(lua_State *L);
int hl_lua_quant_new(lua_State *L);
int hl_lua_quant_compile(lua_State *L);
int hl_lua_quant_run(lua_State *L);
int hl_lua_quant_sites(lua_State *L);

/* --- lua_tensor.c --- */
void hl_lua_open_tensor(lua_State *L); /* leaves the module table T on the stack */
/* Pushes a new tensor. The value `id` of the current recording. */
void hl_lua_push_value(lua_State *L, hl_id id);
/* A concrete one; takes over one reference. */
void hl_lua_push_storage(lua_State *L, hl_storage *s);
int hl_lua_alias(lua_State *L);
slot *hl_lua_check_tensor(lua_State *L, int arg);
slot *hl_lua_test_tensor(lua_State *L, int arg); /* NULL if it is none */

/* --- lua_record.c --- */
HL_MUST_CHECK hl_status hl_recording_new(bool traced, recording **out);
void hl_recording_unref(recording *r);
HL_MUST_CHECK hl_status hl_recording_sync(recording *r); /* side arrays as long as the graph */
/* A tensor's value in the current recording (made a leaf if need be); raises if it cannot be. */
hl_id hl_lua_value_of(lua_State *L, slot *s);
/* Computes what is needed so that s->storage is set; raises. */
hl_storage *hl_lua_known(lua_State *L, slot *s);
void hl_lua_maybe_compact(lua_State *L); /* call before recording, at no other time */

/* --- lua_ops.c --- */
/* Options by name, from the table on top, into attrs; raises on an unknown one. */
void hl_lua_named_attrs(lua_State *L, const hl_op *op, hl_attrs *attrs);
void hl_lua_open_ops(lua_State *L); /* adds every op of the table to the table on top */

/* --- lua_solve.c --- */
/* The input of the body being recorded that stands for a tensor from outside; raises. */
hl_id hl_lua_capture(lua_State *L, slot *s);
int hl_lua_body(lua_State *L);
int hl_lua_body_call(lua_State *L);
int hl_lua_vjp(lua_State *L);
void hl_lua_open_solve(lua_State *L);

/* --- lua_files.c --- */
int hl_lua_load(lua_State *L);
int hl_lua_save(lua_State *L);
int hl_lua_metadata(lua_State *L);
int hl_lua_weights_open(lua_State *L);
int hl_lua_weights_list(lua_State *L);
int hl_lua_weights_read(lua_State *L);
int hl_lua_weights_same(lua_State *L);
int hl_lua_save_dir(lua_State *L);
int hl_lua_read_json(lua_State *L);
void hl_lua_open_files(lua_State *L);

/* --- lua_runs.c --- */
void hl_lua_open_runs(lua_State *L); /* adds its functions to the table on top */
void hl_lua_open_control(lua_State *L);

/* --- lua_hop.c --- */
void hl_lua_open_hop(lua_State *L); /* pushes the module of C functions behind hop */

#endif
