/* Runs side by side: in what their options differ, what came of them, one by one and over runs that
 * differ in their seed alone. `hoplab compare` prints it, the Compare view draws it. */
#ifndef HL_COMPARE_H
#define HL_COMPARE_H

#include "app/flat.h"

typedef struct hl_run hl_run; /* app/hl_app.h, which includes this file */

/* Which number stands for a series. */
typedef enum hl_compare_value {
    HL_COMPARE_LAST,
    HL_COMPARE_BEST, /* least or most, as the metric's goal is */
    HL_COMPARE_AT,   /* the newest one of a step <= hl_compare_wanted.at */
    HL_COMPARE_VALUES
} hl_compare_value;
const char *hl_compare_value_name(hl_compare_value v); /* "last" */

typedef struct hl_compare_wanted {
    const char *const *dirs;
    size_t n;
    int64_t at;   /* step for HL_COMPARE_AT; < 0: none. Costs a pass over the events of the runs
                     that went on from there. */
    bool scripts; /* their text as well */
} hl_compare_wanted;

/* An option, a fact about the surroundings, or a metric. */
typedef struct hl_compare_row {
    const char *key; /* borrowed from a run */
    bool differs;    /* not the same in all runs; of a metric: always */
    bool is_main;    /* no derived option; a metric of training or evaluation */
} hl_compare_row;
typedef HL_VEC(hl_compare_row) hl_compare_rows;

typedef struct hl_compared {
    hl_run *run;
    hl_flat config, facts;
    HL_VEC(double) at; /* per metric; NAN: none. Empty: not wanted, or nothing was read */
    char *script;      /* NULL: not wanted, or none is stored */
    int group;         /* of hl_comparison.groups */
} hl_compared;

/* Runs of the same configuration but for seed, name and tags, in the order of their first ones. */
typedef struct hl_compare_group {
    int first, n; /* a run; how many there are */
} hl_compare_group;

/* Immutable once made, and free to go to another thread. */
typedef struct hl_comparison {
    hl_compared *runs;
    size_t n;
    hl_compare_rows options, facts, metrics;
    HL_VEC(hl_compare_group) groups;
    int64_t at;
    size_t n_failed;  /* of the directories wanted, how many cannot be read, */
    char failed[200]; /* and why the first of them cannot */
} hl_comparison;

/* Errors: NOMEM. A run that cannot be read is left out and told in `failed`. */
HL_MUST_CHECK hl_status hl_comparison_new(const hl_compare_wanted *w, hl_comparison **out);
void hl_comparison_free(hl_comparison *c); /* NULL is fine */

/* ---- values ---- */

/* Goal of a metric: is more better? By the runs' save.best where it names the metric, else by what
 * it is called. */
bool hl_compare_more_is_better(const hl_comparison *c, const char *metric);
/* false: the run has none. step may be NULL. */
bool hl_compare_get(const hl_comparison *c, size_t run, size_t metric, hl_compare_value which,
                    double *v, int64_t *step);
/* The run with the best value; -1: fewer than two have a finite one, all are equal, or it is no
 * question of good and bad (a learning rate, a count). */
int hl_compare_best(const hl_comparison *c, size_t metric, hl_compare_value which);
bool hl_compare_is_best(const hl_comparison *c, size_t run, size_t metric, hl_compare_value which);

typedef struct hl_compare_mean {
    double mean, sd; /* of the sample; sd NAN: of one. mean NAN: of none */
    int n;
} hl_compare_mean;
hl_compare_mean hl_compare_group_mean(const hl_comparison *c, size_t group, size_t metric,
                                      hl_compare_value which);

/* The runs in the order of a metric, best first, those without it last; equal ones as they are.
 * metric SIZE_MAX: as they are. `order` holds c->n. */
void hl_compare_order(const hl_comparison *c, size_t metric, hl_compare_value which, bool reverse,
                      int *order);

/* How much of the metric's spread over the runs one option explains: between-group sum of squares
 * over the total (eta squared, 0 to 1), for every main option that differs, best first. */
typedef struct hl_compare_cause {
    size_t option; /* of hl_comparison.options */
    double share;
    int n_values;     /* different ones of the option */
    const char *best; /* the value with the best mean; NULL: none */
    double best_mean;
} hl_compare_cause;
typedef HL_VEC(hl_compare_cause) hl_compare_causes;
HL_MUST_CHECK hl_status hl_compare_explain(const hl_comparison *c, size_t metric,
                                           hl_compare_value which, hl_compare_causes *out);

/* Text of an option or fact in a run; "-": it has none. */
const char *hl_compare_text(const hl_flat *of, const char *key);
/* A metric's place in c->metrics; SIZE_MAX: no run has it. */
size_t hl_compare_metric(const hl_comparison *c, const char *tag);

/* ---- leaving ---- */

typedef enum hl_compare_form {
    HL_COMPARE_CSV,
    HL_COMPARE_TSV,
    HL_COMPARE_MARKDOWN,
    HL_COMPARE_LATEX,
    HL_COMPARE_FORMS
} hl_compare_form;
const char *hl_compare_form_name(hl_compare_form f); /* "csv", the option that asks for it */

/* One line per run: the options that differ and the metrics; then, where runs differ in their seed
 * alone, means and deviations. all: also what does not differ and all series. In Markdown and LaTeX
 * the best of each metric is bold and numbers are short. */
typedef struct hl_compare_table {
    hl_compare_form form;
    hl_compare_value which;
    bool all;
} hl_compare_table;
HL_MUST_CHECK hl_status hl_compare_write(const hl_comparison *c, const hl_compare_table *how,
                                         hl_str *out);

/* Lines that script b has and a has not, and the other way round: "+ line", "- line", "@ 12" before
 * those of line 12 of a; at most so many lines of equal text around. "" where they are the same.
 * Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_text_diff(const char *a, const char *b, int context, hl_str *out);

/* ---- in a thread of its own, for somebody who must not wait ---- */

typedef struct hl_compare_reader hl_compare_reader;
HL_MUST_CHECK hl_status hl_compare_reader_open(hl_compare_reader **out);
void hl_compare_reader_close(hl_compare_reader *r); /* joins the thread; NULL is fine */
/* Copied; an order that nobody has begun is replaced. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_compare_reader_ask(hl_compare_reader *r, const hl_compare_wanted *w);
int hl_compare_reader_fd(const hl_compare_reader *r); /* readable when there is something to take */
/* The newest result, the caller's from now on; NULL: nothing new. *st: what became of it. */
hl_comparison *hl_compare_reader_take(hl_compare_reader *r, hl_status *st);
bool hl_compare_reader_is_busy(const hl_compare_reader *r);

#endif
