#include "engine/base/hash.h"

#include <criterion/criterion.h>

/* Vectors of the authors of FNV. */
Test(hash, known_answers)
{
    cr_expect_eq(hl_hash_bytes(HL_HASH_START, "", 0), UINT64_C(0xcbf29ce484222325));
    cr_expect_eq(hl_hash_bytes(HL_HASH_START, "a", 1), UINT64_C(0xaf63dc4c8601ec8c));
    cr_expect_eq(hl_hash_bytes(HL_HASH_START, "foobar", 6), UINT64_C(0x85944171f73967e8));
    cr_expect_eq(hl_hash_bytes(HL_HASH_START, "\xFF", 1), UINT64_C(0xaf64724c8602eb6e));
}

Test(hash, pieces)
{
    const uint64_t h = hl_hash_bytes(HL_HASH_START, "foo", 3);
    cr_expect_eq(hl_hash_bytes(h, "bar", 3), hl_hash_bytes(HL_HASH_START, "foobar", 6));
    cr_expect_eq(hl_hash_str(HL_HASH_START, "foo"), hl_hash_bytes(HL_HASH_START, "foo", 4));
    /* the terminator keeps "ab" + "c" and "a" + "bc" apart */
    cr_expect_neq(hl_hash_str(hl_hash_str(HL_HASH_START, "ab"), "c"),
                  hl_hash_str(hl_hash_str(HL_HASH_START, "a"), "bc"));
}
