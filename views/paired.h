/* Series made of others: laid over another x than the step, and as the difference to a reference
 * run's or the ratio. Follows what it is made of; draws nothing. */
#ifndef HL_VIEWS_PAIRED_H
#define HL_VIEWS_PAIRED_H

#include "views/widgets/pyramid.h"

typedef enum hl_relation {
    HL_RELATION_NONE,
    HL_RELATION_DIFFERENCE, /* the run's less the reference's */
    HL_RELATION_RATIO,      /* the run's over the reference's */
    HL_RELATIONS
} hl_relation;

typedef struct hl_paired_of {
    const hl_pyramid *data, *reference; /* step against value; reference: of a relation */
    const hl_pyramid *clock,
        *reference_clock; /* step against x, both rising; NULL: x is the step */
    hl_relation relation;
    uint64_t
        reference_of; /* hash of whose it is: a pyramid may come to lie where another one was */
} hl_paired_of;

typedef struct hl_paired {
    hl_pyramid *out;
    hl_paired_of of;
    uint64_t edits[4]; /* of the four when it was begun */
    size_t n_seen;     /* points of data, */
    size_t n_known;    /* and of the reference */
    size_t clock_n;    /* of the clocks, when a point lay behind the end of one; 0: none did */
} hl_paired;          /* {0} is an empty one */

/* The series as it is now: points of `data` at their x, where the reference is known there
 * (between its points linearly, beyond its ends not at all). Behind the end of a clock x goes on at
 * its mean pace. Borrowed; NULL: no memory. New points cost O(log n) each. */
const hl_pyramid *hl_paired_follow(hl_paired *d, const hl_paired_of *of);
void hl_paired_done(hl_paired *d);

#endif
