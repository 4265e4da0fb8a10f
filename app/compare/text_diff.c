/* Lines of two texts: a longest common subsequence between what they begin and end with alike. */
#include <stdio.h>
#include <string.h>

#include "app/compare/compare.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

enum { CELLS_MAX = 16 << 20 }; /* of the table; beyond that the middle is told as replaced */

typedef struct lines {
    HL_VEC(const char *) at; /* starts, and the end of the last one */
} lines;

static hl_status split(const char *text, lines *out)
{
    while (*text) {
        if (hl_vec_push(&out->at, text) != HL_OK)
            return HL_E_NOMEM;
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return HL_OK;
}

static size_t length_of(const char *line)
{
    return strcspn(line, "\n");
}

static bool same(const lines *a, size_t i, const lines *b, size_t k)
{
    const size_t n = length_of(a->at.at[i]);
    return n == length_of(b->at.at[k]) && memcmp(a->at.at[i], b->at.at[k], n) == 0;
}

typedef struct diff {
    lines a, b;
    size_t head, tail; /* lines alike at the beginning and at the end */
    uint16_t *common;  /* (n_a + 1) x (n_b + 1) of the middle: length of what is common from there
                          on; NULL: too large */
    size_t n_a, n_b;
    int context;
    hl_str *out;
    size_t told; /* line of a behind the last one that was told */
    bool any;
} diff;

static hl_status fill(diff *d)
{
    size_t cells;
    if (d->n_a >= UINT16_MAX || d->n_b >= UINT16_MAX)
        return HL_OK;
    cells = (d->n_a + 1) * (d->n_b + 1);
    if (cells > CELLS_MAX)
        return HL_OK;
    d->common = hl_alloc_zero(cells, sizeof *d->common);
    if (!d->common)
        return HL_E_NOMEM;
    const size_t w = d->n_b + 1;
    for (size_t i = d->n_a; i-- > 0;)
        for (size_t k = d->n_b; k-- > 0;) {
            const uint16_t down = d->common[(i + 1) * w + k], right = d->common[i * w + k + 1];
            d->common[i * w + k] = same(&d->a, d->head + i, &d->b, d->head + k)
                                       ? (uint16_t)(d->common[(i + 1) * w + k + 1] + 1)
                                   : down >= right ? down
                                                   : right;
        }
    return HL_OK;
}

static void put_line(diff *d, char sign, const char *line)
{
    hl_str_addf(d->out, "%c %.*s\n", sign, (int)length_of(line), line);
}

/* Lines of a that are alike, from where something was told last up to `to`: those near to changes.
 */
static void put_alike(diff *d, size_t to, bool is_end)
{
    const size_t c = (size_t)d->context, from = d->told;
    size_t after = d->any ? c : 0;
    after = after > to - from ? to - from : after;
    for (size_t i = from; i < from + after; i++)
        put_line(d, ' ', d->a.at.at[i]);
    size_t before = is_end ? 0 : c;
    before = before > to - from - after ? to - from - after : before;
    if (!is_end && (to - before > from + after || !d->any))
        hl_str_addf(d->out, "@ %zu\n", to - before + 1);
    for (size_t i = to - before; i < to; i++)
        put_line(d, ' ', d->a.at.at[i]);
    d->told = to;
    d->any |= !is_end;
}

static void put_change(diff *d, size_t i, size_t n_out, size_t k, size_t n_in)
{
    put_alike(d, i, false);
    for (size_t j = 0; j < n_out; j++)
        put_line(d, '-', d->a.at.at[i + j]);
    for (size_t j = 0; j < n_in; j++)
        put_line(d, '+', d->b.at.at[k + j]);
    d->told = i + n_out;
}

static void walk(diff *d)
{
    const size_t w = d->n_b + 1;
    size_t i = 0, k = 0;
    while (i < d->n_a || k < d->n_b) {
        const size_t i0 = i, k0 = k;
        while (i < d->n_a && k < d->n_b && d->common &&
               same(&d->a, d->head + i, &d->b, d->head + k)) {
            i++;
            k++;
        }
        const size_t from_i = i, from_k = k;
        while ((i < d->n_a || k < d->n_b) && !(d->common && i < d->n_a && k < d->n_b &&
                                               same(&d->a, d->head + i, &d->b, d->head + k))) {
            if (k == d->n_b || (i < d->n_a && (!d->common || d->common[(i + 1) * w + k] >=
                                                                 d->common[i * w + k + 1])))
                i++;
            else
                k++;
        }
        if (i > from_i || k > from_k)
            put_change(d, d->head + from_i, i - from_i, d->head + from_k, k - from_k);
        else if (i == i0 && k == k0)
            break;
    }
}

hl_status hl_text_diff(const char *a, const char *b, int context, hl_str *out)
{
    hl_status st = HL_OK;
    diff d = {.context = context, .out = out};
    HL_TRY(split(a, &d.a));
    HL_TRY(split(b, &d.b));
    const size_t n_a = d.a.at.n, n_b = d.b.at.n;
    while (d.head < n_a && d.head < n_b && same(&d.a, d.head, &d.b, d.head))
        d.head++;
    while (d.tail < n_a - d.head && d.tail < n_b - d.head &&
           same(&d.a, n_a - 1 - d.tail, &d.b, n_b - 1 - d.tail))
        d.tail++;
    d.n_a = n_a - d.head - d.tail;
    d.n_b = n_b - d.head - d.tail;
    HL_TRY(fill(&d));
    walk(&d);
    if (d.any)
        put_alike(&d, n_a, true);
    st = hl_str_status(out);
out:
    hl_free(d.common);
    hl_vec_done(&d.a.at);
    hl_vec_done(&d.b.at);
    return st;
}
