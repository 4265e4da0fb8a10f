#include "data/text/token_list.h"

#include <string.h>

#include "engine/base/mem.h"

hl_status hl_token_list_reserve(hl_token_list *list, size_t n_want, int width)
{
    if (n_want <= list->cap)
        return HL_OK;
    size_t n = list->cap + list->cap / 2, n_bytes;
    if (n < n_want)
        n = n_want;
    if (!hl_mul_size(n, (size_t)width, &n_bytes))
        return hl_err_nomem("the tokens of a text", SIZE_MAX);
    void *p = hl_realloc(list->at, n_bytes);
    if (!p)
        return HL_E_NOMEM;
    list->at = p;
    list->cap = n;
    return HL_OK;
}

hl_status hl_token_list_append(hl_token_list *list, const int32_t *ids, size_t n, int width)
{
    hl_status st = hl_token_list_reserve(list, list->n + n, width);
    if (st != HL_OK)
        return st;
    if (width == 1)
        for (size_t i = 0; i < n; i++)
            ((uint8_t *)list->at)[list->n + i] = (uint8_t)ids[i];
    else if (width == 2)
        for (size_t i = 0; i < n; i++)
            ((uint16_t *)list->at)[list->n + i] = (uint16_t)ids[i];
    else
        for (size_t i = 0; i < n; i++)
            ((uint32_t *)list->at)[list->n + i] = (uint32_t)ids[i];
    list->n += n;
    return HL_OK;
}

hl_status hl_token_list_join(hl_token_list *list, const hl_token_list *more, int width)
{
    hl_status st = hl_token_list_reserve(list, list->n + more->n, width);
    if (st == HL_OK && more->n) {
        memcpy((unsigned char *)list->at + list->n * (size_t)width, more->at,
               more->n * (size_t)width);
        list->n += more->n;
    }
    return st;
}

void hl_token_list_shrink(hl_token_list *list, int width)
{
    void *p = list->n && list->n < list->cap ? hl_realloc(list->at, list->n * (size_t)width) : NULL;
    if (p) {
        list->at = p;
        list->cap = list->n;
    } else {
        hl_err_clear();
    }
}

void hl_token_list_done(hl_token_list *list)
{
    hl_free(list->at);
    *list = (hl_token_list){0};
}

void hl_token_list_read(const void *at, int width, size_t first, size_t n, int32_t *ids)
{
    if (width == 1)
        for (size_t i = 0; i < n; i++)
            ids[i] = ((const uint8_t *)at)[first + i];
    else if (width == 2)
        for (size_t i = 0; i < n; i++)
            ids[i] = ((const uint16_t *)at)[first + i];
    else
        for (size_t i = 0; i < n; i++)
            ids[i] = (int32_t)((const uint32_t *)at)[first + i];
}
