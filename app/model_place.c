#include "app/model_place.h"

#include <stdio.h>
#include <string.h>

#include "app/hl_app.h"
#include "app/store/run_dir.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

static bool has(const char *dir, const char *name)
{
    char *path = hl_fs_join(dir, name);
    const bool found = path && hl_fs_exists(path);
    hl_free(path);
    return found;
}

static hl_status choose(const char *run_dir, const char *checkpoint, char **dir)
{
    char name[64] = "", rel[80];
    if (!checkpoint || strcmp(checkpoint, "last") == 0)
        (void)hl_run_dir_newest_checkpoint(run_dir, NULL, name);
    else if (strcmp(checkpoint, "best") == 0)
        hl_run_dir_read_pointer(run_dir, "best", name);
    else if (hl_run_id_is_valid(hl_fs_base(checkpoint)))
        snprintf(name, sizeof name, "%.60s", hl_fs_base(checkpoint));
    if (!hl_run_id_is_valid(name) || !hl_run_dir_has_checkpoint(run_dir, name))
        return hl_err_set(HL_E_NOTFOUND, "%s has no complete checkpoint%s%s", run_dir,
                          checkpoint ? " " : "", checkpoint ? checkpoint : "");
    snprintf(rel, sizeof rel, "ckpt/%s", name);
    *dir = hl_run_dir_path(run_dir, rel);
    return *dir ? HL_OK : HL_E_NOMEM;
}

/* runs/<id>/ckpt/step-N -> runs/<id>, if that is a run. */
static hl_status run_of(const char *checkpoint, char **run_dir)
{
    char *whole = hl_fs_absolute(checkpoint);
    size_t n = whole ? strlen(whole) : 0;
    while (n > 1 && whole[n - 1] == '/')
        whole[--n] = '\0';
    char *up = whole ? hl_fs_parent(whole) : NULL, *top = up ? hl_fs_parent(up) : NULL;
    const bool is = top && strcmp(hl_fs_base(up), "ckpt") == 0 && hl_run_dir_is_run(top);
    *run_dir = is ? top : NULL;
    const hl_status st = top ? HL_OK : HL_E_NOMEM;
    if (!is)
        hl_free(top);
    hl_free(up);
    hl_free(whole);
    return st;
}

static hl_status copy(const char *word, char **out)
{
    *out = hl_strdup(word);
    return *out ? HL_OK : HL_E_NOMEM;
}

hl_status hl_model_find(const char *runs_dir, const char *word, const char *checkpoint,
                        hl_model_place *out)
{
    hl_status st = HL_OK;
    hl_model_place p = {0};
    const bool is_dir = hl_fs_is_dir(word), is_run = is_dir && has(word, "run.json");
    if (is_dir && !is_run && has(word, HL_QUANTIZED_FILE)) {
        p.quantized = true;
        HL_TRY(copy(word, &p.dir));
    } else if (is_dir && !is_run && (has(word, "DONE") || has(word, "state.json"))) {
        HL_TRY(copy(word, &p.dir));
        HL_TRY(run_of(word, &p.run_dir));
    } else if (is_dir && !is_run &&
               (has(word, "model.safetensors") || has(word, "model.safetensors.index.json") ||
                has(word, "config.json"))) {
        p.foreign = true;
        HL_TRY(copy(word, &p.dir));
    } else {
        HL_TRY(hl_run_find(runs_dir, word, &p.run_dir));
        HL_TRY(choose(p.run_dir, checkpoint, &p.dir));
    }
    *out = p;
    p = (hl_model_place){0};
out:
    hl_model_place_done(&p);
    return st;
}

void hl_model_place_done(hl_model_place *p)
{
    hl_free(p->dir);
    hl_free(p->run_dir);
    *p = (hl_model_place){0};
}
