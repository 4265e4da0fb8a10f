#include "views/term_input.h"

#include <string.h>

#define DOUBLE_CLICK_NS 300000000
#define PASTE_LOST_NS   1000000000 /* a paste whose end does not come is over */
#define SEQUENCE_MAX    64

static const char paste_end[] = "\033[201~";

/* How far a sequence reaches, or why that is not known yet. */
enum { INCOMPLETE = 0 };

void hl_decoder_done(hl_decoder *d)
{
    hl_str_done(&d->paste);
    *d = (hl_decoder){0};
}

unsigned char *hl_decoder_space(hl_decoder *d, size_t *n)
{
    *n = sizeof d->buf - d->n;
    return d->buf + d->n;
}

void hl_decoder_fed(hl_decoder *d, size_t n, int64_t now_ns)
{
    if (d->pasting && now_ns - d->fed_ns > PASTE_LOST_NS) {
        d->pasting = false;
        hl_str_clear(&d->paste);
    }
    d->n += n;
    d->fed_ns = now_ns;
}

static void drop(hl_decoder *d, size_t n)
{
    d->n -= n;
    memmove(d->buf, d->buf + n, d->n);
}

static hl_token give_key(hl_decoder *d, size_t n, int key, hl_input *out)
{
    drop(d, n);
    *out = (hl_input){.key = key};
    return HL_TOKEN_KEY;
}

/* ---- pasted text ---- */

/* Valid UTF-8, line ends as \n, no other control character but the tab. */
static void make_clean(hl_str *text)
{
    size_t to = 0, step;
    for (size_t from = 0; from < text->n; from += step) {
        uint32_t ch = 0;
        step = hl_utf8_next(text->s + from, text->n - from, &ch);
        if (step == 0)
            break;
        if (ch == '\r') {
            if (from + 1 < text->n && text->s[from + 1] == '\n')
                continue;
            text->s[to++] = '\n';
            continue;
        }
        bool control = (ch < 32 && ch != '\n' && ch != '\t') || (ch >= 127 && ch < 160);
        bool invalid = ch == 0xfffd && step == 1;
        if (control || invalid)
            continue;
        memmove(text->s + to, text->s + from, step);
        to += step;
    }
    text->n = to;
    if (text->s)
        text->s[to] = '\0';
}

static void add_pasted(hl_decoder *d, size_t n)
{
    size_t room = HL_PASTE_MAX_BYTES - d->paste.n;
    hl_str_addn(&d->paste, (const char *)d->buf, n < room ? n : room);
    drop(d, n);
}

static hl_token next_pasted(hl_decoder *d, hl_input *out)
{
    const size_t n_end = sizeof paste_end - 1;
    size_t at = 0;
    while (at < d->n && memcmp(d->buf + at, paste_end, d->n - at < n_end ? d->n - at : n_end) != 0)
        at++;
    bool found = d->n - at >= n_end;
    add_pasted(d, at);
    if (!found)
        return HL_TOKEN_NONE;
    drop(d, n_end);
    d->pasting = false;
    make_clean(&d->paste);
    *out = (hl_input){.key = HL_KEY_PASTE, .text = hl_str_text(&d->paste)};
    return HL_TOKEN_KEY;
}

/* ---- mouse ---- */

static bool is_double(hl_decoder *d, int x, int y)
{
    bool again = d->press_ns != 0 && d->fed_ns - d->press_ns <= DOUBLE_CLICK_NS &&
                 d->press_x == x && d->press_y == y;
    d->press_ns = again ? 0 : d->fed_ns;
    d->press_x = x;
    d->press_y = y;
    return again;
}

/* button as the protocols have it: 0 left, 2 right, 3 released, + 32 moved, 64 and 65 wheel, and
 * modifiers in bits 2..4. false: not for us. */
static bool mouse(hl_decoder *d, int button, bool released, hl_input *out)
{
    enum { MODIFIERS = 4 | 8 | 16, MOVED = 32, WHEEL_UP = 64, WHEEL_DOWN = 65 };
    button &= ~MODIFIERS;
    out->key = HL_KEY_MOUSE;
    if (released && button != 0)
        return false;
    switch (button) {
    case WHEEL_UP:
        out->mouse.what = HL_MOUSE_WHEEL_UP;
        break;
    case WHEEL_DOWN:
        out->mouse.what = HL_MOUSE_WHEEL_DOWN;
        break;
    case 3:
        out->mouse.what = HL_MOUSE_RELEASE;
        break;
    case 2:
    case MOVED | 2:
        out->mouse.what = HL_MOUSE_RIGHT;
        break;
    case MOVED:
        out->mouse.what = HL_MOUSE_DRAG;
        break;
    case 0:
        out->mouse.what = released                                   ? HL_MOUSE_RELEASE
                          : is_double(d, out->mouse.x, out->mouse.y) ? HL_MOUSE_DOUBLE
                                                                     : HL_MOUSE_PRESS;
        break;
    default:
        return false;
    }
    return true;
}

