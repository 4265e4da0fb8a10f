#include "views/keymap.h"

#include <stdio.h>
#include <string.h>

static const char *const pane_names[HL_PANE_COUNT] = {
#define HL_PANE_NAME(upper, name) name,
    HL_PANES(HL_PANE_NAME)
#undef HL_PANE_NAME
};

static const hl_action_row rows[HL_ACTION_COUNT] = {
#define HL_ACTION_ROW(upper, name, keys, pane, help) {name, keys, HL_PANE_##pane, help},
    HL_ACTIONS(HL_ACTION_ROW)
#undef HL_ACTION_ROW
};

static const char *const action_names[HL_ACTION_COUNT] = {
#define HL_ACTION_NAME(upper, name, keys, pane, help) name,
    HL_ACTIONS(HL_ACTION_NAME)
#undef HL_ACTION_NAME
};

const char *hl_pane_name(hl_pane p)
{
    return (unsigned)p < HL_PANE_COUNT ? pane_names[p] : "every pane";
}

hl_pane hl_pane_keys(hl_pane p)
{
    return p == HL_PANE_EVALUATIONS || p == HL_PANE_SOLVES || p == HL_PANE_SOLVE_HEAT
               ? HL_PANE_RESIDUAL
           : p == HL_PANE_METHODS || p == HL_PANE_SENSITIVITY ? HL_PANE_TENSORS
           : p == HL_PANE_RESIDUALS || p == HL_PANE_AHEAD     ? HL_PANE_FORECAST
           : p == HL_PANE_HISTORY                             ? HL_PANE_MACHINE
           : p == HL_PANE_DIFFERENCES || p == HL_PANE_PAIRED  ? HL_PANE_SCORES
                                                              : p;
}

const hl_action_row *hl_action_get(hl_action a)
{
    return &rows[a];
}

hl_action hl_action_from(const char *name)
{
    for (int i = 0; i < HL_ACTION_COUNT; i++)
        if (strcmp(name, action_names[i]) == 0)
            return (hl_action)i;
    return HL_ACTION_NONE;
}

/* "g+g" into key codes. */
static hl_status parse_keys(const char *text, size_t n, hl_binding *out)
{
    int count = 0;
    for (size_t i = 0; i < n; count++) {
        size_t end = i + 1; /* a key may be '+' itself */
        while (end < n && text[end] != '+')
            end++;
        char name[24];
        if (count == HL_KEYS_IN_TURN)
            return hl_err_set(HL_E_ARG, "%.*s: at most %d keys in turn", (int)n, text,
                              HL_KEYS_IN_TURN);
        snprintf(name, sizeof name, "%.*s", (int)(end - i), text + i);
        if (!hl_key_from(name, &out->key[count]))
            return hl_err_set(HL_E_ARG,
                              "'%s' is no key; write a letter, C-x, A-x, Enter, PgUp, F1 "
                              "..., and + between keys pressed in turn",
                              name);
        i = end + 1;
    }
    return HL_OK;
}

static bool same_keys(const hl_binding *a, const hl_binding *b)
{
    return memcmp(a->key, b->key, sizeof a->key) == 0;
}

static bool same_place(hl_pane a, hl_pane b)
{
    a = hl_pane_keys(a);
    b = hl_pane_keys(b);
    return a == b || a == HL_PANE_ANY || b == HL_PANE_ANY;
}

static hl_status add_default(hl_keymap *m, hl_action action, const char *keys, size_t n)
{
    hl_binding b = {.action = action};
    hl_status st = parse_keys(keys, n, &b);
    for (size_t i = 0; st == HL_OK && i < m->bindings.n; i++) {
        const hl_binding *other = &m->bindings.at[i];
        if (same_keys(other, &b) && same_place(rows[other->action].pane, rows[action].pane))
            st = hl_err_set(HL_E_ARG, "%.*s belongs to %s and to %s", (int)n, keys,
                            rows[other->action].name, rows[action].name);
    }
    return st == HL_OK ? hl_vec_push(&m->bindings, b) : st;
}

hl_status hl_keymap_init(hl_keymap *m)
{
    *m = (hl_keymap){0};
    for (int a = 0; a < HL_ACTION_COUNT; a++)
        for (const char *keys = rows[a].keys; *keys;) {
            const size_t n = strcspn(keys, " ");
            hl_status st = add_default(m, (hl_action)a, keys, n);
            if (st != HL_OK) {
                hl_keymap_done(m);
                return st;
            }
            keys += n + (keys[n] == ' ');
        }
    return HL_OK;
}

