/* Keys by name, and scripts of them. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/screens/harness_internal.h"

#define QUIET_MS       60 /* without a byte: the program has drawn what it wanted to */
#define QUIET_LIMIT_MS 2000
#define ESC_PAUSE_MS   150 /* or the next key would be one with Alt */

static const struct {
    const char *name;
    VTermKey key;
    const char *bytes; /* if not a key of the emulator */
} keys[] = {
    {"Up", VTERM_KEY_UP, NULL},
    {"Down", VTERM_KEY_DOWN, NULL},
    {"Left", VTERM_KEY_LEFT, NULL},
    {"Right", VTERM_KEY_RIGHT, NULL},
    {"Home", VTERM_KEY_HOME, NULL},
    {"End", VTERM_KEY_END, NULL},
    {"PgUp", VTERM_KEY_PAGEUP, NULL},
    {"PgDn", VTERM_KEY_PAGEDOWN, NULL},
    {"Insert", VTERM_KEY_INS, NULL},
    {"Delete", VTERM_KEY_DEL, NULL},
    {"F1", VTERM_KEY_FUNCTION(1), NULL},
    {"F2", VTERM_KEY_FUNCTION(2), NULL},
    {"F3", VTERM_KEY_FUNCTION(3), NULL},
    {"F4", VTERM_KEY_FUNCTION(4), NULL},
    {"Enter", VTERM_KEY_NONE, "\r"},
    {"Tab", VTERM_KEY_NONE, "\t"},
    {"S-Tab", VTERM_KEY_NONE, "\033[Z"},
    {"Esc", VTERM_KEY_NONE, "\033"},
    {"Backspace", VTERM_KEY_NONE, "\177"},
    {"BS", VTERM_KEY_NONE, "\177"},
    {"Space", VTERM_KEY_NONE, " "},
    {"lt", VTERM_KEY_NONE, "<"},
};

static void press(screen *s, VTermKey key)
{
    s->pressing = true;
    vterm_keyboard_key(s->vt, key, VTERM_MOD_NONE);
    s->pressing = false;
}

static size_t char_bytes(const char *at)
{
    unsigned char c = (unsigned char)*at;
    size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1, has = strlen(at);
    return n < has ? n : has;
}

bool screen_send_key(screen *s, const char *name)
{
    if (name[0] == 'A' && name[1] == '-' && name[2]) {
        screen_send(s, "\033");
        name += 2;
    }
    if (*name && char_bytes(name) == strlen(name)) {
        screen_send(s, name);
        return true;
    }
    if (name[0] == 'C' && name[1] == '-' && name[2] && !name[3]) {
        char c = name[2] & 0x1f;
        screen_send_bytes(s, &c, 1);
        return true;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i].name, name) != 0)
            continue;
        if (keys[i].bytes)
            screen_send(s, keys[i].bytes);
        else
            press(s, keys[i].key);
        return true;
    }
    return false;
}

void screen_send_mouse(screen *s, int button, int x, int y, bool released)
{
    char report[48];
    snprintf(report, sizeof report, "\033[<%d;%d;%d%c", button, x + 1, y + 1, released ? 'm' : 'M');
    screen_send(s, report);
}

static void click(screen *s, int button, int x, int y)
{
    screen_send_mouse(s, button, x, y, false);
    screen_send_mouse(s, button, x, y, true);
}

static int signal_of(const char *name)
{
    for (int i = 1; i < 32; i++) {
        const char *abbreviation = sigabbrev_np(i);
        if (abbreviation && strcmp(abbreviation, name) == 0)
            return i;
    }
    return 0;
}

static void settle(screen *s)
{
    screen_wait_quiet(s, QUIET_MS, QUIET_LIMIT_MS);
}

/* "80x24", "1,2,3,4": at most `most` numbers; how many there are, -1 if anything else is. */
static int read_numbers(const char *text, char between, int *out, int most)
{
    for (int n = 0; n < most;) {
        char *end;
        out[n++] = (int)strtol(text, &end, 10);
        if (end == text)
            return -1;
        if (!*end)
            return n;
        if (*end != between)
            return -1;
        text = end + 1;
    }
    return -1;
}

