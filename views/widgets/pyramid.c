/* A complete bucket is made once, when its last point comes, from its two halves (from the points
 * on the lowest stored level), so level k holds exactly n >> k of them. */
#include "views/widgets/pyramid.h"

#include <float.h>
#include <math.h>

#include "engine/base/vec.h"

enum { FIRST = HL_PYRAMID_STORED, N_LEVELS = HL_PYRAMID_LEVELS };

typedef struct shelf {
    hl_bucket *at;
    size_t cap;
} shelf;

/* Points from `first` on up to the next stretch: x + dx * (their number in it), dx >= 0. */
typedef struct stretch {
    size_t first;
    double x, dx;
} stretch;

struct hl_pyramid {
    double *x, *y;
    float *y_narrow; /* in the place of y while every y is the same in float */
    size_t cap_narrow;
    bool is_wide;
    bool is_spread; /* x are kept each; else they lie on stretches and never go back */
    HL_VEC(stretch) stretches;
    double dx_least, dx_most; /* of the last one: what keeps all its points where they are */
    double x_error;
    size_t n, cap_x, cap_y;
    shelf level[N_LEVELS - FIRST]; /* level[k - FIRST] */
    hl_bucket total;
    uint64_t n_edits;
    bool went_back; /* x did, at least once */
};

static double x_on(const hl_pyramid *p, size_t i)
{
    size_t lo = 0, hi = p->stretches.n; /* stretch lo begins at i or before, hi behind it */
    while (hi - lo > 1) {
        const size_t mid = lo + (hi - lo) / 2;
        if (p->stretches.at[mid].first <= i)
            lo = mid;
        else
            hi = mid;
    }
    const stretch *s = &p->stretches.at[lo];
    return s->x + s->dx * (double)(i - s->first);
}

static double x_at(const hl_pyramid *p, size_t i)
{
    return p->is_spread ? p->x[i] : x_on(p, i);
}

static double y_at(const hl_pyramid *p, size_t i)
{
    return p->is_wide ? p->y[i] : (double)p->y_narrow[i];
}

static void set_y(hl_pyramid *p, size_t i, double y)
{
    if (p->is_wide)
        p->y[i] = y;
    else
        p->y_narrow[i] = (float)y;
}

/* ---- buckets ---- */

static hl_bucket bucket_of_point(double x, double y)
{
    const bool is_number = isfinite(y);
    const double v = is_number ? y : (double)NAN;
    return (hl_bucket){.x_min = x,
                       .x_max = x,
                       .first = y,
                       .last = y,
                       .min = v,
                       .max = v,
                       .mean = v,
                       .x_of_min = x,
                       .x_of_max = x,
                       .min_positive = y > 0 && is_number ? y : (double)NAN,
                       .n = 1,
                       .n_non_finite = !is_number,
                       .n_not_positive = is_number && y <= 0};
}

/* b comes behind a; both may be empty. */
static void bucket_add(hl_bucket *a, const hl_bucket *b)
{
    if (b->n == 0)
        return;
    if (a->n == 0) {
        *a = *b;
        return;
    }
    const size_t n_a = a->n - a->n_non_finite, n_b = b->n - b->n_non_finite;
    a->x_min = fmin(a->x_min, b->x_min);
    a->x_max = fmax(a->x_max, b->x_max);
    a->last = b->last;
    if (n_b > 0 && !(a->min <= b->min)) {
        a->min = b->min;
        a->x_of_min = b->x_of_min;
    }
    if (n_b > 0 && !(a->max >= b->max)) {
        a->max = b->max;
        a->x_of_max = b->x_of_max;
    }
    if (n_a == 0)
        a->mean = b->mean;
    else if (n_b > 0) {
        const double share = (double)n_b / (double)(n_a + n_b);
        a->mean = a->mean * (1 - share) + b->mean * share;
    }
    a->min_positive = fmin(a->min_positive, b->min_positive);
    a->n += b->n;
    a->n_non_finite += b->n_non_finite;
    a->n_not_positive += b->n_not_positive;
}

static void add_points(const hl_pyramid *p, size_t begin, size_t end, hl_bucket *out)
{
    for (size_t i = begin; i < end; i++) {
        const hl_bucket b = bucket_of_point(x_at(p, i), y_at(p, i));
        bucket_add(out, &b);
    }
}

