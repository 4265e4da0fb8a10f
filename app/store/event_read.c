#include "app/store/event.h"

#include <math.h>
#include <string.h>

enum { DT_FLOAT = 1, DT_DOUBLE = 2, DT_STRING = 7 };

bool hl_bytes_equal(hl_bytes a, const char *text)
{
    return strlen(text) == a.n && (a.n == 0 || memcmp(a.s, text, a.n) == 0);
}

static hl_bytes bytes_of(const hl_pb_field *f)
{
    return (hl_bytes){(const char *)f->bytes, f->n};
}

/* Strangers' files may hold any double. */
static int64_t microseconds(double seconds)
{
    return fabs(seconds) < 9e12 ? (int64_t)llround(seconds * 1e6) : 0;
}

bool hl_event_parse(const void *payload, size_t n, hl_event *out)
{
    hl_event ev = {0};
    hl_pb p = hl_pb_open(payload, n);
    hl_pb_field f;
    while (hl_pb_next(&p, &f)) {
        if (f.number == 1 && f.wire == HL_PB_FIXED64) {
            ev.at.t_us = microseconds(hl_pb_as_double(f.value));
        } else if (f.number == 2 && f.wire == HL_PB_VARINT) {
            ev.at.step = (int64_t)f.value;
        } else if (f.number == 3 && f.wire == HL_PB_BYTES) {
            ev.is_version = true;
        } else if (f.number == 5 && f.wire == HL_PB_BYTES) {
            ev.values = hl_pb_open(f.bytes, f.n);
        } else if (f.number == 7 && f.wire == HL_PB_BYTES) {
            hl_pb log = hl_pb_open(f.bytes, f.n);
            for (hl_pb_field s; hl_pb_next(&log, &s);)
                ev.is_start |= s.number == 1 && s.wire == HL_PB_VARINT && s.value == 1;
        }
    }
    if (p.bad)
        return false;
    *out = ev;
    return true;
}

static void parse_metadata(hl_bytes message, hl_bytes *plugin, hl_bytes *content)
{
    hl_pb p = hl_pb_open(message.s, message.n);
    for (hl_pb_field f; hl_pb_next(&p, &f);) {
        if (f.number != 1 || f.wire != HL_PB_BYTES)
            continue;
        hl_pb data = hl_pb_open(f.bytes, f.n);
        for (hl_pb_field d; hl_pb_next(&data, &d);) {
            if (d.wire == HL_PB_BYTES && d.number == 1)
                *plugin = bytes_of(&d);
            else if (d.wire == HL_PB_BYTES && d.number == 2)
                *content = bytes_of(&d);
        }
    }
}

typedef struct tensor {
    uint64_t dtype;
    uint64_t dim[2]; /* the first two */
    int rank;
    hl_bytes raw;  /* tensor_content, or the packed list that goes with the type */
    hl_bytes text; /* first string */
    bool has_text;
} tensor;

static void parse_shape(hl_bytes message, tensor *t)
{
    hl_pb p = hl_pb_open(message.s, message.n);
    t->rank = 0;
    for (hl_pb_field f; hl_pb_next(&p, &f);) {
        if (f.number != 2 || f.wire != HL_PB_BYTES)
            continue;
        uint64_t size = 0; /* a size of 0 is not written */
        hl_pb dim = hl_pb_open(f.bytes, f.n);
        for (hl_pb_field d; hl_pb_next(&dim, &d);)
            if (d.number == 1 && d.wire == HL_PB_VARINT)
                size = d.value;
        if (t->rank < 2)
            t->dim[t->rank] = size;
        t->rank++;
    }
}

static bool parse_tensor(hl_bytes message, tensor *out)
{
    tensor t = {0};
    hl_pb p = hl_pb_open(message.s, message.n);
    for (hl_pb_field f; hl_pb_next(&p, &f);) {
        if (f.number == 1 && f.wire == HL_PB_VARINT) {
            t.dtype = f.value;
        } else if (f.number == 2 && f.wire == HL_PB_BYTES) {
            parse_shape(bytes_of(&f), &t);
        } else if (f.number == 8 && f.wire == HL_PB_BYTES && !t.has_text) {
            t.text = bytes_of(&f);
            t.has_text = true;
        } else if (f.number == 4 || f.number == 5 || f.number == 6) {
            /* content; float list and double list: packed, or a single unpacked element */
            bool list = f.number != 4;
            if (f.wire == HL_PB_BYTES || (list && f.wire != HL_PB_VARINT))
                t.raw = bytes_of(&f);
        }
    }
    *out = t;
    return !p.bad;
}

