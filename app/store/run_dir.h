/* A run directory: its name, the files written once, and the paths inside.
 * docs/run-format.md has the layout. */
#ifndef HL_STORE_RUN_DIR_H
#define HL_STORE_RUN_DIR_H

#include "engine/base/json.h"

/* What run.json says. NULL and 0 members are left out; all borrowed. */
typedef struct hl_run_facts_in {
    const char *id; /* NULL: made from the clock and 24 random bits */
    const char *name, *project, *parent, *sweep, *device, *script, *git;
    const char *const *tags;
    size_t n_tags;
    bool has_seed;
    int64_t seed;
    const char *const *argv;
    size_t n_argv;
    const char *extra; /* a JSON object whose members are added: versions, environment */
} hl_run_facts_in;

/* Makes <runs_dir>/<id> with run.json, script/, ckpt/ and a summary in state "queued". *dir is
 * owned by the caller. On failure nothing is left behind. Errors: IO (the message says how to
 * choose another place), STATE (the id exists), ARG. */
HL_MUST_CHECK hl_status hl_run_dir_create(const char *runs_dir, const hl_run_facts_in *facts,
                                          char **dir);

/* config.json from a JSON text. */
HL_MUST_CHECK hl_status hl_run_dir_put_config(const char *dir, const char *json);

/* script/<name>; name is a relative path without "..". */
HL_MUST_CHECK hl_status hl_run_dir_put_script(const char *dir, const char *name, const void *bytes,
                                              size_t n);

/* dir/name, owned by the caller: hl_run_dir_path(dir, "stdout.log"). NULL: NOMEM set. */
char *hl_run_dir_path(const char *dir, const char *name);

/* Parses <dir>/<name>, a JSON object of at most 256 MiB. NOTFOUND, FORMAT, IO. */
HL_MUST_CHECK hl_status hl_run_dir_read_json(const char *dir, const char *name, hl_json **out);

bool hl_run_dir_is_run(const char *dir); /* it has run.json, summary.json or events */
/* <dir>/ckpt/<name> holds its DONE, which is written last. */
bool hl_run_dir_has_checkpoint(const char *dir, const char *name);
/* Name of the newest complete checkpoint (before `before`, if not NULL); false: there is none, and
 * name is as it was. */
bool hl_run_dir_newest_checkpoint(const char *dir, const char *before, char name[64]);
/* Name that the pointer file <dir>/ckpt/<pointer> holds ("last", "best"), or "". */
void hl_run_dir_read_pointer(const char *dir, const char *pointer, char name[64]);
bool hl_run_id_is_valid(const char *text); /* one plain path component, not starting with '.' */

#endif
