#define _GNU_SOURCE
#include "views/term.h"

#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "views/term_internal.h"

/* ---- names of keys ---- */

typedef struct key_name {
    int key;
    const char *name;
} key_name;

/* The first name of a key is the one that is shown. */
static const key_name names[] = {
#define HL_KEY_ROW(upper, text) {HL_KEY_##upper, text},
    HL_KEYS(HL_KEY_ROW)
#undef HL_KEY_ROW
        {HL_KEY_ENTER, "Enter"},
    {HL_KEY_TAB, "Tab"},
    {HL_KEY_ESC, "Esc"},
    {HL_KEY_BACKSPACE, "Backspace"},
    {' ', "Space"},
    {0, "C-Space"},
    {'<', "lt"},
    {HL_KEY_PAGE_UP, "PageUp"},
    {HL_KEY_PAGE_DOWN, "PageDown"},
    {HL_KEY_INSERT, "Ins"},
    {HL_KEY_DELETE, "Del"},
    {HL_KEY_ENTER, "CR"},
    {HL_KEY_ESC, "Escape"},
    {HL_KEY_BACKSPACE, "BS"},
};
enum { N_NAMES = sizeof names / sizeof *names };

const char *hl_key_name(char buf[24], int key)
{
    const char *alt = key & HL_ALT ? "A-" : "";
    int plain = key & ~HL_ALT;
    for (size_t i = 0; i < N_NAMES; i++)
        if (names[i].key == plain && plain != '<')
            return snprintf(buf, 24, "%s%s", alt, names[i].name), buf;
    if (plain > 0 && plain < ' ') {
        int letter = plain + 0x40;
        snprintf(buf, 24, "%sC-%c", alt, letter >= 'A' && letter <= 'Z' ? letter + 32 : letter);
    } else if (plain < 0 || plain > 0x10ffff || (plain >= 0xd800 && plain < 0xe000)) {
        snprintf(buf, 24, "%s#%x", alt, (unsigned)plain);
    } else {
        char text[5] = {0};
        hl_utf8_put(text, (uint32_t)plain);
        snprintf(buf, 24, "%s%s", alt, text);
    }
    return buf;
}

static bool is_control_name(const char *name, int *key)
{
    if ((name[0] != 'C' && name[0] != 'c') || name[1] != '-' || !name[2] || name[3])
        return false;
    bool letter = (name[2] >= 'a' && name[2] <= 'z') || (name[2] >= '@' && name[2] <= '_');
    if (letter)
        *key = HL_CTRL(name[2]);
    return letter;
}

bool hl_key_from(const char *name, int *key)
{
    int alt = 0, plain = 0;
    if ((hl_str_starts(name, "A-") || hl_str_starts(name, "M-")) && name[2]) {
        alt = HL_ALT;
        name += 2;
    }
    size_t n = strlen(name);
    uint32_t ch = 0;
    bool one_char = n > 0 && hl_utf8_next(name, n, &ch) == n && (n > 1 || ch != 0xfffd);
    if (one_char) {
        *key = (int)ch | alt;
        return true;
    }
    if (is_control_name(name, &plain)) {
        *key = plain | alt;
        return true;
    }
    for (size_t i = 0; i < N_NAMES; i++)
        if (strcmp(names[i].name, name) == 0) {
            *key = names[i].key | alt;
            return true;
        }
    return false;
}

hl_status hl_key_script_next(const char **at, int *key)
{
    const char *from = *at;
    if (*from != '<') {
        uint32_t ch = 0;
        size_t n = hl_utf8_next(from, strlen(from), &ch);
        if (n == 0 || (n == 1 && ch == 0xfffd))
            return hl_err_set(HL_E_ARG, "key script: no UTF-8 at \"%.8s\"", from);
        *at = from + n;
        *key = (int)ch;
        return HL_OK;
    }
    const char *end = strchr(from + 1, '>');
    char name[24];
    if (end && end[1] == '>' && (end == from + 1 || end[-1] == '-'))
        end++; /* <A->> */
    size_t n = end ? (size_t)(end - from - 1) : 0;
    if (n == 0 || n >= sizeof name)
        return hl_err_set(
            HL_E_ARG, "key script: \"%.16s\" begins no key name; write <lt> for a plain <", from);
    memcpy(name, from + 1, n);
    name[n] = '\0';
    if (!hl_key_from(name, key))
        return hl_err_set(HL_E_ARG, "key script: no key is called <%s>", name);
    *at = end + 1;
    return HL_OK;
}

/* ---- what kind of terminal ---- */

