#include "app/store/spellings.h"

#include <string.h>

void hl_spellings_take(hl_spellings *s, const hl_json *event)
{
    for (const hl_json *i = hl_json_at(event, 0); i; i = hl_json_next(i)) {
        const char *key = hl_json_key(i), *text = hl_json_str(i, NULL);
        int64_t id;
        if (!key || !text || hl_parse_i64(key, &id) != HL_OK || id < 0 || id >= HL_SPELLINGS_MAX ||
            hl_vec_reserve(&s->at, (size_t)id + 1) != HL_OK)
            continue;
        for (; s->at.n <= (size_t)id; s->at.n++)
            s->at.at[s->at.n] = NULL;
        if (!s->at.at[id])
            s->at.at[id] = hl_strdup(text);
    }
}

void hl_spellings_read(hl_spellings *s, const char *content, const char *text, size_t n)
{
    hl_json *event = NULL;
    if (strcmp(content, HL_SPELLINGS_CONTENT) != 0 || hl_json_parse(text, n, &event) != HL_OK)
        return;
    hl_spellings_take(s, event);
    hl_json_free(event);
}

void hl_spellings_done(hl_spellings *s)
{
    for (size_t i = 0; i < s->at.n; i++)
        hl_free(s->at.at[i]);
    hl_vec_done(&s->at);
}

const char *hl_spellings_get(const hl_spellings *s, double id)
{
    return id >= 0 && id < (double)s->at.n ? s->at.at[(size_t)id] : NULL;
}

bool hl_spellings_is_tag(const char *tag)
{
    return hl_str_starts(tag, "outliers/") && hl_str_ends(tag, "/tokens");
}
