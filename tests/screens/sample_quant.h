/* Quantized runs for the screen suites. */
#ifndef HL_SCREENS_SAMPLE_QUANT_H
#define HL_SCREENS_SAMPLE_QUANT_H

/* Writes them into a store: two methods in several seeds and two recipes, one run with sensitivity
 * and histograms, one that failed, one that is not quantized, one whose quantization cannot be
 * read. */
void sample_quant(const char *runs_dir);

#endif