bool hl_term_is_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static const char *env_text(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* What was answered to `hoplab doctor --glyphs` on a terminal of this name: lines "TERM GLYPHS". */
static bool read_answer(const char *term_name, char out[16])
{
    enum { BYTES_MAX = 1 << 14 };
    char state[440], path[480], *text = NULL, name[64], level[16];
    size_t n;
    if (!hl_fs_state_dir(state, sizeof state))
        return false;
    snprintf(path, sizeof path, "%s/glyphs", state);
    if (hl_fs_size(path) < 0 || hl_fs_read(path, BYTES_MAX, &text, &n) != HL_OK)
        return false;
    hl_glyphs g;
    bool found = false;
    for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n')
        if (sscanf(at, "%63s %15s", name, level) == 2 && strcmp(name, term_name) == 0 &&
            hl_glyphs_from(level, &g)) {
            snprintf(out, 16, "%s", level); /* the last answer counts */
            found = true;
        }
    hl_free(text);
    return found;
}

hl_status hl_term_choose(hl_term *t, const hl_term_options *o, const char *term_name)
{
    char answer[16] = "";
    const char *wanted = o && o->glyphs ? o->glyphs : env_text("HOPLAB_GLYPHS");
    if (!wanted && term_name && hl_term_is_utf8() && read_answer(term_name, answer))
        wanted = answer;
    if (wanted && !hl_glyphs_from(wanted, &t->glyphs))
        return hl_err_set(HL_E_ARG, "no glyphs \"%s\"; there are braille, block, half, ascii",
                          wanted);
    if (!wanted) {
        bool poor =
            term_name && (strcmp(term_name, "linux") == 0 || hl_str_starts(term_name, "vt"));
        t->glyphs = hl_term_is_utf8() && !poor ? HL_GLYPHS_BRAILLE : HL_GLYPHS_ASCII;
    }
    return hl_theme_find(o ? o->theme : NULL, &t->theme);
}

hl_status hl_term_choose_depth(const char *wanted, int n_colors, hl_color_depth *out)
{
    hl_color_depth has = n_colors >= 256 ? HL_COLOR_256
                         : n_colors >= 8 ? HL_COLOR_16
                                         : HL_COLOR_MONO;
    hl_color_depth limit = HL_COLOR_256;
    if (!wanted || strcmp(wanted, "auto") == 0 || strcmp(wanted, "256") == 0)
        limit = HL_COLOR_256;
    else if (strcmp(wanted, "16") == 0)
        limit = HL_COLOR_16;
    else if (strcmp(wanted, "never") == 0)
        limit = HL_COLOR_MONO;
    else
        return hl_err_set(HL_E_ARG, "no colours \"%s\"; there are auto, never, 16, 256", wanted);
    if (env_text("NO_COLOR"))
        limit = HL_COLOR_MONO;
    *out = has < limit ? has : limit;
    return HL_OK;
}

/* ---- dispatch ---- */

/* A theme that is not the program's: a block of its own, since it may be the one in use. */
typedef struct hl_own_theme {
    hl_theme theme;
    char name[32];
    struct hl_own_theme *next;
} hl_own_theme;

void hl_term_close(hl_term *t)
{
    hl_own_theme *own = t ? t->own : NULL;
    if (t)
        t->kind->close(t);
    while (own) {
        hl_own_theme *next = own->next;
        hl_free(own);
        own = next;
    }
}

void hl_term_size(const hl_term *t, int *cols, int *rows)
{
    *cols = t->cols;
    *rows = t->rows;
}

hl_glyphs hl_term_glyphs(const hl_term *t)
{
    return t->glyphs;
}

bool hl_term_wide_ambiguous(const hl_term *t)
{
    return t->wide_ambiguous;
}

hl_color_depth hl_term_colors(const hl_term *t)
{
    return t->depth;
}

const char *hl_term_theme(const hl_term *t)
{
    return t->theme->name;
}

int hl_term_fd(const hl_term *t)
{
    return t->kind->fd ? t->kind->fd(t) : -1;
}

int hl_term_signal_fd(const hl_term *t)
{
    return t->kind->signal_fd ? t->kind->signal_fd(t) : -1;
}

bool hl_term_read(hl_term *t, hl_input *out)
{
    return t->kind->read(t, out);
}

bool hl_term_ready(hl_term *t)
{
    return !t->kind->ready || t->kind->ready(t);
}

void hl_term_show(hl_term *t, const hl_grid *g)
{
    t->kind->show(t, g);
}

void hl_term_repaint(hl_term *t)
{
    if (t->kind->repaint)
        t->kind->repaint(t);
}

void hl_term_suspend(hl_term *t)
{
    if (t->kind->suspend)
        t->kind->suspend(t);
}

typedef struct shell_call {
    const char *command;
    int status;
} shell_call;

static hl_status run_shell(void *arg)
{
    shell_call *c = arg;
    c->status = hl_term_run_shell(c->command);
    return HL_OK;
}

int hl_term_shell(hl_term *t, const char *command)
{
    shell_call call = {.command = command, .status = -1};
    return hl_term_lend(t, run_shell, &call) == HL_OK ? call.status : -1;
}

hl_status hl_term_lend(hl_term *t, hl_status (*to)(void *arg), void *arg)
{
    if (!t->kind->lend)
        return hl_err_set(HL_E_STATE, "without a terminal there is nothing to lend");
    return t->kind->lend(t, to, arg);
}

void hl_term_set_mouse(hl_term *t, bool on)
{
    if (t->kind->set_mouse)
        t->kind->set_mouse(t, on);
}

void hl_term_set_title(hl_term *t, const char *title)
{
    if (t->kind->set_title)
        t->kind->set_title(t, title);
}

void hl_term_bell(hl_term *t)
{
    if (t->kind->bell)
        t->kind->bell(t);
}

const hl_theme *hl_term_look(const hl_term *t)
{
    return t->theme;
}

static hl_own_theme *own_theme(const hl_term *t, const char *name)
{
    hl_own_theme *own = t->own;
    while (own && strcmp(own->name, name) != 0)
        own = own->next;
    return own;
}

const char *hl_term_own_theme(const hl_term *t, int i)
{
    const hl_own_theme *own = t->own;
    for (; own && i > 0; i--)
        own = own->next;
    return own ? own->name : NULL;
}

hl_status hl_term_find_theme(const hl_term *t, const char *name, const hl_theme **out)
{
    const hl_own_theme *own = name ? own_theme(t, name) : NULL;
    if (!own)
        return hl_theme_find(name, out);
    *out = &own->theme;
    return HL_OK;
}

hl_status hl_term_add_theme(hl_term *t, const char *name, const hl_theme *theme)
{
    hl_own_theme *own = own_theme(t, name);
    const hl_theme *of_program;
    if (!*name || strlen(name) >= sizeof own->name || strchr(name, ' '))
        return hl_err_set(HL_E_ARG, "'%.40s' is no name for a theme", name);
    if (hl_theme_find(name, &of_program) == HL_OK)
        return hl_err_set(HL_E_ARG, "the theme %s is the program's; give yours another name", name);
    hl_err_clear();
    if (!own) {
        own = hl_alloc_zero(1, sizeof *own);
        if (!own)
            return HL_E_NOMEM;
        snprintf(own->name, sizeof own->name, "%s", name);
        own->next = t->own;
        t->own = own;
    }
    own->theme = *theme;
    own->theme.name = own->name;
    return t->theme == &own->theme ? hl_term_set_theme(t, own->name) : HL_OK;
}

hl_status hl_term_set_theme(hl_term *t, const char *name)
{
    hl_status st = hl_term_find_theme(t, name, &t->theme);
    if (st == HL_OK && t->kind->restyle)
        t->kind->restyle(t);
    return st;
}

hl_status hl_term_set_colors(hl_term *t, const char *wanted)
{
    hl_status st = hl_term_choose_depth(wanted, t->n_colors, &t->depth);
    if (st == HL_OK && t->kind->restyle)
        t->kind->restyle(t);
    return st;
}

void hl_term_set_glyphs(hl_term *t, hl_glyphs g)
{
    t->glyphs = g;
}

void hl_term_set_wide_ambiguous(hl_term *t, bool wide)
{
    if (t->wide_ambiguous == wide)
        return;
    t->wide_ambiguous = wide;
    hl_term_repaint(t);
}

bool hl_term_copy(hl_term *t, const char *text)
{
    return t->kind->copy && t->kind->copy(t, text);
}

double hl_term_round_trip_ms(const hl_term *t)
{
    return t->kind->round_trip_ms ? t->kind->round_trip_ms(t) : -1.0;
}

int hl_term_end_signal(const hl_term *t)
{
    return t->kind->end_signal ? t->kind->end_signal(t) : 0;
}

size_t hl_term_take_stderr(hl_term *t, char *buf, size_t n)
{
    return t->kind->take_stderr ? t->kind->take_stderr(t, buf, n) : 0;
}
