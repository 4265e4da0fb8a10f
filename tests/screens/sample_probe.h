/* A run whose watched steps tell channels, tokens, heads and attention. */
#ifndef TESTS_SCREENS_SAMPLE_PROBE_H
#define TESTS_SCREENS_SAMPLE_PROBE_H

void sample_probe(const char *runs_dir);

#endif
