#include "app/store/event.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "app/store/frame.h"

/* Field numbers of Event, Summary, Value, SummaryMetadata, TensorProto; DataType and DataClass. */
enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP = 2,
    EVENT_FILE_VERSION = 3,
    EVENT_SUMMARY = 5,
    EVENT_SESSION_LOG = 7,
    SESSION_STATUS = 1,
    SESSION_START = 1,
    SUMMARY_VALUE = 1,
    VALUE_TAG = 1,
    VALUE_SIMPLE = 2,
    VALUE_HISTO = 5,
    VALUE_TENSOR = 8,
    VALUE_METADATA = 9,
    METADATA_PLUGIN_DATA = 1,
    METADATA_DATA_CLASS = 4,
    PLUGIN_NAME = 1,
    PLUGIN_CONTENT = 2,
    TENSOR_DTYPE = 1,
    TENSOR_SHAPE = 2,
    TENSOR_CONTENT = 4,
    TENSOR_DOUBLE_VAL = 6,
    TENSOR_STRING_VAL = 8,
    SHAPE_DIM = 2,
    DIM_SIZE = 1,
    DT_FLOAT = 1,
    DT_DOUBLE = 2,
    DT_STRING = 7,
    DATA_CLASS_SCALAR = 1,
    DATA_CLASS_TENSOR = 2,
    HISTO_NON_FINITE = 15 /* ours: unknown to others, who skip it; left out when 0 */
};

/* A field of n bytes with a number below 16. */
static size_t field_bytes(size_t n)
{
    return 1 + hl_pb_varint_bytes(n) + n;
}

static void add_stamp(hl_str *b, hl_stamp at)
{
    hl_pb_add_double(b, EVENT_WALL_TIME, (double)at.t_us / 1e6);
    if (at.step != 0)
        hl_pb_add_uint(b, EVENT_STEP, (uint64_t)at.step);
}

/* Opens a record of one value whose fields after the tag will take body_bytes. */
static size_t begin_value(hl_str *b, const char *tag, hl_stamp at, size_t body_bytes)
{
    size_t begin = hl_frame_begin(b);
    size_t tag_n = strlen(tag), value_n = field_bytes(tag_n) + body_bytes;
    add_stamp(b, at);
    hl_pb_add_head(b, EVENT_SUMMARY, field_bytes(value_n));
    hl_pb_add_head(b, SUMMARY_VALUE, value_n);
    hl_pb_add_bytes(b, VALUE_TAG, tag, tag_n);
    return begin;
}

static size_t metadata_bytes(const char *plugin, const char *content)
{
    size_t n = field_bytes(strlen(plugin));
    if (*content)
        n += field_bytes(strlen(content));
    return field_bytes(field_bytes(n) + 2);
}

static void add_metadata(hl_str *b, const char *plugin, const char *content, unsigned data_class)
{
    size_t n = field_bytes(strlen(plugin));
    if (*content)
        n += field_bytes(strlen(content));
    hl_pb_add_head(b, VALUE_METADATA, field_bytes(n) + 2);
    hl_pb_add_head(b, METADATA_PLUGIN_DATA, n);
    hl_pb_add_bytes(b, PLUGIN_NAME, plugin, strlen(plugin));
    if (*content)
        hl_pb_add_bytes(b, PLUGIN_CONTENT, content, strlen(content));
    hl_pb_add_uint(b, METADATA_DATA_CLASS, data_class);
}

bool hl_event_put_version(hl_str *out)
{
    static const char version[] = "brain.Event:2";
    size_t begin = hl_frame_begin(out);
    hl_pb_add_bytes(out, EVENT_FILE_VERSION, version, sizeof version - 1);
    return hl_frame_end(out, begin);
}

bool hl_event_put_start(hl_str *out, hl_stamp at)
{
    size_t begin = hl_frame_begin(out);
    add_stamp(out, at);
    hl_pb_add_head(out, EVENT_SESSION_LOG, 2);
    hl_pb_add_uint(out, SESSION_STATUS, SESSION_START);
    return hl_frame_end(out, begin);
}

bool hl_event_put_scalar(hl_str *out, const char *tag, hl_stamp at, float value)
{
    size_t begin = begin_value(out, tag, at, 5);
    hl_pb_add_float(out, VALUE_SIMPLE, value);
    return hl_frame_end(out, begin);
}

