/* Output layer and cross entropy in one: logits = h w^T + bias exist only for labelled rows, a tile
 * at a time. Three rows of the table share one routine:
 *   lm_loss        loss alone (evaluation)
 *   lm_loss_vjp    gradients, computing the logits again
 *   lm_loss_grad   both from one computation; the fusion pass puts it where a graph has the pair */
#include "engine/ops/op_common.h"

enum { IGNORE = -100, TILE_FLOATS = 32 << 20, TILE_ROWS_LEAST = 64, TILE_ROWS_MOST = 512, NARROW = 1024 };
enum { APART = 32 }; /* floats: rows of a power of two would share the cache's sets */

typedef struct head {
    int64_t rows, d, v, tile;
    int64_t pitch; /* floats from one row of logits to the next */
    const float *h, *w, *bias;
    const hl_bf16 *h16, *w16; /* instead of h and w */
    const int32_t *label;
    float slope_times_count; /* cotangent of the loss */
    float *gh, *gw, *gbias;  /* NULL: loss only */
    hl_team *team;
    /* scratch */
    int32_t *used;            /* indices of labelled rows */
    float *x, *logits, *loss; /* [tile, d], [tile, v], [rows] */
    float *gx;                /* [tile, d] */
    hl_bf16 *x16, *slopes;    /* x; the logits' gradient, row by row where the logits were */
    void *gemm;
    int64_t n_used;
} head;

static int64_t tile_rows(int64_t rows, int64_t v)
{
    int64_t t = TILE_FLOATS / (v ? v : 1);
    t = t < TILE_ROWS_LEAST ? TILE_ROWS_LEAST : t > TILE_ROWS_MOST ? TILE_ROWS_MOST : t;
    return t < rows ? t : rows ? rows : 1;
}

static size_t gemm_bytes(int64_t tile, int64_t d, int64_t v, int n)
{
    size_t a = hl_cpu()->gemm_scratch_bytes(tile, v, d, n);
    size_t b = hl_cpu()->gemm_scratch_bytes(tile, d, v, n);
    size_t c = hl_cpu()->gemm_scratch_bytes(v, d, tile, n);
    return a > b ? (a > c ? a : c) : (b > c ? b : c);
}

/* Lays the scratch out from base; returns its size. */
static size_t lay_out(head *k, unsigned char *base, int n_workers)
{
    size_t at = 0;
#define TAKE(field, type, n)                                                                       \
    k->field = (type *)(void *)(base + at);                                                        \
    at += ((size_t)(n) * sizeof(type) + 63) & ~(size_t)63
    TAKE(used, int32_t, k->rows);
    TAKE(loss, float, k->rows);
    TAKE(x, float, k->tile *k->d);
    TAKE(gx, float, k->tile *k->d);
    TAKE(logits, float, k->tile *k->pitch);
#undef TAKE
    k->x16 = (hl_bf16 *)(void *)k->x;
    k->slopes = (hl_bf16 *)(void *)k->logits;
    k->gemm = base + at;
    return at + gemm_bytes(k->tile, k->d, k->v, n_workers);
}

/* Sizes from h [.., d] at input i and w [v, d] at i + 1. */
static head head_of(const hl_call *c, int i)
{
    const hl_type *h = &c->in[i], *w = &c->in[i + 1];
    head k = {.rows = hl_type_rows(h, h->rank - 1), .d = w->dim[1], .v = w->dim[0]};
    k.tile = tile_rows(k.rows, k.v);
    k.pitch = k.v + APART;
    return k;
}

static int first_input(const hl_call *c)
{
    return c->op == hl_op_get(HL_OP_ID_lm_loss) ? 0 : 1;
}

static size_t scratch_head(const hl_call *c, int n_workers)
{
    head k = head_of(c, first_input(c));
    return lay_out(&k, NULL, n_workers);
}

static hl_status collect_rows(head *k)
{
    k->n_used = 0;
    for (int64_t i = 0; i < k->rows; i++) {
        if (k->label[i] == IGNORE)
            continue;
        if (k->label[i] < 0 || k->label[i] >= k->v)
            return hl_err_set(HL_E_ARG, "label %d at position %lld is outside the %lld classes",
                              k->label[i], (long long)i + 1, (long long)k->v);
        k->used[k->n_used++] = (int32_t)i;
    }
    return HL_OK;
}

