/* JSON in and out. Reading keeps a parsed tree (cJSON behind it); writing appends text to an
 * hl_str. Numbers that JSON cannot carry are the strings "NaN", "Infinity", "-Infinity" both ways. */
#ifndef HL_BASE_JSON_H
#define HL_BASE_JSON_H

#include "engine/base/str.h"

typedef struct hl_json hl_json; /* a node; children are borrowed from the root */

/* Rejects trailing text and nesting deeper than 64. The error names line and column. */
HL_MUST_CHECK hl_status hl_json_parse(const char *text, size_t n, hl_json **out);
void hl_json_free(hl_json *root);

/* Getters take NULL nodes and return the default, so chains need no checks. */
const hl_json *hl_json_get(const hl_json *object, const char *key);
const hl_json *hl_json_at(const hl_json *array_or_object, int i);
const hl_json *hl_json_next(const hl_json *v); /* next member of the same array or object, or NULL;
                                                  hl_json_at walks from the start each time */
const char *hl_json_key(const hl_json *member); /* NULL unless in an object */
int hl_json_len(const hl_json *array_or_object);
bool hl_json_is_object(const hl_json *v);
bool hl_json_is_array(const hl_json *v);
bool hl_json_is_string(const hl_json *v);
bool hl_json_is_number(const hl_json *v); /* "NaN" and the infinities count as numbers */
bool hl_json_is_bool(const hl_json *v);
bool hl_json_is_null(const hl_json *v); /* false for NULL */
const char *hl_json_str(const hl_json *v, const char *otherwise);
double hl_json_num(const hl_json *v, double otherwise);
/* of a member; NaN where there is none */
double hl_json_num_at(const hl_json *object, const char *key);
int64_t hl_json_int(const hl_json *v, int64_t otherwise); /* exact up to 2^53 */
bool hl_json_bool(const hl_json *v, bool otherwise);

/* Writer. Commas are put by looking at what stands before. */
void hl_json_begin(hl_str *b, char open); /* '{' or '[' */
void hl_json_end(hl_str *b, char close);
void hl_json_add_key(hl_str *b, const char *key);
void hl_json_add_str(hl_str *b, const char *text); /* invalid UTF-8 becomes U+FFFD */
void hl_json_add_num(hl_str *b, double v);         /* text that reads back equal, short */
void hl_json_add_int(hl_str *b, int64_t v);
void hl_json_add_bool(hl_str *b, bool v);
void hl_json_add_null(hl_str *b);
void hl_json_add_value(hl_str *b, const hl_json *v); /* a parsed tree, compact */

/* key and value in one call */
void hl_json_put_str(hl_str *b, const char *key, const char *text);
void hl_json_put_num(hl_str *b, const char *key, double v);
void hl_json_put_int(hl_str *b, const char *key, int64_t v);
void hl_json_put_bool(hl_str *b, const char *key, bool v);

#endif
