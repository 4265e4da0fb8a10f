/* Precision fp64: the same graph on doubles, run by the ops' references. */
#include "engine/pass/pass.h"

#include "engine/base/mem.h"

hl_status hl_pass_fp64(const hl_graph *g, hl_graph **out)
{
    hl_status st = HL_OK;
    hl_id *map = hl_alloc((g->values.n + 1) * sizeof *map);
    hl_id *all = hl_alloc((g->values.n + 1) * sizeof *all);
    hl_graph *to = NULL;
    if (!map || !all) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (size_t v = 0; v < g->values.n; v++)
        all[v] = (hl_id)v;
    HL_TRY(hl_graph_extract(g, all, (int)g->values.n, &to, map));
    for (size_t v = 0; v < to->values.n; v++)
        if (to->values.at[v].type.dtype == HL_DTYPE_F32)
            to->values.at[v].type.dtype = HL_DTYPE_F64;
    *out = to;
out:
    hl_free(map);
    hl_free(all);
    return st;
}
