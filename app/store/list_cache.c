#define _GNU_SOURCE
#include "app/store/list_cache.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/store/run_known.h"
#include "engine/base/crc32c.h"
#include "engine/base/fs.h"
#include "engine/base/hash.h"
#include "engine/base/vec.h"

/* Head, then a record for each run, in the layout of this program on this machine:
 *
 *     u32 bytes of the record, the directory's name, its version, fixed, the row's texts,
 *     u32 n, n x (double, key, text), u32 n, n x (hl_run_scalar, tag)
 *
 * with texts that end in NUL. */
static const char magic[8] = "HLRUNS3";
enum { BYTES_MAX = 1 << 30, VALUES_MAX = 1 << 16 };

typedef struct head {
    char magic[8];
    uint32_t layout, crc; /* of what follows */
    uint64_t n_bytes;
} head;

/* What a row has beside texts and lists. */
typedef struct fixed {
    hl_row_version version;
    hl_run_row row; /* its pointers are nothing */
    hl_run_state written;
    double created, within_s;
    bool has_config;
} fixed;

/* Another program's rows may have other members of the same size: the compiler's date is not
 * known to it, but sizes, offsets and states are. */
static uint32_t layout(void)
{
    const uint64_t numbers[] = {sizeof(fixed),
                                sizeof(hl_run_row),
                                sizeof(hl_run_scalar),
                                sizeof(hl_run_quant),
                                offsetof(hl_run_row, t_last_us),
                                offsetof(hl_run_row, method),
                                offsetof(hl_run_row, trace),
                                offsetof(hl_run_row, mine),
                                offsetof(hl_run_scalar, bad_step),
                                HL_ROW_TEXTS,
                                HL_RUN_STATE_COUNT,
                                HL_TRACE_MAX,
                                HL_RUN_QUANTS};
    return (uint32_t)hl_hash_bytes(HL_HASH_START, numbers, sizeof numbers);
}

static char *file_path(const char *runs_dir)
{
    char place[440], name[40];
    char *absolute = hl_fs_absolute(runs_dir);
    const uint64_t h = absolute ? hl_hash_str(HL_HASH_START, absolute) : 0;
    hl_free(absolute);
    if (!h || !hl_fs_cache_dir(place, sizeof place))
        return NULL;
    snprintf(name, sizeof name, "runs-%016llx", (unsigned long long)h);
    return hl_fs_join(place, name);
}

/* ---- reading ---- */

typedef struct record {
    const char *name, *at, *end;
} record;

struct hl_list_cache {
    char *bytes;
    HL_VEC(record) records; /* sorted by name */
};

/* The text at *at, which is moved behind it; NULL: it does not end before `end`. */
static const char *take_text(const char **at, const char *end)
{
    const char *text = *at, *nul = text < end ? memchr(text, 0, (size_t)(end - text)) : NULL;
    *at = nul ? nul + 1 : end;
    return nul ? text : NULL;
}

static bool take(const char **at, const char *end, void *to, size_t n)
{
    if ((size_t)(end - *at) < n)
        return false;
    memcpy(to, *at, n);
    *at += n;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const record *)a)->name, ((const record *)b)->name);
}

static bool find_records(hl_list_cache *c, const char *at, const char *end)
{
    uint32_t n;
    while (take(&at, end, &n, sizeof n)) {
        record r = {.at = at, .end = at + n};
        if ((size_t)(end - at) < n)
            return false;
        r.name = take_text(&r.at, r.end);
        if (!r.name || hl_vec_push(&c->records, r) != HL_OK)
            return false;
        at += n;
    }
    if (c->records.n)
        qsort(c->records.at, c->records.n, sizeof *c->records.at, by_name);
    return at == end;
}

hl_list_cache *hl_list_cache_open(const char *runs_dir)
{
    char *path = file_path(runs_dir);
    hl_list_cache *c = path ? hl_alloc_zero(1, sizeof *c) : NULL;
    size_t n = 0;
    head h;
    const bool is_read = c && hl_fs_read(path, BYTES_MAX, &c->bytes, &n) == HL_OK;
    const char *at = is_read ? c->bytes : NULL, *end = is_read ? c->bytes + n : NULL;
    const bool good = is_read && take(&at, end, &h, sizeof h) &&
                      memcmp(h.magic, magic, sizeof magic) == 0 && h.layout == layout() &&
                      h.n_bytes == (uint64_t)(end - at) &&
                      h.crc == hl_crc32c(0, at, (size_t)(end - at)) && find_records(c, at, end);
    if (!good) {
        hl_list_cache_close(c);
        c = NULL;
        hl_err_clear();
    }
    hl_free(path);
    return c;
}