/* ---- escape sequences ---- */

typedef struct sequence {
    char private; /* '<', '?' or 0 */
    char between; /* the last intermediate byte or 0 */
    char final;
    int arg[4], n_arg;
    size_t length;
} sequence;

/* ESC [ parameters intermediates final; s->length INCOMPLETE if its end is not there. false: broken
 * off by a byte that cannot be in it; s->length bytes belong to it. */
static bool read_csi(const unsigned char *at, size_t n, sequence *s)
{
    *s = (sequence){.length = INCOMPLETE};
    size_t i = 2;
    if (i < n && at[i] >= '<' && at[i] <= '?')
        s->private = (char)at[i++];
    for (; i < n; i++) {
        unsigned char c = at[i];
        int *arg = &s->arg[s->n_arg < 4 ? s->n_arg : 3];
        if (c >= '0' && c <= '9')
            *arg = *arg < 100000 ? *arg * 10 + (c - '0') : *arg;
        else if (c == ';')
            s->n_arg++;
        else if (c >= 0x20 && c <= 0x2f)
            s->between = (char)c;
        else if (c >= 0x40 && c <= 0x7e)
            break;
        else if (c < 0x20 || c >= 0x7f)
            return s->length = i, false;
    }
    if (i >= n)
        return n < SEQUENCE_MAX || (s->length = n, false);
    s->final = (char)at[i];
    s->length = i + 1;
    return true;
}

static int key_of_letter(char final)
{
    switch (final) {
    case 'A':
        return HL_KEY_UP;
    case 'B':
        return HL_KEY_DOWN;
    case 'C':
        return HL_KEY_RIGHT;
    case 'D':
        return HL_KEY_LEFT;
    case 'H':
        return HL_KEY_HOME;
    case 'F':
        return HL_KEY_END;
    case 'P':
        return HL_KEY_F1;
    case 'Q':
        return HL_KEY_F2;
    case 'R':
        return HL_KEY_F3;
    case 'S':
        return HL_KEY_F4;
    case 'Z':
        return HL_KEY_BACK_TAB;
    case 'a':
        return HL_KEY_UP; /* rxvt, with shift */
    case 'b':
        return HL_KEY_DOWN;
    case 'c':
        return HL_KEY_RIGHT;
    case 'd':
        return HL_KEY_LEFT;
    default:
        return 0;
    }
}

static int key_of_number(int number)
{
    switch (number) {
    case 1:
    case 7:
        return HL_KEY_HOME;
    case 2:
        return HL_KEY_INSERT;
    case 3:
        return HL_KEY_DELETE;
    case 4:
    case 8:
        return HL_KEY_END;
    case 5:
        return HL_KEY_PAGE_UP;
    case 6:
        return HL_KEY_PAGE_DOWN;
    case 11:
        return HL_KEY_F1;
    case 12:
        return HL_KEY_F2;
    case 13:
        return HL_KEY_F3;
    case 14:
        return HL_KEY_F4;
    default:
        return 0;
    }
}

/* Keypad in application mode and function keys: ESC O x. */
static int key_of_keypad(unsigned char c)
{
    static const char plain[] = "*+,-./0123456789"; /* 'j'.. */
    if (c == 'M')
        return HL_KEY_ENTER;
    if (c == 'X')
        return '=';
    if (c >= 'j' && c <= 'y')
        return plain[c - 'j'];
    return key_of_letter((char)c);
}

static hl_token act_on_csi(hl_decoder *d, const sequence *s, hl_input *out)
{
    enum { PASTE_BEGIN = 200, WITH_ALT = 2 };
    *out = (hl_input){0};
    if (s->private == '<' && (s->final == 'M' || s->final == 'm') && s->n_arg == 2) {
        out->mouse.x = s->arg[1] - 1;
        out->mouse.y = s->arg[2] - 1;
        return mouse(d, s->arg[0], s->final == 'm', out) ? HL_TOKEN_KEY : HL_TOKEN_NONE;
    }
    if (s->private == '?' && s->between == '$' && s->final == 'y') {
        d->mode = s->arg[0];
        d->mode_value = s->arg[1];
        return HL_TOKEN_MODE;
    }
    if (s->private || s->between)
        return HL_TOKEN_NONE;
    if (s->final == 'n')
        return s->arg[0] == 0 ? HL_TOKEN_STATUS : HL_TOKEN_NONE;
    if (s->final == '~' && s->arg[0] == PASTE_BEGIN) {
        d->pasting = true;
        hl_str_clear(&d->paste);
        d->paste.failed = false;
        return HL_TOKEN_NONE;
    }
    out->key = s->final == '~' ? key_of_number(s->arg[0]) : key_of_letter(s->final);
    if (out->key && s->n_arg >= 1 && s->arg[1] > 0 && (s->arg[1] - 1) & WITH_ALT)
        out->key |= HL_ALT;
    return out->key ? HL_TOKEN_KEY : HL_TOKEN_NONE;
}

