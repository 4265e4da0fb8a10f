#include "app/store/log_index.h"

void hl_log_index_done(hl_log_index *x)
{
    hl_vec_done(&x->blocks);
    *x = (hl_log_index){0};
}

hl_status hl_log_index_add(hl_log_index *x, int64_t record, int64_t end, uint64_t said,
                           hl_log_line *line)
{
    hl_log_block *b = x->blocks.n ? &x->blocks.at[x->blocks.n - 1] : NULL;
    const bool is_full =
        !b || x->n - b->number >= HL_LOG_BLOCK_LINES || record - b->first >= HL_LOG_BLOCK_BYTES;
    x->n_of_record = b && record == x->last_record ? x->n_of_record + 1 : 0;
    x->last_record = record;
    if (x->n_of_record == 0 && is_full) { /* a record is not torn apart */
        const hl_log_block fresh = {record, end, x->n, said};
        if (hl_vec_push(&x->blocks, fresh) != HL_OK)
            return HL_E_NOMEM;
    } else {
        b->end = end;
    }
    line->place = record + x->n_of_record;
    line->number = x->n++;
    return HL_OK;
}

/* How many blocks begin before the place. */
static size_t count_before(const hl_log_index *x, int64_t place)
{
    size_t lo = 0, hi = x->blocks.n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (x->blocks.at[mid].first < place)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const hl_log_block *hl_log_index_before(const hl_log_index *x, int64_t place)
{
    const size_t n = count_before(x, place);
    return n > 0 ? &x->blocks.at[n - 1] : NULL;
}

const hl_log_block *hl_log_index_at(const hl_log_index *x, int64_t place)
{
    size_t n = count_before(x, place);
    if (n > 0 && x->blocks.at[n - 1].end > place)
        n--;
    return n < x->blocks.n ? &x->blocks.at[n] : NULL;
}

const hl_log_block *hl_log_index_of(const hl_log_index *x, int64_t number)
{
    size_t lo = 0, hi = x->blocks.n;
    if (number < 0 || number >= x->n)
        return NULL;
    while (hi - lo > 1) { /* block lo begins at or before it */
        const size_t mid = lo + (hi - lo) / 2;
        if (x->blocks.at[mid].number <= number)
            lo = mid;
        else
            hi = mid;
    }
    return &x->blocks.at[lo];
}
