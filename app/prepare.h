/* What run, check, graph and bench share: from a command line to an experiment ready for a driver.
 */
#ifndef HL_APP_PREPARE_H
#define HL_APP_PREPARE_H

#include "app/cli.h"
#include "app/lua/experiment.h"
#include "engine/base/team.h"

/* Options of these commands, for their tables. */
#define HL_PREPARE_OPTIONS                                                                         \
    {.name = "set",                                                                                \
     .letter = 's',                                                                                \
     .type = HL_OPTION_MANY,                                                                       \
     .value = "PATH=VALUE",                                                                        \
     .help = "change an option of the script, e.g. -s optim.lr=3e-4"},                             \
        {.name = "device",                                                                         \
         .type = HL_OPTION_STRING,                                                                 \
         .value = "D",                                                                             \
         .otherwise = "auto",                                                                      \
         .help = "auto, cpu or cuda[:N]"},                                                         \
        {.name = "precision",                                                                      \
         .type = HL_OPTION_STRING,                                                                 \
         .value = "P",                                                                             \
         .otherwise = "fp32",                                                                      \
         .help = "fp32, tf32 (products, on a GPU), bf16 (products of training steps), or fp64 (the "     \
                 "slow double references)"},                                                        \
        {.name = "seed", .type = HL_OPTION_INT, .value = "N", .help = "seed of the run"},          \
        {.name = "threads",                                                                        \
         .type = HL_OPTION_INT,                                                                    \
         .value = "N",                                                                             \
         .otherwise = "0",                                                                         \
         .help = "threads to compute with; 0: one per core"},                                      \
        {.name = "scripts",                                                                        \
         .type = HL_OPTION_STRING,                                                                 \
         .value = "DIR",                                                                           \
         .help = "read the hop library from here instead of the built-in one"},                    \
    {                                                                                              \
        .name = "sandbox", .type = HL_OPTION_FLAG,                                                 \
        .help = "for scripts of others: no files, no processes"                                    \
    }

typedef struct hl_prepared {
    hl_team *team;
    hl_lua *lua;
    hl_experiment *exp;
    char *script_dir;
    bool trains_nothing;    /* set before hl_prepare_host: no device is opened */
    bool takes_study;       /* the caller can do with a study, too */
    int64_t baseline_bytes; /* resident when everything but the driver was there */
} hl_prepared;

typedef struct hl_extra_override {
    const char *path, *text; /* text NULL or "": none */
} hl_extra_override;

/* Do --device and --precision name what this build can do? Errors: ARG, DEVICE. */
HL_MUST_CHECK hl_status hl_prepare_check(const hl_cli *cli);
/* Starts the interpreter and the team. */
HL_MUST_CHECK hl_status hl_prepare_host(const hl_cli *cli, const char *script, hl_prepared *p);
/* Loads and builds; `extra` overrides come after those of -s. A wrong -s path is HL_E_NOTFOUND with
 * *usage true. */
HL_MUST_CHECK hl_status hl_prepare_experiment(const hl_cli *cli, const char *script,
                                              const hl_extra_override *extra, int n_extra,
                                              hl_prepared *p, bool *usage);
/* While there is no store that keeps them, notices (a file of tokens is made again, an activation
 * never moved) go where errors go. */
void hl_prepare_listen(const hl_cli *cli, bool on);

/* The same with another way from overrides to a resolved experiment in `lua`. */
typedef struct hl_prepare_way {
    void *self;
    hl_status (*load)(void *self, hl_lua *lua, const hl_override *list, int n);
} hl_prepare_way;
HL_MUST_CHECK hl_status hl_prepare_by(const hl_cli *cli, const hl_prepare_way *way,
                                      const hl_extra_override *extra, int n_extra, hl_prepared *p,
                                      bool *usage);
void hl_prepared_done(hl_prepared *p);

/* Says what went wrong, with hint and, if asked for, traceback, on the error stream; gives the exit
 * status of a failure before the first step. */
int hl_prepare_fail(const hl_cli *cli, const hl_prepared *p, hl_status st, bool usage);

#endif
