/* Growth policy of HL_VEC: at least 1.5 times. */
#include "engine/base/vec.h"

hl_status hl_vec_grow(void **at, size_t *cap, size_t n_want, size_t each_bytes)
{
    if (n_want <= *cap)
        return HL_OK;
    size_t n = *cap + *cap / 2;
    if (n < n_want)
        n = n_want;
    if (n < 8)
        n = 8;
    size_t n_bytes;
    if (!hl_mul_size(n, each_bytes, &n_bytes))
        return hl_err_nomem("a growing array", SIZE_MAX);
    void *p = hl_realloc(*at, n_bytes);
    if (!p)
        return HL_E_NOMEM;
    *at = p;
    *cap = n;
    return HL_OK;
}
