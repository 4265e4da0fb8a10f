/* JSON: cJSON reads, a small appender writes. The only file that includes cJSON.h. */
#include "engine/base/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64

static const cJSON *raw(const hl_json *v)
{
    return (const cJSON *)(const void *)v;
}

static const hl_json *wrap(const cJSON *v)
{
    return (const hl_json *)(const void *)v;
}

/* cJSON recurses on nesting; hostile depth is refused before it sees the text. */
static int nesting_depth(const char *s, size_t n)
{
    int depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string) {
            if (s[i] == '\\')
                i++;
            else if (s[i] == '"')
                in_string = false;
        } else if (s[i] == '"') {
            in_string = true;
        } else if (s[i] == '{' || s[i] == '[') {
            if (++depth > deepest)
                deepest = depth;
        } else if (s[i] == '}' || s[i] == ']') {
            depth--;
        }
    }
    return deepest;
}

hl_status hl_json_parse(const char *text, size_t n, hl_json **out)
{
    if (nesting_depth(text, n) > MAX_DEPTH)
        return hl_err_set(HL_E_FORMAT, "JSON nested deeper than %d", MAX_DEPTH);
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(text, n, &end, false);
    const char *bad = root ? end : (end ? end : text);
    if (root)
        while (bad < text + n && strchr(" \t\r\n", *bad) && *bad)
            bad++;
    if (!root || bad < text + n) {
        int line = 1, column = 1;
        for (const char *p = text; p < bad && p < text + n; p++) {
            column = *p == '\n' ? 1 : column + 1;
            line += *p == '\n';
        }
        cJSON_Delete(root);
        return hl_err_set(HL_E_FORMAT, "not valid JSON at line %d, column %d", line, column);
    }
    *out = (hl_json *)(void *)root;
    return HL_OK;
}

void hl_json_free(hl_json *root)
{
    cJSON_Delete((cJSON *)(void *)root);
}

const hl_json *hl_json_get(const hl_json *object, const char *key)
{
    return cJSON_IsObject(raw(object)) ? wrap(cJSON_GetObjectItemCaseSensitive(raw(object), key))
                                       : NULL;
}

const hl_json *hl_json_at(const hl_json *v, int i)
{
    return v ? wrap(cJSON_GetArrayItem(raw(v), i)) : NULL;
}

const hl_json *hl_json_next(const hl_json *v)
{
    return v ? wrap(raw(v)->next) : NULL;
}

const char *hl_json_key(const hl_json *member)
{
    return member ? raw(member)->string : NULL;
}

int hl_json_len(const hl_json *v)
{
    return v ? cJSON_GetArraySize(raw(v)) : 0;
}

bool hl_json_is_object(const hl_json *v)
{
    return cJSON_IsObject(raw(v));
}

bool hl_json_is_array(const hl_json *v)
{
    return cJSON_IsArray(raw(v));
}

bool hl_json_is_string(const hl_json *v)
{
    return cJSON_IsString(raw(v));
}

static bool named_number(const char *s, double *out)
{
    if (strcmp(s, "NaN") == 0)
        *out = (double)NAN;
    else if (strcmp(s, "Infinity") == 0)
        *out = (double)INFINITY;
    else if (strcmp(s, "-Infinity") == 0)
        *out = -(double)INFINITY;
    else
        return false;
    return true;
}

bool hl_json_is_number(const hl_json *v)
{
    double ignored;
    return cJSON_IsNumber(raw(v)) ||
           (cJSON_IsString(raw(v)) && named_number(raw(v)->valuestring, &ignored));
}

bool hl_json_is_bool(const hl_json *v)
{
    return cJSON_IsBool(raw(v));
}

bool hl_json_is_null(const hl_json *v)
{
    return cJSON_IsNull(raw(v));
}

const char *hl_json_str(const hl_json *v, const char *otherwise)
{
    return cJSON_IsString(raw(v)) ? raw(v)->valuestring : otherwise;
}

double hl_json_num(const hl_json *v, double otherwise)
{
    double x;
    if (cJSON_IsNumber(raw(v)))
        return raw(v)->valuedouble;
    return cJSON_IsString(raw(v)) && named_number(raw(v)->valuestring, &x) ? x : otherwise;
}

