/* Runs of series for the screen suites. */
#ifndef HL_SCREENS_SAMPLE_FORECAST_H
#define HL_SCREENS_SAMPLE_FORECAST_H

/* Writes them into a store: one with evaluations and a test, one that runs and has evaluations
 * alone, one whose model diverged and whose truth has gaps, one whose record is damaged, one that
 * recorded nothing. */
void sample_forecast(const char *runs_dir);

#endif
