/* Any bytes as the tensors of a quantized checkpoint, for a model of one layer. */
#include "engine/quant/saved.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    hl_quant_saved *s;
    hl_quantizer w = {0}, a = {0};
    hl_storage *bias = NULL;
    const hl_type vector = {HL_DTYPE_F32, 1, {2}};
    const hl_quant_site weight = {.name = (char *)"fc.weight",
                                  .role = HL_QUANT_WEIGHT,
                                  .how = {.quantizer = {HL_QUANT_SYMMETRIC, 4, 2, false}},
                                  .type = {HL_DTYPE_F32, 2, {2, 3}}},
                        act = {.name = (char *)"fc",
                               .how = {.quantizer = {HL_QUANT_ASYMMETRIC, 8, 1, false}}};
    const hl_tensor_entry *codes;
    double range[HL_QUANT_RANGE_FIELDS] = {0};
    float y[6];
    if (hl_quant_saved_open(fuzz_file("x.safetensors", bytes, n), &s) != HL_OK)
        return 0;
    if (hl_quant_saved_weight(s, &weight, &w, &codes) == HL_OK)
        hl_quantizer_decode(&w, (hl_quant_part){6, 0, 6}, hl_quantizer_code_type(&w), codes->data,
                            y);
    if (hl_quantizer_init(&a, &act.how.quantizer) == HL_OK)
        HL_IGNORE(hl_quant_saved_range(s, &act, &a, range));
    if (hl_storage_new(&vector, false, &bias) == HL_OK) {
        const hl_quant_float f = {"fc.bias", bias, false};
        HL_IGNORE(hl_quant_saved_float(s, &f));
    }
    HL_IGNORE(hl_quant_saved_end(s));
    hl_storage_unref(bias);
    hl_quantizer_done(&w);
    hl_quantizer_done(&a);
    hl_quant_saved_close(s);
    return 0;
}
