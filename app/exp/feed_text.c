/* Texts as a source: the loader of data/ under the names that the driver knows. */
#include "app/exp/feed.h"
#include "engine/base/mem.h"

/* ---- feed ------------------------------------------------------------------------------------ */

static hl_status text_next(void *self, hl_feed_batch *out)
{
    const hl_batch *b = NULL;
    hl_status st = hl_loader_next(self, &b);
    if (st != HL_OK)
        return st;
    *out = (hl_feed_batch){.of = b};
    if (b)
        *out = (hl_feed_batch){.data = {b->ids, b->labels},
                               .n_rows = b->batch_size,
                               .n_real = b->n_real,
                               .n_items = b->n_tokens,
                               .n_labelled = b->n_labelled,
                               .next = b->next,
                               .wait_ns = b->wait_ns,
                               .of = b};
    return HL_OK;
}

static void text_give_back(void *self, const hl_feed_batch *b)
{
    hl_loader_give_back(self, b->of);
}

static hl_status text_seek(void *self, hl_position to)
{
    return hl_loader_seek(self, to);
}

static void text_close(void *self)
{
    hl_loader_close(self);
}

/* ---- source ---------------------------------------------------------------------------------- */

static hl_loader_params loader_params(const hl_text_params *t, hl_part part)
{
    hl_loader_params p = hl_loader_params_default();
    p.corpus = t->corpus;
    p.objective = t->objective;
    p.seq_len = t->seq_len;
    p.batch_size = part == HL_PART_TRAIN ? t->batch_size : t->eval_batch_size;
    p.seed = t->seed;
    p.mask_prob = t->mask_prob;
    p.part = part;
    p.mode = part == HL_PART_TRAIN ? HL_LOADER_TRAIN : HL_LOADER_EVAL;
    return p;
}

static hl_status text_plan(const void *self, hl_part part, int64_t *mem_bytes)
{
    const hl_loader_params p = loader_params(self, part);
    return hl_loader_plan(&p, mem_bytes);
}

static hl_status text_open(const void *self, hl_part part, hl_position start, hl_feed *out)
{
    hl_loader *l;
    hl_loader_params p = loader_params(self, part);
    p.start = start;
    hl_status st = hl_loader_open(&p, &l);
    if (st == HL_OK)
        *out = (hl_feed){
            l, text_next, text_give_back, text_seek, text_close, hl_loader_n_blocks(l), true};
    return st;
}

static void text_free(void *self)
{
    hl_corpus_unref(((hl_text_params *)self)->corpus);
    hl_free(self);
}

hl_status hl_source_text(const hl_text_params *p, hl_source *out)
{
    hl_text_params *t = hl_alloc(sizeof *t);
    if (!t)
        return HL_E_NOMEM;
    *t = *p;
    hl_corpus_ref(t->corpus);
    const hl_corpus_info *i = hl_corpus_get_info(t->corpus);
    *out = (hl_source){
        .self = t,
        .label = i->label,
        .is_generated = i->is_generated,
        .array = {"ids", "labels"},
        .items = "tokens",
        .unit = "tok",
        .n_items = {i->part[HL_PART_TRAIN].n_tokens, i->part[HL_PART_EVAL].n_tokens},
        .hash = i->hash,
        .is_text = true,
        .bytes_per_item = i->part[HL_PART_EVAL].bytes_per_token,
        .plan = text_plan,
        .open = text_open,
        .tok = hl_corpus_tok(t->corpus),
        .free = text_free,
    };
    return HL_OK;
}

void hl_source_done(hl_source *s)
{
    if (s->self)
        s->free(s->self);
    *s = (hl_source){0};
}

void hl_feed_close(hl_feed *f)
{
    if (f->self)
        f->close(f->self);
    *f = (hl_feed){0};
}