/* The points begin .. end - 1 in as few buckets as are stored. */
static void add_stretch(const hl_pyramid *p, size_t begin, size_t end, hl_bucket *out)
{
    while (begin < end) {
        int k = 0;
        while (k + 1 < N_LEVELS && (begin & (((size_t)2 << k) - 1)) == 0 &&
               begin + ((size_t)2 << k) <= end)
            k++;
        if (k >= FIRST)
            bucket_add(out, &p->level[k - FIRST].at[begin >> k]);
        else
            add_points(p, begin, begin + ((size_t)1 << k), out);
        begin += (size_t)1 << k;
    }
}

/* ---- life ---- */

hl_pyramid *hl_pyramid_new(void)
{
    return hl_alloc_zero(1, sizeof(hl_pyramid));
}

void hl_pyramid_free(hl_pyramid *p)
{
    if (!p)
        return;
    hl_free(p->x);
    hl_free(p->y);
    hl_free(p->y_narrow);
    hl_vec_done(&p->stretches);
    for (int k = FIRST; k < N_LEVELS; k++)
        hl_free(p->level[k - FIRST].at);
    hl_free(p);
}

void hl_pyramid_clear(hl_pyramid *p)
{
    p->n = p->stretches.n = 0;
    p->is_spread = p->is_wide = false;
    p->total = (hl_bucket){0};
    p->went_back = false;
    p->n_edits++;
}

/* ---- change ---- */

/* Levels whose bucket is full with n points: FIRST .. the result - 1. */
static int levels_filled(size_t n)
{
    int k = FIRST;
    while (k < N_LEVELS && (n & (((size_t)1 << k) - 1)) == 0)
        k++;
    return k;
}

static void fill_levels(hl_pyramid *p, size_t n)
{
    const int end = levels_filled(n);
    for (int k = FIRST; k < end; k++) {
        const size_t i = (n >> k) - 1;
        hl_bucket b = {0};
        if (k == FIRST) {
            add_points(p, n - ((size_t)1 << k), n, &b);
        } else {
            const hl_bucket *halves = &p->level[k - 1 - FIRST].at[2 * i];
            b = halves[0];
            bucket_add(&b, &halves[1]);
        }
        p->level[k - FIRST].at[i] = b;
    }
}

/* Room for one more y; from the first one on that float cannot hold, all are double. */
static hl_status reserve_y(hl_pyramid *p, double y)
{
    hl_status st = HL_OK;
    const bool fits = !isfinite(y) || (fabs(y) <= (double)FLT_MAX && (double)(float)y == y);
    if (!p->is_wide && fits)
        return hl_vec_grow((void **)&p->y_narrow, &p->cap_narrow, p->n + 1, sizeof *p->y_narrow);
    HL_TRY(hl_vec_grow((void **)&p->y, &p->cap_y, p->n + 1, sizeof *p->y));
    for (size_t i = 0; !p->is_wide && i < p->n; i++)
        p->y[i] = (double)p->y_narrow[i];
    if (!p->is_wide) {
        hl_free(p->y_narrow);
        p->y_narrow = NULL;
        p->cap_narrow = 0;
    }
    p->is_wide = true;
out:
    return st;
}

/* The distance of points with which x is the next one on the last stretch; NaN: it is not. */
static double distance_with(const hl_pyramid *p, double x)
{
    const stretch *s = &p->stretches.at[p->stretches.n - 1];
    const double k = (double)(p->n - s->first), far = x - s->x;
    const double dx = k > 1 ? s->dx : fmax(far, 0);
    if (fabs(s->x + dx * k - x) <= p->x_error)
        return dx;
    const double least = fmax(p->dx_least, (far - p->x_error) / k);
    const double most = fmin(p->dx_most, (far + p->x_error) / k);
    return p->x_error > 0 && least <= most ? least / 2 + most / 2 : (double)NAN;
}

/* x, or the last one as it is kept if that is wrong enough to lie behind x. */
static double in_order(const hl_pyramid *p, double x)
{
    const double last = p->n > 0 ? x_at(p, p->n - 1) : x;
    return x < last && last - x <= p->x_error ? last : x;
}