typedef struct tile_job {
    head *k;
    int64_t row0;
} tile_job;

static void gather_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const tile_job *t = arg;
    const head *k = t->k;
    for (int64_t i = begin; i < end; i++) {
        const int64_t from = k->used[t->row0 + i] * k->d;
        if (k->h16)
            memcpy(k->x16 + i * k->d, k->h16 + from, (size_t)k->d * sizeof *k->h16);
        else
            memcpy(k->x + i * k->d, k->h + from, (size_t)k->d * sizeof *k->h);
    }
}

static void entropy_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const tile_job *t = arg;
    const head *k = t->k;
    const float slope = k->gw ? k->slope_times_count / (float)k->n_used : 0;
    for (int64_t i = begin; i < end; i++)
        hl_cpu()->cross_entropy_row(k->v, k->logits + i * k->pitch, k->label[k->used[t->row0 + i]],
                                    slope, &k->loss[t->row0 + i]);
}

/* In place from front to back: a row of slopes begins where its row of logits did. */
static void narrow_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const tile_job *t = arg;
    const head *k = t->k;
    for (int64_t i = begin; i < end; i++)
        for (int64_t c = 0; c < k->v; c += NARROW) {
            hl_bf16 part[NARROW];
            const int64_t n = k->v - c < NARROW ? k->v - c : NARROW;
            hl_cpu()->to_bf16(n, k->logits + i * k->pitch + c, part);
            memcpy(k->slopes + 2 * i * k->pitch + c, part, (size_t)n * sizeof *part);
        }
}

static void scatter_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const tile_job *t = arg;
    const head *k = t->k;
    for (int64_t i = begin; i < end; i++)
        memcpy(k->gh + k->used[t->row0 + i] * k->d, k->gx + i * k->d, (size_t)k->d * sizeof(float));
}

static void bias_columns(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const tile_job *t = arg;
    const head *k = t->k;
    int64_t rows = k->n_used - t->row0 < k->tile ? k->n_used - t->row0 : k->tile;
    hl_cpu()->sum_cols(rows, end - begin, k->logits + begin, k->pitch, t->row0 > 0, k->gbias + begin);
}

static void one_tile(const hl_exec *x, head *k, int64_t row0)
{
    const int64_t n = k->n_used - row0 < k->tile ? k->n_used - row0 : k->tile;
    tile_job t = {k, row0};
    const bool half = k->h16;
    hl_parallel(x, n, 1, HL_GRAIN / k->d + 1, gather_rows, &t);
    hl_gemm_args g = {.m = n, .n = k->v, .k = k->d, .a = k->x, .a_row = k->d, .a_col = 1, .b = k->w,
                      .b_row = 1, .b_col = k->d, .c = k->logits, .c_row = k->pitch, .bias = k->bias};
    if (half) {
        g.a16 = k->x16;
        g.b16 = k->w16;
    }
    hl_cpu()->gemm(k->team, &g, k->gemm);
    hl_parallel(x, n, 1, HL_GRAIN / k->v + 1, entropy_rows, &t);
    if (!k->gw)
        return;
    if (k->gbias)
        hl_parallel(x, k->v, 16, HL_GRAIN / n + 1, bias_columns, &t);
    if (half)
        hl_parallel(x, n, 1, HL_GRAIN / k->v + 1, narrow_rows, &t);
    hl_gemm_args gx = {.m = n, .n = k->d, .k = k->v, .a = k->logits, .a_row = k->pitch, .a_col = 1,
                       .b = k->w, .b_row = k->d, .b_col = 1, .c = k->gx, .c_row = k->d};
    if (half) {
        gx.a16 = k->slopes;
        gx.a_row = 2 * k->pitch;
        gx.b16 = k->w16;
    }
    hl_cpu()->gemm(k->team, &gx, k->gemm);
    hl_parallel(x, n, 1, HL_GRAIN / k->d + 1, scatter_rows, &t);
    hl_gemm_args gw = {.m = k->v, .n = k->d, .k = n, .a = k->logits, .a_row = 1, .a_col = k->pitch,
                       .b = k->x, .b_row = k->d, .b_col = 1, .c = k->gw, .c_row = k->d,
                       .add = row0 > 0};
    if (half) {
        gw.a16 = k->slopes;
        gw.a_col = 2 * k->pitch;
        gw.b16 = k->x16;
    }
    hl_cpu()->gemm(k->team, &gw, k->gemm);
}

