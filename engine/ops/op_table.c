/* The table, expanded from hl_op.def, and what can be asked of a row. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/ops/op.h"

#define HL_OP(name) extern const hl_op hl_op_##name;
#include "engine/ops/hl_op.def"

static const hl_op *const table[HL_OP_COUNT] = {
#define HL_OP(name) &hl_op_##name,
#include "engine/ops/hl_op.def"
};

const hl_op *hl_op_get(hl_op_id id)
{
    return table[id];
}

const hl_op *hl_op_find(const char *name)
{
    for (int i = 0; i < HL_OP_COUNT; i++)
        if (strcmp(table[i]->name, name) == 0)
            return table[i];
    return NULL;
}

int hl_op_index(const hl_op *op)
{
    for (int i = 0; i < HL_OP_COUNT; i++)
        if (table[i] == op)
            return i;
    return -1;
}

/* Start and length of the i-th word; length 0 past the end. */
static const char *word_at(const char *words, int i, size_t *length)
{
    const char *p = words;
    for (;; i--) {
        p += strspn(p, " ");
        *length = strcspn(p, " ");
        if (i == 0 || *length == 0)
            return p;
        p += *length;
    }
}

void hl_op_arity(const hl_op *op, int *least, int *most)
{
    size_t n;
    *least = *most = 0;
    for (int i = 0;; i++) {
        const char *w = word_at(op->ins, i, &n);
        if (n == 0)
            return;
        if (w[n - 1] == '*') {
            *most = -1;
            return;
        }
        *most = i + 1;
        if (w[n - 1] != '?')
            *least = i + 1;
    }
}

bool hl_op_input_optional(const hl_op *op, int i)
{
    size_t n;
    const char *w = word_at(op->ins, i, &n);
    return n == 0 || w[n - 1] == '?' || w[n - 1] == '*';
}

const char *hl_op_word(const char *words, int i, char buf[32])
{
    size_t n;
    const char *w = word_at(words, i, &n);
    if (n && (w[n - 1] == '?' || w[n - 1] == '*'))
        n--;
    snprintf(buf, 32, "%.*s", (int)(n < 31 ? n : 31), w);
    return buf;
}

int hl_op_attr(const hl_op *op, const char *name)
{
    for (int i = 0; op->attr[i].kind != HL_ATTR_END; i++)
        if (strcmp(op->attr[i].name, name) == 0)
            return i;
    return -1;
}

hl_attrs hl_op_defaults(const hl_op *op)
{
    hl_attrs a = {0};
    for (int i = 0; op->attr[i].kind != HL_ATTR_END; i++) {
        double v = op->attr[i].otherwise;
        if (op->attr[i].kind == HL_ATTR_REAL)
            a.v[i].f = v;
        else
            a.v[i].i = isnan(v) ? 0 : (int64_t)v;
    }
    return a;
}