static bool goes_back(const hl_pyramid *p, double x)
{
    return p->n > 0 && in_order(p, x) < x_at(p, p->n - 1);
}

/* From now on all x are kept. */
static hl_status spread(hl_pyramid *p)
{
    hl_status st = HL_OK;
    HL_TRY(hl_vec_grow((void **)&p->x, &p->cap_x, p->n + 1, sizeof *p->x));
    for (size_t i = 0; i < p->n; i++)
        p->x[i] = x_on(p, i);
    p->is_spread = true;
    hl_vec_done(&p->stretches);
out:
    return st;
}

/* Room for one more x: many short stretches would take more than the x themselves. */
static hl_status reserve_x(hl_pyramid *p, double x)
{
    enum { FEW = 16, POINTS_EACH = 6 };
    if (!p->is_spread && p->n > 0 && isnan(distance_with(p, x)) &&
        (goes_back(p, x) || p->stretches.n > FEW + p->n / POINTS_EACH)) {
        const hl_status st = spread(p);
        if (st != HL_OK)
            return st;
    }
    if (p->is_spread)
        return hl_vec_grow((void **)&p->x, &p->cap_x, p->n + 1, sizeof *p->x);
    return hl_vec_reserve(&p->stretches, p->stretches.n + 1);
}

/* There is room for it. */
static void put_x(hl_pyramid *p, double x)
{
    if (p->is_spread) {
        p->x[p->n] = in_order(p, x);
        return;
    }
    const double dx = p->n > 0 ? distance_with(p, x) : (double)NAN;
    if (isnan(dx)) {
        const stretch fresh = {.first = p->n, .x = in_order(p, x)};
        p->stretches.at[p->stretches.n++] = fresh;
        p->dx_least = 0;
        p->dx_most = HUGE_VAL;
        return;
    }
    stretch *s = &p->stretches.at[p->stretches.n - 1];
    const double k = (double)(p->n - s->first);
    s->dx = dx;
    p->dx_least = fmax(p->dx_least, (x - s->x - p->x_error) / k);
    p->dx_most = fmin(p->dx_most, (x - s->x + p->x_error) / k);
}

static hl_status reserve(hl_pyramid *p, double x, double y)
{
    const size_t n = p->n + 1;
    hl_status st = HL_OK;
    HL_TRY(reserve_x(p, x));
    HL_TRY(reserve_y(p, y));
    const int end = levels_filled(n);
    for (int k = FIRST; k < end; k++) {
        shelf *l = &p->level[k - FIRST];
        HL_TRY(hl_vec_grow((void **)&l->at, &l->cap, n >> k, sizeof *l->at));
    }
out:
    return st;
}

hl_status hl_pyramid_push(hl_pyramid *p, double x, double y)
{
    hl_status st = HL_OK;
    if (!isfinite(x)) {
        x = p->n > 0 ? x_at(p, p->n - 1) : 0;
        y = (double)NAN;
    }
    HL_TRY(reserve(p, x, y));
    if (goes_back(p, x))
        p->went_back = true;
    put_x(p, x);
    set_y(p, p->n, y);
    const hl_bucket b = bucket_of_point(x, y);
    bucket_add(&p->total, &b);
    p->n++;
    fill_levels(p, p->n);
out:
    return st;
}

void hl_pyramid_cut(hl_pyramid *p, double from)
{
    if (p->n == 0 || !(p->total.x_max >= from))
        return;
    size_t begin = 0; /* what is before the first point taken stays untouched */
    while (begin < p->n && x_at(p, begin) < from)
        begin++;
    size_t n = begin;
    for (size_t i = begin; p->is_spread && i < p->n; i++) {
        if (p->x[i] >= from)
            continue;
        p->x[n] = p->x[i];
        set_y(p, n, y_at(p, i));
        n++;
    }
    for (size_t i = begin; i < n; i++)
        fill_levels(p, i + 1);
    while (!p->is_spread && p->stretches.n > 0 && p->stretches.at[p->stretches.n - 1].first >= n)
        p->stretches.n--;
    if (!p->is_spread && p->stretches.n > 0) /* what would still keep its points is not known */
        p->dx_least = p->dx_most = p->stretches.at[p->stretches.n - 1].dx;
    p->n = n;
    p->n_edits++;
    p->total = (hl_bucket){0};
    add_stretch(p, 0, n, &p->total);
    p->went_back = false;
    for (size_t i = 1; p->is_spread && i < n && !p->went_back; i++)
        p->went_back = p->x[i] < p->x[i - 1];
}

