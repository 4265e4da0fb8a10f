/* Outliers: all watched places of a run in order of the statistic, the worst first. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "views/layers.h"
#include "views/widgets/number.h"

typedef struct place {
    char name[128], site[64];
    int layer; /* row of the strip at this site */
    const hl_pyramid *points;
    const hl_flagged *flag;
    double now, most, at;
} place;

typedef HL_VEC(place) places;

/* Where there is no room, only what is now is shown. */
enum { WIDE = 56, BEHIND = 20 };

static int right_of(const hl_canvas *c)
{
    return c->r.w >= WIDE ? c->r.w - 1 - BEHIND : c->r.w - 1;
}

/* What is not finite is worst. */
static int by_value(const void *a, const void *b)
{
    const place *x = a, *y = b;
    const int bad = !isfinite(y->now) - !isfinite(x->now);
    const int order = bad ? bad : (x->now < y->now) - (x->now > y->now);
    return order ? order : strcmp(x->name, y->name);
}

/* At the crosshair if there is one, else the newest. */
static bool fill(const hl_screen *s, place *p)
{
    double x;
    const size_t n = p->points ? hl_pyramid_n(p->points) : 0;
    if (n == 0)
        return false;
    if (s->has_crosshair)
        p->now = hl_pyramid_y(p->points, hl_pyramid_nearest(p->points, s->crosshair_x));
    else
        (void)hl_pyramid_last(p->points, &x, &p->now);
    if (!hl_pyramid_best(p->points, false, &p->at, &p->most))
        p->most = p->at = (double)NAN;
    return true;
}

static void list_places(hl_screen *s, places *out)
{
    char sites[HL_SITES_MAX][64];
    const hl_watched *w = hl_screen_run(s);
    const int n = w ? hl_sites_list(w, sites) : 0;
    hl_layers *l = hl_alloc(sizeof *l);
    for (int i = 0; l && i < n; i++) {
        hl_layers_list(w, sites[i], s->look.statistic, l);
        for (int k = 0; k < l->n; k++) {
            place p = {.layer = k, .points = l->at[k].points, .flag = l->at[k].flag};
            memcpy(p.site, sites[i], sizeof p.site);
            (void)hl_layer_place(&l->at[k], p.name);
            if (fill(s, &p) && hl_vec_push(out, p) != HL_OK)
                break;
        }
    }
    hl_free(l);
    if (out->n)
        qsort(out->at, out->n, sizeof *out->at, by_value);
}

static void size(hl_screen *s, int *w, int *h)
{
    places p = {0};
    list_places(s, &p);
    *w = 76;
    *h = (int)p.n + 2;
    hl_vec_done(&p);
}

static void put_place(hl_canvas c, const place *p, bool now)
{
    const hl_style text = now ? HL_STYLE(SELECT) : HL_STYLE(TEXT);
    char number[HL_NUMBER_MAX];
    const int right = right_of(&c), name = right - 14;
    if (now)
        hl_blank(c, 0, 0, c.r.w, 1, text);
    int used = hl_put_cut(c, 1, 0, name > 4 ? name : 4, text, p->name);
    if (p->flag)
        hl_put_sign(c, 2 + used, 0, now ? text : HL_STYLE(WARN), HL_SIGN_UP);
    hl_put_right(c, right, 0, isfinite(p->now) ? text : HL_STYLE(BAD),
                 hl_format_value(number, p->now));
    if (c.r.w < WIDE)
        return;
    hl_put_right(c, right + 11, 0, text,
                 hl_format_known(number, !isnan(p->most), p->most, hl_has_signs(c.grid)));
    hl_put_right(c, right + BEHIND, 0, now ? text : HL_STYLE(DIM),
                 hl_format_known(number, !isnan(p->at), p->at, hl_has_signs(c.grid)));
}

static void draw(hl_screen *s, hl_canvas c)
{
    places p = {0};
    char head[120], step[HL_NUMBER_MAX];
    list_places(s, &p);
    const int visible = c.r.h > 2 ? c.r.h - 2 : 1, top = hl_popup_scrolled(s, visible);
    snprintf(head, sizeof head, "%s%s%s", hl_statistic_name(s->look.statistic),
             s->has_crosshair ? " @" : "",
             s->has_crosshair ? hl_format_value(step, s->crosshair_x) : "");
    const int right = right_of(&c);
    hl_put_cut(c, 1, 0, right - 6, HL_STYLE(DIM), head);
    hl_put_right(c, right, 0, HL_STYLE(DIM), s->has_crosshair ? "then" : "now");
    if (c.r.w >= WIDE) {
        hl_put_right(c, right + 11, 0, HL_STYLE(DIM), "max");
        hl_put_right(c, right + BEHIND, 0, HL_STYLE(DIM), "@step");
    }
    if (p.n == 0)
        hl_put_cut(c, 1, 1, c.r.w - 1, HL_STYLE(DIM), "nothing is known of this statistic");
    for (int i = 0; i < visible && top + i < (int)p.n; i++)
        put_place(hl_canvas_part(c, 0, 1 + i, c.r.w, 1), &p.at[top + i], top + i == s->popup_row);
    hl_put_cut(c, 0, c.r.h - 1, c.r.w, HL_STYLE(DIM),
               "Enter: this place in the strip; s: next statistic; Esc closes");
    hl_vec_done(&p);
}

static void key(hl_screen *s, int k)
{
    places p = {0};
    list_places(s, &p);
    const int n = (int)p.n;
    if (k == HL_KEY_ENTER && s->popup_row < n) {
        hl_screen_close_popup(s);
        hl_screen_remember(s);
        memcpy(s->look.site, p.at[s->popup_row].site, sizeof s->look.site);
        s->layer = p.at[s->popup_row].layer;
    } else if (k == 's') {
        hl_heat_act(s, HL_ACTION_STATISTIC);
    } else if (!hl_popup_move(s, k, n) && hl_popup_is_close(k)) {
        hl_screen_close_popup(s);
    }
    hl_vec_done(&p);
}

const hl_popup_class hl_popup_places = {
    .title = "places, the worst first", .size = size, .draw = draw, .key = key};
