#include "app/list/filter.h"

#include <math.h>
#include <string.h>

#include "app/list/filter_internal.h"

/* ---- text against patterns ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Does text begin with the pattern of n bytes? Goes back to the last star only, which is enough for
 * patterns without classes. */
static bool begins(const char *pattern, size_t n, const char *text, bool literal)
{
    size_t p = 0, star = n;
    const char *retry = text;
    while (p < n) {
        if (pattern[p] == '*' && !literal) {
            star = ++p;
            retry = text;
        } else if (*text && lower(*text) == lower(pattern[p])) {
            p++;
            text++;
        } else if (star < n && *retry) {
            p = star;
            text = ++retry;
        } else {
            return false;
        }
    }
    return true;
}

bool hl_text_has(const char *text, const char *pattern, size_t n, bool literal)
{
    do {
        if (begins(pattern, n, text, literal))
            return true;
    } while (*text++);
    return false;
}

/* One of the choices "a,b,c". */
static bool has_any(const char *text, const char *patterns, bool literal)
{
    for (;;) {
        const size_t n = literal ? strlen(patterns) : strcspn(patterns, ",");
        if (hl_text_has(text, patterns, n, literal))
            return true;
        if (patterns[n] == 0)
            return false;
        patterns += n + 1;
    }
}

static bool same_text(const char *a, const char *b)
{
    while (*a && lower(*a) == lower(*b))
        a++, b++;
    return lower(*a) == lower(*b);
}

/* ---- conditions ---- */

static bool matches(const hl_filter_node *n, const char *text)
{
    if (n->regex)
        return regexec(n->regex, text, 0, NULL, 0) == 0;
    return has_any(text, n->pattern, n->literal);
}

static bool stands_in(const hl_filter_node *n, const hl_run_row *row)
{
    const char *const texts[] = {row->name, row->id, row->tags, row->note, row->variant, row->host};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (n->regex ? matches(n, texts[i])
                     : hl_text_has(texts[i], n->pattern, strlen(n->pattern), n->literal))
            return true;
    return false;
}

static bool is_equal(const hl_filter_node *n, const hl_run_answer *a)
{
    if (a->is_number && n->is_number)
        return a->number == n->number || (isnan(a->number) && isnan(n->number));
    return a->text && same_text(a->text, n->pattern);
}

/* What a run does not have is not small, nor is it like anything; but it differs. */
static bool holds(const hl_filter_node *n, const hl_run_row *row)
{
    const hl_run_answer a = hl_run_key_ask(&n->key, row);
    switch (n->op) {
    case HL_FILTER_HAS:
        return a.known;
    case HL_FILTER_FLAG:
        return a.known && a.number != 0;
    case HL_FILTER_LIKE:
        return a.known && (a.text ? matches(n, a.text) : is_equal(n, &a));
    case HL_FILTER_EQ:
        return a.known && is_equal(n, &a);
    case HL_FILTER_NE:
        return !a.known || !is_equal(n, &a);
    case HL_FILTER_LT:
        return a.known && a.is_number && a.number < n->number;
    case HL_FILTER_LE:
        return a.known && a.is_number && a.number <= n->number;
    case HL_FILTER_GT:
        return a.known && a.is_number && a.number > n->number;
    default:
        return a.known && a.is_number && a.number >= n->number;
    }
}

/* As deep as the tree, which is bounded by HL_FILTER_NODES_MAX. */
static bool judge(const hl_filter *f, int at, const hl_run_row *row)
{
    const hl_filter_node *n = &f->nodes.at[at];
    switch (n->op) {
    case HL_FILTER_AND:
        return judge(f, n->a, row) && judge(f, n->b, row);
    case HL_FILTER_OR:
        return judge(f, n->a, row) || judge(f, n->b, row);
    case HL_FILTER_NOT:
        return !judge(f, n->a, row);
    case HL_FILTER_WORD:
        return stands_in(n, row);
    default:
        return holds(n, row);
    }
}

bool hl_filter_fits(const hl_filter *f, const hl_run_row *row)
{
    return !f || f->root == HL_FILTER_NOTHING || judge(f, f->root, row);
}

bool hl_filter_is_empty(const hl_filter *f)
{
    return !f || f->root == HL_FILTER_NOTHING;
}

bool hl_filter_asks_archived(const hl_filter *f)
{
    return f && f->asks_archived;
}

void hl_filter_deep_keys(const hl_filter *f, hl_deep_keys *out)
{
    for (size_t i = 0; f && i < f->nodes.n; i++)
        if (f->nodes.at[i].key.is_deep)
            hl_deep_keys_add(out, f->nodes.at[i].key.path);
}

const hl_filter_bad *hl_filter_trouble(const hl_filter *f)
{
    return f && f->has_trouble ? &f->trouble : NULL;
}

/* ---- life ---- */

void hl_filter_free(hl_filter *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->nodes.n; i++) {
        if (f->nodes.at[i].regex)
            regfree(f->nodes.at[i].regex);
        hl_free(f->nodes.at[i].regex);
        hl_free(f->nodes.at[i].pattern);
    }
    hl_vec_done(&f->nodes);
    hl_free(f);
}

static hl_status make(const char *text, const hl_run_rows *rows, bool any_key, hl_filter **out)
{
    hl_filter *f = hl_alloc_zero(1, sizeof *f);
    hl_status st = f ? hl_filter_parse(f, text, rows, any_key) : HL_E_NOMEM;
    if (st == HL_OK)
        *out = f;
    else
        hl_filter_free(f);
    return st;
}

hl_status hl_filter_new(const char *text, const hl_run_rows *rows, hl_filter **out)
{
    return make(text, rows, false, out);
}

hl_status hl_filter_new_open(const char *text, const hl_run_rows *rows, hl_filter **out)
{
    return make(text, rows, true, out);
}

/* ---- plain text ---- */

/* The next word, quotes taken off; gives the rest, or NULL at the end. */
static const char *next_word(const char *s, char word[128])
{
    size_t n = 0;
    bool quoted = false;
    s += strspn(s, " ");
    if (!*s)
        return NULL;
    for (; *s && (quoted || *s != ' '); s++) {
        if (*s == '"')
            quoted = !quoted;
        else if (n < 127)
            word[n++] = *s;
    }
    word[n] = 0;
    return s;
}

bool hl_filter_fits_text(const char *words, const char *text)
{
    char word[128];
    while ((words = next_word(words, word))) {
        const bool negated = word[0] == '!' && word[1];
        if (hl_text_has(text, word + negated, strlen(word + negated), false) == negated)
            return false;
    }
    return true;
}
