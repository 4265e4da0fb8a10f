/* Any bytes as the index of a model in two files. */
#include <stdlib.h>

#include "engine/ckpt/weights.h"
#include "tests/fuzz/fuzz.h"

static void make_shards(void)
{
    static const float v[2] = {1, 2};
    const hl_tensor_entry a = {"a", {.dtype = HL_DTYPE_F32, .rank = 1, .dim = {2}}, v},
                          b = {"b", {.dtype = HL_DTYPE_F32, .rank = 1, .dim = {1}}, v};
    if (hl_safetensors_write(fuzz_file("1.safetensors", "", 0), &a, 1, NULL) != HL_OK ||
        hl_safetensors_write(fuzz_file("2.safetensors", "", 0), &b, 1, NULL) != HL_OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static bool made;
    hl_weights *w;
    if (!made)
        make_shards();
    made = true;
    if (hl_weights_open(fuzz_file("model.safetensors.index.json", bytes, n), &w) == HL_OK)
        hl_weights_close(w);
    return 0;
}