void hl_list_cache_close(hl_list_cache *c)
{
    if (!c)
        return;
    hl_vec_done(&c->records);
    hl_free(c->bytes);
    hl_free(c);
}

static bool take_values(const char **at, const char *end, hl_run_row *row)
{
    HL_VEC(hl_run_value) all = {0};
    uint32_t n;
    bool good = take(at, end, &n, sizeof n) && n <= VALUES_MAX;
    for (uint32_t i = 0; good && i < n; i++) {
        hl_run_value v = {0};
        good = take(at, end, &v.number, sizeof v.number) && (v.key = take_text(at, end)) &&
               (v.text = take_text(at, end)) && hl_vec_push(&all, v) == HL_OK;
    }
    row->config = good ? hl_run_values_copy(all.at, all.n) : NULL;
    hl_vec_done(&all);
    return row->config != NULL;
}

static bool take_metrics(const char **at, const char *end, hl_run_row *row)
{
    HL_VEC(hl_run_scalar) all = {0};
    uint32_t n;
    bool good = take(at, end, &n, sizeof n) && n <= VALUES_MAX;
    for (uint32_t i = 0; good && i < n; i++) {
        hl_run_scalar m;
        good = take(at, end, &m, sizeof m) && (m.tag = take_text(at, end)) &&
               hl_vec_push(&all, m) == HL_OK;
    }
    row->metrics = good ? hl_run_metrics_copy(all.at, all.n) : NULL;
    hl_vec_done(&all);
    return row->metrics != NULL;
}

/* A row that a healthy program wrote; the rest is nonsense that the checksum did not see. */
static bool is_plausible(const fixed *f)
{
    const hl_run_row *r = &f->row;
    return (unsigned)r->state < HL_RUN_STATE_COUNT && (unsigned)f->written < HL_RUN_STATE_COUNT &&
           r->n_trace >= 0 && r->n_trace <= HL_TRACE_MAX && r->n_quant >= 0 &&
           r->n_quant <= HL_RUN_QUANTS;
}

/* The texts in the order of hl_row_store.text; the place of the directory holds "". */
static bool take_texts(const char **at, const char *end, const char *dir, hl_row_store *out)
{
    const char **slot[HL_ROW_TEXTS];
    hl_row_slots(&out->row, slot);
    for (int i = 0; i < HL_ROW_TEXTS; i++) {
        const char *text = take_text(at, end);
        if (!text)
            return false;
        out->text[i] = hl_strdup(slot[i] == &out->row.dir ? dir : text);
        *slot[i] = out->text[i];
        if (!out->text[i])
            return false;
    }
    return true;
}

bool hl_list_cache_get(const hl_list_cache *c, const char *dir, hl_row_version version,
                       hl_row_store *out)
{
    const record key = {.name = hl_fs_base(dir)};
    const record *r = c && c->records.n ? bsearch(&key, c->records.at, c->records.n,
                                                  sizeof *c->records.at, by_name)
                                        : NULL;
    fixed f;
    if (!r)
        return false;
    const char *at = r->at;
    if (!take(&at, r->end, &f, sizeof f) || !version.inode || f.version.inode != version.inode ||
        f.version.size != version.size || f.version.t_ns != version.t_ns || !is_plausible(&f))
        return false;
    hl_row_store row = {.row = f.row,
                        .written = f.written,
                        .created = f.created,
                        .within_s = f.within_s,
                        .has_config = f.has_config};
    row.row.config = NULL;
    row.row.metrics = NULL;
    if (!take_texts(&at, r->end, dir, &row) || !take_values(&at, r->end, &row.row) ||
        !take_metrics(&at, r->end, &row.row)) {
        hl_row_done(&row);
        return false;
    }
    *out = row;
    return true;
}

/* ---- writing ---- */

