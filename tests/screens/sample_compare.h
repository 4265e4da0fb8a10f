/* Runs to be compared: two methods in seeds, their scripts, and what their machine did. */
#ifndef HL_SCREENS_SAMPLE_COMPARE_H
#define HL_SCREENS_SAMPLE_COMPARE_H

void sample_compare(const char *runs_dir);

#endif
