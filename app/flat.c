#include "app/flat.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

static hl_status add_leaf(hl_flat *f, const char *path, const hl_json *v)
{
    hl_str text = {0};
    if (hl_json_is_string(v))
        hl_str_add(&text, hl_json_str(v, ""));
    else
        hl_json_add_value(&text, v);
    hl_flat_entry e = {.path = hl_strdup(path), .text = hl_strdup(hl_str_text(&text)), .value = v};
    hl_status st = hl_str_status(&text);
    hl_str_done(&text);
    if (st == HL_OK)
        st = e.path && e.text ? hl_vec_push(f, e) : HL_E_NOMEM;
    if (st != HL_OK) {
        hl_free(e.path);
        hl_free(e.text);
    }
    return st;
}

/* The depth of a parsed tree is limited, so is the recursion. */
static hl_status add_tree(hl_flat *f, const char *path, const hl_json *v)
{
    const bool object = hl_json_is_object(v);
    const bool parent = (object || hl_json_is_array(v)) && hl_json_len(v) > 0;
    if (!parent)
        return *path ? add_leaf(f, path, v) : HL_OK;
    hl_status st = HL_OK;
    int i = 0;
    for (const hl_json *child = hl_json_at(v, 0); child && st == HL_OK;
         child = hl_json_next(child)) {
        hl_str b = {0};
        if (object)
            hl_str_addf(&b, "%s%s%s", path, *path ? "." : "", hl_json_key(child));
        else
            hl_str_addf(&b, "%s[%d]", path, ++i);
        st = hl_str_status(&b);
        if (st == HL_OK)
            st = add_tree(f, b.s, child);
        hl_str_done(&b);
    }
    return st;
}

hl_status hl_flat_add(hl_flat *f, const hl_json *v)
{
    return add_tree(f, "", v);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const hl_flat_entry *)a)->path, ((const hl_flat_entry *)b)->path);
}

void hl_flat_sort(hl_flat *f)
{
    if (f->n)
        qsort(f->at, f->n, sizeof *f->at, by_path);
}

void hl_flat_done(hl_flat *f)
{
    for (size_t i = 0; i < f->n; i++) {
        hl_free(f->at[i].path);
        hl_free(f->at[i].text);
    }
    hl_vec_done(f);
}

const hl_flat_entry *hl_flat_find(const hl_flat *f, const char *path)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->at[i].path, path) == 0)
            return &f->at[i];
    return NULL;
}
