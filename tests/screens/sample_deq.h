/* Runs of equilibrium models for the screen suites. */
#ifndef HL_SCREENS_SAMPLE_DEQ_H
#define HL_SCREENS_SAMPLE_DEQ_H

/* Writes them into a store: Picard with damping, Anderson, one of which samples diverge or are not
 * finite, one whose solves nobody watched, one without an equilibrium layer. */
void sample_deq(const char *runs_dir);

#endif
