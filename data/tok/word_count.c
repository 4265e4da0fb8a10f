#include "data/tok/word_count.h"

#include <stdlib.h>
#include <string.h>

#include "data/tok/word_scan.h"

static size_t slot_of(const hl_word_count *c, uint64_t hash)
{
    return (size_t)(hash ^ hash >> 32) & (c->n_slots - 1);
}

static hl_status grow_slots(hl_word_count *c)
{
    size_t n = c->n_slots ? 2 * c->n_slots : 1024;
    uint32_t *slot = hl_alloc_zero(n, sizeof *slot);
    if (!slot)
        return HL_E_NOMEM;
    hl_free(c->slot);
    c->slot = slot;
    c->n_slots = n;
    for (size_t i = 0; i < c->words.n; i++) {
        size_t k = slot_of(c, c->words.at[i].hash);
        while (slot[k])
            k = (k + 1) & (n - 1);
        slot[k] = (uint32_t)i + 1;
    }
    return HL_OK;
}

hl_status hl_word_count_add(hl_word_count *c, const void *word, size_t n, uint64_t hash)
{
    hl_status st = HL_OK;
    if (2 * (c->words.n + 1) > c->n_slots)
        HL_TRY(grow_slots(c));
    size_t k = slot_of(c, hash);
    for (; c->slot[k]; k = (k + 1) & (c->n_slots - 1)) {
        hl_word_entry *e = &c->words.at[c->slot[k] - 1];
        if (e->hash == hash && e->len == n && memcmp(c->chars.at + e->start, word, n) == 0) {
            e->count++;
            return HL_OK;
        }
    }
    if (c->words.n == UINT32_MAX - 1)
        HL_FAIL(HL_E_ARG,
                "the text has more than 4 billion distinct words; use the bytes tokenizer");
    hl_word_entry e = {.hash = hash,
                       .count = 1,
                       .start = c->chars.n,
                       .len = (uint32_t)n,
                       .order = (uint32_t)c->words.n};
    HL_TRY(hl_vec_reserve(&c->chars, c->chars.n + n));
    HL_TRY(hl_vec_push(&c->words, e));
    memcpy(c->chars.at + c->chars.n, word, n);
    c->chars.n += n;
    c->slot[k] = (uint32_t)c->words.n;
out:
    return st;
}

hl_status hl_word_count_text(hl_word_count *c, const hl_text *text, size_t n_bytes)
{
    for (size_t i = 0; i < hl_text_n_files(text) && n_bytes; i++) {
        hl_text_span span = hl_text_file(text, i);
        size_t n = span.n < n_bytes ? span.n : n_bytes;
        hl_word_scan s = {.bytes = span.bytes, .n = n};
        while (hl_word_scan_next(&s)) {
            hl_status st = s.n_word ? hl_word_count_add(c, s.word, s.n_word, s.hash) : HL_OK;
            if (st != HL_OK)
                return st;
        }
        n_bytes -= n;
    }
    return HL_OK;
}

static int by_count(const void *a, const void *b)
{
    const hl_word_entry *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

void hl_word_count_sort(hl_word_count *c)
{
    if (c->words.n)
        qsort(c->words.at, c->words.n, sizeof *c->words.at, by_count);
}

void hl_word_count_done(hl_word_count *c)
{
    hl_vec_done(&c->words);
    hl_vec_done(&c->chars);
    hl_free(c->slot);
    c->slot = NULL;
    c->n_slots = 0;
}