static void show_tensor(hl_event_value *v, hl_bytes message, hl_bytes plugin)
{
    tensor t;
    if (!parse_tensor(message, &t))
        return;
    const unsigned char *raw = (const unsigned char *)t.raw.s;
    if (t.dtype == DT_STRING && t.has_text) {
        v->known = true;
        v->kind = HL_SERIES_JSON;
        v->detail = t.text;
        if (!hl_bytes_equal(plugin, HL_EVENT_PLUGIN))
            v->content = (hl_bytes){"text", 4};
    } else if (t.dtype == DT_DOUBLE && t.raw.n == 8) {
        v->known = true;
        v->kind = HL_SERIES_WIDE;
        v->number = hl_pb_as_double(hl_pb_load_le64(raw));
    } else if (t.dtype == DT_FLOAT && t.raw.n == 4 && hl_bytes_equal(plugin, "scalars")) {
        v->known = true;
        v->kind = HL_SERIES_SCALAR;
        v->number = (double)hl_pb_as_float(hl_pb_load_le32(raw));
    } else if (t.dtype == DT_FLOAT && t.raw.n % 4 == 0) {
        v->known = true;
        v->kind = HL_SERIES_CURVE;
        v->detail = t.raw;
        v->n_floats = t.raw.n / 4;
        v->rows = 1;
        v->cols = v->n_floats;
        /* a stranger's shape need not fit its numbers: then they are a vector */
        if (t.rank == 2 && t.dim[1] > 0
                ? t.dim[0] == v->n_floats / t.dim[1] && v->n_floats % t.dim[1] == 0
                : t.rank == 2 && v->n_floats == 0) {
            v->rows = (size_t)t.dim[0];
            v->cols = (size_t)t.dim[1];
        }
    }
}

static bool parse_value(hl_bytes message, hl_event_value *out)
{
    hl_event_value v = {0};
    hl_bytes plugin = {0}, tensor_message = {0};
    bool has_tensor = false;
    hl_pb p = hl_pb_open(message.s, message.n);
    for (hl_pb_field f; hl_pb_next(&p, &f);) {
        if (f.number == 1 && f.wire == HL_PB_BYTES) {
            v.tag = bytes_of(&f);
        } else if (f.number == 2 && f.wire == HL_PB_FIXED32) {
            v.known = true;
            v.kind = HL_SERIES_SCALAR;
            v.number = (double)hl_pb_as_float(f.value);
        } else if (f.number == 5 && f.wire == HL_PB_BYTES) {
            v.known = true;
            v.kind = HL_SERIES_HIST;
            v.detail = bytes_of(&f);
        } else if (f.number == 8 && f.wire == HL_PB_BYTES) {
            has_tensor = true;
            tensor_message = bytes_of(&f);
        } else if (f.number == 9 && f.wire == HL_PB_BYTES) {
            parse_metadata(bytes_of(&f), &plugin, &v.content);
        }
    }
    if (p.bad)
        return false;
    if (has_tensor) /* last, because the metadata decides how it is shown */
        show_tensor(&v, tensor_message, plugin);
    *out = v;
    return true;
}

bool hl_event_next_value(hl_event *ev, hl_event_value *out)
{
    for (hl_pb_field f; hl_pb_next(&ev->values, &f);) {
        if (f.number != 1 || f.wire != HL_PB_BYTES)
            continue;
        if (parse_value(bytes_of(&f), out))
            return true;
        ev->values.bad = true;
    }
    return false;
}

/* A packed list of exactly our number of doubles. */
static bool read_bins(const hl_pb_field *f, double out[HL_HIST_BINS])
{
    if (f->wire != HL_PB_BYTES || f->n != 8 * (size_t)HL_HIST_BINS)
        return false;
    for (size_t i = 0; i < HL_HIST_BINS; i++)
        out[i] = hl_pb_as_double(hl_pb_load_le64(f->bytes + 8 * i));
    return true;
}

bool hl_value_hist(const hl_event_value *v, hl_hist *out)
{
    hl_hist h = {0};
    double edge[HL_HIST_BINS];
    bool has_edges = false, has_bins = false;
    double *const head[5] = {&h.min, &h.max, &h.num, &h.sum, &h.sum_squares};
    hl_pb p = hl_pb_open(v->detail.s, v->detail.n);
    for (hl_pb_field f; hl_pb_next(&p, &f);) {
        if (f.number <= 5 && f.wire == HL_PB_FIXED64)
            *head[f.number - 1] = hl_pb_as_double(f.value);
        else if (f.number == 6)
            has_edges = read_bins(&f, edge);
        else if (f.number == 7)
            has_bins = read_bins(&f, h.bin);
        else if (f.number == 15 && f.wire == HL_PB_FIXED64)
            h.n_non_finite = hl_pb_as_double(f.value);
    }
    if (p.bad || !has_edges || !has_bins)
        return false;
    for (int i = 0; i < HL_HIST_BINS; i++)
        if (edge[i] != hl_hist_edge(i))
            return false;
    *out = h;
    return true;
}

void hl_value_floats(const hl_event_value *v, float *out)
{
    const unsigned char *raw = (const unsigned char *)v->detail.s;
    for (size_t i = 0; i < v->n_floats; i++)
        out[i] = hl_pb_as_float(hl_pb_load_le32(raw + 4 * i));
}