void hl_pyramid_set_x_error(hl_pyramid *p, double error)
{
    HL_ASSERT(p->n == 0);
    p->x_error = error;
}

/* ---- questions ---- */

double hl_pyramid_x_error(const hl_pyramid *p)
{
    return p->x_error;
}

bool hl_pyramid_is_wide(const hl_pyramid *p)
{
    return p->is_wide;
}

size_t hl_pyramid_n(const hl_pyramid *p)
{
    return p->n;
}

size_t hl_pyramid_bytes(const hl_pyramid *p)
{
    const size_t y = p->is_wide ? sizeof *p->y : sizeof *p->y_narrow;
    size_t n =
        p->n * y + (p->is_spread ? p->n * sizeof *p->x : 0) + p->stretches.n * sizeof(stretch);
    for (int k = FIRST; k < N_LEVELS; k++)
        n += (p->n >> k) * sizeof(hl_bucket);
    return n;
}

double hl_pyramid_x(const hl_pyramid *p, size_t i)
{
    HL_ASSERT(i < p->n);
    return x_at(p, i);
}

double hl_pyramid_y(const hl_pyramid *p, size_t i)
{
    HL_ASSERT(i < p->n);
    return y_at(p, i);
}

const hl_bucket *hl_pyramid_total(const hl_pyramid *p)
{
    return &p->total;
}

bool hl_pyramid_last(const hl_pyramid *p, double *x, double *y)
{
    if (p->n == 0)
        return false;
    *x = x_at(p, p->n - 1);
    *y = y_at(p, p->n - 1);
    return true;
}

bool hl_pyramid_last_finite(const hl_pyramid *p, double *x, double *y)
{
    if (p->total.n_non_finite == p->n)
        return false;
    size_t end = p->n; /* whole buckets without one are passed over */
    while (end > 0 && !isfinite(y_at(p, end - 1))) {
        int k = N_LEVELS - 1;
        for (; k >= FIRST; k--) {
            if ((end & (((size_t)1 << k) - 1)) != 0)
                continue;
            const hl_bucket *b = &p->level[k - FIRST].at[(end >> k) - 1];
            if (b->n_non_finite == b->n)
                break;
        }
        end -= k >= FIRST ? (size_t)1 << k : 1;
    }
    *x = x_at(p, end - 1);
    *y = y_at(p, end - 1);
    return true;
}

bool hl_pyramid_best(const hl_pyramid *p, bool lower, double *x, double *y)
{
    if (p->total.n_non_finite == p->n)
        return false;
    *x = lower ? p->total.x_of_min : p->total.x_of_max;
    *y = lower ? p->total.min : p->total.max;
    return true;
}

static double distance(double a, double b)
{
    return fabs(a / 2 - b / 2);
}

size_t hl_pyramid_nearest(const hl_pyramid *p, double x)
{
    if (p->n == 0)
        return SIZE_MAX;
    size_t best = 0;
    if (p->went_back) {
        for (size_t i = 1; i < p->n; i++)
            if (distance(x_at(p, i), x) <= distance(x_at(p, best), x))
                best = i;
        return best;
    }
    size_t lo = 0, hi = p->n; /* x[i] <= x for i < lo, > x from hi on */
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (x_at(p, mid) <= x)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0)
        return 0;
    return lo < p->n && distance(x_at(p, lo), x) <= distance(x_at(p, lo - 1), x) ? lo : lo - 1;
}

uint64_t hl_pyramid_edits(const hl_pyramid *p)
{
    return p->n_edits;
}

/* ---- levels ---- */

size_t hl_pyramid_n_buckets(const hl_pyramid *p, int level)
{
    HL_ASSERT(level >= 0 && level < N_LEVELS);
    const size_t each = (size_t)1 << level;
    return p->n / each + (p->n % each != 0);
}

int hl_pyramid_level(const hl_pyramid *p, size_t n_wanted_buckets)
{
    int k = N_LEVELS - 1;
    while (k > 0 && hl_pyramid_n_buckets(p, k) < n_wanted_buckets)
        k--;
    return k;
}

