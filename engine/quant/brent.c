#include "engine/quant/brent.h"

#include <math.h>

enum { MAX_VALUES = 500 };

typedef struct search {
    double a, b;    /* the minimum lies between */
    double x, w, v; /* best, second and third best so far */
    float fx, fw, fv;
    double d, e; /* the last step and the one before */
} search;

static double sign(double x)
{
    return x < 0 ? -1 : 1;
}

/* The step to the vertex of the parabola through x, w, v; false if it is not to be trusted. */
static bool parabola(search *s, double middle, double t1)
{
    double r = (s->x - s->w) * (double)(s->fx - s->fv);
    double q = (s->x - s->v) * (double)(s->fx - s->fw);
    double p = (s->x - s->v) * q - (s->x - s->w) * r;
    q = 2 * (q - r);
    if (q > 0)
        p = -p;
    q = fabs(q);
    r = s->e;
    s->e = s->d;
    if (!(fabs(p) < fabs(q * r / 2) && p > q * (s->a - s->x) && p < q * (s->b - s->x)))
        return false;
    s->d = p / q;
    const double u = s->x + s->d;
    if (u - s->a < 2 * t1 || s->b - u < 2 * t1)
        s->d = t1 * sign(middle - s->x);
    return true;
}

static void take(search *s, double u, float fu)
{
    if (fu <= s->fx) {
        *(u >= s->x ? &s->a : &s->b) = s->x;
        s->v = s->w, s->fv = s->fw;
        s->w = s->x, s->fw = s->fx;
        s->x = u, s->fx = fu;
        return;
    }
    *(u < s->x ? &s->a : &s->b) = u;
    if (fu <= s->fw || s->w == s->x) {
        s->v = s->w, s->fv = s->fw;
        s->w = u, s->fw = fu;
    } else if (fu <= s->fv || s->v == s->x || s->v == s->w) {
        s->v = u, s->fv = fu;
    }
}

void hl_brent_minimum(hl_brent_fn f, void *arg, double a, double b, double *x, float *fx)
{
    const double c = (3 - sqrt(5.0)) / 2, r0 = sqrt(2.2e-16), xtol = 1e-5;
    search s = {.a = a, .b = b};
    s.x = s.w = s.v = a + c * (b - a);
    s.fx = s.fw = s.fv = f(arg, s.x);
    for (int n = 1; n < MAX_VALUES; n++) {
        const double middle = (s.a + s.b) / 2, t1 = r0 * fabs(s.x) + xtol / 3;
        if (fabs(s.x - middle) <= 2 * t1 - (s.b - s.a) / 2)
            break;
        if (!(fabs(s.e) > t1 && parabola(&s, middle, t1))) {
            s.e = s.x >= middle ? s.a - s.x : s.b - s.x;
            s.d = c * s.e;
        }
        const double u = s.x + sign(s.d) * fmax(fabs(s.d), t1);
        take(&s, u, f(arg, u));
    }
    *x = s.x;
    *fx = s.fx;
}
