/* Programs: a graph compiled for the CPU or a device. Every intermediate has its place in one arena, planned by
 * lifetime; running allocates nothing. Not thread-safe: one runner at a time. */
#ifndef HL_EXEC_PROGRAM_H
#define HL_EXEC_PROGRAM_H

#include "engine/exec/device.h"
#include "engine/graph/graph.h"

typedef struct hl_program hl_program;

typedef struct hl_compile {
    const hl_id *outputs;
    int n_outputs;
    bool fp64;     /* run on the double references; every float binding holds doubles */
    int n_workers; /* of the team it will run on; scratch is sized for it */
    hl_device *device; /* NULL, and with fp64: the CPU */
    bool inner; /* for a device: runs inside a step of another program there. Arena and bindings are
                   device memory, which are given before each run; a run only queues; outputs stay.
                 */
} hl_compile;

/* Compiles what the outputs need. The graph may be freed afterwards. Errors: UNSUPPORTED, NOMEM
 * (the message names the largest tensors). The arena is allocated by the first run or hl_program_
 * prepare, so that a plan can be looked at without its memory. */
HL_MUST_CHECK hl_status hl_program_new(const hl_graph *g, const hl_compile *how, hl_program **out);
void hl_program_free(hl_program *p);
HL_MUST_CHECK hl_status hl_program_prepare(hl_program *p);
/* Instead of an arena of its own: memory of at least arena_bytes, 64-byte aligned, the caller's, that
 * several programs may share as long as they run one after another and each one's outputs are read
 * before the next runs. Before the first run. (Programs for a device share its arena anyway.) */
void hl_program_use_arena(hl_program *p, void *arena);

/* Leaves that the program reads, by position in the compiled graph. `value` is the id in the graph
 * that was compiled. Constants are not among them. */
typedef struct hl_binding {
    hl_id value;
    hl_value_kind kind;
    hl_type type; /* with fp64 already applied */
    const char *name;
    void *mark; /* hl_value.data of the leaf */
} hl_binding;
int hl_program_n_bindings(const hl_program *p);
const hl_binding *hl_program_binding(const hl_program *p, int i);
/* 64-byte aligned, of the binding's type; stays the caller's. Holds until bound again. */
void hl_program_bind(hl_program *p, int i, void *data);

/* On a device: what the binding i holds in the next run, or in the one after that if there is such
 * data already, whatever is bound. Its copy is begun now, beside the run under way; `data` may be
 * reused at once. Errors: STATE (two are waiting, or no program of a device), NOMEM. */
HL_MUST_CHECK hl_status hl_program_ahead(hl_program *p, int i, const void *data);
/* Takes the older of them back, for a run of another program: host memory, valid until two more are
 * handed in. NULL: there is none. */
const void *hl_program_ahead_drop(hl_program *p, int i);

/* Runs all steps. An unbound leaf is HL_E_STATE; errors of ops name op and script line. */
HL_MUST_CHECK hl_status hl_program_run(hl_program *p, const hl_exec *x);

/* Before the first run of a solve that evaluates this program again and again: ops that gather
 * over its evaluations start anew. */
void hl_program_begin(hl_program *p);

/* For a device: does all of it run there, and none of it wait? */
bool hl_program_stays_there(const hl_program *p);

/* Knobs of ops that have some (engine/solve/fixed_point_op.c), from the next run on. knob: the
 * first node's value, NAN if no node has it. tune: sets it wherever it may be so, NAN: as recorded;
 * returns at how many nodes. measured: the sum over all nodes that have it, NAN if there is none.
 */
double hl_program_knob(const hl_program *p, const char *name);
int hl_program_tune(hl_program *p, const char *name, double value);
double hl_program_measured(const hl_program *p, const char *name);

/* The i-th output: valid until the next run. One that is a state, or a view of it, shows what the
 * run's updates have written there. */
const void *hl_program_output(const hl_program *p, int i);
const hl_type *hl_program_output_type(const hl_program *p, int i);

typedef struct hl_program_info {
    size_t arena_bytes;   /* intermediates and scratch */
    size_t state_bytes;   /* sum of the STATE bindings */
    size_t input_bytes;   /* sum of the INPUT bindings */
    int n_steps;
    int n_host_steps;     /* of a program for a device: those that have no kernel there */
    int64_t n_replayed;   /* runs so far that a device replayed as they were captured once */
    double flops;         /* of the last run; before the first, at most */
} hl_program_info;
hl_program_info hl_program_get_info(const hl_program *p);

/* The ten largest things that memory goes to, as lines of text. */
void hl_program_largest(const hl_program *p, hl_str *out);

/* Time by op since the last reset, as lines of a table; off costs nothing. */
void hl_program_profile(hl_program *p, bool on);
void hl_program_profile_text(const hl_program *p, hl_str *out);

/* Divides the operations among parts: those that the outputs of set 0 need are part 0, what else the
 * outputs of set 1 need is part 1 and so on; what no set needs is part n_sets, at most
 * HL_PROGRAM_PARTS - 1. Set i is outputs[first[i]] .. outputs[first[i + 1] - 1]. */
enum { HL_PROGRAM_PARTS = 4 };
HL_MUST_CHECK hl_status hl_program_divide(hl_program *p, const int *outputs, const int *first,
                                          int n_sets);
/* Milliseconds in each part since the profile was switched on. */
void hl_program_part_ms(const hl_program *p, double ms[HL_PROGRAM_PARTS]);

/* --- cache: programs by structural identity of their graph --- */
typedef struct hl_program_cache hl_program_cache;
HL_MUST_CHECK hl_status hl_program_cache_new(int max_programs, hl_program_cache **out);
void hl_program_cache_free(hl_program_cache *c);
/* Finds or compiles. The program stays the cache's; it lives until max_programs newer ones have been
 * used, or newer ones whose arenas have 512 MiB. Its bindings are those of g (value, name, mark; what was bound stays bound until bound
 * again), its errors name the lines of g. *was_cached may be NULL. */
HL_MUST_CHECK hl_status hl_program_cache_get(hl_program_cache *c, const hl_graph *g,
                                             const hl_compile *how, hl_program **out,
                                             bool *was_cached);

#endif