const hl_bucket *hl_pyramid_stored(const hl_pyramid *p, int level, size_t i)
{
    if (level < FIRST || level >= N_LEVELS || i >= p->n >> level)
        return NULL;
    return &p->level[level - FIRST].at[i];
}

void hl_pyramid_bucket(const hl_pyramid *p, int level, size_t i, hl_bucket *out)
{
    HL_ASSERT(i < hl_pyramid_n_buckets(p, level));
    const size_t begin = i << level;
    const size_t n = p->n - begin, each = (size_t)1 << level;
    *out = (hl_bucket){0};
    add_stretch(p, begin, begin + (n < each ? n : each), out);
}

/* How a bucket lies to [x_lo, x_hi). */
typedef enum position { INSIDE, OUTSIDE, ACROSS } position;

static position place(const hl_bucket *b, double x_lo, double x_hi)
{
    if (b->x_max < x_lo || b->x_min >= x_hi)
        return OUTSIDE;
    return b->x_min >= x_lo && b->x_max < x_hi ? INSIDE : ACROSS;
}

/* The level of the largest stored bucket that begins at point i; below FIRST: none. */
static int largest_at(const hl_pyramid *p, size_t i)
{
    int k = FIRST - 1;
    while (k + 1 < N_LEVELS && (i & (((size_t)2 << k) - 1)) == 0 && i + ((size_t)2 << k) <= p->n)
        k++;
    return k;
}

bool hl_pyramid_range(const hl_pyramid *p, double x_lo, double x_hi, hl_bucket *out)
{
    hl_bucket sum = {0};
    size_t i = 0;
    while (i < p->n) {
        int k = largest_at(p, i);
        for (; k >= FIRST; k--) { /* the largest bucket here that lies on one side */
            const hl_bucket *b = &p->level[k - FIRST].at[i >> k];
            const position at = place(b, x_lo, x_hi);
            if (at == INSIDE)
                bucket_add(&sum, b);
            if (at != ACROSS)
                break;
        }
        if (k >= FIRST) {
            i += (size_t)1 << k;
            continue;
        }
        if (x_at(p, i) >= x_lo && x_at(p, i) < x_hi)
            add_points(p, i, i + 1, &sum);
        i++;
    }
    if (sum.n == 0)
        return false;
    *out = sum;
    return true;
}

void hl_pyramid_outside(const hl_pyramid *p, const double x[2], const double y[2], size_t *n_above,
                        size_t *n_below)
{
    *n_above = *n_below = 0;
    for (size_t i = 0; i < p->n;) {
        int k = largest_at(p, i);
        for (; k >= FIRST; k--) {
            const hl_bucket *b = &p->level[k - FIRST].at[i >> k];
            const bool inside = !(b->max > y[1]) && !(b->min < y[0]);
            if (inside || place(b, x[0], x[1]) == OUTSIDE)
                break;
        }
        if (k >= FIRST) {
            i += (size_t)1 << k;
            continue;
        }
        const double at = x_at(p, i), v = y_at(p, i++);
        if (at >= x[0] && at < x[1] && isfinite(v)) {
            *n_above += v > y[1];
            *n_below += v < y[0];
        }
    }
}

size_t hl_pyramid_next_bad(const hl_pyramid *p, size_t i)
{
    while (i < p->n) {
        int k = largest_at(p, i);
        while (k >= FIRST && p->level[k - FIRST].at[i >> k].n_non_finite > 0)
            k--;
        if (k >= FIRST)
            i += (size_t)1 << k;
        else if (isfinite(y_at(p, i)))
            i++;
        else
            return i;
    }
    return SIZE_MAX;
}

size_t hl_pyramid_next_beyond(const hl_pyramid *p, double y, bool above)
{
    for (size_t i = 0; i < p->n;) {
        int k = largest_at(p, i);
        for (; k >= FIRST; k--) {
            const hl_bucket *b = &p->level[k - FIRST].at[i >> k];
            if (!(above ? b->max > y : b->min < y))
                break;
        }
        const double v = y_at(p, i);
        if (k < FIRST && isfinite(v) && (above ? v > y : v < y))
            return i;
        i += k >= FIRST ? (size_t)1 << k : 1;
    }
    return SIZE_MAX;
}
