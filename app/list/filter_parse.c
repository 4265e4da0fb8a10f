/* From the text of a filter to its tree.
 *
 *     any   := all { ("or" | "|") all }
 *     all   := item { ["and"] item }
 *     item  := ("not" | "!") item | "(" any ")" | word
 *
 * What means nothing is left out, as if it were not there, and the first such place is kept. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app/list/filter_internal.h"

enum { WORD_MAX = 512, REGEX_MAX = 128 };

typedef enum token_kind { END, WORD, OPEN, CLOSE, AND, OR, NOT } token_kind;

typedef struct token {
    token_kind kind;
    size_t at, n;        /* in the text */
    char text[WORD_MAX]; /* of a word, without quotes */
    int op;              /* place in it of the first operator outside of quotes; -1: none */
    bool quoted;         /* some of it, or of what stands behind the operator */
} token;

typedef struct parser {
    hl_filter *f;
    const hl_run_rows *rows;
    bool any_key;
    const char *text;
    size_t at;
    token now;
    int depth;
    hl_status st;
} parser;

/* ---- trouble ---- */

static void complain(parser *p, size_t at, size_t n, const char *fmt, ...) HL_PRINTF(4, 5);
static void complain(parser *p, size_t at, size_t n, const char *fmt, ...)
{
    hl_filter_bad *bad = &p->f->trouble;
    if (p->f->has_trouble && bad->at <= at)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(bad->message, sizeof bad->message, fmt, args);
    va_end(args);
    bad->at = at;
    bad->n = n;
    p->f->has_trouble = true;
}

#define COMPLAIN(p, ...) complain(p, (p)->now.at, (p)->now.n, __VA_ARGS__)

/* ---- words ---- */

static bool ends_word(char c)
{
    return !c || c == ' ' || c == '(' || c == ')' || c == '|';
}

/* The bytes of "/.../" at s, with its slashes; 0: it is no regular expression. */
static size_t regex_bytes(const char *s)
{
    if (*s != '/')
        return 0;
    for (size_t i = 1; s[i]; i++) {
        if (s[i] == '\\' && s[i + 1])
            i++;
        else if (s[i] == '/' && i > 1 && ends_word(s[i + 1]))
            return i + 1;
    }
    return 0;
}

static bool is_operator(const char *s)
{
    return strchr(":=<>", *s) || (*s == '!' && s[1] == '=');
}

static void put(token *t, size_t *n, char c)
{
    if (*n < WORD_MAX - 1)
        t->text[(*n)++] = c;
    t->text[*n] = 0;
}

static void read_word(parser *p, token *t)
{
    const char *s = p->text + p->at;
    size_t n = 0;
    bool in_quotes = false;
    t->kind = WORD;
    t->op = -1;
    t->quoted = false;
    t->text[0] = 0;
    while (*s && (in_quotes || !ends_word(*s))) {
        if (*s == '"') {
            in_quotes = !in_quotes;
            t->quoted = true;
            s++;
            continue;
        }
        if (!in_quotes && t->op < 0 && is_operator(s)) {
            t->op = (int)n;
            t->quoted = false; /* from here on */
        }
        const bool after_colon = t->op >= 0 && (size_t)t->op + 1 == n && t->text[t->op] == ':';
        const size_t regex = !in_quotes && (n == 0 || after_colon) ? regex_bytes(s) : 0;
        for (size_t i = 1; i < regex; i++)
            put(t, &n, *s++);
        put(t, &n, *s++);
    }
    p->at = (size_t)(s - p->text);
}

static bool is_keyword(const token *t, const char *word)
{
    size_t i = 0;
    for (; word[i] && (t->text[i] | 0x20) == word[i]; i++)
        ;
    return !word[i] && !t->text[i] && !t->quoted && t->op < 0;
}

static void advance(parser *p)
{
    token *t = &p->now;
    p->at += strspn(p->text + p->at, " ");
    const char *s = p->text + p->at;
    t->at = p->at;
    t->quoted = false;
    t->op = -1;
    const char *const single = "()|!", *const which = *s ? strchr(single, *s) : NULL;
    static const token_kind kinds[] = {OPEN, CLOSE, OR, NOT};
    if (!*s) {
        t->kind = END;
    } else if (which && !(*s == '!' && s[1] == '=')) {
        t->kind = kinds[which - single];
        p->at++;
    } else {
        read_word(p, t);
        if (is_keyword(t, "and"))
            t->kind = AND;
        else if (is_keyword(t, "or"))
            t->kind = OR;
        else if (is_keyword(t, "not"))
            t->kind = NOT;
    }
    t->n = p->at - t->at;
}

