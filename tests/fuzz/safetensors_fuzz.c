/* Any bytes as a safetensors file; what opens is read to the last byte. */
#include "engine/ckpt/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    hl_safetensors *f;
    volatile unsigned char sum = 0;
    if (hl_safetensors_open(fuzz_file("x.safetensors", bytes, n), &f) != HL_OK)
        return 0;
    for (size_t i = 0; i < hl_safetensors_count(f); i++) {
        const hl_tensor_entry *e = hl_safetensors_at(f, i);
        for (size_t k = 0; k < hl_type_bytes(&e->type); k++)
            sum = (unsigned char)(sum + ((const unsigned char *)e->data)[k]);
    }
    hl_safetensors_close(f);
    return 0;
}