/* Rows of gh without a label are zero. */
static void zero_rows(const head *k)
{
    for (int64_t i = 0; i < k->rows; i++)
        if (k->label[i] == IGNORE)
            memset(k->gh + i * k->d, 0, (size_t)k->d * sizeof(float));
}

/* of one of the three products, for one labelled position */
static double row_flops(const head *k)
{
    return 2.0 * (double)k->d * (double)k->v;
}

static hl_status run_head(const hl_op_run *r, head *k, float *loss, float *count)
{
    k->team = r->exec->team;
    lay_out(k, r->scratch, k->team ? k->team->n : 1);
    hl_status st = collect_rows(k);
    if (st != HL_OK)
        return st;
    if (k->gw) {
        zero_rows(k);
        if (k->n_used == 0) {
            memset(k->gw, 0, (size_t)(k->v * k->d) * sizeof(float));
            if (k->gbias)
                memset(k->gbias, 0, (size_t)k->v * sizeof(float));
        }
    }
    if (r->flops)
        *r->flops = (k->gw ? 3 : 1) * row_flops(k) * (double)k->n_used;
    for (int64_t row0 = 0; row0 < k->n_used; row0 += k->tile)
        one_tile(r->exec, k, row0);
    double total = 0;
    hl_cpu()->sum(k->n_used, k->loss, &total);
    if (loss) {
        *loss = k->n_used ? (float)(total / (double)k->n_used) : 0;
        *count = (float)k->n_used;
    }
    return HL_OK;
}

/* --- on a device: the same tiles, all rows of a tile in one launch --- */

enum { GPU_TILE_ROWS = 2048 };

/* Scratch there: sizes of head_of with the tile of the device. */
typedef struct gpu_head {
    int32_t *used;
    float *loss, *count, *gx, *logits;
    void *x;         /* [tile, d] */
    hl_bf16 *slopes; /* [tile, v] */
} gpu_head;

static size_t gpu_lay_out(const head *k, bool half, unsigned char *base, gpu_head *g)
{
    const int64_t tile = k->rows < GPU_TILE_ROWS ? k->rows : GPU_TILE_ROWS;
    size_t at = 0;
#define TAKE(field, type, n)                                                                       \
    g->field = (type *)(void *)(base + at);                                                        \
    at += ((size_t)(n) * sizeof(type) + 255) & ~(size_t)255
    TAKE(used, int32_t, k->rows);
    TAKE(loss, float, k->rows);
    TAKE(count, float, 1);
    TAKE(x, float, tile *k->d);
    TAKE(gx, float, tile *k->d > k->v ? tile *k->d : k->v);
    TAKE(logits, float, tile *k->v);
    TAKE(slopes, hl_bf16, half ? tile *k->v : 0);
#undef TAKE
    return at;
}

static size_t gpu_scratch_head(const hl_call *c)
{
    const int i = first_input(c);
    const head k = head_of(c, i);
    gpu_head g;
    return gpu_lay_out(&k, c->in[i].dtype == HL_DTYPE_BF16, NULL, &g);
}

static void gpu_product(const hl_op_run *r, hl_gemm_args a)
{
    const hl_gpu_gemm g = {.g = a, .batch = 1};
    hl_gpu_get()->gemm(r->exec->gpu, &g);
}