double hl_json_num_at(const hl_json *object, const char *key)
{
    return hl_json_num(hl_json_get(object, key), (double)NAN);
}

int64_t hl_json_int(const hl_json *v, int64_t otherwise)
{
    if (!cJSON_IsNumber(raw(v)))
        return otherwise;
    double x = raw(v)->valuedouble;
    return x >= -9007199254740992.0 && x <= 9007199254740992.0 ? (int64_t)x : otherwise;
}

bool hl_json_bool(const hl_json *v, bool otherwise)
{
    return cJSON_IsBool(raw(v)) ? cJSON_IsTrue(raw(v)) : otherwise;
}

static void separate(hl_str *b)
{
    if (b->n && !strchr("{[:,", b->s[b->n - 1]))
        hl_str_addc(b, ',');
}

void hl_json_begin(hl_str *b, char open)
{
    separate(b);
    hl_str_addc(b, open);
}

void hl_json_end(hl_str *b, char close)
{
    hl_str_addc(b, close);
}

static void add_quoted(hl_str *b, const char *text)
{
    size_t n = strlen(text);
    hl_str_addc(b, '"');
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        size_t len = hl_utf8_length(text + i, n - i);
        if (len == 0)
            hl_str_add(b, "\xEF\xBF\xBD");
        else if (c == '"' || c == '\\')
            hl_str_addf(b, "\\%c", c);
        else if (c == '\n')
            hl_str_add(b, "\\n");
        else if (c == '\t')
            hl_str_add(b, "\\t");
        else if (c < 0x20 || c == 0x7F)
            hl_str_addf(b, "\\u%04x", c);
        else
            hl_str_addn(b, text + i, len);
        i += len ? len : 1;
    }
    hl_str_addc(b, '"');
}

void hl_json_add_key(hl_str *b, const char *key)
{
    separate(b);
    add_quoted(b, key);
    hl_str_addc(b, ':');
}

void hl_json_add_str(hl_str *b, const char *text)
{
    separate(b);
    add_quoted(b, text);
}

void hl_json_add_num(hl_str *b, double v)
{
    separate(b);
    if (isnan(v)) {
        hl_str_add(b, "\"NaN\"");
    } else if (isinf(v)) {
        hl_str_add(b, v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    } else {
        char text[40];
        for (int digits = 6; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, v);
            if (strtod(text, NULL) == v)
                break;
        }
        hl_str_add(b, text);
    }
}

void hl_json_add_int(hl_str *b, int64_t v)
{
    separate(b);
    hl_str_addf(b, "%lld", (long long)v);
}

void hl_json_add_bool(hl_str *b, bool v)
{
    separate(b);
    hl_str_add(b, v ? "true" : "false");
}

void hl_json_add_null(hl_str *b)
{
    separate(b);
    hl_str_add(b, "null");
}

void hl_json_add_value(hl_str *b, const hl_json *v)
{
    const cJSON *c = raw(v);
    if (cJSON_IsString(c)) {
        hl_json_add_str(b, c->valuestring);
    } else if (cJSON_IsNumber(c)) {
        hl_json_add_num(b, c->valuedouble);
    } else if (cJSON_IsBool(c)) {
        hl_json_add_bool(b, cJSON_IsTrue(c));
    } else if (cJSON_IsArray(c) || cJSON_IsObject(c)) {
        bool object = cJSON_IsObject(c);
        hl_json_begin(b, object ? '{' : '[');
        for (const cJSON *k = c->child; k; k = k->next) {
            if (object)
                hl_json_add_key(b, k->string);
            hl_json_add_value(b, wrap(k));
        }
        hl_json_end(b, object ? '}' : ']');
    } else {
        hl_json_add_null(b);
    }
}

void hl_json_put_str(hl_str *b, const char *key, const char *text)
{
    hl_json_add_key(b, key);
    hl_json_add_str(b, text);
}

void hl_json_put_num(hl_str *b, const char *key, double v)
{
    hl_json_add_key(b, key);
    hl_json_add_num(b, v);
}

void hl_json_put_int(hl_str *b, const char *key, int64_t v)
{
    hl_json_add_key(b, key);
    hl_json_add_int(b, v);
}

void hl_json_put_bool(hl_str *b, const char *key, bool v)
{
    hl_json_add_key(b, key);
    hl_json_add_bool(b, v);
}
