/* Any bytes as a vocab.txt, a tokenizer.json and the merges beside a small vocabulary; what is read
 * encodes and decodes. */
#include <string.h>

#include "data/hl_data.h"
#include "tests/fuzz/fuzz.h"

static void try(const char *path)
{
    static const char text[] = "ab \xc3\xa9 [MASK] ab\xff";
    int32_t ids[8 * sizeof text];
    hl_tok *t;
    hl_str out = {0};
    if (hl_tok_open(path, &t) != HL_OK)
        return;
    if (hl_tok_room(t, sizeof text - 1) <= sizeof ids / sizeof *ids) {
        const size_t n = hl_tok_encode(t, text, sizeof text - 1, ids);
        HL_IGNORE(hl_tok_decode(t, ids, n, &out));
    }
    hl_str_done(&out);
    hl_tok_unref(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char vocab[] =
        "{\"a\":0,\"b\":1,\"ab\":2,\"\xc3\x83\":3,\"\xc2\xa9\":4,\"</s>\":5}";
    try(fuzz_file("vocab.txt", bytes, n));
    try(fuzz_file("tokenizer.json", bytes, n));
    (void)fuzz_file("merges.txt", bytes, n);
    try(fuzz_file("vocab.json", (const uint8_t *)vocab, sizeof vocab - 1));
    return 0;
}
