/* Keys of the run list whose values are not in a summary: see app/store/deep.h. app/hl_app.h
 * includes this file. */
#ifndef HL_LIST_DEEP_KEY_H
#define HL_LIST_DEEP_KEY_H

#include <stdbool.h>
#include <stddef.h>

typedef enum hl_deep_kind { HL_DEEP_AT, HL_DEEP_BELOW, HL_DEEP_ABOVE, HL_DEEP_EMA } hl_deep_kind;

enum { HL_DEEP_TEXT = 128, HL_DEEP_MAX = 16 };

typedef struct hl_deep_key {
    char text[HL_DEEP_TEXT]; /* all of it */
    char tag[HL_DEEP_TEXT];  /* the metric */
    hl_deep_kind kind;
    double number; /* step, bound or factor */
} hl_deep_key;

typedef struct hl_deep_keys {
    size_t n;
    hl_deep_key at[HL_DEEP_MAX]; /* sorted by text, each once */
} hl_deep_keys;

/* false: it is no such key. */
bool hl_deep_key_from(const char *text, hl_deep_key *out);
/* Adds it if it is one and there is room. */
void hl_deep_keys_add(hl_deep_keys *k, const char *text);
bool hl_deep_keys_equal(const hl_deep_keys *a, const hl_deep_keys *b);

#endif