bool screen_read_size(const char *text, int *cols, int *rows)
{
    int size[2];
    bool good = read_numbers(text, 'x', size, 2) == 2 && size[0] > 0 && size[1] > 0;
    *cols = good ? size[0] : *cols;
    *rows = good ? size[1] : *rows;
    return good;
}

/* Words with a place: <mouse:X,Y> and the like. */
static bool act_at(screen *s, const char *word, const char *value)
{
    int at[4] = {0}, n = read_numbers(value, ',', at, 4), x = at[0], y = at[1];
    if ((strcmp(word, "drag") == 0 || strcmp(word, "right-drag") == 0) && n == 4) {
        const int button = *word == 'r' ? 2 : 0;
        screen_send_mouse(s, button, x, y, false);
        screen_send_mouse(s, 32 + button, at[2], at[3], false);
        screen_send_mouse(s, button, at[2], at[3], true);
        return true;
    }
    if (n != 2)
        return false;
    if (strcmp(word, "mouse") == 0 || strcmp(word, "double") == 0) {
        click(s, 0, x, y);
        if (*word == 'd')
            click(s, 0, x, y);
        return true;
    }
    if (strcmp(word, "right") == 0)
        return click(s, 2, x, y), true;
    if (strncmp(word, "wheel-", 6) == 0)
        return screen_send_mouse(s, word[6] == 'u' ? 64 : 65, x, y, false), true;
    return false;
}

static bool act(screen *s, const char *word, const char *value)
{
    int a = 0, b = 0;
    if (strcmp(word, "wait") == 0) {
        if (screen_wait_text(s, value, s->limit_ms))
            return true;
        char *now = screen_text(s);
        fprintf(stderr, "script: \"%s\" has not come; the screen is\n%s", value, now);
        free(now);
        return false;
    }
    if (strcmp(word, "sleep") == 0)
        return screen_let_pass(s, (int)strtol(value, NULL, 10)), true;
    if (strcmp(word, "resize") == 0 && screen_read_size(value, &a, &b)) {
        screen_resize(s, a, b);
        settle(s);
        return true;
    }
    if (strcmp(word, "paste") == 0) {
        screen_send(s, "\033[200~");
        screen_send(s, value);
        screen_send(s, "\033[201~");
        return true;
    }
    if (strcmp(word, "kill") == 0 && signal_of(value))
        return screen_kill(s, signal_of(value)), true;
    if (act_at(s, word, value))
        return true;
    fprintf(stderr, "script: <%s:%s> means nothing\n", word, value);
    return false;
}

static bool act_on_name(screen *s, char *name, FILE *shots)
{
    char *colon = strchr(name, ':');
    if (strcmp(name, "shot") == 0) {
        settle(s);
        char *now = screen_text(s);
        fputs(now, shots ? shots : stdout);
        free(now);
        return true;
    }
    if (colon && colon > name) {
        *colon = '\0';
        if (strcmp(name, "say") == 0)
            return fprintf(shots ? shots : stdout, "%s\n", colon + 1) >= 0;
        return act(s, name, colon + 1);
    }
    if (!screen_send_key(s, name)) {
        fprintf(stderr, "script: no key is called <%s>\n", name);
        return false;
    }
    screen_let_pass(s, strcmp(name, "Esc") == 0 ? ESC_PAUSE_MS : 0);
    return true;
}

bool screen_run_script(screen *s, const char *script, FILE *shots)
{
    while (*script) {
        const char *end = *script == '<' ? strchr(script, '>') : NULL;
        if (*script == '<' && !end) {
            fprintf(stderr, "script: \"%.16s\" has no end; a plain < is <lt>\n", script);
            return false;
        }
        if (!end) {
            size_t n = char_bytes(script);
            screen_send_bytes(s, script, n);
            script += n;
            continue;
        }
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)(end - script - 1), script + 1);
        if (!act_on_name(s, name, shots))
            return false;
        script = end + 1;
    }
    return true;
}