bool hl_event_put_wide(hl_str *out, const char *tag, hl_stamp at, double value)
{
    static const char plugin[] = "scalars"; /* so that TensorBoard draws it as a scalar */
    size_t tensor_n = 2 + field_bytes(0) + field_bytes(8);
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    size_t begin = begin_value(out, tag, at, field_bytes(tensor_n) + metadata_bytes(plugin, ""));
    hl_pb_add_head(out, VALUE_TENSOR, tensor_n);
    hl_pb_add_uint(out, TENSOR_DTYPE, DT_DOUBLE);
    hl_pb_add_head(out, TENSOR_SHAPE, 0);
    hl_pb_add_head(out, TENSOR_DOUBLE_VAL, 8);
    hl_pb_add_le64(out, bits);
    add_metadata(out, plugin, "", DATA_CLASS_SCALAR);
    return hl_frame_end(out, begin);
}

double hl_hist_edge(int i)
{
    if (i == HL_HIST_BINS - 1)
        return DBL_MAX;
    return i < 31 ? -ldexp(1.0, 11 - i) : i == 31 ? 0.0 : ldexp(1.0, i - 51);
}

bool hl_event_put_hist(hl_str *out, const char *tag, hl_stamp at, const hl_hist *h)
{
    const double head[5] = {h->min, h->max, h->num, h->sum, h->sum_squares};
    size_t bins_n = sizeof h->bin;
    size_t histo_n =
        9 * sizeof head / sizeof head[0] + 2 * field_bytes(bins_n) + (h->n_non_finite != 0 ? 9 : 0);
    size_t begin = begin_value(out, tag, at, field_bytes(histo_n));
    hl_pb_add_head(out, VALUE_HISTO, histo_n);
    for (uint32_t i = 0; i < 5; i++)
        hl_pb_add_double(out, i + 1, head[i]);
    for (int part = 0; part < 2; part++) {
        hl_pb_add_head(out, part == 0 ? 6 : 7, bins_n);
        for (int i = 0; i < HL_HIST_BINS; i++) {
            double v = part == 0 ? hl_hist_edge(i) : h->bin[i];
            uint64_t bits;
            memcpy(&bits, &v, sizeof bits);
            hl_pb_add_le64(out, bits);
        }
    }
    if (h->n_non_finite != 0)
        hl_pb_add_double(out, HISTO_NON_FINITE, h->n_non_finite);
    return hl_frame_end(out, begin);
}

static size_t dim_bytes(size_t n)
{
    return n ? 1 + hl_pb_varint_bytes(n) : 0;
}

static void add_dim(hl_str *b, size_t n)
{
    hl_pb_add_head(b, SHAPE_DIM, dim_bytes(n));
    if (n)
        hl_pb_add_uint(b, DIM_SIZE, n);
}

bool hl_event_put_curve(hl_str *out, const char *tag, hl_stamp at, const void *v, size_t rows,
                        size_t cols)
{
    const size_t n = rows * cols;
    const size_t shape_n =
        (rows != 1 ? field_bytes(dim_bytes(rows)) : 0) + field_bytes(dim_bytes(cols));
    size_t tensor_n = 2 + field_bytes(shape_n) + field_bytes(4 * n);
    size_t begin =
        begin_value(out, tag, at, field_bytes(tensor_n) + metadata_bytes(HL_EVENT_PLUGIN, "curve"));
    hl_pb_add_head(out, VALUE_TENSOR, tensor_n);
    hl_pb_add_uint(out, TENSOR_DTYPE, DT_FLOAT);
    hl_pb_add_head(out, TENSOR_SHAPE, shape_n);
    if (rows != 1)
        add_dim(out, rows);
    add_dim(out, cols);
    hl_pb_add_bytes(out, TENSOR_CONTENT, v, 4 * n);
    add_metadata(out, HL_EVENT_PLUGIN, "curve", DATA_CLASS_TENSOR);
    return hl_frame_end(out, begin);
}

bool hl_event_put_json(hl_str *out, const char *tag, hl_stamp at, const char *content,
                       const char *object)
{
    size_t n = strlen(object);
    size_t tensor_n = 2 + field_bytes(0) + field_bytes(n);
    size_t begin =
        begin_value(out, tag, at, field_bytes(tensor_n) + metadata_bytes(HL_EVENT_PLUGIN, content));
    hl_pb_add_head(out, VALUE_TENSOR, tensor_n);
    hl_pb_add_uint(out, TENSOR_DTYPE, DT_STRING);
    hl_pb_add_head(out, TENSOR_SHAPE, 0);
    hl_pb_add_bytes(out, TENSOR_STRING_VAL, object, n);
    add_metadata(out, HL_EVENT_PLUGIN, content, DATA_CLASS_TENSOR);
    return hl_frame_end(out, begin);
}