/* Rows row0 .. row0 + n of the labelled ones. gloss: the loss's cotangent, NULL: loss only. */
static void gpu_tile(const hl_op_run *r, const head *k, const gpu_head *g, int64_t row0, int64_t n,
                     const float *gloss)
{
    const hl_gpu_backend *d = hl_gpu_get();
    hl_gpu *gpu = r->exec->gpu;
    const bool half = k->h16;
    const int32_t *used = g->used + row0;
    d->take_rows(gpu, n, k->d, half ? 2 : 4, used, half ? (const void *)k->h16 : k->h, g->x);
    gpu_product(r, (hl_gemm_args){.m = n, .n = k->v, .k = k->d, .a = g->x, .a16 = half ? g->x : NULL,
                                  .a_row = k->d, .a_col = 1, .b = k->w, .b16 = k->w16, .b_row = 1,
                                  .b_col = k->d, .c = g->logits, .c_row = k->v, .bias = k->bias});
    d->label_entropy(gpu, n, k->v, used, k->label, gloss, g->count, g->logits, g->loss + row0);
    if (!gloss)
        return;
    if (k->gbias)
        d->sum(gpu, 1, n, k->v, g->logits, row0 ? g->gx : k->gbias);
    if (k->gbias && row0) {
        const hl_gpu_box all = {.rank = 1, .dim = {k->v}, .a = {1}, .b = {1}};
        d->ew2(gpu, HL_EW2_add, &all, k->gbias, g->gx, k->gbias);
    }
    if (half)
        d->to_bf16(gpu, n * k->v, g->logits, g->slopes);
    gpu_product(r, (hl_gemm_args){.m = n, .n = k->d, .k = k->v, .a = g->logits,
                                  .a16 = half ? g->slopes : NULL, .a_row = k->v, .a_col = 1, .b = k->w,
                                  .b16 = k->w16, .b_row = k->d, .b_col = 1, .c = g->gx, .c_row = k->d});
    d->put_rows(gpu, n, k->d, used, g->gx, k->gh);
    gpu_product(r, (hl_gemm_args){.m = k->v, .n = k->d, .k = n, .a = g->logits,
                                  .a16 = half ? g->slopes : NULL, .a_row = 1, .a_col = k->v, .b = g->x,
                                  .b16 = half ? g->x : NULL, .b_row = k->d, .b_col = 1, .c = k->gw,
                                  .c_row = k->d, .add = row0 > 0});
}

/* How many rows have a label is known to the device alone. Rows behind them are zero and so are
 * their gradients, hence a tile without labels changes nothing; a captured step leaves it out. The
 * first one is always there: what tiles add up begins in it. */
static hl_status gpu_head_run(const hl_op_run *r, head *k, const float *gloss, float *loss, float *count)
{
    const hl_gpu_backend *d = hl_gpu_get();
    hl_gpu *gpu = r->exec->gpu;
    gpu_head g;
    gpu_lay_out(k, k->h16 != NULL, r->scratch, &g);
    d->label_rows(gpu, k->rows, k->v, k->label, g.used, g.count);
    if (gloss)
        d->zero(gpu, k->gh, (size_t)(k->rows * k->d) * sizeof(float));
    if (gloss && k->rows == 0) {
        d->zero(gpu, k->gw, (size_t)(k->v * k->d) * sizeof(float));
        if (k->gbias)
            d->zero(gpu, k->gbias, (size_t)k->v * sizeof(float));
    }
    d->zero(gpu, g.loss, (size_t)k->rows * sizeof(float));
    for (int64_t row0 = 0; row0 < k->rows; row0 += GPU_TILE_ROWS) {
        const bool decides = row0 && d->when_begin(gpu, g.count, row0);
        gpu_tile(r, k, &g, row0, k->rows - row0 < GPU_TILE_ROWS ? k->rows - row0 : GPU_TILE_ROWS,
                 gloss);
        if (decides)
            d->when_end(gpu);
    }
    if (loss) {
        d->mean_loss(gpu, k->rows, g.loss, g.count, loss);
        d->copy(gpu, count, g.count, sizeof *count);
    }
    return HL_OK;
}

/* Inputs h w bias? labels start at i. */
static void bind(const hl_op_run *r, head *k, int i)
{
    k->h = r->in[i];
    k->w = r->in[i + 1];
    k->h16 = hl_in_bf16(r, i);
    k->w16 = hl_in_bf16(r, i + 1);
    k->bias = r->in[i + 2];
    k->label = r->in[i + 3];
}

static hl_status check_head(const hl_call *c, int i)
{
    const hl_type *h = &c->in[i], *w = &c->in[i + 1], *b = &c->in[i + 2], *y = &c->in[i + 3];
    hl_status st = hl_want_float(c, i);
    if (st == HL_OK)
        st = hl_want_float(c, i + 1);
    if (st == HL_OK)
        st = hl_want_rank(c, i, 1, HL_MAX_RANK);
    if (st == HL_OK)
        st = hl_want_rank(c, i + 1, 2, 2);
    if (st == HL_OK)
        st = hl_want_alike(c, i, i + 1);
    if (st == HL_OK && !hl_type_absent(b))
        st = hl_want_float(c, i + 2);
    if (st == HL_OK)
        st = hl_want_dtype(c, i + 3, HL_DTYPE_I32);
    if (st != HL_OK)
        return st;
    if (h->dim[h->rank - 1] != w->dim[1] || w->dim[0] == 0 || w->dim[1] == 0)
        return hl_err_set(HL_E_SHAPE, "h has %lld features, the weights take %lld",
                          (long long)h->dim[h->rank - 1], (long long)w->dim[1]);
    if (!hl_type_absent(b) && (b->rank != 1 || b->dim[0] != w->dim[0]))
        return hl_err_set(HL_E_SHAPE, "the bias must have %lld elements", (long long)w->dim[0]);
    if (hl_type_count(y) != hl_type_rows(h, h->rank - 1))
        return hl_err_set(HL_E_SHAPE, "%lld labels for %lld rows", (long long)hl_type_count(y),
                          (long long)hl_type_rows(h, h->rank - 1));
    return HL_OK;
}

