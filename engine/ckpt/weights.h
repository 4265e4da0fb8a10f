/* Named tensors of a checkpoint made elsewhere: one safetensors file, or several with an index
 * (`model.safetensors.index.json`: {"weight_map": {"tensor": "file", ...}}). The index is read as
 * hostile input, as the files are: it may name plain files of its own directory only. */
#ifndef HL_CKPT_WEIGHTS_H
#define HL_CKPT_WEIGHTS_H

#include "engine/ckpt/safetensors.h"

typedef struct hl_weights hl_weights;

/* path: a safetensors file, an index (*.json), or a directory with model.safetensors or else
 * model.safetensors.index.json. Every tensor that the index names must be in the file it names, and
 * the files must hold no others. Maps all files; reads headers only.
 * Errors: NOTFOUND (path, or a file of the index), IO, FORMAT; the message names file and tensor.
 */
HL_MUST_CHECK hl_status hl_weights_open(const char *path, hl_weights **out);
void hl_weights_close(hl_weights *w); /* NULL is fine */

size_t hl_weights_count(const hl_weights *w);
const hl_tensor_entry *hl_weights_at(const hl_weights *w, size_t i);           /* sorted by name */
const hl_tensor_entry *hl_weights_find(const hl_weights *w, const char *name); /* or NULL */
/* The tensor has been read: its part of the mapping need not stay in memory. */
void hl_weights_release(const hl_weights *w, const hl_tensor_entry *e);

/* Writes a directory that other programs know a model by: config.json (the given text) and
 * model.safetensors. It is made beside `path` under another name and renamed, so that `path` is
 * either as before or whole. Errors: STATE (`path` exists and is no empty directory), IO, NOMEM. */
HL_MUST_CHECK hl_status hl_weights_write_dir(const char *path, const hl_tensor_entry *tensors,
                                             size_t n, const char *config_json);

#endif
