/* The records of an event file: TensorBoard's `Event` messages, as far as we write them, and what
 * others write that we can show. docs/run-format.md describes the bytes. */
#ifndef HL_STORE_EVENT_H
#define HL_STORE_EVENT_H

#include "app/hl_app.h"
#include "app/store/proto.h"

#define HL_EVENT_PLUGIN "hoplab"

/* Writing: each appends one framed record to `out` and answers false when memory ran out (`out` is
 * then as before). Text arguments are NUL-terminated. */
typedef struct hl_stamp {
    int64_t step;
    int64_t t_us; /* unix time */
} hl_stamp;

bool hl_event_put_version(hl_str *out);
/* From here on, points of earlier segments with step >= at.step are superseded. */
bool hl_event_put_start(hl_str *out, hl_stamp at);
bool hl_event_put_scalar(hl_str *out, const char *tag, hl_stamp at, float value);
bool hl_event_put_wide(hl_str *out, const char *tag, hl_stamp at, double value);
bool hl_event_put_hist(hl_str *out, const char *tag, hl_stamp at, const hl_hist *h);
/* v: rows x cols little-endian floats at any alignment; one row is stored as a vector */
bool hl_event_put_curve(hl_str *out, const char *tag, hl_stamp at, const void *v, size_t rows,
                        size_t cols);
bool hl_event_put_json(hl_str *out, const char *tag, hl_stamp at, const char *content,
                       const char *object);

/* Reading. Everything borrowed points into the payload. */
typedef struct hl_bytes {
    const char *s; /* not NUL-terminated */
    size_t n;
} hl_bytes;
bool hl_bytes_equal(hl_bytes a, const char *text);

typedef struct hl_event {
    hl_stamp at;
    bool is_version, is_start;
    hl_pb values; /* what hl_event_next_value walks */
} hl_event;

typedef struct hl_event_value {
    hl_bytes tag, content;
    bool known; /* false: nothing we can show; the rest is unset */
    hl_series_kind kind;
    double number;   /* SCALAR, WIDE */
    hl_bytes detail; /* HIST: the message; CURVE: n_floats little-endian floats; JSON: the text */
    size_t n_floats, rows, cols; /* CURVE: rows * cols == n_floats; other ranks than 2: one row */
} hl_event_value;

bool hl_event_parse(const void *payload, size_t n, hl_event *out); /* false: not an event */
/* false: no more values, or ev->values.bad */
bool hl_event_next_value(hl_event *ev, hl_event_value *out);
/* false: it has other bins than ours */
bool hl_value_hist(const hl_event_value *v, hl_hist *out);
void hl_value_floats(const hl_event_value *v, float *out); /* room for n_floats */

#endif
