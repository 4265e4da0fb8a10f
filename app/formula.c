/* Recursive descent; the depth of parentheses is limited, so that no text exhausts the stack. */
#include "app/formula.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 16 };

typedef struct parser {
    const char *text, *at;
    bool (*is_series)(void *, const char *);
    void *self;
    hl_formula *out;
    int depth;
} parser;

static hl_status parse_sum(parser *p);

static void skip_blanks(parser *p)
{
    while (*p->at == ' ')
        p->at++;
}

static hl_status fault(const parser *p, const char *what)
{
    return hl_err_set(HL_E_ARG, "formula '%.80s': %s at '%.20s'", p->text, what,
                      *p->at ? p->at : "its end");
}

static hl_status emit(parser *p, char op, double number, int name)
{
    if (p->out->n_ops == HL_FORMULA_OPS)
        return fault(p, "too long");
    p->out->op[p->out->n_ops].op = op;
    p->out->op[p->out->n_ops].number = number;
    p->out->op[p->out->n_ops++].name = name;
    return HL_OK;
}

/* Number of a series among the names; -1: there are too many. */
static int name_of(parser *p, const char *name)
{
    hl_formula *f = p->out;
    for (int i = 0; i < f->n_names; i++)
        if (strcmp(f->name[i], name) == 0)
            return i;
    if (f->n_names == HL_FORMULA_NAMES)
        return -1;
    snprintf(f->name[f->n_names], HL_FORMULA_NAME, "%s", name);
    return f->n_names++;
}

static hl_status emit_series(parser *p, const char *name)
{
    const int i = name_of(p, name);
    return i < 0 ? fault(p, "more than 8 series") : emit(p, '$', 0, i);
}

/* "tp/support", where tp and support are series. */
static hl_status parse_quotient(parser *p, const char *word)
{
    char left[HL_FORMULA_NAME];
    for (const char *slash = strchr(word, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(left, sizeof left, "%.*s", (int)(slash - word), word);
        if (!p->is_series(p->self, left) || !p->is_series(p->self, slash + 1))
            continue;
        hl_status st = emit_series(p, left);
        if (st == HL_OK)
            st = emit_series(p, slash + 1);
        return st == HL_OK ? emit(p, '/', 0, 0) : st;
    }
    return hl_err_set(HL_E_ARG, "formula '%.80s': no series '%s'", p->text, word);
}

static hl_status parse_inner(parser *p)
{
    hl_status st;
    if (++p->depth > DEPTH_MAX)
        return fault(p, "too many parentheses");
    p->at++;
    st = parse_sum(p);
    p->depth--;
    skip_blanks(p);
    if (st == HL_OK && *p->at != ')')
        return fault(p, "a ) is missing");
    p->at += st == HL_OK;
    return st;
}

static hl_status parse_word(parser *p)
{
    static const char *const functions[] = {"log", "exp", "sqrt", "abs"};
    char word[HL_FORMULA_NAME];
    size_t n = 0;
    while (isalnum((unsigned char)p->at[n]) || (p->at[n] && strchr("_./", p->at[n])))
        n++;
    if (n == 0)
        return fault(p, "a number or a series is missing");
    if (n >= sizeof word)
        return fault(p, "no such series");
    snprintf(word, sizeof word, "%.*s", (int)n, p->at);
    p->at += n;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (strcmp(word, functions[i]) == 0 && *p->at == '(') {
            hl_status st = parse_inner(p);
            return st == HL_OK ? emit(p, "lesa"[i], 0, 0) : st;
        }
    return p->is_series(p->self, word) ? emit_series(p, word) : parse_quotient(p, word);
}

static hl_status parse_factor(parser *p)
{
    skip_blanks(p);
    if (*p->at == '-') {
        if (++p->depth > DEPTH_MAX)
            return fault(p, "too many signs");
        p->at++;
        hl_status st = parse_factor(p);
        p->depth--;
        return st == HL_OK ? emit(p, '~', 0, 0) : st;
    }
    if (*p->at == '(')
        return parse_inner(p);
    if (isdigit((unsigned char)*p->at) || *p->at == '.') {
        char *end;
        const double v = strtod(p->at, &end);
        if (end == p->at || !isfinite(v))
            return fault(p, "no number");
        p->at = end;
        return emit(p, '#', v, 0);
    }
    return parse_word(p);
}

static hl_status parse_product(parser *p)
{
    hl_status st = parse_factor(p);
    while (st == HL_OK) {
        skip_blanks(p);
        const char op = *p->at;
        if (op != '*' && op != '/')
            break;
        p->at++;
        st = parse_factor(p);
        if (st == HL_OK)
            st = emit(p, op, 0, 0);
    }
    return st;
}

static hl_status parse_sum(parser *p)
{
    hl_status st = parse_product(p);
    while (st == HL_OK) {
        skip_blanks(p);
        const char op = *p->at;
        if (op != '+' && op != '-')
            break;
        p->at++;
        st = parse_product(p);
        if (st == HL_OK)
            st = emit(p, op, 0, 0);
    }
    return st;
}

hl_status hl_formula_parse(const char *text, bool (*is_series)(void *, const char *), void *self,
                           hl_formula *out)
{
    parser p = {.text = text, .at = text, .is_series = is_series, .self = self, .out = out};
    out->n_ops = out->n_names = 0;
    hl_status st = parse_sum(&p);
    skip_blanks(&p);
    if (st == HL_OK && *p.at)
        return fault(&p, "an operator is missing");
    if (st == HL_OK && out->n_names == 0)
        return hl_err_set(HL_E_ARG, "formula '%.80s' has no series", text);
    return st;
}

double hl_formula_value(const hl_formula *f, const double *v)
{
    double stack[HL_FORMULA_OPS];
    int n = 0;
    for (int i = 0; i < f->n_ops; i++) {
        const char op = f->op[i].op;
        if (op == '#' || op == '$') {
            stack[n++] = op == '#' ? f->op[i].number : v[f->op[i].name];
            continue;
        }
        const double b = stack[n - 1];
        double *a = &stack[strchr("+-*/", op) ? n - 2 : n - 1];
        *a = op == '+'   ? *a + b
             : op == '-' ? *a - b
             : op == '*' ? *a * b
             : op == '/' ? *a / b
             : op == '~' ? -b
             : op == 'l' ? log(b)
             : op == 'e' ? exp(b)
             : op == 's' ? sqrt(b)
                         : fabs(b);
        n = (int)(a - stack) + 1;
    }
    return n == 1 ? stack[0] : (double)NAN;
}