/* --- the reference --- */

/* Adds the loss sum of in = h, w, bias; fills gradients scaled by slope where out[0] is not NULL. */
static void ref_head(const head *k, const double *const in[3], double slope, double *const out[3],
                     double *logits, double *total)
{
    const double *h = in[0], *w = in[1], *bias = in[2];
    for (int64_t i = 0; i < k->rows; i++) {
        if (k->label[i] == IGNORE)
            continue;
        double m = -HUGE_VAL, s = 0;
        for (int64_t c = 0; c < k->v; c++) {
            logits[c] = bias ? bias[c] : 0;
            for (int64_t e = 0; e < k->d; e++)
                logits[c] += h[i * k->d + e] * w[c * k->d + e];
            m = logits[c] > m ? logits[c] : m;
        }
        for (int64_t c = 0; c < k->v; c++)
            s += exp(logits[c] - m);
        *total += m + log(s) - logits[k->label[i]];
        for (int64_t c = 0; out[0] && c < k->v; c++) {
            double g = slope * (exp(logits[c] - m) / s - (c == k->label[i] ? 1 : 0));
            for (int64_t e = 0; e < k->d; e++) {
                out[0][i * k->d + e] += g * w[c * k->d + e];
                out[1][c * k->d + e] += g * h[i * k->d + e];
            }
            if (out[2])
                out[2][c] += g;
        }
    }
}

static hl_status run_ref(const hl_op_run *r, int i, double g, double *const out[3], double *loss,
                         double *count)
{
    head k = head_of(r->call, i);
    k.label = r->in[i + 3];
    int32_t *used = hl_alloc((size_t)(k.rows + 1) * sizeof *used);
    double *logits = hl_alloc((size_t)k.v * sizeof *logits), total = 0;
    hl_status st = used && logits ? HL_OK : HL_E_NOMEM;
    if (st == HL_OK) {
        k.used = used;
        st = collect_rows(&k);
    }
    if (st == HL_OK) {
        const size_t size[3] = {(size_t)(k.rows * k.d), (size_t)(k.v * k.d), (size_t)k.v};
        for (int o = 0; o < 3; o++)
            if (out[o])
                memset(out[o], 0, size[o] * sizeof(double));
        const double *const in[3] = {r->in[i], r->in[i + 1], r->in[i + 2]};
        ref_head(&k, in, k.n_used ? g / (double)k.n_used : 0, out, logits, &total);
        if (loss) {
            *loss = k.n_used ? total / (double)k.n_used : 0;
            *count = (double)k.n_used;
        }
    }
    hl_free(used);
    hl_free(logits);
    return st;
}

static double head_flops(const hl_call *c, int i, double products)
{
    head k = head_of(c, i);
    return products * row_flops(&k) * (double)k.rows;
}

/* --- lm_loss --- */

static hl_status shape_lm_loss(hl_call *c)
{
    c->out[0] = c->out[1] = hl_type_scalar(hl_computed(c, 0));
    c->n_out = 2;
    return check_head(c, 0);
}

static hl_status cpu_lm_loss(const hl_op_run *r)
{
    head k = head_of(r->call, 0);
    bind(r, &k, 0);
    return run_head(r, &k, r->out[0], r->out[1]);
}

static hl_status gpu_lm_loss(const hl_op_run *r)
{
    head k = head_of(r->call, 0);
    bind(r, &k, 0);
    return gpu_head_run(r, &k, NULL, r->out[0], r->out[1]);
}

static hl_status ref_lm_loss(const hl_op_run *r)
{
    double *const none[3] = {NULL, NULL, NULL};
    return run_ref(r, 0, 0, none, r->out[0], r->out[1]);
}

