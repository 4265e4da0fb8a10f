#include "app/list/deep_key.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/str.h"

static bool is_good(const hl_deep_key *k)
{
    switch (k->kind) {
    case HL_DEEP_AT:
        return k->number >= 0 && k->number <= 9e15 && k->number == floor(k->number);
    case HL_DEEP_EMA:
        return k->number > 0 && k->number < 1;
    default:
        return isfinite(k->number);
    }
}

bool hl_deep_key_from(const char *text, hl_deep_key *out)
{
    static const char *const tails[] = {
        [HL_DEEP_BELOW] = ".below", [HL_DEEP_ABOVE] = ".above", [HL_DEEP_EMA] = ".ema"};
    const char *at = strrchr(text, '@');
    hl_deep_key k = {.kind = HL_DEEP_AT};
    if (!at || at == text || strlen(text) >= sizeof k.text ||
        hl_parse_f64(at + 1, &k.number) != HL_OK) {
        hl_err_clear();
        return false;
    }
    snprintf(k.text, sizeof k.text, "%s", text);
    snprintf(k.tag, sizeof k.tag, "%.*s", (int)(at - text), text);
    for (int i = HL_DEEP_BELOW; i <= HL_DEEP_EMA; i++)
        if (hl_str_ends(k.tag, tails[i]) && strlen(k.tag) > strlen(tails[i])) {
            k.kind = (hl_deep_kind)i;
            k.tag[strlen(k.tag) - strlen(tails[i])] = 0;
            break;
        }
    if (!is_good(&k))
        return false;
    *out = k;
    return true;
}

void hl_deep_keys_add(hl_deep_keys *k, const char *text)
{
    hl_deep_key fresh;
    size_t at = 0;
    if (k->n == HL_DEEP_MAX || !hl_deep_key_from(text, &fresh))
        return;
    while (at < k->n && strcmp(k->at[at].text, text) < 0)
        at++;
    if (at < k->n && strcmp(k->at[at].text, text) == 0)
        return;
    memmove(&k->at[at + 1], &k->at[at], (k->n++ - at) * sizeof fresh);
    k->at[at] = fresh;
}

bool hl_deep_keys_equal(const hl_deep_keys *a, const hl_deep_keys *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->at[i].text, b->at[i].text) != 0)
            return false;
    return true;
}
