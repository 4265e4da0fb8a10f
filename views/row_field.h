/* What can be asked of a row of the run list: one table for the filter language and for sorting. */
#ifndef HL_VIEWS_ROW_FIELD_H
#define HL_VIEWS_ROW_FIELD_H

#include "app/hl_app.h"

typedef struct hl_row_field {
    const char *name;
    const char *(*text)(const hl_run_row *row);           /* or */
    bool (*number)(const hl_run_row *row, double *value); /* false: unknown */
    bool filters, sorts; /* the filter knows it; it is a column to sort by */
} hl_row_field;

/* The i-th one that the filter knows, or that sorts, in their order; NULL: no more. */
const hl_row_field *hl_row_filter_field(int i);
const hl_row_field *hl_row_sort_field(int i);

#endif
