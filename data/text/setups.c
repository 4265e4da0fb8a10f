/* Texts by name. */
#include <stdio.h>
#include <string.h>

#include "data/hl_data.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define FORMS_MAX   2 /* ways a source may lie there */
#define FILES_MAX   2 /* of a source */
#define SOURCES_MAX 2 /* of a part */

typedef struct source {
    const char *forms[FORMS_MAX][FILES_MAX];
    const char *get; /* what to do where it is missing */
} source;

typedef struct setup {
    const char *name;
    source part[HL_PART_COUNT][SOURCES_MAX];
} setup;

#define GET_WIKITEXT(n)                                                                            \
    "get it with 'hoplab data fetch wikitext-" n                                                   \
    "' and unpack it as 'hoplab data info wikitext-" n "' says"
#define GET_BOOKS "'hoplab data info bookcorpus' says how to get it"
#define GET_WIKI  "'hoplab data info wiki40b' says how to get it"

static const setup setups[] = {
    {"wikitext_2",
     {{{{{"text/wikitext-2-raw/wiki.train.raw"}, {"text/wikitext-2/train.txt"}},
        GET_WIKITEXT("2")}},
      {{{{"text/wikitext-2-raw/wiki.valid.raw"}, {"text/wikitext-2/valid.txt"}},
        GET_WIKITEXT("2")}}}},
    {"wikitext_103",
     {{{{{"text/wikitext-103-raw/wiki.train.raw"}, {"text/wikitext-103/train.txt"}},
        GET_WIKITEXT("103")}},
      {{{{"text/wikitext-103-raw/wiki.valid.raw"}, {"text/wikitext-103/valid.txt"}},
        GET_WIKITEXT("103")}}}},
    {"bookcorpus_and_wiki",
     {{{{{"text/books_large_p1.txt", "text/books_large_p2.txt"}, {"text/bookcorpus.txt"}},
        GET_BOOKS},
       {{{"text/wiki40b/train.jsonl"}}, GET_WIKI}},
      {{{{"text/wiki40b/validation.jsonl"}}, GET_WIKI}}}},
};

enum { N_SETUPS = sizeof setups / sizeof setups[0] };

const char *hl_setup_name(size_t i)
{
    return i < N_SETUPS ? setups[i].name : NULL;
}

static const setup *find(const char *name)
{
    for (int i = 0; i < N_SETUPS; i++)
        if (strcmp(setups[i].name, name) == 0)
            return &setups[i];
    return NULL;
}

bool hl_setup_is(const char *name)
{
    return find(name) != NULL;
}

/* A file, or the same packed. Owned; NULL: neither is there. */
static char *find_file(const char *path)
{
    char *found = hl_data_find(path);
    char packed[128];
    if (found)
        return found;
    snprintf(packed, sizeof packed, "%s.gz", path);
    return hl_data_find(packed);
}

/* The files of a source in the first form that is there whole; how many. */
static int find_source(const source *s, char *found[FILES_MAX])
{
    for (int form = 0; form < FORMS_MAX && s->forms[form][0]; form++) {
        int n = 0;
        while (n < FILES_MAX && s->forms[form][n] && (found[n] = find_file(s->forms[form][n])))
            n++;
        if (n == FILES_MAX || !s->forms[form][n])
            return n;
        while (n > 0)
            hl_free(found[--n]);
    }
    return 0;
}

hl_status hl_setup_open(const char *name, hl_part part, double percent, hl_text **out)
{
    hl_status st = HL_OK;
    const setup *u = find(name);
    char *paths[SOURCES_MAX * FILES_MAX] = {0};
    int n_paths = 0, n_of[SOURCES_MAX] = {0};
    hl_text *t = NULL;
    if (!u)
        return hl_err_set(HL_E_ARG, "'%s' is no set of texts", name);
    for (int i = 0; i < SOURCES_MAX && u->part[part][i].get; i++) {
        const source *s = &u->part[part][i];
        n_of[i] = find_source(s, paths + n_paths);
        if (n_of[i] == 0)
            HL_FAIL(HL_E_NOTFOUND,
                    "%s: no file '%s' in " HL_DATA_PLACES " (working directory included); %s", name,
                    s->forms[0][0], s->get);
        n_paths += n_of[i];
    }
    HL_TRY(hl_text_open((const char *const *)paths, (size_t)n_paths, &t));
    for (int i = 0, first = 0; i < SOURCES_MAX && n_of[i]; first += n_of[i++])
        HL_TRY(hl_text_keep(t, (size_t)first, (size_t)n_of[i], HL_ROWS_LINE, percent));
    *out = t;
    t = NULL;
out:
    hl_text_close(t);
    for (int i = 0; i < SOURCES_MAX * FILES_MAX; i++)
        hl_free(paths[i]);
    return st;
}