void hl_keymap_done(hl_keymap *m)
{
    hl_vec_done(&m->bindings);
}

hl_status hl_keymap_bind(hl_keymap *m, const char *keys, const char *action)
{
    hl_binding b = {.action = hl_action_from(action)};
    hl_status st = parse_keys(keys, strlen(keys), &b);
    if (st != HL_OK)
        return st;
    if (b.action == HL_ACTION_NONE && strcmp(action, "none") != 0) {
        const int near = hl_str_nearest(action, action_names, HL_ACTION_COUNT);
        return hl_err_set(HL_E_ARG, "no action '%s'%s%s%s", action,
                          near >= 0 ? "; did you mean " : "", near >= 0 ? action_names[near] : "",
                          near >= 0 ? "?" : " (:help lists them)");
    }
    if (b.key[0] == 0)
        return hl_err_set(HL_E_ARG, "map needs a key");
    if (b.key[1] == 0 && b.key[0] < 128 && strchr("hjkl", b.key[0]))
        return hl_err_set(HL_E_ARG, "%s moves; it cannot be bound to anything else", keys);
    for (int n = 1; n < HL_KEYS_IN_TURN && b.key[n]; n++)
        for (int pane = 0; pane < HL_PANE_COUNT && b.action != HL_ACTION_NONE; pane++) {
            const hl_action first = hl_keymap_find(m, (hl_pane)pane, b.key, n);
            if (first < HL_ACTION_COUNT && same_place(rows[b.action].pane, (hl_pane)pane))
                return hl_err_set(HL_E_ARG, "the first keys of %s are %s already; map them to none",
                                  keys, rows[first].name);
        }
    return hl_vec_push(&m->bindings, b);
}

static const char *name_of(const hl_binding *b)
{
    return b->action == HL_ACTION_NONE ? "none" : rows[b->action].name;
}

hl_status hl_keymap_bind_for(hl_keymap *m, const char *keys, const char *action, const char *owner,
                             hl_str *conflicts)
{
    hl_status st = hl_keymap_bind(m, keys, action);
    if (st != HL_OK)
        return st;
    hl_binding *now = &m->bindings.at[m->bindings.n - 1];
    now->owner = owner;
    for (size_t i = m->bindings.n - 1; i-- > 0;) {
        const hl_binding *b = &m->bindings.at[i];
        const bool anywhere = b->action == HL_ACTION_NONE || now->action == HL_ACTION_NONE;
        if (!b->owner || !owner || b->action == now->action || !same_keys(b, now) ||
            (!anywhere && !same_place(rows[b->action].pane, rows[now->action].pane)))
            continue;
        hl_str_addf(conflicts, "%s: %s (%s) and %s (%s)\n", keys, name_of(b), b->owner,
                    name_of(now), owner);
        break;
    }
    return hl_str_status(conflicts);
}

hl_action hl_keymap_find(const hl_keymap *m, hl_pane pane, const int *keys, int n)
{
    bool pending = false;
    for (size_t i = m->bindings.n; i-- > 0;) {
        const hl_binding *b = &m->bindings.at[i];
        if (b->action != HL_ACTION_NONE && !same_place(rows[b->action].pane, pane))
            continue;
        if (n > HL_KEYS_IN_TURN || memcmp(b->key, keys, (size_t)n * sizeof *keys) != 0)
            continue;
        if (n == HL_KEYS_IN_TURN || b->key[n] == 0)
            return b->action;
        pending = true;
    }
    return pending ? HL_ACTION_PENDING : HL_ACTION_NONE;
}

const char *hl_keymap_keys(const hl_keymap *m, hl_action a, char buf[64])
{
    buf[0] = 0;
    for (size_t i = 0; i < m->bindings.n; i++) {
        const hl_binding *b = &m->bindings.at[i];
        if (b->action != a ||
            hl_keymap_find(m, rows[a].pane, b->key, b->key[1] ? b->key[2] ? 3 : 2 : 1) != a)
            continue;
        for (int k = 0; k < HL_KEYS_IN_TURN && b->key[k]; k++) {
            char name[24];
            const size_t used = strlen(buf);
            snprintf(buf + used, 64 - used, "%s%s", k ? " " : "", hl_key_name(name, b->key[k]));
        }
        break;
    }
    return buf;
}
