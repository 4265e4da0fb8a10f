/* Marked runs and their colours: a run has the same colour and letter whenever it is marked, in
 * this session and the next, unless another marked run has taken it meanwhile. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/hash.h"
#include "views/screen.h"

enum { LETTERS = 26, COLORS_KEPT = 1000 };

static uint64_t hash_of(const char *dir)
{
    return hl_hash_str(HL_HASH_START, dir);
}

static hl_mark *find_mark(const hl_screen *s, const char *dir)
{
    const uint64_t h = s->marks.n ? hash_of(dir) : 0;
    for (size_t i = 0; i < s->marks.n; i++)
        if (s->marks.at[i].hash == h && strcmp(s->marks.at[i].dir, dir) == 0)
            return &s->marks.at[i];
    return NULL;
}

bool hl_screen_is_marked(const hl_screen *s, const char *dir)
{
    return find_mark(s, dir) != NULL;
}

/* ---- colours ---- */

/* Runs are known by the names of their directories: a store may be moved. */
static uint64_t kept_name(const char *dir)
{
    return hash_of(hl_fs_base(dir));
}

static int kept_color(const hl_screen *s, uint64_t run)
{
    for (size_t i = s->colors.n; i-- > 0;)
        if (s->colors.at[i].run == run)
            return s->colors.at[i].color;
    return -1;
}

static bool is_kept(const hl_screen *s, int color)
{
    for (size_t i = 0; i < s->colors.n; i++)
        if (s->colors.at[i].color == color)
            return true;
    return false;
}

static bool is_taken(const hl_screen *s, int color)
{
    return (size_t)color < s->taken.n && s->taken.at[color];
}

/* Its own, if no marked run has it; else one that no run was ever given, while there are letters;
 * else the first that no marked run has. */
static int color_for(const hl_screen *s, const char *dir)
{
    const int own = kept_color(s, kept_name(dir));
    int color = 0;
    if (own >= 0 && !is_taken(s, own))
        return own;
    for (; color < LETTERS; color++)
        if (!is_taken(s, color) && !is_kept(s, color))
            return color;
    for (color = 0; is_taken(s, color);)
        color++;
    return color;
}

static void keep_color(hl_screen *s, const char *dir, int color)
{
    const hl_kept_color fresh = {kept_name(dir), color};
    if (kept_color(s, fresh.run) >= 0)
        return;
    if (s->colors.n == COLORS_KEPT)
        memmove(s->colors.at, s->colors.at + 1, --s->colors.n * sizeof fresh);
    HL_IGNORE(hl_vec_push(&s->colors, fresh)); /* without memory it is given anew */
    s->colors_changed = true;
}

/* A run that is not marked has the colour that marking would give it. */
int hl_screen_color(const hl_screen *s, const char *dir)
{
    const hl_mark *m = find_mark(s, dir);
    return m ? m->color : color_for(s, dir);
}

hl_style hl_color_style(int color)
{
    return (hl_style){.role = (uint8_t)(HL_ROLE_SERIES + color % HL_SERIES_ROLES)};
}

char hl_color_letter(int color)
{
    return (char)('a' + color % LETTERS);
}

/* ---- marking ---- */

static bool take_color(hl_screen *s, int color)
{
    while (s->taken.n <= (size_t)color)
        if (hl_vec_push(&s->taken, false) != HL_OK)
            return false;
    s->taken.at[color] = true;
    return true;
}

void hl_screen_mark(hl_screen *s, const char *dir, bool on)
{
    hl_mark *m = find_mark(s, dir);
    if (m && !on) {
        s->n_marked++;
        s->taken.at[m->color] = false;
        hl_free(m->dir);
        s->marks.n--;
        memmove(m, m + 1, (size_t)(s->marks.at + s->marks.n - m) * sizeof *m);
    } else if (!m && on) {
        hl_mark fresh = {.dir = hl_strdup(dir), .hash = hash_of(dir), .color = color_for(s, dir)};
        if (!fresh.dir || !take_color(s, fresh.color) || hl_vec_push(&s->marks, fresh) != HL_OK) {
            hl_free(fresh.dir);
            return;
        }
        s->n_marked++;
        keep_color(s, dir, fresh.color);
    }
}

void hl_marks_done(hl_screen *s)
{
    for (size_t i = 0; i < s->marks.n; i++)
        hl_free(s->marks.at[i].dir);
    hl_vec_done(&s->marks);
    hl_vec_done(&s->taken);
    hl_vec_done(&s->colors);
}

/* ---- kept: "HASH:COLOR HASH:COLOR ..." ---- */

void hl_colors_load(hl_screen *s)
{
    char *text = hl_kept_load(s, "colors");
    for (char *at = text; at && *at; at += strspn(at, " ")) {
        char *end;
        const uint64_t run = strtoull(at, &end, 16);
        const long color = *end == ':' ? strtol(end + 1, &end, 10) : -1;
        if (color >= 0 && color < 10000 && s->colors.n < COLORS_KEPT)
            HL_IGNORE(hl_vec_push(&s->colors, ((hl_kept_color){run, (int)color})));
        at = end + strcspn(end, " ");
    }
    hl_free(text);
}

void hl_colors_save(const hl_screen *s)
{
    hl_str b = {0};
    for (size_t i = 0; i < s->colors.n; i++)
        hl_str_addf(&b, "%s%016" PRIx64 ":%d", i ? " " : "", s->colors.at[i].run,
                    s->colors.at[i].color);
    if (hl_str_status(&b) == HL_OK)
        hl_kept_save(s, "colors", hl_str_text(&b));
    hl_str_done(&b);
}
