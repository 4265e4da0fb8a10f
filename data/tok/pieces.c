#include "data/tok/pieces.h"

#include "data/hl_data.h"
#include "engine/base/vec.h"

static void put_slot(hl_piece_slot *slot, size_t n_slots, uint64_t hash, int32_t id)
{
    size_t k = (hash ^ hash >> 32) & (n_slots - 1);
    while (slot[k].id >= 0)
        k = (k + 1) & (n_slots - 1);
    slot[k] = (hl_piece_slot){(uint32_t)(hash >> 32), id};
}

static hl_status grow_slots(hl_pieces *p)
{
    const size_t n = p->n_slots ? 2 * p->n_slots : 256;
    hl_piece_slot *slot = hl_alloc_zero(n, sizeof *slot);
    if (!slot)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n; i++)
        slot[i].id = -1;
    for (size_t i = 0; i < p->n; i++) {
        size_t len;
        const char *s = hl_pieces_at(p, (int32_t)i, &len);
        put_slot(slot, n, hl_piece_hash(HL_HASH_START, (const unsigned char *)s, len), (int32_t)i);
    }
    hl_free(p->slot);
    p->slot = slot;
    p->n_slots = n;
    return HL_OK;
}

hl_status hl_pieces_add(hl_pieces *p, const void *bytes, size_t n, int32_t *twin)
{
    hl_status st = HL_OK;
    if (n == 0)
        HL_FAIL(HL_E_FORMAT, "an empty token");
    if (p->n >= HL_TOK_WORDS_MAX || n > UINT32_MAX / 2 - p->n_chars)
        HL_FAIL(HL_E_FORMAT, "more than %d tokens, or 2 GiB of them", HL_TOK_WORDS_MAX);
    const uint64_t hash = hl_piece_hash(HL_HASH_START, bytes, n);
    const int32_t there = hl_pieces_find_tail(p, "", 0, bytes, n, hash);
    if (there >= 0) {
        if (twin)
            *twin = there;
        HL_FAIL(HL_E_FORMAT, "the token '%.*s' is there twice", n < 40 ? (int)n : 40,
                (const char *)bytes);
    }
    HL_TRY(hl_vec_grow((void **)&p->chars, &p->cap_chars, p->n_chars + n, 1));
    HL_TRY(hl_vec_grow((void **)&p->start, &p->cap, p->n + 2, sizeof *p->start));
    if (2 * (p->n + 1) > p->n_slots)
        HL_TRY(grow_slots(p));
    memcpy(p->chars + p->n_chars, bytes, n);
    p->start[p->n] = (uint32_t)p->n_chars;
    p->n_chars += n;
    put_slot(p->slot, p->n_slots, hash, (int32_t)p->n);
    p->start[++p->n] = (uint32_t)p->n_chars;
    if (n > p->longest)
        p->longest = n;
out:
    return st;
}

void hl_pieces_done(hl_pieces *p)
{
    hl_free(p->chars);
    hl_free(p->start);
    hl_free(p->slot);
    *p = (hl_pieces){0};
}

void hl_pieces_join(const hl_pieces *p, hl_str *out)
{
    for (size_t i = 0; i < p->n; i++) {
        size_t n;
        const char *s = hl_pieces_at(p, (int32_t)i, &n);
        if (i)
            hl_str_addc(out, '\n');
        hl_str_addn(out, s, n);
    }
}
