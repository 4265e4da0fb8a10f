#include "app/store/tag_table.h"

#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

static size_t first_slot(const hl_tag_table *t, const char *name, size_t n_bytes)
{
    return (size_t)hl_hash_bytes(HL_HASH_START, name, n_bytes) & (t->n_slots - 1);
}

static bool is_name(const char *have, const char *name, size_t n_bytes)
{
    return strncmp(have, name, n_bytes) == 0 && have[n_bytes] == '\0';
}

int64_t hl_tag_table_find(const hl_tag_table *t, const char *name, size_t n_bytes)
{
    if (!t->n_slots)
        return -1;
    for (size_t s = first_slot(t, name, n_bytes); t->slot[s]; s = (s + 1) & (t->n_slots - 1))
        if (is_name(t->name[t->slot[s] - 1], name, n_bytes))
            return (int64_t)t->slot[s] - 1;
    return -1;
}

static void place(hl_tag_table *t, size_t index)
{
    const char *name = t->name[index];
    size_t s = first_slot(t, name, strlen(name));
    while (t->slot[s])
        s = (s + 1) & (t->n_slots - 1);
    t->slot[s] = (uint32_t)index + 1;
}

/* At most half of the slots are taken, so a search always meets a free one. */
static hl_status make_room(hl_tag_table *t)
{
    if (2 * (t->n + 1) <= t->n_slots)
        return HL_OK;
    size_t n_slots = t->n_slots ? 2 * t->n_slots : 64;
    uint32_t *slot = hl_alloc_zero(n_slots, sizeof *slot);
    if (!slot)
        return HL_E_NOMEM;
    hl_free(t->slot);
    t->slot = slot;
    t->n_slots = n_slots;
    for (size_t i = 0; i < t->n; i++)
        place(t, i);
    return HL_OK;
}

hl_status hl_tag_table_add(hl_tag_table *t, const char *name, size_t n_bytes, size_t *out)
{
    int64_t have = hl_tag_table_find(t, name, n_bytes);
    if (have >= 0) {
        *out = (size_t)have;
        return HL_OK;
    }
    hl_status st = make_room(t);
    if (st == HL_OK)
        st = hl_vec_grow((void **)&t->name, &t->cap, t->n + 1, sizeof *t->name);
    if (st != HL_OK)
        return st;
    char *copy = hl_strndup(name, n_bytes);
    if (!copy)
        return HL_E_NOMEM;
    t->name[t->n] = copy;
    place(t, t->n);
    *out = t->n++;
    return HL_OK;
}

void hl_tag_table_done(hl_tag_table *t)
{
    for (size_t i = 0; i < t->n; i++)
        hl_free(t->name[i]);
    hl_free(t->name);
    hl_free(t->slot);
    *t = (hl_tag_table){0};
}
