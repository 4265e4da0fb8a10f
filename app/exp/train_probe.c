/* What watched steps tell where `probe` asks for it: the largest numbers by channel, by token and
 * by head, how many channels hold the top of them, and how the first sequence attends. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/exp/train_internal.h"

#define TOP_SHARE 1e-4 /* of an activation's numbers */
enum { MAP_BYTES = 1 << 20, HEADS_MAX = 256, SPELLED_BYTES = 1 << 14 };

/* Series of one hl_probe, and the largest batch of an output. */
typedef struct place {
    int channels, tokens, n_channels, map;
    int *head;    /* per head */
    int64_t side; /* of a map that is written: at most so many tokens */
    int64_t batch, n_channel;
} place;

struct hl_train_probe {
    place *at;
    int n;
    float *work;  /* one curve */
    int32_t *ids; /* of the newest watched batch; NULL: no text */
    int64_t n_ids;
    int ids_array; /* among the batch's buffers */
    bool *is_told; /* by token: its spelling is recorded, or waits in `spelled`; NULL: no text */
    int32_t n_vocab, spellings; /* ids; series */
    hl_str spelled, one;        /* an event; a token. Both have room from the start */
};

static double value_at(const hl_train *t, int out, int64_t i)
{
    const void *data = hl_program_output(t->watched.p, out);
    return t->e->fp64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

/* NaN is the largest */
static double larger(double a, double b)
{
    return isnan(a) || a > b ? a : b;
}

/* ---- opening ---- */

static int series(const hl_train *t, const char *head, const char *name, const char *what,
                  hl_series_kind kind)
{
    char tag[160];
    snprintf(tag, sizeof tag, "%s/%s%s%s", head, name, *what ? "/" : "", what);
    return t->sink.series(t->sink.self, tag, kind, NULL);
}

/* Maps of all heads together take at most MAP_BYTES. */
static int64_t side_of(const hl_train *t)
{
    const hl_probes *all = &t->watched.tg.probes;
    int64_t n_heads = 0, side = t->e->probe_attention;
    for (int i = 0; i < all->n; i++)
        n_heads += all->at[i].n_head;
    while (side > 1 && n_heads * side * side * (int64_t)sizeof(float) > MAP_BYTES)
        side--;
    return side;
}

static hl_status open_heads(const hl_train *t, const hl_probe *p, place *out)
{
    out->head = hl_alloc_zero((size_t)p->n_head, sizeof *out->head);
    if (!out->head)
        return HL_E_NOMEM;
    for (int64_t h = 0; h < p->n_head; h++) {
        char name[96];
        snprintf(name, sizeof name, "%s.%lld", p->name, (long long)h);
        out->head[h] = series(t, "outliers", name, "attn.head/inf_norm", HL_SERIES_SCALAR);
    }
    return HL_OK;
}

static hl_status open_place(const hl_train *t, const hl_probe *p, int64_t side, place *out)
{
    const bool has_extents = p->extents >= 0;
    out->side = side;
    if (has_extents) {
        const hl_type *type = hl_program_output_type(t->watched.p, p->extents + 1);
        out->batch = type->dim[0];
        out->n_channel = type->dim[1];
    }
    if (p->map >= 0)
        out->map = series(t, "attention", p->name, "", HL_SERIES_CURVE);
    if (has_extents && p->n_head == 0) {
        out->channels = series(t, "outliers", p->name, "channels", HL_SERIES_CURVE);
        out->tokens = series(t, "outliers", p->name, "tokens", HL_SERIES_CURVE);
        if (t->watched.bins)
            out->n_channels = series(t, "outliers", p->name, "n_channels", HL_SERIES_SCALAR);
    }
    return has_extents && p->n_head > 0 && p->n_head <= HEADS_MAX ? open_heads(t, p, out) : HL_OK;
}

/* Numbers of the largest curve. */
static size_t work_of(const hl_probe *p, const place *x)
{
    const int64_t by_token = 2 * p->t, map = p->n_head * x->side * x->side;
    const int64_t most = by_token > x->n_channel ? by_token : x->n_channel;
    return (size_t)(most > map ? most : map);
}

static bool with_room(hl_str *b, size_t bytes)
{
    *b = (hl_str){.s = hl_alloc_zero(1, bytes), .cap = bytes};
    return b->s != NULL;
}

static hl_status open_spellings(const hl_train *t, struct hl_train_probe *k)
{
    const hl_tok *tok = t->e->source.tok;
    const hl_probes *all = &t->watched.tg.probes;
    bool any = false;
    for (int i = 0; i < k->n; i++)
        any = any || (all->at[i].extents >= 0 && all->at[i].n_head == 0);
    if (!tok || !any)
        return HL_OK;
    k->n_vocab = hl_tok_n_vocab(tok);
    k->is_told = hl_alloc_zero((size_t)k->n_vocab, sizeof *k->is_told);
    k->spellings = t->sink.series(t->sink.self, "data/tokens", HL_SERIES_JSON, "tokens");
    return k->is_told && with_room(&k->spelled, SPELLED_BYTES) && with_room(&k->one, 512)
               ? HL_OK
               : HL_E_NOMEM;
}

static hl_status open_ids(const hl_train *t, struct hl_train_probe *k)
{
    const step_program *p = &t->watched;
    k->ids_array = -1;
    for (int i = 0; t->e->source.array[i]; i++)
        if (strcmp(t->e->source.array[i], "ids") == 0 && p->input[i] >= 0)
            k->ids_array = i;
    if (k->ids_array < 0)
        return HL_OK;
    k->n_ids = hl_type_count(&hl_program_binding(p->p, p->input[k->ids_array])->type);
    k->ids = hl_alloc_zero((size_t)k->n_ids + 1, sizeof *k->ids);
    return k->ids ? open_spellings(t, k) : HL_E_NOMEM;
}

hl_status hl_train_probe_open(hl_train *t)
{
    hl_status st = HL_OK;
    const hl_probes *all = &t->watched.tg.probes;
    size_t most = 0;
    if (!t->watched.p || all->n == 0)
        return HL_OK;
    struct hl_train_probe *k = t->probe = hl_alloc_zero(1, sizeof *k);
    if (!k)
        return HL_E_NOMEM;
    k->at = hl_alloc_zero((size_t)all->n, sizeof *k->at);
    if (!k->at)
        return HL_E_NOMEM;
    k->n = all->n;
    for (int i = 0; i < k->n; i++) {
        HL_TRY(open_place(t, &all->at[i], side_of(t), &k->at[i]));
        const size_t n = work_of(&all->at[i], &k->at[i]);
        most = n > most ? n : most;
    }
    k->work = hl_alloc((most + 1) * sizeof *k->work);
    st = k->work ? open_ids(t, k) : HL_E_NOMEM;
out:
    return st;
}

void hl_train_probe_done(hl_train *t)
{
    struct hl_train_probe *k = t->probe;
    for (int i = 0; k && i < k->n; i++)
        hl_free(k->at[i].head);
    if (k) {
        hl_free(k->at);
        hl_free(k->work);
        hl_free(k->ids);
        hl_free(k->is_told);
        hl_str_done(&k->spelled);
        hl_str_done(&k->one);
    }
    hl_free(k);
    t->probe = NULL;
}

/* ---- a watched step ---- */

void hl_train_probe_batch(hl_train *t, const hl_feed_batch *b)
{
    struct hl_train_probe *k = t->probe;
    if (k && k->ids)
        memcpy(k->ids, b->data[k->ids_array], (size_t)k->n_ids * sizeof *k->ids);
}

static void report_channels(hl_train *t, const hl_probe *p, const place *x)
{
    float *v = t->probe->work;
    for (int64_t c = 0; c < x->n_channel; c++) {
        double most = 0;
        for (int64_t b = 0; b < x->batch; b++)
            most = larger(most, value_at(t, p->extents + 1, b * x->n_channel + c));
        v[c] = (float)most;
    }
    t->sink.curve(t->sink.self, x->channels, t->step, v, 1, x->n_channel);
}

static void flush_spellings(hl_train *t)
{
    struct hl_train_probe *k = t->probe;
    if (k->spelled.n == 0)
        return;
    hl_json_end(&k->spelled, '}');
    if (hl_str_status(&k->spelled) == HL_OK)
        t->sink.json(t->sink.self, k->spellings, t->step, k->spelled.s);
    hl_str_clear(&k->spelled);
}

/* How the token is spelled, once in a run; what is beyond the vocabulary has an id alone. */
static void tell_spelling(hl_train *t, float id)
{
    struct hl_train_probe *k = t->probe;
    char key[16];
    if (!k->is_told || !(id >= 0 && id < (float)k->n_vocab) || k->is_told[(int32_t)id])
        return;
    k->is_told[(int32_t)id] = true;
    hl_str_clear(&k->one);
    if (!hl_tok_spell(t->e->source.tok, (int32_t)id, &k->one))
        return;
    if (k->spelled.n + 4 * HL_TOK_SPELLING_BYTES > SPELLED_BYTES)
        flush_spellings(t);
    if (k->spelled.n == 0)
        hl_json_begin(&k->spelled, '{');
    snprintf(key, sizeof key, "%d", (int)id);
    hl_json_put_str(&k->spelled, key, k->one.s);
}

/* The largest number at each position, and the token that had it. */
static void report_tokens(hl_train *t, const hl_probe *p, const place *x)
{
    const struct hl_train_probe *k = t->probe;
    const bool has_ids = k->ids && k->n_ids == x->batch * p->t;
    float *most = k->work, *id = k->work + p->t;
    for (int64_t i = 0; i < p->t; i++) {
        most[i] = -1;
        id[i] = NAN;
        for (int64_t b = 0; b < x->batch; b++) {
            const float v = (float)value_at(t, p->extents, b * p->t + i);
            if (!(v > most[i]) && !isnan(v))
                continue;
            most[i] = v;
            id[i] = has_ids ? (float)k->ids[b * p->t + i] : NAN;
        }
    }
    t->sink.curve(t->sink.self, x->tokens, t->step, most, 2, p->t);
    for (int64_t i = 0; i < p->t; i++)
        tell_spelling(t, id[i]);
}

/* As of taps: the mean over sequences of the largest number of each. */
static void report_heads(hl_train *t, const hl_probe *p, const place *x)
{
    for (int64_t h = 0; h < p->n_head; h++) {
        double sum = 0;
        for (int64_t b = 0; b < x->batch; b++) {
            double most = 0;
            for (int64_t c = h * p->d; c < (h + 1) * p->d; c++)
                most = larger(most, value_at(t, p->extents + 1, b * x->n_channel + c));
            sum += most;
        }
        t->sink.scalar(t->sink.self, x->head[h], t->step, sum / (double)x->batch);
    }
}

/* The maps of all heads below each other, each at most side x side: several tokens are one row or
 * column, which has the largest probability of them. */
static void report_map(hl_train *t, const hl_probe *p, const place *x)
{
    const int64_t rows = p->t < x->side ? p->t : x->side, columns = p->s < x->side ? p->s : x->side;
    const int64_t width = p->n_head * p->d;
    float *v = t->probe->work;
    memset(v, 0, (size_t)(p->n_head * rows * columns) * sizeof *v);
    for (int64_t h = 0; h < p->n_head; h++)
        for (int64_t i = 0; i < p->t; i++)
            for (int64_t s = 0; s < p->s; s++) {
                const double prob =
                    value_at(t, p->map + (int)(s / p->d), i * width + h * p->d + s % p->d);
                float *to = v + (h * rows + i * rows / p->t) * columns + s * columns / p->s;
                *to = (float)larger(prob, (double)*to);
            }
    t->sink.curve(t->sink.self, x->map, t->step, v, p->n_head * rows, columns);
}

void hl_train_probe_report(hl_train *t)
{
    const hl_probes *all = &t->watched.tg.probes;
    for (int i = 0; t->probe && i < t->probe->n; i++) {
        const hl_probe *p = &all->at[i];
        const place *x = &t->probe->at[i];
        if (p->extents >= 0 && p->n_head == 0) {
            report_channels(t, p, x);
            report_tokens(t, p, x);
        }
        if (x->head)
            report_heads(t, p, x);
        if (p->map >= 0)
            report_map(t, p, x);
    }
    if (t->probe)
        flush_spellings(t);
}

/* ---- channels that hold the top ---- */

/* |x| above which a share of the histogram's numbers lies; within a bin they are spread evenly. */
static double top_of(const hl_hist *h, double share)
{
    enum { HALF = HL_HIST_BINS / 2 };
    double left = share * h->num, hi = fmax(fabs(h->min), fabs(h->max));
    for (int k = HALF - 1; k >= 0; k--) {
        const double n = h->bin[HALF + k] + h->bin[HALF - 1 - k], lo = k ? ldexp(1, k - 20) : 0;
        if (n >= left && n > 0)
            return hi - left / n * fmax(hi - lo, 0);
        left -= n;
        hi = fmin(hi, lo);
    }
    return 0;
}

void hl_train_probe_count(hl_train *t, const char *tap, const hl_hist *h)
{
    const hl_probes *all = &t->watched.tg.probes;
    for (int i = 0; t->probe && i < t->probe->n; i++) {
        const hl_probe *p = &all->at[i];
        const place *x = &t->probe->at[i];
        if (p->n_head > 0 || strcmp(p->name, tap) != 0)
            continue;
        const double top = top_of(h, TOP_SHARE);
        int64_t n = 0;
        for (int64_t c = 0; c < x->n_channel; c++) {
            double most = 0;
            for (int64_t b = 0; b < x->batch; b++)
                most = larger(most, value_at(t, p->extents + 1, b * x->n_channel + c));
            n += most >= top;
        }
        t->sink.scalar(t->sink.self, x->n_channels, t->step, (double)n);
    }
}
