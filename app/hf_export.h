/* hoplab export RUN --hf DIR: a checkpoint as a directory that the transformers library loads. */
#ifndef HL_APP_HF_EXPORT_H
#define HL_APP_HF_EXPORT_H

#include "app/cli.h"

/* Writes DIR from the checkpoint that `word` and --checkpoint name, and says on the error stream
 * what a stock loader will not know of it. Gives the exit status. */
int hl_hf_export(const hl_cli *cli, const char *word, const char *dir);

#endif
