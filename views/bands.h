/* A group of series as a line with a band around it: mean and deviation over its members at each x.
 * Draws nothing, knows no screen. */
#ifndef HL_VIEWS_BANDS_H
#define HL_VIEWS_BANDS_H

#include "views/widgets/pyramid.h"

/* name, what it is */
#define HL_BANDS(X)                                                                                \
    X(OFF, "off", "no groups")                                                                     \
    X(SD, "sd", "mean, one standard deviation around it")                                          \
    X(SE, "se", "mean, its standard error around it")                                              \
    X(MINMAX, "minmax", "mean, from the least to the largest value")                               \
    X(P10_90, "p10-p90", "median, from the 10th to the 90th percentile")
typedef enum hl_band_kind {
#define HL_BAND_ENUM(upper, name, help) HL_BAND_##upper,
    HL_BANDS(HL_BAND_ENUM)
#undef HL_BAND_ENUM
        HL_BAND_COUNT
} hl_band_kind;
const char *hl_band_name(hl_band_kind k);
const char *hl_band_help(hl_band_kind k);

enum { HL_BAND_MEMBERS_MAX = 32, HL_BAND_PLACES = 512 };

typedef struct hl_band {
    hl_pyramid *middle, *lo, *hi; /* at the same x */
    hl_pyramid *n;                /* members that have a value there */
    uint64_t key;
} hl_band; /* {0} is none */
void hl_band_done(hl_band *b);

/* Follows its members: made anew when one of them has changed. Where all have the same few x those
 * are the places, else HL_BAND_PLACES stretches of equal width over all x, of each of which a
 * member has the mean of its points (for MINMAX the extremes), or the value between the points
 * around. A member counts from its first to its last point; non-finite values do not count. id:
 * names the members, in case others get their place in memory. Deviations are those of a sample
 * (n - 1); one member alone has none. false: no memory. */
bool hl_band_make(hl_band *b, const hl_pyramid *const *member, int n_members, uint64_t id,
                  hl_band_kind kind);

#endif
