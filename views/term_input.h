/* What a terminal sends, made into keys. A pure function of the bytes and the time they came, so it
 * is tested (and attacked) without a terminal.
 *
 * A sequence that is not known is swallowed whole: none of its letters may act as a key. */
#ifndef HL_VIEWS_TERM_INPUT_H
#define HL_VIEWS_TERM_INPUT_H

#include "views/term.h"

#define HL_PASTE_MAX_BYTES 65536

typedef enum hl_token {
    HL_TOKEN_NONE,   /* no bytes left */
    HL_TOKEN_MORE,   /* these may be the beginning of a sequence: wait a little, say `last` then */
    HL_TOKEN_KEY,    /* *out is filled */
    HL_TOKEN_STATUS, /* answer to ESC[5n */
    HL_TOKEN_MODE    /* answer to ESC[?mode$p: see mode, mode_value */
} hl_token;

typedef struct hl_decoder {
    unsigned char buf[4096];
    size_t n;
    int erase;    /* byte that means backspace besides 127; 0: none */
    bool pasting; /* between the marks of a pasted text */
    hl_str paste;
    int64_t fed_ns; /* when bytes came last */
    int press_x, press_y;
    int64_t press_ns; /* of the last single press; 0: none */
    int mode, mode_value;
} hl_decoder; /* {0} is ready; what hl_decoder_done frees is the pasted text */

void hl_decoder_done(hl_decoder *d);
/* Where to put new bytes and how many; then tell how many they were and when they came. */
unsigned char *hl_decoder_space(hl_decoder *d, size_t *n);
void hl_decoder_fed(hl_decoder *d, size_t n, int64_t now_ns);
/* last: nothing more came within the escape delay, so what is there is all. */
hl_token hl_decoder_next(hl_decoder *d, bool last, hl_input *out);

#endif
