/* Inside of a filter: a tree of conditions. */
#ifndef HL_LIST_FILTER_INTERNAL_H
#define HL_LIST_FILTER_INTERNAL_H

#include <regex.h>

#include "app/hl_app.h"
#include "engine/base/vec.h"

typedef enum hl_filter_op {
    HL_FILTER_AND,
    HL_FILTER_OR,
    HL_FILTER_NOT,
    HL_FILTER_WORD, /* pattern in any of the texts */
    HL_FILTER_FLAG, /* the key's number is not 0 */
    HL_FILTER_HAS,
    HL_FILTER_LIKE, /* key:pattern */
    HL_FILTER_EQ,
    HL_FILTER_NE,
    HL_FILTER_LT,
    HL_FILTER_LE,
    HL_FILTER_GT,
    HL_FILTER_GE
} hl_filter_op;

enum { HL_FILTER_NOTHING = -1, HL_FILTER_NODES_MAX = 512, HL_FILTER_DEPTH_MAX = 40 };

typedef struct hl_filter_node {
    hl_filter_op op;
    int a, b;      /* of AND, OR, NOT: places of nodes */
    char *pattern; /* owned; what is compared with, as text */
    bool literal;  /* it was quoted: no stars, no commas */
    double number; /* NAN with is_number false: it is none */
    bool is_number;
    regex_t *regex; /* owned, or NULL */
    hl_run_key key;
} hl_filter_node;

struct hl_filter {
    HL_VEC(hl_filter_node) nodes;
    int root; /* or HL_FILTER_NOTHING */
    bool asks_archived, has_trouble;
    hl_filter_bad trouble;
};

/* Fills nodes, root and trouble. any_key: one that no run has is none. */
HL_MUST_CHECK hl_status hl_filter_parse(hl_filter *f, const char *text, const hl_run_rows *rows,
                                        bool any_key);
/* Does text have the pattern of n bytes somewhere in it? `*` is anything. */
bool hl_text_has(const char *text, const char *pattern, size_t n, bool literal);

#endif
