/* What a program costs: memory, operations, time by op. */
#include "engine/exec/program_internal.h"

hl_program_info hl_program_get_info(const hl_program *p)
{
    hl_program_info info = {.arena_bytes = p->arena_bytes, .n_steps = (int)p->steps.n};
    if (p->gpu)
        info.n_replayed = hl_gpu_side_replayed(p);
    for (size_t k = 0; k < p->steps.n; k++)
        info.n_host_steps += p->gpu && !p->steps.at[k].on_device &&
                             !(p->steps.at[k].call.op->flags & HL_OP_VIEW);
    for (size_t i = 0; i < p->bindings.n; i++) {
        size_t bytes = hl_type_bytes(&p->bindings.at[i].type);
        if (p->bindings.at[i].kind == HL_VALUE_STATE)
            info.state_bytes += bytes;
        else
            info.input_bytes += bytes;
    }
    for (size_t k = 0; k < p->steps.n; k++)
        info.flops += p->steps.at[k].flops;
    return info;
}

void hl_program_largest(const hl_program *p, hl_str *out)
{
    bool *done = hl_alloc_zero(p->g->values.n + 1, sizeof *done);
    for (int rank = 0; done && rank < 10; rank++) {
        size_t best = 0;
        hl_id at = HL_NONE;
        for (size_t v = 0; v < p->g->values.n; v++) {
            size_t bytes = hl_type_bytes(hl_graph_type(p->g, (hl_id)v));
            if (!done[v] && p->root[v] == (hl_id)v && bytes > best) {
                best = bytes;
                at = (hl_id)v;
            }
        }
        if (at == HL_NONE)
            break;
        done[at] = true;
        const hl_value *x = &p->g->values.at[at];
        const hl_node *n = hl_graph_node_of(p->g, at);
        char size[24], type[96];
        hl_str_addf(out, "%s%s %s %s%s%s", rank ? "; " : "", hl_format_bytes(size, (int64_t)best),
                    x->name ? x->name : n ? n->op->name : "constant", hl_type_text(type, &x->type),
                    n && n->where ? " " : "", n && n->where ? n->where : "");
    }
    hl_free(done);
}

void hl_program_profile(hl_program *p, bool on)
{
    p->profile = on;
    for (size_t k = 0; on && k < p->steps.n; k++)
        p->steps.at[k].ns = p->steps.at[k].n_runs = 0;
}

void hl_program_profile_text(const hl_program *p, hl_str *out)
{
    int64_t total = 0;
    for (size_t k = 0; k < p->steps.n; k++)
        total += p->steps.at[k].ns;
    hl_str_add(out, "   share   ms/run  calls   GFLOP/s  op\n");
    for (int id = 0; id < HL_OP_COUNT; id++) {
        int64_t ns = 0, runs = 0, calls = 0;
        double flops = 0;
        for (size_t k = 0; k < p->steps.n; k++) {
            const step *s = &p->steps.at[k];
            if (s->call.op != hl_op_get((hl_op_id)id))
                continue;
            ns += s->ns;
            runs = s->n_runs;
            calls++;
            flops += s->flops;
        }
        if (ns && runs)
            hl_str_addf(out, "  %5.1f%% %8.3f %6lld %9.1f  %s\n",
                        100.0 * (double)ns / (double)total, (double)ns / (double)runs * 1e-6,
                        (long long)calls, flops * (double)runs / (double)ns,
                        hl_op_get((hl_op_id)id)->name);
    }
}

/* Steps stand in the order in which they run: what one needs lies before it. */
static void take_part(hl_program *p, bool *needed, int part)
{
    for (size_t k = p->steps.n; k-- > 0;) {
        step *s = &p->steps.at[k];
        bool wanted = false;
        for (int i = 0; i < s->call.n_out; i++)
            wanted |= needed[s->out0 + i];
        for (int i = 0; wanted && i < s->call.n_in; i++)
            if (p->in_values.at[s->in0 + i] != HL_NONE)
                needed[p->in_values.at[s->in0 + i]] = true;
        if (wanted && s->part < 0)
            s->part = part;
    }
}

hl_status hl_program_divide(hl_program *p, const int *outputs, const int *first, int n_sets)
{
    HL_ASSERT(n_sets < HL_PROGRAM_PARTS);
    bool *needed = hl_alloc_zero(p->g->values.n + 1, sizeof *needed);
    if (!needed)
        return HL_E_NOMEM;
    for (size_t k = 0; k < p->steps.n; k++)
        p->steps.at[k].part = -1;
    for (int i = 0; i < n_sets; i++) {
        for (int o = first[i]; o < first[i + 1]; o++)
            needed[p->outputs[outputs[o]]] = true;
        take_part(p, needed, i);
    }
    for (size_t k = 0; k < p->steps.n; k++)
        p->steps.at[k].part = p->steps.at[k].part < 0 ? n_sets : p->steps.at[k].part;
    hl_free(needed);
    return HL_OK;
}

void hl_program_part_ms(const hl_program *p, double ms[HL_PROGRAM_PARTS])
{
    for (int i = 0; i < HL_PROGRAM_PARTS; i++)
        ms[i] = 0;
    for (size_t k = 0; k < p->steps.n; k++)
        ms[p->steps.at[k].part] += (double)p->steps.at[k].ns * 1e-6;
}