/* Mouse as terminals without SGR coordinates tell it: ESC [ M and three bytes. */
static hl_token next_old_mouse(hl_decoder *d, hl_input *out)
{
    *out = (hl_input){.mouse = {.x = d->buf[4] - 33, .y = d->buf[5] - 33}};
    int button = d->buf[3] - 32;
    drop(d, 6);
    return mouse(d, button, false, out) ? HL_TOKEN_KEY : HL_TOKEN_NONE;
}

/* At `skip` bytes behind an ESC that means Alt there is another sequence. */
static hl_token next_csi(hl_decoder *d, size_t skip, bool last, hl_input *out)
{
    const unsigned char *at = d->buf + skip;
    size_t n = d->n - skip;
    if (n >= 3 && at[2] == 'M' && skip == 0) {
        if (n >= 6)
            return next_old_mouse(d, out);
        return last ? drop(d, d->n), HL_TOKEN_NONE : HL_TOKEN_MORE;
    }
    if (n >= 3 && at[2] == '[') { /* function keys of the Linux console */
        if (n < 4)
            return last ? drop(d, d->n), HL_TOKEN_NONE : HL_TOKEN_MORE;
        int f = at[3] >= 'A' && at[3] <= 'D' ? HL_KEY_F1 + (at[3] - 'A') : 0;
        drop(d, skip + 4);
        *out = (hl_input){.key = f};
        return f ? HL_TOKEN_KEY : HL_TOKEN_NONE;
    }
    sequence s;
    bool whole = read_csi(at, n, &s);
    if (whole && s.length == INCOMPLETE) {
        if (!last)
            return HL_TOKEN_MORE;
        if (n == 2)
            return give_key(d, d->n, HL_ALT | '[', out);
        drop(d, d->n);
        return HL_TOKEN_NONE;
    }
    /* answers and the mouse come by themselves: the ESC before them was a key */
    if (skip && whole && (s.private || s.between || s.final == 'n'))
        return give_key(d, 1, HL_KEY_ESC, out);
    drop(d, skip + s.length);
    hl_token token = whole ? act_on_csi(d, &s, out) : HL_TOKEN_NONE;
    if (token == HL_TOKEN_KEY && skip && out->key != HL_KEY_MOUSE)
        out->key |= HL_ALT;
    return token;
}

/* ---- characters ---- */

static size_t utf8_length(unsigned char lead)
{
    return lead >= 0xf0 && lead < 0xf5 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 1;
}

/* The character at `skip`, with `also` added to it. */
static hl_token next_char(hl_decoder *d, size_t skip, int also, bool last, hl_input *out)
{
    const unsigned char *at = d->buf + skip;
    size_t n = d->n - skip;
    if (*at < 0x80) {
        int key = *at && *at == d->erase ? HL_KEY_BACKSPACE : *at;
        return give_key(d, skip + 1, key | also, out);
    }
    if (n < utf8_length(*at) && !last)
        return HL_TOKEN_MORE;
    uint32_t ch = 0;
    size_t used = hl_utf8_next((const char *)at, n, &ch);
    if (used == 1 || ch < 160) { /* an invalid byte or a control character */
        drop(d, skip + used);
        return HL_TOKEN_NONE;
    }
    return give_key(d, skip + used, (int)ch | also, out);
}

static hl_token next_escape(hl_decoder *d, bool last, hl_input *out)
{
    const unsigned char *b = d->buf;
    if (d->n == 1)
        return last ? give_key(d, 1, HL_KEY_ESC, out) : HL_TOKEN_MORE;
    if (b[1] == '[')
        return next_csi(d, 0, last, out);
    if (b[1] == 'O') {
        if (d->n == 2)
            return last ? give_key(d, 2, HL_ALT | 'O', out) : HL_TOKEN_MORE;
        int key = key_of_keypad(b[2]);
        if (key)
            return give_key(d, 3, key, out);
        drop(d, 3);
        return HL_TOKEN_NONE;
    }
    if (b[1] == '\033') {
        if (d->n == 2 && !last)
            return HL_TOKEN_MORE;
        if (d->n >= 3 && b[2] == '[')
            return next_csi(d, 1, last, out);
        return give_key(d, 1, HL_KEY_ESC, out);
    }
    return next_char(d, 1, HL_ALT, last, out);
}

hl_token hl_decoder_next(hl_decoder *d, bool last, hl_input *out)
{
    while (d->n > 0) {
        hl_token token;
        if (d->pasting)
            return next_pasted(d, out);
        if (d->buf[0] == '\033')
            token = next_escape(d, last, out);
        else
            token = next_char(d, 0, 0, last, out);
        if (token != HL_TOKEN_NONE)
            return token;
    }
    return HL_TOKEN_NONE;
}
