#include "app/release.h"

#include <string.h>
#include <unistd.h>

#include "app/hl_app.h"
#include "app/store/lock.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/vec.h"

bool hl_release_is(const char *dir)
{
    hl_run *run = NULL;
    bool is = false;
    if (hl_run_open(dir, &run) == HL_OK) {
        const hl_run_row *row = hl_run_get_row(run);
        is = row->state == HL_RUN_PAUSED && strcmp(row->reason, HL_REASON_RELEASED) == 0;
    }
    hl_run_close(run);
    return is;
}

typedef HL_VEC(char *) words;

static hl_status push(words *w, const char *word)
{
    return hl_vec_push(w, (char *)(uintptr_t)word);
}

/* Words of the first command line that are not of this one; gives how many to leave out. */
static int is_left_out(const hl_json *word, const char *script)
{
    static const char *const alone[] = {"--detach", "--tui", "--dry-run"};
    static const char *const with_value[] = {"--checkpoint", "--replay", "--runs"};
    const char *text = hl_json_str(word, "");
    const hl_json *next = hl_json_next(word);
    for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++)
        if (strcmp(text, alone[i]) == 0)
            return 1;
    for (size_t i = 0; i < sizeof with_value / sizeof with_value[0]; i++) {
        const size_t n = strlen(with_value[i]);
        if (strncmp(text, with_value[i], n) == 0 && (text[n] == '=' || text[n] == 0))
            return text[n] ? 1 : 2;
    }
    if (strcmp(text, "--resume") == 0) /* its value is optional */
        return next && hl_json_str(next, "-")[0] != '-' &&
                       strcmp(hl_json_str(next, ""), script) != 0
                   ? 2
                   : 1;
    return hl_str_starts(text, "--resume=") ? 1 : 0;
}

/* "hoplab run STORED-SCRIPT words --runs STORE --resume ID" */
static hl_status again(const hl_json *facts, const char *stored, const char *store, const char *id,
                       words *out)
{
    hl_status st = HL_OK;
    const hl_json *command = hl_json_get(facts, "command");
    const char *script = hl_json_str(hl_json_get(facts, "script"), "");
    bool seen = false;
    if (strcmp(hl_json_str(hl_json_at(command, 1), ""), "run") != 0)
        HL_FAIL(HL_E_STATE,
                "this run was not made by hoplab run; start it again with what made it");
    HL_TRY(push(out, "hoplab"));
    HL_TRY(push(out, "run"));
    for (const hl_json *w = hl_json_at(command, 2); w;) {
        const int skip = is_left_out(w, script);
        const bool is_script = !seen && strcmp(hl_json_str(w, ""), script) == 0;
        seen |= is_script;
        if (skip == 0)
            HL_TRY(push(out, is_script ? stored : hl_json_str(w, "")));
        for (int i = 0; i < (skip ? skip : 1) && w; i++)
            w = hl_json_next(w);
    }
    HL_TRY(push(out, "--runs"));
    HL_TRY(push(out, store));
    HL_TRY(push(out, "--resume"));
    HL_TRY(push(out, id));
    HL_TRY(push(out, NULL));
out:
    return st;
}

/* Its process may still be on its way out. */
static void await_end(const char *dir)
{
    hl_lock_view lock;
    for (int i = 0; i < 200; i++) {
        hl_lock_look(dir, &lock);
        if (hl_lock_is_live(&lock) != HL_YES)
            return;
        hl_clock_sleep_ms(50);
    }
}

hl_status hl_release_resume(const char *dir, hl_detach_result *out)
{
    hl_status st = HL_OK;
    hl_run *run = NULL;
    words line = {0};
    hl_str stored = {0};
    char *store = NULL, *absolute = hl_fs_absolute(dir);
    HL_TRY(absolute ? HL_OK : HL_E_IO);
    HL_TRY(hl_run_open(absolute, &run));
    const hl_json *facts = hl_run_facts(run);
    store = hl_fs_parent(absolute);
    hl_str_addf(&stored, "%s/script/%s", absolute,
                hl_fs_base(hl_json_str(hl_json_get(facts, "script"), "")));
    HL_TRY(store ? hl_str_status(&stored) : HL_E_NOMEM);
    HL_TRY(again(facts, stored.s, store, hl_fs_base(absolute), &line));
    const char *cwd = hl_json_str(hl_json_get(facts, "directory"), "");
    if (*cwd && chdir(cwd) != 0)
        HL_FAIL(HL_E_IO, "the directory that the run was started in is gone: %s", cwd);
    await_end(absolute);
    HL_TRY(hl_detach_start(&(hl_detach_options){.argv = line.at}, out));
out:
    hl_run_close(run);
    hl_vec_done(&line);
    hl_str_done(&stored);
    hl_free(store);
    hl_free(absolute);
    return st;
}