struct hl_list_saving {
    hl_str body;
};

hl_list_saving *hl_list_saving_begin(void)
{
    return hl_alloc_zero(1, sizeof(hl_list_saving));
}

static void add_text(hl_str *b, const char *text)
{
    hl_str_addn(b, text, strlen(text) + 1);
}

static void add_lists(hl_str *b, const hl_run_row *row)
{
    const uint32_t n_values = row->config ? (uint32_t)row->config->n : 0;
    const uint32_t n_metrics = row->metrics ? (uint32_t)row->metrics->n : 0;
    hl_str_addn(b, (const char *)&n_values, sizeof n_values);
    for (uint32_t i = 0; i < n_values; i++) {
        const hl_run_value *v = &row->config->at[i];
        hl_str_addn(b, (const char *)&v->number, sizeof v->number);
        add_text(b, v->key);
        add_text(b, v->text);
    }
    hl_str_addn(b, (const char *)&n_metrics, sizeof n_metrics);
    for (uint32_t i = 0; i < n_metrics; i++) {
        hl_run_scalar m = row->metrics->at[i];
        m.tag = NULL;
        hl_str_addn(b, (const char *)&m, sizeof m);
        add_text(b, row->metrics->at[i].tag);
    }
}

void hl_list_saving_add(hl_list_saving *s, const hl_row_store *row, hl_row_version version)
{
    fixed f;
    const char **slot[HL_ROW_TEXTS];
    hl_str *b = &s->body;
    if (!version.inode || !row->row.config || !row->row.metrics)
        return; /* a row that only says why it cannot be read is read again */
    const size_t from = b->n;
    uint32_t n = 0;
    memset(&f, 0, sizeof f);
    f = (fixed){version, row->row, row->written, row->created, row->within_s, row->has_config};
    hl_row_slots(&f.row, slot);
    hl_str_addn(b, (const char *)&n, sizeof n);
    add_text(b, hl_fs_base(row->row.dir));
    for (int i = 0; i < HL_ROW_TEXTS; i++)
        *slot[i] = NULL;
    f.row.config = NULL;
    f.row.metrics = NULL;
    hl_str_addn(b, (const char *)&f, sizeof f);
    hl_run_row texts = row->row;
    hl_row_slots(&texts, slot);
    for (int i = 0; i < HL_ROW_TEXTS; i++)
        add_text(b, slot[i] == &texts.dir ? "" : *slot[i]);
    add_lists(b, &row->row);
    if (hl_str_status(b) == HL_OK) {
        n = (uint32_t)(b->n - from - sizeof n);
        memcpy(b->s + from, &n, sizeof n);
    }
}

/* Under another name first, then renamed; not synced: after a power failure the checksum tells. */
static void write_file(const char *path, const head *h, const hl_str *body)
{
    hl_str aside = {0};
    hl_str_addf(&aside, "%s.%ld", path, (long)getpid());
    const int fd = hl_str_status(&aside) == HL_OK
                       ? open(aside.s, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)
                       : -1;
    const bool written = fd >= 0 && hl_fs_write_all(fd, h, sizeof *h, aside.s) == HL_OK &&
                         hl_fs_write_all(fd, body->s, body->n, aside.s) == HL_OK;
    const bool closed = fd >= 0 && close(fd) == 0;
    if (fd >= 0 && (!written || !closed || rename(aside.s, path) != 0))
        (void)unlink(aside.s);
    hl_str_done(&aside);
}

void hl_list_saving_end(hl_list_saving *s, const char *runs_dir)
{
    if (!s)
        return;
    char *path = file_path(runs_dir), *folder = path ? hl_fs_parent(path) : NULL;
    if (folder && s->body.n && hl_str_status(&s->body) == HL_OK &&
        hl_fs_make_dir(folder) == HL_OK) {
        head h = {
            .layout = layout(), .crc = hl_crc32c(0, s->body.s, s->body.n), .n_bytes = s->body.n};
        memcpy(h.magic, magic, sizeof magic);
        write_file(path, &h, &s->body);
    }
    hl_err_clear(); /* what makes reading faster is nobody's trouble */
    hl_free(folder);
    hl_free(path);
    hl_str_done(&s->body);
    hl_free(s);
}