static hl_status vjp_lm_loss(hl_vjp *v)
{
    if (v->grad_out[0] == HL_NONE)
        return HL_OK;
    hl_id in[5] = {v->grad_out[0], v->in[0], v->in[1], v->in[2], v->in[3]};
    hl_id gh = hl_graph_append(v->g, hl_op_get(HL_OP_ID_lm_loss_vjp), in, 5, NULL);
    if (gh != HL_NONE) {
        v->grad_in[0] = gh;
        v->grad_in[1] = gh + 1;
        v->grad_in[2] = v->in[2] == HL_NONE ? HL_NONE : gh + 2;
    }
    return v->g->status;
}

static double flops_lm_loss(const hl_call *c)
{
    return head_flops(c, 0, 1);
}

static const hl_case cases_lm_loss[] = {
    {.what = "bias", HL_INS(HL_NORMAL(9, 17), HL_NORMAL(40, 17), HL_NORMAL(40), HL_INDEX(40, 9))},
    {.what = "no bias, some ignored",
     HL_INS(HL_NORMAL(3, 7, 8), HL_NORMAL(33, 8), HL_ABSENT, HL_LABEL(33, 3, 7))},
    {.what = "one row", HL_INS(HL_NORMAL(1, 8), HL_NORMAL(5, 8), HL_NORMAL(5), HL_INDEX(5, 1))},
    {.what = "label outside",
     HL_INS(HL_NORMAL(40, 8), HL_NORMAL(5, 8), HL_NORMAL(5), HL_INDEX(500, 40)),
     .expect = HL_E_ARG},
    {.what = "features differ",
     HL_INS(HL_NORMAL(9, 17), HL_NORMAL(40, 16), HL_NORMAL(40), HL_INDEX(40, 9)),
     .expect = HL_E_SHAPE},
    {.what = "bias of integers",
     HL_INS(HL_NORMAL(9, 17), HL_NORMAL(40, 17), HL_INDEX(3, 40), HL_INDEX(40, 9)),
     .expect = HL_E_DTYPE},
    {.what = "labels missing",
     HL_INS(HL_NORMAL(9, 17), HL_NORMAL(40, 17), HL_NORMAL(40), HL_INDEX(40, 8)),
     .expect = HL_E_SHAPE},
};
const hl_op hl_op_lm_loss = {
    .name = "lm_loss",
    .doc = "cross_entropy(h w^T + bias, labels) without keeping the logits: only labelled rows are "
           "computed, in tiles; h {.., D}, w {V, D}",
    .ins = "h w bias? labels",
    .outs = "loss count",
    .bf16 = 3,
    .shape = shape_lm_loss,
    .ref = ref_lm_loss,
    .gpu = gpu_lm_loss,
    .gpu_scratch = gpu_scratch_head,
    .cpu = cpu_lm_loss,
    .scratch = scratch_head,
    .vjp = vjp_lm_loss,
    .no_grad = 8,
    .no_second = true,
    .flops = flops_lm_loss,
    HL_CASES(cases_lm_loss),
    .tol = 64};

/* --- lm_loss_vjp --- */

static hl_status shape_lm_loss_vjp(hl_call *c)
{
    hl_status st = check_head(c, 1);
    hl_out_like(c, 0, 1);
    hl_out_like(c, 1, 2);
    c->n_out = 2;
    if (!hl_type_absent(&c->in[3]))
        hl_out_like(c, 2, 3);
    return st;
}

static hl_status cpu_lm_loss_vjp(const hl_op_run *r)
{
    head k = head_of(r->call, 1);
    bind(r, &k, 1);
    k.slope_times_count = *hl_in_f(r, 0);
    k.gh = r->out[0];
    k.gw = r->out[1];
    k.gbias = r->call->n_out > 2 ? r->out[2] : NULL;
    return run_head(r, &k, NULL, NULL);
}

static hl_status gpu_lm_loss_vjp(const hl_op_run *r)
{
    head k = head_of(r->call, 1);
    bind(r, &k, 1);
    k.gh = r->out[0];
    k.gw = r->out[1];
    k.gbias = r->call->n_out > 2 ? r->out[2] : NULL;
    return gpu_head_run(r, &k, hl_in_f(r, 0), NULL, NULL);
}

