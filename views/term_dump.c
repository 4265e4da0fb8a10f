/* A terminal that shows nothing and reads its keys from a script. */
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "views/term_internal.h"

typedef struct dump {
    hl_term base;
    HL_VEC(int) keys;
    size_t next;
} dump;

static void dump_close(hl_term *t)
{
    dump *d = (dump *)t;
    hl_vec_done(&d->keys);
    hl_free(d);
}

static bool dump_read(hl_term *t, hl_input *out)
{
    dump *d = (dump *)t;
    if (d->next == d->keys.n)
        return false;
    *out = (hl_input){.key = d->keys.at[d->next++]};
    return true;
}

static void dump_show(hl_term *t, const hl_grid *g)
{
    (void)t;
    (void)g;
}

static const hl_term_class dump_class = {
    .close = dump_close,
    .read = dump_read,
    .show = dump_show,
};

hl_status hl_term_dump_open(const hl_term_options *o, int cols, int rows, const char *keys,
                            hl_term **out)
{
    dump *d = hl_alloc_zero(1, sizeof *d);
    if (!d)
        return HL_E_NOMEM;
    d->base = (hl_term){.kind = &dump_class, .cols = cols, .rows = rows};
    hl_status st = hl_term_choose(&d->base, o, NULL);
    for (const char *at = keys ? keys : ""; st == HL_OK && *at;) {
        int key = 0;
        st = hl_key_script_next(&at, &key);
        if (st == HL_OK)
            st = hl_vec_push(&d->keys, key);
    }
    if (st == HL_OK)
        *out = &d->base;
    else
        dump_close(&d->base);
    return st;
}

void hl_term_dump_resize(hl_term *t, int cols, int rows)
{
    t->cols = cols;
    t->rows = rows;
}

static void add_char(hl_str *out, uint32_t ch)
{
    char text[4];
    hl_str_addn(out, text, hl_utf8_put(text, ch));
}

void hl_grid_print(const hl_grid *g, hl_str *out)
{
    for (int y = 0; y < g->rows; y++) {
        const hl_cell *row = g->cell + (size_t)y * (size_t)g->cols;
        int end = g->cols;
        while (end > 0 && row[end - 1].ch == ' ')
            end--;
        for (int x = 0; x < end; x++)
            if (row[x].ch != HL_CELL_TAIL)
                add_char(out, row[x].ch);
        hl_str_addc(out, '\n');
    }
}
