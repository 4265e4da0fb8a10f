/* Runs for the charts of the screen suites. */
#ifndef HL_SCREENS_SAMPLE_CHART_H
#define HL_SCREENS_SAMPLE_CHART_H

/* Writes them into a store: three seeds of one method, the first of which spiked, was not finite
 * and was resumed; one of another. Time passes: two seconds a step, ten minutes before the resume.
 */
void sample_chart(const char *runs_dir);

#endif