static hl_status ref_lm_loss_vjp(const hl_op_run *r)
{
    double *const out[3] = {r->out[0], r->out[1], r->call->n_out > 2 ? r->out[2] : NULL};
    return run_ref(r, 1, *hl_in_d(r, 0), out, NULL, NULL);
}

static double flops_lm_loss_vjp(const hl_call *c)
{
    return head_flops(c, 1, 3);
}

/* The logits' gradient is rounded, each of at most 40 terms of a sum by 2^-8 of itself: at most
 * sqrt(40) 2^-8 of the root of their squares' sum (Cauchy-Schwarz), which is the size of the sum. */
#define TOL_BF16 6.4

static const hl_case cases_lm_loss_vjp[] = {
    {.what = "bias", HL_INS(HL_SCALAR(0.7), HL_NORMAL(9, 17), HL_NORMAL(40, 17), HL_NORMAL(40),
                            HL_LABEL(40, 9))},
    {.what = "no bias", HL_INS(HL_SCALAR(1), HL_NORMAL(9, 17), HL_NORMAL(40, 17), HL_ABSENT,
                               HL_INDEX(40, 9))},
};
const hl_op hl_op_lm_loss_vjp = {.name = "lm_loss_vjp",
                                 .doc = "gradients of lm_loss",
                                 .ins = "g h w bias? labels",
                                 .outs = "gh gw gbias",
                                 .bf16 = 6,
                                 .tol_bf16 = TOL_BF16,
                                 .flags = HL_OP_NO_LUA,
                                 .shape = shape_lm_loss_vjp,
                                 .ref = ref_lm_loss_vjp,
                                 .cpu = cpu_lm_loss_vjp,
                                 .gpu = gpu_lm_loss_vjp,
                                 .gpu_scratch = gpu_scratch_head,
                                 .scratch = scratch_head,
                                 .flops = flops_lm_loss_vjp,
                                 HL_CASES(cases_lm_loss_vjp),
                                 .tol = 64};

/* --- lm_loss_grad --- */

static hl_status shape_lm_loss_grad(hl_call *c)
{
    hl_status st = check_head(c, 1);
    c->out[0] = c->out[1] = hl_type_scalar(hl_computed(c, 1));
    hl_out_like(c, 2, 1);
    hl_out_like(c, 3, 2);
    c->n_out = 4;
    if (!hl_type_absent(&c->in[3]))
        hl_out_like(c, 4, 3);
    return st;
}

static hl_status cpu_lm_loss_grad(const hl_op_run *r)
{
    head k = head_of(r->call, 1);
    bind(r, &k, 1);
    k.slope_times_count = *hl_in_f(r, 0);
    k.gh = r->out[2];
    k.gw = r->out[3];
    k.gbias = r->call->n_out > 4 ? r->out[4] : NULL;
    return run_head(r, &k, r->out[0], r->out[1]);
}

static hl_status gpu_lm_loss_grad(const hl_op_run *r)
{
    head k = head_of(r->call, 1);
    bind(r, &k, 1);
    k.gh = r->out[2];
    k.gw = r->out[3];
    k.gbias = r->call->n_out > 4 ? r->out[4] : NULL;
    return gpu_head_run(r, &k, hl_in_f(r, 0), r->out[0], r->out[1]);
}

static hl_status ref_lm_loss_grad(const hl_op_run *r)
{
    double *const out[3] = {r->out[2], r->out[3], r->call->n_out > 4 ? r->out[4] : NULL};
    return run_ref(r, 1, *hl_in_d(r, 0), out, r->out[0], r->out[1]);
}

const hl_op hl_op_lm_loss_grad = {.name = "lm_loss_grad",
                                  .doc = "lm_loss and its gradients for the cotangent g, in one",
                                  .ins = "g h w bias? labels",
                                  .outs = "loss count gh gw gbias",
                                  .bf16 = 6,
                                  .tol_bf16 = TOL_BF16,
                                  .flags = HL_OP_NO_LUA,
                                  .shape = shape_lm_loss_grad,
                                  .ref = ref_lm_loss_grad,
                                  .cpu = cpu_lm_loss_grad,
                                  .gpu = gpu_lm_loss_grad,
                                  .gpu_scratch = gpu_scratch_head,
                                  .scratch = scratch_head,
                                  .flops = flops_lm_loss_vjp,
                                  HL_CASES(cases_lm_loss_vjp),
                                  .tol = 64};
