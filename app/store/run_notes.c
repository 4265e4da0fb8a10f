#include "app/store/run_notes.h"

#include <string.h>

#include "app/store/run_dir.h"
#include "engine/base/fs.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"

enum { TEXT_MAX = 4000 };

static bool has_word(const char *words, const char *word, size_t n)
{
    for (const char *at = words; *at; at += strspn(at, " ")) {
        const size_t k = strcspn(at, " ");
        if (k == n && memcmp(at, word, n) == 0)
            return true;
        at += k;
    }
    return false;
}

static bool is_named(const char *const *tags, size_t n_tags, const char *word, size_t n)
{
    for (size_t i = 0; i < n_tags; i++)
        if (strlen(tags[i]) == n && memcmp(tags[i], word, n) == 0)
            return true;
    return false;
}

static hl_status check(const char *dir, const hl_run_notes_change *c)
{
    if (!hl_run_dir_is_run(dir))
        return hl_err_set(HL_E_ARG, "%s is not a run", dir);
    if ((c->name && strlen(c->name) > TEXT_MAX) || (c->note && strlen(c->note) > TEXT_MAX))
        return hl_err_set(HL_E_ARG, "a text of more than %d bytes; a note is short", TEXT_MAX);
    for (size_t i = 0; i < c->n_more; i++)
        if (!c->tags_more[i][0] || strpbrk(c->tags_more[i], " \t\n"))
            return hl_err_set(HL_E_ARG, "'%s' is no tag: a tag is one word", c->tags_more[i]);
    return HL_OK;
}

/* The tags as they are now: those of notes.json, else those the run was born with. */
static hl_status old_tags(const char *dir, const hl_json *notes, hl_str *out)
{
    hl_json *facts = NULL;
    const hl_json *kept = hl_json_get(notes, "tags");
    if (kept) {
        hl_str_add(out, hl_json_str(kept, ""));
        return hl_str_status(out);
    }
    if (hl_run_dir_read_json(dir, "run.json", &facts) != HL_OK)
        facts = NULL;
    const hl_json *list = hl_json_get(facts, "tags");
    for (const hl_json *t = hl_json_at(list, 0); t; t = hl_json_next(t))
        hl_str_addf(out, "%s%s", out->n ? " " : "", hl_json_str(t, ""));
    hl_json_free(facts);
    return hl_str_status(out);
}

static hl_status put_tags(const char *dir, const hl_json *notes, const hl_run_notes_change *c,
                          hl_str *b)
{
    hl_str was = {0}, now = {0};
    hl_status st = old_tags(dir, notes, &was);
    for (const char *at = hl_str_text(&was); st == HL_OK && *at; at += strspn(at, " ")) {
        const size_t n = strcspn(at, " ");
        if (!is_named(c->tags_less, c->n_less, at, n))
            hl_str_addf(&now, "%s%.*s", now.n ? " " : "", (int)n, at);
        at += n;
    }
    for (size_t i = 0; i < c->n_more; i++)
        if (!has_word(hl_str_text(&now), c->tags_more[i], strlen(c->tags_more[i])))
            hl_str_addf(&now, "%s%s", now.n ? " " : "", c->tags_more[i]);
    if (st == HL_OK)
        st = hl_str_status(&now);
    if (st == HL_OK)
        hl_json_put_str(b, "tags", hl_str_text(&now));
    hl_str_done(&was);
    hl_str_done(&now);
    return st;
}

static void put_text(const hl_json *notes, const char *key, const char *fresh, hl_str *b)
{
    const char *text = fresh ? fresh : hl_json_str(hl_json_get(notes, key), "");
    if (*text)
        hl_json_put_str(b, key, text);
}

static void put_switch(const hl_json *notes, const char *key, int fresh, hl_str *b)
{
    if (fresh < 0 ? hl_json_bool(hl_json_get(notes, key), false) : fresh)
        hl_json_put_bool(b, key, true);
}

hl_status hl_run_notes_edit(const char *dir, const hl_run_notes_change *c)
{
    hl_json *notes = NULL;
    hl_str b = {0};
    char *path = NULL;
    hl_status st = check(dir, c);
    if (st != HL_OK)
        return st;
    st = hl_run_dir_read_json(dir, "notes.json", &notes);
    if (st == HL_E_NOTFOUND)
        st = HL_OK;
    if (st != HL_OK)
        return st; /* what somebody wrote is not thrown away */
    hl_json_begin(&b, '{');
    hl_json_put_int(&b, "format", 1);
    put_text(notes, "name", c->name, &b);
    put_text(notes, "note", c->note, &b);
    if (hl_json_get(notes, "tags") || c->n_more || c->n_less)
        HL_TRY(put_tags(dir, notes, c, &b));
    put_switch(notes, "archived", c->archived, &b);
    put_switch(notes, "pinned", c->pinned, &b);
    hl_json_end(&b, '}');
    hl_str_addc(&b, '\n');
    HL_TRY(hl_str_status(&b));
    path = hl_run_dir_path(dir, "notes.json");
    st = path ? hl_fs_write_atomic(path, b.s, b.n) : HL_E_NOMEM;
out:
    hl_free(path);
    hl_str_done(&b);
    hl_json_free(notes);
    return st;
}
