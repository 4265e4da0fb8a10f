/* Events of a run as lines of its log: for the screen and for `hoplab tail`. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/flag.h"
#include "app/hl_app.h"
#include "app/store/log_text.h"
#include "engine/base/hash.h"

static const char *member(const hl_json *v, const char *key)
{
    return hl_json_str(hl_json_get(v, key), "");
}

static void control_text(const hl_json *v, char *text, size_t n)
{
    char value[100] = "";
    if (!hl_json_get(v, "request")) { /* who has the controls */
        snprintf(text, n, "controls: %s%s%s", member(v, "cmd"), *member(v, "who") ? " by " : "",
                 member(v, "who"));
        return;
    }
    const double number = hl_json_num(hl_json_get(v, "value"), 0);
    if (hl_json_is_string(hl_json_get(v, "value")) && !hl_json_is_number(hl_json_get(v, "value")))
        snprintf(value, sizeof value, " %.*s", (int)strcspn(member(v, "value"), "\n"),
                 member(v, "value")); /* a schedule, a name, a part, a text */
    else if (hl_json_get(v, "value") && isnan(number))
        snprintf(value, sizeof value, " as it was");
    else if (hl_json_get(v, "value"))
        snprintf(value, sizeof value, " %.4g", number);
    snprintf(text, n, "control #%lld %s%s by %s: %s%s%s",
             (long long)hl_json_int(hl_json_get(v, "request"), 0), member(v, "cmd"), value,
             member(v, "who"), member(v, "status"), *member(v, "reason") ? ": " : "",
             member(v, "reason"));
}

/* A line that was written over itself, as progress bars are, is what it was last. */
static const char *last_written(const char *text)
{
    const char *last = text;
    for (const char *r = strchr(text, '\r'); r; r = strchr(r + 1, '\r'))
        if (r[1] && r[1] != '\n')
            last = r + 1;
    return last;
}

/* What is longer than there is room for ends with a mark, behind a whole character. */
static void copy_cut(char *text, size_t n, const char *from)
{
    static const char mark[] = "…";
    size_t keep = n - sizeof mark;
    if ((size_t)snprintf(text, n, "%s", from) < n || n < sizeof mark)
        return;
    while (keep > 0 && ((unsigned char)from[keep] & 0xc0) == 0x80)
        keep--;
    memcpy(text + keep, mark, sizeof mark);
}

char hl_event_line(const char *content, const hl_json *v, char *text, size_t n)
{
    if (strcmp(content, "log") == 0) {
        const char first = *member(v, "level");
        copy_cut(text, n, last_written(member(v, "text")));
        return first == 'w' ? 'W' : first == 'e' ? 'E' : 'I';
    }
    if (strcmp(content, "alert") == 0) {
        snprintf(text, n, "%s%s", member(v, "text"), member(v, "message"));
        return 'W';
    }
    if (strcmp(content, "control") == 0) {
        control_text(v, text, n);
        return 'C';
    }
    if (strcmp(content, "state") == 0) {
        const char *why = member(v, "message");
        snprintf(text, n, "%s%s%s", member(v, "state"), *why ? ": " : "", why);
        return 'S';
    }
    if (strcmp(content, "artifact") == 0) {
        const bool removed = hl_json_bool(hl_json_get(v, "removed"), false);
        snprintf(text, n, "%s %s%s", member(v, "kind"), member(v, "path"),
                 removed ? " removed" : "");
        return 'I';
    }
    return 0;
}

char hl_flag_line(const hl_json *v, char *text, size_t n)
{
    const bool removed = hl_json_bool(hl_json_get(v, "removed"), false);
    const char *place = member(v, "place"), *why = member(v, "text");
    *text = '\0';
    if (*place)
        snprintf(text, n, "%s %.127s%s%.159s", removed ? "no flag any more:" : "flagged:", place,
                 *why ? ": " : "", why);
    return *place ? 'C' : 0;
}

char hl_log_text_make(hl_log_text *t, const char *tag, const char *content, const char *json,
                      size_t n)
{
    hl_json *v = NULL;
    const bool is_table = strcmp(content, "table") == 0;
    const bool is_flag = is_table && hl_str_starts(tag, HL_FLAG_TAG);
    t->s[0] = '\0';
    if (!*content || (is_table && !is_flag))
        return 0;
    if (hl_json_parse(json, n, &v) != HL_OK) {
        hl_err_clear();
        return 0;
    }
    char level =
        is_flag ? hl_flag_line(v, t->s, sizeof t->s) : hl_event_line(content, v, t->s, sizeof t->s);
    hl_json_free(v);
    if (level == 'S') {
        const uint64_t hash = hl_hash_str(HL_HASH_START, t->s);
        level = hash == t->said ? 0 : level;
        t->said = hash;
    }
    return t->s[0] ? level : 0;
}

void hl_log_text_resumed(hl_log_text *t, int64_t step)
{
    snprintf(t->s, sizeof t->s, "resumed at step %lld", (long long)step);
}
