/* Checkpoint directories: model.safetensors, optim.safetensors, state.json, config.json and DONE,
 * which is written last and says how many bytes each file has and their CRC-32C. A directory without
 * DONE, or that differs from it, is no checkpoint. */
#ifndef HL_CKPT_CHECKPOINT_H
#define HL_CKPT_CHECKPOINT_H

#include "engine/ckpt/safetensors.h"

typedef struct hl_checkpoint_in {
    const hl_tensor_entry *model, *optim;
    size_t n_model, n_optim;
    const char *state_json, *config_json;
} hl_checkpoint_in;

/* Writes into a temporary directory beside `path` and renames it there, so that `path` either does
 * not exist or is whole. An existing directory of that name is replaced. Errors: IO, NOMEM; nothing
 * of what was there before is lost. */
HL_MUST_CHECK hl_status hl_checkpoint_write(const char *path, const hl_checkpoint_in *in);

typedef struct hl_checkpoint {
    hl_safetensors *model, *optim;
    hl_json *state, *config;
} hl_checkpoint;

/* Opens and verifies every byte against DONE. Errors: NOTFOUND, IO, FORMAT; the message names the
 * file that is damaged. */
HL_MUST_CHECK hl_status hl_checkpoint_open(const char *path, hl_checkpoint *out);
void hl_checkpoint_close(hl_checkpoint *c);

/* DONE for these files of a directory, synced; the last thing to be written there. */
HL_MUST_CHECK hl_status hl_checkpoint_seal(const char *dir, const char *const *names, size_t n);
/* Are they, and all that DONE lists, as it says, byte for byte? Errors: FORMAT (no DONE, a file that it does not list or
 * that differs), NOTFOUND (a file is gone), IO. */
HL_MUST_CHECK hl_status hl_checkpoint_verify(const char *dir, const char *const *names, size_t n);

#endif
