/* A directory that is there whole or not at all: filled beside its place under another name, then
 * renamed. */
#ifndef HL_CKPT_NEW_DIR_H
#define HL_CKPT_NEW_DIR_H

#include "engine/base/err.h"

/* Errors: STATE (`path` exists and is no empty directory), ARG (""), IO (there is no directory to
 * make it in). For whoever wants to know before the work is done. */
HL_MUST_CHECK hl_status hl_new_dir_check(const char *path);

/* fill writes into `dir`, an empty directory, and syncs its files. Errors: of hl_new_dir_check and
 * of fill, IO, NOMEM; then nothing is left behind, and `path` is as before. */
HL_MUST_CHECK hl_status hl_new_dir(const char *path, hl_status (*fill)(void *self, const char *dir),
                                   void *self);

#endif