/* ---- nodes ---- */

static int add_node(parser *p, hl_filter_node n)
{
    if (p->f->nodes.n == HL_FILTER_NODES_MAX) {
        COMPLAIN(p, "the filter is too long from here on");
    } else if (hl_vec_push(&p->f->nodes, n) == HL_OK) {
        return (int)p->f->nodes.n - 1;
    } else {
        p->st = HL_E_NOMEM;
    }
    hl_free(n.pattern);
    if (n.regex)
        regfree(n.regex);
    hl_free(n.regex);
    return HL_FILTER_NOTHING;
}

static int combine(parser *p, hl_filter_op op, int a, int b)
{
    if (a == HL_FILTER_NOTHING || b == HL_FILTER_NOTHING)
        return a == HL_FILTER_NOTHING ? b : a;
    return add_node(p, (hl_filter_node){.op = op, .a = a, .b = b});
}

/* ---- conditions ---- */

/* "2h" -> 7200; false: no length of time. */
static bool parse_age(const char *text, double *seconds)
{
    static const struct {
        char unit;
        double s;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    char number[40];
    const size_t n = strlen(text);
    if (n < 2 || n > sizeof number)
        return false;
    snprintf(number, sizeof number, "%.*s", (int)n - 1, text);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (text[n - 1] == units[i].unit && hl_parse_f64(number, seconds) == HL_OK) {
            *seconds *= units[i].s;
            return true;
        }
    return false;
}

/* Repeats in braces and references back can take the library for ever; nobody needs them here. */
static bool is_costly(const char *re)
{
    for (; *re; re++) {
        if (*re == '{' || (*re == '\\' && re[1] >= '1' && re[1] <= '9'))
            return true;
        re += *re == '\\' && re[1];
    }
    return false;
}

/* The pattern "/.../" without its slashes. false: complained. */
static bool compile_regex(parser *p, hl_filter_node *n)
{
    char re[REGEX_MAX + 2], why[100];
    const size_t k = strlen(n->pattern);
    if (k - 2 > REGEX_MAX) {
        COMPLAIN(p, "a regular expression of more than %d letters", REGEX_MAX);
        return false;
    }
    snprintf(re, sizeof re, "%.*s", (int)k - 2, n->pattern + 1);
    if (is_costly(re)) {
        COMPLAIN(p, "{ } and references back are not known in regular expressions here");
        return false;
    }
    n->regex = hl_alloc_zero(1, sizeof *n->regex);
    if (!n->regex) {
        p->st = HL_E_NOMEM;
        return false;
    }
    const int rc = regcomp(n->regex, re, REG_EXTENDED | REG_ICASE | REG_NOSUB);
    if (rc == 0)
        return true;
    regerror(rc, n->regex, why, sizeof why);
    COMPLAIN(p, "no regular expression: %s", why);
    hl_free(n->regex);
    n->regex = NULL;
    return false;
}

/* /abc without an end is one being typed, or a path with more slashes in it. */
static bool take_regex(parser *p, hl_filter_node *n)
{
    if (n->literal || n->pattern[0] != '/')
        return true;
    if (regex_bytes(n->pattern) == strlen(n->pattern))
        return compile_regex(p, n);
    if (strchr(n->pattern + 1, '/'))
        return true;
    COMPLAIN(p, "a regular expression ends with /; quotes take its meaning away");
    return false;
}

static bool check_states(parser *p, const hl_filter_node *n)
{
    const char *names[HL_RUN_STATE_COUNT];
    char one[40];
    for (int i = 0; i < HL_RUN_STATE_COUNT; i++)
        names[i] = hl_run_state_name((hl_run_state)i);
    for (const char *at = n->pattern; !n->regex && *at; at += *at == ',') {
        const size_t k = strcspn(at, ",");
        bool any = false;
        for (int i = 0; i < HL_RUN_STATE_COUNT; i++)
            any |= hl_text_has(names[i], at, k, n->literal);
        if (!any) {
            snprintf(one, sizeof one, "%.*s", (int)k, at);
            const int near = hl_str_nearest(one, names, HL_RUN_STATE_COUNT);
            COMPLAIN(p, "no state '%s'%s%s", one, near >= 0 ? "; did you mean " : "",
                     near >= 0 ? names[near] : " (running, done, failed, ...)");
            return false;
        }
        at += k;
    }
    return true;
}

/* Operator and operand against what the key gives. */
static bool check_operand(parser *p, hl_filter_node *n)
{
    const hl_run_field *field = n->key.field;
    const bool orders = n->op >= HL_FILTER_LT;
    const bool is_text = field && field->text, is_number = n->key.is_metric || (field && !is_text);
    if (field && strcmp(field->name, "age") == 0)
        n->is_number = parse_age(n->pattern, &n->number);
    else
        n->is_number = hl_parse_f64(n->pattern, &n->number) == HL_OK;
    if (is_text && orders)
        COMPLAIN(p, "%s is text: it takes : = and !=", field->name);
    else if (!n->is_number && field && strcmp(field->name, "age") == 0)
        COMPLAIN(p, "age takes 30s, 5m, 2h, 3d or 1w");
    else if (!n->is_number && (orders || is_number))
        COMPLAIN(p, "'%.60s' is no number", n->pattern);
    else
        return (n->op != HL_FILTER_LIKE || is_number || take_regex(p, n)) &&
               (!field || strcmp(field->name, "status") != 0 || check_states(p, n));
    return false;
}

/* The key of n letters. false: complained. */
static bool find_key(parser *p, const char *text, size_t n, hl_run_key *out)
{
    char key[HL_RUN_KEY_MAX + 1];
    snprintf(key, sizeof key, "%.*s", (int)(n < HL_RUN_KEY_MAX ? n : HL_RUN_KEY_MAX), text);
    hl_status st = hl_run_key_find(key, p->rows, out);
    if (st == HL_E_NOTFOUND && p->any_key) { /* a leaf that is nowhere */
        *out = (hl_run_key){0};
        snprintf(out->path, sizeof out->path, "%.*s", HL_RUN_KEY_MAX - 1, key);
        hl_err_clear();
        st = HL_OK;
    }
    if (st != HL_OK) {
        COMPLAIN(p, "%s", hl_err_message());
        hl_err_clear();
        return false;
    }
    p->f->asks_archived |= out->field && strcmp(out->field->name, "archived") == 0;
    return true;
}

/* Bytes of the operator at s. */
static size_t read_operator(const char *s, hl_filter_op *op)
{
    const bool two = s[1] == '=';
    *op = *s == ':'   ? HL_FILTER_LIKE
          : *s == '=' ? HL_FILTER_EQ
          : *s == '!' ? HL_FILTER_NE
          : *s == '<' ? (two ? HL_FILTER_LE : HL_FILTER_LT)
                      : (two ? HL_FILTER_GE : HL_FILTER_GT);
    return *s == '!' || ((*s == '<' || *s == '>') && two) ? 2 : 1;
}

static int add_condition(parser *p, const token *t)
{
    hl_filter_node n = {.literal = t->quoted};
    const size_t k = (size_t)t->op, used = read_operator(t->text + k, &n.op);
    const char *operand = t->text + k + used;
    if (k == 0) {
        COMPLAIN(p, "a key stands before %.*s, as in loss<2", (int)used, t->text);
        return HL_FILTER_NOTHING;
    }
    if (!*operand) {
        COMPLAIN(p, "something stands behind %.*s", (int)used, t->text + k);
        return HL_FILTER_NOTHING;
    }
    if (n.op == HL_FILTER_LIKE && k == 3 && memcmp(t->text, "has", 3) == 0) {
        n.op = HL_FILTER_HAS;
        return find_key(p, operand, strlen(operand), &n.key) ? add_node(p, n) : HL_FILTER_NOTHING;
    }
    if (!find_key(p, t->text, k, &n.key))
        return HL_FILTER_NOTHING;
    n.pattern = hl_strdup(operand);
    if (n.pattern && check_operand(p, &n))
        return add_node(p, n);
    p->st = n.pattern ? p->st : HL_E_NOMEM;
    hl_free(n.pattern);
    return HL_FILTER_NOTHING;
}

/* A word that a script gave a meaning: rows have it as "lua.WORD", true or false. */
static bool is_flag_of_script(const parser *p, const char *word, hl_run_key *out)
{
    *out = (hl_run_key){0};
    if (snprintf(out->path, sizeof out->path, "lua.%s", word) >= (int)sizeof out->path)
        return false;
    for (size_t i = 0; p->rows && i < p->rows->n; i++) {
        const hl_run_value *v = hl_run_row_value(&p->rows->at[i], out->path);
        if (v)
            return strcmp(v->text, "true") == 0 || strcmp(v->text, "false") == 0;
    }
    return false;
}

static int add_word(parser *p, const token *t)
{
    hl_filter_node n = {.op = HL_FILTER_WORD, .literal = t->quoted};
    if (t->op >= 0)
        return add_condition(p, t);
    if (!t->text[0])
        return HL_FILTER_NOTHING; /* "" */
    const hl_run_field *field;
    for (int i = 0; !t->quoted && (field = hl_run_field_at(i)); i++)
        if (field->is_flag && strcmp(field->name, t->text) == 0) {
            n.op = HL_FILTER_FLAG;
            return find_key(p, t->text, strlen(t->text), &n.key) ? add_node(p, n)
                                                                 : HL_FILTER_NOTHING;
        }
    if (!t->quoted && is_flag_of_script(p, t->text, &n.key)) {
        n.op = HL_FILTER_FLAG;
        return add_node(p, n);
    }
    n.pattern = hl_strdup(t->text);
    if (n.pattern && take_regex(p, &n))
        return add_node(p, n);
    p->st = n.pattern ? p->st : HL_E_NOMEM;
    hl_free(n.pattern);
    return HL_FILTER_NOTHING;
}

/* ---- grammar ---- */

static int parse_any(parser *p);

static int parse_group(parser *p)
{
    const size_t at = p->now.at;
    advance(p);
    const int inside = parse_any(p);
    if (p->now.kind == CLOSE)
        advance(p);
    else
        complain(p, at, 1, "this parenthesis is not closed");
    return inside;
}

static int parse_item(parser *p);

static int parse_not(parser *p)
{
    const size_t at = p->now.at, n = p->now.n;
    advance(p);
    if (p->now.kind != WORD && p->now.kind != OPEN && p->now.kind != NOT) {
        complain(p, at, n, "nothing stands behind this");
        return HL_FILTER_NOTHING;
    }
    const int a = parse_item(p);
    return a == HL_FILTER_NOTHING ? a : add_node(p, (hl_filter_node){.op = HL_FILTER_NOT, .a = a});
}

static int parse_item(parser *p)
{
    int made;
    if (p->depth == HL_FILTER_DEPTH_MAX) {
        COMPLAIN(p, "too many parentheses within each other");
        p->now.kind = END;
        return HL_FILTER_NOTHING;
    }
    p->depth++;
    if (p->now.kind == NOT) {
        made = parse_not(p);
    } else if (p->now.kind == OPEN) {
        made = parse_group(p);
    } else {
        made = add_word(p, &p->now);
        advance(p);
    }
    p->depth--;
    return made;
}

static int parse_all(parser *p)
{
    int made = HL_FILTER_NOTHING;
    bool wants = false; /* behind an "and" */
    size_t at = 0;
    for (;;) {
        const token_kind k = p->now.kind;
        if (k == AND) {
            if (wants || made == HL_FILTER_NOTHING)
                COMPLAIN(p, "\"and\" stands between two conditions; quotes make a word of it");
            wants = true;
            at = p->now.at;
            advance(p);
        } else if (k == WORD || k == OPEN || k == NOT) {
            wants = false;
            made = combine(p, HL_FILTER_AND, made, parse_item(p));
        } else {
            break;
        }
    }
    if (wants)
        complain(p, at, 3, "nothing stands behind this");
    return made;
}

static int parse_any(parser *p)
{
    bool is_first = true;
    int made = HL_FILTER_NOTHING;
    for (;;) {
        const token_kind k = p->now.kind;
        if (k == OR && is_first)
            COMPLAIN(p, "\"or\" stands between two conditions; quotes make a word of it");
        made = combine(p, HL_FILTER_OR, made, parse_all(p));
        is_first = false;
        if (p->now.kind != OR)
            return made;
        const size_t at = p->now.at, n = p->now.n;
        advance(p);
        if (p->now.kind == END || p->now.kind == CLOSE)
            complain(p, at, n, "nothing stands behind this");
    }
}

hl_status hl_filter_parse(hl_filter *f, const char *text, const hl_run_rows *rows, bool any_key)
{
    parser *p = hl_alloc_zero(1, sizeof *p);
    if (!p)
        return HL_E_NOMEM;
    *p = (parser){.f = f, .rows = rows, .text = text, .any_key = any_key};
    f->root = HL_FILTER_NOTHING;
    advance(p);
    f->root = parse_any(p);
    while (p->now.kind == CLOSE && p->st == HL_OK) { /* one too many: what follows counts as well */
        COMPLAIN(p, "no parenthesis is open here");
        advance(p);
        f->root = combine(p, HL_FILTER_AND, f->root, parse_any(p));
    }
    const hl_status st = p->st;
    hl_free(p);
    return st;
}
