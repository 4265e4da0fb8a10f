/* Series computed from series: "train/loss - eval/loss", "exp(eval/loss)", "tp/support". Numbers, +
 * - * /, unary minus, parentheses, log exp sqrt abs; a name is a series. '/' with blanks around it
 * divides; in a word that is no series it divides where both sides are. Draws nothing, knows no
 * screen. */
#ifndef HL_FORMULA_H
#define HL_FORMULA_H

#include "engine/base/err.h"

enum { HL_FORMULA_OPS = 48, HL_FORMULA_NAMES = 8, HL_FORMULA_NAME = 64 };

typedef struct hl_formula {
    struct {
        char op; /* '#' number, '$' series, '~' minus, + - * /, l e s a: functions */
        double number;
        int name;
    } op[HL_FORMULA_OPS]; /* in the order in which a stack takes them */
    int n_ops, n_names;
    char name[HL_FORMULA_NAMES][HL_FORMULA_NAME];
} hl_formula;

/* is_series says whether a name is one. ARG: what is wrong and where. */
HL_MUST_CHECK hl_status hl_formula_parse(const char *text, bool (*is_series)(void *, const char *),
                                         void *self, hl_formula *out);
/* v: the values of its names. */
double hl_formula_value(const hl_formula *f, const double *v);

#endif
