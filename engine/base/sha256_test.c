#include "engine/base/sha256.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *sum_of(const void *bytes, size_t n)
{
    static char hex[HL_SHA256_HEX];
    hl_sha256 s;
    hl_sha256_start(&s);
    hl_sha256_add(&s, bytes, n);
    return hl_sha256_finish(&s, hex);
}

/* FIPS 180-2, appendix B, and the two other messages that NIST gives with it. */
Test(sha256, gives_the_sums_of_the_standard)
{
    static const struct {
        const char *message, *sum;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrl"
         "mnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_str_eq(sum_of(cases[i].message, strlen(cases[i].message)), cases[i].sum);
    char a[1000], hex[HL_SHA256_HEX];
    memset(a, 'a', sizeof a);
    hl_sha256 s;
    hl_sha256_start(&s);
    for (int i = 0; i < 1000; i++)
        hl_sha256_add(&s, a, sizeof a);
    cr_assert_str_eq(hl_sha256_finish(&s, hex),
                     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Around the ends of blocks, and fed in pieces of every size. */
Test(sha256, pieces_do_not_matter)
{
    static const struct {
        size_t n;
        const char *sum;
    } cases[] = {
        {55, "e7313d333c272e639f790978283f9eb392e843d0f29b7016828bb1daa4aac70b"},
        {56, "4324d65f3c103567f5589c710bc08f8523f929a9272e3af36fc968e52abc6c27"},
        {57, "35df609437dcfea3279283ab79fd554e2bf78f8f7ae2de532d8ee300b09e8f73"},
        {63, "81c80242132f230c3bd41b3e63bbcff16107339549214a99614ff26664625055"},
        {64, "39e3d7b6b5d075d37d053ad89b24b41bef4f3c29760c84447cab3f3be1882241"},
        {65, "aacca6ff74fdbb296d165a45cecfa04e5127bc008770fbbdd48006f2d2fae95e"},
        {119, "9ce7368e4daf32341631b492e80359dc9f594b48453cd0dd5bf0b19279cc177e"},
        {120, "7836b787757e95e58b3ca5aec90b1b004e8deba1e50e9675af9cabf1a13a04b5"},
        {128, "d2742f1f4ac6bb7ca2b239ee18402ba8b3f9f8e652d2a72973c2b9ba11c08cf6"},
        {1000, "1e9bc38cbf860b9ec31918b065f9b52476c549a782e0e7990bed8ce3868d2371"},
    };
    unsigned char bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7 + 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t piece = 1; piece <= cases[i].n; piece++) {
            char hex[HL_SHA256_HEX];
            hl_sha256 s;
            hl_sha256_start(&s);
            for (size_t at = 0; at < cases[i].n; at += piece)
                hl_sha256_add(&s, bytes + at, cases[i].n - at < piece ? cases[i].n - at : piece);
            cr_assert_str_eq(hl_sha256_finish(&s, hex), cases[i].sum, "%zu bytes by %zu",
                             cases[i].n, piece);
        }
}
