#include "views/row_field.h"

static const char *state_name(const hl_run_row *r)
{
    return hl_run_state_name(r->state);
}

static const char *name(const hl_run_row *r)
{
    return r->name;
}

static const char *id(const hl_run_row *r)
{
    return r->id;
}

static const char *tags(const hl_run_row *r)
{
    return r->tags;
}

static const char *variant(const hl_run_row *r)
{
    return r->variant;
}

static const char *host(const hl_run_row *r)
{
    return r->host;
}

static const char *project(const hl_run_row *r)
{
    return r->project;
}

/* By time backwards: the newest run is the first. */
static bool age(const hl_run_row *r, double *v)
{
    *v = -(double)r->t_start_us;
    return r->t_start_us != 0;
}

static bool state(const hl_run_row *r, double *v)
{
    *v = (double)r->state;
    return true;
}

static bool step(const hl_run_row *r, double *v)
{
    *v = (double)r->step;
    return r->step >= 0;
}

static bool loss(const hl_run_row *r, double *v)
{
    *v = r->loss;
    return *r->loss_tag != 0;
}

static bool eval(const hl_run_row *r, double *v)
{
    *v = r->eval;
    return *r->eval_tag != 0;
}

static bool inf_norm(const hl_run_row *r, double *v)
{
    *v = r->max_inf_norm;
    return r->has_max_inf_norm;
}

static bool kurtosis(const hl_run_row *r, double *v)
{
    *v = r->kurtosis;
    return r->has_kurtosis;
}

static bool bad_points(const hl_run_row *r, double *v)
{
    *v = (double)r->n_non_finite;
    return true;
}

static const hl_row_field fields[] = {
    {.name = "age", .number = age, .sorts = true},
    {.name = "status", .text = state_name, .filters = true},
    {.name = "name", .text = name, .filters = true, .sorts = true},
    {.name = "id", .text = id, .filters = true},
    {.name = "tag", .text = tags, .filters = true},
    {.name = "state", .number = state, .sorts = true},
    {.name = "attn", .text = variant, .filters = true, .sorts = true},
    {.name = "host", .text = host, .filters = true},
    {.name = "project", .text = project, .filters = true},
    {.name = "step", .number = step, .filters = true, .sorts = true},
    {.name = "loss", .number = loss, .filters = true, .sorts = true},
    {.name = "eval", .number = eval, .filters = true, .sorts = true},
    {.name = "max", .number = inf_norm, .filters = true, .sorts = true},
    {.name = "kurt", .number = kurtosis, .filters = true, .sorts = true},
    {.name = "nan", .number = bad_points, .filters = true},
};
enum { N_FIELDS = sizeof fields / sizeof fields[0] };

const hl_row_field *hl_row_filter_field(int i)
{
    for (int k = 0; k < N_FIELDS; k++)
        if (fields[k].filters && i-- == 0)
            return &fields[k];
    return NULL;
}

const hl_row_field *hl_row_sort_field(int i)
{
    for (int k = 0; k < N_FIELDS; k++)
        if (fields[k].sorts && i-- == 0)
            return &fields[k];
    return NULL;
}
