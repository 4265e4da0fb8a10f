#include "app/hl_app.h"

#include <string.h>

#include "app/store/run_known.h"
#include "app/store/run_row.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

/* hl_run_rows, the rows, the index of their directories, and their texts in one block. */
typedef struct block {
    hl_run_rows rows;
    hl_run_row row[];
} block;

/* Open addressing, at most half full; a slot holds the place of a row and one, 0 is free. */
static size_t slots_for(size_t n)
{
    size_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

static size_t first_slot(const char *dir, size_t n_slots)
{
    const uint64_t h = hl_hash_str(HL_HASH_START, dir);
    return (size_t)(h ^ h >> 32) & (n_slots - 1);
}

static void add_slot(uint32_t *slot, size_t n_slots, const char *dir, size_t place)
{
    size_t at = first_slot(dir, n_slots);
    while (slot[at])
        at = (at + 1) & (n_slots - 1);
    slot[at] = (uint32_t)place + 1;
}

static size_t bytes_of_texts(const hl_run_row *row)
{
    const char **slot[HL_ROW_TEXTS];
    hl_run_row copy = *row;
    size_t n = 0;
    hl_row_slots(&copy, slot);
    for (size_t t = 0; t < HL_ROW_TEXTS; t++)
        n += strlen(*slot[t]) + 1;
    return n;
}

/* A row whose texts stand at *to, which is moved behind them. */
static hl_run_row copy_row(const hl_run_row *from, char **to)
{
    const char **slot[HL_ROW_TEXTS];
    hl_run_row row = *from;
    (void)hl_run_values_ref(row.config);
    (void)hl_run_metrics_ref(row.metrics);
    hl_row_slots(&row, slot);
    for (size_t t = 0; t < HL_ROW_TEXTS; t++) {
        const size_t n = strlen(*slot[t]) + 1;
        *slot[t] = memcpy(*to, *slot[t], n);
        *to += n;
    }
    return row;
}

hl_run_rows *hl_run_rows_copy(const hl_run_row *const *from, size_t n)
{
    const size_t n_slots = slots_for(n);
    size_t n_bytes = sizeof(block) + n * sizeof(hl_run_row) + n_slots * sizeof(uint32_t);
    for (size_t i = 0; i < n; i++)
        n_bytes += bytes_of_texts(from[i]);
    block *b = hl_alloc(n_bytes);
    if (!b)
        return NULL;
    uint32_t *slot = (uint32_t *)(void *)(b->row + n);
    char *to = (char *)(slot + n_slots);
    memset(slot, 0, n_slots * sizeof *slot);
    for (size_t i = 0; i < n; i++) {
        b->row[i] = copy_row(from[i], &to);
        add_slot(slot, n_slots, b->row[i].dir, i);
    }
    b->rows = (hl_run_rows){b->row, n, slot, n_slots};
    return &b->rows;
}

hl_status hl_run_rows_add(hl_run_rows *rows, size_t i, const hl_run_value *more, size_t n)
{
    hl_run_row *row = &((block *)(void *)rows)->row[i];
    const hl_run_values *fresh = hl_run_values_with(row->config, more, n);
    if (!fresh)
        return HL_E_NOMEM;
    hl_run_values_unref(row->config);
    row->config = fresh;
    return HL_OK;
}

void hl_run_rows_free(hl_run_rows *rows)
{
    for (size_t i = 0; rows && i < rows->n; i++) {
        hl_run_values_unref(rows->at[i].config);
        hl_run_metrics_unref(rows->at[i].metrics);
    }
    hl_free(rows); /* the first member of its block */
}

const hl_run_row *hl_run_rows_find(const hl_run_rows *rows, const char *dir)
{
    if (!rows->n_slots)
        return NULL;
    for (size_t at = first_slot(dir, rows->n_slots); rows->slot[at];
         at = (at + 1) & (rows->n_slots - 1)) {
        const hl_run_row *row = &rows->at[rows->slot[at] - 1];
        if (strcmp(row->dir, dir) == 0)
            return row;
    }
    return NULL;
}
